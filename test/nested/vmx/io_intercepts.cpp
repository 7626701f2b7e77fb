// SPDX-License-Identifier: GPL-2.0-or-later
// IN, OUT, INS and OUTS: what the exit qualification says of each form, and the edges of the I/O bitmaps.
#include "test/nested/guests/io_code.hpp"
#include "test/nested/vmx/guest.hpp"

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-io", "port accesses and the I/O bitmaps", vendor};

/// Exit qualification: table 27-5.
namespace io {
constexpr std::uint64_t size8 = 0, size16 = 1, size32 = 3, in = 8, string = 16, rep = 32, immediate = 64;
} // namespace io
constexpr std::uint16_t port = 0x80, other_port = 0xfff0;

void intercept(Guest& guest, unsigned number) {
    need_primary(primary::port_bitmaps);
    guest.io_bitmaps[number / 8] = static_cast<std::uint8_t>(guest.io_bitmaps[number / 8] | 1u << number % 8);
}

struct Form {
    const char* name;
    Mode mode;
    Code code;
    unsigned length;
    std::uint64_t qualification;
};
using namespace io; // NOLINT(google-build-using-namespace): the last column
constexpr Form forms[] = {
    {"in8-imm", Mode::Long, in8_imm, 2, in | size8 | immediate},
    {"in16-imm", Mode::Long, in16_imm, 3, in | size16 | immediate},
    {"in32-imm", Mode::Long, in32_imm, 2, in | size32 | immediate},
    {"out8-imm", Mode::Long, out8_imm, 2, size8 | immediate},
    {"out16-imm", Mode::Long, out16_imm, 3, size16 | immediate},
    {"out32-imm", Mode::Long, out32_imm, 2, size32 | immediate},
    {"in8-dx", Mode::Long, in8_dx, 1, in | size8},
    {"in16-dx", Mode::Long, in16_dx, 2, in | size16},
    {"in32-dx", Mode::Long, in32_dx, 1, in | size32},
    {"out8-dx", Mode::Long, out8_dx, 1, size8},
    {"out16-dx", Mode::Long, out16_dx, 2, size16},
    {"out32-dx", Mode::Long, out32_dx, 1, size32},
    {"insb", Mode::Long, insb_64, 1, in | size8 | io::string},
    {"insw", Mode::Long, insw_64, 2, in | size16 | io::string},
    {"insl", Mode::Long, insl_64, 1, in | size32 | io::string},
    {"outsb", Mode::Long, outsb_64, 1, size8 | io::string},
    {"outsw", Mode::Long, outsw_64, 2, size16 | io::string},
    {"outsl", Mode::Long, outsl_64, 1, size32 | io::string},
    {"rep-insb", Mode::Long, rep_insb_64, 2, in | size8 | io::string | rep},
    {"rep-insw", Mode::Long, rep_insw_64, 3, in | size16 | io::string | rep},
    {"rep-insl", Mode::Long, rep_insl_64, 2, in | size32 | io::string | rep},
    {"rep-outsb", Mode::Long, rep_outsb_64, 2, size8 | io::string | rep},
    {"rep-outsw", Mode::Long, rep_outsw_64, 3, size16 | io::string | rep},
    {"rep-outsl", Mode::Long, rep_outsl_64, 2, size32 | io::string | rep},
    {"insb-addr32", Mode::Long, insb_a32, 2, in | size8 | io::string},
    {"outsb-addr32", Mode::Long, outsb_a32, 2, size8 | io::string},
    {"real-insb", Mode::Real, insb_16, 1, in | size8 | io::string},
    {"real-outsb", Mode::Real, outsb_16, 1, size8 | io::string},
    {"real-rep-insw", Mode::Real, rep_insw_16, 2, in | size16 | io::string | rep},
    {"real-insl", Mode::Real, insl_16, 2, in | size32 | io::string},
    {"real-in8", Mode::Real, in8_16, 2, in | size8 | immediate},
    {"real-in32", Mode::Real, in32_16, 2, in | size32},
    {"protected16-in8", Mode::Protected16, in8_16, 2, in | size8 | immediate},
    {"protected32-insb", Mode::Protected32, insb_32, 1, in | size8 | io::string},
    {"protected32-outsw", Mode::Protected32, outsw_32, 2, size16 | io::string},
    {"compatibility-in8", Mode::Compatibility, in8_32, 1, in | size8},
    {"v8086-in8", Mode::Virtual8086, in8_16, 2, in | size8 | immediate},
    {"v8086-insb", Mode::Virtual8086, insb_16, 1, in | size8 | io::string},
};

