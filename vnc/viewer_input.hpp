// SPDX-License-Identifier: GPL-2.0-or-later
// One viewer's keys and pointer, made into what a PC's keyboard and a relative mouse or a tablet do.
//
// Keys come by number (QEMU's extended key event), which is passed on, or by keysym, for which the keymap
// says key and modifiers; modifiers that the viewer does not hold are pressed around the key. The pointer
// comes by position, which is what a tablet takes; for a mouse, differences are passed on. Where the pointer
// arrives at an edge of the picture, the guest's is pushed a whole screen towards it, so that the two agree
// again whatever acceleration the guest applied.
#pragma once

#include "devmodel/devices/input/input.hpp"
#include "devmodel/devices/input/keysym_map.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <cstdint>
#include <optional>
#include <set>

namespace escalus {

class ViewerInput {
  public:
    /// `lock` is taken around each use of the sinks.
    ViewerInput(KeyboardSink& keyboard, PointerSink& pointer, DeviceLock& lock, const KeysymMap& keymap)
        : keyboard_{keyboard}, pointer_{pointer}, lock_{lock}, keymap_{keymap} {}

    void key(KeyNumber number, bool down);
    void keysym(std::uint32_t keysym, bool down);
    /// `buttons` as in RFB: bit 0 left, 1 middle, 2 right, 3 wheel up, 4 wheel down.
    void pointer(unsigned buttons, unsigned x, unsigned y, unsigned width, unsigned height);
    /// Lets go of everything that is held: the viewer has gone.
    void release();

  private:
    void send(KeyNumber number, bool down);
    [[nodiscard]] bool held(KeyNumber number) const { return held_.contains(number); }

    struct Position {
        int x, y;
    };
    KeyboardSink& keyboard_;
    PointerSink& pointer_;
    DeviceLock& lock_;
    const KeysymMap& keymap_;
    std::set<KeyNumber> held_;
    bool caps_lock_ = false; // as the guest must have it, from the keys it got
    std::optional<Position> last_;
    unsigned buttons_ = 0;
};

} // namespace escalus
