// SPDX-License-Identifier: GPL-2.0-or-later
// Memory types by the memory type range registers: Intel SDM 3A, section 11.11. Under EPT the registers have
// no effect of their own (section 28.3.7), so the control OS's nested tables carry the types. Pure code.
#pragma once

#include <cstdint>

namespace escalus::vmm::vmx {

enum class MemoryType : std::uint8_t {
    Uncacheable = 0,
    WriteCombining = 1,
    WriteThrough = 4,
    WriteProtected = 5,
    WriteBack = 6
};

/// The registers' values.
struct Mtrrs {
    static constexpr unsigned fixed_count = 11, variable_max = 32;
    struct Variable {
        std::uint64_t base = 0, mask = 0;
    };
    std::uint64_t default_type = 0;        ///< IA32_MTRR_DEF_TYPE
    std::uint64_t fixed[fixed_count] = {}; ///< 64K_00000, 16K_80000, 16K_A0000, 4K_C0000 ... 4K_F8000
    Variable variable[variable_max] = {};  ///< IA32_MTRR_PHYSBASEn, PHYSMASKn
    unsigned variable_count = 0;
    unsigned physical_bits = 36;
};

struct TypedRun {
    MemoryType type;
    std::uint64_t bytes; ///< for how many bytes from the address the type holds; more may follow
};

/// The type at `address`, a page multiple.
[[nodiscard]] TypedRun memory_type_at(const Mtrrs& mtrrs, std::uint64_t address);

/// Of this CPU.
[[nodiscard]] Mtrrs read_mtrrs(unsigned physical_bits);

} // namespace escalus::vmm::vmx
