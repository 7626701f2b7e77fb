// SPDX-License-Identifier: GPL-2.0-or-later
// The VT-x back end. Intel SDM 3C, chapters 23 to 33.
//
// vmx.cpp            enabling, what every VMCS has, NMIs in root mode
// capabilities.cpp   detection
// control_exits.cpp  the control OS: how it starts, and its exits
// guest_run.cpp      switching between control OS and guest, injection, windows, TLB
// guest_exits.cpp    exits of guests: one table, every reason
// guest_state.cpp    VMCS <-> the page shared with the device model
// vmcs_check.cpp     which check of VM entry a state violates
// mtrr.cpp           memory types of the control OS
#pragma once

#include "vmm/cpu/backend.hpp"
#include "vmm/guest/vm.hpp"
#include "vmm/vmx/capabilities.hpp"
#include "vmm/vmx/vmcs.hpp"

namespace escalus::vmm::vmx {

/// The registers of SYSCALL and SWAPGS, which no VMCS holds. All but the last change only by WRMSR, which
/// exits, so what is in the CPU is known.
struct SystemMsrs {
    std::uint64_t star = 0, lstar = 0, cstar = 0, sfmask = 0, kernel_gs_base = 0;
};

/// WRMSR to one of them: false when it must fault.
[[nodiscard]] bool write_system_msr(SystemMsrs& known, std::uint32_t index, std::uint64_t value);

struct CpuState {
    HostPhys control{}; ///< the VMCS of the control OS on this CPU
    bool control_launched = false;
    SystemMsrs control_msrs{};
    std::uint64_t control_cr2 = 0, control_dr6 = 0;
    // Events that ended guest mode or came in root mode, to be given to the control OS.
    volatile bool nmi_pending = false;
    bool nmi_window = false; ///< it has NMIs blocked: its VMCS exits when they are not
    bool machine_check = false;
    bool init = false;
};

/// What a vCPU has beside Vcpu's own fields.
struct GuestState {
    HostPhys vmcs{};
    std::uint32_t* task_priority = nullptr; ///< in its virtual-APIC page
    HostPhys virtual_apic{};
    std::uint32_t offered = 0; ///< the vector that the CPU may deliver by itself; 0: none
    SystemMsrs msrs{};
    std::uint64_t cr2 = 0, dr6 = 0xffff0ff0;
    bool launched = false; ///< since the VMCS was last cleared
};

[[nodiscard]] inline CpuState& state_of(PerCpu& cpu) {
    return *static_cast<CpuState*>(cpu.backend);
}
[[nodiscard]] inline GuestState& state_of(const Vcpu& vcpu) {
    return *static_cast<GuestState*>(vcpu.backend);
}

/// The CPU that executes: its GS base is its PerCpu.
[[nodiscard]] inline PerCpu& this_cpu() {
    return *reinterpret_cast<PerCpu*>(read_msr(msr::gs_base));
}

enum class Entry : unsigned { Exited = 0, Failed = 1, Stopped = 2 };
extern "C" Entry vmx_enter(Gprs* registers, bool launched, const volatile bool* stop);

inline void make_current(HostPhys vmcs) {
    asm volatile("vmptrld %0" ::"m"(vmcs) : "cc", "memory");
}
/// Writes the VMCS back to memory, so that any CPU may use it next; it has to be launched anew then.
inline void release(HostPhys vmcs) {
    asm volatile("vmclear %0" ::"m"(vmcs) : "cc", "memory");
}
/// Forgets all translations of nested tables, or those of one.
void flush_all_translations();
void flush_translations(std::uint64_t ept_pointer);
[[nodiscard]] std::uint64_t ept_pointer(HostPhys root);

/// A page for a VMCS with its revision; address 0 when there is no memory.
[[nodiscard]] HostPhys allocate_vmcs();
/// In the current VMCS: what is this CPU's, and what is the same in all.
void write_host_fields(const PerCpu& cpu);
void write_common_fields();

/// Queues an exception for the next entry.
inline void inject_exception(std::uint8_t vector) {
    write(Field::EntryEvent, event::valid | event::hardware_exception << event::type_shift | vector);
}
inline void inject_exception(std::uint8_t vector, std::uint32_t error_code) {
    write(Field::EntryErrorCode, error_code);
    write(Field::EntryEvent,
          event::valid | event::error_valid | event::hardware_exception << event::type_shift | vector);
}
inline constexpr std::uint8_t vector_db = 1, vector_nmi = 2, vector_ud = 6, vector_gp = 13, vector_ac = 17,
                              vector_mc = 18;

[[nodiscard]] inline std::uint64_t next_rip() {
    return read(Field::GuestRip) + read(Field::ExitInstructionLength);
}
/// Steps over the instruction that exited, with all that its completion means (SDM 3C, section 26.6.3).
void skip_instruction();
/// CR0 bits that are not a guest's own: CD and NW would make its memory uncached (section 28.3.7).
inline constexpr std::uint64_t guest_cr0_mask = cr0::ne | cr0::cd | cr0::nw;
/// An access to a control register that exited: both kinds of guest. False when the guest is to get #GP(0).
[[nodiscard]] bool access_control_register(const NestedTables* nested, Gprs& gprs);
/// Section 26.3.2.4: entries use the VMCS's copy of the PAE page directory pointers.
void load_pae_pointers(const NestedTables* nested);

/// One bit for reads, one for writes of each register: section 24.6.9.
class MsrBitmap {
  public:
    void allow_all();
    void intercept_all();
    void set(std::uint32_t msr, bool read, bool write);

  private:
    std::uint8_t bits_[page_size];
};

// control_exits.cpp
[[noreturn]] void run_control(PerCpu& cpu, const ControlStart& start);
void start_control_maps();
// guest_run.cpp
bool create_vcpu(Vcpu& vcpu);
void destroy_vcpu(Vcpu& vcpu);
RunResult run_guest(PerCpu& cpu, Vcpu& vcpu);
void leave_vmcs(Vcpu& vcpu);
void export_state(Vcpu& vcpu, std::uint32_t groups);
void start_guest_maps();
// guest_state.cpp: of the current VMCS
void import_state(Vcpu& vcpu, std::uint32_t groups);
void export_current(Vcpu& vcpu, std::uint32_t groups);

} // namespace escalus::vmm::vmx
