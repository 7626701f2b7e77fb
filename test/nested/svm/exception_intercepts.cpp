// SPDX-License-Identifier: GPL-2.0-or-later
// Exceptions that guests raise: intercepted when asked, with what a handler would be told, delivered when
// not.
#include "test/nested/guests/exceptions_code.hpp"
#include "test/nested/svm/guest.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-exceptions", "exceptions are intercepted when asked, and else delivered", vendor};

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
         guest.save.rax = 5;
         guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(guest_memory.data)); // from 0 to 0
     }},
    {"ud", 6, Mode::Long, undefined, nullptr, no_error, nullptr},
    {"nm", 7, Mode::Long, no_device, nullptr, no_error, [](Guest& guest) { guest.save.cr0 |= cr0::ts; }},
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
         guest.to_user();
         guest.save.cr0 |= cr0::am;
         guest.save.rflags |= 1 << 18;
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

FAMILY(group, "taken-", exceptions, "APM 2, 15.12") {
    Guest guest = raising(row);
    guest.control.exceptions = 1u << row.vector;
    const auto rsp = guest.save.rsp;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + row.vector);
    EXPECT_EQ(guest.save.rip, address_of(row));
    EXPECT_EQ(guest.save.rsp, rsp);
    EXPECT_EQ(guest.control.exit_interrupt & event::valid, 0);
    if (row.error != no_error && row.vector != 10) // that of #TS is undefined: 15.12.11
        EXPECT_EQ(guest.control.exit_info1, row.error);
}

FAMILY(group, "delivered-", exceptions, "APM 2, 15.12; 8.2") {
    Guest guest = raising(row);
    guest.control.exceptions = 0xffff'ffff & ~(1u << row.vector);
    guest.run_to_handler(row.vector);
    const bool has_error = row.error != no_error;
    if (row.mode == Mode::Long) {
        const auto* frame = guest.frame();
        if (has_error)
            EXPECT_EQ(*frame++, row.error);
        EXPECT_EQ(frame[0], address_of(row) + row.after);
    } else {
        const auto* frame = reinterpret_cast<const std::uint32_t*>(guest.frame());
        if (has_error)
            EXPECT_EQ(*frame++, row.error);
        EXPECT_EQ(frame[0], address_of(row) + row.after);
    }
}

/// What an intercepted or delivered page fault says.

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
    if (physical_bits() > 51 && (row.entry & 1ull << 51) != 0)
        skip("all address bits are in use");
    if (row.from_user)
        guest.to_user();
    const auto page = reinterpret_cast<std::uint64_t>(guest_memory.data);
    // Splits what maps the page, then spoils the entry.
    REQUIRE(guest_memory.paging.map(GuestPhys{page}, HostPhys{page}, page_size,
                                    abi::map_read | abi::map_write | abi::map_execute));
    *guest_memory.paging.find(GuestPhys{page}).entry = page | row.entry;
    guest.set(abi::rdi, page + 0x123);
    guest.save.cr2 = 0x77;
    return guest;
}

FAMILY(group, "page-fault-taken-", page_faults, "APM 2, 15.12.15, 8.4.2") {
    Guest guest = faulting(row);
    guest.control.exceptions = 1 << 14;
    const auto rip = guest.save.rip;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 14);
    EXPECT_EQ(guest.control.exit_info1, row.error);
    EXPECT_EQ(guest.control.exit_info2, guest.r(abi::rdi));
    EXPECT_EQ(guest.save.rip, row.code.start == page_fetch.start ? guest.r(abi::rdi) : rip);
}

FAMILY(group, "page-fault-delivered-", page_faults, "APM 2, 8.4.2, 8.2.15") {
    Guest guest = faulting(row);
    guest.run_to_handler(14);
    EXPECT_EQ(guest.frame()[0], row.error);
    EXPECT_EQ(guest.save.cr2, guest.r(abi::rdi));
}

CHECK(group, "page-fault-intercept-leaves-cr2", "APM 2, 15.12.15: tested before CR2 is written") {
    Guest guest = faulting(page_faults[0]);
    guest.control.exceptions = 1 << 14;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 14);
    EXPECT_EQ(guest.save.cr2, 0x77);
}

CHECK(group, "page-fault-has-the-instruction", "APM 2, 15.8.4") {
    if (!has(feature::decode_assists))
        skip("no decode assists");
    Guest guest = faulting(page_faults[1]);
    guest.control.exceptions = 1 << 14;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 14);
    EXPECT_EQ(guest.control.fetched, 15);
    EXPECT(__builtin_memcmp(guest.control.instruction, page_write.start, page_write.bytes()) == 0);
}

struct NotAnException {
    const char* name;
    Code code;
    unsigned vector;
};
constexpr NotAnException not_exceptions[] = {{"int-3-long-form", software_breakpoint, 3},
                                             {"int-4", software_overflow, 4},
                                             {"int-13", software_protection, 13},
                                             {"icebp", icebp, 1}};

