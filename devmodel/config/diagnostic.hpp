// SPDX-License-Identifier: GPL-2.0-or-later
// What is wrong with a domain file, and where: file, line, column, the line itself with a caret below it, and
// what to write instead.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace escalus {

/// A text that positions point into: a domain file, or one `key=value` of the command line.
struct SourceText {
    std::string name; ///< as the user wrote it: "guest.cfg", "command line"
    std::string text;
};

/// A stretch of source text. Without a source it stands for the machine as a whole.
struct Position {
    std::shared_ptr<const SourceText> source;
    std::size_t offset = 0; ///< bytes from the start of the text
    std::size_t length = 1;

    [[nodiscard]] unsigned line() const;   ///< from 1
    [[nodiscard]] unsigned column() const; ///< from 1, in bytes
};

enum class Severity { Note, Warning, Error };

struct Diagnostic {
    Severity severity = Severity::Error;
    Position where;
    std::string message;
    std::string help; ///< what to write instead; may be empty
};

/// "guest.cfg:3:10: error: MESSAGE", the source line, a caret line, and "  help: HELP", each ending in '\n'.
[[nodiscard]] std::string to_text(const Diagnostic& diagnostic);

class Diagnostics {
  public:
    void note(Position where, std::string message, std::string help = {});
    void warning(Position where, std::string message, std::string help = {});
    void error(Position where, std::string message, std::string help = {});

    [[nodiscard]] bool has_errors() const { return errors_ != 0; }
    [[nodiscard]] const std::vector<Diagnostic>& all() const { return all_; }
    [[nodiscard]] std::string text() const;

  private:
    void add(Severity severity, Position where, std::string message, std::string help);

    std::vector<Diagnostic> all_;
    std::size_t errors_ = 0;
};

} // namespace escalus
