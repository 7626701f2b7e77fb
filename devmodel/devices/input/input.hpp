// SPDX-License-Identifier: GPL-2.0-or-later
// Where a viewer's keys and pointer go. Called with the device lock held.
#pragma once

#include <cstdint>

namespace escalus {

/// A key by its place on a PC keyboard: the set-1 make code; keys with the 0xe0 prefix have bit 7 set (so
/// 0x1c is Enter, 0x9c keypad Enter; this is also the encoding of QEMU's extended key event). Print Screen is
/// 0xb7, Pause 0xc6.
using KeyNumber = std::uint8_t;

class KeyboardSink {
  public:
    virtual ~KeyboardSink() = default;
    virtual void key(KeyNumber number, bool down) = 0;
    /// Whether a guest's driver takes keys from here.
    [[nodiscard]] virtual bool listening() const { return true; }
};

class PointerSink {
  public:
    static constexpr unsigned left = 1, right = 2, middle = 4;
    virtual ~PointerSink() = default;
    /// Relative motion: x to the right, y downwards, wheel away from the user negative; `buttons` is the
    /// whole state.
    virtual void move(int dx, int dy, int wheel, unsigned buttons) = 0;

    /// Whether place() is to be used in the place of move(). It may change as the guest runs.
    [[nodiscard]] virtual bool absolute() const { return false; }
    static constexpr unsigned absolute_most = 32767;
    /// A position in the picture, from 0 at its left or upper edge to absolute_most at the opposite one.
    virtual void place(unsigned /*x*/, unsigned /*y*/, int /*wheel*/, unsigned /*buttons*/) {}
    /// Whether a guest's driver takes motion from here.
    [[nodiscard]] virtual bool listening() const { return true; }
};

} // namespace escalus
