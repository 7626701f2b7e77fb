// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/ide_drive.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr std::size_t buffer_bytes = 128 * 1024; // a chunk at most
constexpr std::uint8_t data_phase = ata::ready | ata::seek_complete | ata::data_request;
} // namespace

IdeDrive::IdeDrive(std::unique_ptr<BlockBackend> medium)
    : medium_{std::move(medium)},
      buffer_{std::make_shared<std::vector<std::uint8_t>>(buffer_bytes)},
      generation_{std::make_shared<std::uint64_t>(0)} {}

IdeDrive::~IdeDrive() {
    ++*generation_;
}

// --- Registers ---------------------------------------------------------------------------------------------

namespace {
// The two-deep register behind a port, null for the others. Feature is write-only: its port reads as error.
TwoDeep* find_register(TaskFile& regs, unsigned index) {
    switch (index) {
    case ata::reg_feature:
        return &regs.feature;
    case ata::reg_count:
        return &regs.count;
    case ata::reg_lba_low:
        return &regs.lba_low;
    case ata::reg_lba_mid:
        return &regs.lba_mid;
    case ata::reg_lba_high:
        return &regs.lba_high;
    default:
        return nullptr;
    }
}
} // namespace

std::uint8_t IdeDrive::read_register(unsigned index, bool previous) {
    if (index == ata::reg_error)
        return regs_.error;
    if (const TwoDeep* reg = find_register(regs_, index))
        return previous ? reg->previous : reg->current;
    return regs_.device;
}

void IdeDrive::write_register(unsigned index, std::uint8_t value) {
    if (index == ata::reg_device)
        regs_.device = value;
    else if (TwoDeep* reg = find_register(regs_, index);
             reg != nullptr && (status_ & (ata::busy | ata::data_request)) == 0)
        reg->push(value);
}

void IdeDrive::set_interrupt(bool pending) {
    interrupt_pending_ = pending;
    if (host_ != nullptr)
        host_->interrupt_changed();
}

void IdeDrive::command(std::uint8_t code) {
    if ((status_ & (ata::busy | ata::data_request)) != 0 && !executes_while_busy(code))
        return;
    set_interrupt(false);
    regs_.error = 0;
    execute(code);
}

// --- Resets ------------------------------------------------------------------------------------------------

void IdeDrive::begin_reset() {
    abandon();
    set_interrupt(false);
    status_ = ata::busy;
}

void IdeDrive::finish_reset() {
    revert_settings(false);
    regs_ = {};
    set_signature();
    regs_.error = 1; // device 0 (and 1, if there) passed its diagnostic
    status_ = status_after_reset();
}

void IdeDrive::hardware_reset() {
    begin_reset();
    revert_settings(true);
    finish_reset();
}

void IdeDrive::resume() {
    paused_ = false;
    run();
}

void IdeDrive::give_up() {
    abandon();
    status_ = ata::ready | ata::seek_complete;
}

void IdeDrive::abandon() {
    ++*generation_;
    transfer_ = {};
    if (std::exchange(io_under_way_, false)) // the medium still uses it
        buffer_ = std::make_shared<std::vector<std::uint8_t>>(buffer_bytes);
}

// --- Transfers ---------------------------------------------------------------------------------------------

BlockBackend::Completion IdeDrive::guarded(BlockBackend::Completion done) {
    return [counter = generation_, generation = *generation_, buffer = buffer_,
            done = std::move(done)](std::error_code error) {
        if (*counter == generation)
            done(error);
    };
}

void IdeDrive::flush_medium(BlockBackend::Completion done) {
    status_ = ata::busy;
    medium_->flush(guarded(std::move(done)));
}

void IdeDrive::read_medium(std::uint64_t offset, std::span<std::uint8_t> data,
                           BlockBackend::Completion done) {
    medium_->read(offset, data, std::move(done));
}

bool IdeDrive::try_read_medium(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces) {
    return medium_->try_read(offset, pieces);
}

IdeDrive::Transfer IdeDrive::medium_transfer(std::uint64_t offset, std::uint64_t bytes,
                                             std::size_t unit) const {
    Transfer t;
    t.stage = Transfer::Stage::Chunk;
    t.medium = true;
    t.offset = offset;
    t.left = bytes;
    t.unit = unit;
    t.block = unit;
    return t;
}

IdeDrive::Transfer IdeDrive::buffer_transfer(bool to_guest, std::size_t bytes) const {
    Transfer t;
    t.stage = Transfer::Stage::Guest;
    t.to_guest = to_guest;
    t.end = bytes;
    t.block = bytes;
    return t;
}

void IdeDrive::start(const Transfer& transfer) {
    transfer_ = transfer;
    pio_ = serial() && !transfer.dma && !transfer.packet && !transfer.verify;
    transfer_.dma |= pio_;
    status_ = ata::busy;
    if (transfer_.stage == Transfer::Stage::Guest)
        give_to_guest();
    run();
}

// Moves the transfer on until it has to wait for the medium, the guest or the DMA engine. A completion that
// comes within, before a request to the medium returns, only makes the loop go round once more.
void IdeDrive::run() {
    again_ = true;
    if (running_)
        return;
    running_ = true;
    while (std::exchange(again_, false) && !paused_)
        step();
    running_ = false;
}

void IdeDrive::step() {
    switch (transfer_.stage) {
    case Transfer::Stage::None:
    case Transfer::Stage::Io:
        break;
    case Transfer::Stage::Chunk:
        take_chunk();
        break;
    case Transfer::Stage::IoDone:
        look_at_answer();
        break;
    case Transfer::Stage::Guest:
        if (transfer_.dma)
            move_by_dma();
        break;
    }
}

