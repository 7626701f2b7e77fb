// SPDX-License-Identifier: GPL-2.0-or-later
// Accesses to control and debug registers: masks and shadows, CR3 targets, CR8 and the TPR, CLTS, LMSW, SMSW.
#include "test/nested/guests/control_registers_code.hpp"
#include "test/nested/vmx/guest.hpp"

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-cr-dr", "accesses to control and debug registers", vendor};

/// MOV from or to a control or debug register: 0F 20..23 /r, with REX for the upper eight of either.
Code move(unsigned opcode, unsigned special, unsigned general) {
    return assemble(
        {0x40 | (special >> 3) << 2 | general >> 3, 0x0f, opcode, 0xc0 | (special & 7) << 3 | (general & 7)});
}
constexpr unsigned read_cr = 0x20, read_dr = 0x21, write_cr = 0x22, write_dr = 0x23, move_bytes = 4;

/// Exit qualification for control-register accesses: table 27-3.
constexpr std::uint64_t to_cr = 0 << 4, from_cr = 1 << 4, by_clts = 2 << 4, by_lmsw = 3 << 4,
                        memory_operand = 1 << 6;
constexpr std::uint64_t qualified(unsigned cr, std::uint64_t kind, unsigned general) {
    return cr | kind | std::uint64_t{general} << 8;
}

struct Register {
    NumberedName name;
    unsigned number;
};
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

void expect_access(Guest& guest, std::uint64_t expected) {
    const auto before = rip();
    REQUIRE_EQ(guest.run(), ExitReason::CrAccess);
    EXPECT_EQ(qualification(), expected);
    EXPECT_EQ(rip(), before);
    EXPECT_EQ(read(Field::ExitInstructionLength), move_bytes);
}

FAMILY(group, "write-cr3-from-", general_registers, "SDM 3C, 25.1.3, table 27-3") {
    Guest guest(move(write_cr, 3, row.number));
    need_primary(primary::cr3_load);
    expect_access(guest, qualified(3, to_cr, row.number));
}
FAMILY(group, "read-cr3-into-", general_registers, "SDM 3C, 25.1.3, table 27-3") {
    Guest guest(move(read_cr, 3, row.number));
    need_primary(primary::cr3_store);
    for (auto& value : guest.gprs.r)
        value = 0x77;
    expect_access(guest, qualified(3, from_cr, row.number));
    if (row.number != abi::rsp)
        EXPECT_EQ(guest.gprs.r[row.number], 0x77);
}
FAMILY(group, "write-cr8-from-", general_registers, "SDM 3C, 25.1.3, table 27-3") {
    Guest guest(move(write_cr, 8, row.number));
    need_primary(primary::cr8_load);
    for (auto& value : guest.gprs.r)
        value = 3;
    expect_access(guest, qualified(8, to_cr, row.number));
}
FAMILY(group, "read-cr8-into-", general_registers, "SDM 3C, 25.1.3, table 27-3") {
    Guest guest(move(read_cr, 8, row.number));
    need_primary(primary::cr8_store);
    expect_access(guest, qualified(8, from_cr, row.number));
}
FAMILY(group, "write-cr4-from-", general_registers, "SDM 3C, 25.1.3, table 27-3") {
    Guest guest(move(write_cr, 4, row.number));
    const auto value = read(Field::Cr4Shadow) | cr4::vmxe;
    for (auto& r : guest.gprs.r)
        r = value;
    if (row.number == abi::rsp)
        write(Field::GuestRsp, value);
    expect_access(guest, qualified(4, to_cr, row.number));
}

// Masks and shadows.

