// SPDX-License-Identifier: GPL-2.0-or-later
// Hardware task switches of every kind, 32 and 16 bits: CALL and IRET, JMP, task gates in the GDT and the IDT
// for INT n, interrupts and exceptions (a double fault as old systems take it, with a task of its own), and
// the debug trap.
#include "test/boot/guests/kernel.hpp"

namespace {

enum Selector : uint16_t {
    code = 0x08,
    data = 0x10,
    main_task = 0x18,
    called = 0x20,
    small = 0x28,
    jumped = 0x30,
    gate = 0x38,
    faulting = 0x40,
    ticking = 0x48,
    selectors = 0x50
};

struct [[gnu::packed]] Tss32 {
    uint32_t link, stacks[6], cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss, ds, fs,
        gs, ldt;
    uint16_t trap, io_map;
};
struct [[gnu::packed]] Tss16 {
    uint16_t link, stacks[6], ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};
static_assert(sizeof(Tss32) == 104 && sizeof(Tss16) == 44);

uint64_t gdt[selectors / 8];
uint64_t idt[256];
Tss32 main_tss, called_tss, jumped_tss, faulting_tss, ticking_tss;
Tss16 small_tss;
alignas(16) uint8_t stacks[4][2048];

uint32_t failures = 0;

void check(bool holds, const char* what) {
    if (holds)
        return;
    ++failures;
    say("task-switch: wrong: ", what);
}

template <typename T>
uint32_t address(T* pointer) {
    return reinterpret_cast<uint32_t>(pointer);
}
uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t access, uint32_t flags) {
    return (limit & 0xffff) | uint64_t{base & 0xffffff} << 16 | uint64_t{access} << 40 |
           uint64_t{limit >> 16} << 48 | uint64_t{flags} << 52 | uint64_t{base >> 24} << 56;
}
constexpr uint64_t task_gate(uint16_t selector) {
    return uint64_t{selector} << 16 | 0x85ull << 40;
}
uint64_t interrupt_gate(void (*handler)()) {
    const auto at = reinterpret_cast<uint32_t>(handler);
    return (at & 0xffff) | uint64_t{code} << 16 | 0x8eull << 40 | uint64_t{at >> 16} << 48;
}
uint8_t access(uint16_t selector) {
    return static_cast<uint8_t>(gdt[selector / 8] >> 40);
}
struct [[gnu::packed]] Table {
    uint16_t limit;
    uint32_t base;
};

void make_task(Tss32& tss, uint16_t selector, void (*entry)(), unsigned stack) {
    tss.eip = reinterpret_cast<uint32_t>(entry);
    tss.eflags = 2;
    tss.esp = address(&stacks[stack]) + sizeof stacks[stack];
    tss.cs = code;
    tss.es = tss.ss = tss.ds = tss.fs = tss.gs = data;
    gdt[selector / 8] = descriptor(address(&tss), sizeof tss - 1, 0x89, 0);
}

} // namespace

extern "C" {
uint32_t times_called, times_jumped, times_faulted, error_code, ticks, debug_traps, debug_status;
void called_entry();
void jumped_entry();
void faulting_entry();
void ticking_entry();
void on_debug();
}

// A task that comes back by IRET goes on after it when it is entered next. The one for faults steps over the
// instruction that its creator names.
asm(R"(
    .global called_entry, jumped_entry, faulting_entry, ticking_entry, on_debug
called_entry:
    incl times_called
    iretl
    jmp called_entry
jumped_entry:
    incl times_jumped
    ljmp $0x18, $0
    jmp jumped_entry
faulting_entry:
    incl times_faulted
    popl error_code
    call step_over
    iretl
    jmp faulting_entry
ticking_entry:
    incl ticks
    mov $0x20, %al
    outb %al, $0x20
    iretl
    jmp ticking_entry
on_debug:
    push %eax
    incl debug_traps
    mov %dr6, %eax
    mov %eax, debug_status
    xor %eax, %eax
    mov %eax, %dr6
    pop %eax
    iretl
)");

