// SPDX-License-Identifier: GPL-2.0-or-later
// Accesses to control and debug registers.
#include "test/nested/guests/control_registers_code.hpp"
#include "test/nested/svm/guest.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-cr-dr", "accesses to control and debug registers", vendor};

/// MOV from or to a control or debug register: 0F 20..23 /r, with REX for the upper eight of either.
Code move(unsigned opcode, unsigned special, unsigned general) {
    return assemble(
        {0x40 | (special >> 3) << 2 | general >> 3, 0x0f, opcode, 0xc0 | (special & 7) << 3 | (general & 7)});
}
constexpr unsigned read_cr = 0x20, read_dr = 0x21, write_cr = 0x22, write_dr = 0x23, move_bytes = 4;

struct Register {
    NumberedName name;
    unsigned number;
};
constexpr Register control_registers[] = {
    {{"cr", 0}, 0}, {{"cr", 2}, 2}, {{"cr", 3}, 3}, {{"cr", 4}, 4}, {{"cr", 8}, 8}};

/// What may be written to CR n without a change.
std::uint64_t harmless_value(const Guest& guest, unsigned number) {
    switch (number) {
    case 0:
        return guest.save.cr0;
    case 3:
        return guest.save.cr3;
    case 4:
        return guest.save.cr4;
    default:
        return 5;
    }
}

FAMILY(group, "read-taken-", control_registers, "APM 2, 15.9, table 15-7") {
    Guest guest(move(read_cr, row.number, abi::rcx));
    guest.control.cr_reads = static_cast<std::uint16_t>(1u << row.number);
    guest.set(abi::rcx, 0x77);
    const auto rip = guest.save.rip;
    EXPECT_EQ(guest.run(), number(ExitCode::ReadCr0) + row.number);
    EXPECT_EQ(guest.save.rip, rip);
    EXPECT_EQ(guest.r(abi::rcx), 0x77);
}

FAMILY(group, "write-taken-", control_registers, "APM 2, 15.9, table 15-7") {
    Guest guest(move(write_cr, row.number, abi::rcx));
    guest.control.cr_writes = static_cast<std::uint16_t>(1u << row.number);
    guest.set(abi::rcx, harmless_value(guest, row.number));
    const auto rip = guest.save.rip;
    EXPECT_EQ(guest.run(), number(ExitCode::WriteCr0) + row.number);
    EXPECT_EQ(guest.save.rip, rip);
}

FAMILY(group, "read-not-taken-", control_registers, "APM 2, 15.9, table 15-7") {
    Guest guest(move(read_cr, row.number, abi::rcx));
    guest.control.cr_reads = static_cast<std::uint16_t>(~(1u << row.number));
    guest.control.cr_writes = 0xffff;
    guest.save.cr2 = 5;
    guest.control.interrupt_control |= 5; // V_TPR
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rcx), harmless_value(guest, row.number));
}

FAMILY(group, "write-not-taken-", control_registers, "APM 2, 15.9, table 15-7") {
    Guest guest(move(write_cr, row.number, abi::rcx));
    guest.control.cr_writes = static_cast<std::uint16_t>(~(1u << row.number));
    guest.control.cr_reads = 0xffff;
    const auto value = harmless_value(guest, row.number);
    guest.set(abi::rcx, value);
    guest.run_to_end();
    const std::uint64_t now[] = {guest.save.cr0,
                                 0,
                                 guest.save.cr2,
                                 guest.save.cr3,
                                 guest.save.cr4,
                                 0,
                                 0,
                                 0,
                                 guest.control.interrupt_control & interrupt_control::tpr_mask};
    EXPECT_EQ(now[row.number], value);
}

template <unsigned count>
struct Registers {
    Register rows[count]{};
    constexpr explicit Registers(const char* stem) {
        for (unsigned i = 0; i < count; ++i)
            rows[i] = {{stem, i}, i};
    }
};
constexpr Registers<16> general{"r"};
constexpr Registers<8> debug{"dr"};
constexpr const auto& general_registers = general.rows;
constexpr const auto& debug_registers = debug.rows;

