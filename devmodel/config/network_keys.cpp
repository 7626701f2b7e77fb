// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/machine_draft.hpp"
#include "devmodel/config/network_spec.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace escalus {

namespace {
constexpr unsigned networks_max = 5;
} // namespace

void describe_networks(MachineDraft& draft) {
    const Value* value = draft.settings.find("vif");
    if (value == nullptr || (value->kind != Value::Kind::List && says_no(*value)))
        return;
    const auto texts = draft.settings.strings("vif");
    if (!texts)
        return;
    auto& networks = draft.machine.networks;
    for (const Text& text : *texts) {
        auto spec = parse_network_spec(text.text, text.where, draft.diagnostics);
        if (!spec)
            continue;
        NetworkConfig& network = spec->network;
        if (!spec->has_mac)
            network.mac = default_mac(draft.machine.uuid, static_cast<unsigned>(networks.size()));
        if (std::ranges::find(networks, network.mac, &NetworkConfig::mac) != networks.end())
            draft.diagnostics.error(spec->mac_where, "two cards cannot have the same MAC address",
                                    "leave mac= away: each card gets its own");
        if (auto& folder = network.user.tftp_folder; !folder.empty())
            folder = draft.file(FileUse::Kind::Folder, folder, spec->tftp_where);
        network.dump = draft.absolute(network.dump);
        networks.push_back(std::move(network));
    }
    if (networks.size() > networks_max)
        draft.diagnostics.error((*texts)[networks_max].where,
                                fmt::format("a machine has {} network cards at most", networks_max),
                                "take some out of the list");
}

} // namespace escalus
