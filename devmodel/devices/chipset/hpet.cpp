// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/hpet.hpp"

#include "devmodel/devices/chipset/oscillator.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace escalus {

namespace {

constexpr unsigned reg_capabilities = 0x000, reg_config = 0x010, reg_status = 0x020, reg_counter = 0x0f0,
                   reg_timers = 0x100, timer_stride = 0x20, timer_config = 0x00, timer_comparator = 0x08;

constexpr std::uint64_t config_enable = 1, config_legacy = 2;

constexpr std::uint64_t tn_level = 1 << 1, tn_enable = 1 << 2, tn_periodic = 1 << 3, tn_can_periodic = 1 << 4,
                        tn_can_64_bit = 1 << 5, tn_set_value = 1 << 6, tn_32_bit = 1 << 8;
constexpr unsigned tn_route_shift = 9;
constexpr std::uint64_t tn_route = 31ull << tn_route_shift;
constexpr std::uint64_t tn_writable = tn_level | tn_enable | tn_periodic | tn_set_value | tn_32_bit;

constexpr std::uint64_t low_half = 0xffff'ffff, high_half = ~low_half;

constexpr std::uint64_t width_mask(std::uint64_t timer) {
    return (timer & tn_32_bit) != 0 ? low_half : ~0ull;
}

// Routes that are not I/O APIC inputs.
constexpr unsigned legacy_route = 0x80;

} // namespace

Hpet::Hpet(Clock& clock, Bus& memory, LegacyRouting& legacy, IrqSink& io_apic, std::uint32_t routes)
    : clock_{clock}, legacy_{legacy}, io_apic_{io_apic}, routes_{routes}, timer_{clock, [this] { fire(); }} {
    memory.add(mmio_base, mmio_size, *this, 0);
    reset(ResetKind::PowerOn);
}

void Hpet::reset(ResetKind) {
    timer_.cancel();
    config_ = 0;
    status_ = 0;
    counter_base_ = 0;
    const auto lowest_route = static_cast<std::uint64_t>(routes_ != 0 ? std::countr_zero(routes_) : 0);
    for (Comparator& timer : timers_) {
        timer.line.lower();
        timer = {};
        timer.config =
            tn_can_periodic | tn_can_64_bit | std::uint64_t{routes_} << 32 | lowest_route << tn_route_shift;
        timer.value = ~0ull;
    }
    legacy_.replace(false);
}

bool Hpet::enabled() const {
    return (config_ & config_enable) != 0;
}

std::uint64_t Hpet::tick() const {
    return hpet_oscillator.ticks(clock_.now());
}

std::uint64_t Hpet::counter() const {
    return counter_base_ + (enabled() ? tick() : 0);
}

/// Works out when the comparator matches, from what counter and comparator hold now.
void Hpet::schedule_match(Comparator& timer, Past past) {
    timer.match_at.reset();
    if (!enabled())
        return;
    const std::uint64_t mask = width_mask(timer.config), now = tick();
    const std::uint64_t ahead = (timer.value - counter()) & mask, behind = (counter() - timer.value) & mask;
    // In 64-bit mode everything in the nearer half is past; 32-bit comparators are set far ahead in earnest,
    // so only the recent past counts (a signed comparison there made Vista's clock slow).
    const std::uint64_t limit = mask == low_half ? recent_past : 1ull << 63;
    if (past == Past::FiresNow && behind < limit)
        timer.match_at = now;
    else if (ahead <= ~now)
        timer.match_at = now + ahead;
}

/// Brings status, comparators and owed edges up to now.
void Hpet::advance() {
    for (unsigned i = 0; i < timer_count; ++i)
        advance(i);
}

void Hpet::advance(unsigned index) {
    Comparator& timer = timers_.at(index);
    const std::uint64_t now = tick();
    if (!timer.match_at || *timer.match_at > now)
        return;
    std::uint64_t matches = 1;
    if ((timer.config & tn_periodic) != 0 && timer.period != 0) {
        const std::uint64_t further = (now - *timer.match_at) / timer.period;
        const std::uint64_t last = *timer.match_at + further * timer.period; // not after now
        matches += further;
        timer.value = (timer.value + matches * timer.period) & width_mask(timer.config);
        if (timer.period <= ~last)
            timer.match_at = last + timer.period;
        else
            timer.match_at.reset(); // beyond the end of time
    } else if ((timer.config & tn_32_bit) != 0) {
        const std::uint64_t wraps = (now - *timer.match_at) >> 32;
        matches += wraps;
        timer.match_at = *timer.match_at + (matches << 32);
    } else {
        timer.match_at.reset(); // the next one is centuries away
    }
    if ((timer.config & tn_level) != 0)
        status_ |= 1ull << index;
    else if ((timer.config & tn_enable) != 0)
        timer.pacer.add(matches);
}

