// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/vmx/guest.hpp"

#include "test/nested/framework/memory.hpp"
#include "vmm/vmx/ept_format.hpp"
#include "vmm/vmx/vmcs_check.hpp"

#include <cstring>

extern "C" unsigned vmx_enter(escalus::vmm::Gprs* registers, bool launched, const volatile bool* stop);
extern "C" const char vmx_exit[];

namespace escalus::nested::vmx {

namespace {

constexpr std::uint64_t mapped_bytes = 4ull << 30;
constexpr unsigned nested_budget = 128;
constexpr unsigned entry_failed_at_once = 1;

/// What the suite keeps for VT-x.
struct Parts {
    std::uint64_t vmcs = 0, spare = 0;
    std::uint8_t* io_bitmaps = nullptr;
    std::uint8_t* msr_bitmap = nullptr;
    std::uint8_t* virtual_apic = nullptr;
    vmm::NestedFormat format{};
    vmm::NestedTables nested;
};
constinit Parts parts;

std::uint8_t* pages(unsigned count) {
    return static_cast<std::uint8_t*>(permanent_pages(count));
}
std::uint64_t address(const void* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
}
std::uint64_t new_vmcs() {
    auto* page = pages(1);
    const auto revision = static_cast<std::uint32_t>(capabilities.basic) & 0x7fffffff;
    std::memcpy(page, &revision, sizeof revision);
    return address(page);
}

#define ESCALUS_SELECTOR(name)                                                                               \
    std::uint16_t name() {                                                                                   \
        std::uint16_t value = 0;                                                                             \
        asm volatile("mov %%" #name ", %0" : "=r"(value));                                                   \
        return value;                                                                                        \
    }
ESCALUS_SELECTOR(cs)
ESCALUS_SELECTOR(ss)
#undef ESCALUS_SELECTOR

struct [[gnu::packed]] TablePointer {
    std::uint16_t limit;
    std::uint64_t base;
};

void write_host() {
    write(Field::HostCr0, vmm::read_cr0());
    write(Field::HostCr3, vmm::read_cr3());
    write(Field::HostCr4, vmm::read_cr4());
    write(Field::HostCs, cs());
    write(Field::HostSs, ss());
    for (const auto selector : {Field::HostDs, Field::HostEs, Field::HostFs, Field::HostGs})
        write(selector, 0);
    write(Field::HostTr, 0x20); // must not be 0; nothing uses the task register
    write(Field::HostFsBase, vmm::read_msr(msr::fs_base));
    write(Field::HostGsBase, vmm::read_msr(msr::gs_base));
    write(Field::HostTrBase, 0);
    TablePointer gdt{}, idt{};
    asm volatile("sgdt %0; sidt %1" : "=m"(gdt), "=m"(idt));
    write(Field::HostGdtrBase, gdt.base);
    write(Field::HostIdtrBase, idt.base);
    write(Field::HostSysenterCs, 0);
    write(Field::HostSysenterEsp, 0);
    write(Field::HostSysenterEip, 0);
    write(Field::HostEfer, vmm::read_msr(msr::efer));
    write(Field::HostPat, vmm::read_msr(msr::pat));
    write(Field::HostRip, address(vmx_exit));
}

/// Between table 24-2 and the ABI's form, which has no gap.
constexpr std::uint32_t to_rights(std::uint32_t attributes) {
    return (attributes & 0xff) | (attributes >> 8 & 15) << 12;
}
void write_segment(unsigned index, const abi::Segment& segment) {
    write(nth(Field::GuestEs, index), segment.selector);
    write(nth(Field::GuestEsLimit, index), segment.limit);
    write(nth(Field::GuestEsBase, index), segment.base);
    write(nth(Field::GuestEsRights, index), to_rights(segment.attributes));
}

void write_guest(const GuestState& state) {
    const abi::Segment* segments[] = {&state.es, &state.cs, &state.ss,   &state.ds,
                                      &state.fs, &state.gs, &state.ldtr, &state.tr};
    for (unsigned i = 0; i < seg_count; ++i)
        write_segment(i, *segments[i]);
    write(Field::GuestGdtrBase, state.gdtr.base);
    write(Field::GuestGdtrLimit, state.gdtr.limit);
    write(Field::GuestIdtrBase, state.idtr.base);
    write(Field::GuestIdtrLimit, state.idtr.limit);
    write(Field::GuestCr0, state.cr0);
    write(Field::GuestCr3, state.cr3);
    write(Field::GuestCr4, state.cr4 | capabilities.cr4_fixed0);
    write(Field::Cr4Shadow, state.cr4);
    write(Field::Cr4Mask, capabilities.cr4_fixed0);
    write(Field::GuestEfer, state.efer);
    write(Field::GuestRip, state.rip);
    write(Field::GuestRsp, state.rsp);
    write(Field::GuestRflags, state.rflags);
    write(Field::GuestDr7, 0x400);
    write(Field::GuestPat, vmm::read_msr(msr::pat));
    for (unsigned i = 0; i < 4; ++i)
        write(nth(Field::GuestPdpte0, i), (state.cr4 & cr4::pae) != 0 ? guest_memory.pae[i] : 0);
    for (const auto field : {Field::GuestDebugControl, Field::GuestInterruptibility, Field::GuestActivity,
                             Field::GuestSysenterCs, Field::GuestSysenterEsp, Field::GuestSysenterEip,
                             Field::GuestPendingDebug, field::preemption_timer})
        write(field, 0);
    write(Field::LinkPointer, ~0ull);
}

void write_controls(bool long_mode) {
    write(Field::PinControls, settle(capabilities.pin, pin::external_interrupts | pin::nmi));
    write(Field::PrimaryControls,
          settle(capabilities.primary,
                 primary::hlt | primary::port_bitmaps | primary::msr_bitmaps | primary::secondary));
    write(Field::SecondaryControls,
          settle(capabilities.secondary, secondary::ept | secondary::unrestricted | secondary::rdtscp |
                                             secondary::invpcid | secondary::xsaves));
    constexpr std::uint32_t exits = exit_control::save_debug | exit_control::host_64 |
                                    exit_control::save_pat | exit_control::load_pat |
                                    exit_control::save_efer | exit_control::load_efer;
    constexpr std::uint32_t entries =
        entry_control::load_debug | entry_control::load_pat | entry_control::load_efer;
    write(Field::ExitControls, settle(capabilities.exit, exits));
    write(Field::EntryControls,
          settle(capabilities.entry, entries | (long_mode ? entry_control::long_mode : 0)));
    for (const auto field :
         {Field::Vpid, Field::ExitMsrStore, Field::ExitMsrLoad, Field::EntryMsrLoad, Field::TscOffset,
          Field::XssExitBitmap, Field::ExceptionBitmap, Field::FaultMask, Field::FaultMatch,
          Field::Cr3TargetCount, Field::ExitMsrStoreCount, Field::ExitMsrLoadCount, Field::EntryMsrLoadCount,
          Field::EntryEvent, Field::EntryErrorCode, Field::EntryInstructionLength, Field::TprThreshold,
          Field::Cr0Mask, Field::Cr0Shadow})
        write(field, 0);
    write(Field::IoBitmapA, address(parts.io_bitmaps));
    write(Field::IoBitmapB, address(parts.io_bitmaps) + page_size);
    write(Field::MsrBitmap, address(parts.msr_bitmap));
    write(Field::VirtualApicPage, address(parts.virtual_apic));
    constexpr std::uint64_t write_back = 6, walk_of_4 = 3 << 3, dirty_bits = 1 << 6;
    write(Field::EptPointer, raw(parts.nested.root()) | write_back | walk_of_4 |
                                 (has_ept(ept_capability::accessed_dirty) ? dirty_bits : 0));
}

void need(bool offered, Field field, std::uint32_t bits) {
    if (!offered)
        skip("this CPU does not have the control");
    set_bits(field, bits);
}

} // namespace

bool has_pin(std::uint32_t bits) {
    return offers(capabilities.pin, bits);
}
bool has_primary(std::uint32_t bits) {
    return offers(capabilities.primary, bits);
}
bool has_secondary(std::uint32_t bits) {
    return offers(capabilities.secondary, bits);
}
bool has_exit(std::uint32_t bits) {
    return offers(capabilities.exit, bits);
}
bool has_entry(std::uint32_t bits) {
    return offers(capabilities.entry, bits);
}
bool has_ept(std::uint64_t bits) {
    return (capabilities.ept_vpid & bits) == bits;
}
void need_pin(std::uint32_t bits) {
    need(has_pin(bits), Field::PinControls, bits);
}
void need_primary(std::uint32_t bits) {
    need(has_primary(bits), Field::PrimaryControls, bits);
}
void need_secondary(std::uint32_t bits) {
    need(has_secondary(bits), Field::SecondaryControls, bits);
}
void need_exit(std::uint32_t bits) {
    need(has_exit(bits), Field::ExitControls, bits);
}
void need_entry(std::uint32_t bits) {
    need(has_entry(bits), Field::EntryControls, bits);
}

void start_guests() {
    parts.format = ept_page_format(has_ept(ept_capability::pages_1g));
    parts.vmcs = new_vmcs();
    parts.spare = new_vmcs();
    parts.io_bitmaps = pages(2);
    parts.msr_bitmap = pages(1);
    parts.virtual_apic = pages(1);
    allocate_guest_memory();
}

std::uint64_t guest_vmcs() {
    return parts.vmcs;
}
std::uint64_t spare_vmcs() {
    return parts.spare;
}

void flush_nested() {
    constexpr std::uint64_t all_contexts = 2;
    if (has_ept(ept_capability::invept) && invept(all_contexts, {0, 0}) != Said::Success)
        fail("INVEPT of all contexts failed");
}

Guest::Guest(void (*function)())
    : io_bitmaps(parts.io_bitmaps),
      msr_bitmap(parts.msr_bitmap),
      virtual_apic(parts.virtual_apic),
      nested(parts.nested),
      end_(address(guest_done)) {
    reset(make_guest(function));
}

Guest::Guest(Mode mode, Code code)
    : io_bitmaps(parts.io_bitmaps),
      msr_bitmap(parts.msr_bitmap),
      virtual_apic(parts.virtual_apic),
      nested(parts.nested) {
    const GuestState state = make_guest(mode, code);
    if ((state.cr0 & cr0::pg) == 0 && !has_secondary(secondary::unrestricted))
        nested::skip("no unrestricted guest mode");
    reset(state);
    end_ = state.rip + code.bytes() - 1;
}

void Guest::reset(const GuestState& state) {
    std::memset(io_bitmaps, 0, 2 * page_size);
    std::memset(msr_bitmap, 0, page_size);
    std::memset(virtual_apic, 0, page_size);
    nested.release();
    if (!nested.start(parts.format, nested_budget) ||
        !nested.map(GuestPhys{0}, HostPhys{0}, mapped_bytes,
                    abi::map_read | abi::map_write | abi::map_execute))
        vmm::panic("no memory for extended page tables");
    if (vmclear(parts.vmcs) != Said::Success || vmptrld(parts.vmcs) != Said::Success)
        fail("VMCLEAR or VMPTRLD of the suite's VMCS failed");
    write_host();
    write_controls((state.efer & efer::lma) != 0);
    write_guest(state);
    flush_nested();
}

Entered Guest::enter() {
    static constinit const volatile bool never = false;
    asm volatile("cli");
    if (vmx_enter(&gprs, launched_, &never) == entry_failed_at_once)
        return {static_cast<unsigned>(read(Field::InstructionError)), 0};
    const auto reason = static_cast<std::uint32_t>(read(Field::ExitReason));
    launched_ = launched_ || (reason & entry_failed) == 0;
    return {0, reason};
}

ExitReason Guest::run_masked() {
    const Entered entered = enter();
    if (entered.error != 0)
        fail("VM entry fails with error ", entered.error, ": ", find_violation_in_current());
    if ((entered.reason & entry_failed) != 0)
        fail("VM entry fails with reason ", entered.reason & 0xffff, ": ", find_violation_in_current());
    return static_cast<ExitReason>(entered.reason & 0xffff);
}

ExitReason Guest::run() {
    const ExitReason reason = run_masked();
    const bool nmi =
        reason == ExitReason::ExceptionOrNmi && event::type(read(Field::ExitEvent)) == event::nmi;
    if (nmi)
        asm volatile("int $2"); // its IRET ends the blocking of NMIs
    asm volatile("sti");
    return reason;
}

unsigned Guest::handler() const {
    if (read(Field::ExitReason) != number(ExitReason::Hlt))
        return vectors;
    const std::uint64_t linear = read(nth(Field::GuestEsBase, seg_cs)) + rip();
    // The 16-bit handlers are a copy; their vector table says where.
    std::uint64_t first = address(guest_handlers64);
    if ((read(Field::GuestCr0) & cr0::pe) == 0) {
        const auto entry = *reinterpret_cast<const std::uint32_t*>(read(Field::GuestIdtrBase));
        first = (std::uint64_t{entry} >> 16 << 4) + (entry & 0xffff);
    } else if ((read(nth(Field::GuestEsRights, seg_cs)) & rights::long_mode) == 0) {
        first = address(guest_handlers32);
    }
    const std::uint64_t offset = linear - first;
    return offset < std::uint64_t{vectors} * handler_bytes && offset % handler_bytes == 0
               ? static_cast<unsigned>(offset / handler_bytes)
               : vectors;
}

bool Guest::at_end() const {
    return read(Field::ExitReason) == number(ExitReason::Hlt) && rip() == end_;
}

namespace {
void describe(const Guest& guest) {
    note("exit ", read(Field::ExitReason), ", qualification ", vmm::hex(qualification()), ", event ",
         vmm::hex(read(Field::ExitEvent)), ", rip ", vmm::hex(rip()), ", rsp ",
         vmm::hex(read(Field::GuestRsp)));
    if (guest.handler() != vectors)
        note("in the guest's handler of vector ", guest.handler(), ", stack ", vmm::hex(Guest::frame()[0]),
             " ", vmm::hex(Guest::frame()[1]), " ", vmm::hex(Guest::frame()[2]));
}
} // namespace

void Guest::run_to_end() {
    run();
    if (at_end())
        return;
    describe(*this);
    fail("the guest did not come to its end");
}

void Guest::run_to_handler(unsigned vector) {
    run();
    if (handler() == vector)
        return;
    describe(*this);
    fail("the guest did not come to its handler of vector ", vector);
}

void Guest::skip() {
    write(Field::GuestRip, rip() + read(Field::ExitInstructionLength));
    clear_bits(Field::GuestInterruptibility, blocking::shadow);
}

void Guest::to_user() {
    constexpr std::uint32_t user = 3 << rights::dpl_shift;
    write(nth(Field::GuestEs, seg_cs), selector::user_code64);
    set_bits(nth(Field::GuestEsRights, seg_cs), user);
    for (const unsigned segment : {seg_ss, seg_ds, seg_es}) {
        write(nth(Field::GuestEs, segment), selector::user_data);
        set_bits(nth(Field::GuestEsRights, segment), user);
    }
}

} // namespace escalus::nested::vmx
