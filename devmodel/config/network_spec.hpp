// SPDX-License-Identifier: GPL-2.0-or-later
// One entry of `vif = [ ... ]`: xl-network-configuration(5), the forms of Xen 3, and `type=user` for a
// network behind an address translation, with QEMU's words hostfwd, tftp, bootfile and restrict.
#pragma once

#include "devmodel/config/diagnostic.hpp"
#include "devmodel/config/network_config.hpp"

#include <functional>
#include <optional>
#include <string_view>

namespace escalus {

struct NetworkSpec {
    NetworkConfig network; ///< paths as written
    bool has_mac = false;
    Position where;      ///< of the whole specification
    Position mac_where;  ///< where it has one
    Position tftp_where; ///< the same
};

/// `where` is the position of the text's first character.
[[nodiscard]] std::optional<NetworkSpec> parse_network_spec(std::string_view text, const Position& where,
                                                            Diagnostics& diagnostics);

/// An address in Xen's range that stays with the machine and the number of its card.
[[nodiscard]] std::array<std::uint8_t, 6> default_mac(std::string_view machine_uuid, unsigned number);

[[nodiscard]] std::string_view to_string(NetworkModel model);
/// "00:16:3e:01:02:03"
[[nodiscard]] std::string mac_text(const std::array<std::uint8_t, 6>& mac);

} // namespace escalus
