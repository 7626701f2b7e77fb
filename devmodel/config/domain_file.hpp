// SPDX-License-Identifier: GPL-2.0-or-later
// The syntax of domain files: what xl.cfg(5) describes and Xen's libxlu_cfg accepts, and of the Python files
// of Xen 3's `xm` what is values and not program code.
//
//   file       = { [ assignment ] ( newline | ';' ) }
//   assignment = name ( '=' | '+=' ) value
//   value      = atom | '[' [ value { ',' value } [ ',' ] ] ']'      newlines are blanks inside brackets
//   atom       = number | string | True | False | None
//
// Numbers are decimal, hexadecimal (0x) or octal (leading 0, or 0o), with an optional minus sign. Strings
// stand in single, double or triple quotes with the escapes \' \" \\ \a \b \f \n \r \t \v \xHH \OOO; adjacent
// strings, and strings with '+' between, are one. '#' begins a comment; a backslash before a newline
// continues the line. After an error the parser goes on with the next line.
//
// Missing: Python program code (import, if, calls, variables), which is an error that says so.
#pragma once

#include "devmodel/config/diagnostic.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace escalus {

struct Value {
    enum class Kind { String, Number, List, None };
    Kind kind = Kind::String;
    std::string text; ///< String: what it says; Number: as it was written
    std::int64_t number = 0;
    std::vector<Value> items; ///< List
    Position where;
};

struct Entry {
    std::string key;
    Position key_where;
    bool append = false; ///< +=
    Value value;
};

/// The assignments of a file, in order, as far as they could be understood.
[[nodiscard]] std::vector<Entry> parse_domain_file(std::string name, std::string text,
                                                   Diagnostics& diagnostics);

/// A `key=value` of the command line, where a value that does not begin like a string or a list needs no
/// quotes.
[[nodiscard]] std::vector<Entry> parse_override(std::string_view argument, Diagnostics& diagnostics);

/// One entry for each key: later assignments replace earlier ones (with a warning when both stand in the same
/// text), `+=` adds to strings and lists.
[[nodiscard]] std::vector<Entry> merge_entries(std::vector<Entry> entries, Diagnostics& diagnostics);

} // namespace escalus
