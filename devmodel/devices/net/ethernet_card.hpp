// SPDX-License-Identifier: GPL-2.0-or-later
// What PCI network cards share: the cable, guest memory, pausing, and a transmitter that works through a
// guest's ring a bounded number of frames at a time, so that no ring, however it loops, holds the device
// lock.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"
#include "devmodel/devices/net/ethernet.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/guest_memory.hpp"
#include "devmodel/machine/pci.hpp"

namespace escalus {

/// What a machine gives each card.
struct CardWiring {
    GuestMemory& memory;
    Clock& clock;
    NetBackend& backend; ///< outlives the card
    MacAddress mac;      ///< what the card's ROM says
};

class EthernetCard : public PciFunction, public NetCard {
  public:
    /// What a transmitter that has more to send leaves to others: a ring that never ends must not keep the
    /// loop.
    static constexpr GuestTime breather = 50'000;

    ~EthernetCard() override;

    void reset(ResetKind kind) override;
    void start() override;
    void pause() override;
    void resume() override;
    void config_write(unsigned offset, std::span<const std::uint8_t> data) override;

  protected:
    EthernetCard(const PciIdentity& identity, PciSpaces spaces, CardWiring wiring);

    [[nodiscard]] GuestMemory& memory() const { return wiring_.memory; }
    [[nodiscard]] Clock& clock() const { return wiring_.clock; }
    [[nodiscard]] NetBackend& wire() const { return wiring_.backend; }
    [[nodiscard]] const MacAddress& rom_mac() const { return wiring_.mac; }
    [[nodiscard]] bool paused() const { return paused_; }
    /// The machine runs and the card may master the bus, or has no need to.
    [[nodiscard]] virtual bool may_work() const { return !paused_ && bus_master_enabled(); }

    /// Sends what the guest has asked for, at most some tens of frames. Returns whether more is left.
    virtual bool transmit_some() = 0;
    /// Calls transmit_some() now, and again from the loop while something is left.
    void transmit();
    /// What was left is not to be sent any more.
    void stop_transmitting() { later_.cancel(); }
    /// Frames that the wire holds back may be taken again.
    void room_again();

  private:
    CardWiring wiring_;
    Timer later_;
    bool paused_ = false, transmitting_ = false;
};

} // namespace escalus