namespace {
constexpr uint64_t no_gate = 0;
constexpr uint32_t vector_df = 8, vector_gp = 13, vector_timer = 0x20, vector_soft = 0x42;
constexpr uint32_t low_code = 0x8000, low_counter = 0x9000;

void calls() {
    main_tss.eax = 0;
    asm volatile("lcall $0x20, $0" ::: "memory");
    check(times_called == 1, "a task is called");
    check((called_tss.link & 0xffff) == main_task, "its link");
    check(access(main_task) == 0x8b && access(called) == 0x89, "who is busy");
    check((called_tss.eflags & 0x4000) == 0, "NT is saved as IRET leaves it");
    uint32_t flags = 0, status = 0;
    asm volatile("pushf; pop %0; smsw %1" : "=r"(flags), "=r"(status));
    check((flags & 0x4000) == 0, "NT of the caller");
    check((status & 8) != 0, "CR0.TS");
    asm volatile("lcall $0x20, $0" ::: "memory");
    check(times_called == 2, "it goes on after its IRET");
    asm volatile("lcall $0x38, $0" ::: "memory");
    check(times_called == 3, "by a gate in the GDT");
    asm volatile("int $0x42" ::: "memory");
    check(times_called == 4, "by a gate in the IDT");
    uint32_t kept = 0x12345678;
    asm volatile("lcall $0x20, $0" : "+S"(kept) : : "memory");
    check(kept == 0x12345678 && main_tss.esi == 0x12345678, "registers are kept in the TSS");
    asm volatile("ljmp $0x30, $0" ::: "memory");
    check(times_jumped == 1, "a jump to a task and back");
    check(access(main_task) == 0x8b && access(jumped) == 0x89, "who is busy after jumps");
}

void small_task() {
    // incw 0x9000; iret; jmp to the start: in the first 64 KiB, where IP reaches it.
    constexpr uint8_t program[] = {0x66, 0xff, 0x05, 0x00, 0x90, 0x00, 0x00, 0xcf, 0xeb, 0xf6};
    for (uint32_t i = 0; i < sizeof program; ++i)
        at<uint8_t>(low_code + i) = program[i];
    at<uint16_t>(low_counter) = 0;
    small_tss.ip = low_code;
    small_tss.flags = 2;
    small_tss.sp = 0x7c00;
    small_tss.cs = code;
    small_tss.es = small_tss.ss = small_tss.ds = data;
    gdt[small / 8] = descriptor(address(&small_tss), sizeof small_tss - 1, 0x81, 0);
    asm volatile("lcall $0x28, $0" ::: "memory");
    asm volatile("lcall $0x28, $0" ::: "memory");
    check(at<uint16_t>(low_counter) == 2, "a task of 16 bits");
    check(small_tss.ip == low_code + 8, "its IP");
    check(access(small) == 0x81, "it is not busy");
}

// MOV AX to ES, which faults: two bytes.
void load_bad_segment(uint16_t selector) {
    asm volatile(".byte 0x8e, 0xc0" : : "a"(selector) : "memory");
}

void faults() {
    idt[vector_gp] = task_gate(faulting);
    load_bad_segment(0x1230);
    check(times_faulted == 1 && error_code == 0x1230, "#GP by a task gate, with its error code");
    idt[vector_gp] = no_gate;
    idt[vector_df] = task_gate(faulting);
    error_code = 0x55;
    load_bad_segment(0x1230);
    check(times_faulted == 2 && error_code == 0, "a double fault by a task gate");
    idt[vector_df] = no_gate;
}

void trap() {
    idt[1] = interrupt_gate(on_debug);
    called_tss.trap = 1;
    asm volatile("lcall $0x20, $0" ::: "memory");
    called_tss.trap = 0;
    check(times_called == 6, "the task with a debug trap runs");
    check(debug_traps == 1 && (debug_status & 0x8000) != 0, "the debug trap, with BT in DR6");
}

void interrupts() {
    idt[vector_timer] = task_gate(ticking);
    out8(0x20, 0x11); // both 8259s: vectors 0x20 and 0x28, and only the timer
    out8(0x21, vector_timer);
    out8(0x21, 4);
    out8(0x21, 1);
    out8(0x21, 0xfe);
    out8(0x43, 0x34); // the timer: 1000 Hz
    out8(0x40, 0xa9);
    out8(0x40, 0x04);
    asm volatile("sti");
    while (__atomic_load_n(&ticks, __ATOMIC_RELAXED) < 20) {
    }
    asm volatile("cli");
    check(access(ticking) == 0x89, "the timer's task has come back");
}
} // namespace

// The faulting instruction is two bytes long.
extern "C" void step_over() {
    main_tss.eip += 2;
}

extern "C" void kernel_main(uint32_t, const MultibootInfo* info) {
    serial_start();
    gdt[code / 8] = descriptor(0, 0xfffff, 0x9b, 0xc);
    gdt[data / 8] = descriptor(0, 0xfffff, 0x93, 0xc);
    gdt[main_task / 8] = descriptor(address(&main_tss), sizeof main_tss - 1, 0x89, 0);
    gdt[gate / 8] = task_gate(called);
    make_task(called_tss, called, called_entry, 0);
    make_task(jumped_tss, jumped, jumped_entry, 1);
    make_task(faulting_tss, faulting, faulting_entry, 2);
    make_task(ticking_tss, ticking, ticking_entry, 3);
    idt[vector_soft] = task_gate(called);
    const Table tables[] = {{sizeof gdt - 1, address(&gdt)}, {sizeof idt - 1, address(&idt)}};
    asm volatile(
        "lgdt %0; lidt %1; ljmp $0x08, $1f; 1: mov %w2, %%ds; mov %w2, %%es; mov %w2, %%ss; mov %w2, %%fs; "
        "mov %w2, %%gs; ltr %w3"
        :
        : "m"(tables[0]), "m"(tables[1]), "r"(uint32_t{data}), "r"(uint32_t{main_task})
        : "memory");
    calls();
    small_task();
    faults();
    if (!is_told(*info, "no-debug-trap")) // QEMU's TCG does not know it
        trap();
    interrupts();
    say("task-switch: ", failures, " failed, END");
}
