// SPDX-License-Identifier: GPL-2.0-or-later
// Exceptions that guests raise: they exit when the exception bitmap asks for it, with what a handler would be
// told, and are delivered when not.
#include "test/nested/guests/exceptions_code.hpp"
#include "test/nested/vmx/guest.hpp"

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-exceptions", "exceptions exit when asked, and are else delivered", vendor};

constexpr std::uint64_t unmapped = 1ull << 40, not_canonical = 1ull << 60;
constexpr unsigned no_error = ~0u;

struct Exception {
    const char* name;
    unsigned vector;
    Mode mode;
    Code code;
    const char* at; ///< null: the first instruction
    unsigned error; ///< or no_error
    void (*prepare)(Guest&);
    unsigned after = 0; ///< a handler's return address is so far behind `at`
};

constexpr Exception exceptions[] = {
    {"de", 0, Mode::Long, divide, divide_at, no_error, nullptr},
    {"db", 1, Mode::Long, trap_flag, trap_flag_at, no_error, nullptr},
    {"bp", 3, Mode::Long, breakpoint, nullptr, no_error, nullptr, 1},
    {"of", 4, Mode::Protected32, overflow, overflow_at, no_error, nullptr, 1},
    {"br", 5, Mode::Protected32, bound, nullptr, no_error,
     [](Guest& guest) {
         guest.set(abi::rax, 5);
         guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(guest_memory.data)); // from 0 to 0
     }},
    {"ud", 6, Mode::Long, undefined, nullptr, no_error, nullptr},
    {"nm", 7, Mode::Long, no_device, nullptr, no_error, [](Guest&) { set_bits(Field::GuestCr0, cr0::ts); }},
    {"ts", 10, Mode::Protected32, bad_task, nullptr, 0x58,
     [](Guest&) { guest_memory.gdt[selector::second_tss / 8] &= ~0xffffull; }}, // limit
    {"np", 11, Mode::Long, no_segment, nullptr, selector::spare,
     [](Guest& guest) {
         guest_memory.gdt[selector::spare / 8] = guest_memory.gdt[selector::data32 / 8] & ~(1ull << 47);
         guest.set(abi::rcx, selector::spare);
     }},
    {"ss", 12, Mode::Long, stack_address, nullptr, 0,
     [](Guest& guest) { guest.set(abi::rbp, not_canonical); }},
    {"gp", 13, Mode::Long, protection, nullptr, 0, [](Guest& guest) { guest.set(abi::rdi, not_canonical); }},
    {"pf", 14, Mode::Long, page_read, nullptr, 0, [](Guest& guest) { guest.set(abi::rdi, unmapped); }},
    {"mf", 16, Mode::Long, floating_point, floating_point_at, no_error, nullptr},
    {"ac", 17, Mode::Long, alignment, nullptr, 0,
     [](Guest& guest) {
         Guest::to_user();
         set_bits(Field::GuestCr0, cr0::am);
         set_bits(Field::GuestRflags, 1 << 18);
         guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(guest_memory.data) + 1);
     }},
    {"xf", 19, Mode::Long, simd, simd_at, no_error, nullptr},
};

Guest raising(const Exception& row) {
    Guest guest(row.mode, row.code);
    if (row.prepare != nullptr)
        row.prepare(guest);
    return guest;
}
std::uint64_t address_of(const Exception& row) {
    return reinterpret_cast<std::uint64_t>(row.at != nullptr ? row.at : row.code.start);
}
bool is_software(const Exception& row) {
    return row.vector == 3 || row.vector == 4;
}

