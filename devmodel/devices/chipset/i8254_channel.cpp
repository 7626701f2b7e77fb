// SPDX-License-Identifier: GPL-2.0-or-later
// One counter of the 8254: what OUT and the count are at a given tick, in each mode.
#include "devmodel/devices/chipset/i8254.hpp"

namespace escalus {

void I8254Channel::reset(bool gate) {
    const std::uint64_t now = now_;
    *this = {};
    now_ = now;
    gate_ = gate;
}

std::uint64_t I8254Channel::decode(std::uint16_t written) const {
    std::uint64_t count = written;
    if (bcd_)
        count = (written >> 12) * 1000u + (written >> 8 & 15) * 100u + (written >> 4 & 15) * 10u +
                (written & 15u);
    count %= modulus();
    if (count == 0)
        return modulus();
    // A count of 1 is illegal in the periodic modes (datasheet, figure 21); here it counts as 2.
    return count == 1 && periodic() ? 2 : count;
}

std::uint16_t I8254Channel::count() const {
    if (!loaded_)
        return held_;
    std::uint64_t value = 0;
    if (mode_ == 3)
        value = initial_ - (initial_ & 1) - 2 * elapsed(); // counts by two, from an even value
    else
        value = initial_ + modulus() - elapsed() % modulus();
    value %= modulus();
    if (bcd_)
        value = (value / 1000) << 12 | (value / 100 % 10) << 8 | (value / 10 % 10) << 4 | value % 10;
    return static_cast<std::uint16_t>(value);
}

bool I8254Channel::output() const {
    switch (mode_) {
    case 0:
        return loaded_ && elapsed() >= initial_;
    case 1:
        return !loaded_ || elapsed() >= initial_;
    case 2:
        return !counting_ || elapsed() != initial_ - 1;
    case 3:
        return !counting_ || half_high_;
    default: // 4, 5: low for one tick at the end of the count
        return !loaded_ || elapsed() != initial_;
    }
}

void I8254Channel::load(std::uint64_t tick) {
    initial_ = decode(written_);
    base_ = tick;
    frozen_ = 0;
    loaded_ = true;
    null_count_ = false;
    load_at_.reset();
    counting_ = gate_ || mode_ == 1 || mode_ == 5;
}

std::uint64_t I8254Channel::half_length(bool high) const {
    return high ? (initial_ + 1) / 2 : initial_ / 2;
}

/// Modes 2 and 3: skips whole periods, however many; a new count is taken at the end of the period (mode 3:
/// of the half cycle) under way.
std::uint64_t I8254Channel::advance_periodic(std::uint64_t now) {
    std::uint64_t edges = 0;
    for (;;) {
        if (!null_count_ || !have_count_) {
            const std::uint64_t periods = (now - base_) / initial_;
            base_ += periods * initial_;
            edges += periods;
        }
        const std::uint64_t length = mode_ == 2 ? initial_ : half_length(half_high_);
        if (now - base_ < length)
            break;
        if (mode_ == 3)
            half_high_ = !half_high_;
        edges += half_high_ ? 1 : 0;
        base_ += length;
        if (null_count_ && have_count_)
            load(base_);
    }
    now_ = now;
    return edges;
}

std::uint64_t I8254Channel::advance(std::uint64_t now) {
    std::uint64_t edges = 0;
    const auto run_to = [&](std::uint64_t tick) {
        if (counting_ && periodic()) {
            edges += advance_periodic(tick);
            return;
        }
        if (counting_) {
            const std::uint64_t rises = initial_ + (mode_ >= 4 ? 1 : 0);
            if (elapsed() < rises && tick - base_ >= rises)
                ++edges;
        }
        now_ = tick;
    };
    if (now <= now_)
        return 0;
    if (load_at_ && *load_at_ <= now) {
        run_to(*load_at_);
        const bool before = output();
        half_high_ = true; // a trigger or a first load starts with the high half
        load(now_);
        if (!before && output())
            ++edges;
    }
    run_to(now);
    return edges;
}

std::optional<std::uint64_t> I8254Channel::next_rising_edge() const {
    if (load_at_) {
        I8254Channel after = *this;
        return after.advance(*load_at_) != 0 ? load_at_ : after.next_rising_edge();
    }
    if (!counting_)
        return std::nullopt;
    if (mode_ == 2 || (mode_ == 3 && half_high_ && !null_count_))
        return base_ + initial_;
    if (mode_ == 3) // with a new count waiting, look again when the half cycle ends
        return base_ + half_length(half_high_);
    const std::uint64_t rises = initial_ + (mode_ >= 4 ? 1 : 0);
    return elapsed() < rises ? std::optional{base_ + rises} : std::nullopt;
}

std::uint64_t I8254Channel::period() const {
    return periodic() && counting_ ? initial_ : 0;
}

void I8254Channel::write_control(std::uint8_t control) {
    held_ = count();
    mode_ = control >> 1 & 7;
    if (mode_ > 5)
        mode_ -= 4;
    access_ = control >> 4 & 3;
    bcd_ = (control & 1) != 0;
    low_byte_.reset();
    read_high_next_ = false;
    null_count_ = true;
    have_count_ = false;
    load_at_.reset();
    loaded_ = false;
    counting_ = false;
    half_high_ = true;
    latched_count_.reset();
    latched_status_.reset();
}

void I8254Channel::write_count(std::uint8_t byte) {
    if (access_ == 3 && !low_byte_) {
        low_byte_ = byte;
        if (mode_ == 0) { // the first byte stops the count, and OUT falls
            held_ = count();
            loaded_ = false;
            counting_ = false;
            load_at_.reset();
        }
        return;
    }
    if (access_ == 1)
        written_ = byte;
    else
        written_ = static_cast<std::uint16_t>(byte << 8 | low_byte_.value_or(0));
    low_byte_.reset();
    count_written();
}

void I8254Channel::count_written() {
    have_count_ = true;
    null_count_ = true;
    switch (mode_) {
    case 0:
        held_ = count();
        loaded_ = false; // OUT falls at once
        counting_ = false;
        load_at_ = now_ + 1;
        break;
    case 4:
        load_at_ = now_ + 1;
        break;
    case 2:
    case 3:
        if (!loaded_ && gate_)
            load_at_ = now_ + 1;
        break;
    default: // 1 and 5 wait for a trigger
        break;
    }
}

void I8254Channel::set_gate(bool level) {
    if (level == gate_)
        return;
    gate_ = level;
    const bool triggered = mode_ == 1 || mode_ == 5;
    if (level) {
        if (mode_ == 0 || mode_ == 4) {
            if (loaded_ && !counting_) {
                base_ = now_ - frozen_;
                counting_ = true;
            }
        } else if (have_count_) {
            load_at_ = now_ + 1;
        }
    } else if (!triggered) {
        frozen_ = elapsed();
        counting_ = false;
        if (periodic())
            load_at_.reset();
    }
}

std::uint8_t I8254Channel::read() {
    if (latched_status_) {
        const std::uint8_t status = *latched_status_;
        latched_status_.reset();
        return status;
    }
    const std::uint16_t value = latched_count_.value_or(count());
    const bool high = access_ == 2 || (access_ == 3 && read_high_next_);
    if (access_ == 3)
        read_high_next_ = !read_high_next_;
    if (!read_high_next_)
        latched_count_.reset();
    return static_cast<std::uint8_t>(high ? value >> 8 : value);
}

void I8254Channel::latch_count() {
    if (!latched_count_)
        latched_count_ = count();
}

void I8254Channel::latch_status() {
    if (latched_status_)
        return;
    latched_status_ = static_cast<std::uint8_t>((output() ? 0x80 : 0) | (null_count_ ? 0x40 : 0) |
                                                access_ << 4 | mode_ << 1 | (bcd_ ? 1 : 0));
}

} // namespace escalus
