// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/net/ethernet_card.hpp"

#include <utility>

namespace escalus {

EthernetCard::EthernetCard(const PciIdentity& identity, PciSpaces spaces, CardWiring wiring)
    : PciFunction{identity, spaces}, wiring_{wiring}, later_{wiring_.clock, [this] { transmit(); }} {}

EthernetCard::~EthernetCard() {
    wiring_.backend.connect(nullptr);
}

void EthernetCard::reset(ResetKind kind) {
    PciFunction::reset(kind);
    later_.cancel();
}

void EthernetCard::start() {
    wiring_.backend.connect(this);
}

void EthernetCard::pause() {
    paused_ = true;
}

void EthernetCard::resume() {
    paused_ = false;
    transmit();
    room_again();
}

void EthernetCard::config_write(unsigned offset, std::span<const std::uint8_t> data) {
    const bool could = bus_master_enabled();
    PciFunction::config_write(offset, data);
    if (!could && may_work()) {
        transmit();
        room_again();
    }
}

// Sending may bring a frame in, and with it a register access of a test's making, never a second sender.
void EthernetCard::transmit() {
    if (!may_work() || std::exchange(transmitting_, true))
        return;
    const bool more = transmit_some();
    transmitting_ = false;
    if (more)
        later_.arm(wiring_.clock.now() + breather);
    else
        later_.cancel();
}

void EthernetCard::room_again() {
    if (may_work() && can_receive())
        wiring_.backend.card_ready();
}

} // namespace escalus
