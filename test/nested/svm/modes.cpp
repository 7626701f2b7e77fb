// SPDX-License-Identifier: GPL-2.0-or-later
// Guests in every processor mode, and their own ways from one to another.
#include "test/nested/framework/memory.hpp"
#include "test/nested/guests/modes_code.hpp"
#include "test/nested/svm/guest.hpp"

#include <cstring>

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-modes", "processor modes and transitions inside a guest", vendor};

GUEST_CODE(vmmcall16, 16, "vmmcall");
GUEST_CODE(vmmcall32, 32, "vmmcall");
GUEST_CODE(vmmcall64, 64, "vmmcall");

struct Start {
    const char* name;
    Mode mode;
    Code store, call, interrupt;
};
constexpr Start starts[] = {{"real", Mode::Real, store16, vmmcall16, int16},
                            {"protected16", Mode::Protected16, store16, vmmcall16, int16},
                            {"protected32", Mode::Protected32, store32, vmmcall32, int32},
                            {"paged32", Mode::Paged32, store32, vmmcall32, int32},
                            {"pae", Mode::Pae, store32, vmmcall32, int32},
                            {"long", Mode::Long, store64, vmmcall64, int64},
                            {"compatibility", Mode::Compatibility, store32, vmmcall32, int32},
                            {"v8086", Mode::Virtual8086, store16, vmmcall16, int16}};

std::uint64_t data_page() {
    return reinterpret_cast<std::uint64_t>(guest_memory.data);
}
bool is_v8086(const Start& row) {
    return row.mode == Mode::Virtual8086;
}

FAMILY(group, "stores-in-", starts, "APM 2, 15.5.1, 1.3") {
    Guest guest(row.mode, row.store);
    guest.set(abi::rdi, data_page());
    if (is_v8086(row)) { // HLT raises #GP there
        guest.run_to_handler(13);
    } else {
        guest.run_to_end();
    }
    const auto address = row.store.start == store16.start ? 0x100 + std::uint64_t{low_data} : data_page();
    EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(address),
              row.mode == Mode::Long ? 0x9abc'def0 : 0x1234'5678);
}

FAMILY(group, "state-in-", starts, "APM 2, 15.5.1, 15.6: the mode is unchanged after an exit") {
    Guest guest(row.mode, row.call);
    const auto before = guest.save;
    REQUIRE_EQ(guest.run(), ExitCode::Vmmcall);
    EXPECT_EQ(guest.save.cr0, before.cr0);
    EXPECT_EQ(guest.save.cr4, before.cr4);
    EXPECT_EQ(guest.save.efer, before.efer);
    EXPECT_EQ(guest.save.cpl, before.cpl);
    EXPECT_EQ(guest.save.rip, before.rip);
    EXPECT_EQ(guest.save.rflags, before.rflags);
    EXPECT_EQ(guest.save.cs.base, before.cs.base);
    EXPECT_EQ(guest.save.cs.attributes & 0x600, before.cs.attributes & 0x600); // L and D
}

FAMILY(group, "interrupt-and-return-in-", starts, "APM 2, 8.6, 8.7, 8.9") {
    Guest guest(row.mode, row.interrupt);
    guest.run_to_handler(0x42);
    guest.skip(1);
    if (is_v8086(row)) {
        guest.run_to_handler(13); // the HLT
    } else {
        guest.run_to_end();
    }
    EXPECT_EQ(guest.save.rax & 0xff, 7);
}

CHECK(group, "unreal", "APM 2, 15.5.1, 4.5.2: limits stay what they were loaded with") {
    Guest guest(Mode::Unreal, store_high16);
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
    EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(guest_memory.data), 0x1234'5678);
    EXPECT_EQ(guest.save.ds.limit, 0xffff'ffff);
}

CHECK(group, "real-mode-limit", "APM 2, 4.12: an offset beyond 64 KiB raises #GP") {
    Guest guest(Mode::Real, store_high16);
    guest.set(abi::rdi, 0x10000);
    guest.run_to_handler(13);
}

// Transitions. The fragments run at their own addresses where the segments are flat, and as a copy in low
// memory where they begin in real mode.

/// A pointer to the guests' GDT and a far pointer to `target`, at the start of the low data.
void prepare_jump(std::uint16_t selector, std::uint64_t target) {
    auto* low = reinterpret_cast<std::uint8_t*>(std::uint64_t{low_data});
    const std::uint16_t limit = page_size - 1;
    const auto base = static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(guest_memory.gdt));
    const auto offset = static_cast<std::uint32_t>(target);
    std::memcpy(low, &limit, sizeof limit);
    std::memcpy(low + 2, &base, sizeof base);
    std::memcpy(low + 8, &offset, sizeof offset);
    std::memcpy(low + 12, &selector, sizeof selector);
}

void run_to(Guest& guest, Code last) {
    guest.run();
    const auto end = reinterpret_cast<std::uint64_t>(last.end) - 1;
    if (!EXPECT_EQ(guest.control.exit_code, ExitCode::Hlt) ||
        !EXPECT_EQ(guest.save.cs.base + guest.save.rip, end))
        fail("the guest did not arrive");
}

