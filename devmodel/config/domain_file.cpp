// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/domain_file.hpp"

#include "devmodel/config/lexer.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace escalus {
namespace {

constexpr unsigned depth_max = 16;
constexpr std::size_t errors_max = 10;

constexpr std::array<std::string_view, 17> python_words{"import", "from", "if",    "elif",   "else", "for",
                                                        "while",  "def",  "class", "try",    "with", "except",
                                                        "del",    "exec", "pass",  "return", "print"};

SyntaxError program_code(const Position& where) {
    return {where, "this is Python program code, which is not executed here",
            "work out the value and write it: key = 'value' (xm ran domain files as programs; xl and "
            "Escalus do not)"};
}

class Parser {
  public:
    Parser(std::shared_ptr<const SourceText> source, Diagnostics& diagnostics)
        : diagnostics_{&diagnostics}, lexer_{std::move(source), diagnostics} {}

    std::vector<Entry> file() {
        std::vector<Entry> entries;
        for (std::size_t errors = 0;;) {
            try {
                if (!begun_)
                    advance();
                begun_ = true;
                if (token_.kind == TokenKind::End)
                    break;
                statement(entries);
            } catch (const SyntaxError& error) {
                diagnostics_->error(error.where, error.message, error.help);
                if (++errors == errors_max)
                    break;
                // A line that was already left (a newline was the surprise) is not skipped again.
                if (token_.kind != TokenKind::Newline || !begun_)
                    lexer_.skip_to_assignment();
                begun_ = false;
            }
        }
        return entries;
    }

  private:
    void advance() { token_ = lexer_.next(); }

    void statement(std::vector<Entry>& entries) {
        if (token_.kind == TokenKind::Newline || token_.is(';')) {
            advance();
            return;
        }
        if (token_.kind == TokenKind::String && token_.triple) { // Python's way of long comments
            advance();
            end_of_statement();
            return;
        }
        if (token_.kind != TokenKind::Identifier)
            throw SyntaxError{token_.where, fmt::format("a key is expected here, not {}", shown(token_)),
                              "write key = value"};
        Entry entry{token_.text, token_.where, false, {}};
        if (std::ranges::find(python_words, entry.key) != python_words.end())
            throw program_code(token_.where);
        advance();
        if (token_.is('(') || token_.is('.') || token_.is('['))
            throw program_code(entry.key_where);
        entry.append = token_.kind == TokenKind::PlusEquals;
        if (!entry.append && !token_.is('='))
            throw SyntaxError{token_.where,
                              fmt::format("'=' is expected after '{}', not {}", entry.key, shown(token_)),
                              fmt::format("write {} = value", entry.key)};
        advance();
        entry.value = value(entry.key, 0);
        end_of_statement();
        entries.push_back(std::move(entry));
    }

    void end_of_statement() {
        if (token_.kind == TokenKind::End)
            return;
        if (token_.kind != TokenKind::Newline && !token_.is(';')) {
            if (token_.kind == TokenKind::Symbol && !token_.is(']') && !token_.is(','))
                throw program_code(token_.where);
            throw SyntaxError{token_.where,
                              fmt::format("the end of the line is expected here, not {}", shown(token_)),
                              token_.is(',') ? "several values stand in brackets: [ 'a', 'b' ]"
                                             : "one assignment a line, or ';' between them"};
        }
        advance();
    }

    Value value(std::string_view key, unsigned depth) {
        switch (token_.kind) {
        case TokenKind::String:
            return string(depth);
        case TokenKind::Number:
            return number(false);
        case TokenKind::Identifier:
            return word(key, depth);
        case TokenKind::Newline:
        case TokenKind::End:
            throw SyntaxError{token_.where, fmt::format("a value for '{}' is expected here", key), {}};
        case TokenKind::PlusEquals:
        case TokenKind::Symbol:
            break;
        }
        if (token_.is('['))
            return list(key, depth);
        if (token_.is('-'))
            return number(true);
        if (token_.is('('))
            throw program_code(token_.where);
        throw SyntaxError{token_.where,
                          fmt::format("a value for '{}' is expected here, not {}", key, shown(token_)),
                          "strings stand in quotes, lists in brackets"};
    }