FAMILY(group, "read-cr3-into-", general_registers, "APM 2, 15.8.1") {
    if (!has(feature::decode_assists))
        skip("no decode assists");
    Guest guest(move(read_cr, 3, row.number));
    guest.control.cr_reads = 1 << 3;
    REQUIRE_EQ(guest.run(), number(ExitCode::ReadCr0) + 3);
    EXPECT_EQ(guest.control.exit_info1, 1ull << 63 | row.number);
}

FAMILY(group, "write-cr8-from-", general_registers, "APM 2, 15.8.1") {
    if (!has(feature::decode_assists))
        skip("no decode assists");
    Guest guest(move(write_cr, 8, row.number));
    guest.control.cr_writes = 1 << 8;
    for (auto& value : guest.gprs.r)
        value = 3;
    guest.save.rax = 3;
    if (row.number == abi::rsp)
        guest.save.rsp = 3;
    REQUIRE_EQ(guest.run(), number(ExitCode::WriteCr0) + 8);
    EXPECT_EQ(guest.control.exit_info1, 1ull << 63 | row.number);
}

FAMILY(group, "write-dr0-from-", general_registers, "APM 2, 15.8.1") {
    if (!has(feature::decode_assists))
        skip("no decode assists");
    Guest guest(move(write_dr, 0, row.number));
    guest.control.dr_writes = 1;
    REQUIRE_EQ(guest.run(), number(ExitCode::ReadDr0) + 16);
    EXPECT_EQ(guest.control.exit_info1, row.number);
}

GUEST_CODE(use_mov_to_cr0, 64, "mov %rcx, %cr0");

CHECK(group, "clts-is-a-write-of-cr0", "APM 2, 15.9, table 15-7") {
    Guest guest(use_clts);
    guest.control.cr_writes = 1;
    EXPECT_EQ(guest.run(), ExitCode::WriteCr0);
}
CHECK(group, "lmsw-is-a-write-of-cr0", "APM 2, 15.9, table 15-7") {
    Guest guest(use_lmsw);
    guest.set(abi::rcx, guest.save.cr0);
    guest.control.cr_writes = 1;
    EXPECT_EQ(guest.run(), ExitCode::WriteCr0);
}
CHECK(group, "smsw-is-a-read-of-cr0", "APM 2, 15.9, table 15-7") {
    Guest guest(use_smsw);
    guest.control.cr_reads = 1;
    EXPECT_EQ(guest.run(), ExitCode::ReadCr0);
}
CHECK(group, "smsw-has-no-register-number", "APM 2, 15.8.1: EXITINFO1[63] is 1 for MOV only") {
    if (!has(feature::decode_assists))
        skip("no decode assists");
    Guest guest(use_smsw);
    guest.control.cr_reads = 1;
    REQUIRE_EQ(guest.run(), ExitCode::ReadCr0);
    EXPECT_EQ(guest.control.exit_info1 >> 63, 0);
}

/// The selective intercept: any write of CR0 that changes bits other than TS and MP.
struct Selective {
    const char* name;
    Code code;
    std::uint64_t flip;
    bool taken;
};
constexpr Selective selective[] = {{"mov-ts", use_mov_to_cr0, cr0::ts, false},
                                   {"mov-mp", use_mov_to_cr0, cr0::mp, false},
                                   {"mov-same", use_mov_to_cr0, 0, false},
                                   {"mov-am", use_mov_to_cr0, cr0::am, true},
                                   {"mov-wp", use_mov_to_cr0, cr0::wp, true},
                                   {"mov-ne", use_mov_to_cr0, cr0::ne, true},
                                   {"mov-cd", use_mov_to_cr0, cr0::cd, true},
                                   {"mov-em", use_mov_to_cr0, cr0::em, true},
                                   {"clts", use_clts, 0, false}};

FAMILY(group, "selective-", selective, "APM 2, 15.9, table 15-7: selective CR0 write intercept") {
    Guest guest(row.code);
    guest.control.intercepts1 |= intercept1::cr0_selective;
    guest.set(abi::rcx, guest.save.cr0 ^ row.flip);
    if (!row.taken) {
        guest.run_to_end();
        return;
    }
    EXPECT_EQ(guest.run(), ExitCode::Cr0Selective);
}

