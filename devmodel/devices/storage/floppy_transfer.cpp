// SPDX-License-Identifier: GPL-2.0-or-later
// The 82077AA's commands that move data, sector by sector (datasheet section 5.1).
#include "devmodel/devices/storage/floppy_controller.hpp"
#include "devmodel/devices/storage/floppy_registers.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr std::uint8_t multi_track_bit = 0x80, mfm_bit = 0x40, skip_bit = 0x20;
constexpr std::uint8_t size_512 = 2; // N
constexpr std::size_t id_bytes = 4, fifo_bytes = 16;
} // namespace

bool FloppyController::to_guest() const {
    return transfer_.kind == Kind::Read || transfer_.kind == Kind::Track;
}

bool FloppyController::through_port() const {
    return no_dma_ && transfer_.stage == Stage::Guest && transfer_.place < transfer_.size;
}

// --- Beginnings --------------------------------------------------------------------------------------------

void FloppyController::begin(Kind kind) {
    transfer_ = {};
    auto& t = transfer_;
    t.kind = kind;
    t.unit = bytes_[1] & 3;
    t.head = bytes_[1] >> 2 & 1;
    t.c = bytes_[2];
    t.h = bytes_[3];
    t.r = bytes_[4];
    t.n = bytes_[5];
    t.end = end_of_track_ = bytes_[6];
    t.multi_track = (bytes_[0] & multi_track_bit) != 0;
    t.skip = (bytes_[0] & skip_bit) != 0;
    auto& unit = units_[t.unit];
    if ((configuration_ & fdc::implied_seek) != 0 && unit.cylinder != t.c) {
        if (unit.drive)
            unit.drive->step(static_cast<unsigned>(std::abs(t.c - unit.cylinder)), t.c > unit.cylinder);
        unit.cylinder = t.c;
    }
    phase_ = Phase::Execution;
    t.stage = Stage::Locate;
}

void FloppyController::read_data() {
    const bool deleted = (bytes_[0] & 0x1f) == 0x0c;
    begin(Kind::Read);
    transfer_.deleted = deleted;
    run();
}

void FloppyController::write_data() {
    begin(Kind::Write);
    run();
}

void FloppyController::read_track() {
    begin(Kind::Track);
    transfer_.multi_track = false;
    transfer_.count = 0; // sectors read so far
    run();
}

void FloppyController::verify() {
    begin(Kind::Verify);
    if ((bytes_[1] & 0x80) != 0) // EC: the last byte counts sectors
        transfer_.count = bytes_[8] != 0 ? bytes_[8] : 256;
    run();
}

void FloppyController::format() {
    transfer_ = {};
    auto& t = transfer_;
    t.kind = Kind::Format;
    t.unit = bytes_[1] & 3;
    t.head = bytes_[1] >> 2 & 1;
    t.n = bytes_[2];
    t.count = end_of_track_ = bytes_[3];
    t.filler = bytes_[5];
    phase_ = Phase::Execution;
    t.stage = Stage::Locate;
    run();
}

// --- The loop ----------------------------------------------------------------------------------------------

void FloppyController::run() {
    if (running_) {
        again_ = true;
        return;
    }
    running_ = true;
    do {
        again_ = false;
        step();
    } while (again_);
    running_ = false;
}

void FloppyController::step() {
    if (paused_)
        return;
    switch (transfer_.stage) {
    case Stage::None:
    case Stage::Io:
        break;
    case Stage::Locate:
        again_ = true;
        locate();
        break;
    case Stage::IoDone:
        again_ = true;
        look_at_answer();
        break;
    case Stage::Guest:
        move();
        break;
    }
}

bool FloppyController::readable(const FloppyDrive* drive) const {
    return drive != nullptr && drive->medium() != nullptr && drive->at_rate(rate()) &&
           (bytes_[0] & mfm_bit) != 0 && transfer_.head < drive->format().heads &&
           drive->track() < drive->format().cylinders;
}

void FloppyController::locate() {
    auto& t = transfer_;
    const auto* drive = drive_of(t.unit);
    const bool writes = t.kind == Kind::Write || t.kind == Kind::Format;
    if (writes && drive != nullptr && drive->write_protected())
        return finish(fdc::not_writable, 0);
    if (!readable(drive))
        return finish(fdc::missing_mark, 0);
    const auto& format = drive->format();
    if (t.kind == Kind::Format) {
        if (t.count == 0u)
            return finish(0, 0);
        return offer(id_bytes);
    }
    if (t.kind == Kind::Track) { // whatever the IDs say, from the index hole on
        if (*t.count >= format.sectors)
            return finish(fdc::missing_mark, 0);
        t.matched |= t.c == drive->track() && t.h == t.head && t.r == *t.count + 1;
        return start_io(false);
    }
    if (t.c != drive->track())
        return finish(fdc::no_data, fdc::wrong_cylinder);
    if (t.h != t.head || t.n != size_512 || t.r == 0 || t.r > format.sectors)
        return finish(fdc::no_data, 0);
    if (t.deleted) { // the sector is no deleted one
        t.status2 = fdc::control_mark;
        if (t.skip)
            return sector_done();
    }
    if (t.kind == Kind::Write)
        offer(sector_->size());
    else
        start_io(false);
}

