// SPDX-License-Identifier: GPL-2.0-or-later
// The interface between the monitor and what runs above it. docs/ABI.md explains it call by call; this header
// is its only definition. It is included by both sides, so it holds nothing but constants and plain data.
#pragma once

#include "vmm/abi/types.hpp"

#include <cstddef>
#include <cstdint>

namespace escalus::abi {

/// Raised with every change that an older peer would not understand.
inline constexpr std::uint32_t version = 8;

// --- Discovery: CPUID leaves
//
// leaf_signature: EAX = highest leaf; EBX, ECX, EDX = signature.
// leaf_version:   EAX = version, EBX = feature bits, ECX = back end.
// leaf_host_page: EAX, EBX = low and high half of the host page's physical address.
inline constexpr std::uint32_t leaf_signature = 0x40000000;
inline constexpr std::uint32_t leaf_version = 0x40000001;
inline constexpr std::uint32_t leaf_host_page = 0x40000002;
inline constexpr char signature[] = "EscalusVMM\0"; // 12 bytes
/// Feature bit: Msrs::tsc_ratio has an effect.
inline constexpr std::uint32_t feature_tsc_ratio = 1;
/// Feature bit: the CPU leaves guest mode at VcpuPage::deadline by itself.
inline constexpr std::uint32_t feature_deadline_timer = 2;

enum class Backend : std::uint32_t { Svm = 1, Vmx = 2 };

struct Key {
    std::uint64_t low = 0, high = 0;
    bool operator==(const Key&) const = default;
};

/// The handle of a VM: slot number in the low 16 bits, generation above, never zero.
enum class VmHandle : std::uint64_t {};

// --- Hypercalls: VMMCALL (AMD) or VMCALL (Intel), from any privilege level
//
// RAX = call; RDI, RSI, RDX, RCX, R8, R9 = arguments. Results: RAX = Status, RDX and RCX = values. All other
// registers are preserved, but VcpuRun changes those of the FPU and vectors. Where a call takes a key, RSI is
// its low half and RDX its high half; RDI is the VM's handle. A call that fails changes nothing. Long calls
// return to the control OS for its interrupts and go on when the instruction is executed again.
enum class Call : std::uint64_t {
    Version = 0,  ///< no arguments. RDX = version.
    VmCreate = 1, ///< RDI = 0, host key, RCX = bytes of memory (multiple of 2 MiB), R8 = vCPUs. RDX = handle,
                  ///< RCX = physical address of the VmPage. The memory is zeroed.
    VmDestroy = 2, ///< VM key or host key. Busy while a vCPU is in guest mode.
    VmMap = 3,   ///< VM key, RCX = GPA | MapFlags, R8 = host-physical address, R9 = bytes. Replaces mappings.
    VmUnmap = 4, ///< VM key, RCX = GPA, R8 = bytes.
    VmDirty = 5, ///< VM key, RCX = GPA, R8 = bytes (at most dirty_pages_max pages): writes one bit a page
                 ///< into the DirtyPage and clears the log for the range.
    VcpuRun = 6, ///< VM key, RCX = vCPU. Returns when the device model is needed; see VcpuPage.
    VcpuState = 7, ///< VM key, RCX = vCPU: brings every group of the VcpuPage up to date that is not dirty.
    VmScrub = 8, ///< VM key. Zeroes some more of the VM's memory (a few MiB a call); RDX = bytes left. Until
                 ///< it is 0, VmMap answers NotReady.
};

enum class Status : std::int64_t {
    Ok = 0,
    UnknownCall = -1,
    BadHandle = -2, ///< no VM has it
    BadKey = -3,
    BadArgument = -4, ///< out of range, misaligned or not allowed; nothing changed
    NoMemory = -5,    ///< the pool, or the VM's share of page tables, is used up
    NoSlot = -6,      ///< vms_max VMs exist
    Busy = -7,        ///< a vCPU of the VM is in guest mode (map, unmap, dirty, destroy), or this vCPU is
    NotReady = -8,    ///< the VM's memory is not scrubbed yet
};

inline constexpr unsigned vms_max = 64;
inline constexpr unsigned vcpus_max = 32;
inline constexpr unsigned extents_max = 16;
inline constexpr std::uint64_t dirty_pages_max = 8 * page_size;
inline constexpr std::uint64_t guest_memory_max = 1ull << 40;
/// GPAs above this are refused by VmMap.
inline constexpr std::uint64_t gpa_limit = 1ull << 46;

enum MapFlags : std::uint64_t { map_read = 1, map_write = 2, map_execute = 4, map_flags_mask = 7 };

// --- Pages shared with root (host page: read-only)

struct HostVm {
    std::uint64_t handle; ///< 0: free slot
    std::uint64_t memory_bytes;
    std::uint64_t vcpus;
    std::uint64_t vm_page; ///< host-physical
};

/// At the address that CPUID leaf_host_page names; mapped read-only for the control OS.
struct HostPage {
    static constexpr std::uint64_t magic_value = 0x736c617563734500; // "\0Escalus"
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t backend;
    Key host_key;
    std::uint64_t pool_bytes;
    std::uint64_t pool_free_bytes;
    std::uint64_t monitor_bytes; ///< memory taken apart from the pool and nested page tables
    std::uint64_t cpus;
    std::uint64_t log_address; ///< host-physical; a LogRing, mapped read-only
    std::uint64_t log_bytes;   ///< whole size of the LogRing
    HostVm vms[vms_max];
};
static_assert(sizeof(HostPage) <= page_size);

/// Text, oldest bytes overwritten: byte n of the stream is text[n % (log_bytes - sizeof(LogRing))].
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" // a flexible array member, which both compilers have
struct LogRing {
    std::uint64_t written; ///< bytes since boot
    char text[];
};
#pragma GCC diagnostic pop

// --- Pages shared with the device model

struct Extent {
    std::uint64_t address; ///< host-physical, 2 MiB aligned
    std::uint64_t bytes;
};

/// One entry of the VM's CPUID table, which is sorted by function, then index, then vCPU. All are matched
/// exactly; where no entry matches, all registers read 0. The monitor fills in what depends on the vCPU's
/// state: OSXSAVE, OSPKE, leaf 0xd sizes.
struct CpuidEntry {
    std::uint32_t function, index;
    std::uint32_t any_index; ///< 1: matches every index (ECX is ignored)
    std::uint32_t eax, ebx, ecx, edx;
    std::uint32_t vcpu; ///< 0xffffffff, or the one vCPU that this entry is for (APIC IDs)
};
inline constexpr std::uint64_t cpuid_pages = 2; // leaves with APIC IDs have an entry for each vCPU
inline constexpr unsigned cpuid_entries_max = (cpuid_pages * page_size - 16) / sizeof(CpuidEntry);

struct CpuidPage {
    std::uint32_t count; ///< read anew at each guest CPUID; values above cpuid_entries_max count as that
    std::uint32_t reserved[3];
    CpuidEntry entries[cpuid_entries_max];
};
static_assert(sizeof(CpuidPage) <= cpuid_pages * page_size);

/// First page of a VM's shared area. Page n of the area: 0 VmPage, 1 and 2 CpuidPage, 3 DirtyPage (bitmap),
/// then two pages for each vCPU: VcpuPage, StatPage.
struct VmPage {
    std::uint64_t handle;
    Key key;
    std::uint64_t area_bytes; ///< of the whole shared area
    std::uint32_t vcpus;
    std::uint32_t extents;
    Extent extent[extents_max]; ///< the VM's memory
};
inline constexpr std::uint64_t vm_area_cpuid = 1, vm_area_dirty = vm_area_cpuid + cpuid_pages,
                               vm_area_vcpus = vm_area_dirty + 1;
constexpr std::uint64_t vm_area_bytes(std::uint64_t vcpus) {
    return (vm_area_vcpus + 2 * vcpus) * page_size;
}

enum class ExitReason : std::uint32_t {
    None = 0,
    Interrupted = 1, ///< `exit_now` was set, or the CPU had something else to do
    Io = 2,          ///< port access; exit.io
    Memory = 3,      ///< access to a GPA that is not mapped so; exit.memory
    MsrRead = 4,     ///< exit.msr; the answer goes to RAX and RDX
    MsrWrite = 5,    ///< exit.msr
    Halt = 6,
    InterruptWindow = 7, ///< request_interrupt_window was set and the interrupt window_vector can be taken
    NmiWindow = 8,       ///< request_nmi_window was set and an NMI can be taken
    Shutdown = 9,        ///< triple fault
    EntryFailed = 10,    ///< the guest's state is invalid; exit.failure
    Unhandled = 11,      ///< an exit that the monitor does not expect; exit.failure.code is the hardware's
    TaskSwitch = 12,     ///< a switch to another task, which the CPU leaves to software; exit.task
    Deadline = 13,       ///< the deadline has come, or more time has passed than the CPU's timer counts
    Count
};

enum StateGroup : std::uint32_t {
    group_general = 1,       ///< gpr, rip, rflags, interrupt_shadow, cr8; up to date on every exit, and so is
                             ///< msrs.tsc_offset
    group_main_segments = 2, ///< ES, CS, SS, DS
    group_control = 4,       ///< other CRs, EFER, xcr0
    group_msrs = 8,          ///< struct Msrs
    group_fpu_reset = 16,    ///< only as dirty: load the FPU's power-on state
    group_other = 32, ///< FS, GS, LDTR, TR, descriptor and debug registers: plain moves use none of them
    group_segments = group_main_segments | group_other,
    group_all = group_general | group_segments | group_control | group_msrs
};

enum class EventType : std::uint8_t { Interrupt = 0, Nmi = 2, Exception = 3, SoftwareInterrupt = 4 };
struct Event {
    std::uint8_t valid;
    EventType type;
    std::uint8_t vector;
    std::uint8_t has_error_code;
    std::uint32_t error_code;
};

struct Segment {
    std::uint16_t selector;
    std::uint16_t attributes; ///< VMCB form: type 3:0, S 4, DPL 6:5, P 7, AVL 8, L 9, D/B 10, G 11
    std::uint32_t limit;      ///< in bytes (expanded)
    std::uint64_t base;
};
struct TableRegister {
    std::uint64_t base;
    std::uint64_t limit;
};
enum SegmentIndex : unsigned { seg_es, seg_cs, seg_ss, seg_ds, seg_fs, seg_gs, seg_ldtr, seg_tr, seg_count };
inline constexpr unsigned main_segments = seg_fs; ///< how many group_main_segments has
enum GprIndex : unsigned { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 };

struct Msrs {
    std::uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
    std::uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    std::uint64_t pat, tsc_aux;
    std::uint64_t tsc_offset; ///< guest TSC = scale_tsc(host TSC, tsc_ratio) + tsc_offset
    std::uint64_t tsc_ratio;  ///< see tsc_ratio_one; what the CPU cannot do counts as 1
};

/// Ratios of a guest's TSC to the host's are fixed-point numbers with 48 bits of fraction, the format of VT-x
/// (SDM 3C, section 25.6.5), of which the monitor uses what AMD-V has too (APM 2, section 15.30.5): 8 bits
/// before the point and 32 behind it. 0 stands for 1.
inline constexpr std::uint64_t tsc_ratio_one = 1ull << 48, tsc_ratio_mask = 0x00ff'ffff'ffff'0000;
constexpr std::uint64_t scale_tsc(std::uint64_t tsc, std::uint64_t ratio) {
    __extension__ using Product = unsigned __int128;
    return static_cast<std::uint64_t>(static_cast<Product>(tsc) * ratio >> 48);
}

struct IoExit {
    std::uint16_t port;
    std::uint8_t width; ///< 1, 2, 4
    std::uint8_t in;    ///< 1: IN, INS
    std::uint8_t string;
    std::uint8_t repeat;        ///< REP prefix
    std::uint8_t address_width; ///< string forms: 2, 4 or 8 bytes of (E/R)SI, DI, CX
    std::uint8_t segment;       ///< OUTS: SegmentIndex; 0xff unknown, decode the instruction
};
struct MemoryExit {
    std::uint64_t gpa;
    std::uint8_t write;
    std::uint8_t fetch;
    std::uint8_t page_walk;   ///< the access was the CPU's own walk of the guest's page tables
    std::uint8_t bytes_valid; ///< how many of `bytes` hold the instruction at RIP; 0: fetch them
    std::uint8_t bytes[15];
};
struct MsrExit {
    std::uint32_t index;
    std::uint32_t reserved;
    std::uint64_t value; ///< writes: EDX:EAX
};
enum class TaskSource : std::uint8_t { Call = 0, Iret = 1, Jump = 2, Gate = 3 };
struct TaskExit {
    std::uint16_t selector; ///< of the new task's TSS
    TaskSource source;      ///< Gate: in the IDT; `event` is what it delivers, and not valid for INT n
};

/// What the monitor does about a port by itself, so that the guest need not leave it (VcpuPage::port_notes):
/// bits 15:0 the port, 23:16 PortNoteFlags, 31:24 what a byte read from it gives. 0: no note.
enum PortNoteFlags : std::uint32_t {
    port_posts =
        1, ///< a byte written has no effect that anybody sees before the next exit to the device model
    port_answers = 2,    ///< a byte read gives that value and has no effect, while no write of any vCPU waits
    port_posts_long = 4, ///< the same of 4 bytes written
};
inline constexpr unsigned port_notes_max = 256;
constexpr std::uint32_t port_note(std::uint16_t port, std::uint32_t flags, std::uint8_t answer) {
    return port | flags << 16 | std::uint32_t{answer} << 24;
}
/// The one place where a port's note may stand. The ports of a PC's disks do not meet.
constexpr unsigned port_note_index(std::uint16_t port) {
    return (port ^ port >> 5) % port_notes_max;
}
struct PostedWrite {
    std::uint16_t port;
    std::uint8_t width; ///< 1, 2, 4
    std::uint8_t reserved;
    std::uint32_t value;
};
inline constexpr unsigned posted_writes_max = 16;

struct FailureExit {
    std::uint64_t code;
    std::uint64_t info1, info2;
    char text[96]; ///< which architectural check the state violates; NUL-terminated
};

/// The page through which a device model drives a vCPU. The monitor reads each field once, and trusts none.
/// On every exit RIP is *on* the instruction that exited; to complete it, set rip = next_rip.
struct VcpuPage {
    static constexpr std::uint32_t window_any = 256; ///< the 8259's, that is

