// SPDX-License-Identifier: GPL-2.0-or-later
// `escalus console --vga`: from a terminal's bytes to keys, and from screen changes to a terminal's bytes.
#include "devmodel/cli/raw_terminal.hpp"
#include "devmodel/cli/screen_feed.hpp"
#include "devmodel/cli/terminal_keys.hpp"
#include "devmodel/cli/terminal_screen.hpp"
#include "devmodel/devices/input/keysym_map.hpp"

#include <array>

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <pty.h>
#include <unistd.h>

using namespace escalus;

namespace {

/// The keys as words: chords as they are, text in quotes.
std::string words(std::string_view bytes) {
    std::string all;
    for (const auto& key : typed_keys(bytes).keys)
        all += (all.empty() ? "" : " ") + (key.chord.empty() ? '"' + key.text + '"' : key.chord);
    return all;
}

TextScreen screen(std::vector<std::string> lines, std::vector<std::vector<std::uint8_t>> attributes = {}) {
    TextScreen result;
    result.columns = static_cast<unsigned>(lines[0].size());
    result.rows = static_cast<unsigned>(lines.size());
    result.lines = std::move(lines);
    result.attributes = std::move(attributes);
    if (result.attributes.empty())
        result.attributes.assign(result.rows, std::vector<std::uint8_t>(result.columns, 7));
    return result;
}

} // namespace

TEST_CASE("a terminal's bytes are keys") {
    CHECK(words("ls -l\r") == "\"ls -l\" ret");
    CHECK(words("A\xc3\xa4") == "\"A\xc3\xa4\"");
    CHECK(words("\x03\x1a\x08\x7f\t") == "ctrl-c ctrl-z backspace backspace tab");
    CHECK(words(std::string_view{"\0\x1c", 2}) == "ctrl-spc ctrl-backslash");
    CHECK(words("\x1b[A\x1b[B\x1b[C\x1b[D") == "up down right left");
    CHECK(words("\x1bOA\x1bOP\x1bOS\x1bOM") == "up f1 f4 kp_enter");
    CHECK(words("\x1b[H\x1b[4~\x1b[1~\x1b[8~") == "home end home end");
    CHECK(words("\x1b[2~\x1b[3~\x1b[5~\x1b[6~") == "insert delete pgup pgdn");
    CHECK(words("\x1b[15~\x1b[21~\x1b[24~\x1b[[B") == "f5 f10 f12 f2");
    CHECK(words("\x1b[1;5C\x1b[3;5~\x1b[1;8A\x1b[Z") == "ctrl-right ctrl-delete ctrl-alt-shift-up shift-tab");
    CHECK(words("\x1b") == "esc");
    CHECK(words("\x1b\x1b[A") == "esc up");
    CHECK(words("\x1bx\x1bX\x1b\r\x1b\x03") == "alt-x alt-x alt-ret alt-ctrl-c");
}

TEST_CASE("every chord that a terminal can give is one that can be typed") {
    for (unsigned first = 0; first < 128; ++first)
        for (unsigned second = 0; second < 128; ++second)
            for (const auto* start : {"", "\x1b", "\x1b[", "\x1bO", "\x1b[1;5", "\x1b[2"}) {
                const auto bytes =
                    start + std::string(1, static_cast<char>(first)) + static_cast<char>(second) + "~";
                for (const auto& key : typed_keys(bytes).keys)
                    if (!key.chord.empty()) {
                        INFO(key.chord);
                        CHECK_NOTHROW(static_cast<void>(keys_by_name(key.chord)));
                    }
            }
}

TEST_CASE("Ctrl-] leaves; broken sequences do no harm") {
    const auto typed = typed_keys("a\x1d"
                                  "b");
    CHECK(typed.leave);
    CHECK(typed.keys == std::vector<TypedKey>{{"", "a"}});
    CHECK(words("\x1b[").empty() == false); // Alt-[ of a terminal that says so
    CHECK(words("\x1b[99~").empty());
    CHECK(words("\x1b[1;5").empty());
    CHECK(words("\x1b[99999999999999999999A") == "up");
    CHECK(words("\x1b[;;;;;;A") == "up");
}

