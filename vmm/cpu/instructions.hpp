// SPDX-License-Identifier: GPL-2.0-or-later
// One inline function for each privileged or unusual instruction the monitor executes. AMD APM 3, Intel
// SDM 2.
#pragma once

#include <cstdint>

namespace escalus::vmm {

struct CpuidResult {
    std::uint32_t eax, ebx, ecx, edx;
};

inline CpuidResult cpuid(std::uint32_t function, std::uint32_t index = 0) {
    CpuidResult r{};
    asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(function), "c"(index));
    return r;
}

inline std::uint64_t read_msr(std::uint32_t msr) {
    std::uint32_t low = 0, high = 0;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return std::uint64_t{high} << 32 | low;
}

inline void write_msr(std::uint32_t msr, std::uint64_t value) {
    asm volatile("wrmsr" ::"c"(msr), "a"(static_cast<std::uint32_t>(value)),
                 "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
}

inline std::uint64_t read_tsc() {
    std::uint32_t low = 0, high = 0;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return std::uint64_t{high} << 32 | low;
}

inline std::uint64_t read_xcr0() {
    std::uint32_t low = 0, high = 0;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return std::uint64_t{high} << 32 | low;
}

inline void write_xcr0(std::uint64_t value) {
    asm volatile("xsetbv" ::"c"(0), "a"(static_cast<std::uint32_t>(value)),
                 "d"(static_cast<std::uint32_t>(value >> 32)));
}

#define ESCALUS_CONTROL_REGISTER(name)                                                                       \
    inline std::uint64_t read_##name() {                                                                     \
        std::uint64_t value = 0;                                                                             \
        asm volatile("mov %%" #name ", %0" : "=r"(value));                                                   \
        return value;                                                                                        \
    }                                                                                                        \
    inline void write_##name(std::uint64_t value) {                                                          \
        asm volatile("mov %0, %%" #name ::"r"(value) : "memory");                                            \
    }
ESCALUS_CONTROL_REGISTER(cr0)
ESCALUS_CONTROL_REGISTER(cr2)
ESCALUS_CONTROL_REGISTER(cr3)
ESCALUS_CONTROL_REGISTER(cr4)
ESCALUS_CONTROL_REGISTER(dr0)
ESCALUS_CONTROL_REGISTER(dr1)
ESCALUS_CONTROL_REGISTER(dr2)
ESCALUS_CONTROL_REGISTER(dr3)
ESCALUS_CONTROL_REGISTER(dr6)
ESCALUS_CONTROL_REGISTER(dr7)
#undef ESCALUS_CONTROL_REGISTER

inline void out8(std::uint16_t port, std::uint8_t value) {
    asm volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}
inline std::uint8_t in8(std::uint16_t port) {
    std::uint8_t value = 0;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline void pause() {
    asm volatile("pause");
}
[[noreturn]] inline void halt_forever() {
    for (;;)
        asm volatile("cli; hlt");
}

namespace msr {
inline constexpr std::uint32_t tsc = 0x10, apic_base = 0x1b, feature_control = 0x3a, misc_enable = 0x1a0;
inline constexpr std::uint32_t sysenter_cs = 0x174, sysenter_esp = 0x175, sysenter_eip = 0x176;
inline constexpr std::uint32_t pat = 0x277, x2apic_id = 0x802, x2apic_icr = 0x830;
inline constexpr std::uint32_t efer = 0xc0000080, star = 0xc0000081, lstar = 0xc0000082, cstar = 0xc0000083,
                               sfmask = 0xc0000084, fs_base = 0xc0000100, gs_base = 0xc0000101,
                               kernel_gs_base = 0xc0000102, tsc_aux = 0xc0000103, tsc_ratio = 0xc0000104;
inline constexpr std::uint32_t vm_cr = 0xc0010114, ignne = 0xc0010115, smm_ctl = 0xc0010116,
                               vm_hsave_pa = 0xc0010117, svm_key = 0xc0010118;
} // namespace msr

namespace efer {
inline constexpr std::uint64_t sce = 1, lme = 1 << 8, lma = 1 << 10, nxe = 1 << 11, svme = 1 << 12,
                               lmsle = 1 << 13, ffxsr = 1 << 14, tce = 1 << 15, auto_ibrs = 1 << 21;
}
namespace cr0 {
inline constexpr std::uint64_t pe = 1, mp = 2, em = 4, ts = 8, et = 16, ne = 32, wp = 1 << 16, am = 1 << 18,
                               nw = 1 << 29, cd = 1 << 30, pg = 1ull << 31;
}
namespace cr4 {
inline constexpr std::uint64_t pse = 1 << 4, pae = 1 << 5, pge = 1 << 7, osfxsr = 1 << 9,
                               osxmmexcpt = 1 << 10, la57 = 1 << 12, vmxe = 1 << 13, fsgsbase = 1 << 16,
                               pcide = 1 << 17, osxsave = 1 << 18, smep = 1 << 20, smap = 1 << 21,
                               pke = 1 << 22;
}
namespace rflags {
inline constexpr std::uint64_t fixed = 2, tf = 1 << 8, interrupt = 1 << 9, rf = 1 << 16, vm = 1 << 17;
}

} // namespace escalus::vmm
