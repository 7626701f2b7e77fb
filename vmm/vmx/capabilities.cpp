// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/vmx/capabilities.hpp"

#include "vmm/cpu/hardware_options.hpp"
#include "vmm/cpu/instructions.hpp"
#include "vmm/vmx/vmcs.hpp"

namespace escalus::vmm::vmx {

constinit Capabilities capabilities;
constinit Features features;

namespace {

// Appendix A. Each TRUE register is at its plain one's place among 0x48d to 0x490.
constexpr std::uint32_t msr_basic = 0x480, msr_pin = 0x481, msr_primary = 0x482, msr_exit = 0x483,
                        msr_entry = 0x484, msr_misc = 0x485, msr_cr0_fixed0 = 0x486, msr_secondary = 0x48b,
                        msr_ept_vpid = 0x48c, true_offset = 0x48d - 0x481;
constexpr std::uint64_t basic_true_controls = 1ull << 55, basic_ins_outs = 1ull << 54;
constexpr std::uint64_t misc_wait_for_sipi = 1 << 8; // appendix A.6
constexpr std::uint64_t feature_locked = 1, feature_outside_smx = 4;

constexpr std::uint32_t exit_needed = exit_control::save_debug | exit_control::host_64 |
                                      exit_control::save_pat | exit_control::load_pat |
                                      exit_control::save_efer | exit_control::load_efer;
constexpr std::uint32_t entry_needed =
    entry_control::load_debug | entry_control::long_mode | entry_control::load_pat | entry_control::load_efer;

struct Need {
    std::uint64_t Capabilities::*field;
    std::uint32_t bits;
    const char* complaint;
};
constexpr Need needs[] = {
    {&Capabilities::primary, primary::secondary, "this CPU's VT-x has no secondary controls"},
    {&Capabilities::secondary, secondary::ept, "this CPU's VT-x has no extended page tables (EPT)"},
    {&Capabilities::secondary, secondary::unrestricted, "this CPU's VT-x has no unrestricted guest mode"},
    {&Capabilities::primary, primary::tpr_shadow | primary::msr_bitmaps,
     "this CPU's VT-x has no TPR shadow or no MSR bitmaps"},
    {&Capabilities::pin, pin::virtual_nmis, "this CPU's VT-x has no virtual NMIs"},
    {&Capabilities::exit, exit_needed, "this CPU's VT-x cannot switch EFER and PAT on exits"},
    {&Capabilities::entry, entry_needed, "this CPU's VT-x cannot switch EFER and PAT on entries"},
};

void read_controls(Capabilities& c, bool use_true) {
    const std::uint32_t offset = use_true ? true_offset : 0;
    c.true_controls = use_true;
    c.pin = read_msr(msr_pin + offset);
    c.primary = read_msr(msr_primary + offset);
    c.exit = read_msr(msr_exit + offset);
    c.entry = read_msr(msr_entry + offset);
}

Capabilities read_all(bool allow_true) {
    Capabilities c;
    c.basic = read_msr(msr_basic);
    read_controls(c, allow_true && (c.basic & basic_true_controls) != 0);
    c.misc = read_msr(msr_misc);
    c.cr0_fixed0 = read_msr(msr_cr0_fixed0);
    c.cr0_fixed1 = read_msr(msr_cr0_fixed0 + 1);
    c.cr4_fixed0 = read_msr(msr_cr0_fixed0 + 2);
    c.cr4_fixed1 = read_msr(msr_cr0_fixed0 + 3);
    if (offers(c.primary, primary::secondary))
        c.secondary = read_msr(msr_secondary);
    if (offers(c.secondary, secondary::ept) || offers(c.secondary, secondary::vpid))
        c.ept_vpid = read_msr(msr_ept_vpid);
    if (cpuid(0x80000000).eax >= 0x80000008) {
        const auto sizes = cpuid(0x80000008).eax;
        c.physical_bits = sizes & 0xff;
        c.linear_bits = sizes >> 8 & 0xff;
    }
    return c;
}

} // namespace

bool offered() {
    return (cpuid(1).ecx & 1 << 5) != 0;
}

const char* missing() {
    if (!offered())
        return "this CPU has no VT-x (VMX)";
    const auto control = read_msr(msr::feature_control);
    if ((control & feature_locked) != 0 && (control & feature_outside_smx) == 0)
        return "VT-x is disabled by the firmware (IA32_FEATURE_CONTROL is locked without it); enable it in "
               "the "
               "firmware's setup";
    const Capabilities c = read_all(true);
    for (const auto& need : needs)
        if (!offers(c.*need.field, need.bits))
            return need.complaint;
    namespace e = ept_capability;
    constexpr auto ept_needed = e::four_levels | e::write_back | e::pages_2m | e::invept | e::invept_all;
    if ((c.ept_vpid & ept_needed) != ept_needed)
        return "this CPU's EPT lacks 4-level walks, write-back tables, 2 MiB pages or INVEPT";
    if ((c.basic & basic_ins_outs) == 0)
        return "this CPU's VT-x does not report the operands of INS and OUTS";
    return nullptr;
}

void read_capabilities() {
    capabilities = read_all(hardware_option(HardwareOption::TrueControls));
    const auto use = [](HardwareOption option, std::uint32_t bit) {
        return hardware_option(option) && offers(capabilities.secondary, bit);
    };
    features.vpid = use(HardwareOption::Vpid, secondary::vpid);
    features.rdtscp = use(HardwareOption::Rdtscp, secondary::rdtscp);
    features.invpcid = use(HardwareOption::Invpcid, secondary::invpcid);
    features.xsaves = use(HardwareOption::Xsaves, secondary::xsaves);
    features.virtual_interrupts = use(HardwareOption::VirtualInterrupts, secondary::virtual_interrupts);
    features.tsc_scaling = use(HardwareOption::TscScaling, secondary::tsc_scaling);
    features.preemption_timer =
        hardware_option(HardwareOption::PreemptionTimer) && offers(capabilities.pin, pin::preemption_timer);
    features.timer_shift = capabilities.misc & 31;
    features.user_wait = offers(capabilities.secondary, secondary::user_wait);
    const auto ept = [](std::uint64_t bit) { return (capabilities.ept_vpid & bit) != 0; };
    features.ept_1g = hardware_option(HardwareOption::Ept1G) && ept(ept_capability::pages_1g);
    features.ept_dirty = hardware_option(HardwareOption::EptDirty) && ept(ept_capability::accessed_dirty);
    features.invept_single = ept(ept_capability::invept_single);
    features.wait_for_sipi =
        hardware_option(HardwareOption::WaitForSipi) && (capabilities.misc & misc_wait_for_sipi) != 0;
    features.trace = (capabilities.misc & 1 << 14) != 0;
}

} // namespace escalus::vmm::vmx
