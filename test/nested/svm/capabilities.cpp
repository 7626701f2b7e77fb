// SPDX-License-Identifier: GPL-2.0-or-later
// What CPUID promises of AMD-V, against what the CPU does.
#include "test/nested/framework/interrupts.hpp"
#include "test/nested/framework/local_apic.hpp"
#include "test/nested/svm/guest.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-capabilities", "capability reporting against behaviour", vendor};
constexpr unsigned vector_ud = 6, vector_gp = 13;

CHECK(group, "revision", "APM 3, E.4.9") {
    EXPECT((vmm::cpuid(0x8000000a).eax & 0xff) != 0);
}

CHECK(group, "at-least-two-asids", "APM 2, 15.5.1: ASID 0 is the host's") {
    EXPECT(asid_count() >= 2);
}

CHECK(group, "vmrun-needs-svme", "APM 2, 15.4") {
    const auto with = vmm::read_msr(msr::efer);
    const Guest guest([] {});
    vmm::write_msr(msr::efer, with & ~efer::svme);
    const unsigned fault = fault_of([&] { asm volatile("vmrun %%rax" ::"a"(&guest.vmcb) : "memory"); });
    vmm::write_msr(msr::efer, with);
    EXPECT_EQ(fault, vector_ud);
}

CHECK(group, "host-save-area-must-be-aligned", "APM 2, 15.30.4") {
    EXPECT_EQ(fault_of([] { vmm::write_msr(msr::vm_hsave_pa, 0x1234); }), vector_gp);
}

CHECK(group, "next-rip", "APM 2, 15.7.1") {
    if (!has(feature::next_rip))
        skip("no next-RIP save");
    Guest guest([] { asm volatile("vmmcall"); });
    REQUIRE_EQ(guest.run(), ExitCode::Vmmcall);
    EXPECT_EQ(guest.control.next_rip, guest.save.rip + 3);
}

CHECK(group, "highest-asid", "APM 3, E.4.9: NASID; APM 2, 15.16") {
    Guest guest([] {});
    guest.control.asid = asid_count() - 1;
    guest.run_to_end();
}

CHECK(group, "decode-assists", "APM 2, 15.8.1") {
    if (!has(feature::decode_assists))
        skip("no decode assists");
    Guest guest([] { asm volatile("mov %%cr3, %%rbx" ::: "rbx"); });
    guest.control.cr_reads = 1 << 3;
    REQUIRE_EQ(guest.run(), number(ExitCode::ReadCr0) + 3);
    EXPECT_EQ(guest.control.exit_info1, 1ull << 63 | abi::rbx);
}

// The pause filter: so many PAUSEs without an exit, and no more.
void pause_often() {
    for (unsigned i = 0; i < 1000; ++i)
        asm volatile("pause");
}

CHECK(group, "pause-filter-count", "APM 2, 15.14.4") {
    if (!has(feature::pause_filter))
        skip("no pause filter");
    Guest guest(pause_often);
    guest.control.intercepts1 |= intercept1::pause;
    guest.control.pause_count = 2000;
    guest.run_to_end();
}
CHECK(group, "pause-filter-exits", "APM 2, 15.14.4") {
    if (!has(feature::pause_filter))
        skip("no pause filter");
    Guest guest(pause_often);
    guest.control.intercepts1 |= intercept1::pause;
    guest.control.pause_count = 500;
    EXPECT_EQ(guest.run(), ExitCode::Pause);
}

CHECK(group, "tsc-ratio", "APM 2, 15.30.5") {
    if (!has(feature::tsc_rate))
        skip("no TSC ratio");
    constexpr std::uint32_t tsc_ratio = 0xc0000104;
    constexpr std::uint64_t one = 1ull << 32;
    Guest guest([] { asm volatile("rdtsc; shl $32, %%rdx; or %%rdx, %%rax" ::: "rax", "rdx"); });
    vmm::write_msr(tsc_ratio, one / 4);
    const auto before = vmm::read_tsc();
    const ExitCode code = guest.run();
    const auto after = vmm::read_tsc();
    vmm::write_msr(tsc_ratio, one);
    REQUIRE_EQ(code, ExitCode::Hlt);
    EXPECT(guest.save.rax >= before / 4);
    EXPECT(guest.save.rax <= after / 4 + 1);
}

// Clean bits: a field whose bit is clear is loaded from the VMCB, whatever the other bits say; so it is on a
// CPU without the feature, which ignores the field.