/// Connects the timer's output to where its configuration says.
void Hpet::connect(unsigned index) {
    Comparator& timer = timers_.at(index);
    const bool legacy = (config_ & config_legacy) != 0 && index < 2;
    const auto input = static_cast<unsigned>((timer.config & tn_route) >> tn_route_shift);
    const bool allowed = (routes_ >> input & 1) != 0;
    const unsigned route = legacy ? legacy_route : allowed ? input : no_route;
    if (route == timer.route)
        return;
    timer.line.lower();
    timer.route = route;
    if (legacy)
        timer.line = IrqLine{legacy_, LegacyRouting::hpet_timer0 + index};
    else
        timer.line = allowed ? IrqLine{io_apic_, input} : IrqLine{};
}

/// Lines, and the timer for the next event, follow the registers.
void Hpet::settle() {
    GuestTime next = INT64_MAX;
    const GuestTime now = clock_.now();
    for (unsigned i = 0; i < timer_count; ++i) {
        connect(i);
        Comparator& timer = timers_.at(i);
        const bool level = (timer.config & tn_level) != 0, waits = (status_ >> i & 1) != 0;
        const bool enable = enabled() && (timer.config & tn_enable) != 0;
        timer.line.set(enable && level && waits);
        if (!enable || (level && waits))
            continue;
        const GuestTime due = timer.match_at ? hpet_oscillator.time_of(*timer.match_at) : INT64_MAX;
        if (level) {
            next = std::min(next, due);
        } else if (timer.match_at || timer.pacer.owes()) {
            const GuestTime period = hpet_oscillator.time_of(timer.period);
            next = std::min(next, timer.pacer.deadline(now, due, std::min(period, ns_per_second)));
        }
    }
    if (next == INT64_MAX)
        timer_.cancel();
    else
        timer_.arm(next);
}

void Hpet::deliver_owed() {
    for (unsigned i = 0; i < timer_count; ++i) {
        connect(i);
        Comparator& timer = timers_.at(i);
        if (enabled() && (timer.config & tn_enable) != 0 && timer.pacer.take(clock_.now()))
            timer.line.pulse();
    }
}

void Hpet::fire() {
    advance();
    deliver_owed();
    settle();
}

// --- registers

std::uint64_t Hpet::read_register(unsigned offset) const {
    if (offset >= reg_timers) {
        const unsigned index = (offset - reg_timers) / timer_stride;
        if (index >= timer_count)
            return 0;
        const Comparator& timer = timers_.at(index);
        switch ((offset - reg_timers) % timer_stride) {
        case timer_config:
            return timer.config;
        case timer_comparator:
            return timer.value;
        default:
            return 0;
        }
    }
    switch (offset) {
    case reg_capabilities: // period, vendor, legacy routing, 64 bits, number of timers - 1, revision
        return std::uint64_t{period_fs} << 32 | 0x8086ull << 16 | 1u << 15 | 1u << 13 |
               (timer_count - 1) << 8 | 1;
    case reg_config:
        return config_;
    case reg_status:
        return status_;
    case reg_counter:
        return counter();
    default:
        return 0;
    }
}

void Hpet::write_register(unsigned offset, std::uint64_t value, std::uint64_t mask) {
    const auto merged = [&](std::uint64_t old) { return (old & ~mask) | (value & mask); };
    if (offset >= reg_timers) {
        const unsigned index = (offset - reg_timers) / timer_stride;
        if (index >= timer_count)
            return;
        Comparator& timer = timers_.at(index);
        const unsigned which = (offset - reg_timers) % timer_stride;
        if (which == timer_config) {
            write_timer_config(timer, merged(timer.config));
            if ((timer.config & tn_level) == 0)
                status_ &= ~(1ull << index); // the status bit is 0 in edge mode
        } else if (which == timer_comparator) {
            write_comparator(timer, value, mask);
        }
        return;
    }
    switch (offset) {
    case reg_config:
        write_config(merged(config_));
        break;
    case reg_status:
        status_ &= ~(value & mask);
        break;
    case reg_counter: {
        const std::uint64_t now = counter();
        counter_base_ += merged(now) - now;
        for (Comparator& timer : timers_)
            schedule_match(timer, Past::Wraps);
        break;
    }
    default:
        break;
    }
}