void IdeDrive::take_chunk() {
    Transfer& t = transfer_;
    const auto grain = t.dma ? t.unit : std::max(t.unit, t.block); // whole sectors, and whole blocks
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(t.left, buffer_bytes / grain * grain));
    t.position = t.io_from = 0;
    if (!t.to_guest) {
        t.end = n;
        give_to_guest();
        return;
    }
    if (t.dma) {
        DmaStream* dma = host_->dma();
        if (dma == nullptr) { // waits for the engine, so that the data can go straight into guest memory
            status_ = data_phase;
            return;
        }
        if (read_straight(*dma, n)) {
            t.offset += n;
            t.left -= n;
            tell_moved(n, t.left == 0);
            if (t.left == 0)
                finish();
            again_ = true;
            return;
        }
    }
    t.end = n;
    t.io_n = n;
    start_io();
}

void IdeDrive::tell_moved(std::size_t bytes, bool last) {
    if (pio_)
        host_->pio_moved(transfer_.to_guest, bytes, last);
}

bool IdeDrive::read_straight(DmaStream& dma, std::size_t bytes) {
    DmaStream::Cursor after;
    if (!dma.map(bytes, Access::Write, pieces_, after) || !try_read_medium(transfer_.offset, pieces_))
        return false;
    dma.settle(after);
    return true;
}

void IdeDrive::start_io() {
    Transfer& t = transfer_;
    t.stage = Transfer::Stage::Io;
    status_ = ata::busy;
    io_under_way_ = true;
    auto done = guarded([this](std::error_code error) {
        io_under_way_ = false;
        transfer_.error = error;
        transfer_.stage = Transfer::Stage::IoDone;
        run();
    });
    const auto data = std::span{*buffer_}.subspan(t.io_from, t.io_n);
    if (t.to_guest)
        read_medium(t.offset + t.io_from, data, std::move(done));
    else
        medium_->write(t.offset + t.io_from, data, std::move(done));
}

void IdeDrive::look_at_answer() {
    Transfer& t = transfer_;
    if (t.error && t.io_n > t.unit) { // sector by sector, to find the bad one
        t.io_n = t.unit;
        start_io();
        return;
    }
    if (t.error) {
        t.failed = true;
        t.end = t.io_from; // what came before it is good, and the guest gets it
    } else {
        t.io_from += t.io_n;
        if (t.io_from < t.end) {
            t.io_n = std::min(t.io_n, t.end - t.io_from);
            start_io();
            return;
        }
    }
    if (t.to_guest && !t.verify && t.end != 0)
        give_to_guest();
    else
        window_finished();
}

void IdeDrive::give_to_guest() {
    transfer_.stage = Transfer::Stage::Guest;
    transfer_.position = 0;
    if (transfer_.dma)
        again_ = true;
    else
        offer_block();
}

void IdeDrive::move_by_dma() {
    Transfer& t = transfer_;
    DmaStream* dma = host_->dma();
    if (dma != nullptr) {
        const auto data = std::span{*buffer_}.subspan(t.position, t.end - t.position);
        t.position += t.to_guest ? dma->to_memory(data) : dma->from_memory(data);
    }
    if (t.position < t.end) {
        status_ = data_phase; // the engine stopped, or the table was too short: until it is started again
        host_->dma_stalled();
        return;
    }
    tell_moved(t.end, !t.failed && (!t.medium || t.left == t.end));
    block_finished();
}

void IdeDrive::offer_block() {
    Transfer& t = transfer_;
    const auto n = std::min(t.block, t.end - t.position);
    t.block_end = t.position + ((n + 1) & ~std::size_t{1}); // the data port moves words
    block_opened(n);
    status_ = data_phase;
    if (!std::exchange(t.quiet, false))
        set_interrupt(true);
}

std::size_t IdeDrive::data_in(std::span<std::uint8_t> data) {
    Transfer& t = transfer_;
    if (t.stage != Transfer::Stage::Guest || !t.to_guest || t.dma)
        return 0;
    const auto n = std::min(data.size(), t.block_end - t.position);
    std::copy_n(buffer_->begin() + static_cast<std::ptrdiff_t>(t.position), n, data.begin());
    t.position += n;
    if (t.position == t.block_end)
        block_finished();
    return n;
}

std::size_t IdeDrive::data_out(std::span<const std::uint8_t> data) {
    Transfer& t = transfer_;
    if (t.stage != Transfer::Stage::Guest || t.to_guest || t.dma)
        return 0;
    const auto n = std::min(data.size(), t.block_end - t.position);
    std::copy_n(data.begin(), n, buffer_->begin() + static_cast<std::ptrdiff_t>(t.position));
    t.position += n;
    if (t.position == t.block_end)
        block_finished();
    return n;
}

void IdeDrive::block_finished() {
    Transfer& t = transfer_;
    if (t.position < t.end) {
        offer_block();
        return;
    }
    status_ = ata::busy;
    if (t.medium && !t.to_guest) {
        t.io_from = 0;
        t.io_n = t.end;
        start_io();
    } else {
        window_finished();
    }
    run();
}

// The buffer's bytes are where they belong.
void IdeDrive::window_finished() {
    Transfer& t = transfer_;
    if (!t.medium) {
        finish();
        return;
    }
    if (t.failed) {
        const auto bad = t.offset + t.end;
        t.stage = Transfer::Stage::None;
        transfer_failed(bad);
        return;
    }
    t.offset += t.end;
    t.left -= t.end;
    if (t.left == 0) {
        finish();
        return;
    }
    t.stage = Transfer::Stage::Chunk;
    again_ = true;
}

void IdeDrive::finish() {
    transfer_.stage = Transfer::Stage::None;
    if (transfer_.medium || transfer_.to_guest)
        transfer_done();
    else
        data_received(transfer_.end);
}

} // namespace escalus
