// SPDX-License-Identifier: GPL-2.0-or-later
// The words of a domain file (see domain_file.hpp for the grammar).
#pragma once

#include "devmodel/config/diagnostic.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace escalus {

enum class TokenKind {
    Identifier,
    Number,
    String,
    Newline,
    End,
    Symbol, ///< one of [ ] = , ; + - ( ) . : and whatever else stands there
    PlusEquals
};

struct Token {
    TokenKind kind = TokenKind::End;
    std::string text;         ///< Identifier, Symbol and Number as written; String without quotes and escapes
    std::uint64_t number = 0; ///< Number
    bool triple = false;      ///< String in triple quotes
    Position where;

    [[nodiscard]] bool is(char symbol) const {
        return kind == TokenKind::Symbol && text.size() == 1 && text[0] == symbol;
    }
};

/// Thrown by lexer and parser, caught where they recover.
struct SyntaxError {
    Position where;
    std::string message;
    std::string help;
};

class Lexer {
  public:
    Lexer(std::shared_ptr<const SourceText> source, Diagnostics& diagnostics);

    [[nodiscard]] Token next();
    /// Goes to the start of the next line that looks like an assignment, or to the end.
    void skip_to_assignment();

  private:
    [[nodiscard]] std::string_view rest() const { return std::string_view{source_->text}.substr(offset_); }
    [[nodiscard]] Position from(std::size_t start) const;
    bool skip_blanks();
    Token number();
    Token string(std::size_t start, bool raw);
    void escape(std::string& out);
    unsigned digits(unsigned base, unsigned most);

    std::shared_ptr<const SourceText> source_;
    Diagnostics* diagnostics_;
    std::size_t offset_ = 0;
};

} // namespace escalus
