// SPDX-License-Identifier: GPL-2.0-or-later
// libvncserver's "screen": the picture that all viewers are shown, kept equal to a Picture. libvncserver
// listens on nothing and runs no thread here; see vnc_server.hpp.
#pragma once

#include "devmodel/devices/display/display.hpp"

#include <array>
#include <string>
#include <vector>

struct _rfbScreenInfo; // NOLINT(bugprone-reserved-identifier): libvncserver's name

namespace escalus {

class RfbScreen {
  public:
    /// `password` may be empty: none is asked for. (VNC authentication uses its first eight characters.)
    RfbScreen(std::string name, std::string password);
    ~RfbScreen();
    RfbScreen(const RfbScreen&) = delete;
    RfbScreen& operator=(const RfbScreen&) = delete;

    /// Where the display draws.
    [[nodiscard]] Picture& picture() { return picture_; }
    /// After the picture was drawn: tells viewers what changed, and that it has another size if it has.
    void drawn(const std::vector<Rect>& changed);
    [[nodiscard]] _rfbScreenInfo* get() { return screen_; }

  private:
    std::string name_, password_;
    std::array<char*, 2> passwords_{}; // the list that libvncserver keeps a pointer to
    Picture picture_;
    _rfbScreenInfo* screen_ = nullptr;
};

} // namespace escalus
