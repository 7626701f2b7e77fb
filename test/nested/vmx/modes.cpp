// SPDX-License-Identifier: GPL-2.0-or-later
// Guests in every processor mode, and their own ways from one to another.
#include "test/nested/framework/memory.hpp"
#include "test/nested/guests/modes_code.hpp"
#include "test/nested/vmx/guest.hpp"

#include <cstring>

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-modes", "processor modes and transitions inside a guest", vendor};

GUEST_CODE(vmcall16, 16, "vmcall");
GUEST_CODE(vmcall32, 32, "vmcall");
GUEST_CODE(vmcall64, 64, "vmcall");

struct Start {
    const char* name;
    Mode mode;
    Code store, call, interrupt;
};
constexpr Start starts[] = {{"real", Mode::Real, store16, vmcall16, int16},
                            {"protected16", Mode::Protected16, store16, vmcall16, int16},
                            {"protected32", Mode::Protected32, store32, vmcall32, int32},
                            {"paged32", Mode::Paged32, store32, vmcall32, int32},
                            {"pae", Mode::Pae, store32, vmcall32, int32},
                            {"long", Mode::Long, store64, vmcall64, int64},
                            {"compatibility", Mode::Compatibility, store32, vmcall32, int32},
                            {"v8086", Mode::Virtual8086, store16, vmcall16, int16}};

std::uint64_t data_page() {
    return reinterpret_cast<std::uint64_t>(guest_memory.data);
}
bool is_v8086(const Start& row) {
    return row.mode == Mode::Virtual8086;
}

FAMILY(group, "stores-in-", starts, "SDM 3C, 26.3.2, 25.6") {
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

FAMILY(group, "state-in-", starts, "SDM 3C, 26.3.2, 27.3: the mode is unchanged after an exit") {
    Guest guest(row.mode, row.call);
    constexpr Field kept[] = {Field::GuestCr0,
                              Field::GuestCr4,
                              Field::GuestEfer,
                              Field::GuestRip,
                              Field::GuestRflags,
                              nth(Field::GuestEsBase, 1),
                              nth(Field::GuestEsRights, 1),
                              nth(Field::GuestEsRights, 2),
                              Field::EntryControls};
    std::uint64_t before[std::size(kept)];
    for (unsigned i = 0; i < std::size(kept); ++i)
        before[i] = read(kept[i]);
    REQUIRE_EQ(guest.run(), ExitReason::Vmcall);
    for (unsigned i = 0; i < std::size(kept); ++i)
        EXPECT_EQ(read(kept[i]), before[i]);
}

FAMILY(group, "interrupt-and-return-in-", starts, "SDM 3A, 6.12, 6.14, 20.1.4") {
    Guest guest(row.mode, row.interrupt);
    guest.run_to_handler(0x42);
    Guest::skip();
    if (is_v8086(row)) {
        guest.run_to_handler(13); // the HLT
    } else {
        guest.run_to_end();
    }
    EXPECT_EQ(guest.r(abi::rax) & 0xff, 7);
}

CHECK(group, "unreal", "SDM 3C, 26.3.2.2, 25.6: limits stay what they were loaded with") {
    Guest guest(Mode::Unreal, store_high16);
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
    EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(guest_memory.data), 0x1234'5678);
    EXPECT_EQ(read(nth(Field::GuestEsLimit, 3)), 0xffff'ffff);
}

CHECK(group, "real-mode-limit", "SDM 3A, 5.3, 20.1: an offset beyond 64 KiB raises #GP") {
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
    if (!EXPECT_EQ(read(Field::ExitReason), ExitReason::Hlt) ||
        !EXPECT_EQ(read(nth(Field::GuestEsBase, 1)) + rip(), end))
        fail("the guest did not arrive");
}

CHECK(group, "real-to-protected32", "SDM 3A, 9.9.1; 3C, 25.6") {
    Guest guest(Mode::Real, real_to_protected);
    prepare_jump(selector::code32, reinterpret_cast<std::uint64_t>(arrived32.start));
    guest.set(abi::rsi, data_page());
    run_to(guest, arrived32);
    EXPECT((read(Field::GuestCr0) & cr0::pe) != 0);
    EXPECT_EQ(read(nth(Field::GuestEs, 1)), selector::code32);
    EXPECT((read(nth(Field::GuestEsRights, 1)) & rights::size_32) != 0);
    EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(guest_memory.data), 0x3232);
}

CHECK(group, "protected32-to-long", "SDM 3A, 9.8.5; 3C, 27.3.1") {
    Guest guest(Mode::Protected32, protected_to_long);
    auto* pointer = guest_memory.data;
    const auto offset = static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(arrived64.start));
    const std::uint16_t selector = selector::code64;
    std::memcpy(pointer, &offset, sizeof offset);
    std::memcpy(pointer + 4, &selector, sizeof selector);
    guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(pointer));
    guest.set(abi::rsi, raw(guest_memory.paging.root()));
    run_to(guest, arrived64);
    EXPECT_EQ(read(Field::GuestEfer) & (efer::lme | efer::lma), efer::lme | efer::lma);
    EXPECT((read(nth(Field::GuestEsRights, 1)) & rights::long_mode) != 0);
    EXPECT((read(Field::EntryControls) & entry_control::long_mode) != 0); // 27.3.1: it follows LMA
    EXPECT_EQ(guest.r(abi::rax), 0x6464'6464'6464'6464);
}

