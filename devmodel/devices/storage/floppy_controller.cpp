// SPDX-License-Identifier: GPL-2.0-or-later
// Registers, phases and resets of the 82077AA.
#include "devmodel/devices/storage/floppy_controller.hpp"

#include "devmodel/devices/storage/floppy_registers.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace escalus {

namespace {
constexpr unsigned base = 0x3f2, base_ports = 4, input_port = 0x3f7;
enum Register : unsigned { digital_output, tape_drive, main_status_or_rate, fifo };
enum Region : unsigned { registers, input_register };

// The drives have been polled, one after the other (the datasheet allows 250 us at 500 kbit/s).
constexpr GuestTime poll_time = 20'000;
} // namespace

FloppyController::FloppyController(Clock& clock, Bus& ports, IrqLine irq, DmaLine dma)
    : ports_{ports},
      irq_{irq},
      dma_{dma},
      poll_timer_{clock, [this] { polled(); }},
      clock_{clock},
      sector_{std::make_shared<Sector>()} {
    for (unsigned unit = 0; unit < units; ++unit)
        seek_timers_[unit].emplace(clock, [this, unit] { seeks_done(unit); });
    dma_.connect([this] { run(); });
    ports_.add(base, base_ports, *this, registers);
    ports_.add(input_port, 1, *this, input_register);
}

FloppyController::~FloppyController() {
    ports_.remove(base);
    ports_.remove(input_port);
    dma_.connect({});
}

void FloppyController::attach(unsigned unit, FloppyDriveType type) {
    units_.at(unit).drive = std::make_unique<FloppyDrive>(type);
}

const FloppyDrive* FloppyController::drive(unsigned unit) const {
    return unit < units ? units_[unit].drive.get() : nullptr;
}

void FloppyController::insert(unsigned unit, std::unique_ptr<BlockBackend> medium) {
    auto& drive = *units_.at(unit).drive;
    if (auto why = why_no_floppy(drive.type(), medium->size()); !why.empty())
        throw std::invalid_argument{why};
    eject(unit);
    drive.insert(std::move(medium));
}

void FloppyController::eject(unsigned unit) {
    if (transfer_.stage != Stage::None && transfer_.unit == unit)
        finish(fdc::missing_mark, 0);
    units_.at(unit).drive->eject();
}

// --- Lifecycle ---------------------------------------------------------------------------------------------

void FloppyController::reset(ResetKind kind) {
    locked_ = false;
    specified_ = {};
    no_dma_ = false;
    perpendicular_ = 0;
    digital_output_ = tape_ = 0;
    rate_ = static_cast<std::uint8_t>(FloppyRate::K250);
    begin_reset();
    id_turn_ = 0;
    if (kind == ResetKind::PowerOn)
        for (auto& unit : units_)
            if (unit.drive)
                unit.drive->power_on();
}

void FloppyController::resume() {
    paused_ = false;
    run();
}

// A reset by software; the hardware's does more. SPECIFY's values stay (section 4.0), and so do those that
// LOCK guards.
void FloppyController::begin_reset() {
    abandon();
    set_interrupt(false);
    poll_timer_.cancel();
    polling_ = false;
    phase_ = Phase::Command;
    filled_ = taken_ = 0;
    for (unsigned unit = 0; unit < units; ++unit) {
        seek_timers_[unit]->cancel();
        units_[unit].busy = false;
        units_[unit].status.reset();
        units_[unit].cylinder = 0;
    }
    if (!locked_)
        precompensation_track_ = 0;
    configuration_ = locked_ ? configuration_ & (fdc::fifo_off | fdc::threshold) : fdc::fifo_off;
    perpendicular_ &= 0x3c; // GAP and WGATE are cleared, the drives' bits are not
    end_of_track_ = 0;
}

void FloppyController::end_reset() {
    polling_ = true;
    poll_timer_.arm(clock_.now() + poll_time);
}

// Every drive seems to have become ready: that is the interrupt after a reset, and four times an answer to
// SENSE INTERRUPT STATUS.
void FloppyController::polled() {
    polling_ = false;
    for (unsigned unit = 0; unit < units; ++unit)
        units_[unit].status = static_cast<std::uint8_t>(fdc::polled | unit);
    set_interrupt(true);
}

// --- Registers ---------------------------------------------------------------------------------------------

bool FloppyController::held() const {
    return (digital_output_ & fdc::out_run) == 0;
}

