// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/i8237.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
enum Region : unsigned { first_controller, second_controller, page_registers };

constexpr unsigned first_base = 0x00, first_ports = 0x10, second_base = 0xc0, second_ports = 0x20;
constexpr unsigned page_base = 0x80, first_page = 0x81, page_ports = 15; // port 0x80 is the POST code's
constexpr unsigned cascade = 4;

// Registers from the channels' addresses and counts on.
constexpr unsigned reg_command = 8, reg_request = 9, reg_mask = 10, reg_mode = 11, reg_clear_pointer = 12,
                   reg_master_clear = 13, reg_clear_mask = 14, reg_write_mask = 15;

constexpr std::uint8_t command_disable = 0x04;
constexpr std::uint8_t mode_auto = 0x10, mode_down = 0x20;
constexpr unsigned transfer_write = 1, transfer_read = 2; // into memory, out of memory; 0: verify

constexpr unsigned transfer_of(std::uint8_t mode) {
    return mode >> 2 & 3;
}

// Which page register, from port 0x80 on, belongs to a channel.
constexpr std::array<std::uint8_t, 8> page_of{7, 3, 1, 2, 0xf, 0xb, 9, 0xa};
} // namespace

I8237Pair::I8237Pair(Bus& ports, GuestMemory& memory) : ports_{ports}, memory_{memory} {
    ports_.add(first_base, first_ports, *this, first_controller);
    ports_.add(second_base, second_ports, *this, second_controller);
    ports_.add(first_page, page_ports, *this, page_registers);
}

I8237Pair::~I8237Pair() {
    for (const unsigned base : {first_base, second_base, first_page})
        ports_.remove(base);
}

void I8237Pair::reset(ResetKind) {
    for (auto& controller : controllers_) {
        master_clear(controller);
        for (auto& channel : controller.channels) {
            channel.base_address = channel.base_count = channel.address = channel.count = 0;
            channel.mode = 0;
        }
    }
    pages_.fill(0);
}

void I8237Pair::open_cascade() {
    auto& channel4 = channel(cascade);
    channel4.mode = 0xc0;
    channel4.masked = false;
    tell_granted();
}

void I8237Pair::master_clear(Controller& controller) {
    controller.command = 0;
    controller.high_byte = false;
    for (auto& channel : controller.channels) {
        channel.masked = true;
        channel.terminal_count = channel.software_request = false;
    }
}

// --- Devices -----------------------------------------------------------------------------------------------

void I8237Pair::connect(unsigned number, std::function<void()> granted) {
    channel(number).granted = std::move(granted);
}

void I8237Pair::request(unsigned number, bool level) {
    channel(number).request = level;
}

bool I8237Pair::granted(unsigned number) const {
    const auto& wanted = channel(number);
    if (!wanted.request || wanted.masked || (controllers_[number / 4].command & command_disable) != 0)
        return false;
    // The first controller asks for the bus through the second.
    return number >= cascade ||
           (!channel(cascade).masked && (controllers_[1].command & command_disable) == 0);
}

void I8237Pair::tell_granted() {
    for (unsigned number = 0; number < 8; ++number)
        if (granted(number) && channel(number).granted)
            channel(number).granted();
}

GuestPhys I8237Pair::physical(unsigned number, std::uint16_t address) const {
    const unsigned page = pages_[page_of[number]];
    return number < cascade ? GuestPhys{std::uint64_t{page} << 16 | address}
                            : GuestPhys{std::uint64_t{page & 0xfeu} << 16 | std::uint64_t{address} << 1};
}

template <typename Byte, typename Copy>
DmaMoved I8237Pair::move(unsigned number, std::span<Byte> data, unsigned transfer, Copy copy) {
    if (!granted(number))
        return {};
    auto& from = channel(number);
    const unsigned unit = number < cascade ? 1 : 2;
    const bool down = (from.mode & mode_down) != 0;
    // The device drives its own side whatever the channel is programmed for; memory takes part only when both
    // agree. Verify moves nothing at all, and counts.
    const bool agree = transfer_of(from.mode) == transfer;
    DmaMoved moved;
    while (data.size() - moved.bytes >= unit && !moved.terminal_count) {
        // Up to the end of the 64 Ki units that the address register can express, where it wraps.
        const std::size_t run =
            down ? 1
                 : std::min<std::size_t>({(data.size() - moved.bytes) / unit, from.count + std::size_t{1},
                                          std::size_t{0x10000} - from.address});
        if (agree)
            copy(physical(number, from.address), data.subspan(moved.bytes, run * unit));
        moved.bytes += run * unit;
        from.address = static_cast<std::uint16_t>(down ? from.address - 1 : from.address + run);
        moved.terminal_count = run == from.count + std::size_t{1};
        from.count = static_cast<std::uint16_t>(from.count - run);
    }
    if (moved.terminal_count) {
        from.terminal_count = true;
        from.software_request = false;
        if ((from.mode & mode_auto) != 0) {
            from.address = from.base_address;
            from.count = from.base_count;
        } else {
            from.masked = true;
        }
    }
    return moved;
}