void set_up(Guest& guest) {
    guest.set(abi::rdx, port);
    guest.set(abi::rcx, 7);
    guest.set(abi::rsi, 0x100);
    guest.set(abi::rdi, 0x100);
    guest.set(abi::rax, 0xabcd'ef01);
}

void expect_exit(Guest& guest, const Form& row) {
    const auto before = rip();
    REQUIRE_EQ(guest.run(), ExitReason::Io);
    EXPECT_EQ(qualification(), row.qualification | port << 16);
    EXPECT_EQ(read(Field::ExitInstructionLength), row.length);
    EXPECT_EQ(rip(), before);
    EXPECT_EQ(guest.r(abi::rax), 0xabcd'ef01);
    EXPECT_EQ(guest.r(abi::rcx), 7);
    EXPECT_EQ(guest.r(abi::rsi), 0x100);
    EXPECT_EQ(guest.r(abi::rdi), 0x100);
}

FAMILY(group, "form-", forms, "SDM 3C, 25.1.3, table 27-5: by the bitmap") {
    Guest guest(row.mode, row.code);
    intercept(guest, port);
    set_up(guest);
    expect_exit(guest, row);
}
FAMILY(group, "all-ports-", forms, "SDM 3C, 25.1.3, table 27-5: by unconditional I/O exiting") {
    Guest guest(row.mode, row.code);
    need_primary(primary::all_ports);
    clear_bits(Field::PrimaryControls, primary::port_bitmaps);
    set_up(guest);
    expect_exit(guest, row);
}

/// The operands of INS and OUTS: table 27-8. Segment registers in the order of instruction encodings.
struct Operand {
    const char* name;
    Mode mode;
    Code code;
    unsigned segment, address_size;
};
constexpr Operand operands[] = {{"insb-es", Mode::Long, insb_64, 0, 2},
                                {"outsb-ds", Mode::Long, outsb_64, 3, 2},
                                {"outsb-fs", Mode::Long, outsb_fs, 4, 2},
                                {"outsb-gs", Mode::Long, outsb_gs, 5, 2},
                                {"insb-addr32", Mode::Long, insb_a32, 0, 1},
                                {"outsb-addr32", Mode::Long, outsb_a32, 3, 1},
                                {"real-insb-es", Mode::Real, insb_16, 0, 0},
                                {"real-outsb-ds", Mode::Real, outsb_16, 3, 0},
                                {"real-outsb-es", Mode::Real, outsb_es_16, 0, 0},
                                {"protected32-insb", Mode::Protected32, insb_32, 0, 1},
                                {"protected32-outsw", Mode::Protected32, outsw_32, 3, 1}};

bool reports_operands() {
    return (capabilities.basic >> 54 & 1) != 0;
}

FAMILY(group, "operand-", operands, "SDM 3C, 27.2.4, table 27-8") {
    if (!reports_operands())
        skip("this CPU does not report the operands of INS and OUTS");
    Guest guest(row.mode, row.code);
    intercept(guest, port);
    set_up(guest);
    REQUIRE_EQ(guest.run(), ExitReason::Io);
    const auto info = read(Field::ExitInstructionInfo);
    EXPECT_EQ(info >> 7 & 7, row.address_size);
    if ((qualification() & io::in) == 0) // undefined for INS, which has no choice
        EXPECT_EQ(info >> 15 & 7, row.segment);
}

struct Linear {
    const char* name;
    Mode mode;
    Code code;
    std::uint64_t base;
};
constexpr Linear linears[] = {{"insb", Mode::Long, insb_64, 0},
                              {"outsb", Mode::Long, outsb_64, 0},
                              {"real-insb", Mode::Real, insb_16, 0x40000},
                              {"real-outsb", Mode::Real, outsb_16, 0x40000},
                              {"protected32-insb", Mode::Protected32, insb_32, 0}};
FAMILY(group, "linear-address-of-", linears, "SDM 3C, 27.2.1: segment base plus offset") {
    Guest guest(row.mode, row.code);
    intercept(guest, port);
    set_up(guest);
    REQUIRE_EQ(guest.run(), ExitReason::Io);
    EXPECT_EQ(read(Field::GuestLinear), row.base + 0x100);
}
CHECK(group, "linear-address-has-the-segment-s-base", "SDM 3C, 27.2.1") {
    Guest guest(outsb_gs);
    intercept(guest, port);
    set_up(guest);
    write(nth(Field::GuestEsBase, 5), 0x1234'5000'0000);
    REQUIRE_EQ(guest.run(), ExitReason::Io);
    EXPECT_EQ(read(Field::GuestLinear), 0x1234'5000'0100);
}

/// A bit of the bitmaps and an access near it.
struct Edge {
    const char* name;
    Code code;
    unsigned port, bit;
    bool taken;
};
constexpr Edge edges[] = {
    {"8-at-bit-0", in8_dx, 0, 0, true},
    {"8-below-bit", in8_dx, 0x7f, 0x80, false},
    {"8-above-bit", in8_dx, 0x81, 0x80, false},
    {"8-byte-end", in8_dx, 7, 7, true},
    {"8-next-byte", in8_dx, 8, 8, true},
    {"8-end-of-a", in8_dx, 0x7fff, 0x7fff, true},
    {"8-end-of-a-not-start-of-b", in8_dx, 0x7fff, 0x8000, false},
    {"8-start-of-b", in8_dx, 0x8000, 0x8000, true},
    {"8-start-of-b-not-end-of-a", in8_dx, 0x8000, 0x7fff, false},
    {"8-last", in8_dx, 0xffff, 0xffff, true},
    {"16-first-byte", in16_dx, 0x80, 0x80, true},
    {"16-second-byte", in16_dx, 0x80, 0x81, true},
    {"16-beyond", in16_dx, 0x80, 0x82, false},
    {"16-before", in16_dx, 0x80, 0x7f, false},
    {"16-over-byte", in16_dx, 0x87, 0x88, true},
    {"16-over-a-and-b", in16_dx, 0x7fff, 0x8000, true},
    {"16-over-a-and-b-first", in16_dx, 0x7fff, 0x7fff, true},
    {"32-first-byte", in32_dx, 0x80, 0x80, true},
    {"32-second-byte", in32_dx, 0x80, 0x81, true},
    {"32-third-byte", in32_dx, 0x80, 0x82, true},
    {"32-fourth-byte", in32_dx, 0x80, 0x83, true},
    {"32-beyond", in32_dx, 0x80, 0x84, false},
    {"32-over-byte", in32_dx, 0x85, 0x88, true},
    {"32-over-a-and-b", in32_dx, 0x7ffd, 0x8000, true},
    {"out-8-at-bit", out8_dx, 0xf3, 0xf3, true},
    {"out-8-not-at-bit", out8_dx, 0xf2, 0xf3, false},
    {"out-16-second-byte", out16_dx, 0xf2, 0xf3, true},
    {"out-32-fourth-byte", out32_dx, 0xf0, 0xf3, true},
};

FAMILY(group, "bitmap-", edges, "SDM 3C, 24.6.4, 25.1.3") {
    Guest guest(row.code);
    intercept(guest, row.bit);
    guest.set(abi::rdx, row.port);
    if (!row.taken) {
        guest.run_to_end();
        return;
    }
    REQUIRE_EQ(guest.run(), ExitReason::Io);
    EXPECT_EQ(qualification() >> 16 & 0xffff, row.port);
}

/// An access that wraps around the 16-bit I/O address space exits whatever the bitmaps say.
constexpr Edge wraps[] = {
    {"16-at-ffff", in16_dx, 0xffff, 0, true},  {"32-at-ffff", in32_dx, 0xffff, 0, true},
    {"32-at-fffe", in32_dx, 0xfffe, 0, true},  {"32-at-fffd", in32_dx, 0xfffd, 0, true},
    {"16-at-fffe", in16_dx, 0xfffe, 0, false}, {"32-at-fffc", in32_dx, 0xfffc, 0, false}};
FAMILY(group, "wrap-", wraps, "SDM 3C, 25.1.3: an access that wraps around causes an exit") {
    Guest guest(row.code);
    need_primary(primary::port_bitmaps);
    guest.set(abi::rdx, row.port);
    if (row.taken)
        EXPECT_EQ(guest.run(), ExitReason::Io);
    else
        guest.run_to_end();
}

CHECK(group, "bitmaps-before-unconditional",
      "SDM 3C, table 24-6: with bitmaps, unconditional exiting is ignored") {
    Guest guest(in8_imm);
    need_primary(primary::port_bitmaps);
    need_primary(primary::all_ports);
    guest.run_to_end();
}
CHECK(group, "not-taken-without-controls", "SDM 3C, 25.1.3") {
    Guest guest(in8_imm);
    intercept(guest, port);
    clear_bits(Field::PrimaryControls, primary::port_bitmaps | primary::all_ports);
    guest.run_to_end();
}
CHECK(group, "every-other-port-intercepted", "SDM 3C, 24.6.4") {
    Guest guest(in8_imm);
    need_primary(primary::port_bitmaps);
    for (unsigned i = 0; i < 2 * page_size; ++i)
        guest.io_bitmaps[i] = 0xff;
    guest.io_bitmaps[port / 8] = static_cast<std::uint8_t>(~(1u << port % 8));
    guest.run_to_end();
}
CHECK(group, "bitmap-is-read-anew", "SDM 3C, 24.6.4: the bitmaps are in memory") {
    Guest guest(in8_dx);
    guest.set(abi::rdx, other_port);
    const auto start = rip();
    guest.run_to_end();
    intercept(guest, other_port);
    write(Field::GuestRip, start);
    EXPECT_EQ(guest.run(), ExitReason::Io);
}
CHECK(group, "iopl-fault-first", "SDM 3C, 25.1.1: #GP by the I/O permission bits comes first") {
    Guest guest(in8_imm);
    Guest::to_user();
    guest_memory.tss[0x68 + port / 8] = 0xff;
    intercept(guest, port);
    guest.run_to_handler(13);
}
CHECK(group, "tss-bitmap-allows", "SDM 3C, 25.1.1") {
    Guest guest(in8_imm);
    Guest::to_user();
    intercept(guest, port);
    EXPECT_EQ(guest.run(), ExitReason::Io);
}
CHECK(group, "exit-before-memory-fault",
      "SDM 3C, 25.1.1: the exit does not depend on the operand in memory") {
    Guest guest(insb_64);
    guest.set(abi::rdx, port);
    guest.set(abi::rdi, 1ull << 40); // not mapped by the guest
    intercept(guest, port);
    EXPECT_EQ(guest.run(), ExitReason::Io);
}
CHECK(group, "rep-resumed-by-the-monitor", "SDM 3C, 27.2.4: RIP plus the length is the next instruction") {
    Guest guest(rep_insb_64);
    intercept(guest, port);
    guest.set(abi::rdx, port);
    guest.set(abi::rcx, 100);
    REQUIRE_EQ(guest.run(), ExitReason::Io);
    Guest::skip();
    guest.set(abi::rcx, 0);
    guest.run_to_end();
}
CHECK(group, "rep-of-none", "SDM 2, REP: nothing is accessed when RCX is 0") {
    Guest guest(rep_insb_64);
    guest.set(abi::rdx, port);
    guest.set(abi::rcx, 0);
    guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(guest_memory.data));
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rdi), reinterpret_cast<std::uint64_t>(guest_memory.data));
}
GUEST_CODE(in_then_in, 64, "inb %dx, %al; inb %dx, %al");
CHECK(group, "each-access-exits", "SDM 3C, 25.1.3") {
    Guest guest(in_then_in);
    intercept(guest, port);
    guest.set(abi::rdx, port);
    for (unsigned i = 0; i < 2; ++i) {
        REQUIRE_EQ(guest.run(), ExitReason::Io);
        Guest::skip();
    }
    guest.run_to_end();
}

} // namespace

} // namespace escalus::nested::vmx
