// SPDX-License-Identifier: GPL-2.0-or-later
// The Marvell 88E1011 PHY within an 82540EM, as far as its registers are seen through MDIO (IEEE
// 802.3, 22.2.4; 8254x Software Developer's Manual, 13.4.7).
//
// State: the 32 registers, whether the cable is in, a negotiation that is under way. The partner can do
// everything. Missing: the cable tester, energy detection, and the interrupt pin.
#pragma once

#include "devmodel/machine/clock.hpp"

#include <array>

namespace escalus {

class GigabitPhy {
  public:
    enum class Speed : std::uint8_t { Mbit10, Mbit100, Mbit1000 };
    static constexpr GuestTime negotiation_time = 50'000'000;

    /// `changed`: the link went or came.
    GigabitPhy(Clock& clock, std::function<void()> changed);

    /// Power-on: with a cable, the link is up.
    void reset(bool cable);
    void set_cable(bool in);
    [[nodiscard]] std::uint16_t read(unsigned index) const;
    void write(unsigned index, std::uint16_t value);

    [[nodiscard]] bool link() const;
    [[nodiscard]] bool loopback() const;
    [[nodiscard]] Speed speed() const;
    [[nodiscard]] bool full_duplex() const;

  private:
    void set_defaults();
    void negotiate();
    [[nodiscard]] bool negotiates() const;

    Clock& clock_;
    std::function<void()> changed_;
    Timer negotiation_;
    std::array<std::uint16_t, 32> registers_{};
    bool cable_ = false;
};

} // namespace escalus
