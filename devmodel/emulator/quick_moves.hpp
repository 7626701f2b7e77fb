// SPDX-License-Identifier: GPL-2.0-or-later
// The short way for moves between a general register and a device's memory, which drivers poll and kick
// devices with.
//
// A move that was once executed in full is remembered with all that its execution rested on: the CPU's mode,
// the entries of the guest's page tables through which its code was fetched, its bytes, and that its operand
// is no RAM. When the same instruction exits again, each of these is looked at, not assumed; if one differs,
// the long way is taken (executor.hpp), and what it finds is remembered instead. The CPU has translated the
// operand's address and checked its rights before it exited; here only the segment's limit is checked again.
// State: a direct-mapped cache by RIP. Missing, so always the long way: every other instruction; high bytes
// (AH); operands in FS and GS; code in the last 16 bytes of a page; RFLAGS.TF and AC.
#pragma once

#include "devmodel/emulator/decoder.hpp"
#include "devmodel/emulator/guest_access.hpp"

#include <array>
#include <cstdint>
#include <memory>

namespace escalus::emulation {

class QuickMoves {
  public:
    explicit QuickMoves(const Surroundings& around)
        : around_{around}, cache_{std::make_unique<std::array<Entry, entries>>()} {}

    /// Executes the instruction at RIP, which exited as page.exit.memory says. False when it is none that is
    /// known and still the same: nothing was done then.
    [[nodiscard]] bool run(abi::VcpuPage& page);

    /// Remembers the instruction at RIP, decoded and about to be executed, if it is such a move.
    void learn(const abi::VcpuPage& page, const CpuMode& mode, const Instruction& instruction);

  private:
    enum class Kind : std::uint8_t { None, Load, StoreRegister, StoreImmediate };

    /// What bytes mean and where they are read from: the code segment, control registers, RFLAGS.VM, the CPL.
    struct Context {
        std::uint64_t code_rights_and_limit = 0, code_base = 0, cr0 = 0, cr3 = 0, cr4 = 0, efer = 0,
                      level = 0;
        [[nodiscard]] static Context of(const abi::VcpuPage& page);
        [[nodiscard]] bool same(const Context& other) const;
    };
    struct Move {
        Kind kind = Kind::None;
        bool is_signed = false, long64 = false;
        std::uint8_t width = 0, register_bytes = 0,
                     reg = 0; ///< bytes in memory; of the register that is loaded
        std::uint8_t length = 0;
        std::uint8_t segment = 0, base = Operand::no_register, index = Operand::no_register, scale = 0;
        std::uint64_t displacement = 0, address_mask = 0, immediate = 0;
        std::uint16_t segment_attributes = 0;
    };
    struct Entry {
        std::uint64_t rip = 0;
        Move move;
        Context context;
        std::uint64_t generation =
            0; ///< of the memory map: the pointers below, and that the operand is no RAM
        std::uint64_t operand_page = 0;
        const std::uint8_t* code = nullptr;
        std::array<std::uint64_t, 2> bytes{}, bytes_mask{};
        WalkTrace walk;
        std::array<const std::uint8_t*, WalkTrace::most> walked{};
    };
    static constexpr std::size_t entries = 256;

    [[nodiscard]] Entry& entry_of(std::uint64_t rip) {
        return (*cache_)[(rip ^ rip >> 8 ^ rip >> 16) % entries];
    }
    [[nodiscard]] std::uint64_t generation() const {
        const auto* count = around_.options.memory_generation;
        return count != nullptr ? *count : 0;
    }
    [[nodiscard]] static bool describe(const Instruction& instruction, Move& move);
    [[nodiscard]] static bool same_code(const Entry& entry);
    [[nodiscard]] static bool finds_operand(const Entry& entry, const abi::VcpuPage& page);
    [[nodiscard]] bool remember_code(Entry& entry, const abi::VcpuPage& page, const CpuMode& mode) const;

    const Surroundings& around_;
    std::unique_ptr<std::array<Entry, entries>> cache_;
};

} // namespace escalus::emulation
