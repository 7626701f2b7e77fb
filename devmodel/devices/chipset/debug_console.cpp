// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/debug_console.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr std::uint8_t presence = 0xe9;
}

DebugConsole::DebugConsole(Bus& ports, LineSink line, std::uint16_t port)
    : ports_{ports}, sink_{std::move(line)}, port_{port} {
    ports_.add(port_, 1, *this, 0);
}

DebugConsole::~DebugConsole() {
    ports_.remove(port_);
}

void DebugConsole::reset(ResetKind) {
    if (!line_.empty())
        flush();
}

void DebugConsole::flush() {
    if (sink_)
        sink_(line_);
    line_.clear();
}

void DebugConsole::read(unsigned, std::uint64_t, std::span<std::uint8_t> data) {
    std::ranges::fill(data, presence);
}

void DebugConsole::write(unsigned, std::uint64_t, std::span<const std::uint8_t> data) {
    for (const auto byte : data) {
        if (byte == '\n') {
            flush();
            continue;
        }
        if (byte == '\r')
            continue;
        // The guest must not send escape sequences to whoever reads the log.
        line_ += byte == '\t' || (byte >= 0x20 && byte < 0x7f) ? static_cast<char>(byte) : '?';
        if (line_.size() == longest_line)
            flush();
    }
}

void DebugConsole::read_repeated(unsigned region, std::uint64_t offset, unsigned,
                                 std::span<std::uint8_t> data) {
    read(region, offset, data);
}

void DebugConsole::write_repeated(unsigned region, std::uint64_t offset, unsigned,
                                  std::span<const std::uint8_t> data) {
    write(region, offset, data);
}

} // namespace escalus
