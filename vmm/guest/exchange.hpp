// SPDX-License-Identifier: GPL-2.0-or-later
// What passes between the monitor and the device model through a vCPU's page, at each entry and exit: the
// same for both back ends. The page is the device model's, too: each field is read once, and none is trusted.
#pragma once

#include "vmm/cpu/instructions.hpp"
#include "vmm/guest/vm.hpp"

namespace escalus::vmm {

/// Takes over the state and the event that the device model has put into the page. False when it wants the
/// vCPU to leave again at once.
inline bool take_over(Vcpu& vcpu, void (*import_state)(Vcpu&, std::uint32_t groups)) {
    abi::VcpuPage& page = *vcpu.page;
    if (const auto dirty = __atomic_load_n(&page.dirty, __ATOMIC_ACQUIRE); dirty != 0) {
        import_state(vcpu, dirty);
        __atomic_store_n(&page.dirty, 0, __ATOMIC_RELEASE);
    }
    if (page.event.valid) {
        vcpu.event = page.event;
        vcpu.event.valid = 1;
        page.event.valid = 0;
    }
    return __atomic_load_n(&page.exit_now, __ATOMIC_ACQUIRE) == 0;
}

/// Whether the time has come that the device model set for this vCPU. It sets another one before it enters
/// again, so that the guest comes on.
[[nodiscard]] inline bool deadline_has_come(const Vcpu& vcpu) {
    const auto deadline = vcpu.page->deadline;
    return deadline != 0 && read_tsc() >= deadline;
}

/// The state groups that the device model works with at this exit; it asks for others (VcpuState).
[[nodiscard]] inline std::uint32_t groups_needed(const abi::VcpuPage& page) {
    switch (static_cast<abi::ExitReason>(page.exit_reason)) {
    case abi::ExitReason::Memory: // nearly all are plain moves
        return abi::group_general | abi::group_main_segments | abi::group_control;
    case abi::ExitReason::Io:
        if (page.exit.io.string == 0)
            return abi::group_general;
        [[fallthrough]];
    case abi::ExitReason::TaskSwitch:
        return abi::group_general | abi::group_segments | abi::group_control;
    case abi::ExitReason::Interrupted:
    case abi::ExitReason::MsrRead:
    case abi::ExitReason::MsrWrite:
    case abi::ExitReason::Halt:
    case abi::ExitReason::InterruptWindow:
    case abi::ExitReason::NmiWindow:
    case abi::ExitReason::Deadline:
        return abi::group_general;
    default:
        return abi::group_all;
    }
}

inline void count_exit(Vcpu& vcpu) {
    const auto reason = vcpu.page->exit_reason; // the device model may change it meanwhile
    ++vcpu.statistics->exits_to_device_model;
    ++vcpu.statistics->reason[reason < static_cast<std::uint32_t>(abi::ExitReason::Count) ? reason : 0];
}

/// Hands the state to the device model: what the exit needs, and an event whose delivery was cut off.
inline void hand_over(Vcpu& vcpu, void (*export_state)(Vcpu&, std::uint32_t groups),
                      std::uint64_t tsc_offset) {
    abi::VcpuPage& page = *vcpu.page;
    const auto groups = groups_needed(page);
    export_state(vcpu, groups);
    page.valid = groups;
    page.msrs.tsc_offset = tsc_offset;
    page.event = vcpu.event;
    page.interruptible =
        (page.rflags & rflags::interrupt) != 0 && page.interrupt_shadow == 0 && !vcpu.event.valid;
    vcpu.event.valid = 0;
    count_exit(vcpu);
}

} // namespace escalus::vmm
