// SPDX-License-Identifier: GPL-2.0-or-later
// Decoded instructions in a compact form, and a cache of them.
//
// Zydis decodes; what the executor needs is kept in some 80 bytes an instruction. The cache is looked up by
// RIP and mode but an entry counts only when its bytes are those in memory, so it is never stale.
#pragma once

#include "devmodel/emulator/cpu_state.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <Zydis/Zydis.h>

namespace escalus::emulation {

inline constexpr unsigned instruction_bytes_max = 15;

struct Operand {
    enum class Kind : std::uint8_t { None, Register, HighByte, Memory, Immediate, Vector, Segment, Other };
    static constexpr std::uint8_t no_register = 0xff, rip = 0xfe;

    Kind kind = Kind::None;
    std::uint8_t bytes = 0;
    std::uint8_t index = no_register; ///< register number; of a memory operand its index register
    std::uint8_t base = no_register;
    std::uint8_t scale = 0;
    std::uint8_t segment = 0;
    std::int64_t value = 0; ///< immediate or displacement
};

struct Instruction {
    ZydisMnemonic mnemonic = ZYDIS_MNEMONIC_INVALID;
    std::uint8_t length = 0;
    std::uint8_t operand_bytes = 0, address_bytes = 0;
    std::uint8_t visible_operands = 0;
    std::uint8_t memory_operands = 0; ///< that are accessed, the stack's included
    bool lock = false;
    bool repeat = false, repeat_while_not_equal = false; ///< F3; F2
    bool string = false;
    bool far_branch = false;
    bool vex = false;
    bool legacy_or_vex = true; ///< neither EVEX, XOP, 3DNow! nor MVEX
    std::array<Operand, 5> operand{};
};

/// How bytes decode.
enum class CodeKind : std::uint8_t { Real16, Protected16, Protected32, Long64 };
CodeKind code_kind(const CpuMode& mode);

class Decoder {
  public:
    Decoder();

    enum class Outcome : std::uint8_t { Ok, NeedMore, TooLong, Invalid };
    /// The instruction stays valid until the next call.
    Outcome decode(CodeKind kind, std::uint64_t rip, std::span<const std::uint8_t> bytes,
                   const Instruction*& instruction);
    /// Assembly text, or what is wrong with the bytes.
    [[nodiscard]] std::string text(CodeKind kind, std::uint64_t rip,
                                   std::span<const std::uint8_t> bytes) const;

  private:
    struct Entry {
        CodeKind kind{};
        std::array<std::uint8_t, instruction_bytes_max> bytes{};
        Instruction instruction{}; // length 0: empty
    };
    static constexpr std::size_t entries = 256;

    std::array<ZydisDecoder, 4> decoders_{}; // by CodeKind
    std::unique_ptr<std::array<Entry, entries>> cache_;
};

} // namespace escalus::emulation
