// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/i8254.hpp"

#include "devmodel/devices/chipset/oscillator.hpp"

namespace escalus {

namespace {

constexpr unsigned region_counters = 0, region_port_b = 1;
constexpr unsigned control_port = 3;
constexpr std::uint64_t refresh_ticks = 18; // what channel 1 is programmed to on every PC

} // namespace

I8254::I8254(Clock& clock, Bus& ports, IrqLine irq0)
    : clock_{clock}, irq0_{irq0}, timer_{clock, [this] { fire(); }} {
    ports.add(0x40, 4, *this, region_counters);
    ports.add(0x61, 1, *this, region_port_b);
}

void I8254::reset(ResetKind) {
    advance();
    channels_[0].reset(true);
    channels_[1].reset(true);
    channels_[2].reset(false);
    port_b_ = 0;
    pacer_.clear();
    timer_.cancel();
    irq0_.lower();
}

/// Brings all counters up to now. Edges of channel 0 are noted; the timer, which is due then, delivers them.
void I8254::advance() {
    const std::uint64_t now = pit_oscillator.ticks(clock_.now());
    pacer_.add(channels_[0].advance(now));
    channels_[1].advance(now);
    channels_[2].advance(now);
}

void I8254::deliver_owed() {
    if (!pacer_.take(clock_.now()))
        return;
    irq0_.lower();
    irq0_.raise();
}

void I8254::fire() {
    advance();
    deliver_owed();
    arm();
}

void I8254::arm() {
    const GuestTime now = clock_.now();
    const auto next = channels_[0].next_rising_edge();
    if (!next && !pacer_.owes()) {
        timer_.cancel();
        return;
    }
    const GuestTime due = next ? pit_oscillator.time_of(*next) : INT64_MAX;
    timer_.arm(pacer_.deadline(now, due, pit_oscillator.time_of(channels_[0].period())));
}

std::uint8_t I8254::read_port(unsigned port) {
    return port == control_port ? 0xff : channels_.at(port).read(); // the control word cannot be read
}

void I8254::write_port(unsigned port, std::uint8_t value) {
    const unsigned selected = port == control_port ? value >> 6 : port;
    if (selected == 3) { // read-back
        for (unsigned i = 0; i < 3; ++i) {
            if ((value & (2u << i)) == 0)
                continue;
            if ((value & 0x20) == 0)
                channels_.at(i).latch_count();
            if ((value & 0x10) == 0)
                channels_.at(i).latch_status();
        }
        return;
    }
    I8254Channel& channel = channels_.at(selected);
    if (port == control_port && (value & 0x30) == 0) {
        channel.latch_count();
        return;
    }
    if (selected == 0)
        deliver_owed(); // what came due before goes first
    if (port == control_port)
        channel.write_control(value);
    else
        channel.write_count(value);
    if (selected != 0)
        return;
    if (channel.period() == 0 || port == control_port)
        pacer_.clear();
    irq0_.set(channel.output());
    arm();
}

void I8254::read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) {
    advance();
    if (region == region_port_b) {
        const bool refresh = (pit_oscillator.ticks(clock_.now()) / refresh_ticks & 1) != 0;
        data[0] =
            static_cast<std::uint8_t>(port_b_ | (refresh ? 0x10 : 0) | (channels_[2].output() ? 0x20 : 0));
        return;
    }
    for (std::size_t i = 0; i < data.size(); ++i)
        data[i] = read_port(static_cast<unsigned>(offset + i));
}

void I8254::write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) {
    advance();
    if (region == region_port_b) {
        port_b_ = data[0] & 0x0f;
        channels_[2].set_gate((port_b_ & 1) != 0);
        return;
    }
    for (std::size_t i = 0; i < data.size(); ++i)
        write_port(static_cast<unsigned>(offset + i), data[i]);
}

} // namespace escalus