CHECK(group, "write-before-selective", "APM 2, 15.9, table 15-7: the CR0 write intercept has priority") {
    Guest guest(use_mov_to_cr0);
    guest.control.intercepts1 |= intercept1::cr0_selective;
    guest.control.cr_writes = 1;
    guest.set(abi::rcx, guest.save.cr0 ^ cr0::am);
    EXPECT_EQ(guest.run(), ExitCode::WriteCr0);
}

FAMILY(group, "read-taken-", debug_registers, "APM 2, 15.9, table 15-7") {
    Guest guest(move(read_dr, row.number, abi::rcx));
    guest.control.dr_reads = static_cast<std::uint16_t>(1u << row.number);
    guest.set(abi::rcx, 0x77);
    EXPECT_EQ(guest.run(), number(ExitCode::ReadDr0) + row.number);
    EXPECT_EQ(guest.r(abi::rcx), 0x77);
}

FAMILY(group, "write-taken-", debug_registers, "APM 2, 15.9, table 15-7") {
    Guest guest(move(write_dr, row.number, abi::rcx));
    guest.control.dr_writes = static_cast<std::uint16_t>(1u << row.number);
    guest.set(abi::rcx, 0x400);
    EXPECT_EQ(guest.run(), number(ExitCode::ReadDr0) + 16 + row.number);
}

FAMILY(group, "read-not-taken-", debug_registers, "APM 2, 15.9, table 15-7") {
    Guest guest(move(read_dr, row.number, abi::rcx));
    // DR4 and DR5 are DR6 and DR7 while CR4.DE is clear; which intercept bit they have is not said.
    const unsigned alias = row.number == 4 || row.number == 5 ? row.number + 2 : row.number;
    guest.control.dr_reads = static_cast<std::uint16_t>(~(1u << row.number | 1u << alias));
    guest.control.dr_writes = 0xffff;
    guest.run_to_end();
    if (alias == 6)
        EXPECT_EQ(guest.r(abi::rcx), guest.save.dr6);
    if (alias == 7)
        EXPECT_EQ(guest.r(abi::rcx), guest.save.dr7);
}

FAMILY(group, "write-not-taken-", debug_registers, "APM 2, 15.9, table 15-7") {
    Guest guest(move(write_dr, row.number, abi::rcx));
    const unsigned alias = row.number == 4 || row.number == 5 ? row.number + 2 : row.number;
    guest.control.dr_writes = static_cast<std::uint16_t>(~(1u << row.number | 1u << alias));
    guest.control.dr_reads = 0xffff;
    guest.set(abi::rcx, alias == 6 ? 0xffff0ff1 : alias == 7 ? 0x700 : 0x1000);
    guest.run_to_end();
    if (alias == 6)
        EXPECT_EQ(guest.save.dr6, 0xffff0ff1);
    if (alias == 7)
        EXPECT_EQ(guest.save.dr7, 0x700);
}

struct Written {
    const char* name;
    std::uint64_t value;
};
constexpr Written bad_cr4[] = {
    {"reserved-bit", 1ull << 31}, {"upper-half", 1ull << 40}, {"pae-cleared", cr4::pae}};

FAMILY(group, "bad-cr4-faults-first-", bad_cr4,
       "APM 2, 15.9, table 15-7: illegal values are checked before the intercept") {
    Guest guest(move(write_cr, 4, abi::rcx));
    guest.control.cr_writes = 1 << 4;
    guest.set(abi::rcx, guest.save.cr4 ^ row.value);
    guest.run_to_handler(13);
}

CHECK(group, "general-detect-comes-first", "APM 2, 15.9, table 15-7; 13.1.1.4: DR7.GD") {
    Guest guest(move(read_dr, 0, abi::rcx));
    guest.save.dr7 |= 1 << 13;
    guest.control.dr_reads = 1;
    guest.run_to_handler(1);
}

} // namespace

} // namespace escalus::nested::svm