CHECK(group, "long-to-compatibility", "SDM 3A, 5.8.1") {
    Guest guest(long_to_compatibility);
    const auto offset = static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(arrived32.start));
    const std::uint16_t selector = selector::code32;
    std::memcpy(guest_memory.data, &offset, sizeof offset);
    std::memcpy(guest_memory.data + 4, &selector, sizeof selector);
    guest.set(abi::rdi, data_page());
    guest.set(abi::rsi, data_page() + 64);
    run_to(guest, arrived32);
    EXPECT((read(Field::GuestEfer) & efer::lma) != 0);
    EXPECT_EQ(read(nth(Field::GuestEsRights, 1)) & (rights::long_mode | rights::size_32), rights::size_32);
}

CHECK(group, "compatibility-to-protected32", "SDM 3A, 9.8.5.4") {
    Guest guest(Mode::Compatibility, leave_long);
    run_to(guest, leave_long);
    EXPECT_EQ(read(Field::GuestCr0) & cr0::pg, 0);
    EXPECT_EQ(read(Field::GuestEfer) & (efer::lme | efer::lma), 0);
}

CHECK(group, "protected16-to-real", "SDM 3A, 9.9.2; 3C, 25.6") {
    Guest guest(Mode::Protected16, protected_to_real);
    guest.run();
    EXPECT(read(Field::ExitReason) == number(ExitReason::Hlt));
    EXPECT_EQ(read(Field::GuestCr0) & cr0::pe, 0);
    EXPECT_EQ(read(nth(Field::GuestEs, 1)), 0x2000);
    EXPECT_EQ(*reinterpret_cast<const std::uint16_t*>(low_data + 0x200), 0x5151);
}

