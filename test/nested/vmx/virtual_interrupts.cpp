// SPDX-License-Identifier: GPL-2.0-or-later
// Virtual-interrupt delivery with the TPR shadow, and TSC scaling.
#include "test/nested/vmx/guest.hpp"

#include <cstring>

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-virtual-interrupts", "virtual-interrupt delivery, TSC scaling", vendor};

GUEST_CODE(plain, 64, "nop; virtual_next: nop");
GUEST_CODE(open_interrupts, 64, "sti; virtual_shadow: nop; virtual_open: nop");
GUEST_CODE(lower_tpr, 64, "xor %eax, %eax; mov %rax, %cr8; virtual_lowered: nop");
GUEST_CODE(read_tpr, 64, "mov %cr8, %rax");
GUEST_CODE(halt, 64, "hlt; virtual_woken: nop");
GUEST_LABEL(virtual_next);
GUEST_LABEL(virtual_open);
GUEST_LABEL(virtual_lowered);
GUEST_LABEL(virtual_woken);

constexpr unsigned tpr = 0x80, ppr = 0xa0, isr = 0x100, irr = 0x200;
constexpr std::uint8_t vector = 0x61, lower = 0x42;

std::uint64_t at(const char* label) {
    return reinterpret_cast<std::uint64_t>(label);
}
std::uint32_t& word(const Guest& guest, unsigned offset) {
    return *reinterpret_cast<std::uint32_t*>(guest.virtual_apic + offset);
}
std::uint32_t& bitmap(const Guest& guest, unsigned which, unsigned number) {
    return word(guest, which + number / 32 * 16);
}
bool in(const Guest& guest, unsigned which, unsigned number) {
    return (bitmap(guest, which, number) >> number % 32 & 1) != 0;
}

/// Requests `vector`; the guest's interrupts are open.
Guest requesting(Code code) {
    Guest guest(code);
    need_primary(primary::tpr_shadow);
    need_secondary(secondary::virtual_interrupts);
    std::memset(guest.virtual_apic, 0, page_size);
    bitmap(guest, irr, vector) |= 1u << vector % 32;
    write(Field::GuestInterruptStatus, vector);
    set_bits(Field::GuestRflags, rflags::interrupt);
    return guest;
}

CHECK(group, "taken-at-entry", "SDM 3C, 26.3.2.5, 29.2.2") {
    Guest guest = requesting(plain);
    const auto start = rip();
    guest.run_to_handler(vector);
    EXPECT_EQ(Guest::frame()[0], start);
    EXPECT_EQ(read(Field::GuestInterruptStatus), std::uint64_t{vector} << 8); // in service, none requested
    EXPECT(!in(guest, irr, vector));
    EXPECT(in(guest, isr, vector));
    EXPECT_EQ(word(guest, ppr) & 0xff, vector & 0xf0);
}
CHECK(group, "the-next-request-is-found", "SDM 3C, 29.2.2: RVI becomes the highest bit of VIRR") {
    Guest guest = requesting(plain);
    bitmap(guest, irr, lower) |= 1u << lower % 32;
    guest.run_to_handler(vector);
    EXPECT_EQ(read(Field::GuestInterruptStatus), std::uint64_t{vector} << 8 | lower);
    EXPECT(in(guest, irr, lower));
}
CHECK(group, "held-by-if", "SDM 3C, 29.2.2: RFLAGS.IF") {
    Guest guest = requesting(plain);
    clear_bits(Field::GuestRflags, rflags::interrupt);
    guest.run_to_end();
    EXPECT_EQ(read(Field::GuestInterruptStatus), vector);
    EXPECT(in(guest, irr, vector));
}
CHECK(group, "taken-after-sti-and-its-shadow", "SDM 3C, 29.2.2; SDM 2, STI") {
    Guest guest = requesting(open_interrupts);
    clear_bits(Field::GuestRflags, rflags::interrupt);
    guest.run_to_handler(vector);
    EXPECT_EQ(Guest::frame()[0], at(virtual_open));
}
CHECK(group, "held-by-a-shadow-at-entry", "SDM 3C, 26.6.1, 29.2.2: blocking by STI") {
    Guest guest = requesting(plain);
    write(Field::GuestInterruptibility, blocking::sti);
    guest.run_to_handler(vector);
    EXPECT_EQ(Guest::frame()[0], at(virtual_next));
}
struct Priority {
    const char* name;
    std::uint8_t task;
    bool taken;
};
constexpr Priority priorities[] = {{"below", 0x50, true},
                                   {"same-class", 0x60, false},
                                   {"above", 0x70, false},
                                   {"below-with-subclass", 0x5f, true}};
