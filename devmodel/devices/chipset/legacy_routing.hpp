// SPDX-License-Identifier: GPL-2.0-or-later
// The switch in front of IRQ 0 and IRQ 8: the 8254 and the RTC, or (LEG_RT_CNF) HPET timers 0 and 1.
//
// Specification: IA-PC HPET 1.0a, 2.3.5 and 2.4.2.
// State: the four input levels and the switch.
#pragma once

#include "devmodel/machine/irq_line.hpp"

#include <array>

namespace escalus {

class LegacyRouting final : public IrqSink {
  public:
    enum Input : unsigned { pit = 0, rtc = 1, hpet_timer0 = 2, hpet_timer1 = 3 };

    /// `irq0` and `irq8` go to the interrupt controllers (I/O APIC inputs 2 and 8).
    LegacyRouting(IrqLine irq0, IrqLine irq8) : outputs_{irq0, irq8} {}

    void set_irq(unsigned input, bool level) override {
        levels_.at(input) = level;
        update();
    }
    /// True: the HPET drives both lines and the 8254 and the RTC drive none.
    void replace(bool by_hpet) {
        by_hpet_ = by_hpet;
        update();
    }

  private:
    void update() {
        const unsigned first = by_hpet_ ? hpet_timer0 : pit;
        outputs_[0].set(levels_[first]);
        outputs_[1].set(levels_[first + 1]);
    }

    std::array<IrqLine, 2> outputs_;
    std::array<bool, 4> levels_{};
    bool by_hpet_ = false;
};

} // namespace escalus
