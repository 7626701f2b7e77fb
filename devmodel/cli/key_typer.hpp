// SPDX-License-Identifier: GPL-2.0-or-later
// Types on a guest's keyboard at a pace that its buffers (16 bytes in a PS/2 keyboard, 15 keys in a BIOS)
// bear.
#pragma once

#include "devmodel/devices/input/input.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <chrono>
#include <deque>
#include <functional>
#include <string_view>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace escalus {

struct KeyEvent {
    KeyNumber key = 0;
    bool down = false;
    bool operator==(const KeyEvent&) const = default;
};

/// Presses the keys of a chord ("ctrl-alt-delete") in order and releases them in reverse. Throws
/// std::invalid_argument that names what is no key.
[[nodiscard]] std::vector<KeyEvent> events_of_chord(std::string_view chord);
/// The keys that give a UTF-8 text on a keyboard of this layout. Throws std::invalid_argument for a character
/// that the layout has not.
[[nodiscard]] std::vector<KeyEvent> events_of_text(std::string_view text, std::string_view keymap);

class KeyTyper {
  public:
    KeyTyper(boost::asio::io_context& loop, KeyboardSink& keyboard, DeviceLock& lock)
        : timer_{loop}, keyboard_{&keyboard}, lock_{&lock} {}

    /// `done` comes after the last event. What is under way goes first.
    void type(const std::vector<KeyEvent>& events, std::chrono::milliseconds pace,
              std::function<void()> done);
    /// Drops what has not been typed yet, without calling anybody.
    void stop();

  private:
    struct Step {
        KeyEvent event;
        std::chrono::milliseconds pace;
        std::function<void()> done;
    };
    void next();

    boost::asio::steady_timer timer_;
    KeyboardSink* keyboard_;
    DeviceLock* lock_;
    std::deque<Step> steps_;
};

} // namespace escalus
