// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/terminal_keys.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace escalus {

namespace {

constexpr char escape = 0x1b, leave_key = 0x1d, backspace = 0x7f;

struct Name {
    int code; // the last letter, or the number before ~
    const char* key;
};
constexpr std::array letters{Name{'A', "up"},   Name{'B', "down"}, Name{'C', "right"},   Name{'D', "left"},
                             Name{'H', "home"}, Name{'F', "end"},  Name{'P', "f1"},      Name{'Q', "f2"},
                             Name{'R', "f3"},   Name{'S', "f4"},   Name{'M', "kp_enter"}};
constexpr std::array numbers{Name{1, "home"}, Name{2, "insert"}, Name{3, "delete"}, Name{4, "end"},
                             Name{5, "pgup"}, Name{6, "pgdn"},   Name{7, "home"},   Name{8, "end"},
                             Name{11, "f1"},  Name{12, "f2"},    Name{13, "f3"},    Name{14, "f4"},
                             Name{15, "f5"},  Name{17, "f6"},    Name{18, "f7"},    Name{19, "f8"},
                             Name{20, "f9"},  Name{21, "f10"},   Name{23, "f11"},   Name{24, "f12"}};

template <std::size_t size>
std::string key_of(const std::array<Name, size>& names, int code) {
    const auto* const found = std::ranges::find(names, code, &Name::code);
    return found == names.end() ? std::string{} : found->key;
}

/// xterm's modifier parameter: 1 and a bit each for Shift, Alt, Ctrl.
std::string modifiers(int parameter) {
    const int bits = std::max(parameter, 1) - 1;
    return std::string{(bits & 4) != 0 ? "ctrl-" : ""} + ((bits & 2) != 0 ? "alt-" : "") +
           ((bits & 1) != 0 ? "shift-" : "");
}

class Parser {
  public:
    explicit Parser(std::string_view bytes) : rest_{bytes} {}

    TypedKeys run() {
        while (!rest_.empty() && !result_.leave)
            next();
        return std::move(result_);
    }

  private:
    char take() {
        const char c = rest_.front();
        rest_.remove_prefix(1);
        return c;
    }
    void chord(const std::string& keys) {
        if (!keys.empty())
            result_.keys.push_back({prefix_ + keys, {}});
        prefix_.clear();
    }

    void next() {
        const char c = take();
        if (c == leave_key)
            result_.leave = true;
        else if (c == escape)
            after_escape();
        else
            character(c);
    }

    void after_escape() {
        if (rest_.empty() || rest_.front() == escape)
            return chord("esc");
        if (rest_.front() == '[' && rest_.size() > 1) {
            take();
            return control_sequence();
        }
        if (rest_.front() == 'O' && rest_.size() > 1) { // SS3: keys in application mode
            take();
            return chord(key_of(letters, take()));
        }
        prefix_ = "alt-"; // xterm's and the Linux console's Meta
        character(take());
    }

    void control_sequence() {
        if (rest_.front() == '[' && rest_.size() > 1) { // the Linux console's F1 to F5
            take();
            const char letter = take();
            return chord(letter >= 'A' && letter <= 'E' ? fmt::format("f{}", letter - 'A' + 1) : "");
        }
        std::array<int, 2> parameters{};
        std::size_t count = 0;
        while (!rest_.empty()) {
            const char c = take();
            if (c >= '0' && c <= '9') {
                if (count < parameters.size())
                    parameters[count] = std::min(parameters[count] * 10 + (c - '0'), 1000);
            } else if (c == ';') {
                ++count;
            } else if (c >= 0x40 && c <= 0x7e) {
                const auto key = c == '~'   ? key_of(numbers, parameters[0])
                                 : c == 'Z' ? std::string{"shift-tab"}
                                            : key_of(letters, c);
                return chord(key.empty() ? key : modifiers(parameters[1]) + key);
            } else if (c < 0x20) { // not a sequence after all
                return;
            }
        }
    }

    void character(char c) {
        const auto code = static_cast<unsigned char>(c);
        if (c == '\r' || c == '\n')
            return chord("ret");
        if (c == '\t')
            return chord("tab");
        if (c == backspace || c == '\b')
            return chord("backspace");
        if (c == 0)
            return chord("ctrl-spc");
        if (code < 0x1b)
            return chord(fmt::format("ctrl-{}", static_cast<char>('a' + code - 1)));
        if (code == 0x1c)
            return chord("ctrl-backslash");
        if (code < 0x20)
            return prefix_.clear();
        if (!prefix_.empty()) {
            if (std::isalnum(code) != 0)
                return chord(std::string(1, static_cast<char>(std::tolower(code))));
            prefix_.clear();
        }
        text(c);
    }

    /// A whole UTF-8 character; others than ASCII go as text too, and the keymap says whether there is a key.
    void text(char first) {
        std::string bytes(1, first);
        while (!rest_.empty() && (static_cast<unsigned char>(rest_.front()) & 0xc0) == 0x80)
            bytes += take();
        auto& keys = result_.keys;
        if (!keys.empty() && keys.back().chord.empty())
            keys.back().text += bytes;
        else
            keys.push_back({{}, bytes});
    }

    std::string_view rest_;
    std::string prefix_;
    TypedKeys result_;
};

} // namespace

TypedKeys typed_keys(std::string_view bytes) {
    return Parser{bytes}.run();
}

} // namespace escalus
