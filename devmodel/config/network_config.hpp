// SPDX-License-Identifier: GPL-2.0-or-later
// A network card and what it is plugged into, as a domain file's `vif` describes them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace escalus {

enum class NetworkModel { Virtio, Rtl8139, E1000, Ne2k, Pcnet };
enum class NetworkKind { Bridge, User };

/// A port of the control OS that leads to one of the guest.
struct PortForward {
    bool udp = false;
    std::string host_address{}; ///< dotted; empty: every address
    std::uint16_t host_port = 0;
    std::string guest_address{}; ///< dotted; empty: the one that DHCP gives out
    std::uint16_t guest_port = 0;
};

/// A network of the guest's own, behind an address translation.
struct UserNetConfig {
    std::vector<PortForward> forwards{};
    std::string tftp_folder{}; ///< empty: no TFTP
    std::string boot_file{};   ///< what DHCP names for network boot
    bool restricted = false;   ///< no way out but the port forwards
};

struct NetworkConfig {
    std::array<std::uint8_t, 6> mac{};
    NetworkModel model = NetworkModel::Virtio;
    NetworkKind kind = NetworkKind::Bridge;
    std::string bridge{};         ///< Bridge
    std::string interface {};     ///< Bridge: the interface's name in the control OS; empty: any
    UserNetConfig user{};         ///< User
    std::uint64_t rate_bytes = 0; ///< that the guest may send in each interval; 0: no limit
    std::uint32_t rate_interval_us = 0;
    std::string dump{}; ///< a file for what passes; empty: none
};

} // namespace escalus
