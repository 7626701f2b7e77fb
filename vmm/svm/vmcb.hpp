// SPDX-License-Identifier: GPL-2.0-or-later
// The virtual machine control block: AMD APM 2, appendix B; exit codes: appendix C.
#pragma once

#include "vmm/abi/abi.hpp"

#include <cstddef>
#include <cstdint>

namespace escalus::vmm::svm {

struct VmcbControl {
    std::uint16_t cr_reads, cr_writes, dr_reads, dr_writes;
    std::uint32_t exceptions;
    std::uint32_t intercepts1; ///< Intercept1 bits
    std::uint32_t intercepts2; ///< Intercept2 bits
    std::uint32_t intercepts3;
    std::uint8_t reserved1[0x3c - 0x18];
    std::uint16_t pause_threshold, pause_count;
    std::uint64_t iopm, msrpm, tsc_offset;
    std::uint32_t asid;
    std::uint8_t tlb_control;
    std::uint8_t reserved2[3];
    std::uint32_t
        interrupt_control; ///< V_TPR 7:0, V_IRQ 8, V_INTR_PRIO 19:16, V_IGN_TPR 20, V_INTR_MASKING 24
    std::uint32_t interrupt_vector;
    std::uint64_t interrupt_state; ///< INTERRUPT_SHADOW 0
    std::uint64_t exit_code, exit_info1, exit_info2;
    std::uint64_t exit_interrupt; ///< EXITINTINFO
    std::uint64_t nested_control; ///< NP_ENABLE 0
    std::uint8_t reserved3[0xa8 - 0x98];
    std::uint64_t inject; ///< EVENTINJ
    std::uint64_t nested_cr3;
    std::uint64_t lbr_control;
    std::uint32_t clean, reserved4;
    std::uint64_t next_rip;
    std::uint8_t fetched;
    std::uint8_t instruction[15];
    std::uint8_t reserved5[0x3e0 - 0xe0];
    std::uint8_t software[0x400 - 0x3e0]; ///< left to the hypervisor: the CPU neither reads nor writes it
};
static_assert(sizeof(VmcbControl) == 0x400 && offsetof(VmcbControl, software) == 0x3e0);

struct VmcbSave {
    abi::Segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    std::uint8_t reserved1[0xcb - 0xa0];
    std::uint8_t cpl;
    std::uint32_t reserved2;
    std::uint64_t efer;
    std::uint8_t reserved3[0x148 - 0xd8];
    std::uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
    std::uint8_t reserved4[0x1d8 - 0x180];
    std::uint64_t rsp;
    std::uint8_t reserved5[0x1f8 - 0x1e0];
    std::uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip,
        cr2;
    std::uint8_t reserved6[0x268 - 0x248];
    std::uint64_t pat;
    std::uint8_t reserved7[0xc00 - 0x270];
};
static_assert(sizeof(VmcbSave) == 0xc00);
static_assert(offsetof(VmcbSave, cr4) == 0x148 && offsetof(VmcbSave, rsp) == 0x1d8 &&
              offsetof(VmcbSave, rax) == 0x1f8 && offsetof(VmcbSave, pat) == 0x268);

struct Vmcb {
    VmcbControl control;
    VmcbSave save;
};
static_assert(sizeof(Vmcb) == page_size);

inline constexpr std::uint16_t intercept_cr8 = 1 << 8; ///< in cr_reads and cr_writes
namespace intercept1 {                                 // offset 0x0c
inline constexpr std::uint32_t intr = 1, nmi = 2, smi = 4, init = 8, vintr = 16, cr0_selective = 32,
                               idtr_read = 1 << 6, gdtr_read = 1 << 7, ldtr_read = 1 << 8, tr_read = 1 << 9,
                               idtr_write = 1 << 10, gdtr_write = 1 << 11, ldtr_write = 1 << 12,
                               tr_write = 1 << 13, rdtsc = 1 << 14, rdpmc = 1 << 15, pushf = 1 << 16,
                               popf = 1 << 17, cpuid = 1 << 18, rsm = 1 << 19, iret = 1 << 20, intn = 1 << 21,
                               invd = 1 << 22, pause = 1 << 23, hlt = 1 << 24, invlpg = 1 << 25,
                               invlpga = 1 << 26, ioio = 1 << 27, msr = 1 << 28, task_switch = 1 << 29,
                               ferr_freeze = 1 << 30, shutdown = 1u << 31;
}
namespace intercept2 { // offset 0x10
inline constexpr std::uint32_t vmrun = 1, vmmcall = 2, vmload = 4, vmsave = 8, stgi = 16, clgi = 32,
                               skinit = 64, rdtscp = 1 << 7, icebp = 1 << 8, wbinvd = 1 << 9,
                               monitor = 1 << 10, mwait = 1 << 11, mwait_armed = 1 << 12, xsetbv = 1 << 13,
                               rdpru = 1 << 14, efer_write = 1 << 15;
}
namespace interrupt_control {
inline constexpr std::uint32_t tpr_mask = 0xff, irq = 1 << 8, priority_shift = 16, ignore_tpr = 1 << 20,
                               masking = 1 << 24;

/// A virtual interrupt is taken when its priority is above the TPR (APM 2, section 15.21.4): V_IRQ is set
/// just then. QEMU's TCG takes it when they are equal, too.
constexpr std::uint32_t offer_by_priority(std::uint32_t control) {
    const auto priority = control >> priority_shift & 15, tpr = control & 15;
    return (control & ignore_tpr) != 0 || priority > tpr ? control | irq : control & ~irq;
}
} // namespace interrupt_control

/// EVENTINJ and EXITINTINFO: APM 2, section 15.20.
namespace event {
inline constexpr std::uint64_t vector_mask = 0xff, type_shift = 8, error_valid = 1 << 11, valid = 1ull << 31,
                               error_shift = 32;
}

enum class ExitCode : std::uint64_t {
    ReadCr0 = 0x00,
    WriteCr0 = 0x10,
    WriteCr8 = 0x18,
    ReadDr0 = 0x20,
    WriteDr15 = 0x3f,
    Exception0 = 0x40,
    ExceptionDb = 0x41,
    ExceptionAc = 0x51,
    ExceptionMc = 0x52,
    Intr = 0x60,
    Nmi = 0x61,
    Smi = 0x62,
    Init = 0x63,
    Vintr = 0x64,
    Cr0Selective = 0x65,
    IdtrRead = 0x66,
    GdtrRead = 0x67,
    LdtrRead = 0x68,
    TrRead = 0x69,
    IdtrWrite = 0x6a,
    GdtrWrite = 0x6b,
    LdtrWrite = 0x6c,
    TrWrite = 0x6d,
    Rdtsc = 0x6e,
    Rdpmc = 0x6f,
    Pushf = 0x70,
    Popf = 0x71,
    Cpuid = 0x72,
    Rsm = 0x73,
    Iret = 0x74,
    IntN = 0x75,
    Invd = 0x76,
    Pause = 0x77,
    Hlt = 0x78,
    Invlpg = 0x79,
    Invlpga = 0x7a,
    Ioio = 0x7b,
    Msr = 0x7c,
    TaskSwitch = 0x7d,
    FerrFreeze = 0x7e,
    Shutdown = 0x7f,
    Vmrun = 0x80,
    Vmmcall = 0x81,
    Vmload = 0x82,
    Vmsave = 0x83,
    Stgi = 0x84,
    Clgi = 0x85,
    Skinit = 0x86,
    Rdtscp = 0x87,
    Icebp = 0x88,
    Wbinvd = 0x89,
    Monitor = 0x8a,
    Mwait = 0x8b,
    MwaitArmed = 0x8c,
    Xsetbv = 0x8d,
    Rdpru = 0x8e,
    EferWrite = 0x8f,
    NestedPageFault = 0x400,
    Invalid = ~0ull,
};

/// Why the guest was left. VMEXIT_INVALID is -1 in 64 bits; QEMU's TCG writes 32 of them.
[[nodiscard]] constexpr ExitCode exit_code_of(const VmcbControl& control) {
    constexpr std::uint32_t invalid = ~0u;
    return control.exit_code == invalid ? ExitCode::Invalid : ExitCode{control.exit_code};
}

/// TLB_CONTROL: APM 2, section 15.16.
enum class TlbControl : std::uint8_t { Nothing = 0, FlushAll = 1, FlushAsid = 3 };

/// Names the first consistency rule of APM 2, section 15.5.1 ("Canonicalization and Consistency Checks") that
/// the state violates; null when none is.
[[nodiscard]] const char* find_violation(const Vmcb& vmcb, unsigned physical_bits);

} // namespace escalus::vmm::svm
