// SPDX-License-Identifier: GPL-2.0-or-later
// Entering and leaving a guest. Its VMCS is this CPU's only while VcpuRun lasts: the next one may come on
// another CPU, and the monitor sends no IPIs, so the VMCS is written back to memory each time.
#include "vmm/guest/exchange.hpp"
#include "vmm/guest/guest_walk.hpp"
#include "vmm/guest/instruction.hpp"
#include "vmm/guest/loaded_state.hpp"
#include "vmm/memory/page_allocator.hpp"
#include "vmm/vmx/guest_exits.hpp"

#include <initializer_list>

namespace escalus::vmm::vmx {

namespace {

constinit MsrBitmap* guest_msrs = nullptr;
constexpr std::uint32_t control_vpid = 1, vpid_limit = 0x10000;
namespace apic_page { // offsets: section 29.1.1
constexpr std::uint64_t task_priority = 0x80, isr = 0x100, irr = 0x200;
}

/// The registers that no VMCS holds.
class WorldSwitch {
  public:
    WorldSwitch(PerCpu& cpu, Vcpu& vcpu) : cpu_{cpu}, vcpu_{vcpu}, state_{cpu, vcpu} {
        CpuState& state = state_of(cpu);
        GuestState& guest = state_of(vcpu);
        state.control_msrs.kernel_gs_base = read_msr(msr::kernel_gs_base);
        switch_msrs(state.control_msrs, guest.msrs);
        state.control_cr2 = read_cr2();
        write_cr2(guest.cr2);
    }

    ~WorldSwitch() {
        CpuState& state = state_of(cpu_);
        GuestState& guest = state_of(vcpu_);
        guest.cr2 = read_cr2();
        write_cr2(state.control_cr2);
        guest.msrs.kernel_gs_base = read_msr(msr::kernel_gs_base);
        switch_msrs(guest.msrs, state.control_msrs);
        if (vcpu_.dr_live) {
            guest.dr6 = read_dr6();
            write_dr6(state.control_dr6);
            set_bits(Field::PrimaryControls, primary::dr_access);
        }
    }
    WorldSwitch(const WorldSwitch&) = delete;
    WorldSwitch& operator=(const WorldSwitch&) = delete;

