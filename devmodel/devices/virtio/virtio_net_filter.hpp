// SPDX-License-Identifier: GPL-2.0-or-later
// Which frames a virtio network card takes (Virtual I/O Device 1.1, 5.1.6.5.1 to 3): receive modes, its
// address and up to 64 more, VLANs.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"

#include <bitset>
#include <vector>

namespace escalus {

class VirtioNetFilter {
  public:
    static constexpr std::size_t most_addresses = 64;

    explicit VirtioNetFilter(const MacAddress& mac) : permanent_{mac} { reset(); }
    void reset();

    [[nodiscard]] const MacAddress& mac() const { return mac_; }
    void set_mac(const MacAddress& mac) { mac_ = mac; }

    /// Without a driver that filters VLANs, all pass.
    void filter_vlans() { all_vlans_ = false; }

    // Commands of the control queue, without their class; false when one is not well-formed.
    bool receive_mode(std::uint8_t command, std::span<const std::uint8_t> data);
    bool address(std::uint8_t command, std::span<const std::uint8_t> data);
    bool vlan(std::uint8_t command, std::span<const std::uint8_t> data);

    [[nodiscard]] bool passes(std::span<const std::uint8_t> frame) const;

  private:
    struct Table {
        std::vector<MacAddress> addresses;
        bool overflow = false; ///< there were more: all pass
        [[nodiscard]] bool has(std::span<const std::uint8_t> address) const;
    };
    static bool take_table(std::span<const std::uint8_t>& data, Table& table);

    MacAddress permanent_, mac_{};
    Table unicast_, multicast_;
    std::bitset<4096> vlans_;
    bool all_vlans_ = true;
    bool promiscuous_ = true, all_multicast_ = false, all_unicast_ = false;
    bool no_multicast_ = false, no_unicast_ = false, no_broadcast_ = false;
};

} // namespace escalus
