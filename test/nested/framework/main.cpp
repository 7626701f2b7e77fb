// SPDX-License-Identifier: GPL-2.0-or-later
// From the loader to the checks.
#include "test/nested/framework/interrupts.hpp"
#include "test/nested/framework/local_apic.hpp"
#include "test/nested/framework/memory.hpp"
#include "test/nested/framework/menu.hpp"
#include "test/nested/svm/vendor.hpp"
#include "test/nested/vmx/vendor.hpp"
#include "vmm/cpu/instructions.hpp"

namespace escalus::nested {

namespace log = vmm::log;

namespace {

constinit vmm::BootInfo info;

[[noreturn]] void cannot_run(const Options& options, const char* why) {
    log::put("Bail out! ");
    log::put(why);
    log::put("\n");
    leave(options.exit, ExitCode::CannotRun);
}

/// The vendor whose virtualization this CPU has.
const Vendor& choose_vendor(const Options& options) {
    const char* why = nullptr;
    for (const Vendor* vendor : {&svm::vendor, &vmx::vendor}) {
        if (!vendor->present())
            continue;
        why = vendor->missing();
        if (why == nullptr)
            return *vendor;
        cannot_run(options, why);
    }
    cannot_run(options, "this CPU has neither AMD-V (SVM) nor VT-x (VMX), or a hypervisor hides it");
}

void describe_machine(const Vendor& vendor) {
    const auto id = vmm::cpuid(1);
    log::put("# Escalus nested-virtualization suite: ");
    log::put(vendor.name);
    log::put(", CPU ");
    const auto maker = vmm::cpuid(0);
    for (const std::uint32_t word : {maker.ebx, maker.edx, maker.ecx})
        for (unsigned i = 0; i < 32; i += 8)
            log::put(static_cast<char>(word >> i));
    log::put(' ');
    log::put(vmm::hex(id.eax));
    log::put((id.ecx & 1u << 31) != 0 ? ", under a hypervisor\n" : "\n");
}

} // namespace

extern "C" [[noreturn]] void boot_main(std::uint32_t magic, HostPhys information) {
    log::set_console(vmm::Console::Com1AndVga);
    start_interrupts();
    vmm::read_multiboot(magic, information, info);
    const Options options = parse_options(info.command_line);
    start_power(info);
    if (const char* why = start_memory(info))
        cannot_run(options, why);
    const Vendor& vendor = choose_vendor(options);
    local_apic::start();
    if (const char* why = vendor.start())
        cannot_run(options, why);
    asm volatile("sti");
    describe_machine(vendor);
    if (!options.menu && count_selected(vendor, options.plan.run) == 0)
        cannot_run(options, "run= names no group and no check of this CPU's vendor");
    const bool passed =
        options.menu ? run_menu(vendor, options) : run_selected(vendor, options.plan).failed == 0;
    leave(options.exit, passed ? ExitCode::Passed : ExitCode::Failed);
}

} // namespace escalus::nested