TEST_CASE("a screen is sent whole at first, then what changed") {
    auto before = screen({"grub> ", "      "});
    const auto whole = screen_changes({}, before);
    REQUIRE(whole);
    CHECK(
        *whole ==
        R"({"screen":[6,2],"cursor":null,"rows":[[0,"grub> ","070707070707"],[1,"      ","070707070707"]]})");
    CHECK(!screen_changes(before, before));

    auto now = before;
    now.lines[1] = "  ls  ";
    now.cursor_visible = true;
    now.cursor_column = 4, now.cursor_row = 1;
    CHECK(*screen_changes(before, now) ==
          R"({"screen":[6,2],"cursor":[4,1],"rows":[[1,"  ls  ","070707070707"]]})");
    before = now;
    now.cursor_column = 5;
    CHECK(*screen_changes(before, now) == R"({"screen":[6,2],"cursor":[5,1],"rows":[]})");
    before = now;
    now.attributes[0][2] = 0x1f;
    CHECK(*screen_changes(before, now) ==
          R"({"screen":[6,2],"cursor":[5,1],"rows":[[0,"grub> ","07071f070707"]]})");
    // Another mode: everything; and graphics.
    CHECK(boost::json::parse(*screen_changes(now, screen({"abc"}))).at("rows").as_array().size() == 1);
    CHECK(*screen_changes(now, TextScreen{}) == R"({"screen":[0,0],"cursor":null,"rows":[]})");
    CHECK(!screen_changes(TextScreen{}, TextScreen{}));
}

TEST_CASE("changes are drawn in place, in the terminal's colours") {
    TerminalScreen terminal;
    CHECK(terminal.draw(R"({"screen":[4,2],"cursor":[1,0],"rows":[[1,"a\u2588b ","071f1f4e"]]})") ==
          "\x1b[?25l\x1b[2;1H\x1b[37;40ma\x1b[97;44m\xe2\x96\x88"
          "b\x1b[93;41m \x1b[0m\x1b[K\x1b[1;2H\x1b[?25h");
    CHECK_THAT(terminal.draw(R"({"screen":[0,0],"cursor":null,"rows":[]})"), Catch::Contains("graphics"));
    // Back to text: what was said goes.
    CHECK(terminal.draw(R"({"screen":[4,2],"cursor":null,"rows":[]})") == "\x1b[?25l\x1b[0m\x1b[2J");
}

TEST_CASE("no command to the terminal comes through, and nothing wrong crashes") {
    TerminalScreen terminal;
    const auto drawn = terminal.draw(
        "{\"screen\":[9,1],\"cursor\":null,\"rows\":[[0,\"a\\u001b]0;x\\u0007\\u009bZ\",\"07\"]]}");
    CHECK_THAT(drawn, Catch::Contains("a") && Catch::Contains("?]0;x??Z"));
    for (const auto* line : {"", "{}", "[]", "nothing", R"({"ok":true})", R"({"screen":[4],"rows":[]})",
                             R"({"screen":"x"})", R"({"screen":[80,-1]})"})
        CHECK(terminal.draw(line).empty());
    for (const auto* rows :
         {R"([[-1,"a","07"]])", R"([[999999,"a","07"]])", R"([["a"],[],7,[0],[1,2,3]])", "7"})
        CHECK_NOTHROW(
            terminal.draw(std::string{R"({"screen":[80,25],"cursor":[1e9,"x"],"rows":)"} + rows + "}"));
}

TEST_CASE("what was typed before the terminal is raw is not lost") {
    int outside = -1, inside = -1;
    REQUIRE(::openpty(&outside, &inside, nullptr, nullptr, nullptr) == 0);
    const int before = ::dup(STDIN_FILENO);
    REQUIRE(::dup2(inside, STDIN_FILENO) == STDIN_FILENO);
    CHECK(write_all(outside, "ls"));
    std::array<char, 8> bytes{};
    ssize_t count = 0;
    {
        const RawTerminal terminal;
        CHECK(terminal.active());
        ::fcntl(STDIN_FILENO, F_SETFL, O_RDWR | O_NONBLOCK);
        count = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    }
    ::dup2(before, STDIN_FILENO);
    for (const int fd : {before, inside, outside})
        ::close(fd);
    REQUIRE(count == 2);
    CHECK(std::string_view{bytes.data(), 2} == "ls");
}
