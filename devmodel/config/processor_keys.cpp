// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/machine_draft.hpp"
#include "vmm/abi/abi.hpp"

#include <fmt/format.h>

namespace escalus {

namespace {
constexpr std::int64_t mib = 1 << 20;
constexpr std::int64_t memory_least = 8, memory_most = static_cast<std::int64_t>(abi::guest_memory_max) / mib;
constexpr unsigned default_memory = 1024;

std::optional<std::int64_t> memory_mib(MachineDraft& draft) {
    const Value* value = draft.settings.find("memory");
    if (value == nullptr)
        return {};
    if (value->kind == Value::Kind::String && !to_integer(value->text)) {
        draft.diagnostics.error(content_position(*value),
                                fmt::format("memory must be a number of MiB, not '{}'", value->text),
                                "write for example memory = 1024 for 1 GiB");
        return {};
    }
    const auto memory = draft.settings.integer("memory");
    if (!memory || (*memory >= memory_least && *memory <= memory_most))
        return memory;
    std::string help = "write for example memory = 1024 for 1 GiB";
    if (*memory > memory_most && *memory / mib >= memory_least && *memory % mib == 0)
        help = fmt::format("memory is in MiB: for {} bytes write memory = {}", *memory, *memory / mib);
    draft.diagnostics.error(value->where,
                            fmt::format("a machine cannot have {} MiB of memory: {} to {} are possible",
                                        *memory, memory_least, memory_most),
                            help);
    return {};
}

void memory_and_cpus(MachineDraft& draft) {
    MachineConfig& machine = draft.machine;
    const std::int64_t memory = memory_mib(draft).value_or(default_memory);
    machine.memory_bytes = static_cast<std::uint64_t>(memory) * mib;
    if (const auto most = draft.settings.integer("maxmem")) {
        if (*most < memory)
            draft.diagnostics.error(draft.settings.find("maxmem")->where,
                                    fmt::format("maxmem ({}) is less than memory ({})", *most, memory),
                                    "leave maxmem away");
        else if (*most > memory)
            draft.diagnostics.note(draft.settings.find("maxmem")->where,
                                   fmt::format("without ballooning the guest keeps {} MiB", memory));
    }
    const auto limit = static_cast<std::int64_t>(abi::vcpus_max);
    const auto vcpus =
        draft.settings.integer("vcpus", 1, limit, fmt::format("from 1 to {}", limit)).value_or(1);
    machine.vcpus = static_cast<unsigned>(vcpus);
    if (const auto most = draft.settings.integer("maxvcpus", 1, limit, fmt::format("from 1 to {}", limit))) {
        if (*most < vcpus)
            draft.diagnostics.error(draft.settings.find("maxvcpus")->where,
                                    fmt::format("maxvcpus ({}) is less than vcpus ({})", *most, vcpus),
                                    "leave maxvcpus away");
        else if (*most > vcpus)
            draft.diagnostics.note(draft.settings.find("maxvcpus")->where,
                                   fmt::format("without CPU hotplug the guest keeps {} CPUs", vcpus));
    }
}

std::optional<CpuPin> to_pin(MachineDraft& draft, const Value& value) {
    constexpr auto help = "write CPUs like '0-3,^2', or 'all'";
    if (value.kind != Value::Kind::String && value.kind != Value::Kind::Number) {
        draft.diagnostics.error(value.where, "cpus must name CPUs", help);
        return {};
    }
    const auto parsed = parse_cpu_list(value.text);
    if (const auto* error = std::get_if<CpuListError>(&parsed)) {
        draft.diagnostics.error(part_position(content_position(value), error->offset, error->length),
                                fmt::format("cpus: {}", error->message), help);
        return {};
    }
    return CpuPin{value.text, std::get<CpuMask>(parsed)};
}

/// `cpus`, `cpu_weight` and `cap`, after `vcpus`.
void cpu_share(MachineDraft& draft) {
    MachineConfig& machine = draft.machine;
    if (const auto weight = draft.settings.integer("cpu_weight", 1, 65535, "from 1 to 65535"))
        machine.cpu_weight = static_cast<unsigned>(*weight);
    constexpr std::int64_t cap_max = 100 * static_cast<std::int64_t>(host_cpus_max);
    if (const auto cap = draft.settings.integer("cap", 0, cap_max,
                                                fmt::format("per cent of one CPU, from 0 to {}", cap_max)))
        machine.cpu_cap = static_cast<unsigned>(*cap);
    const Value* value = draft.settings.find("cpus");
    if (value == nullptr)
        return;
    if (value->kind != Value::Kind::List) { // one for all
        if (const auto pin = to_pin(draft, *value))
            machine.pins.assign(machine.vcpus, *pin);
        return;
    }
    for (const Value& item : value->items)
        if (const auto pin = to_pin(draft, item); pin && machine.pins.size() < machine.vcpus)
            machine.pins.push_back(*pin);
    if (value->items.size() > machine.vcpus)
        draft.diagnostics.warning(
            value->where, fmt::format("cpus has {} entries for {} virtual CPUs: the last are not used",
                                      value->items.size(), machine.vcpus));
}

// From the step of the clock multipliers that MSRs tell of, to more than any CPU has.
void tsc_rate(MachineDraft& draft) {
    constexpr std::int64_t least = 25'000, most = 10'000'000;
    if (const auto khz =
            draft.settings.integer("tsc_khz", least, most, fmt::format("kHz, from {} to {}", least, most)))
        draft.machine.tsc_khz = static_cast<unsigned>(*khz);
}
} // namespace

void describe_processors(MachineDraft& draft) {
    memory_and_cpus(draft);
    cpu_share(draft);
    tsc_rate(draft);
}

} // namespace escalus
