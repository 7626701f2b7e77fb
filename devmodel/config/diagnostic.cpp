// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/diagnostic.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

namespace escalus {
namespace {

constexpr std::size_t shown_columns = 120;

std::size_t line_start(const Position& where) {
    if (where.offset == 0)
        return 0;
    const auto newline = where.source->text.rfind('\n', where.offset - 1);
    return newline == std::string::npos ? 0 : newline + 1;
}

/// Control characters would reach the user's terminal: show them as '?'.
char harmless(char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f ? '?' : c;
}

/// The source line with a caret line below it; long lines are cut to a window around the place.
std::string quoted_line(const Position& where) {
    const std::string& text = where.source->text;
    std::size_t begin = line_start(where);
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const char* before = "";
    if (where.offset - begin > shown_columns / 2) {
        begin = where.offset - shown_columns / 2;
        before = "...";
    }
    std::string_view line{text.data() + begin, std::min(end - begin, shown_columns)};
    if (line.ends_with('\r'))
        line.remove_suffix(1);

    std::string shown, carets;
    for (std::size_t i = 0; i < line.size(); ++i) {
        shown += harmless(line[i]);
        if (begin + i < where.offset)
            carets += line[i] == '\t' ? '\t' : ' ';
    }
    carets += '^';
    const std::size_t last = std::min(where.offset + where.length, begin + line.size());
    if (last > where.offset + 1)
        carets.append(last - where.offset - 1, '~');
    const std::string indent = std::string(4, ' ') + before;
    return fmt::format("{}{}\n{:{}}{}\n", indent, shown, "", indent.size(), carets);
}

std::string_view severity_name(Severity severity) {
    switch (severity) {
    case Severity::Note:
        return "note";
    case Severity::Warning:
        return "warning";
    case Severity::Error:
        break;
    }
    return "error";
}

} // namespace

unsigned Position::line() const {
    if (source == nullptr)
        return 1;
    const auto end =
        source->text.begin() + static_cast<std::ptrdiff_t>(std::min(offset, source->text.size()));
    return 1 + static_cast<unsigned>(std::count(source->text.begin(), end, '\n'));
}

unsigned Position::column() const {
    return source == nullptr ? 1 : static_cast<unsigned>(offset - line_start(*this)) + 1;
}

std::string to_text(const Diagnostic& diagnostic) {
    std::string result;
    const Position& where = diagnostic.where;
    if (where.source != nullptr)
        result += fmt::format("{}:{}:{}: ", where.source->name, where.line(), where.column());
    result += fmt::format("{}: ", severity_name(diagnostic.severity));
    std::ranges::transform(diagnostic.message, std::back_inserter(result), harmless);
    result += '\n';
    if (where.source != nullptr && where.offset <= where.source->text.size())
        result += quoted_line(where);
    if (!diagnostic.help.empty()) {
        result += "  help: ";
        std::ranges::transform(diagnostic.help, std::back_inserter(result), harmless);
        result += '\n';
    }
    return result;
}

void Diagnostics::add(Severity severity, Position where, std::string message, std::string help) {
    if (severity == Severity::Error)
        ++errors_;
    all_.push_back({severity, std::move(where), std::move(message), std::move(help)});
}
void Diagnostics::note(Position where, std::string message, std::string help) {
    add(Severity::Note, std::move(where), std::move(message), std::move(help));
}
void Diagnostics::warning(Position where, std::string message, std::string help) {
    add(Severity::Warning, std::move(where), std::move(message), std::move(help));
}
void Diagnostics::error(Position where, std::string message, std::string help) {
    add(Severity::Error, std::move(where), std::move(message), std::move(help));
}

std::string Diagnostics::text() const {
    std::string result;
    for (const Diagnostic& diagnostic : all_)
        result += to_text(diagnostic);
    return result;
}

} // namespace escalus
