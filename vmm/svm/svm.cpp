// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/svm/svm.hpp"

#include "vmm/cpu/hardware_options.hpp"
#include "vmm/cpu/log.hpp"
#include "vmm/guest/guest_walk.hpp"
#include "vmm/guest/instruction.hpp"
#include "vmm/guest/loaded_state.hpp"
#include "vmm/memory/page_allocator.hpp"
#include "vmm/memory/page_format.hpp"

#include <cstring>
#include <initializer_list>

namespace escalus::vmm::svm {

[[gnu::section(".hot.data")]] constinit Features features;

namespace {

constinit NestedFormat npt_format = amd64_page_format(false);

constexpr std::uint64_t vm_cr_svm_disabled = 1 << 4;

bool offered() {
    return cpuid(0x80000000).eax >= 0x8000000a && (cpuid(0x80000001).ecx & 4) != 0;
}

const char* missing() {
    if (!offered())
        return "this CPU has no AMD-V (SVM)";
    if ((read_msr(msr::vm_cr) & vm_cr_svm_disabled) != 0)
        return "AMD-V (SVM) is disabled by the firmware; enable it in the firmware's setup";
    const auto leaf = cpuid(0x8000000a);
    if ((leaf.edx & 1) == 0)
        return "this CPU has no nested paging (NPT)";
    return nullptr;
}

bool in_tcg() {
    const auto leaf = cpuid(0x40000000);
    return leaf.ebx == 0x54474354 && leaf.ecx == 0x43544743 && leaf.edx == 0x47435447; // TCGTCGTCGTCG
}

void read_features() {
    const auto leaf = cpuid(0x8000000a);
    features.asids = leaf.ebx;
    features.next_rip = (leaf.edx & 1 << 3) != 0;
    features.tsc_ratio = hardware_option(HardwareOption::TscScaling) && (leaf.edx & 1 << 4) != 0;
    features.clean_bits = (leaf.edx & 1 << 5) != 0;
    features.flush_by_asid = (leaf.edx & 1 << 6) != 0;
    features.decode_assists = (leaf.edx & 1 << 7) != 0;
    features.tcg = in_tcg();
    const auto basic = cpuid(0x80000001);
    features.efer_mask = efer::sce | efer::lme | efer::lma;
    features.efer_mask |= (basic.edx & 1 << 20) != 0 ? efer::nxe : 0;
    features.efer_mask |= (basic.edx & 1 << 25) != 0 ? efer::ffxsr : 0;
    features.efer_mask |= (basic.ecx & 1 << 17) != 0 ? efer::tce : 0;
    const auto extended = cpuid(0x80000000).eax;
    if (extended >= 0x80000021 && (cpuid(0x80000021).eax & 1 << 8) != 0)
        features.efer_mask |= efer::auto_ibrs;
    features.physical_bits = extended >= 0x80000008 ? cpuid(0x80000008).eax & 0xff : 36;
    npt_format.pages_1g = (basic.edx & 1 << 26) != 0;
}

// The bits of CR4 that steer address translation, as control OSs have them: then emulators (TCG) that flush
// their translations when a world switch changes one of these have no reason to. The monitor maps no user
// pages, so SMEP and SMAP deny it nothing.
std::uint64_t paging_bits() {
    constexpr std::uint32_t has_smep = 1 << 7, has_smap = 1 << 20;
    const auto leaf = cpuid(0).eax >= 7 ? cpuid(7).ebx : 0;
    return cr4::pse | cr4::pge | ((leaf & has_smep) != 0 ? cr4::smep : 0) |
           ((leaf & has_smap) != 0 ? cr4::smap : 0);
}

void enable(PerCpu& cpu) {
    if (cpu.index == 0) {
        read_features();
        start_guest_maps();
        log::info("AMD-V: ", features.asids, " ASIDs", features.next_rip ? ", next RIP" : "",
                  features.decode_assists ? ", decode assists" : "",
                  features.flush_by_asid ? ", flush by ASID" : "", features.clean_bits ? ", clean bits" : "",
                  features.tsc_ratio ? ", TSC ratio" : "", npt_format.pages_1g ? ", 1 GiB pages" : "");
    }
    const HostPhys host_save = allocate_pages(1);
    const HostPhys vmcb = allocate_pages(1);
    if (raw(host_save) == 0 || raw(vmcb) == 0)
        panic("no memory for CPU ", cpu.index);
    start_loaded_state(cpu);
    cpu.backend = reinterpret_cast<void*>(raw(vmcb));
    write_msr(msr::efer, read_msr(msr::efer) | efer::svme);
    write_msr(msr::vm_hsave_pa, raw(host_save));
    write_cr4(read_cr4() | paging_bits());
    // From here GIF is 0 whenever the monitor runs: interrupts, NMIs and INITs wait until the next VMRUN. IF
    // is 1 so that with V_INTR_MASKING physical interrupts end guest mode (APM 2, section 15.21.1).
    asm volatile("clgi; sti" ::: "memory");
}

const NestedFormat* nested_format() {
    return &npt_format;
}

// The host's MTRRs hold under nested paging too (APM 2, section 15.25.8).
NestedAttributes control_memory_attributes(HostPhys) {
    return {};
}

std::uint32_t abi_features() {
    return features.tsc_ratio ? abi::feature_tsc_ratio : 0;
}

void hide_features(std::uint32_t function, std::uint32_t, CpuidResult& result) {
    if (function == 0x80000001)
        result.ecx &= ~4u;
    else if (function == 0x8000000a)
        result = {};
}

} // namespace

[[gnu::hot]] unsigned read_instruction(const Vmcb& vmcb, Vcpu* guest,
                                       std::uint8_t (&bytes)[instruction_bytes_max], unsigned wanted) {
    const VmcbSave& s = vmcb.save;
    const GuestLinear linear{in_long_mode(vmcb) ? s.rip : (s.cs.base + s.rip) & 0xffff'ffff};
    const PagingState paging{s.cr0,
                             s.cr3,
                             s.cr4,
                             s.efer,
                             guest != nullptr ? &guest->vm->tables : nullptr,
                             guest != nullptr ? &guest->recent : nullptr};
    return read_guest_linear(paging, linear, bytes, wanted);
}

[[gnu::hot]] std::uint64_t next_rip(const Vmcb& vmcb, unsigned opcode_bytes, Vcpu* guest) {
    if (features.next_rip && vmcb.control.next_rip != 0)
        return vmcb.control.next_rip;
    std::uint8_t bytes[instruction_bytes_max];
    const bool long_mode = in_long_mode(vmcb);
    unsigned length = 0;
    for (const unsigned wanted : {1u, instruction_bytes_max}) { // mostly the first byte is no prefix
        const unsigned got = read_instruction(vmcb, guest, bytes, wanted);
        if ((length = instruction_length(bytes, got, long_mode, opcode_bytes)) != 0) [[likely]]
            break;
    }
    const auto next = vmcb.save.rip + (length != 0 ? length : opcode_bytes);
    return long_mode ? next : next & 0xffff'ffff;
}

bool write_efer(Vmcb& vmcb, std::uint64_t value) {
    auto& now = vmcb.save.efer;
    if ((value & ~features.efer_mask) != 0)
        return false;
    // LME must not change while paging is on; LMA is the hardware's (APM 2, section 3.1.7).
    if (((value ^ now) & efer::lme) != 0 && (vmcb.save.cr0 & cr0::pg) != 0)
        return false;
    now = (value & ~efer::lma) | (now & efer::lma) | efer::svme;
    vmcb.control.clean = 0;
    return true;
}

void MsrBitmap::allow_all() {
    std::memset(bits_, 0, bytes);
}

void MsrBitmap::intercept_all() {
    std::memset(bits_, 0xff, bytes);
}

void MsrBitmap::set(std::uint32_t msr, bool read, bool write) {
    std::uint32_t bit = 0;
    if (msr < 0x2000)
        bit = msr * 2;
    else if (msr >= 0xc0000000 && msr < 0xc0002000)
        bit = 0x800 * 8 + (msr - 0xc0000000) * 2;
    else if (msr >= 0xc0010000 && msr < 0xc0012000)
        bit = 0x1000 * 8 + (msr - 0xc0010000) * 2;
    else
        return; // always intercepted
    const auto mask = static_cast<std::uint8_t>(3u << (bit % 8));
    const auto value = static_cast<std::uint8_t>(((read ? 1u : 0u) | (write ? 2u : 0u)) << (bit % 8));
    bits_[bit / 8] = static_cast<std::uint8_t>((bits_[bit / 8] & ~mask) | value);
}

} // namespace escalus::vmm::svm

namespace escalus::vmm {

[[gnu::section(".hot.rodata")]] constinit const Backend svm_backend = {.kind = abi::Backend::Svm,
                                                                       .name = "AMD-V",
                                                                       .offered = svm::offered,
                                                                       .missing = svm::missing,
                                                                       .enable = svm::enable,
                                                                       .run_control = svm::run_control,
                                                                       .create_vcpu = svm::create_vcpu,
                                                                       .destroy_vcpu = svm::destroy_vcpu,
                                                                       .run_vcpu = svm::run_guest,
                                                                       .export_state = svm::export_state,
                                                                       .nested_format = svm::nested_format,
                                                                       .control_memory_attributes =
                                                                           svm::control_memory_attributes,
                                                                       .features = svm::abi_features,
                                                                       .hide_features = svm::hide_features};

} // namespace escalus::vmm
