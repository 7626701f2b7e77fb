// SPDX-License-Identifier: GPL-2.0-or-later
// The two 8237 DMA controllers of an AT-compatible board, as the PIIX3 has them: Intel 8237A datasheet
// (231466), 82371SB datasheet 290550-002 section 2.5.1, and the page registers 0x81 to 0x8f.
//
// The first controller (ports 0x00 to 0x0f, channels 0 to 3) moves bytes, the second (0xc0 to 0xdf, channels
// 5 to 7) words; channel 4 cascades the first into the second, so that the first works only while channel 4
// is open, as firmware leaves it. Devices move data when their request is granted, as much at once as they
// have; how many cycles that takes, and who waits for whom, is not modelled.
//
// State: for each channel the base and current address and count, mode, page, mask, terminal count and
// requests; for each controller the command register and the byte pointer.
// Missing: memory-to-memory moves (the PIIX3 has none), moves that a software request starts (the bit is kept
// and shown), the PIIX3's type F timing.
#pragma once

#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/guest_memory.hpp"
#include "devmodel/machine/isa_dma.hpp"

#include <array>
#include <cstdint>
#include <functional>

namespace escalus {

class I8237Pair final : public Device, public BusDevice, public IsaDma {
  public:
    I8237Pair(Bus& ports, GuestMemory& memory);
    ~I8237Pair() override;

    /// What firmware leaves behind: channel 4 in cascade mode and open. For machines started without one.
    void open_cascade();

    // For devices; channels are 0 to 7.
    void connect(unsigned channel, std::function<void()> granted) override;
    void request(unsigned channel, bool level) override;
    [[nodiscard]] bool granted(unsigned channel) const override;
    DmaMoved to_memory(unsigned channel, std::span<const std::uint8_t> data) override;
    DmaMoved from_memory(unsigned channel, std::span<std::uint8_t> data) override;

    [[nodiscard]] std::string_view name() const override { return "i8237"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    struct Channel {
        std::uint16_t base_address = 0, base_count = 0;
        std::uint16_t address = 0, count = 0; // the count is one less than what is left
        std::uint8_t mode = 0;
        bool masked = true;
        bool terminal_count = false;
        bool software_request = false;
        bool request = false; // DREQ
        std::function<void()> granted;
    };
    struct Controller {
        std::array<Channel, 4> channels;
        std::uint8_t command = 0;
        bool high_byte = false; // the byte pointer: what the next access to a 16-bit register touches
    };
    /// A stretch of a move: `units` of memory from `address` on, `data` those of the device.
    template <typename Byte, typename Copy>
    DmaMoved move(unsigned channel, std::span<Byte> data, unsigned transfer, Copy copy);

    [[nodiscard]] std::uint8_t read_register(Controller& controller, unsigned index);
    void write_register(Controller& controller, unsigned index, std::uint8_t value);
    void master_clear(Controller& controller);
    void tell_granted();
    [[nodiscard]] Channel& channel(unsigned number) { return controllers_[number / 4].channels[number % 4]; }
    [[nodiscard]] const Channel& channel(unsigned number) const {
        return controllers_[number / 4].channels[number % 4];
    }
    [[nodiscard]] GuestPhys physical(unsigned number, std::uint16_t address) const;

    Bus& ports_;
    GuestMemory& memory_;
    std::array<Controller, 2> controllers_;
    std::array<std::uint8_t, 16> pages_{}; // by port from 0x80 on
};

} // namespace escalus
