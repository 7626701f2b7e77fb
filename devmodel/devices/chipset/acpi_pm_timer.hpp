// SPDX-License-Identifier: GPL-2.0-or-later
// The ACPI power management timer: a free-running up-counter at 3.579545 MHz (exactly 315/88 MHz).
//
// Specification: ACPI 6.4, 4.8.2.1 "Power Management Timer"; 82371AB (PIIX4) datasheet, PMTMR.
// State: none of its own. The value is a pure function of guest time, so it is monotonic by construction.
// Missing: nothing. The register block, TMR_STS and TMR_EN belong to the chip that contains it.
#pragma once

#include "devmodel/machine/clock.hpp"

#include <cstdint>

namespace escalus {

class AcpiPmTimer {
  public:
    enum class Width : unsigned { Bits24 = 24, Bits32 = 32 };

    explicit AcpiPmTimer(const Clock& clock, Width width = Width::Bits24) : clock_{clock}, width_{width} {}

    /// What the guest reads from TMR_VAL now; bits above the width are 0.
    [[nodiscard]] std::uint32_t value() const;
    /// How often the most significant bit has changed since power-on. TMR_STS is to be set whenever this
    /// number has changed since the status bit was last cleared.
    [[nodiscard]] std::uint64_t msb_toggles() const;
    /// The next guest time, after now, at which the most significant bit changes: arm a Timer for it only
    /// while TMR_EN is set.
    [[nodiscard]] GuestTime next_msb_toggle() const;

  private:
    const Clock& clock_;
    Width width_;
};

} // namespace escalus
