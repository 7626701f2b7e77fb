// SPDX-License-Identifier: GPL-2.0-or-later
// An NE2000 on PCI: the Realtek RTL8029AS, PCI 10ec:8029, a DP8390 with its memory behind one data port.
//
// National Semiconductor DP8390D datasheet; RTL8029AS datasheet (registers of page 3, 16 and 32 bit access to
// the data port). State: the registers, 32 KiB of packet memory at 0x4000 and the address PROM at 0, the
// remote DMA, the FIFO of a loopback test, an EEPROM. There is no DMA to the guest's memory, and no bus
// mastering. Missing: collisions, power down modes, the boot ROM's page register.
#pragma once

#include "devmodel/devices/net/ethernet_card.hpp"
#include "devmodel/devices/net/microwire_eeprom.hpp"

namespace escalus {

class Ne2000 final : public EthernetCard {
  public:
    static constexpr PciIdentity identity{.vendor = 0x10ec,
                                          .device = 0x8029,
                                          .class_code = 0x020000,
                                          .revision = 0,
                                          .subsystem_vendor = 0x10ec,
                                          .subsystem = 0x8029,
                                          .interrupt_pin = 1};
    /// How long a frame waits for room before the ring counts as overrun. A driver may clear the interrupt of
    /// a frame that it has not seen, and then only the next frame, or this, makes it look.
    static constexpr GuestTime patience = 50'000'000;
    /// 10BASE-T: a byte takes 800 ns, and preamble, CRC and the gap between frames another 24 bytes. Drivers
    /// count on it: Linux takes at most ten frames, clears their interrupt, and leaves the rest to the next.
    [[nodiscard]] static constexpr GuestTime wire_time(std::size_t bytes) {
        return static_cast<GuestTime>(bytes + 24) * 800;
    }
    static constexpr unsigned ram_begin = 0x4000, ram_bytes = 0x8000, data_port = 0x10, reset_port = 0x18;

    Ne2000(PciSpaces spaces, CardWiring wiring);

    [[nodiscard]] std::string_view name() const override { return "ne2000"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

    [[nodiscard]] bool can_receive() override;
    void receive(std::span<const std::uint8_t> frame, const NetOffload& offload) override;
    void link_changed(bool) override {} // the chip does not tell

  private:
    enum class Remote : std::uint8_t { None, Read, Write };

    // Registers (ne2000_registers.cpp).
    [[nodiscard]] std::uint8_t get(unsigned index);
    [[nodiscard]] std::uint8_t get_page0(unsigned index);
    [[nodiscard]] std::uint8_t get_page2(unsigned index) const;
    [[nodiscard]] std::uint8_t get_page3(unsigned index) const;
    void set(unsigned index, std::uint8_t value);
    void set_page0(unsigned index, std::uint8_t value);
    void set_page3(unsigned index, std::uint8_t value);
    void set_command(std::uint8_t value);
    [[nodiscard]] std::uint8_t take_counter(unsigned n);
    void read_data(std::span<std::uint8_t> data);
    void write_data(std::span<const std::uint8_t> data);
    void remote_moved(unsigned bytes);
    void reset_chip();

    // The controller (ne2000.cpp).
    void raise(std::uint8_t causes);
    void update_interrupt();
    void count(unsigned n);
    bool transmit_some() override;
    [[nodiscard]] bool may_work() const override { return !paused(); }
    void loop_back(Frame frame);
    [[nodiscard]] bool wanted(Frame frame, std::uint8_t& status) const;
    [[nodiscard]] std::uint8_t page_after(std::uint8_t page) const;
    [[nodiscard]] unsigned free_pages() const;
    [[nodiscard]] bool has_room() const;
    void put_in_ring(Frame frame, std::uint8_t status);
    void overrun();
    void miss_frame(std::uint8_t status);

    [[nodiscard]] std::uint8_t peek(unsigned address) const;
    void poke(unsigned address, std::uint8_t value);

    std::array<std::uint8_t, 32> prom_{};
    std::array<std::uint8_t, ram_bytes> ram_{};
    MicrowireEeprom eeprom_;
    MacAddress mac_{};
    std::array<std::uint8_t, 8> multicast_{}, fifo_{};
    std::array<std::uint8_t, 3> counters_{}; // alignment, CRC, missed
    std::array<std::uint8_t, 4> config_{};
    std::uint16_t transmit_bytes_ = 0, remote_address_ = 0, remote_bytes_ = 0;
    std::uint8_t command_ = 0, start_ = 0, stop_ = 0, boundary_ = 0, current_ = 0, transmit_page_ = 0;
    std::uint8_t causes_ = 0, mask_ = 0, receive_config_ = 0, transmit_config_ = 0, data_config_ = 0;
    std::uint8_t receive_status_ = 0, transmit_status_ = 0, eeprom_control_ = 0;
    unsigned fifo_next_ = 0;
    bool running_ = false, held_back_ = false;
    Timer overrun_, arrival_; ///< arrival_ runs while the wire is busy with a frame
    Remote remote_ = Remote::None;
    std::vector<std::uint8_t> frame_;
};

/// Bits of the DP8390's registers.
namespace dp8390 {
inline constexpr std::uint8_t cmd_stop = 1, cmd_start = 2, cmd_transmit = 4, cmd_read = 8, cmd_write = 0x10,
                              cmd_send_packet = 0x18, cmd_no_dma = 0x20, cmd_dma_mask = 0x38;
inline constexpr std::uint8_t int_received = 1, int_sent = 2, int_receive_error = 4, int_send_error = 8,
                              int_overwritten = 0x10, int_counter = 0x20, int_remote_done = 0x40,
                              int_reset = 0x80;
inline constexpr std::uint8_t rcr_broadcast = 4, rcr_multicast = 8, rcr_all = 0x10, rcr_monitor = 0x20;
inline constexpr std::uint8_t rsr_good = 1, rsr_crc = 2, rsr_missed = 0x10, rsr_group = 0x20,
                              rsr_disabled = 0x40;
inline constexpr std::uint8_t tcr_loopback = 6, dcr_word = 1;
} // namespace dp8390

} // namespace escalus