/// A write of CR0 or CR4 whose value differs from the shadow in `flip`, with `mask` of the bits owned by root
/// mode.
struct Masked {
    const char* name;
    unsigned cr;
    std::uint64_t mask, flip;
    bool taken;
};
constexpr Masked masked[] = {
    {"cr0-same", 0, ~0ull, 0, false},
    {"cr0-ts-owned", 0, cr0::ts, cr0::ts, true},
    {"cr0-ts-not-owned", 0, ~cr0::ts, cr0::ts, false},
    {"cr0-am-owned", 0, cr0::am, cr0::am, true},
    {"cr0-am-not-owned", 0, ~cr0::am, cr0::am, false},
    {"cr0-wp-owned", 0, cr0::wp, cr0::wp, true},
    {"cr0-wp-not-owned", 0, ~cr0::wp, cr0::wp, false},
    {"cr0-mp-owned", 0, cr0::mp, cr0::mp, true},
    {"cr0-em-owned", 0, cr0::em, cr0::em, true},
    {"cr0-ne-owned", 0, cr0::ne, cr0::ne, true},
    {"cr0-cd-owned", 0, cr0::cd, cr0::cd, true},
    {"cr0-two-one-owned", 0, cr0::am, cr0::am | cr0::wp, true},
    {"cr4-same", 4, ~0ull, 0, false},
    {"cr4-pge-owned", 4, cr4::pge, cr4::pge, true},
    {"cr4-pge-not-owned", 4, ~cr4::pge, cr4::pge, false},
    {"cr4-tsd-owned", 4, 4, 4, true},
    {"cr4-tsd-not-owned", 4, ~4ull, 4, false},
    {"cr4-pse-owned", 4, cr4::pse, cr4::pse, true},
    {"cr4-vmxe-owned", 4, cr4::vmxe, cr4::vmxe, true},
    {"cr4-osfxsr-not-owned", 4, cr4::vmxe, cr4::osfxsr, false},
};
FAMILY(group, "mask-", masked, "SDM 3C, 25.1.3, 24.6.6") {
    Guest guest(move(write_cr, row.cr, abi::rcx));
    const bool is_cr0 = row.cr == 0;
    const Field real = is_cr0 ? Field::GuestCr0 : Field::GuestCr4,
                mask = is_cr0 ? Field::Cr0Mask : Field::Cr4Mask,
                shadow = is_cr0 ? Field::Cr0Shadow : Field::Cr4Shadow;
    // The shadow has what the guest knows of: the owned bits as they are, but for VMXE.
    const auto before = read(real), seen = before & ~(is_cr0 ? 0 : cr4::vmxe);
    const auto fixed = is_cr0 ? 0 : cr4::vmxe;
    write(mask, row.mask | fixed);
    write(shadow, seen);
    guest.set(abi::rcx, seen ^ row.flip);
    if (row.taken) {
        expect_access(guest, qualified(row.cr, to_cr, abi::rcx));
        EXPECT_EQ(read(real), before);
        return;
    }
    guest.run_to_end();
    EXPECT_EQ(read(real), before ^ row.flip);
    EXPECT_EQ(read(shadow), seen);
}

struct Shadowed {
    const char* name;
    unsigned cr;
    std::uint64_t mask, shadow;
};
constexpr Shadowed shadowed[] = {{"cr0-none", 0, 0, ~0ull},
                                 {"cr0-ts", 0, cr0::ts, cr0::ts},
                                 {"cr0-ts-clear", 0, cr0::ts, 0},
                                 {"cr0-wp-and-ne", 0, cr0::wp | cr0::ne, cr0::ne},
                                 {"cr0-all", 0, ~0ull, 0x8005'0033},
                                 {"cr4-vmxe-hidden", 4, cr4::vmxe, 0},
                                 {"cr4-pge", 4, cr4::vmxe | cr4::pge, cr4::pge},
                                 {"cr4-all", 4, ~0ull, 0x20}};
FAMILY(group, "shadow-", shadowed, "SDM 3C, 25.3: reads give the shadow's bits where the mask is set") {
    Guest guest(move(read_cr, row.cr, abi::rcx));
    const bool is_cr0 = row.cr == 0;
    write(is_cr0 ? Field::Cr0Mask : Field::Cr4Mask, row.mask);
    write(is_cr0 ? Field::Cr0Shadow : Field::Cr4Shadow, row.shadow);
    const auto real = read(is_cr0 ? Field::GuestCr0 : Field::GuestCr4);
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rcx), (real & ~row.mask) | (row.shadow & row.mask));
}

GUEST_CODE(use_lmsw_memory, 64, "lmsw (%rdi)");
GUEST_CODE(use_smsw_memory, 64, "smsw (%rdi)");

