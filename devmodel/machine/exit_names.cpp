// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/exit_names.hpp"

#include <array>
#include <iterator>

#include <fmt/format.h>

namespace escalus {

namespace {

constexpr std::array<const char*, static_cast<std::size_t>(abi::ExitReason::Count)> reasons{
    "none", "interrupted", "port I/O",   "memory",   "MSR read",     "MSR write",
    "halt", "irq window",  "NMI window", "shutdown", "entry failed", "unhandled"};

/// AMD-V's exit codes (APM volume 2, appendix C), folded as abi::StatPage says.
std::string svm_name(std::size_t code) {
    switch (code) {
    case 0x60:
        return "host interrupt";
    case 0x61:
        return "host NMI";
    case 0x64:
        return "virtual interrupt";
    case 0x72:
        return "cpuid";
    case 0x74:
        return "iret";
    case 0x78:
        return "hlt";
    case 0x7b:
        return "ioio";
    case 0x7c:
        return "msr";
    case 0x7f:
        return "shutdown";
    case 0x89:
        return "wbinvd";
    case 0x8d:
        return "xsetbv";
    case 0x100:
        return "nested page fault";
    default:
        break;
    }
    if (code >= 0x40 && code < 0x60)
        return fmt::format("exception {}", code - 0x40);
    if (code >= 0x20 && code < 0x40)
        return "debug register";
    return fmt::format("hardware exit {:#x}", code);
}

/// VT-x's basic exit reasons (Intel SDM volume 3D, appendix C).
std::string vmx_name(std::size_t reason) {
    static constexpr std::array<const char*, 70> names{"exception or NMI",
                                                       "host interrupt",
                                                       "triple fault",
                                                       "INIT",
                                                       "SIPI",
                                                       "I/O SMI",
                                                       "other SMI",
                                                       "interrupt window",
                                                       "NMI window",
                                                       "task switch",
                                                       "cpuid",
                                                       "getsec",
                                                       "hlt",
                                                       "invd",
                                                       "invlpg",
                                                       "rdpmc",
                                                       "rdtsc",
                                                       "rsm",
                                                       "vmcall",
                                                       "vmclear",
                                                       "vmlaunch",
                                                       "vmptrld",
                                                       "vmptrst",
                                                       "vmread",
                                                       "vmresume",
                                                       "vmwrite",
                                                       "vmxoff",
                                                       "vmxon",
                                                       "control register",
                                                       "debug register",
                                                       "io",
                                                       "rdmsr",
                                                       "wrmsr",
                                                       "invalid guest state",
                                                       "MSR loading",
                                                       "",
                                                       "mwait",
                                                       "monitor trap flag",
                                                       "",
                                                       "monitor",
                                                       "pause",
                                                       "machine check at entry",
                                                       "",
                                                       "TPR below threshold",
                                                       "APIC access",
                                                       "virtual EOI",
                                                       "GDTR or IDTR",
                                                       "LDTR or TR",
                                                       "EPT violation",
                                                       "EPT misconfiguration",
                                                       "invept",
                                                       "rdtscp",
                                                       "preemption timer",
                                                       "invvpid",
                                                       "wbinvd",
                                                       "xsetbv",
                                                       "APIC write",
                                                       "rdrand",
                                                       "invpcid",
                                                       "vmfunc",
                                                       "encls",
                                                       "rdseed",
                                                       "page log full",
                                                       "xsaves",
                                                       "xrstors",
                                                       "pconfig",
                                                       "sub-page permission",
                                                       "umwait",
                                                       "tpause",
                                                       "loadiwkey"};
    constexpr std::size_t failures = 0x100;
    const auto basic = reason >= failures ? reason - failures : reason;
    const std::string name = basic < names.size() && *names[basic] != 0
                                 ? std::string{names[basic]}
                                 : fmt::format("hardware exit {:#x}", basic);
    return reason >= failures ? "failed entry: " + name : name;
}

} // namespace

std::vector<std::pair<std::string, std::uint64_t>> name_exits(const abi::StatPage& page) {
    std::vector<std::pair<std::string, std::uint64_t>> result;
    const auto add = [&](std::string name, std::uint64_t count) {
        if (count != 0)
            result.emplace_back(std::move(name), count);
    };
    add("entries", page.entries);
    add("exits to the device model", page.exits_to_device_model);
    for (std::size_t i = 0; i < reasons.size(); ++i)
        add(fmt::format("device model: {}", reasons[i]), page.reason[i]);
    const bool vmx = page.backend == static_cast<std::uint64_t>(abi::Backend::Vmx);
    for (std::size_t code = 0; code < std::size(page.hardware); ++code)
        add(vmx ? vmx_name(code) : svm_name(code), page.hardware[code]);
    return result;
}

} // namespace escalus
