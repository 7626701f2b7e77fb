// SPDX-License-Identifier: GPL-2.0-or-later
// The monitor's log: a ring that `escalus dmesg` reads, and optionally a serial port (16550, 115200 8N1) or
// the VGA text screen, until the control OS runs. A warning that comes many times in a row is written each
// time the count has doubled.
#pragma once

#include "vmm/abi/abi.hpp"

#include <concepts>
#include <cstdint>

namespace escalus::vmm {

enum class LogLevel { Error, Warning, Info, Debug };
enum class Console { None, Com1, Com2, Vga, Com1AndVga };

/// An unsigned number to be printed in hexadecimal.
struct Hex {
    std::uint64_t value;
};
template <Address A>
constexpr Hex hex(A address) {
    return {raw(address)};
}
constexpr Hex hex(std::uint64_t value) {
    return {value};
}

namespace log {

void set_level(LogLevel level);
void set_console(Console console);
/// Before this call the text collects in a small buffer, which is then copied.
void use_ring(abi::LogRing* ring, std::uint64_t bytes);

bool begin(LogLevel level); // takes the log's lock when true is returned
void end();
void put(const char* text);
void put(char c);
void put(Hex value);
void put(std::uint64_t value);
void put(std::int64_t value);
template <std::integral T>
void put(T value) {
    if constexpr (std::signed_integral<T>)
        put(std::int64_t{value});
    else
        put(std::uint64_t{value});
}

template <typename... Parts>
void write(LogLevel level, Parts... parts) {
    if (!begin(level))
        return;
    (put(parts), ...);
    end();
}
template <typename... Parts>
void error(Parts... parts) {
    write(LogLevel::Error, parts...);
}
template <typename... Parts>
void warning(Parts... parts) {
    write(LogLevel::Warning, parts...);
}
template <typename... Parts>
void info(Parts... parts) {
    write(LogLevel::Info, parts...);
}
template <typename... Parts>
void debug(Parts... parts) {
    write(LogLevel::Debug, parts...);
}

} // namespace log

/// Says why the monitor cannot go on, and stops this CPU.
template <typename... Parts>
[[noreturn]] void panic(Parts... parts);
[[noreturn]] void stop_machine();

template <typename... Parts>
[[noreturn]] void panic(Parts... parts) {
    log::error("PANIC: ", parts...);
    stop_machine();
}

} // namespace escalus::vmm
