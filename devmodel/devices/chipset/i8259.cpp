// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/i8259.hpp"

#include <bit>

namespace escalus {

namespace {

constexpr unsigned cascade = 2;
constexpr std::uint8_t icw1_bit = 0x10, icw1_single = 0x02, icw1_icw4 = 0x01;
constexpr std::uint8_t icw4_nested = 0x10, icw4_auto_eoi = 0x02;
constexpr std::uint8_t ocw3_bit = 0x08;
// IRQ 0, 1, 2, 8 and 13 cannot be level-triggered (82371SB, 2.5.6).
constexpr std::array<std::uint8_t, 2> elcr_writable{0xf8, 0xde};

constexpr std::uint8_t bit(unsigned input) {
    return static_cast<std::uint8_t>(1u << (input & 7));
}
constexpr std::uint8_t without(std::uint8_t from, std::uint8_t bits) {
    return static_cast<std::uint8_t>(from & ~bits);
}

} // namespace

void I8259::reset() {
    // The lines outlive a reset, and so does what the board wired.
    const std::uint8_t inputs = inputs_;
    *this = I8259{is_slave_};
    inputs_ = inputs;
}

void I8259::set_input(unsigned input, bool level) {
    if (level && (inputs_ & bit(input)) == 0)
        irr_ |= bit(input);
    inputs_ = level ? static_cast<std::uint8_t>(inputs_ | bit(input)) : without(inputs_, bit(input));
}

std::uint8_t I8259::requests() const {
    return static_cast<std::uint8_t>(without(irr_, elcr_) | (inputs_ & elcr_));
}

std::uint8_t I8259::in_service() const {
    return special_mask_ ? without(isr_, imr_) : isr_;
}

unsigned I8259::rank(std::uint8_t bits) const {
    const auto rotated = std::rotr(bits, (lowest_priority_ + 1) & 7);
    return static_cast<unsigned>(std::countr_zero(rotated));
}

unsigned I8259::highest_request() const {
    if (next_icw_ != 0)
        return none;
    const unsigned request = rank(without(requests(), imr_));
    // Special fully nested mode: what the slave has in service does not keep its higher ones out.
    const std::uint8_t blocking =
        special_fully_nested_ && !is_slave_ ? without(in_service(), bit(cascade)) : in_service();
    if (request == none || request >= rank(blocking))
        return none;
    return (request + lowest_priority_ + 1) & 7;
}

unsigned I8259::acknowledge() {
    const unsigned input = highest_request();
    if (input == none)
        return 7; // spurious: nothing goes in service
    irr_ = without(irr_, bit(input));
    if (!auto_eoi_)
        isr_ |= bit(input);
    else if (rotate_on_auto_eoi_)
        lowest_priority_ = static_cast<std::uint8_t>(input);
    return input;
}

std::uint8_t I8259::read(unsigned port) {
    if (poll_) {
        poll_ = false;
        const bool requested = interrupt_requested();
        return requested ? static_cast<std::uint8_t>(0x80 | acknowledge()) : 0;
    }
    if (port == 1)
        return imr_;
    return read_isr_ ? isr_ : requests();
}

void I8259::write(unsigned port, std::uint8_t value) {
    if (port == 0) {
        if ((value & icw1_bit) != 0)
            start_initialization(value);
        else if ((value & ocw3_bit) != 0)
            write_ocw3(value);
        else
            write_ocw2(value);
        return;
    }
    switch (next_icw_) {
    case 2:
        vector_base_ = value & 0xf8;
        next_icw_ = !single_ ? 3 : expects_icw4_ ? 4 : 0;
        break;
    case 3:
        next_icw_ = expects_icw4_ ? 4 : 0;
        break;
    case 4:
        special_fully_nested_ = (value & icw4_nested) != 0;
        auto_eoi_ = (value & icw4_auto_eoi) != 0;
        next_icw_ = 0;
        break;
    default:
        imr_ = value;
    }
}

void I8259::start_initialization(std::uint8_t icw1) {
    // The datasheet's list for ICW1, (a) to (f): the edge sense circuit is reset, so an input that is high
    // must fall and rise to interrupt; IMR cleared; input 7 lowest; special mask off; IRR is read; ICW4's
    // functions off.
    const std::uint8_t elcr = elcr_;
    reset();
    elcr_ = elcr;
    single_ = (icw1 & icw1_single) != 0;
    expects_icw4_ = (icw1 & icw1_icw4) != 0;
    next_icw_ = 2;
}

void I8259::write_ocw2(std::uint8_t value) {
    const bool rotate = (value & 0x80) != 0, specific = (value & 0x40) != 0, eoi = (value & 0x20) != 0;
    unsigned input = value & 7u;
    if (!specific && !eoi) {
        rotate_on_auto_eoi_ = rotate;
        return;
    }
    if (!specific) {
        // The highest in service; in special mask mode masked ones are passed over (datasheet, "Special Mask
        // Mode").
        const unsigned highest = rank(in_service());
        if (highest == none)
            return;
        input = (highest + lowest_priority_ + 1) & 7;
    }
    if (eoi)
        isr_ = without(isr_, bit(input));
    if (rotate)
        lowest_priority_ = static_cast<std::uint8_t>(input);
}

void I8259::write_ocw3(std::uint8_t value) {
    if ((value & 0x40) != 0)
        special_mask_ = (value & 0x20) != 0;
    if ((value & 0x04) != 0)
        poll_ = true;
    else if ((value & 0x02) != 0)
        read_isr_ = (value & 0x01) != 0;
}

I8259Pair::I8259Pair(Bus& ports, IrqLine intr) : intr_{intr} {
    ports.add(0x20, 2, *this, 0);
    ports.add(0xa0, 2, *this, 1);
    ports.add(0x4d0, 2, *this, 2);
}

void I8259Pair::reset(ResetKind) {
    master_.reset();
    slave_.reset();
    update();
}

void I8259Pair::update() {
    master_.set_input(cascade, slave_.interrupt_requested());
    intr_.set(master_.interrupt_requested());
}

void I8259Pair::set_irq(unsigned input, bool level) {
    if (input >= 16 || input == cascade)
        return;
    (input < 8 ? master_ : slave_).set_input(input & 7, level);
    update();
}

std::uint8_t I8259Pair::acknowledge() {
    const unsigned input = master_.acknowledge();
    std::uint8_t vector = master_.vector(input);
    if (input == cascade) {
        vector = slave_.vector(slave_.acknowledge());
        // INT falls at the end of an INTA sequence: a further request of the slave must be a new edge.
        master_.set_input(cascade, false);
    }
    intr_.lower();
    update();
    return vector;
}

void I8259Pair::read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        const auto port = static_cast<unsigned>(offset + i);
        if (region == 2) {
            data[i] = (port == 0 ? master_ : slave_).level_triggered();
            continue;
        }
        I8259& chip = region == 0 ? master_ : slave_;
        const bool polled = chip.polled();
        data[i] = chip.read(port);
        if (!polled)
            continue;
        // A poll ends like an INTA sequence.
        if (region == 1)
            master_.set_input(cascade, false);
        intr_.lower();
        update();
    }
}

void I8259Pair::write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        const auto port = static_cast<unsigned>(offset + i);
        if (region == 2)
            (port == 0 ? master_ : slave_).set_level_triggered(data[i] & elcr_writable.at(port));
        else
            (region == 0 ? master_ : slave_).write(port, data[i]);
    }
    update();
}

} // namespace escalus
