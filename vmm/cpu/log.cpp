// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/cpu/log.hpp"

#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/spinlock.hpp"

namespace escalus::vmm {

namespace {

// Until the pool is placed there is nowhere to keep the log but here.
constexpr std::uint64_t early_bytes = 8192;
alignas(8) constinit unsigned char early_storage[sizeof(abi::LogRing) + early_bytes] = {};

constinit SpinLock lock;
constinit LogLevel level_limit = LogLevel::Info;
constinit Console console = Console::None;
constinit abi::LogRing* ring = nullptr;
constinit std::uint64_t ring_text_bytes = early_bytes;
constinit unsigned vga_row = 0, vga_column = 0;

// A line is put together first, and cut where the space ends. What is put outside of begin() and end() is
// written at once.
struct Line {
    char text[1000];
    unsigned length;
};
constinit Line line = {}, last_warning = {};
constinit LogLevel line_level = LogLevel::Info;
constinit bool in_line = false;
constinit std::uint64_t repeated = 0; // how often the last warning came in a row

abi::LogRing* current_ring() {
    return ring != nullptr ? ring : reinterpret_cast<abi::LogRing*>(early_storage);
}

void serial_put(std::uint16_t base, char c) {
    // Bounded: a port without a UART reads as all ones, one with a stuck transmitter must not stop the
    // monitor.
    for (unsigned i = 0; i < 100'000 && (in8(base + 5) & 0x20) == 0; ++i)
        pause();
    out8(base, static_cast<std::uint8_t>(c));
}

void serial_start(std::uint16_t base) {
    out8(base + 1, 0x00); // no interrupts
    out8(base + 3, 0x80); // divisor latch
    out8(base + 0, 1);    // 115200
    out8(base + 1, 0);
    out8(base + 3, 0x03); // 8N1
    out8(base + 2, 0x07); // FIFOs on and empty
    out8(base + 4, 0x03);
}

void vga_clear() {
    auto* screen = reinterpret_cast<volatile std::uint16_t*>(0xb8000ull);
    for (unsigned i = 0; i < 25 * 80; ++i)
        screen[i] = 0x0720;
    vga_row = vga_column = 0;
}

void vga_put(char c) {
    auto* screen = reinterpret_cast<volatile std::uint16_t*>(0xb8000ull);
    if (c != '\n') {
        screen[vga_row * 80 + vga_column] =
            static_cast<std::uint16_t>(0x0700 | static_cast<unsigned char>(c));
        if (++vga_column < 80)
            return;
    }
    vga_column = 0;
    if (++vga_row < 25)
        return;
    vga_row = 24;
    for (unsigned i = 0; i < 24 * 80; ++i)
        screen[i] = screen[i + 80];
    for (unsigned i = 24 * 80; i < 25 * 80; ++i)
        screen[i] = 0x0720;
}

std::uint16_t serial_base() {
    return console == Console::Com2 ? 0x2f8 : 0x3f8;
}
bool on_serial() {
    return console != Console::None && console != Console::Vga;
}
bool on_screen() {
    return console == Console::Vga || console == Console::Com1AndVga;
}

void write_out(char c) {
    abi::LogRing* r = current_ring();
    r->text[r->written % ring_text_bytes] = c;
    r->written = r->written + 1;
    if (on_serial()) {
        if (c == '\n')
            serial_put(serial_base(), '\r');
        serial_put(serial_base(), c);
    }
    if (on_screen())
        vga_put(c);
}

bool same(const Line& a, const Line& b) {
    if (a.length != b.length)
        return false;
    for (unsigned i = 0; i < a.length; ++i)
        if (a.text[i] != b.text[i])
            return false;
    return true;
}

// A warning that comes again and again, which may be somebody's purpose, must not push out of the ring what
// came before it: it is written when it comes for the 1st, 2nd, 4th, 8th ... time in a row.
bool is_news() {
    const bool warning = line_level == LogLevel::Warning;
    if (warning && same(line, last_warning)) {
        ++repeated;
        return (repeated & (repeated - 1)) == 0;
    }
    repeated = 1;
    last_warning.length = 0; // no Line by value: a panic may be on a small stack
    if (warning)
        last_warning = line;
    return true;
}

} // namespace

void log::set_level(LogLevel level) {
    level_limit = level;
}

void log::set_console(Console which) {
    console = which;
    if (on_serial())
        serial_start(serial_base());
    if (on_screen())
        vga_clear();
}

void log::use_ring(abi::LogRing* new_ring, std::uint64_t bytes) {
    const abi::LogRing* old = current_ring();
    const auto text_bytes = bytes - sizeof(abi::LogRing);
    const auto first = old->written > early_bytes ? old->written - early_bytes : 0;
    for (auto i = first; i < old->written; ++i)
        new_ring->text[i % text_bytes] = old->text[i % early_bytes];
    new_ring->written = old->written;
    ring = new_ring;
    ring_text_bytes = text_bytes;
}

bool log::begin(LogLevel level) {
    if (level > level_limit)
        return false;
    lock.lock();
    line.length = 0;
    line_level = level;
    in_line = true;
    static constexpr const char* marks[] = {
        "escalus: error: ", "escalus: warning: ", "escalus: ", "escalus: debug: "};
    put(marks[static_cast<unsigned>(level)]);
    return true;
}

void log::end() {
    if (is_news()) {
        if (repeated > 1) {
            put(" (");
            put(repeated);
            put(" times)");
        }
        for (unsigned i = 0; i < line.length; ++i)
            write_out(line.text[i]);
        write_out('\n');
    }
    in_line = false;
    lock.unlock();
}

void log::put(char c) {
    if (!in_line)
        write_out(c);
    else if (line.length < sizeof line.text)
        line.text[line.length++] = c;
}

void log::put(const char* text) {
    while (*text != 0)
        put(*text++);
}

void log::put(Hex value) {
    put("0x");
    int shift = 60;
    while (shift > 0 && (value.value >> shift) == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        put("0123456789abcdef"[value.value >> shift & 15]);
}

void log::put(std::uint64_t value) {
    char digits[20];
    unsigned n = 0;
    do {
        digits[n++] = static_cast<char>('0' + value % 10);
        value /= 10;
    } while (value != 0);
    while (n != 0)
        put(digits[--n]);
}

void log::put(std::int64_t value) {
    if (value < 0)
        put('-');
    put(value < 0 ? -static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value));
}

void stop_machine() {
    halt_forever();
}

} // namespace escalus::vmm
