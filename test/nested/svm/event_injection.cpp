// SPDX-License-Identifier: GPL-2.0-or-later
// EVENTINJ: every type and vector, what the handler finds, and what happens when the delivery itself faults.
#include "test/nested/guests/injection_code.hpp"
#include "test/nested/svm/guest.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-injection", "event injection", vendor};

constexpr bool has_error_code(unsigned vector) {
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 ||
           vector == 30;
}

struct Vector {
    NumberedName name;
    unsigned vector;
};
template <unsigned first, unsigned last>
struct Vectors {
    Vector rows[last - first + 1]{};
    constexpr Vectors() {
        for (unsigned i = first; i <= last; ++i)
            rows[i - first] = {{"vector-", i}, i};
    }
};
constexpr Vectors<0, 31> low;
constexpr const auto& low_vectors = low.rows;
constexpr Vector interrupt_vectors[] = {
    {{"vector-", 32}, 32},   {{"vector-", 33}, 33},   {{"vector-", 63}, 63},   {{"vector-", 64}, 64},
    {{"vector-", 127}, 127}, {{"vector-", 128}, 128}, {{"vector-", 129}, 129}, {{"vector-", 239}, 239},
    {{"vector-", 254}, 254}, {{"vector-", 255}, 255}};

/// The frame of an event that came before the guest's first instruction.
void expect_frame(const Guest& guest, std::uint64_t rip, std::uint64_t rsp, std::uint64_t flags,
                  bool error_code, std::uint64_t error) {
    const std::uint64_t* frame = guest.frame();
    if (error_code)
        EXPECT_EQ(*frame++, error);
    EXPECT_EQ(frame[0], rip);
    EXPECT_EQ(frame[1], selector::code64);
    EXPECT_EQ(frame[2] & ~rflags::rf, flags);
    EXPECT_EQ(frame[3], rsp);
    EXPECT_EQ(frame[4], selector::data32);
}

// All exceptions that every CPU with SVM knows and that 64-bit mode can raise.
constexpr Vector exception_vectors[] = {
    {{"vector-", 0}, 0},   {{"vector-", 1}, 1},   {{"vector-", 3}, 3},   {{"vector-", 6}, 6},
    {{"vector-", 7}, 7},   {{"vector-", 8}, 8},   {{"vector-", 10}, 10}, {{"vector-", 11}, 11},
    {{"vector-", 12}, 12}, {{"vector-", 13}, 13}, {{"vector-", 14}, 14}, {{"vector-", 16}, 16},
    {{"vector-", 17}, 17}, {{"vector-", 18}, 18}, {{"vector-", 19}, 19}, {{"vector-", 30}, 30}};

FAMILY(group, "exception-", exception_vectors, "APM 2, 15.20") {
    Guest guest(do_nothing);
    const auto rip = guest.save.rip, rsp = guest.save.rsp, flags = guest.save.rflags;
    const bool error = has_error_code(row.vector);
    guest.control.inject =
        error ? injected(event_exception, row.vector, 0x1234) : injected(event_exception, row.vector);
    // The return address of an injected INT3 is nRIP where the processor has it.
    guest.control.next_rip = rip;
    // Not subject to intercept checks.
    guest.control.exceptions = 1u << row.vector;
    guest.run_to_handler(row.vector);
    expect_frame(guest, rip, rsp, flags, error, 0x1234);
    EXPECT_EQ(guest.control.exit_interrupt & event::valid, 0);
    EXPECT_EQ(guest.control.inject & event::valid, 0);
}

constexpr Vector overflow_and_bound[] = {{{"vector-", 4}, 4}, {{"vector-", 5}, 5}};
FAMILY(group, "legacy-exception-", overflow_and_bound, "APM 2, 15.20") {
    Guest guest(Mode::Protected32, do_nothing32);
    guest.control.next_rip = guest.save.rip;
    guest.control.inject = injected(event_exception, row.vector);
    guest.run_to_handler(row.vector);
}

