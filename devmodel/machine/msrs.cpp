// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/msrs.hpp"

namespace escalus {

namespace {
namespace msr {
constexpr std::uint32_t p5_mc_addr = 0x00, p5_mc_type = 0x01;
constexpr std::uint32_t platform_id = 0x17, bios_update = 0x79, bios_signature = 0x8b, mtrr_cap = 0xfe,
                        mcg_cap = 0x179, mcg_status = 0x17a, mcg_ctl = 0x17b, platform_info = 0xce,
                        misc_enable = 0x1a0, debug_control = 0x1d9, mtrr_physical_base = 0x200,
                        mtrr_fixed_64k = 0x250, mtrr_fixed_16k_1 = 0x258, mtrr_fixed_16k_2 = 0x259,
                        mtrr_fixed_4k = 0x268, mtrr_default = 0x2ff, mc0_ctl = 0x400;
// AMD; its patch level is what Intel calls bios_signature
constexpr std::uint32_t performance_0 = 0xc0010000, syscfg = 0xc0010010, hwcr = 0xc0010015,
                        top_of_memory = 0xc001001a, top_of_memory_2 = 0xc001001d, nb_cfg = 0xc001001f,
                        patch_loader = 0xc0010020, osvw_length = 0xc0010140, osvw_status = 0xc0010141,
                        cstate_address = 0xc0010073, pstate_limit = 0xc0010061, pstate_control = 0xc0010062,
                        pstate_status = 0xc0010063, pstate_0 = 0xc0010064, ls_cfg = 0xc0011020,
                        ic_cfg = 0xc0011021, dc_cfg = 0xc0011022, fp_cfg = 0xc0011028, de_cfg = 0xc0011029,
                        bu_cfg2 = 0xc001102a, interrupt_pending = 0xc0010055, smm_base = 0xc0010111,
                        bu_cfg = 0xc0011023;
} // namespace msr
constexpr std::uint64_t all = ~0ull;

constexpr bool valid_memory_type(std::uint64_t type) {
    return type == 0 || type == 1 || type == 4 || type == 5 || type == 6;
}
} // namespace

Msrs::Msrs(const Config& config) : config_{config} {
    // Machine check: banks that never report anything. Status registers take only zeros.
    keep(msr::mcg_cap, machine_check_banks | 0x100, 0, true);
    keep(msr::mcg_status, 0, 7, true);
    keep(msr::mcg_ctl, all, all);
    for (std::uint32_t bank = 0; bank < machine_check_banks; ++bank) {
        const auto first = msr::mc0_ctl + 4 * bank;
        keep(first, all, all);
        for (std::uint32_t other = 1; other < 4; ++other)
            keep(first + other, 0, 0, true);
    }
    // The Pentium's machine check registers stand for bank 0's (Intel's SDM 3B, "Mapping of the Pentium
    // Processor Machine-Check Errors"; AMD's BKDG for family 10h, MSR0000_0000). Plan 9 reads them before it
    // has an interrupt table.
    keep(msr::p5_mc_addr, 0, 0, true);
    keep(msr::p5_mc_type, 0, 0, true);
    keep(msr::mtrr_cap, variable_mtrrs | 0x500, 0, true); // fixed ranges, write combining
    for (std::uint32_t i = 0; i < 2 * variable_mtrrs; ++i)
        keep(msr::mtrr_physical_base + i, 0, all);
    keep(msr::mtrr_fixed_64k, 0, all);
    keep(msr::mtrr_fixed_16k_1, 0, all);
    keep(msr::mtrr_fixed_16k_2, 0, all);
    for (std::uint32_t i = 0; i < 8; ++i)
        keep(msr::mtrr_fixed_4k + i, 0, all);
    keep(msr::mtrr_default, 0, all);
    keep(msr::bios_signature, config.amd ? 0x01000065 : 0x0000000100000000, config.amd ? 0 : all);
    keep(msr::debug_control, 0, 0x3); // LBR and BTF are accepted; nothing is recorded
    if (config.amd) {
        keep(msr::syscfg, 0x60600, 0xffff0000 | 0x7c0000);
        keep(msr::hwcr, 0, 0x00000000'017e'ffdf); // TscFreqSel (bit 24) reads as written: 0 at reset
        keep(msr::top_of_memory, 0, all);
        keep(msr::top_of_memory_2, 0, all);
        keep(msr::nb_cfg, 0, all); // bit 46: extended configuration access through 0xcf8
        keep(msr::patch_loader, 0, 0);
        for (std::uint32_t i = 0; i < 8;
             ++i) // the K7's counters are architectural: there, and counting nothing
            keep(msr::performance_0 + i, 0, 0);
        keep(msr::osvw_length, 0, 0);
        keep(msr::osvw_status, 0, 0);
        keep(msr::cstate_address, 0, 0xffff);
        keep(msr::pstate_limit, 0, 0, true);
        keep(msr::pstate_control, 0, 7);
        keep(msr::pstate_status, 0, 0, true);
        // One P-state, the one that the TSC counts: enabled, core frequency = 100 MHz * fid / did * 2.
        const auto fid = config.tsc_hz / 25'000'000;
        keep(msr::pstate_0, 1ull << 63 | 8ull << 8 | (fid & 0xff), 0);
        keep(msr::interrupt_pending, 0, all);
        keep(msr::smm_base, 0x30000, all);
        for (const auto cfg : {msr::ls_cfg, msr::ic_cfg, msr::dc_cfg, msr::fp_cfg, msr::bu_cfg, msr::bu_cfg2})
            keep(cfg, 0, all);
        keep(msr::de_cfg, 2, all); // LFENCE is serializing
    } else {
        keep(msr::platform_id, 0, 0, true);
        keep(msr::bios_update, 0, all);
        const auto ratio = config.tsc_hz / 100'000'000;
        keep(msr::platform_info, (ratio & 0xff) << 8, 0, true);
        keep(msr::misc_enable, 0x1 | 0x1800, 0xffff); // fast strings; no BTS, no PEBS
    }
    reset();
}

void Msrs::keep(std::uint32_t index, std::uint64_t reset_value, std::uint64_t writable, bool refuse) {
    kept_[index] = {reset_value, writable, refuse, reset_value};
}

std::optional<std::uint64_t> Msrs::read(std::uint32_t index) const {
    if (const auto found = kept_.find(index); found != kept_.end())
        return found->second.value;
    return {};
}

bool Msrs::write(std::uint32_t index, std::uint64_t value) {
    const auto found = kept_.find(index);
    if (found == kept_.end())
        return false;
    auto& kept = found->second;
    if (kept.refuse && ((kept.value ^ value) & ~kept.writable) != 0)
        return false;
    if (index >= msr::mtrr_physical_base && index <= msr::mtrr_default && !valid_mtrr(index, value))
        return false;
    kept.value = (kept.value & ~kept.writable) | (value & kept.writable);
    return true;
}

bool Msrs::valid_mtrr(std::uint32_t index, std::uint64_t value) const {
    if (index == msr::mtrr_default)
        return (value & ~0xcffull) == 0 && valid_memory_type(value & 0xff);
    const auto beyond = ~((1ull << config_.physical_address_bits) - 1);
    if (index < msr::mtrr_physical_base + 2 * variable_mtrrs) {
        if ((value & beyond) != 0)
            return false;
        const bool mask = (index & 1) != 0;
        return mask ? (value & 0x7ff) == 0 : (value & 0xf00) == 0 && valid_memory_type(value & 0xff);
    }
    for (unsigned i = 0; i < 8; ++i)
        if (!valid_memory_type(value >> (8 * i) & 0xff))
            return false;
    return true;
}

void Msrs::reset() {
    for (auto& [index, kept] : kept_)
        kept.value = kept.reset;
}

void Msrs::set_default_memory_type_write_back() {
    kept_[msr::mtrr_default].value = 0xc06; // enabled, fixed ranges enabled, write-back
    for (const auto fixed : {msr::mtrr_fixed_64k, msr::mtrr_fixed_16k_1})
        kept_[fixed].value = 0x0606060606060606;
    for (std::uint32_t i = 0; i < 8; ++i)
        kept_[msr::mtrr_fixed_4k + i].value = 0x0606060606060606;
    // PCI's window below 4 GiB is uncached.
    kept_[msr::mtrr_physical_base].value = 0xe000'0000;
    const auto top = (1ull << config_.physical_address_bits) - 1;
    kept_[msr::mtrr_physical_base + 1].value = (top & ~0x1fff'ffffull) | 0x800;
}

} // namespace escalus
