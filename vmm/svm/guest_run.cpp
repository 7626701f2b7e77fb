// SPDX-License-Identifier: GPL-2.0-or-later
// Entering and leaving a guest.
#include "vmm/guest/exchange.hpp"
#include "vmm/guest/loaded_state.hpp"
#include "vmm/memory/page_allocator.hpp"
#include "vmm/svm/guest_exits.hpp"

#include <initializer_list>

namespace escalus::vmm::svm {

namespace {

constinit MsrBitmap* guest_msrs = nullptr;
constinit std::uint8_t* guest_ports = nullptr; // all intercepted

constexpr std::uint64_t port_map_pages = 3;
constexpr std::uint32_t control_asid = 1;

/// The registers that VMRUN leaves alone: VMLOAD's and VMSAVE's, and what is in the CPU itself.
class WorldSwitch {
  public:
    WorldSwitch(PerCpu& cpu, Vcpu& vcpu) : cpu_{cpu}, vcpu_{vcpu}, state_{cpu, vcpu} {
        vmsave(control_vmcb(cpu));
        vmload(vmcb_of(vcpu));
        if (vcpu.tsc_ratio != abi::tsc_ratio_one)
            write_tsc_ratio(vcpu.tsc_ratio);
    }
    ~WorldSwitch() {
        Vmcb& vmcb = vmcb_of(vcpu_);
        vmsave(vmcb);
        vmload(control_vmcb(cpu_));
        if (vcpu_.tsc_ratio != abi::tsc_ratio_one)
            write_tsc_ratio(abi::tsc_ratio_one);
        if (vcpu_.dr_live) {
            disarm_breakpoints(vmcb.save.dr7);
            vmcb.control.dr_reads = vmcb.control.dr_writes = 0xffff;
            vmcb.control.clean = 0;
        }
    }
    WorldSwitch(const WorldSwitch&) = delete;
    WorldSwitch& operator=(const WorldSwitch&) = delete;

  private:
    // For all guests of this CPU, and the control OS is one.
    static void write_tsc_ratio(std::uint64_t ratio) { write_msr(msr::tsc_ratio, ratio >> 16); }

