// SPDX-License-Identifier: GPL-2.0-or-later
// The little instruction decoding the monitor needs: the length of an instruction it intercepts, on CPUs
// without next-RIP save, writes of CR8, on CPUs without decode assists, and stores to the local APIC while
// CPUs are being started. Pure. AMD APM 3, section 1.2.
#pragma once

#include <cstdint>

namespace escalus::vmm {

inline constexpr unsigned instruction_bytes_max = 15;

/// Length of the instruction with its prefixes, given that its opcode is `opcode_bytes` long and has no
/// operand bytes. 0 when prefixes fill all of `available`.
[[nodiscard]] unsigned instruction_length(const std::uint8_t* bytes, unsigned available, bool long_mode,
                                          unsigned opcode_bytes);

struct Store {
    unsigned length = 0; ///< 0: not a store that is understood
    std::uint32_t value = 0;
};
/// Decodes MOV r/m32, r32; MOV r/m32, imm32; XCHG r/m32, r32 in 64-bit mode: what compilers make of a write
/// to a device register.
[[nodiscard]] Store decode_store(const std::uint8_t* bytes, unsigned available,
                                 const std::uint64_t (&gpr)[16]);

struct Cr8Write {
    unsigned length = 0; ///< 0: it is none
    unsigned reg = 0;    ///< the general register, 0 to 15
};
/// Decodes MOV CR8, r64, and its other form for 32-bit code, LOCK MOV CR0, r32 (APM 3, MOV CRn).
[[nodiscard]] Cr8Write decode_cr8_write(const std::uint8_t* bytes, unsigned available, bool long_mode);

} // namespace escalus::vmm
