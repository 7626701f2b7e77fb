// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/input/i8042.hpp"

#include "devmodel/devices/input/scan_codes.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
// The ports are their own region numbers.
constexpr unsigned port_data = 0x60, port_command = 0x64;

constexpr std::uint8_t status_full = 0x01, status_system = 0x04, status_command = 0x08,
                       status_unlocked = 0x10, status_mouse = 0x20;

// The command byte (RAM byte 0).
constexpr std::uint8_t keyboard_interrupt = 0x01, mouse_interrupt = 0x02, system_flag = 0x04,
                       keyboard_disabled = 0x10, mouse_disabled = 0x20, translate = 0x40;
constexpr std::uint8_t power_on_command_byte = keyboard_interrupt | mouse_interrupt | translate;

// The output port.
constexpr std::uint8_t out_not_reset = 0x01, out_a20 = 0x02, out_keyboard_full = 0x10, out_mouse_full = 0x20,
                       out_wires = 0xcc;  // clock and data lines of both devices, as they idle
constexpr std::uint8_t input_port = 0xb0; // keyboard not locked, colour display, 256 KiB or more

constexpr std::size_t reply_limit = 16;
/// Eleven bits at 16 kHz, the fastest that PS/2 devices send.
constexpr GuestTime byte_time = 11 * ns_per_second / 16'000;
} // namespace

I8042::I8042(Bus& ports, Clock& clock, Ps2Device& keyboard, Ps2Device& mouse, A20Gate& a20, Wiring wiring)
    : ports_{ports},
      clock_{clock},
      keyboard_{keyboard},
      mouse_{mouse},
      a20_{a20},
      wiring_{std::move(wiring)},
      next_byte_{clock, [this] { fill_buffer(); }} {
    keyboard_.on_data([this] { fill_buffer(); });
    mouse_.on_data([this] { fill_buffer(); });
    ports_.add(port_data, 1, *this, port_data);
    ports_.add(port_command, 1, *this, port_command);
    command_byte() = power_on_command_byte;
}

I8042::~I8042() {
    keyboard_.on_data({});
    mouse_.on_data({});
    ports_.remove(port_data);
    ports_.remove(port_command);
}

void I8042::reset(ResetKind) {
    next_byte_.cancel();
    ram_.fill(0);
    command_byte() = power_on_command_byte;
    replies_.clear();
    last_read_ = clock_.now() - byte_time;
    data_ = 0;
    source_ = Source::Controller;
    full_ = last_write_was_command_ = self_tested_ = break_prefix_ = mouse_turn_ = false;
    pending_ = 0;
    output_port_ = out_not_reset | out_wires;
    a20_.set(true);
    update_irqs();
}

void I8042::read(unsigned region, std::uint64_t, std::span<std::uint8_t> data) {
    std::ranges::fill(data, std::uint8_t{0xff});
    data[0] = region == port_data ? read_data() : read_status();
}

void I8042::write(unsigned region, std::uint64_t, std::span<const std::uint8_t> data) {
    last_write_was_command_ = region == port_command;
    if (last_write_was_command_)
        write_command(data[0]);
    else
        write_data(data[0]);
}

std::uint8_t I8042::read_status() const {
    return static_cast<std::uint8_t>(
        status_unlocked | (full_ ? status_full : 0) | (full_ && source_ == Source::Mouse ? status_mouse : 0) |
        (self_tested_ || (command_byte() & system_flag) != 0 ? status_system : 0) |
        (last_write_was_command_ ? status_command : 0));
}

std::uint8_t I8042::read_data() {
    if (full_) { // an empty buffer reads as what was in it last
        full_ = false;
        last_read_ = clock_.now();
        update_irqs();
        fill_buffer();
    }
    return data_;
}

/// Loads the output buffer with the next byte, if there is one and its time has come.
void I8042::fill_buffer() {
    if (full_)
        return;
    if (!replies_.empty()) {
        data_ = replies_.front().byte;
        source_ = replies_.front().source;
        replies_.pop_front();
        full_ = true;
        update_irqs();
        return;
    }
    const bool from_keyboard = (command_byte() & keyboard_disabled) == 0 && keyboard_.has_data();
    const bool from_mouse = (command_byte() & mouse_disabled) == 0 && mouse_.has_data();
    if (!from_keyboard && !from_mouse)
        return;
    if (const auto due = last_read_ + byte_time; clock_.now() < due) {
        next_byte_.arm(due);
        return;
    }
    full_ = true; // a device whose last byte is taken calls again at once when it has more
    if (from_mouse && (mouse_turn_ || !from_keyboard)) {
        data_ = mouse_.take();
        source_ = Source::Mouse;
    } else {
        full_ = take_from_keyboard();
    }
    mouse_turn_ = source_ == Source::Keyboard; // neither starves the other
    update_irqs();
}