    // #VMEXIT leaves DR7 disarmed (APM 2, section 15.6), but QEMU's TCG only writes the register: the guest's
    // breakpoints stay armed, in the monitor, the control OS and the next guest, until a write of DR7 changes
    // more than enable bits. It must not come upon a data breakpoint then, which it would take for one of
    // instructions.
    static void disarm_breakpoints(std::uint64_t guest_dr7) {
        constexpr std::uint64_t disarmed = 0x400, exact = 0x200;
        for (unsigned i = 0; i < 4; ++i)
            if ((guest_dr7 >> 2 * i & 3) != 0 && (guest_dr7 >> (16 + 4 * i) & 3) != 0)
                return;
        write_dr7(disarmed | exact);
        write_dr7(disarmed);
    }
    PerCpu& cpu_;
    Vcpu& vcpu_;
    LoadedState state_;
};

/// Gives the vCPU an ASID of this CPU, and asks for the flush that it needs. APM 2, section 15.16.
[[gnu::hot]] void prepare_translations(PerCpu& cpu, Vcpu& vcpu) {
    VmcbControl& c = vmcb_of(vcpu).control;
    c.tlb_control = static_cast<std::uint8_t>(TlbControl::Nothing);
    if (vcpu.last_cpu != cpu.index || vcpu.asid_generation != cpu.asid_generation) {
        // A new ASID has no entries, unless the numbers have just wrapped.
        if (cpu.next_asid <= control_asid || cpu.next_asid >= features.asids) {
            cpu.next_asid = control_asid + 1;
            ++cpu.asid_generation;
            c.tlb_control = static_cast<std::uint8_t>(TlbControl::FlushAll);
        }
        c.asid = cpu.next_asid++;
        c.clean = 0;
        vcpu.last_cpu = cpu.index;
        vcpu.asid_generation = cpu.asid_generation;
    } else if (vcpu.flush) {
        c.tlb_control =
            static_cast<std::uint8_t>(features.flush_by_asid ? TlbControl::FlushAsid : TlbControl::FlushAll);
    }
    if (vcpu.flush) [[unlikely]] {
        vcpu.recent.forget();
        vcpu.flush = false;
    }
}

// The vector of an APIC is offered as a virtual interrupt: the CPU takes it by itself as soon as it can (APM
// 2, section 15.21.4). That of the 8259 is known only then, so that there is an exit instead. A write of CR8
// while V_IRQ is set ends QEMU 7.2 by an assertion (it changes the request without its lock), and every
// interrupt handler of UEFI's writes it. It exits meanwhile, and is done by the monitor, which then looks at
// the priority again.
void request_interrupt_window(Vcpu& vcpu, std::uint32_t vector) {
    VmcbControl& c = vmcb_of(vcpu).control;
    c.interrupt_control &= interrupt_control::tpr_mask | interrupt_control::masking;
    if (vector < abi::VcpuPage::window_any) {
        vcpu.page->request_interrupt_window = 0; // once: it may be taken before the next VcpuRun
        state_of(vcpu).offer = Offer::Waits;
        c.interrupt_control |= vector >> 4 << interrupt_control::priority_shift;
        c.interrupt_vector = vector;
        c.intercepts1 &= ~intercept1::vintr;
    } else {
        state_of(vcpu).offer = Offer::None;
        c.interrupt_control |= interrupt_control::ignore_tpr;
        c.intercepts1 |= intercept1::vintr;
    }
    c.interrupt_control = interrupt_control::offer_by_priority(c.interrupt_control);
    c.cr_writes |= intercept_cr8;
    c.clean = 0;
}

[[gnu::hot]] void cancel_interrupt_window(Vmcb& vmcb) {
    if (interrupt_window_is_open(vmcb))
        close_interrupt_window(vmcb);
}

/// Whether the interrupt that was offered has been taken; it is no longer offered.
[[gnu::hot]] bool take_back_offer(Vcpu& vcpu) {
    GuestState& state = state_of(vcpu);
    if (state.offer == Offer::None) [[likely]]
        return false;
    const bool taken = state.offer == Offer::Taken;
    cancel_interrupt_window(vmcb_of(vcpu));
    state.offer = Offer::None;
    return taken;
}

/// NMIs are blocked from one's injection until its IRET is done: the IRET has been seen and execution has
/// moved on.
[[gnu::hot]] bool nmi_can_enter(Vcpu& vcpu) {
    GuestState& state = state_of(vcpu);
    if (state.nmi_blocked && state.iret_rip != 0 && vmcb_of(vcpu).save.rip != state.iret_rip) {
        state.nmi_blocked = false;
        state.iret_rip = 0;
    }
    return !state.nmi_blocked;
}

[[gnu::hot]] void inject(Vcpu& vcpu) {
    Vmcb& vmcb = vmcb_of(vcpu);
    if (!vcpu.event.valid)
        return;
    const abi::Event& e = vcpu.event;
    vmcb.control.inject =
        event::valid | std::uint64_t{static_cast<std::uint8_t>(e.type)} << event::type_shift | e.vector |
        (e.has_error_code ? event::error_valid | std::uint64_t{e.error_code} << event::error_shift : 0);
    if (e.type == abi::EventType::Nmi) {
        state_of(vcpu).nmi_blocked = true;
        state_of(vcpu).iret_rip = 0;
        vmcb.control.intercepts1 |= intercept1::iret;
        vmcb.control.clean = 0;
    }
    vcpu.event.valid = 0;
}

/// QEMU's TCG goes on holding an interrupt that VMRUN has injected for an exception to be raised, and raises
/// it when something else than an exit makes it leave its translated code before the next #VMEXIT: the guest
/// gets the same interrupt twice, the second time in the handler's first instructions, with IF clear. There,
/// one that can be taken at once is given as a virtual interrupt instead. What waits for an interrupt window
/// has to wait until it is delivered.
///
/// Nor does VMRUN load the interrupt shadow there: after an exit that came upon an STI, what waits would be
/// taken before the instruction that STI protects, which is HLT in every idle loop, and the guest would sleep
/// on it. It is held back then until the next exit, and longer if the guest has not come on meanwhile. (Or
/// has come round: `sti; 1: jmp 1b` stays at one RIP, too.)
class VirtualInterrupt {
  public:
    /// False when the event has to be injected.
    bool give(Vcpu& vcpu) {
        VmcbControl& c = vmcb_of(vcpu).control;
        if (!vcpu.event.valid || vcpu.event.type != abi::EventType::Interrupt ||
            (vmcb_of(vcpu).save.rflags & rflags::interrupt) == 0 || (c.interrupt_state & 1) != 0)
            return false;
        event_ = vcpu.event;
        control_ = c.interrupt_control;
        waiting_ = c.interrupt_vector;
        window_ = c.intercepts1 & intercept1::vintr;
        c.interrupt_control &= interrupt_control::tpr_mask | interrupt_control::masking;
        c.interrupt_control |= interrupt_control::irq | interrupt_control::ignore_tpr |
                               static_cast<std::uint32_t>(event_.vector >> 4)
                                   << interrupt_control::priority_shift;
        c.interrupt_vector = event_.vector;
        c.intercepts1 &= ~intercept1::vintr;
        c.clean = 0;
        vcpu.event.valid = 0;
        return true;
    }
    /// Before the entry, when nothing was given: one that is offered may be taken.
    void watch(const Vcpu& vcpu) {
        const VmcbControl& c = vmcb_of(vcpu).control;
        GuestState& state = state_of(vcpu);
        if (features.tcg && (c.interrupt_state & 1) != 0)
            return hold(vmcb_of(vcpu));
        state.shadow_kept = 0;
        offered_ = state.offer == Offer::Waits && (c.interrupt_control & interrupt_control::irq) != 0;
    }
    /// After the exit: the CPU clears V_IRQ when it has delivered the interrupt.
    void settle(Vcpu& vcpu) const {
        VmcbControl& c = vmcb_of(vcpu).control;
        if (held_)
            let_go(vcpu);
        if (offered_ && (c.interrupt_control & interrupt_control::irq) == 0) {
            state_of(vcpu).offer = Offer::Taken;
            close_interrupt_window(vmcb_of(vcpu));
        }
        if (!event_.valid)
            return;
        if ((c.interrupt_control & interrupt_control::irq) != 0)
            vcpu.event = event_;
        c.interrupt_control =
            (control_ & ~interrupt_control::tpr_mask) | (c.interrupt_control & interrupt_control::tpr_mask);
        c.interrupt_vector = waiting_;
        c.intercepts1 |= window_;
        if (interrupt_window_is_open(vmcb_of(vcpu)))
            c.interrupt_control = interrupt_control::offer_by_priority(c.interrupt_control);
        c.clean = 0;
    }

