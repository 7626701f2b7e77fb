// SPDX-License-Identifier: GPL-2.0-or-later
// Typed, checked access to the merged entries of a domain file: what is missing gives nothing, what has the
// wrong type or lies out of range gives nothing and an error.
#pragma once

#include "devmodel/config/domain_file.hpp"

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace escalus {

/// A string from a file and where it stands.
struct Text {
    std::string text;
    Position where; ///< of the text itself, without its quotes
};

/// The place of `text`, which came from `value`, without quotes when it was written plainly.
[[nodiscard]] Position content_position(const Value& value);
/// A part of a text that stands at `where`.
[[nodiscard]] Position part_position(const Position& where, std::size_t offset, std::size_t length);

/// A whole number in decimal, hexadecimal or octal, as strtol(base 0) reads it.
[[nodiscard]] std::optional<std::int64_t> to_integer(std::string_view text);
/// True for what says no: 0, "", [], None, False, "no", "none", "off", "disabled".
[[nodiscard]] bool says_no(const Value& value);

/// A choice's spellings and what each means.
template <typename T>
struct Choice {
    std::string_view word;
    T value;
};

class Settings {
  public:
    Settings(const std::vector<Entry>& entries, Diagnostics& diagnostics)
        : entries_{&entries}, diagnostics_{&diagnostics} {}

    /// Null when the key is not there, or is None.
    [[nodiscard]] const Value* find(std::string_view key) const;

    [[nodiscard]] std::optional<Text> string(std::string_view key) const;
    [[nodiscard]] std::optional<bool> boolean(std::string_view key) const;
    [[nodiscard]] std::optional<std::int64_t> integer(std::string_view key) const;
    /// `what` completes "KEY must be ..." and `help` says what to write.
    [[nodiscard]] std::optional<std::int64_t> integer(std::string_view key, std::int64_t least,
                                                      std::int64_t most, std::string_view what) const;
    /// A list of strings; a single string is a list of one.
    [[nodiscard]] std::optional<std::vector<Text>> strings(std::string_view key) const;

    [[nodiscard]] std::optional<bool> to_boolean(const Value& value, std::string_view key) const;
    [[nodiscard]] std::optional<std::int64_t> to_integer(const Value& value, std::string_view key) const;

    /// The key's value as one of the words; with `unknown` as message for others.
    template <typename T>
    [[nodiscard]] std::optional<T> choice(std::string_view key,
                                          std::initializer_list<Choice<T>> choices) const {
        const auto text = string(key);
        if (!text)
            return {};
        std::string help;
        for (const Choice<T>& c : choices) {
            if (c.word == text->text)
                return c.value;
            help += help.empty() ? "write one of: " : ", ";
            help += std::string{"'"}.append(c.word).append("'");
        }
        unknown_choice(key, *text, help);
        return {};
    }

    [[nodiscard]] Diagnostics& diagnostics() const { return *diagnostics_; }

  private:
    void unknown_choice(std::string_view key, const Text& text, const std::string& help) const;
    void wrong_type(std::string_view key, const Value& value, std::string_view wanted,
                    std::string_view example) const;

    const std::vector<Entry>* entries_;
    Diagnostics* diagnostics_;
};

} // namespace escalus
