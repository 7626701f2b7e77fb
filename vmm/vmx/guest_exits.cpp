// SPDX-License-Identifier: GPL-2.0-or-later
// What each exit of a guest does. One table, every basic exit reason of SDM 3D, appendix C; those that should
// not come end the guest.
#include "vmm/vmx/guest_exits.hpp"

#include "vmm/cpu/log.hpp"
#include "vmm/guest/loaded_state.hpp"
#include "vmm/guest/port_notes.hpp"
#include "vmm/vmx/vmcs_check.hpp"

#include <initializer_list>

namespace escalus::vmm::vmx {

namespace {

struct Exit {
    PerCpu& cpu;
    Vcpu& vcpu;
    abi::VcpuPage& page;
    std::uint32_t reason;

    [[nodiscard]] Action to_device_model(abi::ExitReason why, std::uint64_t next = 0) const {
        page.exit_reason = static_cast<std::uint32_t>(why);
        page.next_rip = next;
        return Action::DeviceModel;
    }
    [[nodiscard]] Action fail(abi::ExitReason why, const char* text) const {
        auto& failure = page.exit.failure;
        failure.code = reason;
        failure.info1 = read(Field::ExitQualification);
        failure.info2 = read(Field::GuestPhysical);
        std::size_t i = 0;
        for (; text[i] != 0 && i + 1 < sizeof failure.text; ++i)
            failure.text[i] = text[i];
        failure.text[i] = 0;
        log::warning("VM ", hex(vcpu.vm->handle), " vCPU ", vcpu.index, ": exit reason ",
                     hex(std::uint64_t{reason}), " at rip ", hex(read(Field::GuestRip)), ": ", text);
        return to_device_model(why);
    }
};

Action host_event(const Exit&) {
    return Action::Control;
}

// Leaves CPUs as an INIT would: the control OS's CPU is to wait for its start-up IPI.
Action init(const Exit& exit) {
    state_of(exit.cpu).init = true;
    return Action::Control;
}

Action undefined(const Exit&) {
    inject_exception(vector_ud);
    return Action::Resume;
}

Action protection_fault(const Exit&) {
    inject_exception(vector_gp, 0);
    return Action::Resume;
}

// What the CPU itself does to DR6 and DR7 before it delivers #DB (SDM 3B, section 17.2): the exit came
// before.
void note_debug_exception(const Exit& exit) {
    constexpr std::uint64_t breakpoints = 15, always_set = 0xffff0ff0, general_detect = 1 << 13;
    const auto causes = read(Field::ExitQualification);
    GuestState& state = state_of(exit.vcpu);
    if (exit.vcpu.dr_live)
        state.dr6 = read_dr6();
    state.dr6 =
        ((state.dr6 & ~breakpoints) | always_set) ^ (causes & (1 << 16)); // RTM is set when it is not so
    state.dr6 |= causes & ~std::uint64_t{1 << 16};
    if (exit.vcpu.dr_live)
        write_dr6(state.dr6);
    clear_bits(Field::GuestDr7, general_detect);
    clear_bits(Field::GuestDebugControl, 1); // LBR
    // Section 26.3.1.5: a shadow and RFLAGS.TF want a pending single step.
    if ((read(Field::GuestInterruptibility) & blocking::shadow) != 0 &&
        (read(Field::GuestRflags) & rflags::tf) != 0)
        set_bits(Field::GuestPendingDebug, pending_debug::single_step);
}

// A fault whose delivery faults again without end never leaves guest mode unless the first one exits
// (CVE-2015-5307, CVE-2015-8104). It is given back at once; host interrupts get their turn in between.
Action exception_or_nmi(const Exit& exit) {
    const auto info = read(Field::ExitEvent);
    const auto vector = static_cast<std::uint8_t>(info);
    if (event::type(info) == event::nmi) {
        state_of(exit.cpu).nmi_pending = true;
        return Action::Control;
    }
    // Section 27.2.3: the fault came in an IRET, which had unblocked NMIs already.
    if ((info & event::nmi_unblocked) != 0 && (read(Field::VectoringEvent) & event::valid) == 0)
        set_bits(Field::GuestInterruptibility, blocking::nmi);
    switch (vector) {
    case vector_mc: // the control OS's
        state_of(exit.cpu).machine_check = true;
        return Action::Control;
    case vector_db:
        note_debug_exception(exit);
        if (event::type(info) == event::privileged_exception) { // INT1: a trap, whose length entry wants
            write(Field::EntryInstructionLength, read(Field::ExitInstructionLength));
            write(Field::EntryEvent,
                  event::valid | event::privileged_exception << event::type_shift | vector);
            return Action::Resume;
        }
        inject_exception(vector_db);
        return Action::Resume;
    case vector_ac:
        inject_exception(vector_ac, static_cast<std::uint32_t>(read(Field::ExitErrorCode)));
        return Action::Resume;
    default:
        return exit.fail(abi::ExitReason::Unhandled, "an exception that was not asked for");
    }
}

// The first use since the vCPU was entered: load its registers, and let it use them freely.
Action debug_registers(const Exit& exit) {
    give_debug_registers(exit.cpu, exit.vcpu);
    return Action::Resume;
}

[[gnu::hot]] Action cpuid_instruction(const Exit& exit) {
    auto& r = exit.vcpu.gprs.r;
    const CpuidResult result = guest_cpuid(exit.vcpu, static_cast<std::uint32_t>(r[abi::rax]),
                                           static_cast<std::uint32_t>(r[abi::rcx]), read(Field::GuestCr4));
    r[abi::rax] = result.eax;
    r[abi::rbx] = result.ebx;
    r[abi::rcx] = result.ecx;
    r[abi::rdx] = result.edx;
    skip_instruction();
    return Action::Resume;
}

// Guest memory is write-back and coherent, so there is nothing to flush or lose.
Action cache_control(const Exit&) {
    skip_instruction();
    return Action::Resume;
}

Action halt(const Exit& exit) {
    return exit.to_device_model(abi::ExitReason::Halt, next_rip());
}

Action interrupt_window(const Exit& exit) {
    clear_bits(Field::PrimaryControls, primary::interrupt_window);
    return exit.to_device_model(abi::ExitReason::InterruptWindow);
}

// The task priority has fallen below that of the interrupt that waits: now it is a matter of RFLAGS.IF.
Action priority_window(const Exit&) {
    write(Field::TprThreshold, 0);
    set_bits(Field::PrimaryControls, primary::interrupt_window);
    return Action::Resume;
}

Action preemption_timer(const Exit& exit) {
    return exit.to_device_model(abi::ExitReason::Deadline);
}

Action nmi_window(const Exit& exit) {
    clear_bits(Field::PrimaryControls, primary::nmi_window);
    return exit.to_device_model(abi::ExitReason::NmiWindow);
}

Action control_register(const Exit& exit) {
    if (!access_control_register(&exit.vcpu.vm->tables, exit.vcpu.gprs))
        return protection_fault(exit);
    return Action::Resume;
}

Action port_access(const Exit& exit) {
    // Exit qualification: table 27-5; instruction information: table 27-9.
    const auto q = read(Field::ExitQualification);
    if ((q >> 4 & 1) == 0 &&
        serve_port(exit.vcpu, static_cast<std::uint16_t>(q >> 16), static_cast<std::uint8_t>((q & 7) + 1),
                   (q >> 3 & 1) != 0, exit.vcpu.gprs.r[abi::rax],
                   [] { return (read(Field::GuestRflags) & rflags::tf) != 0; })) {
        skip_instruction();
        return Action::Resume;
    }
    auto& io = exit.page.exit.io;
    io.width = static_cast<std::uint8_t>((q & 7) + 1);
    io.in = q >> 3 & 1;
    io.string = q >> 4 & 1;
    io.repeat = q >> 5 & 1;
    io.port = static_cast<std::uint16_t>(q >> 16);
    io.address_width = 0;
    io.segment = 0xff;
    if (io.string != 0) {
        const auto info = read(Field::ExitInstructionInfo);
        io.address_width = static_cast<std::uint8_t>(2u << (info >> 7 & 3));
        if (io.in == 0)
            io.segment = static_cast<std::uint8_t>(info >> 15 & 7);
    }
    return exit.to_device_model(abi::ExitReason::Io, next_rip());
}

// The device model has all registers but those that the monitor switches: the time stamp counter, TSC_AUX and
// SYSCALL's. The rest of those do not exit.
Action read_msr_instruction(const Exit& exit) {
    Gprs& gprs = exit.vcpu.gprs;
    const auto index = static_cast<std::uint32_t>(gprs.r[abi::rcx]);
    if (index == msr::tsc_aux && has_tsc_aux()) {
        gprs.r[abi::rax] = exit.vcpu.tsc_aux;
        gprs.r[abi::rdx] = 0;
        skip_instruction();
        return Action::Resume;
    }
    exit.page.exit.msr = {index, 0, 0};
    return exit.to_device_model(abi::ExitReason::MsrRead, next_rip());
}

Action write_msr_instruction(const Exit& exit) {
    const Gprs& gprs = exit.vcpu.gprs;
    const auto index = static_cast<std::uint32_t>(gprs.r[abi::rcx]);
    const auto value = (gprs.r[abi::rax] & 0xffff'ffff) | gprs.r[abi::rdx] << 32;
    switch (index) {
    case msr::tsc:
        write(Field::TscOffset, value - abi::scale_tsc(read_tsc(), exit.vcpu.tsc_ratio));
        break;
    case msr::star:
    case msr::lstar:
    case msr::cstar:
    case msr::sfmask:
        if (!write_system_msr(state_of(exit.vcpu).msrs, index, value))
            return protection_fault(exit);
        break;
    case msr::tsc_aux:
        if (!write_guest_tsc_aux(exit.vcpu, value))
            return protection_fault(exit);
        break;
    default:
        exit.page.exit.msr = {index, 0, value};
        return exit.to_device_model(abi::ExitReason::MsrWrite, next_rip());
    }
    skip_instruction();
    return Action::Resume;
}

// The CPU has checked the privilege level and CR4.OSXSAVE before it exited (section 25.1.1).
Action xsetbv(const Exit& exit) {
    Vcpu& vcpu = exit.vcpu;
    const auto& r = vcpu.gprs.r;
    const auto value = (r[abi::rax] & 0xffff'ffff) | r[abi::rdx] << 32;
    if (static_cast<std::uint32_t>(r[abi::rcx]) != 0 || !write_guest_xcr0(vcpu, value))
        return protection_fault(exit);
    skip_instruction();
    return Action::Resume;
}

Action shutdown(const Exit& exit) {
    return exit.to_device_model(abi::ExitReason::Shutdown);
}

Action ept_violation(const Exit& exit) {
    // Exit qualification: table 27-7.
    const auto q = read(Field::ExitQualification);
    const GuestPhys gpa{read(Field::GuestPhysical)};
    const bool is_write = (q & 2) != 0, fetch = (q & 4) != 0;
    constexpr std::uint64_t mapped = 7 << 3, linear_valid = 1 << 7, final_access = 1 << 8;
    // Section 27.2.3, as for exceptions.
    if ((q & event::nmi_unblocked) != 0 && (read(Field::VectoringEvent) & event::valid) == 0)
        set_bits(Field::GuestInterruptibility, blocking::nmi);
    // Bits 5:3 are what the tables permit. Without any, nothing is mapped, and there is no use in looking.
    if ((q & mapped) != 0 && exit.vcpu.vm->tables.permits(gpa, is_write, fetch)) {
        exit.vcpu.flush = true; // a stale translation: the mapping was changed since
        return Action::Resume;
    }
    auto& memory = exit.page.exit.memory;
    memory.gpa = raw(gpa);
    memory.write = is_write;
    memory.fetch = fetch;
    memory.page_walk = (q & (linear_valid | final_access)) == linear_valid;
    memory.bytes_valid = 0;
    return exit.to_device_model(abi::ExitReason::Memory);
}

Action invalid_state(const Exit& exit) {
    return exit.fail(abi::ExitReason::EntryFailed, find_violation_in_current());
}

// Section 25.4.2: the CPU makes the first checks and leaves the rest to software. An NMI that comes by a task
// gate blocks further ones from now on, and an IRET to another task unblocks them, whatever becomes of the
// switch.
Action task_switch(const Exit& exit) {
    // Exit qualification: table 27-2.
    const auto q = read(Field::ExitQualification);
    auto& task = exit.page.exit.task;
    task.selector = static_cast<std::uint16_t>(q);
    task.source = static_cast<abi::TaskSource>(q >> 30 & 3);
    const auto vectoring = read(Field::VectoringEvent);
    const bool by_hardware = task.source == abi::TaskSource::Gate && exit.vcpu.event.valid != 0;
    if (by_hardware && event::type(vectoring) == event::nmi)
        set_bits(Field::GuestInterruptibility, blocking::nmi);
    else if (task.source == abi::TaskSource::Iret)
        clear_bits(Field::GuestInterruptibility, blocking::nmi);
    return exit.to_device_model(abi::ExitReason::TaskSwitch,
                                by_hardware ? read(Field::GuestRip) : next_rip());
}

Action unexpected(const Exit& exit) {
    return exit.fail(abi::ExitReason::Unhandled, "an exit that was not asked for");
}

using Handler = Action (*)(const Exit&);

struct HandlerTable {
    static constexpr auto count = static_cast<std::uint32_t>(ExitReason::Count);
    Handler entries[count];
    constexpr HandlerTable() : entries{} {
        for (auto& entry : entries)
            entry = unexpected;
        at(ExitReason::ExceptionOrNmi) = exception_or_nmi;
        at(ExitReason::ExternalInterrupt) = host_event; // it stays pending
        at(ExitReason::TripleFault) = shutdown;
        at(ExitReason::Init) = init;
        at(ExitReason::InterruptWindow) = interrupt_window;
        at(ExitReason::NmiWindow) = nmi_window;
        at(ExitReason::TaskSwitch) = task_switch;
        at(ExitReason::Cpuid) = cpuid_instruction;
        at(ExitReason::Hlt) = halt;
        at(ExitReason::Invd) = cache_control;
        at(ExitReason::Wbinvd) = cache_control;
        at(ExitReason::Rdpmc) = protection_fault;
        at(ExitReason::CrAccess) = control_register;
        at(ExitReason::DrAccess) = debug_registers;
        at(ExitReason::Io) = port_access;
        at(ExitReason::Rdmsr) = read_msr_instruction;
        at(ExitReason::Wrmsr) = write_msr_instruction;
        at(ExitReason::InvalidGuestState) = invalid_state;
        at(ExitReason::MsrLoading) = invalid_state;
        at(ExitReason::TprBelowThreshold) = priority_window;
        at(ExitReason::EptViolation) = ept_violation;
        at(ExitReason::PreemptionTimer) = preemption_timer;
        at(ExitReason::Xsetbv) = xsetbv;
        for (const auto reason :
             {ExitReason::Getsec,    ExitReason::Vmcall,    ExitReason::Vmclear,  ExitReason::Vmlaunch,
              ExitReason::Vmptrld,   ExitReason::Vmptrst,   ExitReason::Vmread,   ExitReason::Vmresume,
              ExitReason::Vmwrite,   ExitReason::Vmxoff,    ExitReason::Vmxon,    ExitReason::Mwait,
              ExitReason::Monitor,   ExitReason::Rsm,       ExitReason::Invept,   ExitReason::Rdtscp,
              ExitReason::Invvpid,   ExitReason::Invpcid,   ExitReason::Vmfunc,   ExitReason::Encls,
              ExitReason::Xsaves,    ExitReason::Xrstors,   ExitReason::Pconfig,  ExitReason::Umwait,
              ExitReason::Tpause,    ExitReason::Enclv,     ExitReason::Seamcall, ExitReason::Tdcall,
              ExitReason::Loadiwkey, ExitReason::Rdmsrlist, ExitReason::Wrmsrlist})
            at(reason) = undefined; // instructions that the guest's CPUID does not offer
    }
    constexpr Handler& at(ExitReason reason) { return entries[static_cast<std::uint32_t>(reason)]; }
};
constinit const HandlerTable handlers;

} // namespace

void give_debug_registers(PerCpu& cpu, Vcpu& vcpu) {
    load_debug_registers(cpu, vcpu);
    state_of(cpu).control_dr6 = read_dr6();
    write_dr6(state_of(vcpu).dr6);
    clear_bits(Field::PrimaryControls, primary::dr_access);
}

[[gnu::hot]] Action handle_guest_exit(PerCpu& cpu, Vcpu& vcpu, std::uint32_t reason) {
    const Exit exit{cpu, vcpu, *vcpu.page, reason};
    const std::uint32_t basic = reason & 0xffff;
    if (basic < HandlerTable::count)
        return handlers.entries[basic](exit);
    return unexpected(exit);
}

Action handle_failed_entry(Vcpu& vcpu) {
    return invalid_state(
        Exit{this_cpu(), vcpu, *vcpu.page, static_cast<std::uint32_t>(read(Field::InstructionError))});
}

unsigned statistics_index(std::uint32_t reason) {
    constexpr unsigned failures = 0x100, last = 0x17f;
    const unsigned basic = reason & 0xffff;
    const unsigned index = (reason & entry_failed) != 0 ? failures + basic : basic;
    return index < last ? index : last;
}

} // namespace escalus::vmm::vmx