FAMILY(group, "interrupt-", interrupt_vectors,
       "APM 2, 15.20: taken unconditionally, whatever EFLAGS.IF says") {
    Guest guest(do_nothing);
    const auto rip = guest.save.rip, rsp = guest.save.rsp, flags = guest.save.rflags;
    guest.control.inject = injected(event_interrupt, row.vector);
    guest.run_to_handler(row.vector);
    expect_frame(guest, rip, rsp, flags, false, 0);
}

FAMILY(group, "interrupt-low-", low_vectors,
       "APM 2, 15.13: interrupts do not check exception intercepts in vectors 0 to 31") {
    Guest guest(do_nothing);
    const auto rip = guest.save.rip, rsp = guest.save.rsp, flags = guest.save.rflags;
    guest.control.inject = injected(event_interrupt, row.vector);
    guest.control.exceptions = 0xffff'ffff;
    REQUIRE_EQ(guest.run(), ExitCode::Hlt);
    // No error code is pushed, so the handler's own idea of the frame does not matter here.
    REQUIRE_EQ(guest.handler(), row.vector);
    expect_frame(guest, rip, rsp, flags, false, 0);
}

FAMILY(group, "software-", interrupt_vectors, "APM 2, 15.20: software interrupts, by nRIP") {
    if (!has(feature::next_rip))
        skip("no next-RIP save");
    Guest guest(do_nothing);
    const auto rsp = guest.save.rsp, flags = guest.save.rflags;
    const auto next = guest.save.rip + 1; // where the handler returns to
    guest.control.next_rip = next;
    guest.control.inject = injected(event_software, row.vector);
    guest.run_to_handler(row.vector);
    expect_frame(guest, next, rsp, flags, false, 0);
}

CHECK(group, "nmi", "APM 2, 15.20") {
    Guest guest(do_nothing);
    const auto rip = guest.save.rip, rsp = guest.save.rsp, flags = guest.save.rflags;
    guest.control.inject = injected(event_nmi, 2);
    guest.run_to_handler(2);
    expect_frame(guest, rip, rsp, flags, false, 0);
}

CHECK(group, "nmi-ignores-the-vector-field", "APM 2, 15.20: if TYPE is 2, the VECTOR field is ignored") {
    Guest guest(do_nothing);
    guest.control.inject = injected(event_nmi, 0x55);
    guest.run_to_handler(2);
}

CHECK(group, "nmi-does-not-block-another",
      "APM 2, 15.20: an injected NMI does not block delivery of further NMIs") {
    Guest guest(do_nothing);
    guest.control.inject = injected(event_nmi, 2);
    guest.run_to_handler(2);
    guest.control.inject = injected(event_nmi, 2);
    guest.run_to_handler(2);
}

CHECK(group, "returns-to-the-guest", "APM 2, 15.20: before the first guest instruction") {
    Guest guest(do_nothing);
    guest.control.inject = injected(event_interrupt, 0x40);
    guest.run_to_handler(0x40);
    guest.skip(1); // the handler's HLT
    guest.run_to_end();
}

CHECK(group, "without-valid-bit", "APM 2, 15.20") {
    Guest guest(do_nothing);
    guest.control.inject = 0x40;
    guest.run_to_end();
}

CHECK(group, "once", "APM 2, 15.20; 15.6: EVENTINJ.V is 0 after the exit") {
    Guest guest(do_nothing);
    guest.control.inject = injected(event_interrupt, 0x40);
    guest.run_to_handler(0x40);
    EXPECT_EQ(guest.control.inject & event::valid, 0);
}