void Hpet::write_config(std::uint64_t value) {
    const bool was_enabled = enabled();
    const std::uint64_t value_now = counter();
    config_ = value & (config_enable | config_legacy);
    counter_base_ = value_now - (enabled() ? tick() : 0);
    if (was_enabled != enabled())
        for (Comparator& timer : timers_)
            schedule_match(timer, Past::Wraps);
    legacy_.replace((config_ & config_legacy) != 0);
}

void Hpet::write_timer_config(Comparator& timer, std::uint64_t value) {
    const std::uint64_t old = timer.config;
    std::uint64_t route = value & tn_route;
    if ((routes_ >> (route >> tn_route_shift) & 1) == 0)
        route = old & tn_route; // software reads back to see whether the route exists (2.3.8)
    timer.config = (old & ~(tn_writable | tn_route)) | (value & tn_writable) | route;
    timer.value &= width_mask(timer.config);
    timer.period &= width_mask(timer.config);
    timer.accumulator_open = false;
    if (((old ^ timer.config) & (tn_periodic | tn_32_bit)) != 0)
        schedule_match(timer, Past::Wraps);
    if (((old ^ timer.config) & (tn_enable | tn_level)) != 0)
        timer.pacer.clear();
}

/// In periodic mode a write sets the period, and after VAL_SET the accumulator as well (2.3.9.2.2). A 32-bit
/// processor writes the low half first, so the accumulator stays open for the high half.
void Hpet::write_comparator(Comparator& timer, std::uint64_t value, std::uint64_t mask) {
    const bool periodic = (timer.config & tn_periodic) != 0;
    const bool set_value = (timer.config & tn_set_value) != 0;
    const bool closing_half = timer.accumulator_open && (mask & low_half) == 0;
    const std::uint64_t width = width_mask(timer.config);
    timer.accumulator_open = set_value && (mask & high_half) == 0;
    timer.config &= ~tn_set_value;
    if (periodic)
        timer.period = ((timer.period & ~mask) | (value & mask)) & width;
    if (periodic && !set_value && !closing_half)
        return;
    timer.value = ((timer.value & ~mask) | (value & mask)) & width;
    timer.pacer.clear();
    // A low half alone is no 64-bit comparator yet: it must not count as past by accident.
    const bool half_done = width != low_half && (mask & high_half) == 0;
    schedule_match(timer, half_done ? Past::Wraps : Past::FiresNow);
}

void Hpet::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    // Capabilities, configuration and the counter itself, which guests read all the time, owe nothing to the
    // comparators.
    if (const std::uint64_t end = offset + data.size();
        end > reg_timers || (end > reg_status && offset < reg_status + 8))
        advance();
    if (data.size() == 4 && (offset & 3) == 0) { // nearly always
        const auto at = static_cast<unsigned>(offset);
        const auto half = static_cast<std::uint32_t>(read_register(at & ~7u) >> 8 * (at & 4));
        std::memcpy(data.data(), &half, sizeof half); // both are little-endian
        return;
    }
    for (std::size_t i = 0; i < data.size();) {
        const auto at = static_cast<unsigned>(offset + i);
        const std::uint64_t value = read_register(at & ~7u) >> 8 * (at & 7);
        const std::size_t count = std::min<std::size_t>(8 - (at & 7), data.size() - i);
        std::memcpy(&data[i], &value, count);
        i += count;
    }
}

void Hpet::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    advance();
    deliver_owed(); // what came due before goes first
    for (std::size_t i = 0; i < data.size();) {
        const auto at = static_cast<unsigned>(offset + i);
        const std::size_t count = std::min<std::size_t>(8 - (at & 7), data.size() - i);
        std::uint64_t value = 0, mask = 0;
        for (std::size_t k = 0; k < count; ++k) {
            value |= std::uint64_t{data[i + k]} << 8 * ((at & 7) + k);
            mask |= 0xffull << 8 * ((at & 7) + k);
        }
        write_register(at & ~7u, value, mask);
        i += count;
    }
    settle();
}

} // namespace escalus
