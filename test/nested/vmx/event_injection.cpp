// SPDX-License-Identifier: GPL-2.0-or-later
// VM-entry interruption information: every type and vector, what the handler finds, and what happens when the
// delivery itself faults (IDT-vectoring information).
#include "test/nested/guests/injection_code.hpp"
#include "test/nested/vmx/guest.hpp"

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-injection", "event injection and IDT-vectoring information", vendor};

constexpr bool has_error_code(unsigned vector) {
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
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
constexpr Vector exception_vectors[] = {{{"vector-", 0}, 0},   {{"vector-", 1}, 1},   {{"vector-", 3}, 3},
                                        {{"vector-", 4}, 4},   {{"vector-", 5}, 5},   {{"vector-", 6}, 6},
                                        {{"vector-", 7}, 7},   {{"vector-", 8}, 8},   {{"vector-", 10}, 10},
                                        {{"vector-", 11}, 11}, {{"vector-", 12}, 12}, {{"vector-", 13}, 13},
                                        {{"vector-", 14}, 14}, {{"vector-", 16}, 16}, {{"vector-", 17}, 17},
                                        {{"vector-", 18}, 18}, {{"vector-", 19}, 19}};

/// What a handler finds of the guest that is interrupted.
struct Interrupted {
    std::uint64_t rip = read(Field::GuestRip), rsp = read(Field::GuestRsp), flags = read(Field::GuestRflags);
};

void expect_frame(const Interrupted& was, bool error_code, std::uint64_t error) {
    const std::uint64_t* frame = Guest::frame();
    if (error_code)
        EXPECT_EQ(*frame++, error);
    EXPECT_EQ(frame[0], was.rip);
    EXPECT_EQ(frame[1], selector::code64);
    EXPECT_EQ(frame[2] & ~rflags::rf, was.flags);
    EXPECT_EQ(frame[3], was.rsp);
    EXPECT_EQ(frame[4], selector::data32);
}

void inject_hardware(unsigned vector, std::uint32_t error) {
    if (has_error_code(vector))
        inject(event::hardware_exception, vector, error);
    else
        inject(event::hardware_exception, vector);
}

FAMILY(group, "exception-", exception_vectors, "SDM 3C, 26.5.1") {
    Guest guest(do_nothing);
    const Interrupted was;
    inject_hardware(row.vector, 0x1234);
    // Not subject to the exception bitmap: 26.5.1.2.
    write(Field::ExceptionBitmap, 1u << row.vector);
    guest.run_to_handler(row.vector);
    expect_frame(was, has_error_code(row.vector), 0x1234);
    EXPECT_EQ(read(Field::VectoringEvent) & event::valid, 0);
    EXPECT_EQ(read(Field::EntryEvent) & event::valid, 0); // 24.8.3: cleared by the exit
}

FAMILY(group, "interrupt-", interrupt_vectors, "SDM 3C, 26.5.1") {
    Guest guest(do_nothing);
    set_bits(Field::GuestRflags, rflags::interrupt);
    const Interrupted was;
    inject(event::external, row.vector);
    guest.run_to_handler(row.vector);
    expect_frame(was, false, 0);
    EXPECT_EQ(read(Field::GuestRflags) & rflags::interrupt, 0);
}

FAMILY(group, "interrupt-low-", low_vectors, "SDM 3C, 26.5.1: an interrupt of any vector has no error code") {
    Guest guest(do_nothing);
    set_bits(Field::GuestRflags, rflags::interrupt);
    const Interrupted was;
    inject(event::external, row.vector);
    write(Field::ExceptionBitmap, 0xffff'ffff);
    REQUIRE_EQ(guest.run(), ExitReason::Hlt);
    REQUIRE_EQ(guest.handler(), row.vector);
    expect_frame(was, false, 0);
}

FAMILY(group, "software-", interrupt_vectors, "SDM 3C, 26.5.1.1: RIP plus the instruction length is pushed") {
    Guest guest(do_nothing);
    Interrupted was;
    inject(event::software_interrupt, row.vector);
    write(Field::EntryInstructionLength, 1);
    guest.run_to_handler(row.vector);
    was.rip += 1;
    expect_frame(was, false, 0);
}

struct Length {
    NumberedName name;
    unsigned length;
};
constexpr Length lengths[] = {{{"", 1}, 1}, {{"", 2}, 2}, {{"", 7}, 7}, {{"", 15}, 15}};
FAMILY(group, "software-interrupt-length-", lengths, "SDM 3C, 26.5.1.1") {
    Guest guest(do_nothing);
    const auto start = rip();
    inject(event::software_interrupt, 0x80);
    write(Field::EntryInstructionLength, row.length);
    guest.run_to_handler(0x80);
    EXPECT_EQ(Guest::frame()[0], start + row.length);
}
struct Software {
    const char* name;
    std::uint32_t type, vector;
};
constexpr Software softwares[] = {{"breakpoint", event::software_exception, 3},
                                  {"overflow", event::software_exception, 4},
                                  {"icebp", event::privileged_exception, 1}};
FAMILY(group, "software-exception-", softwares, "SDM 3C, 26.5.1.1") {
    Guest guest(do_nothing);
    Interrupted was;
    inject(row.type, row.vector);
    write(Field::EntryInstructionLength, 1);
    write(Field::ExceptionBitmap, 0xffff'ffff);
    guest.run_to_handler(row.vector);
    was.rip += 1;
    expect_frame(was, false, 0);
}

CHECK(group, "nmi", "SDM 3C, 26.5.1") {
    Guest guest(do_nothing);
    const Interrupted was;
    inject(event::nmi, 2);
    guest.run_to_handler(2);
    expect_frame(was, false, 0);
}
CHECK(group, "nmi-blocks-nmis", "SDM 3C, 26.5.1.2, 24.4.2: blocking by NMI begins") {
    Guest guest(do_nothing);
    inject(event::nmi, 2);
    guest.run_to_handler(2);
    EXPECT((read(Field::GuestInterruptibility) & blocking::nmi) != 0);
}
CHECK(group, "nmi-blocks-virtual-nmis", "SDM 3C, 26.5.1.2, 24.4.2: virtual-NMI blocking begins") {
    Guest guest(do_nothing);
    need_pin(pin::virtual_nmis);
    inject(event::nmi, 2);
    guest.run_to_handler(2);
    EXPECT((read(Field::GuestInterruptibility) & blocking::nmi) != 0);
    Guest::skip(); // the handler's HLT; its IRET ends the blocking
    guest.run_to_end();
    EXPECT_EQ(read(Field::GuestInterruptibility) & blocking::nmi, 0);
}

CHECK(group, "returns-to-the-guest", "SDM 3C, 26.5.1") {
    Guest guest(do_nothing);
    set_bits(Field::GuestRflags, rflags::interrupt);
    inject(event::external, 0x40);
    guest.run_to_handler(0x40);
    Guest::skip(); // the handler's HLT
    guest.run_to_end();
}
CHECK(group, "with-error-code-returns-to-the-guest", "SDM 3C, 26.5.1") {
    Guest guest(do_nothing);
    inject(event::hardware_exception, 13, 0);
    guest.run_to_handler(13);
    Guest::skip();
    guest.run_to_end();
}
CHECK(group, "without-valid-bit", "SDM 3C, 24.8.3") {
    Guest guest(do_nothing);
    write(Field::EntryEvent, 0x40);
    guest.run_to_end();
}
CHECK(group, "wakes-from-hlt", "SDM 3C, 26.6.2: an injected event ends the HLT state") {
    Guest guest(do_nothing);
    if ((capabilities.misc & 1 << 6) == 0)
        skip("no HLT activity state");
    set_bits(Field::GuestRflags, rflags::interrupt);
    write(Field::GuestActivity, activity::hlt);
    inject(event::external, 0x40);
    guest.run_to_handler(0x40);
    EXPECT_EQ(read(Field::GuestActivity), activity::active);
}
CHECK(group, "page-fault-does-not-write-cr2", "SDM 3C, 26.5.1: CR2 is software's to set") {
    Guest guest(do_nothing);
    vmm::write_cr2(0x1234'5000);
    inject(event::hardware_exception, 14, 2);
    guest.run_to_handler(14);
    EXPECT_EQ(vmm::read_cr2(), 0x1234'5000);
}
CHECK(group, "debug-exception-does-not-write-dr6",
      "SDM 3C, 26.5.1.2: DR6, DR7 and DEBUGCTL are not changed") {
    Guest guest(do_nothing);
    const auto dr6 = vmm::read_dr6();
    write(Field::GuestDr7, 0x2400); // GD stays set
    inject(event::hardware_exception, 1);
    guest.run_to_handler(1);
    EXPECT_EQ(vmm::read_dr6(), dr6);
    EXPECT_EQ(read(Field::GuestDr7), 0x2400);
}

CHECK(group, "to-user-mode-switches-stacks", "SDM 3C, 26.5.1; SDM 3A, 6.14.2") {
    Guest guest(do_nothing);
    Guest::to_user();
    set_bits(Field::GuestRflags, rflags::interrupt);
    const auto rsp = read(Field::GuestRsp);
    inject(event::external, 0x40);
    guest.run_to_handler(0x40);
    EXPECT_EQ(read(nth(Field::GuestEsRights, 2)) >> rights::dpl_shift & 3, 0);
    EXPECT_EQ(read(Field::GuestRsp),
              reinterpret_cast<std::uint64_t>(guest_memory.kernel_stack) + stack_bytes - 40);
    EXPECT_EQ(Guest::frame()[1], selector::user_code64);
    EXPECT_EQ(Guest::frame()[3], rsp);
    EXPECT_EQ(Guest::frame()[4], selector::user_data);
}
CHECK(group, "interrupt-stack-table", "SDM 3C, 26.5.1; SDM 3A, 6.14.5") {
    Guest guest(do_nothing);
    guest_memory.idt[0x40 * 16 + 4] = 1;
    set_bits(Field::GuestRflags, rflags::interrupt);
    inject(event::external, 0x40);
    guest.run_to_handler(0x40);
    EXPECT_EQ(read(Field::GuestRsp),
              reinterpret_cast<std::uint64_t>(guest_memory.ist_stack) + stack_bytes - 40);
}
CHECK(group, "trap-gate-keeps-if", "SDM 3C, 26.5.1; SDM 3A, 6.12.1.2") {
    Guest guest(do_nothing);
    guest_memory.idt[0x40 * 16 + 5] = 0xef;
    set_bits(Field::GuestRflags, rflags::interrupt);
    inject(event::external, 0x40);
    guest.run_to_handler(0x40);
    EXPECT((read(Field::GuestRflags) & rflags::interrupt) != 0);
}
CHECK(group, "ends-blocking-by-sti", "SDM 3C, 26.6.1: blocking is over when an event was injected") {
    Guest guest(do_nothing);
    set_bits(Field::GuestRflags, rflags::interrupt);
    write(Field::GuestInterruptibility, blocking::sti);
    inject(event::hardware_exception, 13, 0);
    guest.run_to_handler(13);
    EXPECT_EQ(read(Field::GuestInterruptibility) & blocking::shadow, 0);
}
CHECK(group, "ends-blocking-by-mov-ss", "SDM 3C, 26.6.1") {
    Guest guest(do_nothing);
    write(Field::GuestInterruptibility, blocking::mov_ss);
    inject(event::hardware_exception, 13, 0);
    guest.run_to_handler(13);
    EXPECT_EQ(read(Field::GuestInterruptibility) & blocking::shadow, 0);
}
CHECK(group, "event-before-pending-single-step",
      "SDM 3C, 26.6.3: pending debug exceptions are then kept from delivery or lost") {
    Guest guest(do_nothing);
    inject(event::hardware_exception, 6);
    set_bits(Field::GuestRflags, rflags::tf);
    guest.run_to_handler(6);
    EXPECT_EQ(read(Field::GuestRflags) & rflags::tf, 0);
    EXPECT((Guest::frame()[2] & rflags::tf) != 0);
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

FAMILY(group, "interrupt-in-", modes, "SDM 3C, 26.5.1.1; SDM 3A, 6.12, 6.14, 20") {
    Guest guest(row.mode, row.code);
    set_bits(Field::GuestRflags, rflags::interrupt);
    inject(event::external, 0x40);
    const auto start = rip();
    guest.run_to_handler(0x40);
    if (row.mode == Mode::Real) {
        const auto* frame =
            reinterpret_cast<const std::uint16_t*>(read(nth(Field::GuestEsBase, 2)) + read(Field::GuestRsp));
        EXPECT_EQ(frame[0], start);
        EXPECT_EQ(frame[1], read(nth(Field::GuestEs, 1))); // the handlers are in the same segment
    } else if (row.mode == Mode::Compatibility) {
        EXPECT_EQ(Guest::frame()[0], start);
        EXPECT_EQ(Guest::frame()[1], selector::code32);
    } else {
        EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(Guest::frame()), start);
    }
}
FAMILY(group, "exception-in-", modes, "SDM 3C, 26.5.1.1: real mode has no error codes") {
    Guest guest(row.mode, row.code);
    if (row.mode == Mode::Real)
        inject(event::hardware_exception, 13);
    else
        inject(event::hardware_exception, 13, 0x58);
    guest.run_to_handler(13);
    if (row.mode != Mode::Real)
        EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(Guest::frame()), 0x58);
}
FAMILY(group, "software-interrupt-in-", modes, "SDM 3C, 26.5.1.1: also in v8086 mode with IOPL 3") {
    Guest guest(row.mode, row.code);
    inject(event::software_interrupt, 0x40);
    write(Field::EntryInstructionLength, 2);
    const auto start = rip();
    guest.run_to_handler(0x40);
    if (row.mode != Mode::Real)
        EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(Guest::frame()), start + 2);
}
// Deliveries that fault.

void remove_gate(unsigned vector) {
    guest_memory.idt[vector * 16 + 5] = 0x6e; // not present
}
constexpr std::uint64_t gate_error(unsigned vector, bool external) {
    return vector << 3 | 2u | (external ? 1u : 0u);
}
constexpr std::uint32_t hardware(unsigned vector) {
    return event_of(event::hardware_exception, vector) | (has_error_code(vector) ? event::error_valid : 0);
}
void expect_np_exit(Guest& guest) {
    write(Field::ExceptionBitmap, 1 << 11);
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(read(Field::ExitEvent), hardware(11));
}

CHECK(group, "fault-in-delivery-is-delivered",
      "SDM 3C, 26.5.1; SDM 3A, 6.15: a gate that is not present raises #NP") {
    Guest guest(do_nothing);
    remove_gate(0x40);
    set_bits(Field::GuestRflags, rflags::interrupt);
    inject(event::external, 0x40);
    guest.run_to_handler(11);
    EXPECT_EQ(Guest::frame()[0], gate_error(0x40, true));
}
CHECK(group, "fault-in-delivery-exits", "SDM 3C, 26.5.1.2, 27.2.3: then the bitmap is looked at") {
    Guest guest(do_nothing);
    remove_gate(0x40);
    set_bits(Field::GuestRflags, rflags::interrupt);
    inject(event::external, 0x40);
    const auto start = rip();
    expect_np_exit(guest);
    EXPECT_EQ(read(Field::VectoringEvent), event_of(event::external, 0x40));
    EXPECT_EQ(read(Field::ExitErrorCode), gate_error(0x40, true));
    EXPECT_EQ(rip(), start);
}
CHECK(group, "vectoring-has-the-error-code", "SDM 3C, 27.2.3: IDT-vectoring error code") {
    Guest guest(do_nothing);
    remove_gate(17);
    inject(event::hardware_exception, 17, 0x5678);
    expect_np_exit(guest);
    EXPECT_EQ(read(Field::VectoringEvent), hardware(17));
    EXPECT_EQ(read(Field::VectoringErrorCode), 0x5678);
}
CHECK(group, "vectoring-of-nmi", "SDM 3C, 27.2.3, table 24-19: type 2") {
    Guest guest(do_nothing);
    remove_gate(2);
    inject(event::nmi, 2);
    expect_np_exit(guest);
    EXPECT_EQ(read(Field::VectoringEvent), event_of(event::nmi, 2));
}
CHECK(group, "vectoring-of-an-injected-software-interrupt", "SDM 3C, 27.2.3, 27.2.4: with its length") {
    Guest guest(do_nothing);
    remove_gate(0x41);
    inject(event::software_interrupt, 0x41);
    write(Field::EntryInstructionLength, 2);
    const auto start = rip();
    expect_np_exit(guest);
    EXPECT_EQ(read(Field::VectoringEvent), event_of(event::software_interrupt, 0x41));
    EXPECT_EQ(read(Field::ExitInstructionLength), 2);
    EXPECT_EQ(rip(), start);
}

GUEST_CODE(do_icebp, 64, ".byte 0xf1");
struct Own {
    const char* name;
    Code code;
    std::uint32_t vectoring;
    unsigned vector, length;
};
constexpr Own owns[] = {
    {"int-n", do_int, event_of(event::software_interrupt, 0x41), 0x41, 2},
    {"int3", do_int3, event_of(event::software_exception, 3), 3, 1},
    {"icebp", do_icebp, event_of(event::privileged_exception, 1), 1, 1},
    {"ud2", do_ud, event_of(event::hardware_exception, 6), 6, 0},
};
FAMILY(group, "vectoring-of-the-guest-s-own-", owns, "SDM 3C, 27.2.3, 27.2.4, table 24-19") {
    Guest guest(row.code);
    remove_gate(row.vector);
    const auto start = rip();
    expect_np_exit(guest);
    EXPECT_EQ(read(Field::VectoringEvent), row.vectoring);
    EXPECT_EQ(rip(), start);
    if (row.length != 0)
        EXPECT_EQ(read(Field::ExitInstructionLength), row.length);
}

// Reinjection of what was being delivered, as a monitor does it.
CHECK(group, "vectoring-can-be-injected-again", "SDM 3C, 31.7.1.2 (27.2.3)") {
    Guest guest(do_int);
    guest_memory.idt[0x41 * 16 + 5] = 0x6e;
    expect_np_exit(guest);
    guest_memory.idt[0x41 * 16 + 5] = 0xee;
    const auto start = rip();
    write(Field::EntryEvent, read(Field::VectoringEvent));
    write(Field::EntryInstructionLength, read(Field::ExitInstructionLength));
    guest.run_to_handler(0x41);
    EXPECT_EQ(Guest::frame()[0], start + 2);
}

// Double faults: a contributory exception while another is delivered (SDM 3A, table 6-5).
struct Pair {
    const char* name;
    unsigned first, result;
};
constexpr Pair pairs[] = {{"de-then-np", 0, 8},   {"ts-then-np", 10, 8},  {"np-then-np", 11, 8},
                          {"ss-then-np", 12, 8},  {"gp-then-np", 13, 8},  {"pf-then-np", 14, 8},
                          {"db-then-np", 1, 11},  {"ud-then-np", 6, 11},  {"nm-then-np", 7, 11},
                          {"mf-then-np", 16, 11}, {"ac-then-np", 17, 11}, {"xm-then-np", 19, 11}};
FAMILY(group, "combine-", pairs, "SDM 3A, 6.15, table 6-5; SDM 3C, 26.5.1.2") {
    Guest guest(do_nothing);
    remove_gate(row.first);
    inject_hardware(row.first, 0);
    guest.run_to_handler(row.result);
    if (row.result == 8)
        EXPECT_EQ(Guest::frame()[0], 0);
}
FAMILY(group, "exits-before-it-combines-", pairs,
       "SDM 3C, 25.2, 27.2.3: the second exception's bit is checked; if clear, that of #DF") {
    Guest guest(do_nothing);
    remove_gate(row.first);
    inject_hardware(row.first, 0);
    expect_np_exit(guest);
    EXPECT_EQ(read(Field::VectoringEvent), hardware(row.first));
}
CHECK(group, "double-fault-exits", "SDM 3C, 25.2, 27.2.2, 27.2.3: no vectoring of the first event") {
    Guest guest(do_nothing);
    remove_gate(13);
    inject(event::hardware_exception, 13, 0x18);
    write(Field::ExceptionBitmap, 1 << 8);
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(read(Field::ExitEvent), hardware(8));
    EXPECT_EQ(read(Field::ExitErrorCode), 0);
    EXPECT_EQ(read(Field::VectoringEvent) & event::valid, 0);
}
CHECK(group, "page-fault-in-page-fault", "SDM 3A, 6.15, table 6-5: #PF then #PF is #DF") {
    Guest guest(do_nothing);
    write(Field::GuestRsp, 1ull << 40);
    guest_memory.idt[8 * 16 + 4] = 1; // #DF has a stack
    inject(event::hardware_exception, 14, 0);
    guest.run_to_handler(8);
}
CHECK(group, "vectoring-of-a-double-fault", "SDM 3C, 27.2.3: #DF was being delivered") {
    Guest guest(do_nothing);
    remove_gate(13); // #GP, then #NP: #DF, whose frame then has no stack
    write(Field::GuestRsp, 1ull << 40);
    inject(event::hardware_exception, 13, 0);
    write(Field::ExceptionBitmap, 1 << 14);
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(read(Field::ExitEvent), hardware(14));
    EXPECT_EQ(read(Field::VectoringEvent), hardware(8));
}
CHECK(group, "triple-fault", "SDM 3C, 25.2, 27.2.3") {
    Guest guest(do_nothing);
    remove_gate(13);
    remove_gate(8);
    inject(event::hardware_exception, 13, 0);
    EXPECT_EQ(guest.run(), ExitReason::TripleFault);
    EXPECT_EQ(read(Field::VectoringEvent) & event::valid, 0);
    EXPECT_EQ(qualification(), 0);
}
CHECK(group, "triple-fault-of-an-empty-idt", "SDM 3C, 25.2") {
    Guest guest(do_ud);
    write(Field::GuestIdtrLimit, 0);
    const auto start = rip();
    EXPECT_EQ(guest.run(), ExitReason::TripleFault);
    EXPECT_EQ(rip(), start);
}
CHECK(group, "triple-fault-is-not-by-the-bitmap", "SDM 3C, 25.2: but the exceptions on the way to it are") {
    Guest guest(do_ud);
    write(Field::GuestIdtrLimit, 0);
    write(Field::ExceptionBitmap, 1 << 13);
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(read(Field::ExitEvent), hardware(13));
    EXPECT_EQ(read(Field::VectoringEvent), event_of(event::hardware_exception, 6));
}

struct Dpl {
    const char* name;
    std::uint32_t type, vector;
    bool faults;
};
constexpr Dpl dpls[] = {{"software-interrupt", event::software_interrupt, 0x40, true},
                        {"software-exception", event::software_exception, 3, true},
                        {"privileged-exception", event::privileged_exception, 1, false},
                        {"external-interrupt", event::external, 0x40, false},
                        {"hardware-exception", event::hardware_exception, 6, false}};
FAMILY(group, "gate-s-dpl-for-", dpls, "SDM 3C, 26.5.1.1: checked for software interrupts and exceptions") {
    Guest guest(do_nothing);
    Guest::to_user();
    set_bits(Field::GuestRflags, rflags::interrupt);
    guest_memory.idt[row.vector * 16 + 5] = 0x8e; // DPL 0
    inject(row.type, row.vector);
    write(Field::EntryInstructionLength, 1);
    guest.run_to_handler(row.faults ? 13 : row.vector);
    if (row.faults)
        EXPECT_EQ(Guest::frame()[0] & ~1ull, gate_error(row.vector, false));
}

} // namespace

} // namespace escalus::nested::vmx
