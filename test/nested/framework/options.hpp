// SPDX-License-Identifier: GPL-2.0-or-later
// The suite's command line. docs/NESTED.md lists the words.
#pragma once

#include "test/nested/framework/power.hpp"
#include "test/nested/framework/run.hpp"

namespace escalus::nested {

struct Options {
    bool menu = true; ///< no run=
    Plan plan;
    ExitMethod exit = ExitMethod::Any;
};

/// Words that are not understood are reported; the option keeps its default then.
Options parse_options(const char* line);

} // namespace escalus::nested
