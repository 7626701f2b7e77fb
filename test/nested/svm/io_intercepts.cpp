// SPDX-License-Identifier: GPL-2.0-or-later
// IN, OUT, INS and OUTS: what EXITINFO1 and 2 say of each form, and the edges of the I/O permissions map.
#include "test/nested/guests/io_code.hpp"
#include "test/nested/svm/guest.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-io", "port accesses and the I/O permissions map", vendor};

namespace io {
constexpr std::uint64_t in = 1, string = 4, rep = 8, size8 = 1 << 4, size16 = 1 << 5, size32 = 1 << 6,
                        address16 = 1 << 7, address32 = 1 << 8, address64 = 1 << 9;
constexpr std::uint64_t all = in | string | rep | size8 | size16 | size32 | 0xffff'0000;
} // namespace io
constexpr std::uint16_t port = 0x80, other_port = 0xfff0;

void intercept(Guest& guest, unsigned number) {
    guest.control.intercepts1 |= intercept1::ioio;
    guest.iopm[number / 8] = static_cast<std::uint8_t>(guest.iopm[number / 8] | 1u << number % 8);
}

struct Form {
    const char* name;
    Mode mode;
    Code code;
    unsigned length;
    std::uint64_t info;
};
using namespace io; // NOLINT(google-build-using-namespace): the last column
constexpr std::uint64_t str64 = io::string | address64, str32 = io::string | address32,
                        str16 = io::string | address16;
constexpr Form forms[] = {
    {"in8-imm", Mode::Long, in8_imm, 2, in | size8},
    {"in16-imm", Mode::Long, in16_imm, 3, in | size16},
    {"in32-imm", Mode::Long, in32_imm, 2, in | size32},
    {"out8-imm", Mode::Long, out8_imm, 2, size8},
    {"out16-imm", Mode::Long, out16_imm, 3, size16},
    {"out32-imm", Mode::Long, out32_imm, 2, size32},
    {"in8-dx", Mode::Long, in8_dx, 1, in | size8},
    {"in16-dx", Mode::Long, in16_dx, 2, in | size16},
    {"in32-dx", Mode::Long, in32_dx, 1, in | size32},
    {"out8-dx", Mode::Long, out8_dx, 1, size8},
    {"out16-dx", Mode::Long, out16_dx, 2, size16},
    {"out32-dx", Mode::Long, out32_dx, 1, size32},
    {"insb", Mode::Long, insb_64, 1, in | size8 | str64},
    {"insw", Mode::Long, insw_64, 2, in | size16 | str64},
    {"insl", Mode::Long, insl_64, 1, in | size32 | str64},
    {"outsb", Mode::Long, outsb_64, 1, size8 | str64},
    {"outsw", Mode::Long, outsw_64, 2, size16 | str64},
    {"outsl", Mode::Long, outsl_64, 1, size32 | str64},
    {"rep-insb", Mode::Long, rep_insb_64, 2, in | size8 | str64 | rep},
    {"rep-insw", Mode::Long, rep_insw_64, 3, in | size16 | str64 | rep},
    {"rep-insl", Mode::Long, rep_insl_64, 2, in | size32 | str64 | rep},
    {"rep-outsb", Mode::Long, rep_outsb_64, 2, size8 | str64 | rep},
    {"rep-outsw", Mode::Long, rep_outsw_64, 3, size16 | str64 | rep},
    {"rep-outsl", Mode::Long, rep_outsl_64, 2, size32 | str64 | rep},
    {"insb-addr32", Mode::Long, insb_a32, 2, in | size8 | str32},
    {"outsb-addr32", Mode::Long, outsb_a32, 2, size8 | str32},
    {"real-insb", Mode::Real, insb_16, 1, in | size8 | str16},
    {"real-outsb", Mode::Real, outsb_16, 1, size8 | str16},
    {"real-rep-insw", Mode::Real, rep_insw_16, 2, in | size16 | str16 | rep},
    {"real-insl", Mode::Real, insl_16, 2, in | size32 | str16},
    {"real-in8", Mode::Real, in8_16, 2, in | size8},
    {"real-in32", Mode::Real, in32_16, 2, in | size32},
    {"protected16-in8", Mode::Protected16, in8_16, 2, in | size8},
    {"protected32-insb", Mode::Protected32, insb_32, 1, in | size8 | str32},
    {"protected32-outsw", Mode::Protected32, outsw_32, 2, size16 | str32},
    {"compatibility-in8", Mode::Compatibility, in8_32, 1, in | size8},
    {"v8086-in8", Mode::Virtual8086, in8_16, 2, in | size8},
    {"v8086-insb", Mode::Virtual8086, insb_16, 1, in | size8 | str16},
};