FAMILY(group, "not-checked-by-", not_exceptions,
       "APM 2, 15.12: INTn and ICEBP do not check exception intercepts") {
    Guest guest(row.code);
    guest.control.exceptions = 0xffff'ffff;
    guest.run_to_handler(row.vector);
}

CHECK(group, "breakpoint-trap-s-dr6", "APM 2, 15.12.2: DR6 is written before the intercept") {
    Guest guest = raising(exceptions[1]);
    guest.control.exceptions = 1 << 1;
    REQUIRE_EQ(guest.run(), ExitCode::ExceptionDb);
    EXPECT((guest.save.dr6 & 1 << 14) != 0); // single step
}

CHECK(group, "hardware-breakpoint-on-code", "APM 2, 15.12.2; 13.1.2") {
    Guest guest(divide);
    vmm::write_dr0(reinterpret_cast<std::uint64_t>(divide_at)); // DR0 to DR3 are not switched by VMRUN
    guest.save.dr7 = 0x402;
    guest.control.exceptions = 1 << 1;
    REQUIRE_EQ(guest.run(), ExitCode::ExceptionDb);
    EXPECT_EQ(guest.save.rip, reinterpret_cast<std::uint64_t>(divide_at));
    EXPECT_EQ(guest.save.dr6 & 0xf, 1);
}

CHECK(group, "hardware-breakpoint-on-data", "APM 2, 15.7.1: the trap comes after the instruction") {
    Guest guest(page_write);
    const auto data = reinterpret_cast<std::uint64_t>(guest_memory.data);
    vmm::write_dr1(data);
    guest.save.dr7 = 0x400 | 1 << 3 | 0xdull << 20; // G1, write, 4 bytes
    guest.set(abi::rdi, data);
    guest.save.rax = 0x5566;
    guest.control.exceptions = 1 << 1;
    const auto rip = guest.save.rip;
    REQUIRE_EQ(guest.run(), ExitCode::ExceptionDb);
    EXPECT_EQ(guest.save.rip, rip + 2);
    EXPECT_EQ(guest.save.dr6 & 0xf, 2);
    EXPECT_EQ(guest_memory.data[0] | guest_memory.data[1] << 8, 0x5566);
}

CHECK(group, "mf-has-written-the-status", "APM 2, 15.12.16") {
    Guest guest = raising(exceptions[12]);
    guest.control.exceptions = 1 << 16;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 16);
    std::uint16_t status = 0;
    asm volatile("fnstsw %0; fninit" : "=a"(status));
    EXPECT((status & 4) != 0); // zero divide
}

// A handler at CPL 3 whose stack is misaligned: the delivery of #AC raises #AC without end, and no interrupt
// gets in, unless the first is intercepted.

CHECK(group, "alignment-loop-is-left", "APM 2, 15.12.17, 15.7.2; CVE-2015-5307") {
    Guest guest(Mode::Paged32, alignment32);
    guest.save.cs.selector = selector::user_code32;
    guest.save.cs.attributes |= attributes::user;
    for (auto* segment : {&guest.save.ss, &guest.save.ds, &guest.save.es}) {
        segment->selector = selector::user_data;
        segment->attributes |= attributes::user;
    }
    guest.save.cpl = 3;
    guest.save.cr0 |= cr0::am;
    guest.save.rflags |= 1 << 18;
    guest.save.rsp -= 2;
    const std::uint16_t code = selector::user_code32;
    __builtin_memcpy(guest_memory.idt + std::size_t{17} * 8 + 2, &code, sizeof code);
    guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(guest_memory.data) + 1);
    guest.control.exceptions = 1 << 17;
    REQUIRE_EQ(guest.run(), ExitCode::ExceptionAc);
    EXPECT_EQ(guest.control.exit_interrupt & event::valid, 0);
    for (unsigned i = 0; i < 3; ++i) {
        guest.control.inject = injected(event_exception, 17, 0);
        REQUIRE_EQ(guest.run(), ExitCode::ExceptionAc);
        EXPECT_EQ(guest.control.exit_interrupt, injected(event_exception, 17, 0));
    }
}

// A data breakpoint on the stack that the #DB handler's frame is written to: the same without end.
CHECK(group, "debug-loop-is-left", "APM 2, 15.12.2, 13.1.2; CVE-2015-8104") {
    Guest guest(protection);
    constexpr std::uint64_t frame_bytes = 40, any_slot = 16;
    guest.save.rsp &= ~15ull;
    guest.save.dr7 = 0x400 | 1 << 1 | 9ull << 16; // G0, write, 8 bytes
    guest.control.exceptions = 1 << 1;
    for (unsigned i = 0; i < 3; ++i) {
        vmm::write_dr0(guest.save.rsp - frame_bytes + any_slot);
        const auto rsp = guest.save.rsp;
        guest.control.inject = injected(event_exception, 1);
        REQUIRE_EQ(guest.run(), ExitCode::ExceptionDb);
        // The frame is written, the handler has not begun.
        EXPECT_EQ(guest.save.rip, reinterpret_cast<std::uint64_t>(guest_handlers64) + handler_bytes);
        guest.save.rsp = rsp;
    }
}

} // namespace

} // namespace escalus::nested::svm
