// SPDX-License-Identifier: GPL-2.0-or-later
// The keyboard and auxiliary device controller (8042) of the AT and PS/2: IBM PS/2 Hardware Interface
// Technical Reference, "Keyboard and Auxiliary Device Controller"; 8042 firmware commands as in the AMI
// keyboard controller's list.
//
// Modelled: ports 0x60 and 0x64, the command byte and internal RAM, self and interface tests, D0..D4, input
// and test ports, enabling and disabling both devices, A20 through the output port, the reset pulse, and the
// translation of scan code set 2 to 1. Bytes from the devices follow one another no faster than on the wire,
// because drivers and hooks that read port 0x60 twice in one interrupt expect the same byte twice.
// State: command byte, RAM, output buffer, output port.
//
// Missing: the security (password) function answers that no password is installed.
#pragma once

#include "devmodel/devices/chipset/a20_gate.hpp"
#include "devmodel/devices/input/ps2_device.hpp"
#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/irq_line.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <functional>

namespace escalus {

class I8042 final : public Device, public BusDevice {
  public:
    struct Wiring {
        IrqLine keyboard_irq;        ///< ISA interrupt 1
        IrqLine mouse_irq;           ///< ISA interrupt 12
        std::function<void()> reset; ///< as in Piix3
    };
    I8042(Bus& ports, Clock& clock, Ps2Device& keyboard, Ps2Device& mouse, A20Gate& a20, Wiring wiring);
    ~I8042() override;

    [[nodiscard]] std::string_view name() const override { return "i8042"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    enum class Source : std::uint8_t { Controller, Keyboard, Mouse };
    struct Reply {
        std::uint8_t byte;
        Source source;
    };

    std::uint8_t read_data();
    [[nodiscard]] std::uint8_t read_status() const;
    void write_data(std::uint8_t byte);
    void write_command(std::uint8_t command);
    void write_argument(std::uint8_t command, std::uint8_t byte);
    void set_command_byte(std::uint8_t value);
    void set_output_port(std::uint8_t value);
    [[nodiscard]] std::uint8_t output_port() const;
    void reply(std::uint8_t byte, Source source = Source::Controller);
    void fill_buffer();
    bool take_from_keyboard();
    void update_irqs();
    [[nodiscard]] std::uint8_t& command_byte() { return ram_[0]; }
    [[nodiscard]] std::uint8_t command_byte() const { return ram_[0]; }

    Bus& ports_;
    Clock& clock_;
    Ps2Device& keyboard_;
    Ps2Device& mouse_;
    A20Gate& a20_;
    Wiring wiring_;
    Timer next_byte_;
    std::array<std::uint8_t, 32> ram_{};
    std::deque<Reply> replies_; // the controller's own, before anything from the devices
    GuestTime last_read_ = 0;
    std::uint8_t data_ = 0;
    Source source_ = Source::Controller;
    bool full_ = false;
    bool last_write_was_command_ = false;
    bool self_tested_ = false;
    bool break_prefix_ = false; // translation has seen 0xf0
    bool mouse_turn_ = false;   // who goes first when both have data
    std::uint8_t pending_ = 0;  // the command that waits for a byte at port 0x60
    std::uint8_t output_port_ = 0;
};

} // namespace escalus