GUEST_CODE(
    look_around, 64,
    "mov %cr2, %rbx; mov %dr7, %rcx; mov %cr8, %rsi; sgdt -64(%rsp); mov -62(%rsp), %rdi; mov %ds, %ebp;"
    "mov %cr0, %r8; in $0x80, %al; vmmcall");

struct Clean {
    const char* name;
    unsigned bit;
    void (*change)(Guest&);
    bool (*seen)(Guest&);
};
constexpr Clean clean_fields[] = {
    {"intercepts", 0, [](Guest& g) { g.control.cr_reads = 1 << 2; },
     [](Guest& g) { return exit_code_of(g.control) == ExitCode{number(ExitCode::ReadCr0) + 2}; }},
    {"permission-maps", 1,
     [](Guest& g) {
         // Another map: its port is intercepted, in the first none is.
         auto* other = guest_memory.data;
         other[0x80 / 8] = 1;
         g.control.iopm = reinterpret_cast<std::uint64_t>(other);
     },
     [](Guest& g) { return exit_code_of(g.control) == ExitCode::Ioio; }},
    {"tpr", 3, [](Guest& g) { g.control.interrupt_control |= 7; },
     [](Guest& g) { return g.r(abi::rsi) == 7; }},
    {"control-registers", 5, [](Guest& g) { g.save.cr0 |= cr0::am; },
     [](Guest& g) { return (g.r(abi::r8) & cr0::am) != 0; }},
    {"debug-registers", 6, [](Guest& g) { g.save.dr7 = 0x700; },
     [](Guest& g) { return g.r(abi::rcx) == 0x700; }},
    {"descriptor-tables", 7, [](Guest& g) { g.save.gdtr.base = 0x1234'5000; },
     [](Guest& g) { return g.r(abi::rdi) == 0x1234'5000; }},
    {"segments", 8, [](Guest& g) { g.save.ds.selector = 0x28; },
     [](Guest& g) { return g.r(abi::rbp) == 0x28; }},
    {"cr2", 9, [](Guest& g) { g.save.cr2 = 0x4321; }, [](Guest& g) { return g.r(abi::rbx) == 0x4321; }},
};

FAMILY(group, "clean-bit-clear-", clean_fields,
       "APM 2, 15.15.1, 15.15.3: clean bits that are zero are always honored") {
    Guest guest(look_around);
    guest.control.intercepts1 |= intercept1::ioio;
    const auto rip = guest.save.rip;
    REQUIRE_EQ(guest.run(), ExitCode::Vmmcall);
    EXPECT(!row.seen(guest));
    guest.save.rip = rip;
    row.change(guest);
    guest.control.clean = 0xfff & ~(1u << row.bit);
    guest.run();
    EXPECT(row.seen(guest));
}

CHECK(group, "clean-bits-set", "APM 2, 15.15.1: nothing was changed, everything is marked clean") {
    Guest guest([] {
        for (unsigned i = 0; i < 10; ++i)
            asm volatile("vmmcall");
    });
    for (unsigned i = 0; i < 10; ++i) {
        REQUIRE_EQ(guest.run(), ExitCode::Vmmcall);
        guest.skip(3);
        guest.control.clean = 0xfff;
    }
    guest.run_to_end();
}

// INIT: an intercepted one stays pending until GIF is set, and would reset this CPU; it can be turned into
// #SX.
CHECK(group, "init-exits", "APM 2, 15.13.4, 15.21.8, 15.28") {
    constexpr std::uint64_t redirect = 2;
    constexpr unsigned vector_sx = 30;
    std::uint64_t control = 0;
    if (fault_of([&] {
            control = vmm::read_msr(msr::vm_cr);
            vmm::write_msr(msr::vm_cr, control | redirect);
        }) != no_fault ||
        (vmm::read_msr(msr::vm_cr) & redirect) == 0)
        skip("INIT cannot be redirected (VM_CR.R_INIT), and would reset this CPU");
    Guest guest([] {
        for (;;)
            asm volatile("pause");
    });
    guest.control.intercepts1 |= intercept1::init;
    clgi();
    local_apic::send_init_to_self();
    EXPECT_EQ(guest.run_gif_clear(), ExitCode::Init);
    EXPECT_EQ(fault_of([] { stgi(); }), vector_sx);
    vmm::write_msr(msr::vm_cr, control);
}

} // namespace

} // namespace escalus::nested::svm
