// SPDX-License-Identifier: GPL-2.0-or-later
// Two keyboards, or two pointers, behind one: the preferred one while a guest's driver listens to it (a USB
// device that has been configured), else the other, which is there from the first instruction on (PS/2).
//
// A key or button that is down is let go where it was pressed, whoever listens by then.
#pragma once

#include "devmodel/devices/input/input.hpp"

#include <array>
#include <utility>

namespace escalus {

class KeyboardChoice final : public KeyboardSink {
  public:
    explicit KeyboardChoice(KeyboardSink& otherwise) : otherwise_{otherwise} {}
    void prefer(KeyboardSink& preferred) { preferred_ = &preferred; }

    void key(KeyNumber number, bool down) override {
        auto& pressed_at = pressed_at_[number];
        KeyboardSink& now = preferred_ != nullptr && preferred_->listening() ? *preferred_ : otherwise_;
        if (pressed_at == nullptr || down) {
            if (pressed_at != nullptr && pressed_at != &now)
                pressed_at->key(number, false);
            now.key(number, down);
        } else {
            pressed_at->key(number, false);
        }
        pressed_at = down ? &now : nullptr;
    }

  private:
    KeyboardSink& otherwise_;
    KeyboardSink* preferred_ = nullptr;
    std::array<KeyboardSink*, 256> pressed_at_{};
};

class PointerChoice final : public PointerSink {
  public:
    explicit PointerChoice(PointerSink& otherwise) : otherwise_{otherwise}, last_{&otherwise} {}
    void prefer(PointerSink& preferred) { preferred_ = &preferred; }

    [[nodiscard]] bool absolute() const override {
        return preferred_ != nullptr && preferred_->listening() && preferred_->absolute();
    }
    void move(int dx, int dy, int wheel, unsigned buttons) override {
        choose(preferred_ != nullptr && preferred_->listening()).move(dx, dy, wheel, buttons);
        buttons_ = buttons;
    }
    void place(unsigned x, unsigned y, int wheel, unsigned buttons) override {
        choose(absolute()).place(x, y, wheel, buttons);
        buttons_ = buttons;
    }

  private:
    PointerSink& choose(bool preferred) {
        PointerSink* now = preferred ? preferred_ : &otherwise_;
        PointerSink* before = std::exchange(last_, now);
        if (before != now && buttons_ != 0)
            before->move(0, 0, 0, 0);
        return *now;
    }

    PointerSink& otherwise_;
    PointerSink* preferred_ = nullptr;
    PointerSink* last_;
    unsigned buttons_ = 0;
};

} // namespace escalus
