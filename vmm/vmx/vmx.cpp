// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/vmx/vmx.hpp"

#include "vmm/cpu/exceptions.hpp"
#include "vmm/cpu/fpu.hpp"
#include "vmm/cpu/log.hpp"
#include "vmm/guest/guest_walk.hpp"
#include "vmm/guest/loaded_state.hpp"
#include "vmm/memory/page_allocator.hpp"
#include "vmm/vmx/ept_format.hpp"
#include "vmm/vmx/mtrr.hpp"

#include <cstring>
#include <initializer_list>

extern "C" const char vmx_exit[], vmx_stop[], vmx_window_start[], vmx_window_end[];
extern "C" const char gdt[], boot_pml4[];

namespace escalus::vmm::vmx {

namespace {

// Guests' memory is write-back whatever their PAT says: it is the pool, which the device model maps so too,
// and no device is behind it.
constinit NestedFormat ept_format = ept_page_format(false);

constinit Mtrrs mtrrs;

constexpr std::uint16_t host_code = 0x08, host_data = 0x10, host_task = 0x20;

// An NMI in root mode: IDT handlers run with the monitor's GS, which is this CPU's PerCpu.
void root_nmi(std::uint64_t& rip) {
    auto* cpu = reinterpret_cast<PerCpu*>(read_msr(msr::gs_base));
    if (cpu == nullptr)
        return; // it comes so early that nobody can have sent it
    state_of(*cpu).nmi_pending = true;
    const auto address = [](const char* symbol) { return reinterpret_cast<std::uint64_t>(symbol); };
    if (rip >= address(vmx_window_start) && rip < address(vmx_window_end))
        rip = address(vmx_stop);
}

void describe_features() {
    log::info("VT-x: EPT, unrestricted guest", capabilities.true_controls ? ", true controls" : "",
              features.vpid ? ", VPID" : "", features.ept_1g ? ", EPT 1 GiB pages" : "",
              features.ept_dirty ? ", EPT dirty bits" : "", features.rdtscp ? ", RDTSCP" : "",
              features.invpcid ? ", INVPCID" : "", features.xsaves ? ", XSAVES" : "",
              features.preemption_timer ? ", preemption timer" : "",
              features.virtual_interrupts ? ", virtual-interrupt delivery" : "",
              features.tsc_scaling ? ", TSC scaling" : "", features.wait_for_sipi ? ", wait-for-SIPI" : "");
}

// With software's own dirty bits (53; 54: may be written) where the CPU keeps none: the first write to a page
// faults.
void choose_ept_format() {
    ept_format.pages_1g = features.ept_1g;
    if (features.ept_dirty)
        return;
    ept_format.dirty = 1ull << 53;
    ept_format.may_write = 1ull << 54;
}

// Section 23.7: the firmware may have left it unlocked.
void allow_vmxon(unsigned cpu) {
    constexpr std::uint64_t locked = 1, outside_smx = 4;
    const auto control = read_msr(msr::feature_control);
    if ((control & locked) == 0)
        write_msr(msr::feature_control, control | locked | outside_smx);
    else if ((control & outside_smx) == 0)
        panic("VT-x is disabled by the firmware on CPU ", cpu, ", though not on others");
}

void enable(PerCpu& cpu) {
    if (cpu.index == 0) {
        read_capabilities();
        choose_ept_format();
        mtrrs = read_mtrrs(capabilities.physical_bits);
        start_control_maps();
        start_guest_maps();
        set_nmi_handler(root_nmi);
        describe_features();
    }
    auto* state = allocate_object<CpuState>();
    const HostPhys region = allocate_vmcs();
    start_loaded_state(cpu);
    if (state == nullptr || raw(region) == 0)
        panic("no memory for CPU ", cpu.index);
    cpu.backend = state;
    write_msr(msr::gs_base, reinterpret_cast<std::uint64_t>(&cpu));
    allow_vmxon(cpu.index);
    write_cr0((read_cr0() | capabilities.cr0_fixed0) & capabilities.cr0_fixed1);
    write_cr4((read_cr4() | capabilities.cr4_fixed0) & capabilities.cr4_fixed1);
    bool failed = false;
    asm volatile("vmxon %1" : "=@ccbe"(failed) : "m"(region) : "memory");
    state->control = allocate_vmcs();
    if (failed || raw(state->control) == 0)
        panic("VMXON failed on CPU ", cpu.index);
    release(state->control);
    make_current(state->control);
    write_host_fields(cpu);
    write_common_fields();
}

const NestedFormat* nested_format() {
    return &ept_format;
}

NestedAttributes control_memory_attributes(HostPhys address) {
    const TypedRun run = memory_type_at(mtrrs, raw(address));
    return {static_cast<std::uint64_t>(run.type) << ept_entry::type_shift, run.bytes};
}

std::uint32_t abi_features() {
    return (features.tsc_scaling ? abi::feature_tsc_ratio : 0) |
           (features.preemption_timer ? abi::feature_deadline_timer : 0);
}

// What the control OS must not use, or could not: it needs a control that is off (section 25.3).
void hide_features(std::uint32_t function, std::uint32_t index, CpuidResult& r) {
    constexpr std::uint32_t vmx = 1 << 5, smx = 1 << 6, invpcid = 1 << 10, trace = 1 << 25, waitpkg = 1 << 5,
                            rdpid = 1 << 22, xsaves = 1 << 3, rdtscp = 1 << 27;
    const auto hide = [](std::uint32_t& word, std::uint32_t bits, bool available) {
        if (!available)
            word &= ~bits;
    };
    if (function == 1) {
        r.ecx &= ~(vmx | smx);
    } else if (function == 7 && index == 0) {
        hide(r.ebx, invpcid, features.invpcid);
        hide(r.ebx, trace, features.trace);
        hide(r.ecx, waitpkg, features.user_wait);
        hide(r.ecx, rdpid, features.rdtscp);
    } else if (function == 0xd && index == 1) {
        hide(r.eax, xsaves, features.xsaves);
    } else if (function == 0x80000001) {
        hide(r.edx, rdtscp, features.rdtscp);
    }
}

} // namespace

HostPhys allocate_vmcs() {
    const HostPhys page = allocate_pages(1);
    if (raw(page) != 0)
        *reinterpret_cast<std::uint32_t*>(raw(page)) =
            static_cast<std::uint32_t>(capabilities.basic) & 0x7fffffff;
    return page;
}

void write_host_fields(const PerCpu& cpu) {
    write(Field::HostCr0, read_cr0());
    write(Field::HostCr3, reinterpret_cast<std::uint64_t>(boot_pml4));
    write(Field::HostCr4, read_cr4());
    write(Field::HostCs, host_code);
    for (const auto field : {Field::HostEs, Field::HostSs, Field::HostDs, Field::HostFs, Field::HostGs})
        write(field, field == Field::HostFs || field == Field::HostGs ? 0 : host_data);
    write(Field::HostTr, host_task); // must not be 0; nothing uses the task register
    write(Field::HostGsBase, reinterpret_cast<std::uint64_t>(&cpu));
    write(Field::HostGdtrBase, reinterpret_cast<std::uint64_t>(gdt));
    write(Field::HostIdtrBase, exception_table_address());
    write(Field::HostEfer, read_msr(msr::efer) | efer::lma);
    write(Field::HostPat, read_msr(msr::pat));
    write(Field::HostRip, reinterpret_cast<std::uint64_t>(vmx_exit));
}

void write_common_fields() {
    write(Field::LinkPointer, ~0ull);
    write(Field::ExitControls,
          settle(capabilities.exit, exit_control::save_debug | exit_control::host_64 |
                                        exit_control::save_pat | exit_control::load_pat |
                                        exit_control::save_efer | exit_control::load_efer));
    write(Field::EntryControls,
          settle(capabilities.entry,
                 entry_control::load_debug | entry_control::load_pat | entry_control::load_efer));
}

std::uint64_t ept_pointer(HostPhys root) {
    constexpr std::uint64_t write_back = 6, walk_of_4 = 3 << 3, dirty_bits = 1 << 6;
    return raw(root) | write_back | walk_of_4 | (features.ept_dirty ? dirty_bits : 0);
}

namespace {
void invept(std::uint64_t type, std::uint64_t pointer) {
    const std::uint64_t descriptor[2] = {pointer, 0};
    asm volatile("invept %0, %1" ::"m"(descriptor), "r"(type) : "cc", "memory");
}
} // namespace

void flush_all_translations() {
    invept(2, 0);
}

void flush_translations(std::uint64_t pointer) {
    invept(features.invept_single ? 1 : 2, pointer);
}

void skip_instruction() {
    write(Field::GuestRip, next_rip());
    if (const auto state = read(Field::GuestInterruptibility); (state & blocking::shadow) != 0)
        write(Field::GuestInterruptibility, state & ~std::uint64_t{blocking::shadow});
    if ((read(Field::GuestRflags) & rflags::tf) != 0)
        set_bits(Field::GuestPendingDebug, pending_debug::single_step);
}

void load_pae_pointers(const NestedTables* nested) {
    const auto cr0_value = read(Field::GuestCr0), cr4_value = read(Field::GuestCr4);
    if ((cr0_value & cr0::pg) == 0 || (cr4_value & cr4::pae) == 0 ||
        (read(Field::GuestEfer) & efer::lma) != 0)
        return;
    const auto table = read(Field::GuestCr3) & 0xffff'ffe0;
    const HostPhys host = nested != nullptr ? nested->translate(GuestPhys{table}) : HostPhys{table};
    for (unsigned i = 0; i < 4; ++i)
        write(nth(Field::GuestPdpte0, i),
              raw(host) != 0 ? reinterpret_cast<const std::uint64_t*>(raw(host))[i] : 0);
}

// Exit qualification: table 27-3. CR0 and CR4 exit when a bit of ours would change. The shadow takes the new
// value and the instruction is executed again: then nothing of ours differs, and the CPU itself does all that
// such a write entails. CR3 exits only where the CPU has no true controls.
bool access_control_register(const NestedTables* nested, Gprs& gprs) {
    const auto qualification = read(Field::ExitQualification);
    const auto number = qualification & 15, kind = qualification >> 4 & 3, source = qualification >> 8 & 15;
    constexpr unsigned to_register = 0, from_register = 1;
    const auto value = source == abi::rsp ? read(Field::GuestRsp) : gprs.r[source];
    if (number == 3 && kind == from_register) {
        if (source == abi::rsp)
            write(Field::GuestRsp, read(Field::GuestCr3));
        else
            gprs.r[source] = read(Field::GuestCr3);
    } else if (number == 3 && kind == to_register) {
        constexpr std::uint64_t keep_translations = 1ull << 63;
        const auto cr3 = value & ~((read(Field::GuestCr4) & cr4::pcide) != 0 ? keep_translations : 0);
        if ((read(Field::GuestEfer) & efer::lma) != 0 && cr3 >> capabilities.physical_bits != 0)
            return false;
        write(Field::GuestCr3, cr3);
        load_pae_pointers(nested);
        if (features.vpid && (value & keep_translations) == 0)
            flush_translations(read(Field::EptPointer));
    } else if (number == 0 && kind == to_register) {
        if ((value & cr0::nw) != 0 && (value & cr0::cd) == 0)
            return false;
        write(Field::Cr0Shadow, value);
        return true;
    } else {
        return false; // CR4.VMXE; there is no other
    }
    skip_instruction();
    return true;
}

bool write_system_msr(SystemMsrs& known, std::uint32_t index, std::uint64_t value) {
    const unsigned unused = 64 - capabilities.linear_bits;
    const bool canonical =
        static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused) == value;
    switch (index) {
    case msr::star:
        known.star = value;
        break;
    case msr::lstar:
    case msr::cstar:
        if (!canonical)
            return false;
        (index == msr::lstar ? known.lstar : known.cstar) = value;
        break;
    case msr::sfmask:
        if (value >> 32 != 0)
            return false;
        known.sfmask = value;
        break;
    default:
        return false;
    }
    write_msr(index, value);
    return true;
}