CHECK(group, "real-to-protected32", "APM 2, 14.4: enabling protected mode") {
    Guest guest(Mode::Real, real_to_protected);
    prepare_jump(selector::code32, reinterpret_cast<std::uint64_t>(arrived32.start));
    guest.set(abi::rsi, data_page());
    run_to(guest, arrived32);
    EXPECT((guest.save.cr0 & cr0::pe) != 0);
    EXPECT_EQ(guest.save.cs.selector, selector::code32);
    EXPECT((guest.save.cs.attributes & 1 << 10) != 0);
    EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(guest_memory.data), 0x3232);
}

CHECK(group, "protected32-to-long", "APM 2, 14.6: enabling long mode") {
    Guest guest(Mode::Protected32, protected_to_long);
    auto* pointer = guest_memory.data;
    const auto offset = static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(arrived64.start));
    const std::uint16_t selector = selector::code64;
    std::memcpy(pointer, &offset, sizeof offset);
    std::memcpy(pointer + 4, &selector, sizeof selector);
    guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(pointer));
    guest.set(abi::rsi, raw(guest_memory.paging.root()));
    run_to(guest, arrived64);
    EXPECT_EQ(guest.save.efer & (efer::lme | efer::lma), efer::lme | efer::lma);
    EXPECT((guest.save.cs.attributes & 1 << 9) != 0);
    EXPECT_EQ(guest.save.rax, 0x6464'6464'6464'6464);
}

CHECK(group, "long-to-compatibility", "APM 2, 4.8, 1.3.3") {
    Guest guest(long_to_compatibility);
    const auto offset = static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(arrived32.start));
    const std::uint16_t selector = selector::code32;
    std::memcpy(guest_memory.data, &offset, sizeof offset);
    std::memcpy(guest_memory.data + 4, &selector, sizeof selector);
    guest.set(abi::rdi, data_page());
    guest.set(abi::rsi, data_page() + 64);
    run_to(guest, arrived32);
    EXPECT((guest.save.efer & efer::lma) != 0);
    EXPECT_EQ(guest.save.cs.attributes & 0x600, 0x400);
}

CHECK(group, "compatibility-to-protected32", "APM 2, 14.7: leaving long mode") {
    Guest guest(Mode::Compatibility, leave_long);
    run_to(guest, leave_long);
    EXPECT_EQ(guest.save.cr0 & cr0::pg, 0);
    EXPECT_EQ(guest.save.efer & (efer::lme | efer::lma), 0);
}

CHECK(group, "protected16-to-real", "APM 2, 4.5.2; 3.1.1: clearing CR0.PE") {
    Guest guest(Mode::Protected16, protected_to_real);
    guest.run();
    EXPECT(guest.control.exit_code == number(ExitCode::Hlt));
    EXPECT_EQ(guest.save.cr0 & cr0::pe, 0);
    EXPECT_EQ(guest.save.cs.selector, 0x2000);
    EXPECT_EQ(*reinterpret_cast<const std::uint16_t*>(low_data + 0x200), 0x5151);
}

CHECK(group, "paging-turned-on", "APM 2, 5.1.1") {
    Guest guest(Mode::Protected32, paging_on);
    // The second page of the data by way of an alias in the second 2 GiB.
    *reinterpret_cast<std::uint32_t*>(guest_memory.data) = 0x7171;
    auto* directory = reinterpret_cast<std::uint32_t*>(guest_memory.paged32);
    const auto slot = data_page() >> 22;
    directory[slot + 512] = static_cast<std::uint32_t>(slot << 22 | 0x87);
    guest.set(abi::rsi, reinterpret_cast<std::uint64_t>(directory));
    guest.set(abi::rdi, data_page() + (1ull << 31));
    run_to(guest, paging_on);
    EXPECT_EQ(guest.r(abi::rcx), 0x7171);
}

CHECK(group, "protected32-to-v8086", "APM 2, 8.7.5: IRET with EFLAGS.VM") {
    Guest guest(Mode::Paged32, iret_to_v8086);
    auto* low = reinterpret_cast<char*>(std::uint64_t{low_code});
    std::memcpy(low, in_v8086.start, in_v8086.bytes());
    const std::uint32_t frame[] = {0, low_code >> 4, 0x23002, 0xfff0, 0x3000, 0x4000, 0x4000, 0, 0};
    guest.save.rsp -= sizeof frame;
    std::memcpy(reinterpret_cast<void*>(guest.save.rsp), frame, sizeof frame);
    guest.run_to_handler(13); // its HLT
    EXPECT_EQ(guest.save.rax & 0xffff, 0x8086);
}

CHECK(group, "syscall-from-user", "APM 2, 6.1.1") {
    Guest guest(system_call);
    guest.to_user();
    guest.save.star = std::uint64_t{selector::code64} << 32;
    guest.save.lstar = reinterpret_cast<std::uint64_t>(guest_done);
    guest.save.sfmask = 0x200;
    const auto rip = guest.save.rip;
    REQUIRE_EQ(guest.run(), ExitCode::Hlt);
    EXPECT_EQ(guest.save.rip, reinterpret_cast<std::uint64_t>(guest_done));
    EXPECT_EQ(guest.save.cpl, 0);
    EXPECT_EQ(guest.r(abi::rcx), rip + 2);
}

