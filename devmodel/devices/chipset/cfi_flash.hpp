// SPDX-License-Identifier: GPL-2.0-or-later
// A parallel NOR flash chip, eight bits wide, with Intel's command set and CFI query data (JEDEC JESD68.01,
// command set 0x0001 of JEP137; commands and status register by Intel's StrataFlash J3 and P30 datasheets,
// 290667 and 306666). It holds UEFI firmware's variables below 4 GiB, where OVMF's QemuFlashFvbServices
// driver drives it.
//
// While the chip shows its array it is mapped as read-only memory, so that reading it costs no exit; writes,
// and reads of its status and identity, do. Mapping it again is put off until a few reads have come: firmware
// writes byte by byte.
//
// State: the array (kept by a NvramBackend), read mode, command in progress, status register, write buffer,
// block locks.
// Different from the real part: the board has one of blocks of 4 KiB and a size that need not be a power of
// two, as OVMF's layout demands. Operations take no time, so that there is nothing to suspend. Clear Status
// clears the ready bit too until the next operation, as QEMU's flash does: OVMF tells flash from RAM by that.
// Locks are not kept without power, and blocks come up unlocked. Missing: protection registers.
#pragma once

#include "devmodel/backends/nvram/nvram_backend.hpp"
#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/guest_memory.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace escalus {

class CfiFlash final : public BusDevice, public Device {
  public:
    static constexpr std::uint64_t block_size = 4096;
    static constexpr std::size_t buffer_size = 256;

    /// The chip ends at `end`, and is as large as what the backend holds: whole blocks, at most 16 MiB.
    CfiFlash(Bus& memory_bus, MemoryMap& memory, Clock& clock, std::uint64_t end,
             std::unique_ptr<NvramBackend> backend);
    ~CfiFlash() override;

    [[nodiscard]] std::string_view name() const override { return "flash"; }
    void reset(ResetKind kind) override;

    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    enum class ReadMode : std::uint8_t { Array, Status, Identity, Query };
    /// What the next write cycle is.
    enum class Cycle : std::uint8_t {
        Command,
        ProgramData,
        EraseConfirm,
        LockAction,
        BufferCount,
        BufferData,
        BufferConfirm
    };

    void write_byte(std::uint64_t offset, std::uint8_t value);
    void command(std::uint8_t value);
    void read_mode(ReadMode mode);
    void map();
    void unmap();
    /// The operation is over; `error` are bits of the status register.
    void finish(std::uint8_t error);
    void fill_buffer(std::uint64_t offset, std::uint8_t value);
    [[nodiscard]] std::uint8_t program(std::uint64_t offset, std::span<const std::uint8_t> data);
    [[nodiscard]] std::uint8_t erase(std::uint64_t offset);
    void lock_action(std::uint64_t offset, std::uint8_t value);
    [[nodiscard]] std::uint8_t identity(std::uint64_t offset) const;
    [[nodiscard]] std::uint8_t query(std::uint64_t offset) const;
    void kept(std::uint64_t offset, std::uint64_t size);

    Bus& bus_;
    MemoryMap& memory_;
    std::unique_ptr<NvramBackend> backend_;
    std::uint64_t size_, base_;
    MemoryRegion& region_;
    Clock& clock_;
    Timer commit_timer_;
    bool mapped_ = false;
    unsigned trapped_reads_ = 0; // of the array since it was last written to
    ReadMode mode_ = ReadMode::Array;
    Cycle cycle_ = Cycle::Command;
    std::uint8_t status_ = 0;
    std::vector<bool> locked_; // by block
    struct {
        std::array<std::uint8_t, buffer_size> data;
        std::uint64_t base; // of the aligned piece of the array that it goes to
        unsigned missing;   // bytes yet to come
        bool begun, astray; // the first byte is there; one was outside
    } buffer_{};
};

} // namespace escalus
