// SPDX-License-Identifier: GPL-2.0-or-later
#include "vnc/viewer_input.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr KeyNumber left_shift = 0x2a, right_shift = 0x36, right_alt = 0xb8, caps_lock = 0x3a;
constexpr unsigned rfb_left = 1, rfb_middle = 2, rfb_right = 4, rfb_wheel_up = 8, rfb_wheel_down = 16;

bool is_letter(std::uint32_t keysym) {
    return (keysym >= 'a' && keysym <= 'z') || (keysym >= 'A' && keysym <= 'Z');
}

/// The way from `from` to `to`, and a push of `extent` beyond when that is an edge just reached.
int motion(int from, int to, int extent) {
    int delta = to - from;
    if (to == 0 && from != 0)
        delta -= extent;
    else if (to == extent - 1 && from != extent - 1)
        delta += extent;
    return delta;
}

/// A position in a picture of this extent as a tablet reports it.
unsigned scaled(unsigned position, unsigned extent) {
    return extent < 2 ? 0 : std::min(position, extent - 1) * PointerSink::absolute_most / (extent - 1);
}
} // namespace

void ViewerInput::send(KeyNumber number, bool down) {
    if (down)
        held_.insert(number);
    else
        held_.erase(number);
    const std::lock_guard guard{lock_};
    keyboard_.key(number, down);
}

void ViewerInput::key(KeyNumber number, bool down) {
    if ((number & 0x7f) == 0)
        return;
    if (number == caps_lock && down && !held(number))
        caps_lock_ = !caps_lock_;
    if (down || held(number))
        send(number, down);
}

void ViewerInput::keysym(std::uint32_t keysym, bool down) {
    const auto press = keymap_.find(keysym);
    if (!press)
        return;
    if (!down || !press->modifiers_matter) {
        key(press->key, down);
        return;
    }
    const bool want_shift = press->shift != (caps_lock_ && is_letter(keysym));
    const bool left = held(left_shift), right = held(right_shift);
    const bool add_shift = want_shift && !left && !right;
    const bool add_altgr = press->altgr && !held(right_alt);
    // With AltGr held it is the guest's layout that decides what Shift does.
    const bool drop_shift = !want_shift && !press->altgr && (left || right);

    if (add_shift)
        send(left_shift, true);
    if (add_altgr)
        send(right_alt, true);
    if (drop_shift && left)
        send(left_shift, false);
    if (drop_shift && right)
        send(right_shift, false);
    key(press->key, true);
    if (drop_shift && right)
        send(right_shift, true);
    if (drop_shift && left)
        send(left_shift, true);
    if (add_altgr)
        send(right_alt, false);
    if (add_shift)
        send(left_shift, false);
}

void ViewerInput::pointer(unsigned buttons, unsigned x, unsigned y, unsigned width, unsigned height) {
    const Position now{static_cast<int>(x), static_cast<int>(y)};
    const Position last = std::exchange(last_, now).value_or(now);
    const unsigned pressed = buttons & ~std::exchange(buttons_, buttons);
    const int wheel = ((pressed & rfb_wheel_down) != 0 ? 1 : 0) - ((pressed & rfb_wheel_up) != 0 ? 1 : 0);
    const unsigned state = ((buttons & rfb_left) != 0 ? PointerSink::left : 0) |
                           ((buttons & rfb_right) != 0 ? PointerSink::right : 0) |
                           ((buttons & rfb_middle) != 0 ? PointerSink::middle : 0);
    const std::lock_guard guard{lock_};
    if (pointer_.absolute())
        pointer_.place(scaled(x, width), scaled(y, height), wheel, state);
    else
        pointer_.move(motion(last.x, now.x, static_cast<int>(width)),
                      motion(last.y, now.y, static_cast<int>(height)), wheel, state);
}

void ViewerInput::release() {
    while (!held_.empty())
        send(*held_.begin(), false);
    if (std::exchange(buttons_, 0) != 0) {
        const std::lock_guard guard{lock_};
        pointer_.move(0, 0, 0, 0);
    }
    last_.reset();
}

} // namespace escalus