FAMILY(group, "priority-of-the-task-", priorities, "SDM 3C, 29.1.3, 29.2.1: RVI[7:4] > VPPR[7:4]") {
    Guest guest = requesting(plain);
    guest.virtual_apic[tpr] = row.task;
    if (row.taken)
        guest.run_to_handler(vector);
    else
        guest.run_to_end();
}
CHECK(group, "held-by-what-is-in-service", "SDM 3C, 29.1.3: SVI raises VPPR") {
    Guest guest = requesting(plain);
    write(Field::GuestInterruptStatus, std::uint64_t{0x65} << 8 | vector);
    bitmap(guest, isr, 0x65) |= 1u << 5;
    guest.run_to_end();
    EXPECT_EQ(read(Field::GuestInterruptStatus), std::uint64_t{0x65} << 8 | vector);
    EXPECT_EQ(word(guest, ppr) & 0xff, 0x60);
}
CHECK(group, "taken-when-cr8-is-lowered", "SDM 3C, 29.3, 29.1.2: MOV to CR8 virtualizes the TPR") {
    Guest guest = requesting(lower_tpr);
    guest.virtual_apic[tpr] = 0x90;
    guest.run_to_handler(vector);
    EXPECT_EQ(Guest::frame()[0], at(virtual_lowered));
    EXPECT_EQ(guest.virtual_apic[tpr], 0);
}
CHECK(group, "cr8-is-the-shadow", "SDM 3C, 29.3: MOV from CR8") {
    Guest guest = requesting(read_tpr);
    guest.virtual_apic[tpr] = 0xb0;
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rax), 0xb);
}
CHECK(group, "wakes-from-hlt", "SDM 3C, 29.2.2: HLT that does not exit") {
    if ((capabilities.misc & 1 << 6) == 0)
        skip("no HLT activity state");
    Guest guest = requesting(halt);
    write(Field::GuestActivity, activity::hlt);
    guest.run_to_handler(vector);
    EXPECT_EQ(read(Field::GuestActivity), activity::active);
}
CHECK(group, "not-while-an-interrupt-window-is-asked-for", "SDM 3C, 29.2.1: the exit comes instead") {
    Guest guest = requesting(plain);
    need_primary(primary::interrupt_window);
    const auto start = rip();
    EXPECT_EQ(guest.run(), ExitReason::InterruptWindow);
    EXPECT_EQ(rip(), start);
    EXPECT_EQ(read(Field::GuestInterruptStatus), vector);
}
CHECK(group, "an-injected-event-goes-first", "SDM 3C, 26.5, 26.6.5") {
    Guest guest = requesting(plain);
    inject(event::external, lower);
    const auto start = rip();
    guest.run_to_handler(lower); // which begins with IF clear
    EXPECT_EQ(Guest::frame()[0], start);
    EXPECT(in(guest, irr, vector));
}
CHECK(group, "nothing-is-requested", "SDM 3C, 29.2.1: RVI 0") {
    Guest guest = requesting(plain);
    write(Field::GuestInterruptStatus, 0);
    guest.run_to_end();
}

// TSC scaling.

GUEST_CODE(read_tsc, 64, "rdtsc; shl $32, %rdx; or %rdx, %rax");
GUEST_CODE(read_tsc_msr, 64, "mov $0x10, %ecx; rdmsr; shl $32, %rdx; or %rdx, %rax");
GUEST_CODE(read_tscp, 64, "rdtscp; shl $32, %rdx; or %rdx, %rax");
constexpr std::uint64_t once = 1ull << 48;
struct Scale {
    const char* name;
    Code code;
    std::uint64_t multiplier, offset;
};
constexpr Scale scales[] = {{"once", read_tsc, once, 0},
                            {"twice", read_tsc, 2 * once, 0},
                            {"half", read_tsc, once / 2, 0},
                            {"twice-and-ahead", read_tsc, 2 * once, 1ull << 50},
                            {"three-quarters-by-rdmsr", read_tsc_msr, once / 4 * 3, 0},
                            {"twice-by-rdtscp", read_tscp, 2 * once, 0}};
FAMILY(group, "tsc-", scales, "SDM 3C, 24.6.5, 25.3: TSC multiplied, shifted right by 48, plus the offset") {
    if (row.code.start == read_tscp.start &&
        (!has_secondary(secondary::rdtscp) || (vmm::cpuid(0x80000001).edx & 1 << 27) == 0))
        skip("no RDTSCP");
    Guest guest(row.code);
    need_primary(primary::tsc_offsetting);
    need_secondary(secondary::tsc_scaling);
    write(Field::TscMultiplier, row.multiplier);
    write(Field::TscOffset, row.offset);
    const auto scaled =
        [&](std::uint64_t tsc) { // the multiplier has 16 bits before the point, and 2 behind it
            const auto quarters = row.multiplier >> 46;
            return tsc / 4 * quarters + (tsc % 4 * quarters >> 2) + row.offset;
        };
    const auto before = vmm::read_tsc();
    guest.run_to_end();
    const auto after = vmm::read_tsc();
    EXPECT(guest.r(abi::rax) >= scaled(before));
    EXPECT(guest.r(abi::rax) <= scaled(after));
}
CHECK(group, "tsc-of-root-mode-is-not-scaled", "SDM 3C, 25.3") {
    Guest guest(read_tsc);
    need_primary(primary::tsc_offsetting);
    need_secondary(secondary::tsc_scaling);
    write(Field::TscMultiplier, 16 * once);
    const auto before = vmm::read_tsc();
    guest.run_to_end();
    EXPECT(vmm::read_tsc() < before * 8);
}

} // namespace

} // namespace escalus::nested::vmx