CHECK(group, "to-user-mode-switches-stacks", "APM 2, 15.20, 8.9.3") {
    Guest guest(do_nothing);
    guest.to_user();
    const auto rsp = guest.save.rsp;
    guest.control.inject = injected(event_interrupt, 0x40);
    guest.run_to_handler(0x40);
    EXPECT_EQ(guest.save.cpl, 0);
    EXPECT_EQ(guest.save.rsp, reinterpret_cast<std::uint64_t>(guest_memory.kernel_stack) + stack_bytes - 40);
    EXPECT_EQ(guest.frame()[1], selector::user_code64);
    EXPECT_EQ(guest.frame()[3], rsp);
    EXPECT_EQ(guest.frame()[4], selector::user_data);
}

CHECK(group, "interrupt-stack-table", "APM 2, 15.20, 8.9.4") {
    Guest guest(do_nothing);
    guest_memory.idt[0x40 * 16 + 4] = 1;
    guest.control.inject = injected(event_interrupt, 0x40);
    guest.run_to_handler(0x40);
    EXPECT_EQ(guest.save.rsp, reinterpret_cast<std::uint64_t>(guest_memory.ist_stack) + stack_bytes - 40);
}

CHECK(group, "interrupt-gate-clears-if", "APM 2, 15.20, 8.9.5") {
    Guest guest(do_nothing);
    guest.save.rflags |= rflags::interrupt;
    guest.control.inject = injected(event_interrupt, 0x40);
    guest.run_to_handler(0x40);
    EXPECT_EQ(guest.save.rflags & rflags::interrupt, 0);
    EXPECT_EQ(guest.frame()[2] & rflags::interrupt, rflags::interrupt);
}

CHECK(group, "ends-the-interrupt-shadow", "APM 2, 15.21.5: the shadow is of one instruction") {
    Guest guest(do_nothing);
    guest.control.interrupt_state = 1;
    guest.control.inject = injected(event_exception, 13, 0);
    guest.run_to_handler(13);
    EXPECT_EQ(guest.control.interrupt_state & 1, 0);
}

CHECK(group, "before-a-virtual-interrupt", "APM 2, 15.20: before the first guest instruction") {
    Guest guest(do_nothing);
    guest.save.rflags |= rflags::interrupt;
    guest.control.interrupt_control |= interrupt_control::irq | 0xf << interrupt_control::priority_shift;
    guest.control.interrupt_vector = 0x50;
    guest.control.inject = injected(event_exception, 13, 0);
    guest.run_to_handler(13);
}

/// The same in other modes.
struct ModeRow {
    const char* name;
    Mode mode;
    Code code;
};
constexpr ModeRow modes[] = {{"real", Mode::Real, do_nothing16},
                             {"protected32", Mode::Protected32, do_nothing32},
                             {"paged32", Mode::Paged32, do_nothing32},
                             {"pae", Mode::Pae, do_nothing32},
                             {"compatibility", Mode::Compatibility, do_nothing32},
                             {"v8086", Mode::Virtual8086, do_nothing16}};

FAMILY(group, "interrupt-in-", modes, "APM 2, 15.20, 8.6, 8.7, 8.9") {
    Guest guest(row.mode, row.code);
    guest.control.inject = injected(event_interrupt, 0x40);
    const auto rip = guest.save.rip;
    guest.run_to_handler(0x40);
    if (row.mode == Mode::Real) {
        const auto* frame = reinterpret_cast<const std::uint16_t*>(guest.save.ss.base + guest.save.rsp);
        EXPECT_EQ(frame[0], rip);
        EXPECT_EQ(frame[1], guest.save.cs.selector); // the handlers are in the same segment
    } else if (row.mode == Mode::Compatibility) {
        EXPECT_EQ(guest.frame()[0], rip);
        EXPECT_EQ(guest.frame()[1], selector::code32);
    } else {
        EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(guest.frame()), rip);
    }
}

FAMILY(group, "exception-in-", modes, "APM 2, 15.20, 8.6, 8.7, 8.9: real mode has no error codes") {
    Guest guest(row.mode, row.code);
    guest.control.inject =
        row.mode == Mode::Real ? injected(event_exception, 13) : injected(event_exception, 13, 0x58);
    guest.run_to_handler(13);
    if (row.mode != Mode::Real)
        EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(guest.frame()), 0x58);
}

