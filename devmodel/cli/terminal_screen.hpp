// SPDX-License-Identifier: GPL-2.0-or-later
// The changes that a ScreenFeed sends, as what a terminal understands (ECMA-48 with the sixteen colours of
// aixterm): rows are drawn in place, the cursor is put where the guest has it.
#pragma once

#include <string>
#include <string_view>

namespace escalus {

class TerminalScreen {
  public:
    /// Clears the terminal and keeps what it showed (xterm's alternate screen).
    [[nodiscard]] static std::string enter();
    [[nodiscard]] static std::string leave();
    /// What to write for one line of the feed; empty when the line is none. Throws nothing: the feed comes
    /// from a process that a guest may have taken over, and no byte of it reaches the terminal unchecked.
    [[nodiscard]] std::string draw(std::string_view line);

  private:
    bool graphics_ = false; // the terminal says so
};

} // namespace escalus
