// SPDX-License-Identifier: GPL-2.0-or-later
// Lets an interrupt wait for IF, 20,000 times (told `few`: 2,000), and looks whether it comes one instruction
// after STI, not at once (AMD APM 2, section 8.3.1; an idle kernel's `sti; hlt` relies on that).
#include "test/boot/guests/kernel.hpp"

asm(R"(
    .globl entry_came, after_sti
entry_came:
    pusha
    push 32(%esp)
    call came
    add $4, %esp
    popa
    iret
)");
extern "C" void entry_came();
extern "C" const char after_sti;

namespace {
constexpr unsigned vector = 0x51, page = 0xfee00000;
constexpr uint32_t reg_eoi = 0xb0, reg_svr = 0xf0, reg_icr = 0x300, to_self = 1u << 18;
volatile uint32_t arrivals = 0, early = 0;

void write_apic(uint32_t offset, uint32_t value) {
    at<uint32_t>(page + offset) = value;
}
// The divisions take their time, in which an interrupt of the computer's own may come: an emulator ends guest
// mode for it only after a block of instructions, and STI ends one.
[[gnu::noinline]] void let_it_in() {
    uint32_t high = 0, low = 1;
    asm volatile(".rept 300\ndiv %2\n.endr\nsti\nafter_sti: nop\nnop"
                 : "+d"(high), "+a"(low)
                 : "r"(1)
                 : "memory");
}
} // namespace

extern "C" void came(uint32_t return_address) {
    arrivals = arrivals + 1;
    if (return_address == reinterpret_cast<uint32_t>(&after_sti))
        early = early + 1;
    write_apic(reg_eoi, 0);
}

extern "C" void kernel_main(uint32_t, const MultibootInfo* info) {
    const unsigned times = is_told(*info, "few") ? 2'000 : 20'000;
    serial_start();
    tables_start();
    set_gate(vector, entry_came);
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    write_apic(reg_svr, 0x1ff);
    uint32_t missing = 0;
    for (unsigned i = 0; i < times; ++i) {
        asm volatile("cli" ::: "memory");
        write_apic(reg_icr, to_self | vector);
        let_it_in();
        for (unsigned wait = 0; arrivals == i && wait < 100'000'000; ++wait)
            asm volatile("pause" ::: "memory");
        missing += arrivals != i + 1;
    }
    say("interrupt shadow: ", early, " of ", times, " came too early, ", missing, " not at all, END");
}
