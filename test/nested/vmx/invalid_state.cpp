// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/vmx/invalid_state.hpp"

namespace escalus::nested::vmx {

namespace {
bool begins_with(const char* text, const char* start) {
    while (*start != 0)
        if (*text++ != *start++)
            return false;
    return true;
}
} // namespace

Code code_for(Mode mode) {
    switch (mode) {
    case Mode::Long:
        return nothing64;
    case Mode::Protected32:
    case Mode::Paged32:
    case Mode::Pae:
    case Mode::Compatibility:
        return nothing32;
    default:
        return nothing16;
    }
}

void expect_reason(const char* violation, const char* reason) {
    if (!begins_with(violation, reason))
        fail("the checker says: ", violation);
}

void expect_refused(Guest& guest, Refusal refusal, const char* reason) {
    expect_reason(find_violation_in_current(), reason);
    const Entered entered = guest.enter();
    asm volatile("sti");
    if (refusal != Refusal::Guest) {
        EXPECT_EQ(entered.error, refusal);
        return;
    }
    EXPECT_EQ(entered.error, 0);
    EXPECT_EQ(entered.reason, entry_failed | number(ExitReason::InvalidGuestState));
    EXPECT_EQ(qualification(), 0);
}

void check(const Mistake& row) {
    Guest guest(row.mode, code_for(row.mode));
    row.make();
    expect_refused(guest, row.refusal, row.reason);
}

void need_secondary_control(std::uint32_t bits) {
    need_primary(primary::secondary);
    need_secondary(bits);
}

void block(std::uint32_t bits) {
    set_bits(Field::GuestInterruptibility, bits);
    set_bits(Field::GuestRflags, rflags::interrupt);
}

void spoil(Field pat, const Pat& row) {
    const unsigned shift = row.entry * 8;
    write(pat, (read(pat) & ~(0xffull << shift)) | std::uint64_t{row.type} << shift);
}

} // namespace escalus::nested::vmx
