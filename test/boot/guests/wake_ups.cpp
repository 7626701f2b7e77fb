// SPDX-License-Identifier: GPL-2.0-or-later
// No wake-up is lost: processors that halt whenever they have nothing to do, and are woken by each other and
// by timers. Tokens go from processor to processor, each by a fixed interrupt, one of lowest priority or an
// NMI; whoever has one sends it on to somebody. Local APIC timers are armed before halting, one shot each;
// the PIT and the HPET tick through the I/O APIC. Whoever is awake looks whether anything that should have
// come is missing for too long, by the time stamp counter. The command line says for how many wake-ups:
// `rounds=N`.
#include "test/boot/guests/smp.hpp"

INTERRUPT_ENTRY(entry_timer, 0x31)
INTERRUPT_ENTRY(entry_pit, 0x32)
INTERRUPT_ENTRY(entry_hpet, 0x33)
INTERRUPT_ENTRY(entry_end, 0x34)
INTERRUPT_ENTRY(entry_token_0, 0x40)
INTERRUPT_ENTRY(entry_token_1, 0x41)
INTERRUPT_ENTRY(entry_token_2, 0x42)

// Halts, unless there is something: `*something` is looked at with interrupts off, and STI lets none in
// before HLT. An NMI can come in between all the same, and bring something; so its entry leads what it
// interrupts there past HLT, and nothing that has come is slept upon. `*halts` counts the times that HLT
// ended.
asm(R"(
    .text
idle:
    mov 4(%esp), %eax
    mov 8(%esp), %ecx
idle_begin:
    cmpl $0, (%eax)
    jne idle_end
    sti
    hlt
idle_woken:
    incl (%ecx)
idle_end:
    cli
    ret

entry_nmi:
    pusha
    cmpl $idle_begin, 32(%esp)
    jb 1f
    cmpl $idle_woken, 32(%esp)
    jae 1f
    movl $idle_end, 32(%esp)
1:  call nmi_came
    popa
    iret
)");
extern "C" void idle(volatile uint32_t* something, volatile uint32_t* halts);
extern "C" void entry_nmi();

