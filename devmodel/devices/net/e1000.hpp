// SPDX-License-Identifier: GPL-2.0-or-later
// The Intel 82540EM gigabit Ethernet controller (PRO/1000 MT): PCI 8086:100e, with PHY and EEPROM.
//
// PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (317453). State: the
// registers, the EEPROM, the PHY, the frame that is being gathered with both contexts of the transmitter,
// five timers that hold interrupts back. Both descriptor formats; segmentation and checksums are left to the
// wire when the packet is of a form that it knows, and done here when it is not. Missing: wake-up, flexible
// filters and management (their registers keep what is written), flow control, flash, receive errors, and MSI
// and power management capabilities.
#pragma once

#include "devmodel/devices/net/e1000_registers.hpp"
#include "devmodel/devices/net/ethernet_card.hpp"
#include "devmodel/devices/net/gigabit_phy.hpp"
#include "devmodel/devices/net/microwire_eeprom.hpp"

#include <vector>

namespace escalus {

class E1000 final : public EthernetCard {
  public:
    static constexpr PciIdentity identity{.vendor = 0x8086,
                                          .device = 0x100e,
                                          .class_code = 0x020000,
                                          .revision = 2,
                                          .subsystem_vendor = 0x8086,
                                          .subsystem = 0x001e,
                                          .interrupt_pin = 1};
    static constexpr unsigned memory_bar = 0, io_bar = 2;

    E1000(PciSpaces spaces, CardWiring wiring);

    [[nodiscard]] std::string_view name() const override { return "e1000"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

    [[nodiscard]] bool can_receive() override;
    void receive(std::span<const std::uint8_t> frame, const NetOffload& offload) override;
    void link_changed(bool up) override;

  private:
    /// What a context descriptor says (3.3.6).
    struct Context {
        std::size_t ip_start = 0, ip_field = 0, ip_end = 0;
        std::size_t start = 0, field = 0, end = 0;
        std::size_t header = 0, segment = 0;
        bool tcp = false, ipv4 = false;
    };
    /// A frame that is being gathered from descriptors.
    struct Gathered {
        std::vector<std::uint8_t> bytes;
        bool begun = false, broken = false, segmented = false;
        std::uint32_t options = 0; ///< sums to be inserted: of the first data descriptor
    };

    // Registers (e1000.cpp, e1000_registers.cpp).
    [[nodiscard]] std::uint32_t& reg(unsigned offset) { return registers_[offset / 4]; }
    [[nodiscard]] std::uint32_t reg(unsigned offset) const { return registers_[offset / 4]; }
    [[nodiscard]] std::uint32_t get(unsigned offset);
    [[nodiscard]] std::uint32_t get_plain(unsigned offset) const;
    void set(unsigned offset, std::uint32_t value);
    void set_io(unsigned offset, std::uint32_t value);
    void set_control(std::uint32_t value);
    void set_mdic(std::uint32_t value);
    void set_eerd(std::uint32_t value);
    [[nodiscard]] std::uint32_t status() const;
    void reset_controller();
    void load_address();

    // Interrupts.
    void raise(std::uint32_t causes);
    void update_interrupt();
    void raise_later(std::uint32_t cause, unsigned delay, unsigned limit, Timer& relative, Timer& absolute);
    void flush(std::uint32_t cause, Timer& relative, Timer& absolute);

    // Sending (e1000_transmit.cpp).
    bool transmit_some() override;
    [[nodiscard]] bool fetch_and_send(unsigned& frames, std::uint32_t& causes);
    void set_context(std::uint64_t low, std::uint64_t high);
    void gather(std::uint64_t address, std::size_t bytes);
    void send_legacy(std::uint64_t high);
    void send_extended(std::uint64_t high);
    void send_segments(const Context& context, std::uint32_t options, std::uint64_t high);
    [[nodiscard]] bool leave_segments(const Context& context, std::uint32_t options, std::uint64_t high);
    void put_on_wire(std::vector<std::uint8_t>& frame, NetOffload offload, std::uint64_t high);
    void count_sent(Frame frame, std::size_t frames, std::size_t octets);

    // Receiving (e1000_receive.cpp).
    [[nodiscard]] bool filter(Frame frame, bool& exact) const;
    [[nodiscard]] bool is_tagged(Frame frame) const;
    [[nodiscard]] unsigned ring_entries(unsigned length_register) const { return reg(length_register) / 16; }
    [[nodiscard]] unsigned free_buffers() const;
    [[nodiscard]] std::size_t buffer_bytes() const;
    void accept(Frame frame, bool known_good);
    [[nodiscard]] bool store(Frame frame, std::uint8_t status, std::uint8_t errors, std::uint16_t sum,
                             std::uint16_t tag);
    void tell_received(unsigned free_before, std::size_t bytes);

    // Statistics.
    void count(unsigned offset, std::uint32_t by = 1);
    void count_octets(unsigned low, std::uint64_t by);
    static unsigned size_class(std::size_t bytes);

    std::vector<std::uint32_t> registers_;
    MicrowireEeprom eeprom_;
    GigabitPhy phy_;
    std::uint32_t io_address_ = 0, causes_ = 0, mask_ = 0;
    GuestTime next_interrupt_ = 0;
    Timer throttle_, rx_relative_, rx_absolute_, tx_relative_, tx_absolute_;
    Context checksum_context_, segment_context_;
    Gathered gathered_;
    std::vector<std::uint8_t> segment_, rx_frame_;
    bool asserted_ = false;
};

} // namespace escalus
