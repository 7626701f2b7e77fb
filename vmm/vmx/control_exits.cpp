// SPDX-License-Identifier: GPL-2.0-or-later
// The control OS: how it is entered first, and the few exits it has.
#include "vmm/control/control_cpuid.hpp"
#include "vmm/control/control_memory.hpp"
#include "vmm/control/hypercalls.hpp"
#include "vmm/control/reset.hpp"
#include "vmm/control/start_ipi.hpp"
#include "vmm/cpu/log.hpp"
#include "vmm/guest/loaded_state.hpp"
#include "vmm/memory/page_allocator.hpp"
#include "vmm/vmx/vmcs_check.hpp"
#include "vmm/vmx/vmx.hpp"

#include <initializer_list>

namespace escalus::vmm::vmx {

namespace {

constexpr std::uint16_t control_vpid = 1;
constexpr std::uint32_t msr_vmx_first = 0x480, msr_vmx_last = 0x491;
constinit MsrBitmap* control_msrs = nullptr;

constexpr std::uint32_t data_segment = rights::present | rights::code_or_data | 3,
                        code_segment = rights::present | rights::code_or_data | 11;
enum Segment : unsigned { es, cs, ss, ds, fs, gs, ldtr, tr };

void write_segment(unsigned segment, std::uint16_t selector, std::uint32_t access, std::uint32_t limit,
                   std::uint64_t base) {
    write(nth(Field::GuestEs, segment), selector);
    write(nth(Field::GuestEsRights, segment), access);
    write(nth(Field::GuestEsLimit, segment), limit);
    write(nth(Field::GuestEsBase, segment), base);
}

void write_tables(std::uint64_t gdt, std::uint64_t gdt_limit, std::uint64_t idt_limit) {
    write(Field::GuestGdtrBase, gdt);
    write(Field::GuestGdtrLimit, gdt_limit);
    write(Field::GuestIdtrBase, 0);
    write(Field::GuestIdtrLimit, idt_limit);
}

void write_control_registers(std::uint64_t cr0_value, std::uint64_t cr3, std::uint64_t cr4_value,
                             std::uint64_t efer_value) {
    write(Field::GuestCr0, cr0_value | cr0::ne);
    write(Field::Cr0Shadow, cr0_value);
    write(Field::GuestCr3, cr3);
    write(Field::GuestCr4, cr4_value | cr4::vmxe);
    write(Field::GuestEfer, efer_value);
    if ((efer_value & efer::lma) != 0)
        set_bits(Field::EntryControls, entry_control::long_mode);
    else
        clear_bits(Field::EntryControls, entry_control::long_mode);
}

// Linux's 64-bit boot protocol (Documentation/x86/boot.rst): long mode, flat segments, interrupts off.
void enter_long_mode(const ControlStart& start) {
    constexpr std::uint32_t whole = 0xffffffff;
    write_segment(cs, 0x10, code_segment | rights::long_mode | rights::pages, whole, 0);
    for (const auto segment : {es, ss, ds, fs, gs})
        write_segment(segment, 0x18, data_segment | rights::size_32 | rights::pages, whole, 0);
    write_tables(start.gdt_base, 0x1f, 0);
    write_control_registers(cr0::pe | cr0::et | cr0::ne | cr0::wp | cr0::pg, start.cr3,
                            cr4::pae | cr4::osfxsr | cr4::osxmmexcpt, efer::lme | efer::lma | efer::nxe);
    write(Field::GuestRip, start.rip);
}

// SDM 3A, table 9-1: what INIT leaves behind, but for CS and RIP, which the start-up IPI brings.
void write_init_state(PerCpu& cpu) {
    write_segment(cs, 0xf000, code_segment, 0xffff, 0xffff0000);
    for (const auto segment : {es, ss, ds, fs, gs})
        write_segment(segment, 0, data_segment, 0xffff, 0);
    write_segment(ldtr, 0, rights::present | 2, 0xffff, 0);
    write_segment(tr, 0, rights::present | 11, 0xffff, 0);
    write_tables(0, 0xffff, 0xffff);
    write_control_registers(cr0::et, 0, 0, 0);
    write(Field::GuestDr7, 0x400);
    write(Field::GuestRflags, rflags::fixed);
    write(Field::GuestRip, 0xfff0);
    write(Field::GuestRsp, 0);
    write(Field::GuestInterruptibility, 0);
    write(Field::GuestPendingDebug, 0);
    write(Field::GuestSysenterCs, 0);
    write(Field::GuestSysenterEsp, 0);
    write(Field::GuestSysenterEip, 0);
    cpu.control = {};
    cpu.control.r[abi::rdx] = cpuid(1).eax;
}

// An INIT has come: section 25.2 makes it an exit. The CPU waits for a start-up IPI, which exits too.
void take_init(PerCpu& cpu) {
    write_init_state(cpu);
    write(Field::GuestActivity, activity::wait_for_sipi);
    cpu.set_state(StartState::WaitForSipi);
}

// Nothing is blocked after a start. Bochs 2.7 saves what wait-for-SIPI blocks (SMI, NMI) as the guest's
// blocking, and refuses it at the next entry.
void unblock_events() {
    write(Field::GuestInterruptibility, 0);
}

void start_at(PerCpu& cpu, std::uint8_t vector) {
    write_segment(cs, static_cast<std::uint16_t>(vector << 8), code_segment, 0xffff,
                  std::uint64_t{vector} << 12);
    write(Field::GuestRip, 0);
    unblock_events();
    write(Field::GuestActivity, activity::active);
    cpu.set_state(StartState::Running);
}

void take_start_up(PerCpu& cpu) {
    const auto vector = static_cast<std::uint8_t>(read(Field::ExitQualification));
    start_at(cpu, vector);
    log::debug("CPU ", cpu.index, " starts at vector ", hex(std::uint64_t{vector}));
}

void prepare(PerCpu& cpu, const ControlStart& start) {
    CpuState& state = state_of(cpu);
    const auto optional = (features.vpid ? secondary::vpid : 0) | (features.rdtscp ? secondary::rdtscp : 0) |
                          (features.invpcid ? secondary::invpcid : 0) |
                          (features.xsaves ? secondary::xsaves : 0) |
                          (features.user_wait ? secondary::user_wait : 0);
    write(Field::PinControls, settle(capabilities.pin, 0));
    write(Field::PrimaryControls, settle(capabilities.primary, primary::msr_bitmaps | primary::secondary));
    write(Field::SecondaryControls,
          settle(capabilities.secondary, secondary::ept | secondary::unrestricted | optional));
    write(Field::ExceptionBitmap, 0);
    write(Field::MsrBitmap, reinterpret_cast<std::uint64_t>(control_msrs));
    write(Field::EptPointer, ept_pointer(control_memory_root()));
    if (features.vpid)
        write(Field::Vpid, control_vpid);
    if (features.xsaves)
        write(Field::XssExitBitmap, 0);
    write(Field::Cr0Mask, cr0::ne);
    write(Field::Cr4Mask, cr4::vmxe);
    write(Field::Cr4Shadow, 0);
    write(Field::GuestPat, read_msr(msr::pat));
    write(Field::GuestDebugControl, 0);
    state.control_msrs = {read_msr(msr::star), read_msr(msr::lstar), read_msr(msr::cstar),
                          read_msr(msr::sfmask), 0};
    write_init_state(cpu);
    if (start.start_up_ipi && features.wait_for_sipi) {
        write(Field::GuestActivity, activity::wait_for_sipi);
    } else if (start.start_up_ipi) {
        start_at(cpu, wait_for_start(cpu));
    } else {
        enter_long_mode(start);
        cpu.control = {};
        cpu.control.r[abi::rsi] = start.rsi;
    }
    flush_all_translations();
}

void cpuid_exit(PerCpu& cpu) {
    auto& r = cpu.control.r;
    const CpuidResult result = control_cpuid(static_cast<std::uint32_t>(r[abi::rax]),
                                             static_cast<std::uint32_t>(r[abi::rcx]), read(Field::GuestCr4));
    r[abi::rax] = result.eax;
    r[abi::rbx] = result.ebx;
    r[abi::rcx] = result.ecx;
    r[abi::rdx] = result.edx;
    skip_instruction();
}

void protection_fault() {
    inject_exception(vector_gp, 0);
}

void rdmsr_exit(PerCpu& cpu) {
    // As on a CPU whose firmware has disabled VT-x.
    constexpr std::uint64_t vmx_disabled_and_locked = 1;
    auto& r = cpu.control.r;
    if (static_cast<std::uint32_t>(r[abi::rcx]) != msr::feature_control)
        return protection_fault(); // a capability of VT-x, or a number that no CPU with VT-x has
    r[abi::rax] = vmx_disabled_and_locked;
    r[abi::rdx] = 0;
    skip_instruction();
}

// The registers of SYSCALL and TSC_AUX are remembered, so that switching to a guest and back need not read
// them.
void wrmsr_exit(PerCpu& cpu) {
    const auto& r = cpu.control.r;
    SystemMsrs& known = state_of(cpu).control_msrs;
    const auto index = static_cast<std::uint32_t>(r[abi::rcx]);
    const auto value = (r[abi::rax] & 0xffff'ffff) | r[abi::rdx] << 32;
    if (index == msr::x2apic_icr && apic::x2apic_mode())
        write_interrupt_command(cpu,
                                {static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(value >> 32)});
    else if (index == msr::tsc_aux ? !write_control_tsc_aux(cpu, value)
                                   : !write_system_msr(known, index, value))
        return protection_fault();
    skip_instruction();
}

void xsetbv_exit(PerCpu& cpu) {
    const auto& r = cpu.control.r;
    const auto value = (r[abi::rax] & 0xffff'ffff) | r[abi::rdx] << 32;
    if (static_cast<std::uint32_t>(r[abi::rcx]) != 0 || !is_valid_xcr0(value))
        return protection_fault();
    write_xcr0(value);
    skip_instruction();
}

void vmcall_exit(PerCpu& cpu) {
    // An interrupt that is due ends guest mode at once, so with interrupts off the call could not come to an
    // end.
    cpu.control_fpu_is_lazy = (read(Field::GuestCr0) & cr0::ts) != 0;
    if ((read(Field::GuestRflags) & rflags::interrupt) == 0)
        cpu.control.r[abi::rax] = static_cast<std::uint64_t>(abi::Status::BadArgument);
    else if (!hypercall(cpu))
        return;
    skip_instruction();
}

// A write to the local APIC's page while start-up IPIs are watched.
[[gnu::cold]] void apic_write(PerCpu& cpu, GuestPhys gpa) {
    const PagingState paging{read(Field::GuestCr0), read(Field::GuestCr3), read(Field::GuestCr4),
                             read(Field::GuestEfer), nullptr};
    const auto base = (paging.efer & efer::lma) != 0 ? 0 : read(nth(Field::GuestEsBase, cs));
    cpu.control.r[abi::rsp] = read(Field::GuestRsp);
    const auto rip = read(Field::GuestRip);
    const unsigned length = write_watched_page(cpu, paging, GuestLinear{base + rip}, gpa);
    write(Field::GuestRip, rip + length);
}

void ept_violation_exit(PerCpu& cpu) {
    const GuestPhys gpa{read(Field::GuestPhysical)};
    const bool is_write = (read(Field::ExitQualification) & 2) != 0;
    if (is_write && is_watched(gpa))
        return apic_write(cpu, gpa);
    if (map_on_demand(gpa, is_write)) {
        flush_translations(read(Field::EptPointer)); // should a stale translation be the cause
        return;
    }
    log::warning("CPU ", cpu.index, ": the control OS wrote to the monitor's memory at ", hex(gpa), ", rip ",
                 hex(read(Field::GuestRip)));
    protection_fault();
}

[[noreturn]] void end_of_control_os(const PerCpu& cpu, const char* what) {
    panic("CPU ", cpu.index, ": the control OS ", what, ": exit reason ", hex(read(Field::ExitReason)),
          ", qualification ", hex(read(Field::ExitQualification)), ", rip ", hex(read(Field::GuestRip)),
          ", rsp ", hex(read(Field::GuestRsp)), ", cr0 ", hex(read(Field::GuestCr0)), ", cr3 ",
          hex(read(Field::GuestCr3)), ", cr4 ", hex(read(Field::GuestCr4)), ", efer ",
          hex(read(Field::GuestEfer)));
}

void handle_control_exit(PerCpu& cpu) {
    switch (static_cast<ExitReason>(read(Field::ExitReason))) {
    case ExitReason::Vmcall:
        return vmcall_exit(cpu);
    case ExitReason::Cpuid:
        return cpuid_exit(cpu);
    case ExitReason::Rdmsr:
        return rdmsr_exit(cpu);
    case ExitReason::Wrmsr:
        return wrmsr_exit(cpu);
    case ExitReason::EptViolation:
        return ept_violation_exit(cpu);
    case ExitReason::Xsetbv:
        return xsetbv_exit(cpu);
    case ExitReason::CrAccess:
        if (!access_control_register(nullptr, cpu.control))
            protection_fault();
        return;
    case ExitReason::Invd: // whoever asks for it cannot mean the monitor's lines too
        asm volatile("wbinvd" ::: "memory");
        return skip_instruction();
    case ExitReason::Init:
        // One that waited while the CPU waited for its start came before the start-up IPI, which it must not
        // undo.
        if (cpu.state() == StartState::Running && read(Field::GuestRip) == 0 && read(Field::GuestCr3) == 0 &&
            (read(Field::GuestCr0) & cr0::pe) == 0)
            return unblock_events();
        return take_init(cpu);
    case ExitReason::Sipi:
        return take_start_up(cpu);
    case ExitReason::ExceptionOrNmi: // only NMIs, while one waits
        state_of(cpu).nmi_pending = true;
        return;
    case ExitReason::NmiWindow:
        return;
    case ExitReason::Getsec:
    case ExitReason::Vmclear:
    case ExitReason::Vmlaunch:
    case ExitReason::Vmptrld:
    case ExitReason::Vmptrst:
    case ExitReason::Vmread:
    case ExitReason::Vmresume:
    case ExitReason::Vmwrite:
    case ExitReason::Vmxoff:
    case ExitReason::Vmxon:
    case ExitReason::Invept:
    case ExitReason::Invvpid:
    case ExitReason::Vmfunc:
        return inject_exception(vector_ud);
    case ExitReason::TripleFault:
        reset_machine(cpu.index, read(Field::GuestRip));
    default:
        if ((read(Field::ExitReason) & entry_failed) != 0)
            end_of_control_os(cpu, find_violation_in_current());
        end_of_control_os(cpu, "left guest mode unexpectedly");
    }
}

// While an NMI waits for the end of another's handler, the control OS runs with virtual NMIs, whose blocking
// the CPU reports by an exit when it ends (section 24.6.1).
void watch_nmi_blocking(CpuState& state, bool watch) {
    if (state.nmi_window == watch)
        return;
    state.nmi_window = watch;
    const auto change = watch ? set_bits : clear_bits;
    change(Field::PinControls, pin::nmi | pin::virtual_nmis);
    change(Field::PrimaryControls, primary::nmi_window);
}

// What ended guest mode or came in root mode, and is the control OS's. An event that is being delivered goes
// first: what came later waits for the next exit.
void deliver_host_events(PerCpu& cpu) {
    CpuState& state = state_of(cpu);
    if (state.init) {
        state.init = false;
        write(Field::EntryEvent, 0);
        take_init(cpu);
    }
    if (!state.nmi_pending && !state.machine_check)
        return;
    if (read(Field::GuestActivity) == activity::wait_for_sipi) {
        state.nmi_pending = false; // as hardware: NMIs are lost there
        return;
    }
    if ((read(Field::EntryEvent) & event::valid) == 0) {
        if (state.machine_check) {
            state.machine_check = false;
            inject_exception(vector_mc);
            return;
        }
        if ((read(Field::GuestInterruptibility) & (blocking::nmi | blocking::shadow)) == 0) {
            state.nmi_pending = false;
            watch_nmi_blocking(state, false);
            write(Field::EntryEvent, event::valid | event::nmi << event::type_shift | vector_nmi);
            return;
        }
    }
    if (state.nmi_pending)
        watch_nmi_blocking(state, true);
}

// An exit that cut off the delivery of an event (an EPT violation on its stack, say): deliver it again, but
// for software's own, whose instruction is executed again. Section 27.2.4.
void redeliver(std::uint64_t vectoring) {
    if ((vectoring & event::valid) == 0 || (read(Field::EntryEvent) & event::valid) != 0)
        return;
    const auto type = event::type(vectoring);
    if (type != event::external && type != event::nmi && type != event::hardware_exception)
        return;
    if ((vectoring & event::error_valid) != 0)
        write(Field::EntryErrorCode, read(Field::VectoringErrorCode));
    if (type == event::nmi)
        clear_bits(Field::GuestInterruptibility, blocking::nmi);
    write(Field::EntryEvent, vectoring & ~std::uint64_t{event::nmi_unblocked});
}

void watch_command_msr(bool watch) {
    control_msrs->set(msr::x2apic_icr, false, watch);
}

} // namespace

void start_control_maps() {
    control_msrs = allocate_object<MsrBitmap>();
    if (control_msrs == nullptr)
        panic("no memory for the control OS's MSR map");
    control_msrs->allow_all();
    control_msrs->set(msr::feature_control, true, true);
    for (auto index = msr_vmx_first; index <= msr_vmx_last; ++index)
        control_msrs->set(index, true, true);
    for (const auto index : {msr::star, msr::lstar, msr::cstar, msr::sfmask, msr::tsc_aux})
        control_msrs->set(index, false, true);
}

void run_control(PerCpu& cpu, const ControlStart& start) {
    CpuState& state = state_of(cpu);
    if (cpu.index == 0 && !features.wait_for_sipi)
        watch_start_ipis(watch_command_msr);
    prepare(cpu, start);
    for (;;) {
        deliver_host_events(cpu);
        const volatile bool nothing = false;
        const Entry entry =
            vmx_enter(&cpu.control, state.control_launched,
                      state.nmi_window || state.machine_check ? &nothing : &state.nmi_pending);
        if (entry == Entry::Stopped)
            continue;
        if (entry == Entry::Failed)
            panic("CPU ", cpu.index, ": VM entry failed: ", find_violation_in_current());
        state.control_launched = true;
        const auto vectoring = read(Field::VectoringEvent);
        handle_control_exit(cpu);
        redeliver(vectoring);
    }
}

} // namespace escalus::vmm::vmx