FAMILY(group, "form-", forms, "APM 2, 15.10.2") {
    Guest guest(row.mode, row.code);
    intercept(guest, port);
    guest.set(abi::rdx, port);
    guest.set(abi::rcx, 7);
    guest.set(abi::rsi, 0x100);
    guest.set(abi::rdi, 0x100);
    guest.save.rax = 0xabcd'ef01;
    const auto rip = guest.save.rip;
    REQUIRE_EQ(guest.run(), ExitCode::Ioio);
    // Which address size a form without an address has is not said.
    const auto known = io::all | ((row.info & io::string) != 0 ? address16 | address32 | address64 : 0);
    EXPECT_EQ(guest.control.exit_info1 & known, row.info | port << 16);
    EXPECT_EQ(guest.control.exit_info2, rip + row.length);
    EXPECT_EQ(guest.save.rip, rip);
    EXPECT_EQ(guest.save.rax, 0xabcd'ef01);
    EXPECT_EQ(guest.r(abi::rcx), 7);
    EXPECT_EQ(guest.r(abi::rsi), 0x100);
    EXPECT_EQ(guest.r(abi::rdi), 0x100);
    if (has(feature::next_rip))
        EXPECT_EQ(guest.control.next_rip, rip + row.length);
}

/// Segment registers in the order of instruction encodings.
struct Segment {
    const char* name;
    Mode mode;
    Code code;
    unsigned segment;
};
constexpr Segment segments[] = {
    {"insb-es", Mode::Long, insb_64, 0},          {"outsb-ds", Mode::Long, outsb_64, 3},
    {"outsb-fs", Mode::Long, outsb_fs, 4},        {"outsb-gs", Mode::Long, outsb_gs, 5},
    {"real-insb-es", Mode::Real, insb_16, 0},     {"real-outsb-ds", Mode::Real, outsb_16, 3},
    {"real-outsb-es", Mode::Real, outsb_es_16, 0}};

FAMILY(group, "segment-", segments, "APM 2, 15.10.3") {
    if (!has(feature::decode_assists))
        skip("no decode assists");
    Guest guest(row.mode, row.code);
    intercept(guest, port);
    guest.set(abi::rdx, port);
    REQUIRE_EQ(guest.run(), ExitCode::Ioio);
    EXPECT_EQ(guest.control.exit_info1 >> 10 & 7, row.segment);
}

/// A bit of the map and an access near it.
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
    {"8-page-end", in8_dx, 0x7fff, 0x7fff, true},
    {"8-page-start", in8_dx, 0x8000, 0x8000, true},
    {"8-last", in8_dx, 0xffff, 0xffff, true},
    {"8-last-not-third-page", in8_dx, 0xffff, 0x10000, false},
    {"16-first-byte", in16_dx, 0x80, 0x80, true},
    {"16-second-byte", in16_dx, 0x80, 0x81, true},
    {"16-beyond", in16_dx, 0x80, 0x82, false},
    {"16-before", in16_dx, 0x80, 0x7f, false},
    {"16-over-byte", in16_dx, 0x87, 0x88, true},
    {"16-over-page", in16_dx, 0x7fff, 0x8000, true},
    {"16-over-end", in16_dx, 0xffff, 0x10000, true},
    {"32-first-byte", in32_dx, 0x80, 0x80, true},
    {"32-second-byte", in32_dx, 0x80, 0x81, true},
    {"32-third-byte", in32_dx, 0x80, 0x82, true},
    {"32-fourth-byte", in32_dx, 0x80, 0x83, true},
    {"32-beyond", in32_dx, 0x80, 0x84, false},
    {"32-over-byte", in32_dx, 0x85, 0x88, true},
    {"32-over-page", in32_dx, 0x7ffd, 0x8000, true},
    {"32-over-end-1", in32_dx, 0xffff, 0x10000, true},
    {"32-over-end-2", in32_dx, 0xffff, 0x10001, true},
    {"32-over-end-3", in32_dx, 0xffff, 0x10002, true},
    {"32-over-end-beyond", in32_dx, 0xfffd, 0x10001, false},
};