void FloppyController::set_interrupt(bool level) {
    interrupt_ = level;
    irq_.set(interrupt_ && (digital_output_ & fdc::out_gate) != 0);
}

std::uint8_t FloppyController::main_status() const {
    if (held() || polling_)
        return 0;
    unsigned value = 0;
    for (unsigned unit = 0; unit < units; ++unit)
        value |= units_[unit].busy ? 1u << unit : 0;
    switch (phase_) {
    case Phase::Command:
        value |= fdc::main_request | (filled_ > 0 ? fdc::main_busy : 0);
        break;
    case Phase::Execution:
        value |= fdc::main_busy | (no_dma_ ? fdc::main_no_dma : 0);
        if (through_port())
            value |= fdc::main_request | (to_guest() ? fdc::main_to_guest : 0);
        break;
    case Phase::Result:
        value |= fdc::main_request | fdc::main_to_guest | fdc::main_busy;
        break;
    }
    return static_cast<std::uint8_t>(value);
}

// Bit 7 is the disk change line of the selected drive; the others are not driven in PC-AT mode.
std::uint8_t FloppyController::digital_input() const {
    const auto* selected = drive(digital_output_ & 3);
    return static_cast<std::uint8_t>(0x7f | (selected != nullptr && selected->changed() ? 0x80 : 0));
}

void FloppyController::write_digital_output(std::uint8_t value) {
    const bool was_held = held();
    digital_output_ = value;
    if (held())
        begin_reset();
    else if (was_held)
        end_reset();
    set_interrupt(interrupt_); // the gate
    run();
}

void FloppyController::write_rate_select(std::uint8_t value) {
    rate_ = value & 3;
    if ((value & 0x80) != 0 && !held()) { // a reset that ends by itself
        begin_reset();
        end_reset();
    }
}

void FloppyController::read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i)
        if (region == input_register) {
            data[i] = digital_input();
        } else {
            switch (offset + i) {
            case digital_output:
                data[i] = digital_output_;
                break;
            case tape_drive:
                data[i] = static_cast<std::uint8_t>(0xfc | tape_);
                break;
            case main_status_or_rate:
                data[i] = main_status();
                break;
            default:
                data[i] = read_fifo();
            }
        }
}

void FloppyController::write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i)
        if (region == input_register) {
            rate_ = data[i] & 3; // configuration control register
        } else {
            switch (offset + i) {
            case digital_output:
                write_digital_output(data[i]);
                break;
            case tape_drive:
                tape_ = data[i] & 3;
                break;
            case main_status_or_rate:
                write_rate_select(data[i]);
                break;
            default:
                write_fifo(data[i]);
            }
        }
}

// --- Phases ------------------------------------------------------------------------------------------------

void FloppyController::write_fifo(std::uint8_t value) {
    if (held() || polling_)
        return;
    if (through_port() && !to_guest()) {
        (*sector_)[transfer_.place++] = value;
        next_window();
        run();
        return;
    }
    if (phase_ != Phase::Command)
        return;
    bytes_[filled_++] = value;
    if (filled_ == 1)
        command_ = find_command(value);
    if (command_ == nullptr) {
        invalid();
    } else if (filled_ == command_->bytes) {
        filled_ = 0;
        (this->*command_->execute)();
    }
}

std::uint8_t FloppyController::read_fifo() {
    if (held() || polling_)
        return 0xff;
    if (through_port() && to_guest()) {
        const auto value = (*sector_)[transfer_.place++];
        next_window();
        run();
        return value;
    }
    if (phase_ != Phase::Result)
        return 0xff;
    if (taken_ == 0)
        next_interrupt();
    const auto value = bytes_[taken_++];
    if (taken_ == filled_) {
        phase_ = Phase::Command;
        filled_ = taken_ = 0;
    }
    return value;
}

void FloppyController::answer(std::initializer_list<std::uint8_t> result) {
    std::ranges::copy(result, bytes_.begin());
    filled_ = result.size();
    taken_ = 0;
    phase_ = Phase::Result;
}

// What INT stood for has been taken; a seek that ended meanwhile gives a new edge.
void FloppyController::next_interrupt() {
    set_interrupt(false);
    if (std::ranges::any_of(units_, [](const Unit& unit) { return unit.status && unit.busy; }))
        set_interrupt(true);
}

} // namespace escalus
