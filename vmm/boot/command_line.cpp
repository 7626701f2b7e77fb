// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/boot/command_line.hpp"

#include "vmm/cpu/hardware_options.hpp"

namespace escalus::vmm {

namespace {

struct Text {
    const char* start;
    unsigned length;

    [[nodiscard]] bool is(const char* other) const {
        unsigned i = 0;
        for (; i < length && other[i] != 0; ++i)
            if (start[i] != other[i])
                return false;
        return i == length && other[i] == 0;
    }
    /// The part after `name=`; length ~0 when this is another word.
    [[nodiscard]] Text value_of(const char* name) const {
        unsigned i = 0;
        for (; name[i] != 0; ++i)
            if (i >= length || start[i] != name[i])
                return {nullptr, ~0u};
        if (i >= length || start[i] != '=')
            return {nullptr, ~0u};
        return {start + i + 1, length - i - 1};
    }
};

template <typename T>
struct Choice {
    const char* name;
    T value;
};

template <typename T, unsigned N>
bool choose(Text text, const Choice<T> (&choices)[N], T& result) {
    for (const auto& choice : choices)
        if (text.is(choice.name)) {
            result = choice.value;
            return true;
        }
    return false;
}

constexpr Choice<Console> consoles[] = {
    {"none", Console::None}, {"com1", Console::Com1}, {"com2", Console::Com2}, {"vga", Console::Vga}};
constexpr Choice<LogLevel> levels[] = {{"error", LogLevel::Error},
                                       {"warning", LogLevel::Warning},
                                       {"info", LogLevel::Info},
                                       {"debug", LogLevel::Debug}};

constexpr Choice<bool> switches[] = {{"on", false}, {"off", true}};

bool parse_pool(Text text, Options& options) {
    const bool percent = text.length > 1 && text.start[text.length - 1] == '%';
    const unsigned digits = percent ? text.length - 1 : text.length;
    if (digits == 0 || digits > 9)
        return false;
    std::uint64_t value = 0;
    for (unsigned i = 0; i < digits; ++i) {
        if (text.start[i] < '0' || text.start[i] > '9')
            return false;
        value = value * 10 + static_cast<unsigned>(text.start[i] - '0');
    }
    if (percent ? value < 1 || value > 90 : value < 2)
        return false;
    options.pool_in_percent = percent;
    options.pool = value;
    return true;
}

const char* apply(Text word, Options& options) {
    if (const Text pool = word.value_of("pool"); pool.start != nullptr)
        return parse_pool(pool, options) ? nullptr
                                         : "want pool=MIB (2 or more) or pool=N% (1 to 90); using 50%";
    if (const Text name = word.value_of("console"); name.start != nullptr)
        return choose(name, consoles, options.console) ? nullptr : "want none, com1, com2 or vga; using none";
    if (const Text name = word.value_of("loglevel"); name.start != nullptr)
        return choose(name, levels, options.log_level) ? nullptr
                                                       : "want error, warning, info or debug; using info";
    for (unsigned i = 0; i < static_cast<unsigned>(HardwareOption::Count); ++i)
        if (const Text value = word.value_of(hardware_option_names[i]); value.start != nullptr) {
            bool off = false;
            if (!choose(value, switches, off))
                return "want on or off; using on";
            options.hardware_off = (options.hardware_off & ~(1u << i)) | (off ? 1u << i : 0);
            return nullptr;
        }
    return "unknown option; ignored";
}

} // namespace

Options parse_options(const char* line, OptionComplaint complain) {
    Options options;
    // The first word may be the monitor's own path: Multiboot1 loaders put it there, Multiboot2 ones do not.
    bool first = true;
    while (*line != 0) {
        while (*line == ' ' || *line == '\t')
            ++line;
        Text word{line, 0};
        while (line[word.length] != 0 && line[word.length] != ' ' && line[word.length] != '\t')
            ++word.length;
        line += word.length;
        if (word.length == 0)
            continue;
        bool has_equals = false;
        for (unsigned i = 0; i < word.length; ++i)
            has_equals |= word.start[i] == '=';
        const bool path = first && !has_equals;
        first = false;
        if (path)
            continue;
        if (const char* why = apply(word, options))
            complain(word.start, word.length, why);
    }
    return options;
}

} // namespace escalus::vmm