    // device model -> monitor
    std::uint32_t exit_now; ///< nonzero: leave guest mode (or do not enter) with Interrupted. Set it, then
                            ///< send the vCPU's thread a signal. The device model clears it.
    std::uint32_t dirty;    ///< StateGroups that the device model changed; cleared when taken over
    std::uint32_t request_interrupt_window;
    std::uint32_t window_vector; ///< of the interrupt that waits; window_any: it ignores the task priority
    std::uint32_t request_nmi_window;
    std::uint32_t reserved0;
    std::uint64_t deadline; ///< host TSC from which on to leave guest mode, or not enter it, with Deadline;
                            ///< 0: never. Without feature_deadline_timer it is looked at on each entry, and
                            ///< so after each interrupt of the control OS: the device model sets a timer.
    Event event; ///< injected at the next entry, then cleared. On exit: an event whose delivery was
                 ///< interrupted, which the monitor will inject again unless it is changed.

    // monitor -> device model
    std::uint32_t exit_reason;   ///< ExitReason
    std::uint32_t valid;         ///< StateGroups below that are up to date
    std::uint64_t next_rip;      ///< Io, Msr*, Halt, TaskSwitch (what the old task goes on with); else 0
    std::uint32_t interruptible; ///< IF is set, there is no shadow and no event waits: an interrupt could be
                                 ///< injected now
    std::uint32_t nmi_blocked;
    std::uint32_t window_taken; ///< instead of exiting, the CPU has delivered window_vector to the guest
    std::uint32_t reserved1;
    union {
        IoExit io;
        MemoryExit memory;
        MsrExit msr;
        TaskExit task;
        FailureExit failure;
    } exit;

