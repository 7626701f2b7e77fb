// SPDX-License-Identifier: GPL-2.0-or-later
// What VMRUN and #VMEXIT switch: registers of the guest arrive, come back, and leave those of root mode
// alone.
#include "test/nested/svm/guest.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-world-switch", "state is preserved and isolated, in both directions", vendor};

GUEST_CODE(
    rotate_registers, 64,
    "xchg %rax, %r15; xchg %rcx, %r14; xchg %rdx, %r13; xchg %rbx, %r12; xchg %rbp, %r11; xchg %rsi, %r10;"
    "xchg %rdi, %r9; not %r8");

CHECK(group, "general-registers", "APM 2, 15.5.1, 15.6") {
    Guest guest(rotate_registers);
    constexpr auto pattern = [](unsigned i) { return 0x1111'1111'1111'1111u * i ^ 0xfedc'ba98'7654'3210u; };
    for (unsigned i = 0; i < 16; ++i)
        guest.gprs.r[i] = pattern(i);
    guest.save.rax = pattern(abi::rax);
    guest.run_to_end();
    EXPECT_EQ(guest.save.rax, pattern(abi::r15));
    constexpr abi::GprIndex pairs[][2] = {{abi::rcx, abi::r14}, {abi::rdx, abi::r13}, {abi::rbx, abi::r12},
                                          {abi::rbp, abi::r11}, {abi::rsi, abi::r10}, {abi::rdi, abi::r9}};
    for (const auto& pair : pairs) {
        EXPECT_EQ(guest.r(pair[0]), pattern(pair[1]));
        EXPECT_EQ(guest.r(pair[1]), pattern(pair[0]));
    }
    EXPECT_EQ(guest.r(abi::r8), ~pattern(abi::r8));
    EXPECT_EQ(guest.r(abi::r15), pattern(abi::rax));
}

} // namespace

} // namespace escalus::nested::svm