  private:
    static constexpr unsigned most_exits_in_a_shadow = 4;

    void hold(Vmcb& vmcb) {
        vmcb.control.interrupt_control &= ~interrupt_control::irq;
        vmcb.control.clean = 0;
        held_ = true;
        rip_ = vmcb.save.rip;
    }
    void let_go(Vcpu& vcpu) const {
        Vmcb& vmcb = vmcb_of(vcpu);
        GuestState& state = state_of(vcpu);
        if (interrupt_window_is_open(vmcb))
            vmcb.control.interrupt_control =
                interrupt_control::offer_by_priority(vmcb.control.interrupt_control);
        if (vmcb.save.rip == rip_ && state.shadow_kept < most_exits_in_a_shadow) {
            vmcb.control.interrupt_state |= 1;
            ++state.shadow_kept;
        } else {
            state.shadow_kept = 0;
        }
    }

    abi::Event event_{};
    std::uint64_t rip_ = 0;
    std::uint32_t control_ = 0, waiting_ = 0, window_ = 0;
    bool offered_ = false, held_ = false;
};

/// An exit may have cut off the delivery of an event (EXITINTINFO, APM 2, section 15.7.3): it is delivered
/// again. Software interrupts are not: RIP is on their instruction, which will be executed again.
[[gnu::hot]] void keep_interrupted_event(Vcpu& vcpu) {
    const auto info = vmcb_of(vcpu).control.exit_interrupt;
    if ((info & event::valid) == 0)
        return;
    const auto type = static_cast<abi::EventType>(info >> event::type_shift & 7);
    const auto vector = static_cast<std::uint8_t>(info);
    const bool software = type == abi::EventType::SoftwareInterrupt ||
                          (type == abi::EventType::Exception && (vector == 3 || vector == 4));
    if (software)
        return;
    vcpu.event = {1, type, vector, static_cast<std::uint8_t>((info & event::error_valid) != 0),
                  static_cast<std::uint32_t>(info >> event::error_shift)};
    if (type == abi::EventType::Nmi)
        state_of(vcpu).nmi_blocked = false; // it has not happened yet
}

[[gnu::hot]] void leave_to_device_model(Vcpu& vcpu) {
    vcpu.page->window_taken = take_back_offer(vcpu);
    hand_over(vcpu, export_state, vmcb_of(vcpu).control.tsc_offset);
    vcpu.page->nmi_blocked = !nmi_can_enter(vcpu);
}

RunResult leave(Vcpu& vcpu, abi::ExitReason reason) {
    vcpu.page->exit_reason = static_cast<std::uint32_t>(reason);
    vcpu.page->next_rip = 0;
    leave_to_device_model(vcpu);
    return RunResult::DeviceModel;
}

/// Takes over what the device model asks for. False when it wants to leave again at once.
[[gnu::hot]] bool take_requests(Vcpu& vcpu) {
    abi::VcpuPage& page = *vcpu.page;
    if (!take_over(vcpu, import_state))
        return false;
    if (page.request_interrupt_window != 0)
        request_interrupt_window(vcpu, page.window_vector);
    else if (state_of(vcpu).offer == Offer::None)
        cancel_interrupt_window(vmcb_of(vcpu));
    state_of(vcpu).nmi_window = page.request_nmi_window != 0;
    return true;
}

} // namespace

void start_guest_maps() {
    guest_msrs = allocate_object<MsrBitmap>();
    const HostPhys ports = allocate_pages(port_map_pages);
    if (guest_msrs == nullptr || raw(ports) == 0)
        return; // enable() finds out: nothing can be allocated
    guest_ports = reinterpret_cast<std::uint8_t*>(raw(ports));
    for (std::uint64_t i = 0; i < port_map_pages * page_size; ++i)
        guest_ports[i] = 0xff;
    guest_msrs->intercept_all();
    // These are the guest's while it runs: VMLOAD and VMSAVE switch them.
    for (const auto index : {msr::star, msr::lstar, msr::cstar, msr::sfmask, msr::fs_base, msr::gs_base,
                             msr::kernel_gs_base, msr::sysenter_cs, msr::sysenter_esp, msr::sysenter_eip})
        guest_msrs->set(index, false, false);
}

bool create_vcpu(Vcpu& vcpu) {
    const HostPhys page = allocate_pages(1);
    if (raw(page) == 0)
        return false;
    vcpu.backend = reinterpret_cast<void*>(raw(page));
    VmcbControl& c = vmcb_of(vcpu).control;
    c.dr_reads = c.dr_writes = 0xffff;
    c.exceptions = 1u << vector_db | 1u << vector_ac | 1u << vector_mc;
    namespace i1 = intercept1;
    namespace i2 = intercept2;
    c.intercepts1 = i1::intr | i1::nmi | i1::init | i1::rdpmc | i1::cpuid | i1::rsm | i1::invd | i1::hlt |
                    i1::invlpga | i1::ioio | i1::msr | i1::shutdown;
    c.intercepts2 = i2::vmrun | i2::vmmcall | i2::vmload | i2::vmsave | i2::stgi | i2::clgi | i2::skinit |
                    i2::wbinvd | i2::monitor | i2::mwait | i2::mwait_armed | i2::xsetbv | i2::rdpru;
    c.iopm = reinterpret_cast<std::uint64_t>(guest_ports);
    c.msrpm = reinterpret_cast<std::uint64_t>(guest_msrs);
    c.interrupt_control = interrupt_control::masking;
    c.nested_control = 1;
    c.nested_cr3 = raw(vcpu.vm->tables.root());
    vmcb_of(vcpu).save.efer = efer::svme;
    vmcb_of(vcpu).save.pat = 0x0007040600070406;
    return true;
}

void destroy_vcpu(Vcpu& vcpu) {
    if (vcpu.backend != nullptr)
        free_pages(HostPhys{reinterpret_cast<std::uint64_t>(vcpu.backend)}, 1);
    vcpu.backend = nullptr;
}

[[gnu::hot]] RunResult run_guest(PerCpu& cpu, Vcpu& vcpu) {
    if (!take_requests(vcpu))
        return leave(vcpu, abi::ExitReason::Interrupted);
    if (deadline_has_come(vcpu))
        return leave(vcpu, abi::ExitReason::Deadline);
    if (state_of(vcpu).nmi_window && !vcpu.event.valid && nmi_can_enter(vcpu))
        return leave(vcpu, abi::ExitReason::NmiWindow);

    Vmcb& vmcb = vmcb_of(vcpu);
    Action action = Action::Resume;
    {
        const WorldSwitch world{cpu, vcpu};
        do {
            VirtualInterrupt interrupt;
            if (!features.tcg || !interrupt.give(vcpu)) {
                inject(vcpu);
                interrupt.watch(vcpu);
            }
            prepare_translations(cpu, vcpu);
            const auto before = read_tsc();
            svm_enter(physical_of(vmcb), &vcpu.gprs);
            vcpu.statistics->guest_cycles += read_tsc() - before;
            ++vcpu.statistics->entries;
            ++vcpu.statistics->hardware[statistics_index(vmcb.control.exit_code)];
            vmcb.control.inject = 0;
            if (features.clean_bits)
                vmcb.control.clean = 0x1fff & ~(1u << 3); // V_TPR and V_IRQ may have changed
            keep_interrupted_event(vcpu);
            interrupt.settle(vcpu);
            action = handle_guest_exit(cpu, vcpu);
            // Unblocking by IRET is noticed at the next exit; somebody who waits for it should not wait
            // longer.
            if (action == Action::Resume && vmcb.control.inject == 0 && state_of(vcpu).nmi_window &&
                nmi_can_enter(vcpu))
                break;
        } while (action == Action::Resume);
    }
    switch (action) {
    case Action::Control:
        ++vcpu.statistics->host_interrupts;
        return RunResult::Control;
    case Action::Resume:
        return leave(vcpu, abi::ExitReason::NmiWindow);
    case Action::DeviceModel:
        break;
    }
    leave_to_device_model(vcpu);
    return RunResult::DeviceModel;
}

} // namespace escalus::vmm::svm