    // ports that need no exit
    std::uint32_t port_notes[port_notes_max]; ///< by the device model, at port_note_index()
    PostedWrite posted[posted_writes_max];    ///< by the monitor: write n stands at n % posted_writes_max
    std::uint32_t posted_written;             ///< by the monitor: how many there have been
    std::uint32_t posted_taken;               ///< by the device model: how many it has carried out
    std::uint32_t posted_vcpus; ///< in the page of vCPU 0: bit n is set when vCPU n has posted a write; the
                                ///< device model clears it before it looks
    std::uint32_t reserved2;

    // both ways, by group
    std::uint64_t gpr[16];
    std::uint64_t rip, rflags;
    std::uint64_t interrupt_shadow; ///< 1: STI or MOV SS just executed
    Segment segment[seg_count];
    TableRegister gdtr, idtr;
    std::uint64_t cr0, cr2, cr3, cr4, cr8, efer, xcr0;
    std::uint64_t dr[4], dr6, dr7;
    Msrs msrs;
};
static_assert(sizeof(VcpuPage) <= page_size);

/// Counters of one vCPU, written by the monitor. `hardware` is by the back end's own exit code, folded.
/// AMD-V: codes 0 to 0xff as they are, #NPF 0x400 at 0x100, the AVIC and VMGEXIT codes at 0x101 and up,
/// invalid state at 0x17f. VT-x: basic exit reasons as they are, those of failed entries at 0x100 and up.
struct StatPage {
    std::uint64_t entries;
    std::uint64_t exits_to_device_model;
    std::uint64_t host_interrupts; ///< exits taken because the control OS had an interrupt
    std::uint64_t guest_cycles;    ///< TSC cycles in guest mode
    std::uint64_t hardware[0x180];
    std::uint64_t reason[static_cast<std::size_t>(ExitReason::Count)];
    std::uint64_t backend; ///< Backend
};
static_assert(sizeof(StatPage) <= page_size);

} // namespace escalus::abi