/// CLTS: exits when both the mask and the shadow have TS.
struct Clts {
    const char* name;
    bool mask, shadow, taken;
};
constexpr Clts clts_rows[] = {{"owned-and-seen", true, true, true},
                              {"owned-not-seen", true, false, false},
                              {"not-owned", false, true, false},
                              {"not-owned-not-seen", false, false, false}};
FAMILY(group, "clts-", clts_rows, "SDM 3C, 25.1.3, 25.3") {
    Guest guest(use_clts);
    set_bits(Field::GuestCr0, cr0::ts);
    write(Field::Cr0Mask, row.mask ? cr0::ts : 0);
    write(Field::Cr0Shadow, row.shadow ? cr0::ts : 0);
    if (row.taken) {
        REQUIRE_EQ(guest.run(), ExitReason::CrAccess);
        EXPECT_EQ(qualification(), by_clts);
        EXPECT_EQ(read(Field::ExitInstructionLength), 2);
        return;
    }
    guest.run_to_end();
    // With the mask set and the shadow clear nothing changes; else TS is cleared.
    EXPECT_EQ(read(Field::GuestCr0) & cr0::ts, row.mask ? cr0::ts : 0);
}

/// LMSW: exits when a bit of 3:0 that is owned would differ from the shadow; PE only when set.
struct Lmsw {
    const char* name;
    std::uint64_t mask, shadow;
    unsigned operand;
    bool taken;
};
constexpr Lmsw lmsw_rows[] = {{"ts-owned-differs", cr0::ts, 0, 0x9, true},
                              {"ts-owned-same", cr0::ts, cr0::ts, 0x9, false},
                              {"mp-owned-differs", cr0::mp, 0, 0x3, true},
                              {"em-owned-differs", cr0::em, 0, 0x5, true},
                              {"pe-owned-set", cr0::pe, 0, 0x1, true},
                              {"pe-owned-not-cleared", cr0::pe, cr0::pe, 0x0, false},
                              {"none-owned", 0, 0, 0xb, false},
                              {"only-higher-owned", ~0xfull, 0, 0xb, false}};
FAMILY(group, "lmsw-", lmsw_rows, "SDM 3C, 25.1.3") {
    Guest guest(use_lmsw);
    write(Field::Cr0Mask, row.mask);
    write(Field::Cr0Shadow, row.shadow);
    guest.set(abi::rcx, 0xabc0 | row.operand);
    if (!row.taken) {
        guest.run_to_end();
        return;
    }
    REQUIRE_EQ(guest.run(), ExitReason::CrAccess);
    EXPECT_EQ(qualification(), by_lmsw | std::uint64_t{0xabc0u | row.operand} << 16);
    EXPECT_EQ(read(Field::ExitInstructionLength), 3);
}
CHECK(group, "lmsw-of-memory-has-its-address", "SDM 3C, table 27-3, 27.2.1: the guest-linear address") {
    Guest guest(use_lmsw_memory);
    write(Field::Cr0Mask, cr0::ts);
    guest_memory.data[0] = 9;
    guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(guest_memory.data));
    REQUIRE_EQ(guest.run(), ExitReason::CrAccess);
    EXPECT_EQ(qualification(), by_lmsw | memory_operand | 9ull << 16);
    EXPECT_EQ(read(Field::GuestLinear), guest.r(abi::rdi));
}
FAMILY(group, "smsw-", shadowed, "SDM 3C, 25.3: SMSW gives the shadow's bits too") {
    if (row.cr != 0)
        skip("about CR0 only");
    Guest guest(use_smsw);
    write(Field::Cr0Mask, row.mask);
    write(Field::Cr0Shadow, row.shadow);
    const auto real = read(Field::GuestCr0);
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rcx) & 0xffff, ((real & ~row.mask) | (row.shadow & row.mask)) & 0xffff);
}
CHECK(group, "smsw-to-memory-by-the-shadow", "SDM 3C, 25.3") {
    Guest guest(use_smsw_memory);
    write(Field::Cr0Mask, 0xffff);
    write(Field::Cr0Shadow, 0x0039);
    guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(guest_memory.data));
    guest.run_to_end();
    EXPECT_EQ(guest_memory.data[0] | guest_memory.data[1] << 8, 0x39);
}

