// SPDX-License-Identifier: GPL-2.0-or-later
// The virtual-machine control structure: field encodings (Intel SDM 3D, appendix B), control bits (SDM 3C,
// chapter 24), exit reasons (appendix C), and the checks that VM entry makes of it (chapter 26).
#pragma once

#include <cstdint>

namespace escalus::vmm::vmx {

// In the order of appendix B. _high halves and what the monitor never uses are left out.
enum class Field : std::uint32_t {
    Vpid = 0x0000,
    GuestEs = 0x0800, // selectors; the other segments follow in steps of 2: CS SS DS FS GS LDTR TR
    GuestInterruptStatus = 0x0810, // RVI, and SVI above it
    HostEs = 0x0c00,
    HostCs = 0x0c02,
    HostSs = 0x0c04,
    HostDs = 0x0c06,
    HostFs = 0x0c08,
    HostGs = 0x0c0a,
    HostTr = 0x0c0c,
    IoBitmapA = 0x2000,
    IoBitmapB = 0x2002,
    MsrBitmap = 0x2004,
    ExitMsrStore = 0x2006,
    ExitMsrLoad = 0x2008,
    EntryMsrLoad = 0x200a,
    TscOffset = 0x2010,
    VirtualApicPage = 0x2012,
    ApicAccessPage = 0x2014,
    EptPointer = 0x201a,
    XssExitBitmap = 0x202c,
    TscMultiplier = 0x2032,
    GuestPhysical = 0x2400,
    LinkPointer = 0x2800,
    GuestDebugControl = 0x2802,
    GuestPat = 0x2804,
    GuestEfer = 0x2806,
    GuestPdpte0 = 0x280a, // the other three follow in steps of 2
    HostPat = 0x2c00,
    HostEfer = 0x2c02,
    PinControls = 0x4000,
    PrimaryControls = 0x4002,
    ExceptionBitmap = 0x4004,
    FaultMask = 0x4006,
    FaultMatch = 0x4008,
    Cr3TargetCount = 0x400a,
    ExitControls = 0x400c,
    ExitMsrStoreCount = 0x400e,
    ExitMsrLoadCount = 0x4010,
    EntryControls = 0x4012,
    EntryMsrLoadCount = 0x4014,
    EntryEvent = 0x4016,
    EntryErrorCode = 0x4018,
    EntryInstructionLength = 0x401a,
    TprThreshold = 0x401c,
    SecondaryControls = 0x401e,
    InstructionError = 0x4400,
    ExitReason = 0x4402,
    ExitEvent = 0x4404,
    ExitErrorCode = 0x4406,
    VectoringEvent = 0x4408,
    VectoringErrorCode = 0x440a,
    ExitInstructionLength = 0x440c,
    ExitInstructionInfo = 0x440e,
    GuestEsLimit = 0x4800, // the other segments follow, then GDTR and IDTR
    GuestGdtrLimit = 0x4810,
    GuestIdtrLimit = 0x4812,
    GuestEsRights = 0x4814, // the other segments follow
    GuestInterruptibility = 0x4824,
    GuestActivity = 0x4826,
    GuestSysenterCs = 0x482a,
    PreemptionTimer = 0x482e,
    HostSysenterCs = 0x4c00,
    Cr0Mask = 0x6000,
    Cr4Mask = 0x6002,
    Cr0Shadow = 0x6004,
    Cr4Shadow = 0x6006,
    ExitQualification = 0x6400,
    GuestLinear = 0x640a,
    GuestCr0 = 0x6800,
    GuestCr3 = 0x6802,
    GuestCr4 = 0x6804,
    GuestEsBase = 0x6806, // the other segments follow, then GDTR and IDTR
    GuestGdtrBase = 0x6816,
    GuestIdtrBase = 0x6818,
    GuestDr7 = 0x681a,
    GuestRsp = 0x681c,
    GuestRip = 0x681e,
    GuestRflags = 0x6820,
    GuestPendingDebug = 0x6822,
    GuestSysenterEsp = 0x6824,
    GuestSysenterEip = 0x6826,
    HostCr0 = 0x6c00,
    HostCr3 = 0x6c02,
    HostCr4 = 0x6c04,
    HostFsBase = 0x6c06,
    HostGsBase = 0x6c08,
    HostTrBase = 0x6c0a,
    HostGdtrBase = 0x6c0c,
    HostIdtrBase = 0x6c0e,
    HostSysenterEsp = 0x6c10,
    HostSysenterEip = 0x6c12,
    HostRsp = 0x6c14,
    HostRip = 0x6c16,
};
/// The n-th after `first` of fields that follow in steps of 2.
constexpr Field nth(Field first, unsigned n) {
    return static_cast<Field>(static_cast<std::uint32_t>(first) + 2 * n);
}

/// Of the current VMCS.
inline std::uint64_t read(Field field) {
    std::uint64_t value = 0;
    asm volatile("vmread %1, %0"
                 : "=rm"(value)
                 : "r"(std::uint64_t{static_cast<std::uint32_t>(field)})
                 : "cc");
    return value;
}
inline void write(Field field, std::uint64_t value) {
    asm volatile("vmwrite %0, %1" ::"rm"(value), "r"(std::uint64_t{static_cast<std::uint32_t>(field)})
                 : "cc", "memory");
}
inline void set_bits(Field field, std::uint64_t bits) {
    write(field, read(field) | bits);
}
inline void clear_bits(Field field, std::uint64_t bits) {
    write(field, read(field) & ~bits);
}

namespace pin { // table 24-5
inline constexpr std::uint32_t external_interrupts = 1, nmi = 8, virtual_nmis = 32, preemption_timer = 64,
                               posted_interrupts = 128;
}
namespace primary { // table 24-6
inline constexpr std::uint32_t interrupt_window = 4, tsc_offsetting = 8, hlt = 1 << 7, invlpg = 1 << 9,
                               mwait = 1 << 10, rdpmc = 1 << 11, rdtsc = 1 << 12, cr3_load = 1 << 15,
                               cr3_store = 1 << 16, cr8_load = 1 << 19, cr8_store = 1 << 20,
                               tpr_shadow = 1 << 21, nmi_window = 1 << 22, dr_access = 1 << 23,
                               all_ports = 1 << 24, port_bitmaps = 1 << 25, trap_flag = 1 << 27,
                               msr_bitmaps = 1 << 28, monitor = 1 << 29, pause = 1 << 30,
                               secondary = 1u << 31;
}
namespace secondary { // table 24-7
inline constexpr std::uint32_t apic_accesses = 1, ept = 2, descriptor_tables = 4, rdtscp = 8, x2apic = 16,
                               vpid = 32, wbinvd = 64, unrestricted = 128, apic_registers = 256,
                               virtual_interrupts = 512, pause_loop = 1 << 10, invpcid = 1 << 12,
                               vm_functions = 1 << 13, vmcs_shadowing = 1 << 14, page_log = 1 << 17,
                               ept_exceptions = 1 << 18, xsaves = 1 << 20, ept_execute_modes = 1 << 22,
                               tsc_scaling = 1 << 25, user_wait = 1 << 26;
}
namespace exit_control { // table 24-13
inline constexpr std::uint32_t save_debug = 4, host_64 = 1 << 9, load_perf = 1 << 12, acknowledge = 1 << 15,
                               save_pat = 1 << 18, load_pat = 1 << 19, save_efer = 1 << 20,
                               load_efer = 1 << 21, save_preemption_timer = 1 << 22;
}
namespace entry_control { // table 24-15
inline constexpr std::uint32_t load_debug = 4, long_mode = 1 << 9, to_smm = 1 << 10, dual_monitor = 1 << 11,
                               load_perf = 1 << 13, load_pat = 1 << 14, load_efer = 1 << 15;
}

/// Event fields (entry, exit and IDT-vectoring): tables 24-16, 24-18 and 24-19.
namespace event {
inline constexpr std::uint32_t vector_mask = 0xff, type_shift = 8, type_mask = 7 << type_shift,
                               error_valid = 1 << 11, nmi_unblocked = 1 << 12, valid = 1u << 31;
inline constexpr std::uint32_t external = 0, nmi = 2, hardware_exception = 3, software_interrupt = 4,
                               privileged_exception = 5, software_exception = 6, other = 7;
constexpr std::uint32_t type(std::uint64_t info) {
    return static_cast<std::uint32_t>(info) >> type_shift & 7;
}
} // namespace event

/// Interruptibility state: table 24-3.
namespace blocking {
inline constexpr std::uint32_t sti = 1, mov_ss = 2, shadow = 3, smi = 4, nmi = 8;
}
/// Activity states: section 24.4.2.
namespace activity {
inline constexpr std::uint64_t active = 0, hlt = 1, shutdown = 2, wait_for_sipi = 3;
}
namespace pending_debug {
inline constexpr std::uint64_t single_step = 1 << 14;
}
/// Access rights: table 24-2.
namespace rights {
inline constexpr std::uint32_t code_or_data = 16, dpl_shift = 5, present = 128, long_mode = 1 << 13,
                               size_32 = 1 << 14, pages = 1 << 15, unusable = 1 << 16;
}

/// Basic exit reasons: appendix C.
enum class ExitReason : std::uint32_t {
    ExceptionOrNmi = 0,
    ExternalInterrupt = 1,
    TripleFault = 2,
    Init = 3,
    Sipi = 4,
    IoSmi = 5,
    OtherSmi = 6,
    InterruptWindow = 7,
    NmiWindow = 8,
    TaskSwitch = 9,
    Cpuid = 10,
    Getsec = 11,
    Hlt = 12,
    Invd = 13,
    Invlpg = 14,
    Rdpmc = 15,
    Rdtsc = 16,
    Rsm = 17,
    Vmcall = 18,
    Vmclear = 19,
    Vmlaunch = 20,
    Vmptrld = 21,
    Vmptrst = 22,
    Vmread = 23,
    Vmresume = 24,
    Vmwrite = 25,
    Vmxoff = 26,
    Vmxon = 27,
    CrAccess = 28,
    DrAccess = 29,
    Io = 30,
    Rdmsr = 31,
    Wrmsr = 32,
    InvalidGuestState = 33,
    MsrLoading = 34,
    Mwait = 36,
    TrapFlag = 37,
    Monitor = 39,
    Pause = 40,
    MachineCheckAtEntry = 41,
    TprBelowThreshold = 43,
    ApicAccess = 44,
    VirtualEoi = 45,
    GdtrIdtr = 46,
    LdtrTr = 47,
    EptViolation = 48,
    EptMisconfiguration = 49,
    Invept = 50,
    Rdtscp = 51,
    PreemptionTimer = 52,
    Invvpid = 53,
    Wbinvd = 54,
    Xsetbv = 55,
    ApicWrite = 56,
    Rdrand = 57,
    Invpcid = 58,
    Vmfunc = 59,
    Encls = 60,
    Rdseed = 61,
    PageLogFull = 62,
    Xsaves = 63,
    Xrstors = 64,
    Pconfig = 65,
    SubPage = 66,
    Umwait = 67,
    Tpause = 68,
    Loadiwkey = 69,
    Enclv = 70,
    EnqcmdPasid = 72,
    EnqcmdsPasid = 73,
    BusLock = 74,
    NotifyWindow = 75,
    Seamcall = 76,
    Tdcall = 77,
    Rdmsrlist = 78,
    Wrmsrlist = 79,
    Count = 80
};
inline constexpr std::uint32_t entry_failed = 1u << 31;

} // namespace escalus::vmm::vmx
