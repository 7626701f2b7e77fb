// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/framework/options.hpp"

namespace escalus::nested {

namespace {

struct Word {
    const char* start;
    unsigned length;

    [[nodiscard]] bool is(const char* other) const {
        unsigned i = 0;
        while (i < length && other[i] == start[i] && other[i] != 0)
            ++i;
        return i == length && other[i] == 0;
    }
    /// Takes `name=` away from the front, if it is there.
    bool take(const char* name) {
        unsigned i = 0;
        for (; name[i] != 0; ++i)
            if (i >= length || start[i] != name[i])
                return false;
        start += i;
        length -= i;
        return true;
    }
    /// A decimal number of up to 6 digits; 0 when it is none.
    [[nodiscard]] unsigned value() const {
        unsigned number = 0;
        for (unsigned i = 0; i < length; ++i) {
            if (start[i] < '0' || start[i] > '9' || i == 6)
                return 0;
            number = number * 10 + static_cast<unsigned>(start[i] - '0');
        }
        return number;
    }
};

struct Method {
    const char* name;
    ExitMethod method;
};
constexpr Method methods[] = {{"any", ExitMethod::Any},
                              {"debug", ExitMethod::Debug},
                              {"acpi", ExitMethod::Acpi},
                              {"halt", ExitMethod::Halt}};

/// Null, or what is wrong.
const char* apply(Word word, Options& options) {
    if (word.take("run=")) {
        options.menu = false;
        options.plan.run = word.is("all") ? Selection{} : Selection{word.start, word.length};
        return nullptr;
    }
    if (word.take("without=")) {
        options.plan.without = {word.start, word.length};
        return nullptr;
    }
    if (word.take("exit=")) {
        for (const auto& choice : methods)
            if (word.is(choice.name)) {
                options.exit = choice.method;
                return nullptr;
            }
        return "want any, debug, acpi or halt; using any";
    }
    if (word.take("timeout=")) {
        const unsigned ms = word.value();
        if (ms == 0)
            return "want milliseconds; using the default";
        options.plan.timeout_ms = ms;
        return nullptr;
    }
    return "unknown word; ignored";
}

} // namespace

Options parse_options(const char* line) {
    Options options;
    for (bool first = true;; first = false) {
        while (*line == ' ')
            ++line;
        Word word{line, 0};
        bool is_path = first; // Multiboot1 loaders begin with the file's name
        for (; *line != 0 && *line != ' '; ++line, ++word.length)
            is_path = is_path && *line != '=';
        if (word.length == 0)
            return options;
        if (is_path)
            continue;
        if (const char* why = apply(word, options)) {
            vmm::log::put("# command line: ");
            for (unsigned i = 0; i < word.length; ++i)
                vmm::log::put(word.start[i]);
            vmm::log::put(": ");
            vmm::log::put(why);
            vmm::log::put('\n');
        }
    }
}

} // namespace escalus::nested
