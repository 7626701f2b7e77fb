// SPDX-License-Identifier: GPL-2.0-or-later
// The Realtek RTL8139C+ fast Ethernet controller: PCI 10ec:8139, revision 0x20, with its EEPROM.
//
// RTL8139C+ datasheet 1.6. State: all registers, the EEPROM, the position in the receive buffer (8139 mode)
// and in the three descriptor rings (C+ mode), a frame that is being gathered from descriptors, tally
// counters. The link is 100 Mbit/s, full duplex; negotiation takes no time. Missing: wake-up frames and PCI
// power management, the early interrupts, the PHY's test registers, VPD, and collisions, which nobody has on
// a full-duplex link.
#pragma once

#include "devmodel/devices/net/ethernet_card.hpp"
#include "devmodel/devices/net/microwire_eeprom.hpp"
#include "devmodel/devices/net/rtl8139_registers.hpp"

#include <optional>
#include <vector>

namespace escalus {

class Rtl8139 final : public EthernetCard {
  public:
    static constexpr PciIdentity identity{.vendor = 0x10ec,
                                          .device = 0x8139,
                                          .class_code = 0x020000,
                                          .revision = 0x20,
                                          .subsystem_vendor = 0x10ec,
                                          .subsystem = 0x8139,
                                          .interrupt_pin = 1};
    static constexpr std::uint64_t timer_hz = 33'000'000; ///< the PCI clock

    Rtl8139(PciSpaces spaces, CardWiring wiring);

    [[nodiscard]] std::string_view name() const override { return "rtl8139"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

    [[nodiscard]] bool can_receive() override;
    void receive(std::span<const std::uint8_t> frame, const NetOffload& offload) override;
    void link_changed(bool up) override;

  private:
    struct Register {
        unsigned begin, width; // it begins at a multiple of its width
    };
    struct Tally {
        std::uint64_t sent = 0, received = 0, send_errors = 0;
        std::uint32_t receive_errors = 0;
        std::uint16_t missed = 0;
        std::uint64_t received_mine = 0, received_broadcast = 0;
        std::uint32_t received_multicast = 0;
        std::uint16_t aborted = 0;
    };
    struct Descriptor {
        std::uint64_t where = 0;
        std::uint32_t command = 0, tag = 0;
        std::uint64_t buffer = 0;
    };
    /// A C+ transmit ring, and the frame that is gathered from it.
    struct SendRing {
        unsigned next = 0;
        bool wanted = false; ///< polled, and not found empty since
        bool broken = false; ///< the frame has a part that cannot be sent
        std::vector<std::uint8_t> frame;
        Descriptor first;
    };
    enum class Sent : std::uint8_t { Nothing, Part, Whole };

    // Registers (rtl8139.cpp).
    static Register register_at(unsigned offset);
    [[nodiscard]] std::uint32_t get(unsigned begin) const;
    void set(unsigned begin, std::uint32_t value);
    void set_command(std::uint8_t value);
    void set_eeprom(std::uint8_t value);
    void set_config(unsigned begin, std::uint8_t value);
    void set_phy(std::uint16_t value);
    void set_timer_target(std::uint32_t value);
    void reset_chip();
    void load_eeprom();
    void raise(std::uint16_t causes);
    void update_interrupt();
    void arm_timer();
    void miss_frame();
    [[nodiscard]] bool unlocked() const { return (eeprom_control_ & 0xc0) == 0xc0; }
    [[nodiscard]] bool cplus() const {
        return (cplus_ & (rtl8139::cplus_transmit | rtl8139::cplus_receive)) != 0;
    }
    [[nodiscard]] std::uint16_t filter(Frame frame) const;
    void accept(Frame frame);
    bool transmit_some() override;

    // 8139 mode (rtl8139_ring.cpp).
    void set_tx_status(unsigned n, std::uint32_t value);
    void send_slot(unsigned n);
    void put_on_wire(Frame frame, const NetOffload& offload);
    [[nodiscard]] std::uint32_t ring_bytes() const { return 8192u << (rx_config_ >> 11 & 3); }
    [[nodiscard]] std::uint32_t ring_used() const;
    void reset_ring();
    void receive_to_ring(Frame frame, std::uint16_t header);
    [[nodiscard]] std::uint16_t tx_summary() const;

    // C+ mode (rtl8139_cplus.cpp).
    [[nodiscard]] std::optional<Descriptor> fetch(std::uint64_t ring, unsigned index);
    Sent send_descriptor(SendRing& ring, std::uint64_t base);
    void send_gathered(SendRing& ring);
    void receive_to_descriptors(Frame frame, std::uint16_t header);
    [[nodiscard]] std::uint32_t checksum_status(Frame frame) const;
    void set_tally(std::uint32_t low);
    [[nodiscard]] std::uint64_t address64(unsigned begin) const;

    MicrowireEeprom eeprom_;
    MacAddress mac_{};
    std::array<std::uint8_t, 8> multicast_{};
    std::array<std::uint32_t, 4> tx_status_{}, tx_address_{};
    std::array<std::uint32_t, 2> tally_address_{}, rx_ring_address_{};
    std::uint32_t rx_buffer_ = 0, rx_position_ = 0; // the second: where the next byte goes
    std::uint16_t rx_read_ = 0;
    std::uint32_t tx_config_ = 0, rx_config_ = 0, missed_ = 0;
    std::uint16_t mask_ = 0, status_ = 0, cplus_ = 0, early_ = 0;
    std::uint16_t phy_control_ = 0, advertised_ = 0, phy_test_ = 0;
    std::uint8_t command_ = 0, eeprom_control_ = 0;
    std::array<std::uint8_t, 6> config_{};
    std::array<std::uint8_t, 0x60> wake_{}; // from 0x78 on: kept, without effect
    unsigned tx_next_ = 0, rx_next_ = 0;
    std::array<SendRing, 2> send_rings_; // normal, high priority
    Tally tally_;
    GuestTime timer_zero_ = 0; // when the counter was 0
    std::uint32_t timer_target_ = 0;
    Timer timer_;
    std::vector<std::uint8_t> tx_frame_, rx_frame_; // two: sending may bring a frame in
};

} // namespace escalus
