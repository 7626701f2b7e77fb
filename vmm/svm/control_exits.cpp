// SPDX-License-Identifier: GPL-2.0-or-later
// The control OS: how it is entered first, and the few exits it has.
#include "vmm/control/control_cpuid.hpp"
#include "vmm/control/control_memory.hpp"
#include "vmm/control/hypercalls.hpp"
#include "vmm/control/reset.hpp"
#include "vmm/control/start_ipi.hpp"
#include "vmm/cpu/log.hpp"
#include "vmm/guest/guest_walk.hpp"
#include "vmm/guest/instruction.hpp"
#include "vmm/guest/loaded_state.hpp"
#include "vmm/memory/page_allocator.hpp"
#include "vmm/svm/svm.hpp"

#include <initializer_list>

namespace escalus::vmm::svm {

namespace {

constexpr std::uint32_t control_asid = 1;
constinit MsrBitmap* control_msrs = nullptr;

constexpr std::uint16_t present = 1 << 7, long_mode_code = 1 << 9, size_32 = 1 << 10, pages = 1 << 11;
constexpr abi::Segment flat(std::uint16_t selector, std::uint16_t attributes) {
    return {selector, attributes, 0xffffffff, 0};
}
constexpr abi::Segment real(std::uint16_t selector, std::uint16_t attributes) {
    return {selector, attributes, 0xffff, std::uint64_t{selector} << 4};
}

// Linux's 64-bit boot protocol (Documentation/x86/boot.rst): long mode, flat segments, interrupts off.
void enter_long_mode(VmcbSave& s, const ControlStart& start) {
    s.cs = flat(0x10, present | 0x1b | long_mode_code | pages);
    s.ds = s.es = s.ss = s.fs = s.gs = flat(0x18, present | 0x13 | size_32 | pages);
    s.gdtr = {0, 0, 0x1f, start.gdt_base};
    s.cr0 = cr0::pe | cr0::et | cr0::ne | cr0::wp | cr0::pg;
    s.cr3 = start.cr3;
    s.cr4 = cr4::pae | cr4::osfxsr | cr4::osxmmexcpt;
    s.efer = efer::lme | efer::lma | efer::nxe | efer::svme;
    s.rip = start.rip;
}

// State after INIT and a start-up IPI: APM 2, table 14-1 and section 16.5.
void enter_real_mode(VmcbSave& s, std::uint8_t vector) {
    s.cs = real(static_cast<std::uint16_t>(vector << 8), present | 0x1b);
    s.ds = s.es = s.ss = s.fs = s.gs = real(0, present | 0x13);
    s.gdtr = s.idtr = {0, 0, 0xffff, 0};
    s.cr0 = cr0::et;
    s.efer = efer::svme;
}

[[gnu::cold]] void start_msr_map() {
    control_msrs = allocate_object<MsrBitmap>();
    if (control_msrs == nullptr)
        panic("no memory for the control OS's MSR map");
    control_msrs->allow_all();
    for (const auto index : {msr::efer, msr::vm_cr, msr::vm_hsave_pa, msr::svm_key})
        control_msrs->set(index, true, true);
    control_msrs->set(msr::tsc_aux, false, true);
}

[[gnu::cold]] void watch_command_msr(bool watch) {
    control_msrs->set(msr::x2apic_icr, false, watch);
}

[[gnu::cold]] void prepare(PerCpu& cpu, const ControlStart& start) {
    // The boot CPU makes the maps while the others wait here.
    const std::uint8_t vector = start.start_up_ipi ? wait_for_start(cpu) : 0;
    Vmcb& vmcb = control_vmcb(cpu);
    VmcbControl& c = vmcb.control;
    VmcbSave& s = vmcb.save;
    namespace i1 = intercept1;
    namespace i2 = intercept2;
    c.intercepts1 = i1::init | i1::cpuid | i1::msr | i1::invlpga | i1::shutdown;
    c.intercepts2 = i2::vmrun | i2::vmmcall | i2::vmload | i2::vmsave | i2::stgi | i2::clgi | i2::skinit;
    c.msrpm = reinterpret_cast<std::uint64_t>(control_msrs);
    c.asid = control_asid;
    c.tlb_control = static_cast<std::uint8_t>(TlbControl::FlushAll);
    c.nested_control = 1;
    c.nested_cr3 = raw(control_memory_root());
    s.ldtr = {0, present | 2, 0xffff, 0};
    s.tr = {0, present | 0xb, 0xffff, 0};
    s.dr6 = 0xffff0ff0;
    s.dr7 = 0x400;
    s.rflags = rflags::fixed;
    s.pat = read_msr(0x277);
    if (start.start_up_ipi)
        enter_real_mode(s, vector);
    else
        enter_long_mode(s, start);
    cpu.control = {};
    cpu.control.r[abi::rsi] = start.rsi;
    if (start.start_up_ipi) // EDX holds the processor's signature after INIT
        cpu.control.r[abi::rdx] = cpuid(1).eax;
    vmload(vmcb);
}

PagingState paging_of(const VmcbSave& s) {
    return {s.cr0, s.cr3, s.cr4, s.efer, nullptr};
}

void cpuid_exit(PerCpu& cpu, Vmcb& vmcb) {
    auto& r = cpu.control.r;
    const CpuidResult result = control_cpuid(static_cast<std::uint32_t>(vmcb.save.rax),
                                             static_cast<std::uint32_t>(r[abi::rcx]), vmcb.save.cr4);
    vmcb.save.rax = result.eax;
    r[abi::rbx] = result.ebx;
    r[abi::rcx] = result.ecx;
    r[abi::rdx] = result.edx;
    advance(vmcb, next_rip(vmcb, 2, nullptr));
}

[[gnu::cold]] void msr_exit(PerCpu& cpu, Vmcb& vmcb) {
    const auto index = static_cast<std::uint32_t>(cpu.control.r[abi::rcx]);
    const bool write = (vmcb.control.exit_info1 & 1) != 0;
    const auto value = msr_value(vmcb, cpu.control);
    // As on a CPU whose firmware has disabled SVM (APM 2, section 15.4).
    constexpr std::uint64_t svm_disabled_and_locked = 0x18;
    bool ok = true;
    if (index == msr::efer && write)
        ok = write_efer(vmcb, value);
    else if (index == msr::efer)
        set_msr_value(vmcb, cpu.control, vmcb.save.efer & ~efer::svme);
    else if (index == msr::vm_cr && !write)
        set_msr_value(vmcb, cpu.control, svm_disabled_and_locked);
    else if (index == msr::x2apic_icr && write && apic::x2apic_mode())
        write_interrupt_command(cpu,
                                {static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(value >> 32)});
    else if (index == msr::tsc_aux)
        ok = write_control_tsc_aux(cpu, value);
    else if (index == msr::vm_cr && (value & ~svm_disabled_and_locked) == 0)
        ok = true; // locked: writes have no effect
    else
        ok = false;
    if (ok)
        advance(vmcb, next_rip(vmcb, 2, nullptr));
    else
        inject_exception(vmcb, vector_gp, 0);
}

[[gnu::hot]] void vmmcall_exit(PerCpu& cpu, Vmcb& vmcb) {
    // An interrupt that is due ends guest mode at once, so with interrupts off the call could not come to an
    // end.
    constexpr unsigned vmmcall_bytes = 3;
    cpu.control.r[abi::rax] = vmcb.save.rax;
    cpu.control_fpu_is_lazy = (vmcb.save.cr0 & cr0::ts) != 0;
    if ((vmcb.save.rflags & rflags::interrupt) == 0)
        cpu.control.r[abi::rax] = static_cast<std::uint64_t>(abi::Status::BadArgument);
    else if (!hypercall(cpu))
        return;
    vmcb.save.rax = cpu.control.r[abi::rax];
    advance(vmcb, features.next_rip ? vmcb.control.next_rip : vmcb.save.rip + vmmcall_bytes);
}

// A write to the local APIC's page while start-up IPIs are watched.
[[gnu::cold]] void apic_write(PerCpu& cpu, Vmcb& vmcb, GuestPhys gpa) {
    const bool long_mode = (vmcb.save.efer & efer::lma) != 0;
    cpu.control.r[abi::rax] = vmcb.save.rax;
    cpu.control.r[abi::rsp] = vmcb.save.rsp;
    const GuestLinear rip{long_mode ? vmcb.save.rip : vmcb.save.cs.base + vmcb.save.rip};
    advance(vmcb, vmcb.save.rip + write_watched_page(cpu, paging_of(vmcb.save), rip, gpa));
}

[[noreturn, gnu::cold]] void end_of_control_os(const PerCpu& cpu, const Vmcb& vmcb, const char* what) {
    const VmcbSave& s = vmcb.save;
    panic("CPU ", cpu.index, ": the control OS ", what, ": exit code ", hex(vmcb.control.exit_code),
          ", info ", hex(vmcb.control.exit_info1), " ", hex(vmcb.control.exit_info2), ", rip ", hex(s.rip),
          ", rsp ", hex(s.rsp), ", cr0 ", hex(s.cr0), ", cr2 ", hex(s.cr2), ", cr3 ", hex(s.cr3), ", cr4 ",
          hex(s.cr4), ", efer ", hex(s.efer));
}

[[gnu::cold]] void nested_fault_exit(PerCpu& cpu, Vmcb& vmcb) {
    const GuestPhys gpa{vmcb.control.exit_info2};
    const bool write = (vmcb.control.exit_info1 & 2) != 0;
    if (write && is_watched(gpa))
        return apic_write(cpu, vmcb, gpa);
    if (map_on_demand(gpa, write)) {
        // Should a stale translation be the cause, it must go.
        vmcb.control.tlb_control = static_cast<std::uint8_t>(TlbControl::FlushAll);
        return;
    }
    // Seen once with QEMU 7.2, on two emulated CPUs: the monitor's own state in the VMCB of the control OS.
    if (vmcb.save.cr3 == read_cr3())
        end_of_control_os(cpu, vmcb, "runs on the monitor's page tables");
    log::warning("the control OS wrote to the monitor's memory at ", hex(gpa), ", rip ", hex(vmcb.save.rip));
    inject_exception(vmcb, vector_gp, 0);
}

[[gnu::cold]] const char* refusal(const Vmcb& vmcb) {
    const char* violation = find_violation(vmcb, features.physical_bits);
    return violation != nullptr ? violation : "has a state that VMRUN refuses";
}

[[gnu::hot]] void handle_control_exit(PerCpu& cpu, Vmcb& vmcb) {
    const auto code = static_cast<ExitCode>(vmcb.control.exit_code);
    if (code == ExitCode::Vmmcall) [[likely]] // before the switch's table is looked at
        return vmmcall_exit(cpu, vmcb);
    switch (code) {
    case ExitCode::Cpuid:
        return cpuid_exit(cpu, vmcb);
    case ExitCode::Msr:
        return msr_exit(cpu, vmcb);
    case ExitCode::NestedPageFault:
        return nested_fault_exit(cpu, vmcb);
    case ExitCode::Vmrun:
    case ExitCode::Vmload:
    case ExitCode::Vmsave:
    case ExitCode::Stgi:
    case ExitCode::Clgi:
    case ExitCode::Skinit:
    case ExitCode::Invlpga:
        return inject_exception(vmcb, vector_ud);
    case ExitCode::Shutdown:
        reset_machine(cpu.index, vmcb.save.rip);
    case ExitCode::Init:
        // Taking it would end root mode on this CPU.
        end_of_control_os(cpu, vmcb, "sent INIT to a running CPU, which is stopped");
    default:
        if (exit_code_of(vmcb.control) == ExitCode::Invalid)
            end_of_control_os(cpu, vmcb, refusal(vmcb));
        end_of_control_os(cpu, vmcb, "left guest mode unexpectedly");
    }
}

[[gnu::hot]] void run_until_exit(PerCpu& cpu, Vmcb& vmcb) {
    svm_enter(physical_of(vmcb), &cpu.control);
    vmcb.control.inject = 0;
    vmcb.control.tlb_control = static_cast<std::uint8_t>(TlbControl::Nothing);
    const auto interrupted = vmcb.control.exit_interrupt;
    handle_control_exit(cpu, vmcb);
    // An exit that cut off the delivery of an event (a nested fault on its stack, say): deliver it again.
    if ((interrupted & event::valid) != 0 && (vmcb.control.inject & event::valid) == 0 &&
        (interrupted >> event::type_shift & 7) != 4)
        vmcb.control.inject = interrupted;
}

// Compilers take what never returns for rarely executed, so they are not told.
[[gnu::hot, gnu::noinline]] void run_for_ever(PerCpu& cpu, Vmcb& vmcb) {
    bool on = true;
    while (on) { // NOLINT(bugprone-infinite-loop): the assembly below may change it
        run_until_exit(cpu, vmcb);
        asm("" : "+r"(on));
    }
}

} // namespace

void run_control(PerCpu& cpu, const ControlStart& start) {
    if (cpu.index == 0) {
        start_msr_map();
        watch_start_ipis(watch_command_msr);
    }
    prepare(cpu, start);
    run_for_ever(cpu, control_vmcb(cpu));
    __builtin_unreachable();
}

} // namespace escalus::vmm::svm