// Deliveries that fault.

void remove_gate(unsigned vector) {
    guest_memory.idt[vector * 16 + 5] = 0x6e; // not present
}
constexpr std::uint64_t gate_error(unsigned vector, bool external) {
    return vector << 3 | 2u | (external ? 1u : 0u);
}

CHECK(group, "fault-in-delivery-is-delivered", "APM 2, 8.2.12: a gate that is not present raises #NP") {
    Guest guest(do_nothing);
    remove_gate(0x40);
    guest.control.inject = injected(event_interrupt, 0x40);
    guest.run_to_handler(11);
    EXPECT_EQ(guest.frame()[0], gate_error(0x40, true));
}

CHECK(group, "fault-in-delivery-is-intercepted",
      "APM 2, 15.20, 15.7.2: secondary exceptions are subject to intercepts") {
    Guest guest(do_nothing);
    remove_gate(0x40);
    const auto rip = guest.save.rip;
    guest.control.inject = injected(event_interrupt, 0x40);
    guest.control.exceptions = 1 << 11;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 11);
    EXPECT_EQ(guest.control.exit_interrupt, injected(event_interrupt, 0x40));
    EXPECT_EQ(guest.control.exit_info1, gate_error(0x40, true));
    EXPECT_EQ(guest.save.rip, rip);
}

CHECK(group, "exception-in-delivery-has-its-error-code", "APM 2, 15.7.2: EXITINTINFO") {
    Guest guest(do_nothing);
    remove_gate(17);
    guest.control.inject = injected(event_exception, 17, 0);
    guest.control.exceptions = 1 << 11;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 11);
    EXPECT_EQ(guest.control.exit_interrupt, injected(event_exception, 17, 0));
}

CHECK(group, "nmi-in-delivery", "APM 2, 15.7.2, table 15-1: type 2") {
    Guest guest(do_nothing);
    remove_gate(2);
    guest.control.inject = injected(event_nmi, 2);
    guest.control.exceptions = 1 << 11;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 11);
    EXPECT_EQ(guest.control.exit_interrupt, injected(event_nmi, 2));
}

CHECK(group, "software-interrupt-in-delivery", "APM 2, 15.7.2, table 15-1: type 4") {
    Guest guest(do_int);
    remove_gate(0x41);
    guest.control.exceptions = 1 << 11;
    const auto rip = guest.save.rip;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 11);
    EXPECT_EQ(guest.control.exit_interrupt, injected(event_software, 0x41));
    EXPECT_EQ(guest.control.exit_info1, gate_error(0x41, false));
    EXPECT_EQ(guest.save.rip, rip);
}

CHECK(group, "breakpoint-in-delivery-is-an-exception",
      "APM 2, 15.7.2: INT3 is an exception for EXITINTINFO") {
    Guest guest(do_int3);
    remove_gate(3);
    guest.control.exceptions = 1 << 11;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 11);
    EXPECT_EQ(guest.control.exit_interrupt, injected(event_exception, 3));
}

CHECK(group, "guest-s-own-exception-in-delivery", "APM 2, 15.7.2") {
    Guest guest(do_ud);
    remove_gate(6);
    guest.control.exceptions = 1 << 11;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 11);
    EXPECT_EQ(guest.control.exit_interrupt, injected(event_exception, 6));
}

// Double faults: a contributory exception while another is delivered (APM 2, table 8-4).
CHECK(group, "double-fault-is-delivered", "APM 2, 8.2.9") {
    Guest guest(do_nothing);
    remove_gate(13);
    guest.control.inject = injected(event_exception, 13, 0x18);
    guest.run_to_handler(8);
    EXPECT_EQ(guest.frame()[0], 0);
}

CHECK(group, "double-fault-is-intercepted", "APM 2, 15.12, 15.12.9") {
    Guest guest(do_nothing);
    remove_gate(13);
    guest.control.inject = injected(event_exception, 13, 0x18);
    guest.control.exceptions = 1 << 8;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 8);
}

