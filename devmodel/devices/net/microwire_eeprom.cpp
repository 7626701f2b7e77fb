// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/net/microwire_eeprom.hpp"

namespace escalus {

void MicrowireEeprom::reset() {
    const auto kept = content;
    *this = MicrowireEeprom{};
    content = kept;
}

void MicrowireEeprom::set_lines(bool select, bool clock, bool data_in) {
    if (!select) {
        phase_ = Phase::Idle;
        data_out_ = true; // pulled up, and "ready" when it is selected again
    } else if (clock && !clock_ && select_) {
        clock_in(data_in);
    }
    select_ = select;
    clock_ = clock;
}

void MicrowireEeprom::clock_in(bool bit) {
    switch (phase_) {
    case Phase::Idle: // a start bit is a one
        if (bit) {
            phase_ = Phase::Command;
            shift_ = 0;
            bits_ = 0;
        }
        return;
    case Phase::Command:
        shift_ = static_cast<std::uint16_t>(shift_ << 1 | (bit ? 1 : 0));
        if (++bits_ == 2 + address_bits)
            execute();
        return;
    case Phase::Read: // words follow one another for as long as the clock runs
        if (bits_ == 0)
            shift_ = content[address_];
        data_out_ = (shift_ & 0x8000) != 0;
        shift_ = static_cast<std::uint16_t>(shift_ << 1);
        if (++bits_ == 16) {
            bits_ = 0;
            address_ = (address_ + 1) % words;
        }
        return;
    case Phase::Write:
        shift_ = static_cast<std::uint16_t>(shift_ << 1 | (bit ? 1 : 0));
        if (++bits_ == 16)
            store();
        return;
    }
}

void MicrowireEeprom::execute() {
    const auto opcode = shift_ >> address_bits;
    address_ = shift_ % words;
    bits_ = 0;
    all_ = false;
    phase_ = Phase::Idle;
    switch (opcode) {
    case 2:
        phase_ = Phase::Read;
        data_out_ = false; // the dummy bit
        return;
    case 1:
        phase_ = Phase::Write;
        return;
    case 3:
        if (writable_)
            content[address_] = 0xffff;
        return;
    default: // the two upper address bits tell these apart
        switch (address_ >> (address_bits - 2)) {
        case 0:
            writable_ = false;
            return;
        case 1:
            phase_ = Phase::Write;
            all_ = true;
            return;
        case 2:
            if (writable_)
                content.fill(0xffff);
            return;
        default:
            writable_ = true;
        }
    }
}

void MicrowireEeprom::store() {
    phase_ = Phase::Idle;
    if (!writable_)
        return;
    if (all_)
        content.fill(shift_);
    else
        content[address_] = shift_;
}

} // namespace escalus
