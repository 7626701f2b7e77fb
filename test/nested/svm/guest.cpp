// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/svm/guest.hpp"

#include "test/nested/framework/interrupts.hpp"
#include "test/nested/framework/memory.hpp"
#include "vmm/memory/page_format.hpp"

#include <cstring>

namespace escalus::nested::svm {

namespace {

constexpr std::uint64_t vm_cr_svm_disabled = 1 << 4, mapped_bytes = 4ull << 30;
constexpr unsigned nested_budget = 128;

/// What the suite keeps for AMD-V.
struct Parts {
    Vmcb* guest = nullptr;
    Vmcb* host = nullptr; ///< the suite's own FS, GS, TR, LDTR and system-call registers
    std::uint8_t* iopm = nullptr;
    std::uint8_t* msrpm = nullptr;
    vmm::NestedFormat format = vmm::amd64_page_format(false);
    vmm::NestedTables nested;
    // Registers that a check may have left changed.
    std::uint64_t cr0 = 0, cr3 = 0, cr4 = 0, efer = 0, pat = 0, host_save = 0;
};
constinit Parts parts;

bool present() {
    return vmm::cpuid(0x80000000).eax >= 0x8000000a && (vmm::cpuid(0x80000001).ecx & 4) != 0;
}

const char* missing() {
    if ((vmm::read_msr(msr::vm_cr) & vm_cr_svm_disabled) != 0)
        return "AMD-V (SVM) is disabled by the firmware (VM_CR.SVMDIS); enable it in the firmware's setup";
    return nullptr;
}

const char* start() {
    parts.guest = static_cast<Vmcb*>(permanent_pages(1));
    parts.host = static_cast<Vmcb*>(permanent_pages(1));
    parts.host_save = reinterpret_cast<std::uint64_t>(permanent_pages(1));
    parts.iopm = static_cast<std::uint8_t*>(permanent_pages(iopm_pages));
    parts.msrpm = static_cast<std::uint8_t*>(permanent_pages(msrpm_pages));
    allocate_guest_memory();
    parts.format.pages_1g = has_1g_pages();
    if (fault_of([] { vmm::write_msr(msr::efer, vmm::read_msr(msr::efer) | efer::svme); }) != no_fault)
        return "setting EFER.SVME faults although CPUID offers SVM";
    vmm::write_msr(msr::vm_hsave_pa, parts.host_save);
    parts.cr0 = vmm::read_cr0();
    parts.cr3 = vmm::read_cr3();
    parts.cr4 = vmm::read_cr4();
    parts.efer = vmm::read_msr(msr::efer);
    parts.pat = vmm::read_msr(msr::pat);
    vmsave(*parts.host);
    return nullptr;
}

void reset() {
    stgi();
    vmload(*parts.host);
    vmm::write_msr(msr::efer, parts.efer);
    vmm::write_msr(msr::pat, parts.pat);
    vmm::write_msr(msr::vm_hsave_pa, parts.host_save);
    vmm::write_cr0(parts.cr0);
    vmm::write_cr4(parts.cr4);
    vmm::write_cr3(parts.cr3);
    asm volatile("mov %0, %%dr7; mov %1, %%dr6; clts" ::"r"(0x400ull), "r"(0xffff0ff0ull));
}

} // namespace

constinit const Vendor vendor{"AMD-V", present, missing, start, reset};

bool has(std::uint32_t feature_bit) {
    return (vmm::cpuid(0x8000000a).edx & feature_bit) != 0;
}
unsigned physical_bits() {
    return vmm::cpuid(0x80000000).eax >= 0x80000008 ? vmm::cpuid(0x80000008).eax & 0xff : 36;
}
std::uint32_t asid_count() {
    return vmm::cpuid(0x8000000a).ebx;
}

Guest::Guest(void (*function)())
    : vmcb(*parts.guest),
      control(vmcb.control),
      save(vmcb.save),
      iopm(parts.iopm),
      msrpm(parts.msrpm),
      nested(parts.nested),
      end_(reinterpret_cast<std::uint64_t>(guest_done)) {
    reset(make_guest(function));
}

Guest::Guest(Mode mode, Code code)
    : vmcb(*parts.guest),
      control(vmcb.control),
      save(vmcb.save),
      iopm(parts.iopm),
      msrpm(parts.msrpm),
      nested(parts.nested) {
    const GuestState state = make_guest(mode, code);
    reset(state);
    end_ = state.rip + code.bytes() - 1;
}

void Guest::reset(const GuestState& state) {
    std::memset(&vmcb, 0, sizeof vmcb);
    std::memset(iopm, 0, iopm_pages * page_size);
    std::memset(msrpm, 0, msrpm_pages * page_size);
    nested.release();
    if (!nested.start(parts.format, nested_budget) ||
        !nested.map(GuestPhys{0}, HostPhys{0}, mapped_bytes,
                    abi::map_read | abi::map_write | abi::map_execute))
        vmm::panic("no memory for nested page tables");
    control.intercepts1 = intercept1::intr | intercept1::nmi | intercept1::hlt | intercept1::shutdown;
    control.intercepts2 = intercept2::vmrun | intercept2::vmmcall;
    control.iopm = reinterpret_cast<std::uint64_t>(iopm);
    control.msrpm = reinterpret_cast<std::uint64_t>(msrpm);
    control.asid = 1;
    control.tlb_control = static_cast<std::uint8_t>(TlbControl::FlushAll);
    control.interrupt_control = interrupt_control::masking;
    if (has(feature::np)) {
        control.nested_control = 1;
        control.nested_cr3 = raw(nested.root());
    }
    save.es = state.es;
    save.cs = state.cs;
    save.ss = state.ss;
    save.ds = state.ds;
    save.fs = state.fs;
    save.gs = state.gs;
    save.ldtr = state.ldtr;
    save.tr = state.tr;
    // Of a TSS's type only 16 or 32 bits matter (APM 2, 15.5.1). QEMU keeps it as it was before LTR marked it
    // busy, and ends the machine at a busy one.
    save.tr.attributes &= static_cast<std::uint16_t>(~2);
    save.gdtr = {0, 0, static_cast<std::uint32_t>(state.gdtr.limit), state.gdtr.base};
    save.idtr = {0, 0, static_cast<std::uint32_t>(state.idtr.limit), state.idtr.base};
    save.cpl = (state.rflags & rflags::vm) != 0 ? 3 : static_cast<std::uint8_t>(state.cs.attributes >> 5 & 3);
    save.efer = state.efer | efer::svme;
    save.cr0 = state.cr0;
    save.cr3 = state.cr3;
    save.cr4 = state.cr4;
    save.rip = state.rip;
    save.rsp = state.rsp;
    // IF does not matter while V_INTR_MASKING is set, except to Bochs, which would not let the timer in.
    save.rflags = state.rflags | rflags::interrupt;
    save.dr6 = 0xffff0ff0;
    save.dr7 = 0x400;
    save.pat = parts.pat;
}

ExitCode Guest::run_gif_clear() {
    clgi();
    vmsave(*parts.host);
    vmload(vmcb);
    svm_enter(HostPhys{reinterpret_cast<std::uint64_t>(&vmcb)}, &gprs);
    vmsave(vmcb);
    vmload(*parts.host);
    // That the code has 64 bits is checked once (svm-invalid-state/exit-code-has-64-bits), not by every
    // check.
    return exit_code_of(control);
}

ExitCode Guest::run() {
    const ExitCode code = run_gif_clear();
    stgi();
    return code;
}

unsigned Guest::handler() const {
    if (control.exit_code != static_cast<std::uint64_t>(ExitCode::Hlt))
        return vectors;
    const std::uint64_t linear = save.cs.base + save.rip;
    // The 16-bit handlers are a copy; their vector table says where.
    std::uint64_t first = reinterpret_cast<std::uint64_t>(guest_handlers64);
    if ((save.cr0 & cr0::pe) == 0) {
        const auto entry = *reinterpret_cast<const std::uint32_t*>(save.idtr.base);
        first = (std::uint64_t{entry} >> 16 << 4) + (entry & 0xffff);
    } else if ((save.cs.attributes & 1 << 9) == 0) {
        first = reinterpret_cast<std::uint64_t>(guest_handlers32);
    }
    const std::uint64_t offset = linear - first;
    return offset < std::uint64_t{vectors} * handler_bytes && offset % handler_bytes == 0
               ? static_cast<unsigned>(offset / handler_bytes)
               : vectors;
}

bool Guest::at_end() const {
    return control.exit_code == static_cast<std::uint64_t>(ExitCode::Hlt) && save.rip == end_;
}

namespace {
void describe(const Guest& guest) {
    note("exit ", vmm::hex(guest.control.exit_code), ", info ", vmm::hex(guest.control.exit_info1), " ",
         vmm::hex(guest.control.exit_info2), ", rip ", vmm::hex(guest.save.rip), ", rsp ",
         vmm::hex(guest.save.rsp));
    if (exit_code_of(guest.control) == ExitCode::Invalid)
        if (const char* violation = find_violation(guest.vmcb, physical_bits()))
            note("the state violates a rule: ", violation);
    if (guest.handler() != vectors)
        note("in the guest's handler of vector ", guest.handler(), ", stack ", vmm::hex(guest.frame()[0]),
             " ", vmm::hex(guest.frame()[1]), " ", vmm::hex(guest.frame()[2]));
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

void Guest::skip(unsigned bytes) {
    save.rip += bytes;
    control.interrupt_state = 0;
}

void Guest::to_user() {
    save.cs.selector = selector::user_code64;
    save.cs.attributes |= attributes::user;
    for (auto* segment : {&save.ss, &save.ds, &save.es}) {
        segment->selector = selector::user_data;
        segment->attributes |= attributes::user;
    }
    save.cpl = 3;
}

} // namespace escalus::nested::svm