CHECK(group, "contributory-is-intercepted-before-it-combines",
      "APM 2, 15.12: before being combined with the prior") {
    Guest guest(do_nothing);
    remove_gate(13);
    guest.control.inject = injected(event_exception, 13, 0x18);
    guest.control.exceptions = 1 << 8 | 1 << 11;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 11);
    EXPECT_EQ(guest.control.exit_interrupt, injected(event_exception, 13, 0x18));
}

struct Pair {
    const char* name;
    unsigned first, result;
};
constexpr Pair pairs[] = {{"de-then-np", 0, 8},   {"ts-then-np", 10, 8},  {"np-then-np", 11, 8},
                          {"ss-then-np", 12, 8},  {"gp-then-np", 13, 8},  {"pf-then-np", 14, 8},
                          {"db-then-np", 1, 11},  {"ud-then-np", 6, 11},  {"nm-then-np", 7, 11},
                          {"mf-then-np", 16, 11}, {"ac-then-np", 17, 11}, {"xf-then-np", 19, 11}};

FAMILY(group, "combine-", pairs, "APM 2, 8.2.9, table 8-4") {
    Guest guest(do_nothing);
    remove_gate(row.first);
    guest.control.inject = has_error_code(row.first) ? injected(event_exception, row.first, 0)
                                                     : injected(event_exception, row.first);
    guest.run_to_handler(row.result);
}

CHECK(group, "page-fault-in-page-fault",
      "APM 2, 8.2.9, table 8-4: #PF then #PF is #DF; here the stack is gone for both") {
    Guest guest(do_nothing);
    guest.save.rsp = 1ull << 40;
    guest_memory.idt[8 * 16 + 4] = 1; // #DF has a stack
    guest.control.inject = injected(event_exception, 14, 0);
    guest.run_to_handler(8);
}

CHECK(group, "double-fault-in-delivery", "APM 2, 15.7.2: EXITINTINFO has the #DF that was being delivered") {
    Guest guest(do_nothing);
    remove_gate(13); // #GP, then #NP: #DF, whose frame then has no stack
    guest.save.rsp = 1ull << 40;
    guest.control.inject = injected(event_exception, 13, 0);
    guest.control.exceptions = 1 << 14;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 14);
    EXPECT_EQ(guest.control.exit_interrupt, injected(event_exception, 8, 0));
}

CHECK(group, "triple-fault", "APM 2, 15.14.3, 8.2.9") {
    Guest guest(do_nothing);
    remove_gate(13);
    remove_gate(8);
    guest.control.inject = injected(event_exception, 13, 0);
    EXPECT_EQ(guest.run(), ExitCode::Shutdown);
}

CHECK(group, "triple-fault-of-an-empty-idt", "APM 2, 15.14.3") {
    Guest guest(do_ud);
    guest.save.idtr.limit = 0;
    EXPECT_EQ(guest.run(), ExitCode::Shutdown);
}

CHECK(group, "breakpoint-checks-the-gate-s-dpl", "APM 2, 15.20: vectors 3 and 4 behave like INT3 and INTO") {
    Guest guest(do_nothing);
    guest.to_user();
    guest_memory.idt[3 * 16 + 5] = 0x8e; // DPL 0
    guest.control.next_rip = guest.save.rip;
    guest.control.inject = injected(event_exception, 3);
    guest.run_to_handler(13);
    EXPECT_EQ(guest.frame()[0] & ~1ull, gate_error(3, false));
}

CHECK(group, "interrupt-does-not-check-the-gate-s-dpl", "APM 2, 15.20, 8.9.2") {
    Guest guest(do_nothing);
    guest.to_user();
    guest_memory.idt[0x40 * 16 + 5] = 0x8e;
    guest.control.inject = injected(event_interrupt, 0x40);
    guest.run_to_handler(0x40);
}

} // namespace

} // namespace escalus::nested::svm
