// SPDX-License-Identifier: GPL-2.0-or-later
// The list of checks, and running them. The report is TAP version 13: https://testanything.org
#pragma once

#include "test/nested/framework/check.hpp"

namespace escalus::nested {

struct Totals {
    unsigned passed = 0, failed = 0, skipped = 0;
};

/// What to run: everything (empty), GROUP or GROUP/CHECK.
struct Selection {
    const char* text = "";
    unsigned length = 0;
};

struct Plan {
    Selection run;
    Selection without; ///< checks to leave out, by full name, with commas between: they end this platform
    unsigned timeout_ms = 4000;
};

extern const CheckList* const lists_begin;
extern const CheckList* const lists_end;

/// How many checks of this CPU's vendor a selection names.
[[nodiscard]] unsigned count_selected(const Vendor& vendor, Selection selection);
/// Runs them, each with `timeout_ms` to end.
Totals run_selected(const Vendor& vendor, const Plan& plan);

} // namespace escalus::nested