CHECK(group, "paging-turned-on", "SDM 3A, 4.1.2") {
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

CHECK(group, "protected32-to-v8086", "SDM 3B, 20.2.5") {
    Guest guest(Mode::Paged32, iret_to_v8086);
    auto* low = reinterpret_cast<char*>(std::uint64_t{low_code});
    std::memcpy(low, in_v8086.start, in_v8086.bytes());
    const std::uint32_t frame[] = {0, low_code >> 4, 0x23002, 0xfff0, 0x3000, 0x4000, 0x4000, 0, 0};
    const auto stack = read(Field::GuestRsp) - sizeof frame;
    write(Field::GuestRsp, stack);
    std::memcpy(reinterpret_cast<void*>(stack), frame, sizeof frame);
    guest.run_to_handler(13); // its HLT
    EXPECT_EQ(guest.r(abi::rax) & 0xffff, 0x8086);
}

CHECK(group, "syscall-from-user", "SDM 2, SYSCALL") {
    Guest guest(system_call);
    Guest::to_user();
    vmm::write_msr(msr::star, std::uint64_t{selector::code64} << 32);
    vmm::write_msr(msr::lstar, reinterpret_cast<std::uint64_t>(guest_done));
    vmm::write_msr(msr::sfmask, 0x200);
    const auto start = rip();
    REQUIRE_EQ(guest.run(), ExitReason::Hlt);
    EXPECT_EQ(rip(), reinterpret_cast<std::uint64_t>(guest_done));
    EXPECT_EQ(read(nth(Field::GuestEsRights, 2)) >> rights::dpl_shift & 3, 0);
    EXPECT_EQ(guest.r(abi::rcx), start + 2);
}

CHECK(group, "sysenter", "SDM 2, SYSENTER") {
    Guest guest(Mode::Protected32, system_enter);
    write(Field::GuestSysenterCs, selector::code32);
    write(Field::GuestSysenterEsp, 0x1234'5670);
    write(Field::GuestSysenterEip, reinterpret_cast<std::uint64_t>(guest_handlers32));
    // SS is the descriptor after that of CS.
    guest.run_to_handler(0);
    EXPECT_EQ(read(Field::GuestRsp), 0x1234'5670);
}

// Task switches always exit: table 27-2.

GUEST_CODE(jump_to_task, 32, "ljmp $0x58, $0");
GUEST_CODE(return_to_task, 32, "pushfl; orl $0x4000, (%esp); popfl; iret_to_task: iretl");
GUEST_CODE(int_to_task, 32, "int $0x42");
GUEST_LABEL(iret_to_task);

constexpr std::uint64_t by_call = 0ull << 30, by_iret = 1ull << 30, by_jump = 2ull << 30,
                        by_gate = 3ull << 30;
constexpr std::uint64_t gate_to_second_task = 0x0000'8500'0058'0000;
struct Task {
    const char* name;
    Code code;
    std::uint64_t source;
    unsigned length;
};
constexpr Task tasks[] = {{"jump", jump_to_task, by_jump, 7},
                          {"call", call_task, by_call, 7},
                          {"jump-to-gate", jump_to_gate, by_jump, 7}};
FAMILY(group, "task-switch-by-", tasks, "SDM 3C, 25.4.2, 27.2.1, table 27-2") {
    Guest guest(Mode::Protected32, row.code);
    guest_memory.gdt[selector::task_gate / 8] = gate_to_second_task;
    const auto start = rip();
    REQUIRE_EQ(guest.run(), ExitReason::TaskSwitch);
    EXPECT_EQ(qualification(), selector::second_tss | row.source);
    EXPECT_EQ(read(nth(Field::GuestEs, 7)), selector::tss);
    EXPECT_EQ(read(Field::ExitInstructionLength), row.length);
    EXPECT_EQ(rip(), start);
    EXPECT_EQ(read(Field::VectoringEvent) & event::valid, 0);
}
CHECK(group, "task-switch-by-iret", "SDM 3C, 25.4.2, table 27-2: source 1, to the back link") {
    Guest guest(Mode::Protected32, return_to_task);
    const std::uint16_t link = selector::second_tss;
    std::memcpy(guest_memory.tss, &link, sizeof link);
    guest_memory.gdt[selector::second_tss / 8] |= 1ull << 41; // busy
    REQUIRE_EQ(guest.run(), ExitReason::TaskSwitch);
    EXPECT_EQ(qualification(), selector::second_tss | by_iret);
    EXPECT_EQ(rip(), reinterpret_cast<std::uint64_t>(iret_to_task));
    EXPECT_EQ(read(Field::ExitInstructionLength), 1);
}
CHECK(group, "task-switch-by-int-n", "SDM 3C, 25.4.2, 27.2.3, table 27-2: a task gate in the IDT") {
    Guest guest(Mode::Protected32, int_to_task);
    constexpr std::uint64_t gate = gate_to_second_task | 0x60ull << 40;
    std::memcpy(guest_memory.idt + std::size_t{0x42} * 8, &gate, sizeof gate);
    REQUIRE_EQ(guest.run(), ExitReason::TaskSwitch);
    EXPECT_EQ(qualification(), selector::second_tss | by_gate);
    EXPECT_EQ(read(Field::VectoringEvent), event_of(event::software_interrupt, 0x42));
    EXPECT_EQ(read(Field::ExitInstructionLength), 2);
}
CHECK(group, "task-switch-by-exception-has-its-error-code", "SDM 3C, 25.4.2, 27.2.3") {
    Guest guest(Mode::Protected32, plain32);
    std::memcpy(guest_memory.idt + std::size_t{13} * 8, &gate_to_second_task, sizeof gate_to_second_task);
    inject(event::hardware_exception, 13, 0x1230);
    REQUIRE_EQ(guest.run(), ExitReason::TaskSwitch);
    EXPECT_EQ(qualification(), selector::second_tss | by_gate);
    EXPECT_EQ(read(Field::VectoringEvent), event_of(event::hardware_exception, 13) | event::error_valid);
    EXPECT_EQ(read(Field::VectoringErrorCode), 0x1230);
}
CHECK(group, "task-switch-to-an-absent-tss-faults-first", "SDM 3C, 25.4.2: #NP comes before the exit") {
    Guest guest(Mode::Protected32, jump_to_task);
    guest_memory.gdt[selector::second_tss / 8] &= ~(1ull << 47);
    guest.run_to_handler(11);
}
CHECK(group, "task-switch-to-a-busy-tss-faults-first", "SDM 3C, 25.4.2: #GP comes before the exit") {
    Guest guest(Mode::Protected32, jump_to_task);
    guest_memory.gdt[selector::second_tss / 8] |= 1ull << 41;
    guest.run_to_handler(13);
}

} // namespace

} // namespace escalus::nested::vmx
