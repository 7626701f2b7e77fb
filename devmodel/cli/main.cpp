// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/command.hpp"

#include <csignal>

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN); // a write to a viewer or terminal that is gone is an error, no death
    return escalus::run_escalus({argv + 1, argv + argc});
}
