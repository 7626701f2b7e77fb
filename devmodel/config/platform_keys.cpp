// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/cpuid_spec.hpp"
#include "devmodel/config/machine_draft.hpp"

#include <fmt/format.h>

namespace escalus {

void describe_platform(MachineDraft& draft) {
    MachineConfig& machine = draft.machine;
    machine.acpi = draft.settings.boolean("acpi").value_or(true);
    machine.apic = draft.settings.boolean("apic").value_or(true);
    machine.hpet = draft.settings.boolean("hpet").value_or(true);
    machine.localtime = draft.settings.boolean("localtime").value_or(false);
    machine.kvm_interface =
        draft.settings.choice<bool>("paravirt", {{"kvm", true}, {"none", false}}).value_or(true);
    if (!machine.apic && machine.vcpus > 1)
        draft.diagnostics.error(draft.settings.find("apic")->where,
                                fmt::format("{} CPUs need APICs", machine.vcpus),
                                "write apic = 1, or vcpus = 1");
    constexpr std::int64_t century = 100ll * 366 * 24 * 3600;
    machine.rtc_offset_seconds =
        draft.settings.integer("rtc_timeoffset", -century, century, "a number of seconds").value_or(0);
    if (const Value* cpuid = draft.settings.find("cpuid"); cpuid != nullptr && !says_no(*cpuid))
        machine.cpuid = parse_cpuid(*cpuid, draft.diagnostics);
}

} // namespace escalus