// CR3 targets.

struct Targets {
    const char* name;
    unsigned count, match; ///< which of four targets has the value
    bool taken;
};
constexpr Targets targets[] = {{"first", 4, 0, false},
                               {"second", 4, 1, false},
                               {"third", 4, 2, false},
                               {"fourth", 4, 3, false},
                               {"first-not-counted", 0, 0, true},
                               {"second-not-counted", 1, 1, true},
                               {"fourth-not-counted", 3, 3, true},
                               {"none", 4, 4, true}};
FAMILY(group, "cr3-target-", targets, "SDM 3C, 25.1.3, 24.6.7") {
    if ((capabilities.misc >> 16 & 0x1ff) < row.count)
        skip("not so many CR3 targets");
    Guest guest(move(write_cr, 3, abi::rcx));
    need_primary(primary::cr3_load);
    const auto value = read(Field::GuestCr3);
    for (unsigned i = 0; i < 4; ++i)
        write(nth(field::cr3_target_0, i), i == row.match ? value : value + (i + 1) * page_size);
    write(Field::Cr3TargetCount, row.count);
    guest.set(abi::rcx, value);
    if (row.taken)
        expect_access(guest, qualified(3, to_cr, abi::rcx));
    else
        guest.run_to_end();
}
CHECK(group, "cr3-write-not-taken", "SDM 3C, 25.1.3") {
    if ((capabilities.primary & primary::cr3_load) != 0)
        skip("it always exits on this CPU");
    Guest guest(move(write_cr, 3, abi::rcx));
    const auto value = read(Field::GuestCr3);
    guest.set(abi::rcx, value | 8);
    guest.run_to_end();
    EXPECT_EQ(read(Field::GuestCr3), value | 8);
}
CHECK(group, "cr3-read-not-taken", "SDM 3C, 25.1.3") {
    if ((capabilities.primary & primary::cr3_store) != 0)
        skip("it always exits on this CPU");
    Guest guest(move(read_cr, 3, abi::rcx));
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rcx), read(Field::GuestCr3));
}
struct Untouched {
    const char* name;
    unsigned opcode, cr;
};
constexpr Untouched untouched[] = {
    {"read-cr0", read_cr, 0}, {"read-cr4", read_cr, 4}, {"read-cr2", read_cr, 2}, {"write-cr2", write_cr, 2}};
FAMILY(group, "never-taken-", untouched, "SDM 3C, 25.1.3: no control makes them exit") {
    Guest guest(move(row.opcode, row.cr, abi::rcx));
    set_bits(Field::PrimaryControls, static_cast<std::uint32_t>(capabilities.primary >> 32) &
                                         (primary::cr3_load | primary::cr3_store | primary::cr8_load |
                                          primary::cr8_store | primary::dr_access));
    write(Field::Cr0Mask, ~0ull);
    write(Field::Cr4Mask, ~0ull);
    guest.run_to_end();
}

// CR8.

CHECK(group, "cr8-read-gives-the-virtual-tpr", "SDM 3C, 25.3, 29.3") {
    Guest guest(move(read_cr, 8, abi::rcx));
    need_primary(primary::tpr_shadow);
    guest.virtual_apic[0x80] = 0xa7;
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rcx), 0xa);
}
CHECK(group, "cr8-write-goes-to-the-virtual-tpr",
      "SDM 3C, 25.3, 29.3: bits 3:0 to bits 7:4, the others cleared") {
    Guest guest(move(write_cr, 8, abi::rcx));
    need_primary(primary::tpr_shadow);
    guest.virtual_apic[0x80] = 0x07;
    guest.set(abi::rcx, 9);
    guest.run_to_end();
    EXPECT_EQ(guest.virtual_apic[0x80], 0x90);
}
CHECK(group, "cr8-exit-comes-before-the-virtual-tpr", "SDM 3C, 25.1.3, 25.3") {
    Guest guest(move(write_cr, 8, abi::rcx));
    need_primary(primary::tpr_shadow);
    need_primary(primary::cr8_load);
    guest.set(abi::rcx, 9);
    expect_access(guest, qualified(8, to_cr, abi::rcx));
    EXPECT_EQ(guest.virtual_apic[0x80], 0);
}
CHECK(group, "cr8-reserved-bits-fault", "SDM 3C, 29.3; SDM 2, MOV to CR: #GP for reserved bits") {
    Guest guest(move(write_cr, 8, abi::rcx));
    need_primary(primary::tpr_shadow);
    guest.set(abi::rcx, 0x10);
    guest.run_to_handler(13);
}
struct Threshold {
    const char* name;
    unsigned threshold, tpr;
    bool taken;
};
constexpr Threshold thresholds[] = {{"below", 5, 4, true},
                                    {"equal", 5, 5, false},
                                    {"above", 5, 6, false},
                                    {"zero", 0, 0, false},
                                    {"fifteen-fourteen", 15, 14, true}};