DmaMoved I8237Pair::to_memory(unsigned number, std::span<const std::uint8_t> data) {
    return move(number, data, transfer_write,
                [this](GuestPhys to, std::span<const std::uint8_t> piece) { memory_.write(to, piece); });
}

DmaMoved I8237Pair::from_memory(unsigned number, std::span<std::uint8_t> data) {
    std::ranges::fill(data, std::uint8_t{0xff}); // an undriven bus
    return move(number, data, transfer_read,
                [this](GuestPhys from, std::span<std::uint8_t> piece) { memory_.read(from, piece); });
}

// --- Registers ---------------------------------------------------------------------------------------------

std::uint8_t I8237Pair::read_register(Controller& controller, unsigned index) {
    if (index < reg_command) {
        const auto& channel = controller.channels[index / 2];
        const unsigned value = (index & 1) != 0 ? channel.count : channel.address;
        const bool high = std::exchange(controller.high_byte, !controller.high_byte);
        return static_cast<std::uint8_t>(high ? value >> 8 : value);
    }
    unsigned value = 0;
    switch (index) {
    case reg_command: // status: terminal counts, which reading clears, and requests
        for (unsigned i = 0; i < controller.channels.size(); ++i) {
            auto& channel = controller.channels[i];
            if (std::exchange(channel.terminal_count, false))
                value |= 1u << i;
            if (channel.request || channel.software_request)
                value |= 0x10u << i;
        }
        return static_cast<std::uint8_t>(value);
    case reg_master_clear: // the temporary register, for moves from memory to memory
        return 0;
    case reg_write_mask: // all mask bits (82371SB)
        value = 0xf0;
        for (unsigned i = 0; i < controller.channels.size(); ++i)
            value |= controller.channels[i].masked ? 1u << i : 0;
        return static_cast<std::uint8_t>(value);
    default:
        return 0xff;
    }
}

void I8237Pair::write_register(Controller& controller, unsigned index, std::uint8_t value) {
    if (index < reg_command) {
        auto& channel = controller.channels[index / 2];
        auto& base = (index & 1) != 0 ? channel.base_count : channel.base_address;
        auto& current = (index & 1) != 0 ? channel.count : channel.address;
        const bool high = std::exchange(controller.high_byte, !controller.high_byte);
        base = static_cast<std::uint16_t>(high ? (base & 0xff) | value << 8 : (base & 0xff00) | value);
        current =
            static_cast<std::uint16_t>(high ? (current & 0xff) | value << 8 : (current & 0xff00) | value);
        return;
    }
    auto& selected = controller.channels[value & 3];
    switch (index) {
    case reg_command:
        controller.command = value;
        break;
    case reg_request:
        selected.software_request = (value & 4) != 0;
        break;
    case reg_mask:
        selected.masked = (value & 4) != 0;
        break;
    case reg_mode:
        selected.mode = value & 0xfc;
        break;
    case reg_clear_pointer:
        controller.high_byte = false;
        break;
    case reg_master_clear:
        master_clear(controller);
        break;
    case reg_clear_mask:
        for (auto& channel : controller.channels)
            channel.masked = false;
        break;
    case reg_write_mask:
        for (unsigned i = 0; i < controller.channels.size(); ++i)
            controller.channels[i].masked = (value >> i & 1) != 0;
        break;
    default:
        break;
    }
    tell_granted();
}

// Wider accesses are cycles of a byte each, as the bus makes them for an 8-bit device.
void I8237Pair::read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        const auto at = static_cast<unsigned>(offset + i);
        if (region == page_registers)
            data[i] = pages_[first_page - page_base + at];
        else if (region == first_controller)
            data[i] = read_register(controllers_[0], at);
        else
            data[i] = read_register(controllers_[1], at / 2);
    }
}

void I8237Pair::write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        const auto at = static_cast<unsigned>(offset + i);
        if (region == page_registers)
            pages_[first_page - page_base + at] = data[i];
        else if (region == first_controller)
            write_register(controllers_[0], at, data[i]);
        else
            write_register(controllers_[1], at / 2, data[i]);
    }
}

} // namespace escalus
