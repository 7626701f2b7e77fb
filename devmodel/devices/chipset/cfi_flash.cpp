// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/cfi_flash.hpp"

#include "devmodel/machine/copy_bytes.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace escalus {

namespace {

enum Command : std::uint8_t {
    lock_block = 0x01,
    program_alternate = 0x10,
    erase_block = 0x20,
    program_byte = 0x40,
    clear_status = 0x50,
    lock_setup = 0x60,
    read_status = 0x70,
    read_identity = 0x90,
    read_query = 0x98,
    suspend = 0xb0,
    confirm = 0xd0, // also unlock, resume
    write_buffer = 0xe8,
    read_array = 0xff
};

// The status register (P30 datasheet, table 11).
constexpr std::uint8_t ready = 0x80, erase_error = 0x20, program_error = 0x10, block_locked = 0x02,
                       sequence_error = erase_error | program_error;

constexpr std::uint8_t manufacturer_intel = 0x89, device_code = 0x18; // 28F128J3

constexpr std::uint64_t size_limit = 16ull << 20;
// Reads of the array that trap before mapping it pays.
constexpr unsigned patience = 16;
// What was written is put on stable storage after this time when the guest does not go back to the array.
constexpr GuestTime commit_delay = ns_per_second / 10;

std::uint64_t checked_size(std::uint64_t size) {
    if (size == 0 || size > size_limit || size % CfiFlash::block_size != 0)
        throw std::invalid_argument{
            fmt::format("a flash chip of {} bytes: it must be whole blocks of {}, at most {}", size,
                        CfiFlash::block_size, size_limit)};
    return size;
}

// CFI query data from 0x10 (JESD68.01, 2.4; Intel's extended query, P30 datasheet, appendix C).
constexpr std::array<std::uint8_t, 0x30> query_table(std::uint64_t size) {
    const auto blocks = size / CfiFlash::block_size - 1, unit = CfiFlash::block_size / 256;
    const auto byte = [](std::uint64_t value) { return static_cast<std::uint8_t>(value); };
    return {
        'Q',
        'R',
        'Y',
        0x01,
        0x00,
        0x31,
        0x00,
        0x00,
        0x00,
        0x00,
        0x00, // Intel's command set, table at 0x31
        0x27,
        0x36,
        0x00,
        0x00, // Vcc 2.7 to 3.6 V, no Vpp
        0x07,
        0x07,
        0x0a,
        0x00,
        0x04,
        0x04,
        0x04,
        0x00,                                                       // times: typical, and factors to the most
        byte(static_cast<std::uint64_t>(std::bit_width(size - 1))), // size: 2^n covers it
        0x00,
        0x00, // eight bits
        byte(std::countr_zero(CfiFlash::buffer_size)),
        0x00, // write buffer: 2^n
        0x01,
        byte(blocks),
        byte(blocks >> 8),
        byte(unit),
        byte(unit >> 8), // one region of equal blocks
        'P',
        'R',
        'I',
        '1',
        '1',
        0x20,
        0x00,
        0x00,
        0x00, // features: locking of single blocks
        0x00,
        0x01,
        0x00,
        0x33,
        0x00,
        0x00 // block status: the lock bit
    };
}

} // namespace

CfiFlash::CfiFlash(Bus& memory_bus, MemoryMap& memory, Clock& clock, std::uint64_t end,
                   std::unique_ptr<NvramBackend> backend)
    : bus_{memory_bus},
      memory_{memory},
      backend_{std::move(backend)},
      size_{checked_size(backend_->contents().size())},
      base_{end - size_},
      region_{memory_.allocate("flash", size_)},
      clock_{clock},
      commit_timer_{clock, [this] { backend_->commit(); }},
      locked_(size_ / block_size) {
    copy_bytes(backend_->contents(), region_.bytes());
    bus_.add(base_, size_, *this, 0);
}

CfiFlash::~CfiFlash() {
    bus_.remove(base_);
    unmap();
}

void CfiFlash::reset(ResetKind) {
    cycle_ = Cycle::Command;
    status_ = ready;
    locked_.assign(locked_.size(), false);
    read_mode(ReadMode::Array);
    map();
}

void CfiFlash::map() {
    if (!std::exchange(mapped_, true))
        memory_.map(GuestPhys{base_}, region_, 0, size_, Access::Read);
}

void CfiFlash::unmap() {
    if (std::exchange(mapped_, false))
        memory_.unmap(GuestPhys{base_}, size_);
    trapped_reads_ = 0;
}

void CfiFlash::read_mode(ReadMode mode) {
    mode_ = mode;
    if (mode != ReadMode::Array) {
        unmap();
    } else if (commit_timer_.armed()) {
        commit_timer_.cancel();
        backend_->commit();
    }
}

// ---- reads: of the array while it is not mapped, and of what is no memory