void FloppyController::start_io(bool to_medium) {
    auto& t = transfer_;
    auto* drive = drive_of(t.unit);
    const unsigned sector = t.kind == Kind::Track ? *t.count + 1 : t.r;
    const auto offset = drive->offset(drive->track(), t.head, sector);
    t.stage = Stage::Io;
    // Whoever abandons the transfer takes another buffer.
    auto done = [this, sector = sector_](std::error_code error) {
        if (sector != sector_)
            return;
        transfer_.stage = Stage::IoDone;
        transfer_.error = error;
        run();
    };
    if (to_medium)
        drive->medium()->write(offset, *sector_, std::move(done));
    else
        drive->medium()->read(offset, *sector_, std::move(done));
}

void FloppyController::look_at_answer() {
    if (transfer_.error)
        finish(fdc::data_error, fdc::data_field_error);
    else if (to_guest())
        offer(sector_->size());
    else
        sector_done();
}

// --- The guest's side --------------------------------------------------------------------------------------

void FloppyController::offer(std::size_t bytes) {
    transfer_.stage = Stage::Guest;
    transfer_.size = bytes;
    transfer_.place = window_ = 0;
    next_window();
}

// Through the FIFO port: INT is raised for as much as the FIFO holds, and falls when that has gone.
void FloppyController::next_window() {
    if (!no_dma_ || transfer_.place < window_)
        return;
    set_interrupt(false);
    if (transfer_.place >= transfer_.size)
        return;
    const std::size_t many =
        (configuration_ & fdc::fifo_off) != 0 ? 1 : fifo_bytes - (configuration_ & fdc::threshold);
    window_ = std::min(transfer_.place + many, transfer_.size);
    set_interrupt(true);
}

void FloppyController::move() {
    auto& t = transfer_;
    if (!no_dma_) {
        if ((digital_output_ & fdc::out_gate) == 0)
            return;
        dma_.request(true);
        const auto rest = std::span{*sector_}.first(t.size).subspan(t.place);
        const auto moved = to_guest() ? dma_.to_memory(rest) : dma_.from_memory(rest);
        t.place += moved.bytes;
        t.terminal_count |= moved.terminal_count;
    }
    if (t.place < t.size && !t.terminal_count)
        return;
    again_ = true;
    if (t.kind == Kind::Write) {
        std::fill(sector_->begin() + static_cast<std::ptrdiff_t>(t.place), sector_->end(), std::uint8_t{0});
        start_io(true);
    } else if (t.kind == Kind::Format) {
        format_sector();
    } else {
        sector_done();
    }
}

// The image holds the sectors of its format and no others.
void FloppyController::format_sector() {
    auto& t = transfer_;
    const auto* drive = drive_of(t.unit);
    const auto& id = *sector_;
    t.c = id[0];
    t.h = id[1];
    t.r = id[2];
    if (t.place < id_bytes || t.c != drive->track() || t.h != t.head || t.r == 0 ||
        t.r > drive->format().sectors || id[3] != size_512)
        return finish(fdc::no_data, 0);
    sector_->fill(t.filler);
    start_io(true);
}

// --- Ends --------------------------------------------------------------------------------------------------

void FloppyController::sector_done() {
    auto& t = transfer_;
    t.stage = Stage::Locate;
    switch (t.kind) {
    case Kind::Format:
        if (--*t.count == 0)
            finish(0, 0);
        return;
    case Kind::Track:
        ++*t.count;
        if (t.terminal_count || *t.count >= t.end)
            finish(t.matched ? 0 : fdc::no_data, 0);
        return;
    case Kind::Verify: {
        const bool ended = advance();
        if (t.count ? --*t.count == 0 : ended)
            finish(0, 0);
        else if (ended)
            finish(fdc::end_of_cylinder, 0);
        return;
    }
    case Kind::Read:
    case Kind::Write:
        break;
    }
    if (t.deleted && !t.skip && !t.terminal_count) {
        finish(0, 0);
        return;
    }
    const bool ended = advance();
    if (t.terminal_count)
        finish(0, 0);
    else if (ended)
        finish(fdc::end_of_cylinder, 0);
}

// To the next sector (table 6-1: what the result's C, H, R are). True at the end of the cylinder.
bool FloppyController::advance() {
    auto& t = transfer_;
    if (t.r != t.end) {
        ++t.r;
        return false;
    }
    t.r = 1;
    if (!t.multi_track) {
        ++t.c;
        return true;
    }
    t.h ^= 1;
    if (t.head == 1) {
        ++t.c;
        return true;
    }
    t.head = 1;
    return false;
}

void FloppyController::finish(std::uint8_t status1, std::uint8_t status2) {
    abandon();
    const auto& t = transfer_;
    const bool failed = (status1 != 0 || status2 != 0) && !(t.kind == Kind::Track && status1 == fdc::no_data);
    const auto status0 = static_cast<std::uint8_t>((failed ? fdc::abnormal : 0) | t.head << 2 | t.unit);
    answer({status0, status1, static_cast<std::uint8_t>(status2 | t.status2), t.c, t.h, t.r, t.n});
    set_interrupt(false);
    set_interrupt(true);
}

void FloppyController::abandon() {
    if (transfer_.stage == Stage::Io)
        sector_ = std::make_shared<Sector>();
    transfer_.stage = Stage::None;
    dma_.request(false);
}

} // namespace escalus