    /// Adjacent strings, and those with '+' between them, are one, as in Python.
    Value string(unsigned depth) {
        Value value{Value::Kind::String, token_.text, 0, {}, token_.where};
        const auto join = [&] {
            value.text += token_.text;
            value.where.length = token_.where.offset + token_.where.length - value.where.offset;
            advance();
        };
        advance();
        for (;;) {
            skip_newlines(depth);
            if (token_.kind == TokenKind::String) {
                if (depth != 0)
                    diagnostics_->warning(token_.where, "this string is joined to the one before it",
                                          "put a comma between list elements");
                join();
            } else if (token_.is('+')) {
                advance();
                skip_newlines(depth);
                if (token_.kind != TokenKind::String)
                    throw program_code(token_.where);
                join();
            } else {
                return value;
            }
        }
    }

    Value number(bool negative) {
        Position where = token_.where;
        if (negative) {
            advance();
            if (token_.kind != TokenKind::Number)
                throw SyntaxError{where, "a number is expected after '-'", {}};
            where.length = token_.where.offset + token_.where.length - where.offset;
        }
        const auto magnitude = static_cast<std::int64_t>(token_.number);
        Value value{Value::Kind::Number,
                    (negative ? "-" : "") + token_.text,
                    negative ? -magnitude : magnitude,
                    {},
                    where};
        advance();
        return value;
    }

    Value word(std::string_view key, unsigned depth) {
        Value value{Value::Kind::Number, token_.text, 0, {}, token_.where};
        if (value.text == "True" || value.text == "False")
            value.number = value.text == "True";
        else if (value.text == "None")
            value.kind = Value::Kind::None;
        advance();
        if (depth != 0 && (token_.is('=') || token_.kind == TokenKind::PlusEquals))
            throw no_list_end(); // the next assignment already
        const bool expression =
            token_.kind == TokenKind::Symbol && !token_.is(',') && !token_.is(']') && !token_.is(';');
        if (expression)
            throw program_code(value.where);
        if (value.kind == Value::Kind::Number && value.text != "True" && value.text != "False")
            throw SyntaxError{value.where, "a string needs quotes, and there are no variables here",
                              fmt::format("write {} = '{}'", key, value.text)};
        return value;
    }

    Value list(std::string_view key, unsigned depth) {
        if (depth == depth_max)
            throw SyntaxError{token_.where, "lists are nested too deeply", {}};
        Value value{Value::Kind::List, {}, 0, {}, token_.where};
        list_opening_ = token_.where;
        advance();
        for (;;) {
            skip_newlines(1);
            if (token_.is(']'))
                break;
            if (token_.kind == TokenKind::End)
                throw no_list_end();
            value.items.push_back(this->value(key, depth + 1));
            skip_newlines(1);
            if (token_.is(','))
                advance();
            else if (token_.kind == TokenKind::End)
                throw no_list_end();
            else if (!token_.is(']'))
                throw list_end_expected();
        }
        value.where.length = token_.where.offset + 1 - value.where.offset;
        advance();
        return value;
    }

    SyntaxError no_list_end() const { return {list_opening_, "this list has no end", "close it with ]"}; }

    /// Most often the closing bracket was forgotten, and the next assignment is the surprise.
    SyntaxError list_end_expected() {
        const Token surprise = token_;
        if (surprise.kind == TokenKind::Identifier) {
            advance();
            if (token_.is('=') || token_.kind == TokenKind::PlusEquals)
                return no_list_end();
        }
        return {surprise.where, fmt::format("',' or ']' is expected in a list, not {}", shown(surprise)), {}};
    }

