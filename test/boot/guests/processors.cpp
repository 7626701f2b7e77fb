// SPDX-License-Identifier: GPL-2.0-or-later
// Starts every other processor by INIT and SIPI and sends interrupts in all ways there are: physical and
// logical destinations (flat, cluster, x2APIC), shorthands, lowest priority, NMI; then a long exchange of
// interrupts between processors that halt. (Intel SDM volume 3, chapter 11.) Each line says what was checked.
#include "test/boot/guests/kernel.hpp"

// Where an application processor begins: SIPI's vector times 4096. Real mode, then what _start has.
asm(R"(
    .section .rodata
    .globl trampoline_begin, trampoline_end
trampoline_begin:
    .code16
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl 0x7f00
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl $8, $processor_entry
trampoline_end:
    .code32
    .text
processor_entry:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    lidt 0x7f08
    mov $1, %eax
    cpuid
    shr $24, %ebx
    inc %ebx
    shl $12, %ebx
    lea processor_stacks(%ebx), %esp
    call processor_main
1:  hlt
    jmp 1b

    .macro entry name, vector
    .globl \name
\name:
    pusha
    push $\vector
    call interrupt
    add $4, %esp
    popa
    iret
    .endm
    entry entry_fixed, 0x40
    entry entry_command, 0x50
    entry entry_ping, 0x60
    entry entry_nmi, 2
)");
extern "C" char trampoline_begin, trampoline_end;
extern "C" void entry_fixed();
extern "C" void entry_command();
extern "C" void entry_ping();
extern "C" void entry_nmi();

