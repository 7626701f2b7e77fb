// SPDX-License-Identifier: GPL-2.0-or-later
// A text screen as a stream of changes, for `escalus console --vga`: who watches is sent the rows that
// changed, when they changed, and nothing otherwise. The screen is looked at 30 times a second (the guest
// writes to it without an exit), and not while the last change is still on its way: a slow terminal gets the
// newest screen, not all that were in between.
//
//   {"screen": [COLUMNS, ROWS], "cursor": [COLUMN, ROW] or null, "rows": [[ROW, TEXT, ATTRIBUTES], ...]}
//
// "screen" is [0, 0] while the guest shows graphics. ATTRIBUTES are those of the PC's text mode, two
// hexadecimal digits a character: the background's colour, then the character's.
#pragma once

#include "devmodel/devices/display/display.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace escalus {

/// What turns one screen into the other as a line of JSON without its end; nothing when they are the same.
/// `before` is empty for a watcher that has seen nothing yet.
[[nodiscard]] std::optional<std::string> screen_changes(const std::optional<TextScreen>& before,
                                                        const TextScreen& now);

class ScreenFeed : public std::enable_shared_from_this<ScreenFeed> {
  public:
    /// Sends a line and calls back when it is on its way, so that the next may follow.
    using Send = std::function<void(std::string line, std::function<void()> sent)>;

    ScreenFeed(boost::asio::io_context& loop, Display& display, DeviceLock& device_lock, Send send)
        : timer_{loop}, display_{display}, lock_{device_lock}, send_{std::move(send)} {}
    void look();
    void stop();

  private:
    void wait();

    boost::asio::steady_timer timer_;
    Display& display_;
    DeviceLock& lock_;
    Send send_; // empty once stopped
    std::optional<TextScreen> sent_;
};

} // namespace escalus
