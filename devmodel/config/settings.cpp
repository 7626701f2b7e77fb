// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/settings.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace escalus {
namespace {

std::string_view kind_name(const Value& value) {
    switch (value.kind) {
    case Value::Kind::String:
        return "a string";
    case Value::Kind::Number:
        return "a number";
    case Value::Kind::List:
        return "a list";
    case Value::Kind::None:
        break;
    }
    return "None";
}

} // namespace

Position content_position(const Value& value) {
    const Position& where = value.where;
    if (where.source == nullptr || value.kind != Value::Kind::String)
        return where;
    const std::string_view source = where.source->text;
    for (const std::size_t quotes : {0, 1, 3})
        if (where.offset + quotes <= source.size() &&
            source.substr(where.offset + quotes, value.text.size()) == value.text)
            return {where.source, where.offset + quotes, std::max<std::size_t>(1, value.text.size())};
    return where; // escapes, or strings joined: the whole
}

Position part_position(const Position& where, std::size_t offset, std::size_t length) {
    if (offset + length > where.length)
        return where;
    return {where.source, where.offset + offset, std::max<std::size_t>(1, length)};
}

std::optional<std::int64_t> to_integer(std::string_view text) {
    const bool negative = text.starts_with('-');
    if (negative)
        text.remove_prefix(1);
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text.starts_with('0')) {
        base = 8;
    }
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
    if (text.starts_with('-') || error != std::errc{} || end != text.data() + text.size())
        return {};
    return negative ? -number : number;
}

bool says_no(const Value& value) {
    constexpr std::array<std::string_view, 8> no{"", "0", "no", "none", "off", "disabled", "false", "False"};
    switch (value.kind) {
    case Value::Kind::None:
        return true;
    case Value::Kind::Number:
        return value.number == 0;
    case Value::Kind::String:
        return std::ranges::find(no, value.text) != no.end();
    case Value::Kind::List:
        break;
    }
    return std::ranges::all_of(
        value.items, [](const Value& item) { return item.kind == Value::Kind::String && item.text.empty(); });
}

const Value* Settings::find(std::string_view key) const {
    const auto entry = std::ranges::find(*entries_, key, &Entry::key);
    return entry == entries_->end() || entry->value.kind == Value::Kind::None ? nullptr : &entry->value;
}

void Settings::wrong_type(std::string_view key, const Value& value, std::string_view wanted,
                          std::string_view example) const {
    diagnostics_->error(value.where, fmt::format("{} must be {}, not {}", key, wanted, kind_name(value)),
                        fmt::format("write for example {} = {}", key, example));
}

std::optional<Text> Settings::string(std::string_view key) const {
    const Value* value = find(key);
    if (value == nullptr)
        return {};
    if (value->kind == Value::Kind::List) {
        wrong_type(key, *value, "a string", "'...'");
        return {};
    }
    return Text{value->text, content_position(*value)};
}

std::optional<bool> Settings::to_boolean(const Value& value, std::string_view key) const {
    constexpr std::array<std::string_view, 6> yes{"1", "yes", "true", "on", "True", "enabled"};
    constexpr std::array<std::string_view, 6> no{"0", "no", "false", "off", "False", "disabled"};
    if (value.kind == Value::Kind::Number && (value.number == 0 || value.number == 1))
        return value.number == 1;
    if (value.kind == Value::Kind::String) {
        if (std::ranges::find(yes, value.text) != yes.end())
            return true;
        if (std::ranges::find(no, value.text) != no.end())
            return false;
    }
    diagnostics_->error(value.where, fmt::format("{} must be 0 or 1", key),
                        fmt::format("write {} = 1 for yes, {} = 0 for no", key, key));
    return {};
}

std::optional<bool> Settings::boolean(std::string_view key) const {
    const Value* value = find(key);
    return value == nullptr ? std::nullopt : to_boolean(*value, key);
}

std::optional<std::int64_t> Settings::to_integer(const Value& value, std::string_view key) const {
    if (value.kind == Value::Kind::Number)
        return value.number;
    if (value.kind == Value::Kind::String)
        if (const auto number = escalus::to_integer(value.text))
            return number;
    wrong_type(key, value, "a whole number", key == "memory" || key == "maxmem" ? "1024" : "1");
    return {};
}

std::optional<std::int64_t> Settings::integer(std::string_view key) const {
    const Value* value = find(key);
    return value == nullptr ? std::nullopt : to_integer(*value, key);
}

std::optional<std::int64_t> Settings::integer(std::string_view key, std::int64_t least, std::int64_t most,
                                              std::string_view what) const {
    const auto number = integer(key);
    if (!number || (*number >= least && *number <= most))
        return number;
    diagnostics_->error(find(key)->where, fmt::format("{} is {}, but must be {}", key, *number, what),
                        fmt::format("write a number from {} to {}", least, most));
    return {};
}

std::optional<std::vector<Text>> Settings::strings(std::string_view key) const {
    const Value* value = find(key);
    if (value == nullptr)
        return {};
    std::vector<Text> result;
    if (value->kind == Value::Kind::String) {
        result.push_back({value->text, content_position(*value)});
        return result;
    }
    if (value->kind != Value::Kind::List) {
        wrong_type(key, *value, "a list of strings", "[ '...' ]");
        return {};
    }
    for (const Value& item : value->items) {
        if (item.kind == Value::Kind::String)
            result.push_back({item.text, content_position(item)});
        else
            diagnostics_->error(item.where,
                                fmt::format("{} must be a list of strings, not of {}", key, kind_name(item)),
                                fmt::format("write {} = [ '...' ]", key));
    }
    return result;
}

void Settings::unknown_choice(std::string_view key, const Text& text, const std::string& help) const {
    diagnostics_->error(text.where, fmt::format("{} cannot be '{}'", key, text.text), help);
}

} // namespace escalus
