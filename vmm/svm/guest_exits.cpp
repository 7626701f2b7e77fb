// SPDX-License-Identifier: GPL-2.0-or-later
// What each exit of a guest does. One table, every exit code of APM 2, appendix C; those that should not come
// end the guest.
#include "vmm/svm/guest_exits.hpp"

#include "vmm/cpu/log.hpp"
#include "vmm/guest/loaded_state.hpp"
#include "vmm/guest/port_notes.hpp"

#include <cstring>
#include <initializer_list>

namespace escalus::vmm::svm {

namespace {

struct Exit {
    PerCpu& cpu;
    Vcpu& vcpu;
    Vmcb& vmcb;
    abi::VcpuPage& page;

    [[nodiscard]] std::uint64_t after(unsigned opcode_bytes) const {
        return next_rip(vmcb, opcode_bytes, &vcpu);
    }
    void skip(unsigned opcode_bytes) const { advance(vmcb, after(opcode_bytes)); }
    [[nodiscard]] Action to_device_model(abi::ExitReason reason, std::uint64_t next = 0) const {
        page.exit_reason = static_cast<std::uint32_t>(reason);
        page.next_rip = next;
        return Action::DeviceModel;
    }
    [[nodiscard, gnu::cold]] Action fail(abi::ExitReason reason, const char* text) const {
        auto& failure = page.exit.failure;
        failure.code = vmcb.control.exit_code;
        failure.info1 = vmcb.control.exit_info1;
        failure.info2 = vmcb.control.exit_info2;
        std::size_t i = 0;
        for (; text[i] != 0 && i + 1 < sizeof failure.text; ++i)
            failure.text[i] = text[i];
        failure.text[i] = 0;
        log::warning("VM ", hex(vcpu.vm->handle), " vCPU ", vcpu.index, ": exit code ",
                     hex(vmcb.control.exit_code), " at rip ", hex(vmcb.save.rip), ": ", text);
        return to_device_model(reason);
    }
};

Action host_event(const Exit&) {
    return Action::Control;
}

Action undefined(const Exit& exit) {
    inject_exception(exit.vmcb, vector_ud);
    return Action::Resume;
}

Action protection_fault(const Exit& exit) {
    inject_exception(exit.vmcb, vector_gp, 0);
    return Action::Resume;
}

// A fault whose delivery faults again without end never leaves guest mode unless the first one exits
// (CVE-2015-5307, CVE-2015-8104). It is given back at once; host interrupts get their turn in between.
Action reflect_debug(const Exit& exit) {
    inject_exception(exit.vmcb, vector_db);
    return Action::Resume;
}
Action reflect_alignment(const Exit& exit) {
    inject_exception(exit.vmcb, vector_ac, static_cast<std::uint32_t>(exit.vmcb.control.exit_info1));
    return Action::Resume;
}

// The first use since the vCPU was entered: load its registers, and let it use them freely.
Action debug_registers(const Exit& exit) {
    load_debug_registers(exit.cpu, exit.vcpu);
    exit.vmcb.control.dr_reads = exit.vmcb.control.dr_writes = 0;
    exit.vmcb.control.clean = 0;
    return Action::Resume;
}

[[gnu::hot]] Action cpuid_instruction(const Exit& exit) {
    auto& s = exit.vmcb.save;
    auto& r = exit.vcpu.gprs.r;
    const CpuidResult result = guest_cpuid(exit.vcpu, static_cast<std::uint32_t>(s.rax),
                                           static_cast<std::uint32_t>(r[abi::rcx]), s.cr4);
    s.rax = result.eax;
    r[abi::rbx] = result.ebx;
    r[abi::rcx] = result.ecx;
    r[abi::rdx] = result.edx;
    exit.skip(2);
    return Action::Resume;
}

// Guest memory is write-back and coherent, so there is nothing to flush or lose.
Action cache_control(const Exit& exit) {
    exit.skip(2);
    return Action::Resume;
}

Action halt(const Exit& exit) {
    return exit.to_device_model(abi::ExitReason::Halt, exit.after(1));
}

Action interrupt_window(const Exit& exit) {
    close_interrupt_window(exit.vmcb);
    return exit.to_device_model(abi::ExitReason::InterruptWindow);
}

// Only while an interrupt window is asked for. CPL and #UD have been checked (APM 2, section 15.8).
Action cr8_write(const Exit& exit) {
    auto& s = exit.vmcb.save;
    std::uint8_t bytes[instruction_bytes_max];
    const unsigned got = read_instruction(exit.vmcb, &exit.vcpu, bytes, sizeof bytes);
    const auto write = decode_cr8_write(bytes, got, in_long_mode(exit.vmcb));
    if (write.length == 0)
        return exit.fail(abi::ExitReason::Unhandled,
                         "a write of CR8 whose instruction is not there any more");
    auto value = write.reg == abi::rax ? s.rax : write.reg == abi::rsp ? s.rsp : exit.vcpu.gprs.r[write.reg];
    if (!in_long_mode(exit.vmcb))
        value &= 0xffff'ffff;
    if (value > 15)
        return protection_fault(exit);
    auto& control = exit.vmcb.control.interrupt_control;
    control = (control & ~interrupt_control::tpr_mask) | static_cast<std::uint32_t>(value);
    // Closed: what was offered has been taken just before this exit.
    if (interrupt_window_is_open(exit.vmcb))
        control = interrupt_control::offer_by_priority(control);
    exit.vmcb.control.clean = 0;
    advance(exit.vmcb, in_long_mode(exit.vmcb) ? s.rip + write.length : (s.rip + write.length) & 0xffff'ffff);
    return Action::Resume;
}

// The IRET that ends an NMI handler begins. NMIs stay blocked until it is done: see nmi_can_enter().
Action iret(const Exit& exit) {
    state_of(exit.vcpu).iret_rip = exit.vmcb.save.rip;
    exit.vmcb.control.intercepts1 &= ~intercept1::iret;
    exit.vmcb.control.clean = 0;
    return Action::Resume;
}

[[gnu::hot]] Action port_access(const Exit& exit) {
    // EXITINFO1: APM 2, figure 15-2. EXITINFO2 is always the next RIP.
    const auto info = exit.vmcb.control.exit_info1;
    auto& save = exit.vmcb.save;
    if ((info >> 2 & 1) == 0 && serve_port(exit.vcpu, static_cast<std::uint16_t>(info >> 16),
                                           static_cast<std::uint8_t>(info >> 4 & 7), (info & 1) != 0,
                                           save.rax, [&] { return (save.rflags & rflags::tf) != 0; })) {
        advance(exit.vmcb, exit.vmcb.control.exit_info2);
        return Action::Resume;
    }
    auto& io = exit.page.exit.io;
    io.in = info & 1;
    io.string = info >> 2 & 1;
    io.repeat = info >> 3 & 1;
    io.width = static_cast<std::uint8_t>(info >> 4 & 7);
    io.address_width = static_cast<std::uint8_t>((info >> 7 & 7) << 1);
    io.segment = features.decode_assists ? static_cast<std::uint8_t>(info >> 10 & 7) : 0xff;
    io.port = static_cast<std::uint16_t>(info >> 16);
    return exit.to_device_model(abi::ExitReason::Io, exit.vmcb.control.exit_info2);
}

bool is_valid_pat(std::uint64_t value) {
    for (unsigned i = 0; i < 8; ++i, value >>= 8)
        if ((value & 0xff) > 7 || (value & 0xff) == 2 || (value & 0xff) == 3)
            return false;
    return true;
}

// The plain registers that the monitor keeps itself; the device model has all others.
bool read_own_msr(const Exit& exit, std::uint32_t index, std::uint64_t& value) {
    const Vmcb& vmcb = exit.vmcb;
    switch (index) {
    case msr::efer:
        value = vmcb.save.efer & ~efer::svme;
        return true;
    case msr::pat:
        value = vmcb.save.pat;
        return true;
    case msr::tsc:
        value = abi::scale_tsc(read_tsc(), exit.vcpu.tsc_ratio) + vmcb.control.tsc_offset;
        return true;
    case msr::tsc_aux:
        value = exit.vcpu.tsc_aux;
        return has_tsc_aux();
    default:
        return false;
    }
}

enum class MsrWrite { Done, Fault, Other };

MsrWrite write_own_msr(const Exit& exit, std::uint32_t index, std::uint64_t value) {
    Vmcb& vmcb = exit.vmcb;
    switch (index) {
    case msr::efer:
        return write_efer(vmcb, value) ? MsrWrite::Done : MsrWrite::Fault;
    case msr::pat:
        if (!is_valid_pat(value))
            return MsrWrite::Fault;
        vmcb.save.pat = value;
        break;
    case msr::tsc:
        vmcb.control.tsc_offset = value - abi::scale_tsc(read_tsc(), exit.vcpu.tsc_ratio);
        break;
    case msr::tsc_aux:
        if (!has_tsc_aux())
            return MsrWrite::Other;
        return write_guest_tsc_aux(exit.vcpu, value) ? MsrWrite::Done : MsrWrite::Fault;
    default:
        return MsrWrite::Other;
    }
    vmcb.control.clean = 0;
    return MsrWrite::Done;
}

[[gnu::cold]] Action msr_access(const Exit& exit) {
    Gprs& gprs = exit.vcpu.gprs;
    const auto index = static_cast<std::uint32_t>(gprs.r[abi::rcx]);
    const bool write = (exit.vmcb.control.exit_info1 & 1) != 0;
    std::uint64_t value = 0;
    if (write) {
        value = msr_value(exit.vmcb, gprs);
        switch (write_own_msr(exit, index, value)) {
        case MsrWrite::Done:
            exit.skip(2);
            return Action::Resume;
        case MsrWrite::Fault:
            return protection_fault(exit);
        case MsrWrite::Other:
            break;
        }
    } else if (read_own_msr(exit, index, value)) {
        set_msr_value(exit.vmcb, gprs, value);
        exit.skip(2);
        return Action::Resume;
    }
    exit.page.exit.msr = {index, 0, value};
    return exit.to_device_model(write ? abi::ExitReason::MsrWrite : abi::ExitReason::MsrRead, exit.after(2));
}

[[gnu::cold]] Action xsetbv(const Exit& exit) {
    if ((exit.vmcb.save.cr4 & cr4::osxsave) == 0)
        return undefined(exit);
    if (static_cast<std::uint32_t>(exit.vcpu.gprs.r[abi::rcx]) != 0 || exit.vmcb.save.cpl != 0 ||
        !write_guest_xcr0(exit.vcpu, msr_value(exit.vmcb, exit.vcpu.gprs)))
        return protection_fault(exit);
    exit.skip(3);
    return Action::Resume;
}

Action shutdown(const Exit& exit) {
    return exit.to_device_model(abi::ExitReason::Shutdown);
}

[[gnu::hot]] Action nested_fault(const Exit& exit) {
    // EXITINFO1: APM 2, section 15.25.6. Its P bit is not to be relied on, so the tables themselves decide.
    const auto info = exit.vmcb.control.exit_info1;
    const GuestPhys gpa{exit.vmcb.control.exit_info2};
    const bool write = (info & 2) != 0, fetch = (info & 16) != 0, walk = (info >> 33 & 1) != 0;
    if (exit.vcpu.vm->tables.permits(gpa, write, fetch)) {
        exit.vcpu.flush = true; // a stale translation: the mapping was changed since
        return Action::Resume;
    }
    auto& memory = exit.page.exit.memory;
    memory.gpa = raw(gpa);
    memory.write = write;
    memory.fetch = fetch;
    memory.page_walk = walk;
    memory.bytes_valid = 0;
    if (features.decode_assists && !fetch) {
        memory.bytes_valid = exit.vmcb.control.fetched & 15;
        std::memcpy(memory.bytes, exit.vmcb.control.instruction, sizeof memory.bytes);
    }
    return exit.to_device_model(abi::ExitReason::Memory);
}

Action invalid_state(const Exit& exit) {
    const char* violation = find_violation(exit.vmcb, features.physical_bits);
    return exit.fail(abi::ExitReason::EntryFailed,
                     violation != nullptr ? violation
                                          : "VMRUN refused the state for a reason that is not known");
}

Action unexpected(const Exit& exit) {
    return exit.fail(abi::ExitReason::Unhandled, "an exit that was not asked for");
}

using Handler = Action (*)(const Exit&);

struct HandlerTable {
    Handler entries[0x100];
    constexpr HandlerTable() : entries{} {
        for (auto& entry : entries)
            entry = unexpected;
        for (auto code = ExitCode::ReadDr0; code <= ExitCode::WriteDr15; code = next(code))
            at(code) = debug_registers;
        at(ExitCode::ExceptionDb) = reflect_debug;
        at(ExitCode::ExceptionAc) = reflect_alignment;
        // The control OS's machine check: it is pending still, and taken there.
        at(ExitCode::ExceptionMc) = host_event;
        at(ExitCode::Intr) = host_event;
        at(ExitCode::Nmi) = host_event;
        at(ExitCode::Smi) = host_event;
        at(ExitCode::Init) = host_event;
        at(ExitCode::Vintr) = interrupt_window;
        at(ExitCode::WriteCr8) = cr8_write;
        at(ExitCode::Rdpmc) = protection_fault;
        at(ExitCode::Cpuid) = cpuid_instruction;
        at(ExitCode::Rsm) = undefined;
        at(ExitCode::Iret) = iret;
        at(ExitCode::Invd) = cache_control;
        at(ExitCode::Wbinvd) = cache_control;
        at(ExitCode::Hlt) = halt;
        at(ExitCode::Ioio) = port_access;
        at(ExitCode::Msr) = msr_access;
        at(ExitCode::Shutdown) = shutdown;
        for (const auto code : {ExitCode::Invlpga, ExitCode::Vmrun, ExitCode::Vmmcall, ExitCode::Vmload,
                                ExitCode::Vmsave, ExitCode::Stgi, ExitCode::Clgi, ExitCode::Skinit,
                                ExitCode::Monitor, ExitCode::Mwait, ExitCode::MwaitArmed, ExitCode::Rdpru})
            at(code) = undefined; // instructions that the guest's CPUID does not offer
        at(ExitCode::Xsetbv) = xsetbv;
    }
    static constexpr ExitCode next(ExitCode code) {
        return static_cast<ExitCode>(static_cast<std::uint64_t>(code) + 1);
    }
    constexpr Handler& at(ExitCode code) { return entries[static_cast<std::uint64_t>(code)]; }
};
[[gnu::section(".hot.rodata")]] constinit const HandlerTable handlers;

} // namespace

[[gnu::hot]] Action handle_guest_exit(PerCpu& cpu, Vcpu& vcpu) {
    Vmcb& vmcb = vmcb_of(vcpu);
    const Exit exit{cpu, vcpu, vmcb, *vcpu.page};
    const auto code = vmcb.control.exit_code;
    if (code < 0x100)
        return handlers.entries[code](exit);
    if (code == static_cast<std::uint64_t>(ExitCode::NestedPageFault))
        return nested_fault(exit);
    if (exit_code_of(vmcb.control) == ExitCode::Invalid)
        return invalid_state(exit);
    return unexpected(exit);
}

[[gnu::hot]] unsigned statistics_index(std::uint64_t code) {
    if (code < 0x100)
        return static_cast<unsigned>(code);
    if (code >= 0x400 && code < 0x404)
        return static_cast<unsigned>(code - 0x300);
    return 0x17f; // invalid state, and what the manual does not list
}

} // namespace escalus::vmm::svm