void MsrBitmap::allow_all() {
    std::memset(bits_, 0, sizeof bits_);
}

void MsrBitmap::intercept_all() {
    std::memset(bits_, 0xff, sizeof bits_);
}

void MsrBitmap::set(std::uint32_t msr, bool read, bool write) {
    constexpr std::uint32_t high = 0xc0000000, count = 0x2000, high_offset = 1024, write_offset = 2048;
    if (msr >= count && (msr < high || msr >= high + count))
        return; // always intercepted
    const std::uint32_t index = msr % count, byte = index / 8 + (msr >= high ? high_offset : 0);
    const auto mask = static_cast<std::uint8_t>(1u << index % 8);
    const auto put = [&](std::uint8_t& bits, bool set) {
        bits = static_cast<std::uint8_t>(set ? bits | mask : bits & ~mask);
    };
    put(bits_[byte], read);
    put(bits_[byte + write_offset], write);
}

} // namespace escalus::vmm::vmx

namespace escalus::vmm {

constinit const Backend vmx_backend = {.kind = abi::Backend::Vmx,
                                       .name = "VT-x",
                                       .offered = vmx::offered,
                                       .missing = vmx::missing,
                                       .enable = vmx::enable,
                                       .run_control = vmx::run_control,
                                       .create_vcpu = vmx::create_vcpu,
                                       .destroy_vcpu = vmx::destroy_vcpu,
                                       .run_vcpu = vmx::run_guest,
                                       .export_state = vmx::export_state,
                                       .nested_format = vmx::nested_format,
                                       .control_memory_attributes = vmx::control_memory_attributes,
                                       .features = vmx::abi_features,
                                       .hide_features = vmx::hide_features};

} // namespace escalus::vmm