  private:
    static void switch_msrs(const SystemMsrs& from, const SystemMsrs& to) {
        const auto change = [](std::uint32_t index, std::uint64_t old_value, std::uint64_t new_value) {
            if (old_value != new_value)
                write_msr(index, new_value);
        };
        change(msr::star, from.star, to.star);
        change(msr::lstar, from.lstar, to.lstar);
        change(msr::cstar, from.cstar, to.cstar);
        change(msr::sfmask, from.sfmask, to.sfmask);
        change(msr::kernel_gs_base, from.kernel_gs_base, to.kernel_gs_base);
    }
    PerCpu& cpu_;
    Vcpu& vcpu_;
    LoadedState state_;
};

/// Gives the vCPU a VPID of this CPU, and forgets translations that may be stale. Section 28.4: those of
/// guest-physical addresses belong to the nested tables whatever the VPID, so coming back to a CPU takes a
/// flush as well.
[[gnu::hot]] void prepare_translations(PerCpu& cpu, Vcpu& vcpu) {
    if (vcpu.last_cpu == cpu.index && vcpu.asid_generation == cpu.asid_generation && !vcpu.flush)
        return;
    if (vcpu.last_cpu != cpu.index || vcpu.asid_generation != cpu.asid_generation) {
        if (cpu.next_asid <= control_vpid || cpu.next_asid >= vpid_limit) {
            cpu.next_asid = control_vpid + 1;
            ++cpu.asid_generation;
            flush_all_translations();
        }
        if (features.vpid)
            write(Field::Vpid, cpu.next_asid++);
        vcpu.last_cpu = cpu.index;
        vcpu.asid_generation = cpu.asid_generation;
        write_host_fields(cpu);
    }
    flush_translations(ept_pointer(vcpu.vm->tables.root()));
    vcpu.flush = false;
}

/// The word of a bitmap in the virtual-APIC page that has the vector's bit: 32 bits in each 16 bytes.
std::uint32_t& apic_word(const GuestState& state, std::uint64_t bitmap, std::uint32_t vector) {
    return *reinterpret_cast<std::uint32_t*>(raw(state.virtual_apic) + bitmap + vector / 32 * 16);
}

/// Virtual-interrupt delivery (section 29.2): the CPU takes this vector as soon as it can, without an exit.
/// All else of the APIC stays with the device model, whose end-of-interrupt register exits, so that nothing
/// is in service here but perhaps this one.
void offer_interrupt(GuestState& state, std::uint32_t vector) {
    apic_word(state, apic_page::irr, vector) |= 1u << vector % 32;
    write(Field::GuestInterruptStatus, vector); // RVI
    state.offered = vector;
}

/// Whether the vector that was offered has been taken.
[[gnu::hot]] bool take_back_offer(GuestState& state) {
    if (state.offered == 0)
        return false;
    constexpr std::uint64_t requested = 0xff;
    const bool taken = (read(Field::GuestInterruptStatus) & requested) == 0;
    for (const auto bitmap : {apic_page::irr, apic_page::isr})
        apic_word(state, bitmap, state.offered) = 0;
    write(Field::GuestInterruptStatus, 0);
    state.offered = 0;
    return taken;
}

void request_interrupt_window(Vcpu& vcpu, std::uint32_t vector) {
    GuestState& state = state_of(vcpu);
    if (vector < abi::VcpuPage::window_any && features.virtual_interrupts) {
        vcpu.page->request_interrupt_window = 0; // once: it may be taken before the next VcpuRun
        clear_bits(Field::PrimaryControls, primary::interrupt_window);
        return offer_interrupt(state, vector);
    }
    const std::uint32_t now = *state.task_priority >> 4 & 15, priority = vector >> 4;
    if (vector >= abi::VcpuPage::window_any || priority > now) {
        write(Field::TprThreshold, 0);
        set_bits(Field::PrimaryControls, primary::interrupt_window);
    } else { // an exit when the priority falls below: then the interrupt is above it
        write(Field::TprThreshold, priority);
        clear_bits(Field::PrimaryControls, primary::interrupt_window);
    }
}

[[gnu::hot]] void cancel_interrupt_window() {
    const auto controls = read(Field::PrimaryControls);
    if ((controls & primary::interrupt_window) != 0)
        write(Field::PrimaryControls, controls & ~std::uint64_t{primary::interrupt_window});
    write(Field::TprThreshold, 0);
}

/// How long the instruction of a software interrupt is, on which RIP stands: INT with a number, after
/// prefixes.
unsigned software_interrupt_length(const Vcpu& vcpu) {
    constexpr unsigned opcode_bytes = 2;
    const bool long_mode = (read(Field::GuestEfer) & efer::lma) != 0 &&
                           (read(nth(Field::GuestEsRights, abi::seg_cs)) & rights::long_mode) != 0;
    const auto rip = read(Field::GuestRip);
    const GuestLinear linear{long_mode ? rip
                                       : (read(nth(Field::GuestEsBase, abi::seg_cs)) + rip) & 0xffff'ffff};
    std::uint8_t bytes[instruction_bytes_max];
    const unsigned got = read_guest_linear({read(Field::GuestCr0), read(Field::GuestCr3),
                                            read(Field::GuestCr4), read(Field::GuestEfer), &vcpu.vm->tables},
                                           linear, bytes, sizeof bytes);
    const unsigned length = instruction_length(bytes, got, long_mode, opcode_bytes);
    return length != 0 && length <= instruction_bytes_max ? length : opcode_bytes;
}

[[gnu::hot]] void inject(Vcpu& vcpu) {
    if (!vcpu.event.valid)
        return;
    const abi::Event& e = vcpu.event;
    std::uint32_t info = event::valid |
                         std::uint32_t{static_cast<std::uint8_t>(e.type)} << event::type_shift |
                         std::uint32_t{e.vector};
    // Section 26.2.1.3: in real mode exceptions have no error codes.
    if (e.has_error_code && (read(Field::GuestCr0) & cr0::pe) != 0) {
        info |= event::error_valid;
        write(Field::EntryErrorCode, e.error_code);
    }
    if (e.type == abi::EventType::SoftwareInterrupt)
        write(Field::EntryInstructionLength, software_interrupt_length(vcpu));
    write(Field::EntryEvent, info);
    vcpu.event.valid = 0;
}

/// An exit may have cut off the delivery of an event (section 27.2.4), or an NMI its injection: it is
/// delivered again. Those of software are not: RIP is on their instruction, which will be executed again.
[[gnu::hot]] void keep_event(Vcpu& vcpu, Field field, Field error_code) {
    const auto info = read(field);
    if ((info & event::valid) == 0)
        return;
    const auto type = event::type(info);
    if (type != event::external && type != event::nmi && type != event::hardware_exception)
        return;
    const bool has_error_code = (info & event::error_valid) != 0;
    vcpu.event = {1, static_cast<abi::EventType>(type), static_cast<std::uint8_t>(info), has_error_code,
                  has_error_code ? static_cast<std::uint32_t>(read(error_code)) : 0};
    if (type == event::nmi)
        clear_bits(Field::GuestInterruptibility, blocking::nmi); // it has not happened yet
}

[[gnu::hot]] void leave_to_device_model(Vcpu& vcpu) {
    vcpu.page->window_taken = take_back_offer(state_of(vcpu));
    hand_over(vcpu, export_current, read(Field::TscOffset));
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
    else
        cancel_interrupt_window();
    if (page.request_nmi_window != 0)
        set_bits(Field::PrimaryControls, primary::nmi_window);
    else if ((read(Field::PrimaryControls) & primary::nmi_window) != 0)
        clear_bits(Field::PrimaryControls, primary::nmi_window);
    return true;
}

[[gnu::hot]] Action enter(PerCpu& cpu, Vcpu& vcpu) {
    GuestState& guest = state_of(vcpu);
    const auto before = read_tsc();
    if (features.preemption_timer)
        write(Field::PreemptionTimer, timer_value(vcpu.page->deadline, before, features.timer_shift));
    const Entry entry = vmx_enter(&vcpu.gprs, guest.launched, &state_of(cpu).nmi_pending);
    vcpu.statistics->guest_cycles += read_tsc() - before;
    ++vcpu.statistics->entries;
    if (entry == Entry::Stopped) {
        keep_event(vcpu, Field::EntryEvent, Field::EntryErrorCode);
        write(Field::EntryEvent, 0);
        return Action::Control;
    }
    if (entry == Entry::Failed)
        return handle_failed_entry(vcpu);
    guest.launched = true;
    const auto reason = static_cast<std::uint32_t>(read(Field::ExitReason));
    ++vcpu.statistics->hardware[statistics_index(reason)];
    if ((reason & entry_failed) == 0)
        keep_event(vcpu, Field::VectoringEvent, Field::VectoringErrorCode);
    else
        write(Field::EntryEvent, 0);
    return handle_guest_exit(cpu, vcpu, reason);
}

void write_fixed_fields(const Vcpu& vcpu) {
    const GuestState& state = state_of(vcpu);
    const auto optional = (features.vpid ? secondary::vpid : 0) | (features.rdtscp ? secondary::rdtscp : 0) |
                          (features.invpcid ? secondary::invpcid : 0) |
                          (features.virtual_interrupts ? secondary::virtual_interrupts : 0) |
                          (features.tsc_scaling ? secondary::tsc_scaling : 0);
    write_common_fields();
    write(Field::PinControls,
          settle(capabilities.pin, pin::external_interrupts | pin::nmi | pin::virtual_nmis |
                                       (features.preemption_timer ? pin::preemption_timer : 0)));
    write(Field::PrimaryControls,
          settle(capabilities.primary, primary::tsc_offsetting | primary::hlt | primary::mwait |
                                           primary::rdpmc | primary::tpr_shadow | primary::dr_access |
                                           primary::all_ports | primary::msr_bitmaps | primary::monitor |
                                           primary::secondary));
    write(Field::SecondaryControls, settle(capabilities.secondary, secondary::ept | secondary::unrestricted |
                                                                       secondary::wbinvd | optional));
    write(Field::ExceptionBitmap, 1u << vector_db | 1u << vector_ac | 1u << vector_mc);
    write(Field::MsrBitmap, reinterpret_cast<std::uint64_t>(guest_msrs));
    write(Field::VirtualApicPage, raw(state.virtual_apic));
    write(Field::EptPointer, ept_pointer(vcpu.vm->tables.root()));
    write(Field::Cr0Mask, guest_cr0_mask);
    write(Field::Cr4Mask, cr4::vmxe);
    write(Field::GuestCr0, capabilities.cr0_fixed0 & guest_cr0_mask);
    write(Field::GuestCr4, cr4::vmxe);
    if (features.tsc_scaling)
        write(Field::TscMultiplier, abi::tsc_ratio_one);
    write(Field::GuestPat, 0x0007040600070406);
    write(Field::GuestDr7, 0x400);
    write(Field::GuestRflags, rflags::fixed);
}

} // namespace

void start_guest_maps() {
    guest_msrs = allocate_object<MsrBitmap>();
    if (guest_msrs == nullptr)
        return; // enable() finds out: nothing can be allocated
    guest_msrs->intercept_all();
    // These are the guest's while it runs: the VMCS or WorldSwitch holds them.
    for (const auto index : {msr::fs_base, msr::gs_base, msr::kernel_gs_base, msr::sysenter_cs,
                             msr::sysenter_esp, msr::sysenter_eip, msr::efer, msr::pat})
        guest_msrs->set(index, false, false);
    // Known by the monitor, so their writes exit.
    for (const auto index : {msr::tsc, msr::star, msr::lstar, msr::cstar, msr::sfmask})
        guest_msrs->set(index, false, true);
}

bool create_vcpu(Vcpu& vcpu) {
    auto* state = allocate_object<GuestState>();
    vcpu.backend = state;
    if (state == nullptr)
        return false;
    state->vmcs = allocate_vmcs();
    state->virtual_apic = allocate_pages(1);
    if (raw(state->vmcs) == 0 || raw(state->virtual_apic) == 0)
        return false;
    state->task_priority =
        reinterpret_cast<std::uint32_t*>(raw(state->virtual_apic) + apic_page::task_priority);
    release(state->vmcs);
    make_current(state->vmcs);
    write_fixed_fields(vcpu);
    leave_vmcs(vcpu);
    return true;
}

void destroy_vcpu(Vcpu& vcpu) {
    auto* state = static_cast<GuestState*>(vcpu.backend);
    vcpu.backend = nullptr;
    if (state == nullptr)
        return;
    if (raw(state->vmcs) != 0)
        free_pages(state->vmcs, 1);
    if (raw(state->virtual_apic) != 0)
        free_pages(state->virtual_apic, 1);
    free_object(state);
}

// The VMCS goes back to memory, and the control OS's is current again.
[[gnu::hot]] void leave_vmcs(Vcpu& vcpu) {
    GuestState& state = state_of(vcpu);
    release(state.vmcs);
    state.launched = false;
    make_current(state_of(this_cpu()).control);
}

void export_state(Vcpu& vcpu, std::uint32_t groups) {
    make_current(state_of(vcpu).vmcs);
    export_current(vcpu, groups);
    leave_vmcs(vcpu);
}

namespace {

[[gnu::hot]] RunResult run_current(PerCpu& cpu, Vcpu& vcpu) {
    if (!take_requests(vcpu))
        return leave(vcpu, abi::ExitReason::Interrupted);
    if (!features.preemption_timer && deadline_has_come(vcpu)) // else the timer sees it
        return leave(vcpu, abi::ExitReason::Deadline);
    Action action = Action::Resume;
    {
        const WorldSwitch world{cpu, vcpu};
        do {
            inject(vcpu);
            prepare_translations(cpu, vcpu);
            action = enter(cpu, vcpu);
        } while (action == Action::Resume);
    }
    if (action == Action::Control) {
        ++vcpu.statistics->host_interrupts;
        return RunResult::Control;
    }
    leave_to_device_model(vcpu);
    return RunResult::DeviceModel;
}

} // namespace

[[gnu::hot]] RunResult run_guest(PerCpu& cpu, Vcpu& vcpu) {
    make_current(state_of(vcpu).vmcs);
    const RunResult result = run_current(cpu, vcpu);
    leave_vmcs(vcpu);
    return result;
}

} // namespace escalus::vmm::vmx