namespace {

constexpr unsigned most = most_processors, most_tokens = 3;
constexpr uint32_t vector_timer = 0x31, vector_pit = 0x32, vector_hpet = 0x33, vector_end = 0x34,
                   vector_token = 0x40;
constexpr uint32_t io_apic = 0xfec00000, hpet = 0xfed00000;
constexpr unsigned pit_pin = 2, hpet_pin = 20;
// In `moments`: a busy host may hold up a processor for seconds.
constexpr uint32_t patience = 600'000;
constexpr uint32_t longest_nap = 2'000'000; // ticks of the APIC timer

enum Way : unsigned { Fixed, Lowest, Nmi, Timer, Pit, HpetTick, ways };
constexpr const char* way_names[ways] = {"fixed", "lowest priority", "NMI", "APIC timer", "PIT", "HPET"};

/// Time in 65536 ticks of the TSC, which other processors read in one piece; enough for a day.
uint32_t moments() {
    return static_cast<uint32_t>(tsc() >> 16);
}

struct Processor {
    volatile uint32_t held;   // tokens that have come, a bit each: set by interrupts and NMIs
    volatile uint32_t by_nmi; // tokens that an NMI is to bring
    volatile uint32_t halts;  // that ended
    volatile uint32_t came[ways];
    volatile uint32_t armed; // the APIC timer is
    volatile uint32_t armed_at;
    volatile uint32_t started;
    uint32_t kept; // tokens that wait until the timer has fired, too
    uint32_t random;
};
struct Token {
    volatile uint32_t under_way;
    volatile uint32_t way, to;
    volatile uint32_t sent_at;
};

Processor processor[most];
Token token[most_tokens];
volatile uint32_t last_tick[ways]; // of the PIT and the HPET
volatile bool over, lost;
const char* volatile lost_what = "";
volatile uint32_t lost_number;
unsigned processors, tokens;

uint32_t atomic_take(volatile uint32_t& bits) {
    return __atomic_exchange_n(&bits, 0u, __ATOMIC_SEQ_CST);
}
void atomic_set(volatile uint32_t& bits, uint32_t which) {
    __atomic_fetch_or(&bits, which, __ATOMIC_SEQ_CST);
}
uint32_t random_number(Processor& me) { // xorshift
    me.random ^= me.random << 13;
    me.random ^= me.random >> 17;
    me.random ^= me.random << 5;
    return me.random;
}

void count(Processor& me, unsigned way) {
    me.came[way] = me.came[way] + 1;
}

void received(Processor& me, unsigned number) {
    token[number].under_way = 0;
    count(me, token[number].way);
    atomic_set(me.held, 1u << number);
}

void send_on(Processor& me, unsigned number) {
    Token& it = token[number];
    const auto to = random_number(me) % processors;
    it.to = to;
    it.way = random_number(me) % 3;
    it.sent_at = moments();
    __atomic_store_n(&it.under_way, 1u, __ATOMIC_SEQ_CST);
    switch (it.way) {
    case Fixed:
        apic(reg_icr_high) = to << 24;
        apic(reg_icr) = vector_token + number;
        break;
    case Lowest: // to whoever has the lowest
        apic(reg_icr_high) = 0xff000000;
        apic(reg_icr) = logical | lowest_priority | (vector_token + number);
        break;
    default:
        atomic_set(processor[to].by_nmi, 1u << number);
        apic(reg_icr_high) = to << 24;
        apic(reg_icr) = nmi;
        break;
    }
}

/// The first processor says so: it is sent an interrupt when the others leave their loops.
void missing(const char* what, uint32_t number) {
    if (!__atomic_exchange_n(&lost, true, __ATOMIC_SEQ_CST)) {
        lost_what = what;
        lost_number = number;
    }
    over = true;
}

/// Whether what should have come long ago has not.
void watch() {
    // What is sent meanwhile by another processor is not late.
    const auto now = moments();
    const auto late = [&](uint32_t since) { return static_cast<int32_t>(now - since) > int32_t{patience}; };
    for (unsigned i = 0; i < tokens; ++i)
        if (token[i].under_way != 0 && late(token[i].sent_at) && token[i].under_way != 0)
            missing(way_names[token[i].way], token[i].to);
    for (unsigned i = 0; i < processors; ++i)
        if (processor[i].armed != 0 && late(processor[i].armed_at) && processor[i].armed != 0)
            missing(way_names[Timer], i);
    for (unsigned way = Pit; way <= HpetTick; ++way)
        if (late(last_tick[way]))
            missing(way_names[way], 0);
}

void arm_timer(Processor& me) {
    me.armed_at = moments();
    me.armed = 1;
    apic(reg_initial_count) = 1 + random_number(me) % longest_nap;
}

void play(Processor& me) {
    while (!over) {
        watch();
        auto mine = atomic_take(me.held) | me.kept;
        me.kept = 0;
        for (unsigned i = 0; i < tokens; ++i)
            if ((mine >> i & 1) != 0) {
                // One in four stays until the timer has fired, so that this wake-up is needed, too.
                if (me.armed != 0 && random_number(me) % 4 == 0)
                    me.kept |= 1u << i;
                else
                    send_on(me, i);
            }
        if (me.armed == 0 && (me.kept != 0 || random_number(me) % 4 == 0))
            arm_timer(me);
        idle(&me.held, &me.halts);
    }
}

void configure(unsigned number) {
    apic(reg_dfr) = 0xffffffff;
    apic(reg_ldr) = 1u << (24 + number);
    apic(reg_svr) = 0x1ff;
    apic(reg_divide) = 0xb; // by one
    apic(reg_timer) = vector_timer;
    processor[number].random = 0x12345678 + number * 0x1001;
}

void route(unsigned pin, uint32_t low, uint32_t destination) {
    at<uint32_t>(io_apic) = 0x11 + 2 * pin;
    at<uint32_t>(io_apic + 0x10) = destination << 24;
    at<uint32_t>(io_apic) = 0x10 + 2 * pin;
    at<uint32_t>(io_apic + 0x10) = low;
}

void start_ticks() {
    for (auto& last : last_tick)
        last = moments();
    route(pit_pin, logical | lowest_priority | vector_pit, 0xff);
    route(hpet_pin, vector_hpet, processors - 1);
    constexpr unsigned divisor = 1193182 / 100;
    out8(0x43, 0x34); // counter 0: mode 2
    out8(0x40, divisor & 0xff);
    out8(0x40, divisor >> 8);
    constexpr uint32_t enable = 1 << 2, periodic = 1 << 3, set_value = 1 << 6, only_32_bits = 1 << 8;
    const auto period = static_cast<uint32_t>(1'000'000'000 / (at<uint32_t>(hpet + 4) / 1000 * 97 / 1000));
    at<uint32_t>(hpet + 0x10) = 0;
    at<uint32_t>(hpet + 0xf0) = 0;
    at<uint32_t>(hpet + 0xf4) = 0;
    at<uint32_t>(hpet + 0x100) = hpet_pin << 9 | enable | periodic | set_value | only_32_bits;
    at<uint32_t>(hpet + 0x108) = period;
    at<uint32_t>(hpet + 0x108) = period;
    at<uint32_t>(hpet + 0x10) = 1;
}

uint32_t number_after(const MultibootInfo& info, const char* word, uint32_t otherwise) {
    const auto* line = reinterpret_cast<const char*>(info.command_line);
    for (; *line != 0; ++line) {
        unsigned i = 0;
        while (word[i] != 0 && line[i] == word[i])
            ++i;
        if (word[i] != 0)
            continue;
        uint32_t value = 0;
        for (line += i; *line >= '0' && *line <= '9'; ++line)
            value = value * 10 + static_cast<uint32_t>(*line - '0');
        return value;
    }
    return otherwise;
}

uint32_t all_halts() {
    uint32_t sum = 0;
    for (unsigned i = 0; i < processors; ++i)
        sum += processor[i].halts;
    return sum;
}

volatile uint32_t wanted;

} // namespace

extern "C" {
void nmi_came() {
    Processor& me = processor[self()];
    const auto brought = atomic_take(me.by_nmi);
    for (unsigned i = 0; i < tokens; ++i)
        if ((brought >> i & 1) != 0)
            received(me, i);
}

void interrupt(uint32_t vector) {
    Processor& me = processor[self()];
    switch (vector) {
    case vector_timer:
        me.armed = 0;
        count(me, Timer);
        break;
    case vector_pit:
    case vector_hpet: {
        const auto way = vector == vector_pit ? Pit : HpetTick;
        last_tick[way] = moments();
        count(me, way);
        if (all_halts() >= wanted)
            over = true;
        break;
    }
    case vector_end:
        break;
    default:
        received(me, vector - vector_token);
        break;
    }
    apic(reg_eoi) = 0;
}

void processor_main() {
    const auto id = self();
    configure(id);
    processor[id].started = 1;
    play(processor[id]);
    apic(reg_icr_high) = 0; // the first may sleep
    apic(reg_icr) = vector_end;
}

void kernel_main(uint32_t, const MultibootInfo* info) {
    serial_start();
    tables_start();
    set_gate(2, entry_nmi);
    set_gate(vector_timer, entry_timer);
    set_gate(vector_pit, entry_pit);
    set_gate(vector_hpet, entry_hpet);
    set_gate(vector_end, entry_end);
    set_gate(vector_token, entry_token_0);
    set_gate(vector_token + 1, entry_token_1);
    set_gate(vector_token + 2, entry_token_2);
    out8(0x21, 0xff); // the 8259s keep still
    out8(0xa1, 0xff);
    wanted = number_after(*info, "rounds=", 10'000);
    processors = count_madt();
    const auto hpet_period = at<uint32_t>(hpet + 4); // fs; all ones where there is none
    if (processors < 2 || processors > most || hpet_period - 1 >= 100'000'000) {
        say("wake-ups: this needs 2 to ", most, " processors and an HPET, END");
        return;
    }
    tokens = processors - 1 < most_tokens ? processors - 1 : most_tokens;
    prepare_trampoline();
    configure(0);
    start_ticks();
    apic(reg_icr_high) = 0;
    apic(reg_icr) = to_others | init | assert_level;
    for (const auto begin = tsc(); tsc() - begin < 50'000'000;)
        asm volatile("pause");
    apic(reg_icr) = to_others | startup | assert_level | trampoline >> 12;
    for (const auto begin = moments(); moments() - begin < patience;) {
        unsigned here = 1;
        for (unsigned i = 1; i < processors; ++i)
            here += processor[i].started;
        if (here == processors)
            break;
        asm volatile("pause");
    }
    processor[0].held = (1u << tokens) - 1;
    play(processor[0]);
    if (lost)
        say("LOST: ", static_cast<const char*>(lost_what), " ", static_cast<uint32_t>(lost_number));
    for (unsigned way = 0; way < ways; ++way) {
        uint32_t sum = 0;
        for (unsigned i = 0; i < processors; ++i)
            sum += processor[i].came[way];
        say("by ", way_names[way], ": ", sum);
    }
    say("wake-ups: ", processors, " processors, ", all_halts(), " of ", static_cast<uint32_t>(wanted),
        lost ? ", LOST" : ", none lost", ", END");
}
}