namespace {

constexpr unsigned most = 8; // as many as the flat model has
constexpr uint32_t trampoline = 0x8000, gdtr_place = 0x7f00, idtr_place = 0x7f08;
constexpr uint32_t vector_fixed = 0x40, vector_command = 0x50, vector_ping = 0x60, vector_nmi = 2;
constexpr uint32_t lowest_priority = 0x100, nmi = 0x400, init = 0x500, startup = 0x600, logical = 0x800,
                   assert_level = 0x4000;
constexpr uint32_t to_self = 1u << 18, to_all = 2u << 18, to_others = 3u << 18;
constexpr unsigned reg_id = 0x02, reg_eoi = 0x0b, reg_ldr = 0x0d, reg_dfr = 0x0e, reg_svr = 0x0f,
                   reg_icr = 0x30, reg_icr_high = 0x31;
constexpr uint64_t patience = 40'000'000'000, a_moment = 50'000'000; // TSC ticks
constexpr unsigned pings = 2000;

enum class Model : uint32_t { Flat, Cluster, X2Apic };

volatile uint32_t started[most], fixed[most], nmis[most], configured[most], pinged[most];
volatile bool extended[most]; // the processor is in x2APIC mode
volatile Model wanted = Model::Flat;
unsigned processors = 1, checks = 0, failures = 0;

uint64_t read_msr(uint32_t index) {
    uint32_t low = 0, high = 0;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return uint64_t{high} << 32 | low;
}
void write_msr(uint32_t index, uint64_t value) {
    asm volatile("wrmsr"
                 :
                 : "c"(index), "a"(static_cast<uint32_t>(value)), "d"(static_cast<uint32_t>(value >> 32))
                 : "memory");
}
uint64_t tsc() {
    uint32_t low = 0, high = 0;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return uint64_t{high} << 32 | low;
}
unsigned self() {
    uint32_t a = 1, b = 0, c = 0, d = 0;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return b >> 24;
}

volatile uint32_t& apic(unsigned index) {
    return at<uint32_t>(0xfee00000 + index * 16);
}
void write_apic(unsigned index, uint32_t value) {
    if (extended[self()])
        write_msr(0x800 + index, value);
    else
        apic(index) = value;
}
void send(uint32_t destination, uint32_t command) {
    if (extended[self()]) {
        write_msr(0x800 + reg_icr, uint64_t{destination} << 32 | command);
    } else {
        apic(reg_icr_high) = destination << 24;
        apic(reg_icr) = command;
    }
}

void configure() {
    const auto id = self();
    switch (wanted) {
    case Model::Flat:
        apic(reg_dfr) = 0xffffffff;
        apic(reg_ldr) = 1u << (24 + id);
        break;
    case Model::Cluster: // two processors in a cluster
        apic(reg_dfr) = 0x0fffffff;
        apic(reg_ldr) = (id / 2) << 28 | 1u << (24 + id % 2);
        break;
    case Model::X2Apic:
        write_msr(0x1b, read_msr(0x1b) | 0xc00);
        extended[id] = true;
        break;
    }
    configured[id] = configured[id] + 1;
}

template <typename Condition>
bool wait_until(Condition condition) {
    for (const auto begin = tsc(); !condition();) {
        if (tsc() - begin > patience)
            return false;
        asm volatile("pause");
    }
    return true;
}
void wait_a_moment() {
    for (const auto begin = tsc(); tsc() - begin < a_moment;)
        asm volatile("pause");
}

void check(const char* what, bool good) {
    ++checks;
    if (!good)
        ++failures;
    say(good ? "good: " : "WRONG: ", what);
}

uint32_t sum(const volatile uint32_t* counts) {
    uint32_t total = 0;
    for (unsigned i = 0; i < processors; ++i)
        total += counts[i];
    return total;
}

/// Sends, and expects one arrival at each processor of `mask` and none elsewhere.
void expect(const char* what, uint32_t mask, uint32_t destination, uint32_t command,
            volatile uint32_t* counts = fixed) {
    for (unsigned i = 0; i < processors; ++i)
        counts[i] = 0;
    send(destination, command);
    const auto there = [&] {
        for (unsigned i = 0; i < processors; ++i)
            if (counts[i] < (mask >> i & 1))
                return false;
        return true;
    };
    bool good = wait_until(there);
    wait_a_moment(); // for what should not come
    for (unsigned i = 0; i < processors; ++i)
        good = good && counts[i] == (mask >> i & 1);
    check(what, good);
}

void expect_one_of_all(const char* what, uint32_t destination, uint32_t command) {
    for (unsigned i = 0; i < processors; ++i)
        fixed[i] = 0;
    send(destination, command);
    const bool good = wait_until([] { return sum(fixed) != 0; });
    wait_a_moment();
    check(what, good && sum(fixed) == 1);
}

void configure_all(Model model) {
    uint32_t before[most];
    for (unsigned i = 0; i < processors; ++i)
        before[i] = configured[i];
    wanted = model;
    send(0, to_others | vector_command);
    const bool good = wait_until([&] {
        for (unsigned i = 1; i < processors; ++i)
            if (configured[i] == before[i])
                return false;
        return true;
    });
    configure();
    check("every processor takes another mode", good);
}

// --- tables

bool sums_to_zero(uint32_t address, uint32_t size) {
    uint8_t total = 0;
    for (uint32_t i = 0; i < size; ++i)
        total = static_cast<uint8_t>(total + at<uint8_t>(address + i));
    return total == 0;
}

unsigned count_mp_table() {
    for (uint32_t pointer = 0xf0000; pointer < 0x100000; pointer += 16) {
        if (at<uint32_t>(pointer) != 0x5f504d5f || !sums_to_zero(pointer, 16)) // _MP_
            continue;
        const auto table = at<uint32_t>(pointer + 4);
        if (at<uint32_t>(table) != 0x504d4350 || !sums_to_zero(table, at<uint16_t>(table + 4))) // PCMP
            return 0;
        unsigned count = 0;
        uint32_t place = table + 44;
        for (unsigned i = 0; i < at<uint16_t>(table + 34); ++i) {
            const bool processor = at<uint8_t>(place) == 0;
            if (processor && (at<uint8_t>(place + 3) & 1) != 0)
                ++count;
            place += processor ? 20 : 8;
        }
        return count;
    }
    return 0;
}

unsigned count_madt() {
    for (uint32_t pointer = 0xe0000; pointer < 0x100000; pointer += 16) {
        if (at<uint32_t>(pointer) != 0x20445352 || at<uint32_t>(pointer + 4) != 0x20525450) // RSD PTR
            continue;
        const auto rsdt = at<uint32_t>(pointer + 16);
        for (uint32_t i = 36; i < at<uint32_t>(rsdt + 4); i += 4) {
            const auto table = at<uint32_t>(rsdt + i);
            if (at<uint32_t>(table) != 0x43495041) // APIC
                continue;
            unsigned count = 0;
            for (uint32_t at_entry = 44; at_entry < at<uint32_t>(table + 4);
                 at_entry += at<uint8_t>(table + at_entry + 1))
                if (at<uint8_t>(table + at_entry) == 0 && (at<uint32_t>(table + at_entry + 4) & 1) != 0)
                    ++count;
            return count;
        }
    }
    return 0;
}

// --- what is done

void start_all() {
    const auto size = static_cast<uint32_t>(&trampoline_end - &trampoline_begin);
    for (uint32_t i = 0; i < size; ++i)
        at<char>(trampoline + i) = (&trampoline_begin)[i];
    asm volatile("sgdt 0x7f00\n sidt 0x7f08" : : : "memory");
    static_assert(gdtr_place == 0x7f00 && idtr_place == 0x7f08);
    apic(reg_svr) = 0x1ff;
    send(0, to_others | init | assert_level);
    wait_a_moment();
    send(0, to_others | startup | assert_level | trampoline >> 12);
    const auto expected = processors - 1;
    check("INIT and SIPI start every processor", wait_until([=] { return sum(started) == expected; }));
    send(0, to_others | startup | assert_level | trampoline >> 12);
    wait_a_moment();
    check("a second SIPI is ignored", sum(started) == expected);
    bool own = true;
    for (unsigned i = 1; i < processors; ++i)
        own = own && started[i] == 1;
    check("each has an APIC ID of its own", own);
}

void common_checks(uint32_t everybody) {
    const uint32_t all = (1u << processors) - 1;
    for (unsigned i = 0; i < processors; ++i)
        expect("fixed, physical", 1u << i, i, vector_fixed);
    expect("fixed, physical broadcast", all, everybody, vector_fixed);
    expect("fixed, shorthand self", 1, 0, to_self | vector_fixed);
    expect("fixed, shorthand all", all, 0, to_all | vector_fixed);
    expect("fixed, shorthand all but self", all & ~1u, 0, to_others | vector_fixed);
    expect("NMI, physical", 2, 1, nmi, nmis);
    expect("NMI, shorthand all but self", all & ~1u, 0, to_others | nmi, nmis);
}

void restart_one() {
    const auto before = started[1];
    send(1, init | assert_level);
    wait_a_moment();
    for (unsigned i = 0; i < processors; ++i)
        fixed[i] = 0;
    send(1, vector_fixed);
    wait_a_moment();
    check("after INIT a processor takes no interrupt", sum(fixed) == 0 && started[1] == before);
    extended[1] = (read_msr(0x1b) & 0x400) != 0; // INIT leaves the mode as it is
    send(1, startup | assert_level | trampoline >> 12);
    check("after SIPI it comes again", wait_until([=] { return started[1] == before + 1; }));
    expect("and takes interrupts", 2, 1, vector_fixed);
}

/// An interrupt goes there and back, again and again; both sides halt meanwhile.
void exchange() {
    pinged[0] = 0;
    const auto begin = tsc();
    for (unsigned i = 0; i < pings; ++i) {
        send(1 + i % (processors - 1), vector_ping);
        asm volatile("cli");
        while (pinged[0] == i)
            asm volatile("sti\n hlt\n cli" : : : "memory");
        asm volatile("sti");
    }
    say(pings, " exchanges took ", static_cast<uint32_t>((tsc() - begin) >> 20), " Mi ticks");
    check("interrupts go to and fro between halted processors", pinged[0] == pings);
}

} // namespace

