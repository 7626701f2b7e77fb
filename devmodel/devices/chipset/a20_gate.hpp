// SPDX-License-Identifier: GPL-2.0-or-later
// The A20 gate: whether address line 20 reaches memory (IBM PC/AT Technical Reference, "Address Bus Gate").
// Two parts drive it, port 0x92 and the keyboard controller's output port. The last one to write wins, and
// both read the gate's real state, which is what software that uses one and checks by the other expects.
#pragma once

#include <functional>
#include <utility>

namespace escalus {

class A20Gate {
  public:
    /// `changed` tells the machine, which maps memory accordingly. The gate is open (no wrap) at power-on, as
    /// on every PC since A20M# left the processors.
    explicit A20Gate(std::function<void(bool enabled)> changed) : changed_{std::move(changed)} {}

    void set(bool enabled) {
        if (enabled == enabled_)
            return;
        enabled_ = enabled;
        if (changed_)
            changed_(enabled);
    }
    [[nodiscard]] bool enabled() const { return enabled_; }

  private:
    std::function<void(bool)> changed_;
    bool enabled_ = true;
};

} // namespace escalus
