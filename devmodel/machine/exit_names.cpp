// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/exit_names.hpp"

#include <array>
#include <iterator>

#include <fmt/format.h>

namespace escalus {

namespace {

constexpr std::array<const char*, static_cast<std::size_t>(abi::ExitReason::Count)> reasons{
    "none",       "interrupted", "port I/O", "memory",       "MSR read",  "MSR write",   "halt",
    "irq window", "NMI window",  "shutdown", "entry failed", "unhandled", "task switch", "deadline"};

/// AMD-V's exit codes (APM volume 2, appendix C), folded as abi::StatPage says.
std::string svm_name(std::size_t code) {
    static constexpr std::size_t first = 0x60;
    static constexpr std::array names{
        "host interrupt",
        "host NMI",
        "SMI",
        "INIT",
        "virtual interrupt",
        "CR0 but TS and MP",
        "sidt",
        "sgdt",
        "sldt",
        "str",
        "lidt",
        "lgdt",
        "lldt",
        "ltr",
        "rdtsc",
        "rdpmc",
        "pushf",
        "popf",
        "cpuid",
        "rsm",
        "iret",
        "int n",
        "invd",
        "pause",
        "hlt",
        "invlpg",
        "invlpga",
        "ioio",
        "msr",
        "task switch",
        "ferr freeze",
        "shutdown",
        "vmrun",
        "vmmcall",
        "vmload",
        "vmsave",
        "stgi",
        "clgi",
        "skinit",
        "rdtscp",
        "icebp",
        "wbinvd",
        "monitor",
        "mwait",
        "mwait armed",
        "xsetbv",
        "rdpru",
        "EFER written",
    };
    if (code >= first && code < first + names.size())
        return names.at(code - first);
    if (code == 0x100)
        return "nested page fault";
    if (code < 0x20)
        return "control register";
    if (code < 0x40)
        return "debug register";
    if (code < 0x60)
        return fmt::format("exception {}", code - 0x40);
    return fmt::format("hardware exit {:#x}", code);
}

/// VT-x's basic exit reasons (Intel SDM volume 3D, appendix C).
std::string vmx_name(std::size_t reason) {
    static constexpr std::array<const char*, 80> names{"exception or NMI",
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
                                                       "loadiwkey",
                                                       "enclv",
                                                       "",
                                                       "enqcmd",
                                                       "enqcmds",
                                                       "bus lock",
                                                       "notify window",
                                                       "seamcall",
                                                       "tdcall",
                                                       "rdmsrlist",
                                                       "wrmsrlist"};
    constexpr std::size_t failures = 0x100;
    const auto basic = reason >= failures ? reason - failures : reason;
    const std::string name = basic < names.size() && *names[basic] != 0
                                 ? std::string{names[basic]}
                                 : fmt::format("hardware exit {:#x}", basic);
    return reason >= failures ? "failed entry: " + name : name;
}

} // namespace

std::string name_hardware_exit(const abi::StatPage& page, std::size_t index) {
    const bool vmx = page.backend == static_cast<std::uint64_t>(abi::Backend::Vmx);
    return vmx ? vmx_name(index) : svm_name(index);
}

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
    for (std::size_t code = 0; code < std::size(page.hardware); ++code)
        add(name_hardware_exit(page, code), page.hardware[code]);
    return result;
}

} // namespace escalus
