// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/lexer.hpp"

#include <charconv>

#include <fmt/format.h>

namespace escalus {
namespace {

// The C locale's classes, whatever the process's locale is.
bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_word(char c) {
    return is_letter(c) || is_digit(c);
}
bool is_quote(char c) {
    return c == '\'' || c == '"';
}

} // namespace

Lexer::Lexer(std::shared_ptr<const SourceText> source, Diagnostics& diagnostics)
    : source_{std::move(source)}, diagnostics_{&diagnostics} {
    if (rest().starts_with("\xef\xbb\xbf")) // a byte order mark
        offset_ = 3;
}

Position Lexer::from(std::size_t start) const {
    return {source_, start, offset_ > start ? offset_ - start : 1};
}

/// Blanks, comments and continued lines.
bool Lexer::skip_blanks() {
    const std::string_view text = rest();
    if (text.starts_with(' ') || text.starts_with('\t') || text.starts_with('\f')) {
        ++offset_;
        return true;
    }
    if (text.starts_with("\\\n") || text.starts_with("\\\r\n")) {
        offset_ += text[1] == '\n' ? 2 : 3;
        return true;
    }
    if (text.starts_with('#')) {
        offset_ += std::min(text.find('\n'), text.size());
        return true;
    }
    return false;
}

Token Lexer::next() {
    while (skip_blanks()) {
    }
    const std::size_t start = offset_;
    const std::string_view text = rest();
    Token token;
    const auto finish = [&](TokenKind kind, std::size_t length) {
        token.kind = kind;
        token.text = text.substr(0, length);
        offset_ += length;
        token.where = from(start);
        return token;
    };
    if (text.empty())
        return finish(TokenKind::End, 0);
    if (text[0] == '\n' || text.starts_with("\r\n"))
        return finish(TokenKind::Newline, text[0] == '\n' ? 1 : 2);
    if (is_quote(text[0]))
        return string(start, false);
    if (is_digit(text[0]))
        return number();
    if (is_letter(text[0])) {
        std::size_t length = 1;
        while (length < text.size() && is_word(text[length]))
            ++length;
        // Python's u'...' and r'...'
        if (length == 1 && length < text.size() && is_quote(text[1]) &&
            std::string_view{"uUrR"}.find(text[0]) != std::string_view::npos) {
            ++offset_;
            return string(start, text[0] == 'r' || text[0] == 'R');
        }
        return finish(TokenKind::Identifier, length);
    }
    if (text.starts_with("+="))
        return finish(TokenKind::PlusEquals, 2);
    return finish(TokenKind::Symbol, 1);
}

Token Lexer::number() {
    const std::size_t start = offset_;
    std::string_view word = rest();
    std::size_t length = 0;
    while (length < word.size() && (is_word(word[length]) || word[length] == '.'))
        ++length;
    word = word.substr(0, length);
    offset_ += length;

    std::string_view digits = word;
    if (digits.ends_with('L') || digits.ends_with('l')) // Python 2's long integers
        digits.remove_suffix(1);
    int base = 10;
    if (digits.starts_with("0x") || digits.starts_with("0X"))
        base = 16;
    else if (digits.starts_with("0o") || digits.starts_with("0O"))
        base = 8;
    if (base != 10)
        digits.remove_prefix(2);
    else if (digits.size() > 1 && digits[0] == '0')
        base = 8;

    Token token{TokenKind::Number, std::string{word}, 0, false, from(start)};
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), token.number, base);
    if (error == std::errc::result_out_of_range || token.number > INT64_MAX)
        throw SyntaxError{token.where, fmt::format("the number {} is too large", word), {}};
    if (error != std::errc{} || end != digits.data() + digits.size()) {
        std::string help = "write a number without a unit (memory is in MiB), or a string in quotes";
        if (word.find('.') != std::string_view::npos)
            help = "write a whole number, or a string in quotes";
        else if (base == 8)
            help = "a number that begins with 0 is octal; leave the 0 away";
        throw SyntaxError{token.where, fmt::format("'{}' is not a number", word), help};
    }
    return token;
}

Token Lexer::string(std::size_t start, bool raw) {
    const char quote = rest()[0];
    const std::string triple(3, quote);
    Token token{TokenKind::String, {}, 0, rest().starts_with(triple), {}};
    const std::string end = token.triple ? triple : std::string(1, quote);
    const std::size_t opening = offset_;
    offset_ += end.size();
    while (!rest().starts_with(end)) {
        if (rest().empty() || (rest()[0] == '\n' && !token.triple)) {
            offset_ = opening + end.size();
            throw SyntaxError{{source_, opening, end.size()},
                              "this string has no end",
                              fmt::format("close it with {} on the same line", end)};
        }
        const char c = rest()[0];
        ++offset_;
        if (c != '\\')
            token.text += c;
        else if (!raw)
            escape(token.text);
        else {
            token.text += c;
            if (!rest().empty() && rest()[0] != '\n')
                token.text += rest()[0], ++offset_;
        }
    }
    offset_ += end.size();
    token.where = from(start);
    return token;
}

/// After a backslash in a string.
void Lexer::escape(std::string& out) {
    const std::size_t start = offset_ - 1;
    if (rest().empty())
        return; // the missing end is reported by string()
    const char c = rest()[0];
    constexpr std::string_view names = "abfnrtv'\"\\", values = "\a\b\f\n\r\t\v'\"\\";
    if (const auto index = names.find(c); index != std::string_view::npos) {
        out += values[index];
        ++offset_;
    } else if (c == '\n') { // Python: a continued line
        ++offset_;
    } else if (c == 'x') {
        ++offset_;
        out += static_cast<char>(digits(16, 2));
    } else if (c >= '0' && c <= '7') {
        const unsigned value = digits(8, 3);
        if (value > 0xff)
            throw SyntaxError{from(start), "this octal escape is larger than a byte", {}};
        out += static_cast<char>(value);
    } else {
        out += '\\'; // as in Python: no escape, the backslash stays
        diagnostics_->warning(from(start), fmt::format("\\{} is not an escape; the backslash stays", c),
                              "write \\\\ for a backslash");
    }
}

unsigned Lexer::digits(unsigned base, unsigned most) {
    const std::size_t start = offset_;
    unsigned value = 0;
    const std::string_view text = rest().substr(0, most);
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value, static_cast<int>(base));
    offset_ += static_cast<std::size_t>(end - text.data());
    if (error != std::errc{} || (base == 16 && offset_ - start != most))
        throw SyntaxError{from(start), "\\x needs two hexadecimal digits", {}};
    return value;
}

void Lexer::skip_to_assignment() {
    for (;;) {
        const auto newline = rest().find('\n');
        if (newline == std::string_view::npos) {
            offset_ = source_->text.size();
            return;
        }
        offset_ += newline + 1;
        std::string_view line = rest();
        const auto word = std::min(line.find_first_not_of(" \t"), line.size());
        line.remove_prefix(word);
        std::size_t length = 0;
        while (length < line.size() && is_word(line[length]))
            ++length;
        line.remove_prefix(length);
        line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
        if (length != 0 && ((line.starts_with('=') && !line.starts_with("==")) || line.starts_with("+=")))
            return;
    }
}

} // namespace escalus