FAMILY(group, "map-", edges, "APM 2, 15.10.1") {
    Guest guest(row.code);
    intercept(guest, row.bit);
    guest.set(abi::rdx, row.port);
    if (!row.taken) {
        guest.run_to_end();
        return;
    }
    REQUIRE_EQ(guest.run(), ExitCode::Ioio);
    EXPECT_EQ(guest.control.exit_info1 >> 16 & 0xffff, row.port);
}

CHECK(group, "map-is-ignored-without-the-intercept", "APM 2, 15.10.2") {
    Guest guest(in8_imm);
    intercept(guest, port);
    guest.control.intercepts1 &= ~intercept1::ioio;
    guest.run_to_end();
}

CHECK(group, "every-other-port-intercepted", "APM 2, 15.10.1") {
    Guest guest(in8_imm);
    guest.control.intercepts1 |= intercept1::ioio;
    for (unsigned i = 0; i < iopm_pages * page_size; ++i)
        guest.iopm[i] = 0xff;
    guest.iopm[port / 8] = static_cast<std::uint8_t>(~(1u << port % 8));
    guest.run_to_end();
}

CHECK(group, "map-is-read-anew", "APM 2, 15.10.1: the map is in memory") {
    Guest guest(in8_dx);
    guest.set(abi::rdx, other_port);
    const auto rip = guest.save.rip;
    guest.control.intercepts1 |= intercept1::ioio;
    guest.run_to_end();
    intercept(guest, other_port);
    guest.save.rip = rip;
    EXPECT_EQ(guest.run(), ExitCode::Ioio);
}

CHECK(group, "low-bits-of-the-map-s-address-are-ignored", "APM 2, 15.10.1") {
    Guest guest(in8_imm);
    intercept(guest, port);
    guest.control.iopm |= 0x321;
    EXPECT_EQ(guest.run(), ExitCode::Ioio);
}

CHECK(group, "iopl-fault-first", "APM 2, 15.10.2: IOPL and the TSS bitmap are checked before") {
    Guest guest(in8_imm);
    guest.to_user();
    guest_memory.tss[0x68 + port / 8] = 0xff;
    intercept(guest, port);
    guest.run_to_handler(13);
}

CHECK(group, "tss-bitmap-allows", "APM 2, 15.10.2: IOPL and the TSS bitmap are checked before") {
    Guest guest(in8_imm);
    guest.to_user();
    intercept(guest, port);
    EXPECT_EQ(guest.run(), ExitCode::Ioio);
}

CHECK(group, "intercept-before-memory-fault", "APM 2, 15.10.2: other exceptions are checked after") {
    Guest guest(insb_64);
    guest.set(abi::rdx, port);
    guest.set(abi::rdi, 1ull << 40); // not mapped by the guest
    intercept(guest, port);
    EXPECT_EQ(guest.run(), ExitCode::Ioio);
}

CHECK(group, "rep-resumed-by-the-monitor", "APM 2, 15.10.2: EXITINFO2 is the following instruction") {
    Guest guest(rep_insb_64);
    intercept(guest, port);
    guest.set(abi::rdx, port);
    guest.set(abi::rcx, 100);
    REQUIRE_EQ(guest.run(), ExitCode::Ioio);
    guest.save.rip = guest.control.exit_info2;
    guest.set(abi::rcx, 0);
    guest.run_to_end();
}

CHECK(group, "rep-of-none", "APM 2, 15.10.2; APM 3, 1.2.6: nothing is accessed when rCX is 0") {
    Guest guest(rep_insb_64);
    guest.set(abi::rdx, port);
    guest.set(abi::rcx, 0);
    guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(guest_memory.data));
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rdi), reinterpret_cast<std::uint64_t>(guest_memory.data));
}

} // namespace

} // namespace escalus::nested::svm