void CfiFlash::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    for (auto& byte : data) {
        switch (mode_) {
        case ReadMode::Array:
            byte = region_.bytes()[offset];
            break;
        case ReadMode::Status:
            byte = status_;
            break;
        case ReadMode::Identity:
            byte = identity(offset);
            break;
        case ReadMode::Query:
            byte = query(offset);
            break;
        }
        ++offset;
    }
    if (mode_ == ReadMode::Array && ++trapped_reads_ >= patience)
        map();
}

std::uint8_t CfiFlash::identity(std::uint64_t offset) const {
    switch (offset % block_size) {
    case 0:
        return manufacturer_intel;
    case 1:
        return device_code;
    case 2:
        return locked_[offset / block_size] ? 1 : 0;
    default:
        return 0;
    }
}

std::uint8_t CfiFlash::query(std::uint64_t offset) const {
    const auto table = query_table(size_);
    const auto at = offset % block_size; // wherever in the chip it is asked
    if (at < 0x10)
        return identity(offset);
    return at - 0x10 < table.size() ? table[at - 0x10] : 0;
}

// ---- writes: a byte is a cycle, in the order of addresses

void CfiFlash::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (const auto byte : data)
        write_byte(offset++, byte);
}

void CfiFlash::write_byte(std::uint64_t offset, std::uint8_t value) {
    switch (cycle_) {
    case Cycle::Command:
        return command(value);
    case Cycle::ProgramData:
        return finish(program(offset, {&value, 1}));
    case Cycle::EraseConfirm:
        return finish(value == confirm ? erase(offset) : sequence_error);
    case Cycle::LockAction:
        return lock_action(offset, value);
    case Cycle::BufferCount:
        buffer_.data.fill(0xff); // what is not written stays as it is
        buffer_.missing = value + 1u;
        buffer_.begun = buffer_.astray = false;
        cycle_ = Cycle::BufferData;
        return;
    case Cycle::BufferData:
        return fill_buffer(offset, value);
    case Cycle::BufferConfirm:
        if (value != confirm || buffer_.astray)
            return finish(sequence_error);
        return finish(program(buffer_.base,
                              std::span{buffer_.data}.first(std::min(buffer_size, size_ - buffer_.base))));
    }
}

void CfiFlash::command(std::uint8_t value) {
    switch (value) {
    case program_byte:
    case program_alternate:
        cycle_ = Cycle::ProgramData;
        return read_mode(ReadMode::Status);
    case erase_block:
        cycle_ = Cycle::EraseConfirm;
        return read_mode(ReadMode::Status);
    case lock_setup:
        cycle_ = Cycle::LockAction;
        return read_mode(ReadMode::Status);
    case write_buffer: // the status says whether the buffer is free: always
        cycle_ = Cycle::BufferCount;
        status_ |= ready;
        return read_mode(ReadMode::Status);
    case clear_status:
        status_ = 0;
        return;
    case read_status:
        return read_mode(ReadMode::Status);
    case read_identity:
        return read_mode(ReadMode::Identity);
    case read_query:
        return read_mode(ReadMode::Query);
    case suspend: // nothing is under way
    case confirm: // nothing is suspended
        status_ |= ready;
        return read_mode(ReadMode::Status);
    default: // read_array, and what is no command
        return read_mode(ReadMode::Array);
    }
}

void CfiFlash::finish(std::uint8_t error) {
    cycle_ = Cycle::Command;
    status_ |= ready | error;
}

void CfiFlash::fill_buffer(std::uint64_t offset, std::uint8_t value) {
    const auto base = offset & ~(buffer_size - 1);
    if (!std::exchange(buffer_.begun, true))
        buffer_.base = base;
    buffer_.astray |= base != buffer_.base;
    buffer_.data[offset % buffer_size] = value;
    if (--buffer_.missing == 0)
        cycle_ = Cycle::BufferConfirm;
}

void CfiFlash::lock_action(std::uint64_t offset, std::uint8_t value) {
    if (value != lock_block && value != confirm)
        return finish(sequence_error);
    locked_[offset / block_size] = value == lock_block;
    finish(0);
}

std::uint8_t CfiFlash::program(std::uint64_t offset, std::span<const std::uint8_t> data) {
    if (locked_[offset / block_size])
        return program_error | block_locked;
    const auto cells = region_.bytes().subspan(offset, data.size());
    for (std::size_t i = 0; i < data.size(); ++i)
        cells[i] &= data[i]; // programming makes zeros only
    kept(offset, data.size());
    return backend_->healthy() ? 0 : program_error;
}

std::uint8_t CfiFlash::erase(std::uint64_t offset) {
    const auto block = offset / block_size;
    if (locked_[block])
        return erase_error | block_locked;
    std::ranges::fill(region_.bytes().subspan(block * block_size, block_size), std::uint8_t{0xff});
    kept(block * block_size, block_size);
    return backend_->healthy() ? 0 : erase_error;
}

void CfiFlash::kept(std::uint64_t offset, std::uint64_t size) {
    backend_->write(offset, region_.bytes().subspan(offset, size));
    if (!commit_timer_.armed())
        commit_timer_.arm(clock_.now() + commit_delay);
}

} // namespace escalus