FAMILY(group, "taken-", exceptions, "SDM 3C, 25.2, 27.2.2, table 24-17") {
    Guest guest = raising(row);
    write(Field::ExceptionBitmap, 1u << row.vector);
    const auto rsp = read(Field::GuestRsp);
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    const auto type = is_software(row) ? event::software_exception : event::hardware_exception;
    const bool has_error = row.error != no_error;
    EXPECT_EQ(read(Field::ExitEvent), event_of(type, row.vector) | (has_error ? event::error_valid : 0));
    EXPECT_EQ(rip(), address_of(row));
    EXPECT_EQ(read(Field::GuestRsp), rsp);
    EXPECT_EQ(read(Field::VectoringEvent) & event::valid, 0);
    if (has_error)
        EXPECT_EQ(read(Field::ExitErrorCode), row.error);
    if (is_software(row))
        EXPECT_EQ(read(Field::ExitInstructionLength), 1);
}

FAMILY(group, "delivered-", exceptions, "SDM 3C, 25.2") {
    Guest guest = raising(row);
    write(Field::ExceptionBitmap, 0xffff'ffff & ~(1u << row.vector));
    guest.run_to_handler(row.vector);
    const bool has_error = row.error != no_error;
    if (row.mode == Mode::Long) {
        const auto* frame = Guest::frame();
        if (has_error)
            EXPECT_EQ(*frame++, row.error);
        EXPECT_EQ(frame[0], address_of(row) + row.after);
    } else {
        const auto* frame = reinterpret_cast<const std::uint32_t*>(Guest::frame());
        if (has_error)
            EXPECT_EQ(*frame++, row.error);
        EXPECT_EQ(frame[0], address_of(row) + row.after);
    }
}

/// What a page fault says, taken or delivered.

constexpr std::uint64_t present = 1, writable = 2, user = 4, no_execute = 1ull << 63;
struct PageFault {
    const char* name;
    Code code;
    std::uint64_t entry; ///< bits of the page's entry in the guest's table
    bool from_user;
    std::uint64_t error;
};
constexpr PageFault page_faults[] = {
    {"read-absent", page_read, 0, false, 0},
    {"write-absent", page_write, 0, false, 2},
    {"fetch-absent", page_fetch, 0, false, 0x10},
    {"user-read-absent", page_read, 0, true, 4},
    {"user-write-absent", page_write, 0, true, 6},
    {"user-fetch-absent", page_fetch, 0, true, 0x14},
    {"write-read-only", page_write, present | user, false, 3},
    {"user-write-read-only", page_write, present | user, true, 7},
    {"user-read-supervisor", page_read, present | writable, true, 5},
    {"user-write-supervisor", page_write, present | writable, true, 7},
    {"fetch-no-execute", page_fetch, present | writable | user | no_execute, false, 0x11},
    {"user-fetch-no-execute", page_fetch, present | writable | user | no_execute, true, 0x15},
    {"read-reserved", page_read, present | writable | user | 1ull << 51, false, 9},
    {"write-reserved", page_write, present | writable | user | 1ull << 51, false, 0xb},
};

Guest faulting(const PageFault& row) {
    Guest guest(row.code);
    if (capabilities.physical_bits > 51 && (row.entry & 1ull << 51) != 0)
        skip("all address bits are in use");
    if (row.from_user)
        Guest::to_user();
    const auto page = reinterpret_cast<std::uint64_t>(guest_memory.data);
    // Splits what maps the page, then spoils the entry.
    REQUIRE(guest_memory.paging.map(GuestPhys{page}, HostPhys{page}, page_size,
                                    abi::map_read | abi::map_write | abi::map_execute));
    *guest_memory.paging.find(GuestPhys{page}).entry = page | row.entry;
    guest.set(abi::rdi, page + 0x123);
    vmm::write_cr2(0x77);
    return guest;
}

FAMILY(group, "page-fault-taken-", page_faults, "SDM 3C, 25.2, 27.2.1, 27.2.2") {
    Guest guest = faulting(row);
    write(Field::ExceptionBitmap, 1 << 14);
    const auto start = rip();
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(read(Field::ExitEvent), event_of(event::hardware_exception, 14) | event::error_valid);
    EXPECT_EQ(read(Field::ExitErrorCode), row.error);
    EXPECT_EQ(qualification(), guest.r(abi::rdi));
    EXPECT_EQ(rip(), row.code.start == page_fetch.start ? guest.r(abi::rdi) : start);
    EXPECT_EQ(vmm::read_cr2(), 0x77); // 27.1: not changed by an exit
}

FAMILY(group, "page-fault-delivered-", page_faults, "SDM 3C, 25.2; SDM 3A, 4.7, 6.15") {
    Guest guest = faulting(row);
    guest.run_to_handler(14);
    EXPECT_EQ(Guest::frame()[0], row.error);
    EXPECT_EQ(vmm::read_cr2(), guest.r(abi::rdi));
}

/// The mask and the match: equality lets the bitmap's bit decide, and inequality its opposite.
struct Match {
    const char* name;
    const PageFault* fault;
    bool bit;
    std::uint32_t mask, match;
    bool taken;
};
constexpr const PageFault &read_absent = page_faults[0], &user_write = page_faults[4];
constexpr Match matches[] = {{"bit-equal", &read_absent, true, 0, 0, true},
                             {"bit-unequal", &read_absent, true, 0, 1, false},
                             {"no-bit-equal", &read_absent, false, 0, 0, false},
                             {"no-bit-unequal", &read_absent, false, 0, 1, true},
                             {"bit-present-only-absent", &read_absent, true, 1, 1, false},
                             {"no-bit-present-only-absent", &read_absent, false, 1, 1, true},
                             {"bit-writes-only-read", &read_absent, true, 2, 2, false},
                             {"bit-writes-only-write", &user_write, true, 2, 2, true},
                             {"no-bit-writes-only-write", &user_write, false, 2, 2, false},
                             {"bit-user-only-user", &user_write, true, 4, 4, true},
                             {"bit-user-and-write", &user_write, true, 6, 6, true},
                             {"bit-supervisor-only-user", &user_write, true, 4, 0, false},
                             {"all-bits", &user_write, true, 0xffff'ffff, 6, true},
                             {"all-bits-unequal", &user_write, true, 0xffff'ffff, 7, false}};
FAMILY(group, "page-fault-mask-", matches, "SDM 3C, 25.2, 24.6.3") {
    Guest guest = faulting(*row.fault);
    write(Field::ExceptionBitmap, row.bit ? 1 << 14 : 0);
    write(Field::FaultMask, row.mask);
    write(Field::FaultMatch, row.match);
    if (row.taken)
        EXPECT_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    else
        guest.run_to_handler(14);
}

GUEST_CODE(software_page_fault, 64, "int $14");

struct NotAnException {
    const char* name;
    Code code;
    unsigned vector;
};
constexpr NotAnException not_exceptions[] = {{"int-3-long-form", software_breakpoint, 3},
                                             {"int-4", software_overflow, 4},
                                             {"int-13", software_protection, 13},
                                             {"int-14", software_page_fault, 14}};

FAMILY(group, "not-checked-by-", not_exceptions,
       "SDM 3C, 25.2: INT n causes no exit by the exception bitmap") {
    Guest guest(row.code);
    write(Field::ExceptionBitmap, 0xffff'ffff);
    REQUIRE_EQ(guest.run(), ExitReason::Hlt);
    EXPECT_EQ(guest.handler(), row.vector);
}

CHECK(group, "icebp-taken", "SDM 3C, 25.2, 27.2.2: a privileged software exception") {
    Guest guest(icebp);
    write(Field::ExceptionBitmap, 1 << 1);
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(read(Field::ExitEvent), event_of(event::privileged_exception, 1));
    EXPECT_EQ(read(Field::ExitInstructionLength), 1);
}
CHECK(group, "icebp-delivered", "SDM 3C, 25.2") {
    Guest guest(icebp);
    const auto start = rip();
    guest.run_to_handler(1);
    EXPECT_EQ(Guest::frame()[0], start + 1);
}
CHECK(group, "breakpoint-gate-is-not-looked-at", "SDM 3C, 25.2: the exit comes before delivery") {
    Guest guest(breakpoint);
    Guest::to_user();
    guest_memory.idt[3 * 16 + 5] = 0x8e; // DPL 0: a delivery would fault
    write(Field::ExceptionBitmap, 1 << 3);
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(read(Field::ExitEvent), event_of(event::software_exception, 3));
}

// Debug exceptions: the qualification is as DR6 would be, and DR6 and DR7 are not changed by the exit.

CHECK(group, "single-step-s-qualification", "SDM 3C, 27.2.1, table 27-1") {
    Guest guest = raising(exceptions[1]);
    write(Field::ExceptionBitmap, 1 << 1);
    const auto dr6 = vmm::read_dr6();
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(qualification(), 1 << 14);
    EXPECT_EQ(vmm::read_dr6(), dr6);
}
CHECK(group, "single-step-delivered-writes-dr6", "SDM 3B, 17.2.3") {
    Guest guest = raising(exceptions[1]);
    guest.run_to_handler(1);
    EXPECT((vmm::read_dr6() & 1 << 14) != 0);
}
CHECK(group, "hardware-breakpoint-on-code", "SDM 3C, 27.2.1, table 27-1; 26.3.2.1") {
    Guest guest(divide);
    vmm::write_dr0(reinterpret_cast<std::uint64_t>(divide_at)); // DR0 to DR3 are not switched
    write(Field::GuestDr7, 0x402);
    write(Field::ExceptionBitmap, 1 << 1);
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(rip(), reinterpret_cast<std::uint64_t>(divide_at));
    EXPECT_EQ(qualification(), 1);
}
CHECK(group, "hardware-breakpoint-on-data", "SDM 3C, 27.2.1, table 27-1: a trap, after the instruction") {
    Guest guest(page_write);
    const auto data = reinterpret_cast<std::uint64_t>(guest_memory.data);
    vmm::write_dr1(data);
    write(Field::GuestDr7, 0x400 | 1 << 3 | 0xdull << 20); // G1, write, 4 bytes
    guest.set(abi::rdi, data);
    guest.set(abi::rax, 0x5566);
    write(Field::ExceptionBitmap, 1 << 1);
    const auto start = rip();
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(rip(), start + 2);
    EXPECT_EQ(qualification(), 2);
    EXPECT_EQ(guest_memory.data[0] | guest_memory.data[1] << 8, 0x5566);
}
GUEST_CODE(read_dr0, 64, "mov %dr0, %rcx");
CHECK(group, "general-detect-s-qualification", "SDM 3C, 27.2.1, table 27-1: bit 13") {
    Guest guest(read_dr0);
    set_bits(Field::GuestDr7, 1 << 13);
    write(Field::ExceptionBitmap, 1 << 1);
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(qualification(), 1 << 13);
    EXPECT((read(Field::GuestDr7) & 1 << 13) != 0); // GD is as it was
}
CHECK(group, "single-step-at-entry",
      "SDM 3C, 26.6.3: a pending single step comes before the first instruction") {
    Guest guest(undefined);
    set_bits(Field::GuestRflags, rflags::tf);
    write(Field::GuestPendingDebug, pending_debug::single_step);
    write(Field::ExceptionBitmap, 1 << 1);
    const auto start = rip();
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(read(Field::ExitEvent), event_of(event::hardware_exception, 1));
    EXPECT_EQ(rip(), start);
    EXPECT_EQ(qualification(), 1 << 14);
}
CHECK(group, "pending-breakpoint-at-entry", "SDM 3C, 26.6.3: bits 3:0 with bit 12") {
    Guest guest(undefined);
    write(Field::GuestPendingDebug, 1 << 12 | 2);
    write(Field::ExceptionBitmap, 1 << 1);
    const auto start = rip();
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(rip(), start);
    EXPECT_EQ(qualification() & 0xf, 2);
}
CHECK(group, "pending-debug-is-over", "SDM 3C, 27.3.4: cleared when the exit is that exception") {
    Guest guest(undefined);
    set_bits(Field::GuestRflags, rflags::tf);
    write(Field::GuestPendingDebug, pending_debug::single_step);
    guest.run_to_handler(1);
    EXPECT_EQ(read(Field::GuestPendingDebug), 0);
}
CHECK(group, "data-breakpoint-held-by-mov-ss", "SDM 3C, 27.3.4: saved in the pending debug exceptions") {
    Guest guest(assemble({0x8e, 0x17, 0x0f, 0x01, 0xc1})); // mov (%rdi), %ss; vmcall
    const auto data = reinterpret_cast<std::uint64_t>(guest_memory.data);
    const std::uint16_t selector = selector::data32;
    __builtin_memcpy(guest_memory.data, &selector, sizeof selector);
    vmm::write_dr1(data);
    write(Field::GuestDr7, 0x400 | 1 << 3 | 0x7ull << 20); // G1, read and write, 2 bytes
    guest.set(abi::rdi, data);
    REQUIRE_EQ(guest.run(), ExitReason::Vmcall);
    EXPECT_EQ(read(Field::GuestInterruptibility) & blocking::mov_ss, blocking::mov_ss);
    EXPECT_EQ(read(Field::GuestPendingDebug), 1 << 12 | 2);
}

CHECK(group, "mf-has-written-the-status", "SDM 1, 8.7: the x87's state is shared") {
    Guest guest = raising(exceptions[12]);
    write(Field::ExceptionBitmap, 1 << 16);
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    std::uint16_t status = 0;
    asm volatile("fnstsw %0; fninit" : "=a"(status));
    EXPECT((status & 4) != 0); // zero divide
}

// A handler at CPL 3 whose stack is misaligned: the delivery of #AC raises #AC without end, and no interrupt
// gets in, unless the first exits.

CHECK(group, "alignment-loop-is-left", "SDM 3C, 25.2, 27.2.3; CVE-2015-5307") {
    Guest guest(Mode::Paged32, alignment32);
    Guest::to_user();
    write(nth(Field::GuestEs, 1), selector::user_code32);
    set_bits(Field::GuestCr0, cr0::am);
    set_bits(Field::GuestRflags, 1 << 18);
    write(Field::GuestRsp, read(Field::GuestRsp) - 2);
    const std::uint16_t code = selector::user_code32;
    __builtin_memcpy(guest_memory.idt + std::size_t{17} * 8 + 2, &code, sizeof code);
    guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(guest_memory.data) + 1);
    write(Field::ExceptionBitmap, 1 << 17);
    const auto alignment_check = event_of(event::hardware_exception, 17) | event::error_valid;
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(read(Field::ExitEvent), alignment_check);
    EXPECT_EQ(read(Field::VectoringEvent) & event::valid, 0);
    for (unsigned i = 0; i < 3; ++i) {
        inject(event::hardware_exception, 17, 0);
        REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
        EXPECT_EQ(read(Field::ExitEvent), alignment_check);
        EXPECT_EQ(read(Field::VectoringEvent), alignment_check);
    }
}

// The stack on which #DB is delivered has a breakpoint, so that each delivery raises #DB again, unless it
// exits.
CHECK(group, "debug-loop-is-left", "SDM 3C, 25.2, 27.2.3; CVE-2015-8104") {
    Guest guest(undefined);
    set_bits(Field::GuestRflags, rflags::tf);
    write(Field::GuestPendingDebug, pending_debug::single_step);
    write(Field::ExceptionBitmap, 1 << 1);
    for (unsigned i = 0; i < 3; ++i) {
        REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
        EXPECT_EQ(read(Field::ExitEvent), event_of(event::hardware_exception, 1));
        // Given to the guest, whose stack is watched: the frame's write is the next trap.
        vmm::write_dr0((read(Field::GuestRsp) & ~15ull) - 8);
        write(Field::GuestDr7, 0x402 | 1 << 16 | 2ull << 18); // G0, write, 8 bytes
        write(Field::GuestPendingDebug, 0);
        clear_bits(Field::GuestRflags, rflags::tf);
        inject(event::hardware_exception, 1);
    }
}

} // namespace

} // namespace escalus::nested::vmx
