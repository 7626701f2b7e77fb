// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/net/gigabit_phy.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr unsigned control = 0, status = 1, id_high = 2, id_low = 3, advertised = 4, partner = 5,
                   expansion = 6, control_1000 = 9, status_1000 = 10, extended_status = 15,
                   specific_control = 16, specific_status = 17, extended_control = 20;
constexpr std::uint16_t control_reset = 0x8000, control_loopback = 0x4000, control_speed_low = 0x2000,
                        control_negotiate = 0x1000, control_power_down = 0x0800, control_isolate = 0x0400,
                        control_restart = 0x0200, control_duplex = 0x0100, control_speed_high = 0x0040;
constexpr std::uint16_t can = 0x7949, negotiated = 0x20, link_is_up = 4;
constexpr std::uint16_t partner_can = 0xc5e1, partner_can_1000 = 0x7c00;
} // namespace

GigabitPhy::GigabitPhy(Clock& clock, std::function<void()> changed)
    : clock_{clock}, changed_{std::move(changed)}, negotiation_{clock, [this] { changed_(); }} {
    set_defaults();
}

void GigabitPhy::set_defaults() {
    registers_ = {};
    registers_[control] = control_negotiate | control_duplex | control_speed_high;
    registers_[advertised] = 0x0de1;
    registers_[control_1000] = 0x0e00;
    registers_[specific_control] = 0x0068;
    registers_[extended_control] = 0x0d60;
}

void GigabitPhy::reset(bool cable) {
    negotiation_.cancel();
    cable_ = cable;
    set_defaults();
}

bool GigabitPhy::negotiates() const {
    return (registers_[control] & control_negotiate) != 0;
}

bool GigabitPhy::loopback() const {
    return (registers_[control] & control_loopback) != 0;
}

bool GigabitPhy::link() const {
    return cable_ && !negotiation_.armed() &&
           (registers_[control] & (control_power_down | control_isolate | control_loopback)) == 0;
}

GigabitPhy::Speed GigabitPhy::speed() const {
    if (negotiates()) {
        if ((registers_[control_1000] & 0x0300) != 0)
            return Speed::Mbit1000;
        return (registers_[advertised] & 0x0180) != 0 ? Speed::Mbit100 : Speed::Mbit10;
    }
    if ((registers_[control] & control_speed_high) != 0)
        return Speed::Mbit1000;
    return (registers_[control] & control_speed_low) != 0 ? Speed::Mbit100 : Speed::Mbit10;
}

bool GigabitPhy::full_duplex() const {
    if (!negotiates())
        return (registers_[control] & control_duplex) != 0;
    switch (speed()) {
    case Speed::Mbit1000:
        return (registers_[control_1000] & 0x0200) != 0;
    case Speed::Mbit100:
        return (registers_[advertised] & 0x0100) != 0;
    case Speed::Mbit10:
        break;
    }
    return (registers_[advertised] & 0x0040) != 0;
}

void GigabitPhy::negotiate() {
    const bool was_up = link();
    negotiation_.cancel();
    if (cable_)
        negotiation_.arm(clock_.now() + negotiation_time);
    if (was_up)
        changed_();
}

void GigabitPhy::set_cable(bool in) {
    if (std::exchange(cable_, in) == in)
        return;
    negotiation_.cancel();
    if (in && negotiates())
        negotiation_.arm(clock_.now() + negotiation_time);
    else
        changed_();
}

std::uint16_t GigabitPhy::read(unsigned index) const {
    const bool up = link();
    switch (index) {
    case status:
        return static_cast<std::uint16_t>(can | (up ? link_is_up : 0) |
                                          (up && negotiates() ? negotiated : 0));
    case id_high:
        return 0x0141;
    case id_low:
        return 0x0c20;
    case partner:
        return up && negotiates() ? partner_can : std::uint16_t{0};
    case expansion:
        return up && negotiates() ? 0x0f : 0x0c;
    case status_1000:
        return up && negotiates() ? partner_can_1000 : std::uint16_t{0};
    case extended_status:
        return 0x3000;
    case specific_status: // speed, duplex, resolved, link
        return static_cast<std::uint16_t>(static_cast<unsigned>(speed()) << 14 |
                                          (full_duplex() ? 0x2000u : 0u) | (up ? 0x0c00u : 0u));
    default:
        return registers_[index % registers_.size()];
    }
}

void GigabitPhy::write(unsigned index, std::uint16_t value) {
    index %= registers_.size();
    if (index != control) {
        registers_[index] = value;
        return;
    }
    if ((value & control_reset) != 0) {
        const auto kept = registers_;
        set_defaults(); // what was to be advertised stays (88E1011: those registers are retained)
        for (auto i : {advertised, control_1000, specific_control, extended_control})
            registers_[i] = kept[i];
        registers_[control] = static_cast<std::uint16_t>(
            (value & (control_negotiate | control_duplex | control_speed_high | control_speed_low)));
        negotiate();
        return;
    }
    const bool was_up = link();
    registers_[control] = value & static_cast<std::uint16_t>(~control_restart & 0xffc0);
    if ((value & control_restart) != 0 && negotiates())
        negotiate();
    else if (was_up != link())
        changed_();
}

} // namespace escalus
