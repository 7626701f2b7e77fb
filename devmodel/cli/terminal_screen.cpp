// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/terminal_screen.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include <boost/json.hpp>
#include <fmt/format.h>

namespace escalus {

namespace {
namespace json = boost::json;

constexpr std::int64_t most_columns = 256, most_rows = 256;

/// The PC's colours count blue 1, green 2, red 4; the terminal's red 1, green 2, blue 4.
constexpr unsigned terminal_colour(unsigned pc) {
    return (pc & 2) | (pc & 1) << 2 | (pc >> 2 & 1);
}

std::string colours(unsigned attribute) {
    const unsigned fore = attribute & 15, back = attribute >> 4;
    return fmt::format("\x1b[{};{}m", (fore < 8 ? 30 : 90) + terminal_colour(fore & 7),
                       (back < 8 ? 40 : 100) + terminal_colour(back & 7));
}

int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// The next character, without what could be a command to the terminal.
std::string_view take_character(std::string_view& text) {
    const auto lead = static_cast<unsigned char>(text.front());
    const std::size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const auto character = text.substr(0, size);
    text.remove_prefix(character.size());
    const bool control =
        lead < 0x20 || lead == 0x7f ||
        (lead == 0xc2 && size > 1 && character.size() > 1 && static_cast<unsigned char>(character[1]) < 0xa0);
    const bool whole = character.size() == size && (lead < 0x80 || lead >= 0xc2);
    return control || !whole ? std::string_view{"?"} : character;
}

std::int64_t number(const json::value* value) {
    return value != nullptr && value->is_int64() ? value->get_int64() : -1;
}
const json::value* element(const json::value* value, std::size_t index) {
    const auto* array = value == nullptr ? nullptr : value->if_array();
    return array == nullptr || index >= array->size() ? nullptr : &(*array)[index];
}
std::string_view string(const json::value* value) {
    return value != nullptr && value->is_string() ? std::string_view{value->get_string()}
                                                  : std::string_view{};
}

std::string draw_row(std::string_view text, std::string_view attributes) {
    std::string out;
    int now = -1;
    for (std::int64_t column = 0; column < most_columns && !text.empty(); ++column) {
        int attribute = 0x07;
        if (attributes.size() >= 2) {
            attribute = digit(attributes[0]) * 16 + digit(attributes[1]);
            attributes.remove_prefix(2);
        }
        if (attribute != now)
            out += colours(static_cast<unsigned>(attribute) & 0xff);
        now = attribute;
        out += take_character(text);
    }
    return out + "\x1b[0m\x1b[K";
}
} // namespace

std::string TerminalScreen::enter() {
    return "\x1b[?1049h\x1b[0m\x1b[2J\x1b[H";
}

std::string TerminalScreen::leave() {
    return "\x1b[0m\x1b[?25h\x1b[?1049l";
}

std::string TerminalScreen::draw(std::string_view line) {
    boost::system::error_code error;
    const json::value parsed = json::parse(line, error);
    const auto* change = error ? nullptr : parsed.if_object();
    const auto* size = change == nullptr ? nullptr : change->if_contains("screen");
    const auto columns = number(element(size, 0)), rows = number(element(size, 1));
    if (columns < 0 || rows < 0)
        return {};
    if (columns == 0) {
        graphics_ = true;
        return "\x1b[0m\x1b[2J\x1b[H(the guest shows graphics: look with a VNC viewer; Ctrl-] leaves)";
    }
    std::string out{"\x1b[?25l"};
    if (graphics_)
        out += "\x1b[0m\x1b[2J";
    graphics_ = false;
    const auto* changed = change->if_contains("rows");
    for (std::size_t i = 0; i < static_cast<std::size_t>(most_rows); ++i) {
        const auto* row = element(changed, i);
        const auto at = number(element(row, 0));
        if (row == nullptr)
            break;
        if (at < 0 || at >= most_rows)
            continue;
        out += fmt::format("\x1b[{};1H", at + 1);
        out += draw_row(string(element(row, 1)), string(element(row, 2)));
    }
    const auto* cursor = change->if_contains("cursor");
    const auto x = number(element(cursor, 0)), y = number(element(cursor, 1));
    if (x >= 0 && y >= 0 && x < most_columns && y < most_rows)
        out += fmt::format("\x1b[{};{}H\x1b[?25h", y + 1, x + 1);
    return out;
}

} // namespace escalus