FAMILY(group, "tpr-threshold-", thresholds, "SDM 3C, 29.1.2, 25.2: TPR below threshold is a trap-like exit") {
    Guest guest(move(write_cr, 8, abi::rcx));
    need_primary(primary::tpr_shadow);
    guest.virtual_apic[0x80] = 0xf0;
    write(Field::TprThreshold, row.threshold);
    guest.set(abi::rcx, row.tpr);
    const auto before = rip();
    if (!row.taken) {
        guest.run_to_end();
        return;
    }
    REQUIRE_EQ(guest.run(), ExitReason::TprBelowThreshold);
    EXPECT_EQ(rip(), before + move_bytes);
    EXPECT_EQ(guest.virtual_apic[0x80], row.tpr << 4);
}

// Illegal values fault before they exit, and as without a monitor when no exit is asked for.

struct Written {
    const char* name;
    unsigned cr;
    std::uint64_t flip;
};
constexpr Written illegal[] = {
    {"cr4-reserved-bit", 4, 1ull << 31}, {"cr4-upper-half", 4, 1ull << 40},
    {"cr4-pae-cleared", 4, cr4::pae},    {"cr0-upper-half", 0, 1ull << 32},
    {"cr0-nw-without-cd", 0, cr0::nw},   {"cr0-pe-cleared-with-pg", 0, cr0::pe},
    {"cr0-ne-cleared", 0, cr0::ne},      {"cr0-pg-cleared-in-64-bit-mode", 0, cr0::pg}};
FAMILY(group, "illegal-value-", illegal, "SDM 3C, 25.3, 23.8; SDM 3A, 2.5") {
    Guest guest(move(write_cr, row.cr, abi::rcx));
    guest.set(abi::rcx, read(row.cr == 0 ? Field::GuestCr0 : Field::GuestCr4) ^ row.flip);
    write(Field::Cr4Mask, 0);
    guest.run_to_handler(13);
}
CHECK(group, "vmxe-cannot-be-cleared-by-a-guest-that-owns-it", "SDM 3C, 25.3, 23.8") {
    Guest guest(move(write_cr, 4, abi::rcx));
    write(Field::Cr4Mask, 0);
    guest.set(abi::rcx, read(Field::GuestCr4) & ~cr4::vmxe);
    guest.run_to_handler(13);
}

// Debug registers: table 27-4.