extern "C" {
char processor_stacks[(most + 1) * 4096];

void interrupt(uint32_t vector) {
    const auto id = self();
    switch (vector) {
    case vector_nmi:
        nmis[id] = nmis[id] + 1;
        return;
    case vector_fixed:
        fixed[id] = fixed[id] + 1;
        break;
    case vector_ping:
        pinged[id] = pinged[id] + 1;
        break;
    default:
        break;
    }
    write_apic(reg_eoi, 0);
    if (vector == vector_command) // the end of the interrupt belongs to the old mode
        configure();
    else if (vector == vector_ping && id != 0)
        send(0, vector_ping);
}

void processor_main() {
    const auto id = self();
    write_apic(reg_svr, 0x1ff);
    started[id] = started[id] + 1;
    asm volatile("sti");
}

void kernel_main(uint32_t, const MultibootInfo*) {
    serial_start();
    tables_start();
    set_gate(vector_nmi, entry_nmi);
    set_gate(vector_fixed, entry_fixed);
    set_gate(vector_command, entry_command);
    set_gate(vector_ping, entry_ping);
    out8(0x21, 0xff); // the 8259s keep still
    out8(0xa1, 0xff);

    const auto listed = count_madt(), in_mp_table = count_mp_table();
    say("MADT: ", listed, " processors, MP table: ", in_mp_table);
    if (listed < 2 || listed > most) {
        say("processors: this needs 2 to ", most, ", END");
        return;
    }
    processors = listed;
    check("MADT and MP table agree", listed == in_mp_table);
    start_all();
    asm volatile("sti");
    const uint32_t all = (1u << processors) - 1;

    configure_all(Model::Flat);
    common_checks(0xff);
    expect("fixed, logical flat", all & 0b0110, 0b0110, logical | vector_fixed);
    expect("fixed, logical flat, everybody", all, 0xff, logical | vector_fixed);
    expect_one_of_all("lowest priority, logical flat", 0xff, logical | lowest_priority | vector_fixed);
    configure_all(Model::Cluster);
    expect("fixed, logical cluster", all & 0b1100, 0x13, logical | vector_fixed);
    expect("fixed, logical cluster, one", 2, 0x02, logical | vector_fixed);
    expect("fixed, logical cluster, everybody", all, 0xff, logical | vector_fixed);
    restart_one();
    exchange();
    configure_all(Model::X2Apic);
    common_checks(0xffffffff);
    expect("fixed, x2APIC logical", all & 0b0110, 0b0110, logical | vector_fixed);
    expect("fixed, x2APIC logical, another cluster", 0, 0x10001, logical | vector_fixed);
    expect_one_of_all("lowest priority, x2APIC logical", 0xffff, logical | lowest_priority | vector_fixed);
    for (unsigned i = 0; i < processors; ++i)
        fixed[i] = 0;
    write_msr(0x83f, vector_fixed);
    check("the self-IPI register", wait_until([] { return fixed[0] == 1; }) && sum(fixed) == 1);
    restart_one();
    exchange();
    say("processors: ", processors, ", ", checks, " checks, ", failures, " failed, END");
}
}
