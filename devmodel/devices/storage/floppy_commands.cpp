// SPDX-License-Identifier: GPL-2.0-or-later
// The 82077AA's commands that move no data (datasheet section 5).
#include "devmodel/devices/storage/floppy_controller.hpp"
#include "devmodel/devices/storage/floppy_registers.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
// Much faster than any drive, but not within the access that asked for it: drivers may clear their notes
// about an interrupt after they have sent the command.
constexpr GuestTime seek_time = 20'000, step_time = 2'000;
constexpr unsigned recalibrate_pulses = 80;
} // namespace

const FloppyController::Command* FloppyController::find_command(std::uint8_t first) {
    using C = FloppyController;
    static constexpr std::array<Command, 18> table{{
        {0x1f, 0x06, 9, &C::read_data},
        {0x1f, 0x0c, 9, &C::read_data}, // deleted data
        {0x3f, 0x05, 9, &C::write_data},
        {0x3f, 0x09, 9, &C::write_data}, // deleted data
        {0xbf, 0x02, 9, &C::read_track},
        {0x1f, 0x16, 9, &C::verify},
        {0xbf, 0x0d, 6, &C::format},
        {0xbf, 0x0a, 2, &C::read_id},
        {0xff, 0x03, 3, &C::specify},
        {0xff, 0x04, 2, &C::sense_drive},
        {0xff, 0x07, 2, &C::recalibrate},
        {0xff, 0x08, 1, &C::sense_interrupt},
        {0xff, 0x0f, 3, &C::seek},
        {0xbf, 0x8f, 3, &C::relative_seek},
        {0xff, 0x0e, 1, &C::dump_registers},
        {0xff, 0x10, 1, &C::version},
        {0xff, 0x12, 2, &C::perpendicular},
        {0xff, 0x13, 4, &C::configure},
    }};
    static constexpr Command lock_command{0x7f, 0x14, 1, &C::lock};
    if ((first & lock_command.mask) == lock_command.value)
        return &lock_command;
    const auto* const found =
        std::ranges::find_if(table, [&](const Command& one) { return (first & one.mask) == one.value; });
    return found != table.end() ? found : nullptr;
}

void FloppyController::invalid() {
    filled_ = 0;
    answer({fdc::invalid_command});
}

void FloppyController::specify() {
    specified_ = {bytes_[1], bytes_[2]};
    no_dma_ = (bytes_[2] & 1) != 0;
}

void FloppyController::configure() {
    configuration_ = bytes_[2] & 0x7f;
    precompensation_track_ = bytes_[3];
}

void FloppyController::lock() {
    locked_ = (bytes_[0] & 0x80) != 0;
    answer({static_cast<std::uint8_t>(locked_ ? 0x10 : 0)});
}

void FloppyController::perpendicular() {
    // The drives' bits are only written along with OW.
    const std::uint8_t kept = (bytes_[1] & 0x80) != 0 ? 0 : perpendicular_ & 0x3c;
    const std::uint8_t taken = bytes_[1] & ((bytes_[1] & 0x80) != 0 ? 0x3f : 0x03);
    perpendicular_ = kept | taken;
}

void FloppyController::dump_registers() {
    answer({units_[0].cylinder, units_[1].cylinder, units_[2].cylinder, units_[3].cylinder, specified_[0],
            specified_[1], end_of_track_, static_cast<std::uint8_t>((locked_ ? 0x80 : 0) | perpendicular_),
            configuration_, precompensation_track_});
}

void FloppyController::sense_drive() {
    const unsigned unit = bytes_[1] & 3;
    unsigned status = 0x28u | (bytes_[1] & 7u); // bits 5 and 3 are always set
    if (const auto* drive = drive_of(unit); drive != nullptr)
        status |= (drive->track0() ? 0x10u : 0) | (drive->write_protected() ? 0x40u : 0);
    answer({static_cast<std::uint8_t>(status)});
}

void FloppyController::sense_interrupt() {
    const auto unit = std::ranges::find_if(units_, [](const Unit& one) { return one.status.has_value(); });
    if (unit == units_.end()) {
        invalid();
        return;
    }
    const auto status = *std::exchange(unit->status, std::nullopt);
    unit->busy = false;
    answer({status, unit->cylinder});
    next_interrupt();
}

// --- Seeks -------------------------------------------------------------------------------------------------

void FloppyController::start_seek(unsigned unit, unsigned pulses, bool inward, std::uint8_t status) {
    if (auto* drive = drive_of(unit); drive != nullptr)
        drive->step(pulses, inward);
    units_[unit].busy = true;
    units_[unit].status.reset();
    units_[unit].seek_status = static_cast<std::uint8_t>(status | unit);
    seek_timers_[unit]->arm(clock_.now() + seek_time + step_time * pulses);
}

void FloppyController::seeks_done(unsigned unit) {
    units_[unit].status = units_[unit].seek_status;
    set_interrupt(false); // an edge of its own, whatever else waits
    set_interrupt(true);
}

void FloppyController::recalibrate() {
    const unsigned unit = bytes_[1] & 3;
    auto* drive = drive_of(unit);
    unsigned pulses = 0;
    for (; pulses < recalibrate_pulses && (drive == nullptr || !drive->track0()); ++pulses)
        if (drive != nullptr)
            drive->step(1, false);
    units_[unit].cylinder = 0;
    // Without a drive, no track 0 is ever seen.
    const bool found = drive != nullptr && drive->track0();
    start_seek(unit, 0, false,
               found ? fdc::seek_end : std::uint8_t{fdc::abnormal | fdc::seek_end | fdc::equipment_check});
}

void FloppyController::seek() {
    const unsigned unit = bytes_[1] & 3;
    const unsigned from = units_[unit].cylinder, to = bytes_[2];
    units_[unit].cylinder = bytes_[2];
    start_seek(unit, to > from ? to - from : from - to, to > from, fdc::seek_end);
}

void FloppyController::relative_seek() {
    const unsigned unit = bytes_[1] & 3;
    const bool inward = (bytes_[0] & 0x40) != 0;
    const unsigned pulses = bytes_[2];
    units_[unit].cylinder = static_cast<std::uint8_t>(units_[unit].cylinder + (inward ? pulses : 0 - pulses));
    start_seek(unit, pulses, inward, fdc::seek_end);
}

// --- READ ID -----------------------------------------------------------------------------------------------

void FloppyController::read_id() {
    transfer_ = {};
    transfer_.unit = bytes_[1] & 3;
    transfer_.head = bytes_[1] >> 2 & 1;
    const auto* drive = drive_of(transfer_.unit);
    if (!readable(drive)) {
        finish(fdc::missing_mark, 0);
        return;
    }
    transfer_.c = static_cast<std::uint8_t>(drive->track());
    transfer_.h = transfer_.head;
    transfer_.r = static_cast<std::uint8_t>(id_turn_ % drive->format().sectors + 1);
    transfer_.n = 2;
    ++id_turn_;
    finish(0, 0);
}

} // namespace escalus
