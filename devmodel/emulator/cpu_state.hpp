// SPDX-License-Identifier: GPL-2.0-or-later
// What the emulator needs to know of the CPU: flag and control bits, the mode, faults, register access.
// Intel SDM volume 3A chapters 2 and 6.
#pragma once

#include "vmm/abi/abi.hpp"

#include <cstdint>
#include <optional>

namespace escalus::emulation {

namespace flag {
inline constexpr std::uint64_t cf = 1u << 0, pf = 1u << 2, af = 1u << 4, zf = 1u << 6, sf = 1u << 7,
                               tf = 1u << 8, intr = 1u << 9, df = 1u << 10, of = 1u << 11, iopl = 3u << 12,
                               nt = 1u << 14, rf = 1u << 16, vm = 1u << 17, ac = 1u << 18, vif = 1u << 19,
                               vip = 1u << 20, id = 1u << 21;
inline constexpr std::uint64_t arithmetic = cf | pf | af | zf | sf | of;
} // namespace flag

namespace control {
inline constexpr std::uint64_t cr0_pe = 1u << 0, cr0_em = 1u << 2, cr0_ts = 1u << 3, cr0_wp = 1u << 16,
                               cr0_am = 1u << 18, cr0_pg = 1u << 31;
inline constexpr std::uint64_t cr4_pse = 1u << 4, cr4_pae = 1u << 5, cr4_osfxsr = 1u << 9,
                               cr4_umip = 1u << 11, cr4_la57 = 1u << 12, cr4_osxsave = 1u << 18,
                               cr4_smep = 1u << 20, cr4_smap = 1u << 21, cr4_pke = 1u << 22;
inline constexpr std::uint64_t efer_lma = 1u << 10, efer_nxe = 1u << 11;
} // namespace control

namespace vector {
inline constexpr std::uint8_t de = 0, db = 1, ud = 6, nm = 7, ss = 12, gp = 13, pf = 14, ac = 17;
} // namespace vector

/// Thrown where the CPU would raise a fault; Emulator turns it into page.event. Guests fault seldom on device
/// memory, and the code that executes instructions stays straight.
struct GuestFault {
    std::uint8_t vector = 0;
    std::optional<std::uint32_t> error_code{};
    std::optional<std::uint64_t> cr2{};
};
[[noreturn]] inline void raise_gp() {
    throw GuestFault{.vector = vector::gp, .error_code = 0};
}
[[noreturn]] inline void raise_ud() {
    throw GuestFault{.vector = vector::ud};
}
/// Thrown when another CPU changed memory under a locked instruction: execute it anew.
struct RetryInstruction {};
/// Thrown when the instruction, or the way it is used, cannot be emulated.
struct NotEmulated {};

enum class Mode : std::uint8_t { Real, Virtual8086, Protected, Long64 };

/// The vCPU's mode, computed once an instruction.
struct CpuMode {
    explicit CpuMode(const abi::VcpuPage& page)
        : code_bytes{(page.segment[abi::seg_cs].attributes & big) != 0 ? std::uint8_t{4} : std::uint8_t{2}},
          stack_bytes{(page.segment[abi::seg_ss].attributes & big) != 0 ? std::uint8_t{4} : std::uint8_t{2}} {
        if ((page.cr0 & control::cr0_pe) == 0) {
            mode = Mode::Real;
        } else if ((page.rflags & flag::vm) != 0 && (page.efer & control::efer_lma) == 0) {
            mode = Mode::Virtual8086;
            cpl = 3;
        } else {
            cpl = static_cast<std::uint8_t>(page.segment[abi::seg_ss].attributes >> 5 & 3);
            const bool long_code = (page.segment[abi::seg_cs].attributes & code_long) != 0;
            if ((page.efer & control::efer_lma) != 0 && long_code) {
                mode = Mode::Long64;
                code_bytes = stack_bytes = 8;
            }
        }
    }
    [[nodiscard]] bool long64() const { return mode == Mode::Long64; }
    /// No descriptors: segments are a base and a limit.
    [[nodiscard]] bool real_like() const { return mode == Mode::Real || mode == Mode::Virtual8086; }

    static constexpr std::uint16_t code_long = 1u << 9, big = 1u << 10;
    Mode mode = Mode::Protected;
    std::uint8_t cpl = 0;
    std::uint8_t code_bytes;  ///< default operand and address size: 2, 4, 8
    std::uint8_t stack_bytes; ///< of the stack pointer
};

/// All ones in the low `bytes` bytes.
constexpr std::uint64_t mask_of(unsigned bytes) {
    return bytes >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * bytes)) - 1;
}
constexpr std::uint64_t sign_bit(unsigned bytes) {
    return std::uint64_t{1} << (8 * bytes - 1);
}
constexpr std::uint64_t sign_extend(std::uint64_t value, unsigned bytes) {
    const std::uint64_t sign = sign_bit(bytes);
    return ((value & mask_of(bytes)) ^ sign) - sign;
}

/// Writes the low `bytes` of a general register: 32-bit writes clear the upper half, narrower ones keep it.
inline void set_register(abi::VcpuPage& page, unsigned index, unsigned bytes, std::uint64_t value) {
    auto& gpr = page.gpr[index];
    gpr = bytes >= 4 ? value & mask_of(bytes) : (gpr & ~mask_of(bytes)) | (value & mask_of(bytes));
}

constexpr bool is_canonical(std::uint64_t linear, std::uint64_t cr4) {
    const unsigned unused = (cr4 & control::cr4_la57) != 0 ? 7 : 16;
    const auto top = static_cast<std::int64_t>(linear) >> (63 - unused);
    return top == 0 || top == -1;
}

} // namespace escalus::emulation