CHECK(group, "sysenter", "APM 2, 6.1.2") {
    Guest guest(Mode::Protected32, system_enter);
    guest.save.sysenter_cs = selector::code32;
    guest.save.sysenter_esp = 0x1234'5670;
    guest.save.sysenter_eip = reinterpret_cast<std::uint64_t>(guest_handlers32);
    // SS is the descriptor after that of CS.
    guest.run_to_handler(0);
    EXPECT_EQ(guest.save.rsp, 0x1234'5670);
}

// Task switches.

GUEST_CODE(jump_to_task, 32, "ljmp $0x58, $0; task_resumes: nop");
GUEST_CODE(in_task, 32, "mov $0x7a5c, %eax");

void prepare_task(const Guest& guest) {
    auto* tss = reinterpret_cast<std::uint32_t*>(guest_memory.second_tss);
    tss[7] = static_cast<std::uint32_t>(guest.save.cr3);                                 // CR3
    tss[8] = static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(in_task.start)); // EIP
    tss[9] = 2;                                                                          // EFLAGS
    tss[14] =
        static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(guest_memory.kernel_stack) + stack_bytes);
    tss[18] = tss[20] = tss[21] = selector::data32; // ES, SS, DS
    tss[19] = selector::code32;                     // CS
}

struct Task {
    const char* name;
    Code code;
    std::uint64_t bits; ///< of EXITINFO2[63:32]
};
constexpr std::uint64_t by_iret = 1ull << 36, by_jump = 1ull << 38, with_error = 1ull << 44,
                        saved_rf = 1ull << 48;
constexpr Task tasks[] = {
    {"jump", jump_to_task, by_jump}, {"call", call_task, 0}, {"jump-to-gate", jump_to_gate, by_jump}};

FAMILY(group, "task-switch-intercepted-by-", tasks, "APM 2, 15.14.1") {
    Guest guest(Mode::Protected32, row.code);
    prepare_task(guest);
    guest_memory.gdt[selector::task_gate / 8] = 0x0000'8500'0058'0000; // to the second TSS
    guest.control.intercepts1 |= intercept1::task_switch;
    REQUIRE_EQ(guest.run(), ExitCode::TaskSwitch);
    EXPECT_EQ(guest.control.exit_info1 & 0xffff, selector::second_tss);
    EXPECT_EQ(guest.control.exit_info2 & (by_iret | by_jump | with_error), row.bits);
    EXPECT_EQ(guest.save.tr.selector, selector::tss);
}

CHECK(group, "task-switch-by-exception-has-its-error-code", "APM 2, 15.14.1") {
    Guest guest(Mode::Protected32, plain32);
    prepare_task(guest);
    const std::uint64_t gate = 0x0000'8500'0058'0000;
    std::memcpy(guest_memory.idt + std::size_t{13} * 8, &gate, sizeof gate);
    guest.control.intercepts1 |= intercept1::task_switch;
    guest.control.inject = injected(event_exception, 13, 0x1230);
    REQUIRE_EQ(guest.run(), ExitCode::TaskSwitch);
    EXPECT_EQ(guest.control.exit_info1 & 0xffff, selector::second_tss);
    EXPECT_EQ(guest.control.exit_info2 & (by_iret | by_jump | with_error), with_error);
    EXPECT_EQ(guest.control.exit_info2 & 0xffff'ffff, 0x1230);
    EXPECT_EQ(guest.control.exit_interrupt, injected(event_exception, 13, 0x1230));
}

CHECK(group, "task-switch-not-intercepted", "APM 2, 15.14.1, 12.4") {
    Guest guest(Mode::Protected32, jump_to_task);
    prepare_task(guest);
    run_to(guest, in_task);
    EXPECT_EQ(guest.save.rax & 0xffff'ffff, 0x7a5c);
    EXPECT_EQ(guest.save.tr.selector, selector::second_tss);
    EXPECT((guest.save.cr0 & cr0::ts) != 0);
}

CHECK(group, "task-switch-is-no-write-of-cr3", "APM 2, 15.9, table 15-7: not checked by task switches") {
    Guest guest(Mode::Paged32, jump_to_task);
    prepare_task(guest);
    guest.control.cr_writes = 1 << 3;
    run_to(guest, in_task);
}

CHECK(group, "busy-tss", "APM 2, 15.5.1: of TR's type only 16 or 32 bits matter; LTR leaves it busy") {
    Guest guest(Mode::Paged32, int32);
    guest.save.tr.attributes |= 2;
    guest.save.cpl = 3;
    guest.save.cs.selector = selector::user_code32;
    guest.save.cs.attributes |= attributes::user;
    for (auto* segment : {&guest.save.ss, &guest.save.ds, &guest.save.es}) {
        segment->selector = selector::user_data;
        segment->attributes |= attributes::user;
    }
    guest.run_to_handler(0x42);
    EXPECT_EQ(guest.save.cpl, 0);
}

} // namespace

} // namespace escalus::nested::svm
