// SPDX-License-Identifier: GPL-2.0-or-later
// Network cards and what they are plugged into, made from their configuration. A new model is one line in
// each of the two functions at the end of network_cards.cpp.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"
#include "devmodel/config/network_config.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/device_lock.hpp"
#include "devmodel/machine/guest_memory.hpp"
#include "devmodel/machine/pci.hpp"

#include <memory>

namespace boost::asio {
class io_context;
}

namespace escalus {

/// A card on its cable; the cable outlives it.
struct NetworkCard {
    std::unique_ptr<NetBackend> backend;
    std::unique_ptr<PciFunction> card;
};

/// The loop on which frames come in, and the clock whose timers it fires. A thread of its own runs it, which
/// may have to wait for the CPU.
struct NetworkSide {
    boost::asio::io_context& loop;
    Clock& clock;
};

/// Opens the backend, with its rate limit and dump, and makes the card; `with_rom`: it can boot from the
/// network; `clock`: the machine's. Throws std::runtime_error. Needs root for a bridge.
[[nodiscard]] NetworkCard make_network_card(const NetworkConfig& config, bool with_rom, NetworkSide network,
                                            DeviceLock& device_lock, Clock& clock, PciSpaces spaces,
                                            GuestMemory& memory);

} // namespace escalus
