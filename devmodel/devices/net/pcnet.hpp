// SPDX-License-Identifier: GPL-2.0-or-later
// The AMD Am79C970A (PCnet-PCI II) Ethernet controller: PCI 1022:2000, with its EEPROM.
//
// Am79C970A datasheet (19436). State: control and status registers (CSR), bus configuration registers (BCR),
// the address PROM, the rings' positions, a frame that is being gathered, the timer by which the chip looks
// at its transmit ring. All software styles: LANCE's 16 bit structures (0), ILACC's and PCnet's 32 bit ones
// (1, 2), and those in burst order (3). Missing: look-ahead packet processing, sleep and magic packets, the
// general purpose of the LEDs but link status, big-endian structures, collisions. The chip looks at an idle
// transmit ring less and less often.
#pragma once

#include "devmodel/devices/net/ethernet_card.hpp"
#include "devmodel/devices/net/microwire_eeprom.hpp"

#include <optional>
#include <vector>

namespace escalus {

class Pcnet final : public EthernetCard {
  public:
    static constexpr PciIdentity identity{.vendor = 0x1022,
                                          .device = 0x2000,
                                          .class_code = 0x020000,
                                          .revision = 0x16,
                                          .subsystem_vendor = 0,
                                          .subsystem = 0,
                                          .interrupt_pin = 1};

    Pcnet(PciSpaces spaces, CardWiring wiring);

    [[nodiscard]] std::string_view name() const override { return "pcnet"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

    [[nodiscard]] bool can_receive() override;
    void receive(std::span<const std::uint8_t> frame, const NetOffload& offload) override;
    void link_changed(bool up) override;

  private:
    /// A descriptor in the form of style 2, whatever it is in memory.
    struct Descriptor {
        std::uint64_t where = 0;
        std::uint32_t buffer = 0, status = 0, more = 0;
        [[nodiscard]] std::size_t bytes() const { return 4096 - (status & 0xfff); }
    };
    struct Ring {
        std::uint32_t base = 0;
        std::uint32_t length = 1, index = 0;
        void advance() { index = index + 1 < length ? index + 1 : 0; }
    };
    enum class Sent : std::uint8_t { Nothing, Part, Whole };

    // Registers (pcnet_registers.cpp).
    [[nodiscard]] std::uint32_t get_port(unsigned index);
    void set_port(unsigned index, std::uint32_t value);
    [[nodiscard]] std::uint16_t get_csr(unsigned index) const;
    void set_csr(unsigned index, std::uint16_t value);
    void set_csr0(std::uint16_t value);
    void set_csr4(std::uint16_t value);
    void set_csr5(std::uint16_t value);
    [[nodiscard]] std::uint16_t get_bcr(unsigned index) const;
    void set_bcr(unsigned index, std::uint16_t value);
    void reset_software();
    void initialize();
    void start_rings();
    void stop();

    // The controller (pcnet.cpp).
    void raise(std::uint16_t causes);
    void update_interrupt();
    [[nodiscard]] bool has_wide_structures() const { return (bcr_[20] & 0xff) != 0; }
    [[nodiscard]] std::uint32_t extend(std::uint32_t address) const;
    [[nodiscard]] std::optional<Descriptor> fetch(const Ring& ring);
    [[nodiscard]] bool store(const Descriptor& descriptor);
    [[nodiscard]] std::uint8_t style() const { return static_cast<std::uint8_t>(bcr_[20]); }
    [[nodiscard]] bool looped() const;
    bool transmit_some() override;
    Sent send_descriptor();
    void send_gathered(std::uint32_t status);
    void fail_send(Descriptor descriptor, std::uint32_t errors);
    void poll_later(bool busy);
    void bus_error();
    [[nodiscard]] std::uint32_t filter(Frame frame) const;
    void accept(Frame frame, bool with_crc);
    void put_in_ring(std::span<const std::uint8_t> bytes, std::uint32_t flags);

    std::array<std::uint8_t, 16> prom_{};
    std::array<std::uint16_t, 128> csr_{};
    std::array<std::uint16_t, 32> bcr_{};
    MicrowireEeprom eeprom_;
    std::uint16_t register_address_ = 0;
    Ring receive_ring_, transmit_ring_;
    std::vector<std::uint8_t> tx_frame_, rx_frame_;
    std::optional<Descriptor> last_part_; // of a frame that is being gathered
    std::uint32_t first_status_ = 0;
    Timer poll_;
    GuestTime poll_interval_ = 0;
};

/// Bits of the registers and descriptors.
namespace pcnet {
inline constexpr std::uint16_t csr0_init = 1, csr0_start = 2, csr0_stop = 4, csr0_demand = 8,
                               csr0_transmitter = 0x10, csr0_receiver = 0x20, csr0_enable = 0x40,
                               csr0_interrupt = 0x80, csr0_done = 0x100, csr0_sent = 0x200,
                               csr0_received = 0x400, csr0_memory = 0x800, csr0_missed = 0x1000,
                               csr0_collision = 0x2000, csr0_babble = 0x4000, csr0_error = 0x8000,
                               csr0_causes = 0x7f00;
inline constexpr std::uint16_t csr3_no_underflow_stop = 0x40;
inline constexpr std::uint16_t csr4_no_poll = 0x1000, csr4_pad = 0x800, csr4_strip = 0x400, csr4_user = 0x40,
                               csr4_user_command = 0x80, csr4_started = 8, csr4_causes = 0x022a;
inline constexpr std::uint16_t csr5_no_sent = 0x8000, csr5_last_sent = 0x4000, csr5_causes = 0x0a90,
                               csr5_suspend = 1;
inline constexpr std::uint16_t mode_no_receiver = 1, mode_no_transmitter = 2, mode_loop = 4, mode_no_crc = 8,
                               mode_internal = 0x40, mode_no_physical = 0x2000, mode_no_broadcast = 0x4000,
                               mode_all = 0x8000;
inline constexpr std::uint16_t bcr18_wide = 0x80;
inline constexpr std::uint32_t desc_own = 1u << 31, desc_error = 1u << 30, desc_first = 1u << 25,
                               desc_last = 1u << 24, desc_add_crc = 1u << 29, desc_want_sent = 1u << 28,
                               desc_overflow = 1u << 28, desc_crc = 1u << 27, desc_no_buffer = 1u << 26,
                               desc_mine = 1u << 22, desc_hashed = 1u << 21, desc_broadcast = 1u << 20;
// The word of a transmit descriptor that tells what went wrong.
inline constexpr std::uint32_t more_buffer = 1u << 31, more_underflow = 1u << 30, more_carrier = 1u << 27;
} // namespace pcnet

} // namespace escalus
