// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/virtio/virtio_net_filter.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <algorithm>

namespace escalus {

namespace {
enum Mode : std::uint8_t {
    promiscuous = 0,
    all_multicast = 1,
    all_unicast = 2,
    no_multicast = 3,
    no_unicast = 4,
    no_broadcast = 5
};
enum AddressCommand : std::uint8_t { table_set = 0, address_set = 1 };
enum VlanCommand : std::uint8_t { vlan_add = 0, vlan_delete = 1 };
constexpr std::size_t ethernet_header = 14;
} // namespace

void VirtioNetFilter::reset() {
    mac_ = permanent_;
    unicast_ = multicast_ = {};
    vlans_.reset();
    all_vlans_ = true;
    promiscuous_ = true; // until a driver says otherwise: it may be one that cannot
    all_multicast_ = all_unicast_ = no_multicast_ = no_unicast_ = no_broadcast_ = false;
}

bool VirtioNetFilter::receive_mode(std::uint8_t command, std::span<const std::uint8_t> data) {
    if (data.size() != 1)
        return false;
    const bool on = data[0] != 0;
    switch (command) {
    case promiscuous:
        promiscuous_ = on;
        return true;
    case all_multicast:
        all_multicast_ = on;
        return true;
    case all_unicast:
        all_unicast_ = on;
        return true;
    case no_multicast:
        no_multicast_ = on;
        return true;
    case no_unicast:
        no_unicast_ = on;
        return true;
    case no_broadcast:
        no_broadcast_ = on;
        return true;
    default:
        return false;
    }
}

bool VirtioNetFilter::take_table(std::span<const std::uint8_t>& data, Table& table) {
    if (data.size() < 4)
        return false;
    const std::size_t count = load_le<std::uint32_t>(data);
    data = data.subspan(4);
    if (count > data.size() / sizeof(MacAddress))
        return false;
    table.overflow = count > most_addresses;
    for (std::size_t i = 0; i < count && !table.overflow; ++i)
        std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(i * sizeof(MacAddress)), sizeof(MacAddress),
                    table.addresses.emplace_back().begin());
    data = data.subspan(count * sizeof(MacAddress));
    return true;
}

bool VirtioNetFilter::address(std::uint8_t command, std::span<const std::uint8_t> data) {
    if (command == address_set && data.size() == mac_.size()) {
        std::ranges::copy(data, mac_.begin());
        return true;
    }
    Table unicast, multicast;
    if (command != table_set || !take_table(data, unicast) || !take_table(data, multicast) || !data.empty())
        return false;
    unicast_ = std::move(unicast);
    multicast_ = std::move(multicast);
    return true;
}

bool VirtioNetFilter::vlan(std::uint8_t command, std::span<const std::uint8_t> data) {
    if (data.size() != 2)
        return false;
    const auto id = load_le<std::uint16_t>(data);
    if (id >= vlans_.size() || command > vlan_delete)
        return false;
    vlans_.set(id, command == vlan_add);
    return true;
}

bool VirtioNetFilter::Table::has(std::span<const std::uint8_t> address) const {
    return overflow || std::ranges::any_of(addresses, [&](const MacAddress& mac) {
               return std::ranges::equal(mac, address);
           });
}

bool VirtioNetFilter::passes(std::span<const std::uint8_t> frame) const {
    if (frame.size() < ethernet_header)
        return false;
    if (!all_vlans_ && frame[12] == 0x81 && frame[13] == 0 &&
        (frame.size() < ethernet_header + 2 || !vlans_[(frame[14] & 15u) << 8 | frame[15]]))
        return false;
    if (promiscuous_)
        return true;
    const auto to = frame.first(sizeof(MacAddress));
    if ((to[0] & 1) == 0)
        return !no_unicast_ && (all_unicast_ || std::ranges::equal(to, mac_) || unicast_.has(to));
    if (std::ranges::all_of(to, [](std::uint8_t byte) { return byte == 0xff; }))
        return !no_broadcast_;
    return !no_multicast_ && (all_multicast_ || multicast_.has(to));
}

} // namespace escalus