/// False when only the prefix of a break code was there.
bool I8042::take_from_keyboard() {
    source_ = Source::Keyboard;
    data_ = keyboard_.take();
    if ((command_byte() & translate) == 0) {
        break_prefix_ = false;
        return true;
    }
    if (data_ == scan_codes::release) {
        break_prefix_ = true;
        if (!keyboard_.has_data())
            return false;
        data_ = keyboard_.take();
    }
    data_ = static_cast<std::uint8_t>(scan_codes::set2_to_set1(data_) |
                                      (std::exchange(break_prefix_, false) ? 0x80 : 0));
    return true;
}

void I8042::update_irqs() {
    const bool mouse = full_ && source_ == Source::Mouse;
    const bool keyboard = full_ && source_ != Source::Mouse;
    wiring_.keyboard_irq.set(keyboard && (command_byte() & keyboard_interrupt) != 0);
    wiring_.mouse_irq.set(mouse && (command_byte() & mouse_interrupt) != 0);
}

void I8042::reply(std::uint8_t byte, Source source) {
    if (replies_.size() < reply_limit)
        replies_.push_back({byte, source});
    fill_buffer();
}

void I8042::set_command_byte(std::uint8_t value) {
    command_byte() = value;
    update_irqs();
    fill_buffer();
}

std::uint8_t I8042::output_port() const {
    return static_cast<std::uint8_t>(output_port_ | (a20_.enabled() ? out_a20 : 0) |
                                     (full_ && source_ != Source::Mouse ? out_keyboard_full : 0) |
                                     (full_ && source_ == Source::Mouse ? out_mouse_full : 0));
}

void I8042::set_output_port(std::uint8_t value) {
    output_port_ = value & (out_not_reset | out_wires);
    a20_.set((value & out_a20) != 0);
    if ((value & out_not_reset) == 0 && wiring_.reset)
        wiring_.reset();
}

void I8042::write_data(std::uint8_t byte) {
    if (const auto command = std::exchange(pending_, std::uint8_t{0}); command != 0) {
        write_argument(command, byte);
        return;
    }
    // Sending wakes the interface.
    command_byte() = static_cast<std::uint8_t>(command_byte() & ~keyboard_disabled);
    keyboard_.receive(byte);
    fill_buffer();
}

void I8042::write_argument(std::uint8_t command, std::uint8_t byte) {
    switch (command) {
    case 0xa5: // a password ends with a 0; it is not kept
        pending_ = byte != 0 ? command : 0;
        break;
    case 0xd1:
        set_output_port(byte);
        break;
    case 0xd2:
        reply(byte, Source::Keyboard);
        break;
    case 0xd3:
        reply(byte, Source::Mouse);
        break;
    case 0xd4:
        command_byte() = static_cast<std::uint8_t>(command_byte() & ~mouse_disabled);
        mouse_.receive(byte);
        fill_buffer();
        break;
    case 0x60:
        set_command_byte(byte);
        break;
    default: // 0x61..0x7f: internal RAM
        ram_[command & 0x1f] = byte;
        break;
    }
}

void I8042::write_command(std::uint8_t command) {
    pending_ = 0;
    const auto change = [this](std::uint8_t clear, std::uint8_t set) {
        set_command_byte(static_cast<std::uint8_t>((command_byte() & ~clear) | set));
    };
    switch (command) {
    case 0xa4: // is a password installed?
        reply(0xf1);
        break;
    case 0xa5:
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xd4:
        pending_ = command;
        break;
    case 0xa7:
        change(0, mouse_disabled);
        break;
    case 0xa8:
        change(mouse_disabled, 0);
        break;
    case 0xa9: // interface tests: no wire is stuck
    case 0xab:
        reply(0x00);
        break;
    case 0xaa:
        self_tested_ = true;
        reply(0x55);
        break;
    case 0xad:
        change(0, keyboard_disabled);
        break;
    case 0xae:
        change(keyboard_disabled, 0);
        break;
    case 0xc0:
        reply(input_port);
        break;
    case 0xd0:
        reply(output_port());
        break;
    case 0xdd: // HP Vectra's A20 commands, which many firmwares took over
    case 0xdf:
        a20_.set(command == 0xdf);
        break;
    case 0xe0: // test inputs: the clock wires, low while an interface is disabled
        reply(static_cast<std::uint8_t>(((command_byte() & keyboard_disabled) == 0 ? 1u : 0) |
                                        ((command_byte() & mouse_disabled) == 0 ? 2u : 0)));
        break;
    default:
        if (command >= 0x20 && command < 0x40)
            reply(ram_[command & 0x1f]);
        else if (command >= 0x60 && command < 0x80)
            pending_ = command;
        else if (command >= 0xf0 && (command & 1) == 0 && wiring_.reset) // pulse of the reset line
            wiring_.reset();
        break;
    }
}

} // namespace escalus