FAMILY(group, "read-taken-", debug_registers, "SDM 3C, 25.1.3, table 27-4") {
    Guest guest(move(read_dr, row.number, abi::rcx));
    need_primary(primary::dr_access);
    guest.set(abi::rcx, 0x77);
    REQUIRE_EQ(guest.run(), ExitReason::DrAccess);
    EXPECT_EQ(qualification(), row.number | 1 << 4 | abi::rcx << 8);
    EXPECT_EQ(guest.r(abi::rcx), 0x77);
}
FAMILY(group, "write-taken-", debug_registers, "SDM 3C, 25.1.3, table 27-4") {
    Guest guest(move(write_dr, row.number, abi::rdx));
    need_primary(primary::dr_access);
    REQUIRE_EQ(guest.run(), ExitReason::DrAccess);
    EXPECT_EQ(qualification(), row.number | abi::rdx << 8);
    EXPECT_EQ(read(Field::ExitInstructionLength), move_bytes);
}
FAMILY(group, "write-dr0-from-", general_registers, "SDM 3C, table 27-4") {
    Guest guest(move(write_dr, 0, row.number));
    need_primary(primary::dr_access);
    REQUIRE_EQ(guest.run(), ExitReason::DrAccess);
    EXPECT_EQ(qualification(), row.number << 8);
}
FAMILY(group, "read-not-taken-", debug_registers, "SDM 3C, 25.1.3") {
    Guest guest(move(read_dr, row.number, abi::rcx));
    write(Field::GuestDr7, 0x500);
    const unsigned alias = row.number == 4 || row.number == 5 ? row.number + 2 : row.number;
    guest.run_to_end();
    if (alias == 7)
        EXPECT_EQ(guest.r(abi::rcx), 0x500);
    if (alias == 6)
        EXPECT_EQ(guest.r(abi::rcx), vmm::read_dr6());
}
FAMILY(group, "write-not-taken-", debug_registers, "SDM 3C, 25.1.3, 27.3.1") {
    Guest guest(move(write_dr, row.number, abi::rcx));
    const unsigned alias = row.number == 4 || row.number == 5 ? row.number + 2 : row.number;
    guest.set(abi::rcx, alias == 6 ? 0xffff0ff1 : alias == 7 ? 0x700 : 0x1000);
    guest.run_to_end();
    if (alias == 6)
        EXPECT_EQ(vmm::read_dr6(), 0xffff0ff1); // no field has DR6
    if (alias == 7)
        EXPECT_EQ(read(Field::GuestDr7), 0x700);
}
CHECK(group, "general-detect-comes-after-the-exit", "SDM 3C, 25.1.3: MOV DR exits; DR7.GD is checked after") {
    Guest guest(move(read_dr, 0, abi::rcx));
    need_primary(primary::dr_access);
    set_bits(Field::GuestDr7, 1 << 13);
    EXPECT_EQ(guest.run(), ExitReason::DrAccess);
}
CHECK(group, "dr-access-at-cpl-3-exits", "SDM 3C, 25.1.3: takes priority over #GP by CPL") {
    Guest guest(move(read_dr, 0, abi::rcx));
    need_primary(primary::dr_access);
    Guest::to_user();
    EXPECT_EQ(guest.run(), ExitReason::DrAccess);
}
CHECK(group, "dr4-with-de-exits", "SDM 3C, 25.1.3: takes priority over #UD by CR4.DE") {
    Guest guest(move(read_dr, 4, abi::rcx));
    need_primary(primary::dr_access);
    set_bits(Field::GuestCr4, 8);
    EXPECT_EQ(guest.run(), ExitReason::DrAccess);
}
CHECK(group, "dr4-with-de-faults", "SDM 3B, 17.2.2: #UD by CR4.DE") {
    Guest guest(move(read_dr, 4, abi::rcx));
    set_bits(Field::GuestCr4, 8);
    guest.run_to_handler(6);
}
CHECK(group, "general-detect-without-the-exit", "SDM 3B, 17.2.4: DR7.GD") {
    Guest guest(move(read_dr, 0, abi::rcx));
    set_bits(Field::GuestDr7, 1 << 13);
    guest.run_to_handler(1);
}
constexpr Untouched privileged[] = {{"read-cr0", read_cr, 0},
                                    {"read-cr3", read_cr, 3},
                                    {"write-cr3", write_cr, 3},
                                    {"write-cr0", write_cr, 0},
                                    {"write-cr8", write_cr, 8}};
FAMILY(group, "fault-first-", privileged, "SDM 3C, 25.1.1: #GP by CPL") {
    Guest guest(move(row.opcode, row.cr, abi::rcx));
    set_bits(Field::PrimaryControls, static_cast<std::uint32_t>(capabilities.primary >> 32) &
                                         (primary::cr3_load | primary::cr3_store | primary::cr8_load));
    write(Field::Cr0Mask, ~0ull);
    Guest::to_user();
    guest.run_to_handler(13);
}

} // namespace

} // namespace escalus::nested::vmx