    void skip_newlines(unsigned depth) {
        while (depth != 0 && token_.kind == TokenKind::Newline)
            advance();
    }

    static std::string shown(const Token& token) {
        switch (token.kind) {
        case TokenKind::Newline:
            return "the end of the line";
        case TokenKind::End:
            return "the end of the file";
        case TokenKind::String:
            return "a string";
        default:
            return fmt::format("'{}'", token.text);
        }
    }

    Diagnostics* diagnostics_;
    Lexer lexer_;
    Token token_;
    Position list_opening_; // of the list last begun
    bool begun_ = false;    // token_ is the first of the next statement
};

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t\r\n";
    const auto first = text.find_first_not_of(blanks);
    return first == std::string_view::npos ? std::string_view{}
                                           : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

void append(Entry& to, const Entry& more, Diagnostics& diagnostics) {
    if (to.value.kind != more.value.kind || to.value.kind == Value::Kind::Number) {
        diagnostics.error(more.value.where, "+= adds a string to a string, or a list to a list", {});
        return;
    }
    to.value.text += more.value.text;
    to.value.items.insert(to.value.items.end(), more.value.items.begin(), more.value.items.end());
}

} // namespace

std::vector<Entry> parse_domain_file(std::string name, std::string text, Diagnostics& diagnostics) {
    auto source = std::make_shared<SourceText>(SourceText{std::move(name), std::move(text)});
    if (const auto nul = source->text.find('\0'); nul != std::string::npos) {
        diagnostics.error({source, nul, 1}, "this is not a text file: there is a zero byte",
                          "a medium to boot from goes with --cdrom FILE");
        return {};
    }
    return Parser{std::move(source), diagnostics}.file();
}

std::vector<Entry> parse_override(std::string_view argument, Diagnostics& diagnostics) {
    auto source = std::make_shared<SourceText>(SourceText{"command line", std::string{argument}});
    const std::string_view text = source->text;
    const auto equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0) {
        diagnostics.error({source, 0, std::max<std::size_t>(1, text.size())},
                          fmt::format("'{}' is not an assignment", argument), "write key=value");
        return {};
    }
    const std::string_view value = trimmed(text.substr(equals + 1));
    const bool grammar = value.starts_with('[') || value.starts_with('\'') || value.starts_with('"');
    if (grammar)
        return parse_domain_file("command line", source->text, diagnostics);

    Entry entry;
    std::string_view key = text.substr(0, equals);
    entry.append = key.ends_with('+');
    if (entry.append)
        key.remove_suffix(1);
    entry.key = trimmed(key);
    entry.key_where = {source, 0, std::max<std::size_t>(1, key.size())};
    const auto value_offset =
        value.empty() ? text.size() : static_cast<std::size_t>(value.data() - text.data());
    entry.value = {Value::Kind::String,
                   std::string{value},
                   0,
                   {},
                   {source, value_offset, std::max<std::size_t>(1, value.size())}};
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (!value.empty() && error == std::errc{} && end == value.data() + value.size()) {
        entry.value.kind = Value::Kind::Number;
        entry.value.number = number;
    }
    std::vector<Entry> result;
    result.push_back(std::move(entry));
    return result;
}

std::vector<Entry> merge_entries(std::vector<Entry> entries, Diagnostics& diagnostics) {
    std::vector<Entry> merged;
    for (Entry& entry : entries) {
        const auto same = std::ranges::find(merged, entry.key, &Entry::key);
        if (same == merged.end()) {
            merged.push_back(std::move(entry));
        } else if (entry.append) {
            append(*same, entry, diagnostics);
        } else {
            if (same->key_where.source == entry.key_where.source)
                diagnostics.warning(entry.key_where, fmt::format("'{}' is set again: line {} has no effect",
                                                                 entry.key, same->key_where.line()));
            *same = std::move(entry);
        }
    }
    return merged;
}

} // namespace escalus
