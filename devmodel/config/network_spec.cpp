// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/network_spec.hpp"

#include "devmodel/config/settings.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/string_generator.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace escalus {
namespace {

constexpr std::string_view default_bridge = "xenbr0"; // this, and the model, as xl has them
constexpr auto default_model = NetworkModel::Rtl8139;
constexpr std::size_t interface_name_max = 15;

struct ModelName {
    std::string_view name;
    NetworkModel model;
};
// The first name of each is the one that is printed.
constexpr ModelName models[] = {
    {"virtio-net", NetworkModel::Virtio},     {"virtio", NetworkModel::Virtio},
    {"virtio-net-pci", NetworkModel::Virtio}, {"rtl8139", NetworkModel::Rtl8139},
    {"e1000", NetworkModel::E1000},           {"ne2k_pci", NetworkModel::Ne2k},
    {"ne2k-pci", NetworkModel::Ne2k},         {"pcnet", NetworkModel::Pcnet},
};
constexpr std::string_view known_models = "write one of rtl8139, e1000, ne2k_pci, pcnet, virtio-net";

// Of xl and xend, without meaning here.
constexpr std::string_view ignored_keys[] = {"accel",  "coloft_forwarddev", "devid",     "handle", "id",
                                             "policy", "trusted",           "untrusted", "uuid"};

bool among(std::string_view word, const auto& words) {
    return std::ranges::find(words, word) != std::end(words);
}

std::string_view trimmed(std::string_view text) {
    const auto first = std::min(text.find_first_not_of(" \t\n"), text.size());
    text.remove_prefix(first);
    return text.substr(0, text.find_last_not_of(" \t\n") + 1);
}

template <typename Number>
std::optional<Number> to_number(std::string_view text) {
    Number value{};
    const auto* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    return error == std::errc{} && rest == end ? std::optional{value} : std::nullopt;
}

bool is_ip4(std::string_view text) {
    for (unsigned i = 0; i < 4; ++i) {
        const auto dot = std::min(text.find('.'), text.size());
        if (!to_number<std::uint8_t>(text.substr(0, dot)) || (dot == text.size()) != (i == 3))
            return false;
        text.remove_prefix(std::min(dot + 1, text.size()));
    }
    return true;
}

class NetworkParser {
  public:
    NetworkParser(std::string_view text, const Position& where, Diagnostics& diagnostics)
        : text_{text}, diagnostics_{&diagnostics} {
        spec_.where = where;
        network().model = default_model;
    }

    std::optional<NetworkSpec> parse() {
        for (std::size_t at = 0; at <= text_.size();) {
            const std::size_t comma = std::min(text_.find(',', at), text_.size());
            if (const auto word = trimmed(text_.substr(at, comma - at)); !word.empty())
                parameter(word);
            at = comma + 1;
        }
        finish();
        return good_ ? std::optional{spec_} : std::nullopt;
    }

  private:
    [[nodiscard]] NetworkConfig& network() { return spec_.network; }

    [[nodiscard]] Position position(std::string_view part) const {
        return part_position(spec_.where, static_cast<std::size_t>(part.data() - text_.data()), part.size());
    }
    void error(std::string_view part, std::string message, std::string help) {
        good_ = false;
        diagnostics_->error(position(part), std::move(message), std::move(help));
    }

    void parameter(std::string_view word) {
        const auto equals = std::min(word.find('='), word.size());
        const auto key = trimmed(word.substr(0, equals));
        const auto value = trimmed(word.substr(std::min(equals + 1, word.size())));
        if (among(key, ignored_keys))
            return;
        if (equals == word.size())
            return error(word, fmt::format("'{}' is not a network parameter", word),
                         "write KEY=VALUE, for example bridge=xenbr0");
        if (key == "mac")
            return mac(value);
        if (key == "bridge")
            return name(value, network().bridge, bridge_seen_);
        if (key == "vifname")
            return name(value, network().interface, bridge_seen_);
        if (key == "model")
            return model(value);
        if (key == "type")
            return type(value);
        if (key == "rate")
            return rate(value);
        if (key == "hostfwd")
            return forward(value);
        if (key == "tftp" || key == "bootfile" || key == "restrict")
            return user(key, value);
        if (key == "dump")
            network().dump = value;
        else if (key == "script")
            script(value);
        else if (key == "ip")
            diagnostics_->note(position(word),
                               "ip= has no effect: the guest has its addresses from itself or by "
                               "DHCP");
        else if (key == "backend") {
            if (value != "0" && value != "Domain-0" && !value.empty())
                error(word, "there are no driver domains: networks are the control OS's",
                      "leave backend= away");
        } else if (key == "mtu") {
            if (value != "1500")
                error(word, fmt::format("an MTU of {} cannot be had yet", value),
                      "leave mtu= away: it is 1500");
        } else if (key == "gatewaydev" || key.starts_with("colo"))
            error(word, fmt::format("{}= is not supported", key), "use a bridge, or type=user");
        else
            error(word, fmt::format("'{}' is not a network parameter", key),
                  "known are mac, bridge, vifname, model, type, script, ip, rate, backend, dump, and with "
                  "type=user hostfwd, tftp, bootfile, restrict");
    }

    void mac(std::string_view value) {
        const auto fail = [&](const char* why) {
            error(value, fmt::format("'{}' {}", value, why), "write six bytes like 00:16:3e:01:02:03");
        };
        if (value.size() != 17)
            return fail("is not a MAC address");
        for (std::size_t i = 0; i < 6; ++i) {
            unsigned byte = 0;
            const auto* at = value.data() + 3 * i;
            const auto [rest, bad] = std::from_chars(at, at + 2, byte, 16);
            if (bad != std::errc{} || rest != at + 2 || (i != 5 && at[2] != ':'))
                return fail("is not a MAC address");
            network().mac.at(i) = static_cast<std::uint8_t>(byte);
        }
        if ((network().mac[0] & 1) != 0)
            return fail("is a group address, and no card's");
        spec_.has_mac = true;
        spec_.mac_where = position(value);
    }

    void name(std::string_view value, std::string& target, bool& seen) {
        if (value.empty() || value.size() > interface_name_max ||
            value.find_first_of(" /:%") != std::string_view::npos)
            return error(value.empty() ? text_ : value,
                         fmt::format("'{}' cannot be an interface's name", value),
                         fmt::format("write up to {} letters and digits", interface_name_max));
        target = value;
        seen = true;
    }

    void model(std::string_view value) {
        if (value == "netfront" || value.empty()) // xend's words for the paravirtual one
            return;
        const auto found = std::ranges::find(models, value, &ModelName::name);
        if (found == std::end(models))
            return error(value, fmt::format("there is no network card '{}'", value),
                         std::string{known_models});
        network().model = found->model;
    }

    void type(std::string_view value) {
        if (value == "user")
            network().kind = NetworkKind::User;
        else if (value == "vif" || value == "netfront" || value == "paravirtualised")
            diagnostics_->warning(position(value),
                                  "there are no paravirtual network cards: the guest gets an "
                                  "emulated one");
        else if (value != "ioemu" && !value.empty())
            error(value, fmt::format("a network card cannot have the type '{}'", value),
                  "write ioemu, or user for a network behind an address translation");
    }

    void script(std::string_view value) {
        const auto file = value.substr(value.rfind('/') + 1);
        if (!file.empty() && file != "vif-bridge")
            diagnostics_->warning(position(value),
                                  fmt::format("the script '{}' is not run: the interface is put "
                                              "on the bridge, as vif-bridge does",
                                              file));
    }

    /// As libxl reads it: "10Mb/s", "250KB/s", "1MB/s@20ms".
    void rate(std::string_view value) {
        const auto fail = [&] {
            error(value, fmt::format("'{}' is not a rate", value),
                  "write for example 10Mb/s, 250KB/s or 1MB/s@20ms");
        };
        auto rest = value;
        const auto number = [&]() -> std::optional<std::uint64_t> {
            const auto digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
            const auto result = to_number<std::uint64_t>(rest.substr(0, digits));
            rest.remove_prefix(digits);
            return result;
        };
        const auto take = [&](std::string_view word) {
            const bool there = rest.starts_with(word);
            rest.remove_prefix(there ? word.size() : 0);
            return there;
        };
        const auto count = number();
        const std::uint64_t scale = take("G") ? 1'000'000'000 : take("M") ? 1'000'000 : take("K") ? 1'000 : 1;
        const bool bytes = take("B");
        if (!count || *count > 1'000'000'000'000 / scale || (!bytes && !take("b")) || !take("/s"))
            return fail();
        std::uint64_t interval = 50'000;
        if (take("@")) {
            const auto time = number();
            const std::uint64_t unit = take("us") ? 1 : take("ms") ? 1'000 : take("s") ? 1'000'000 : 0;
            if (!time || unit == 0 || *time == 0 || *time > 1'000'000'000 / unit)
                return fail();
            interval = *time * unit;
        }
        const auto per_second = *count * scale / (bytes ? 1 : 8);
        network().rate_bytes = per_second * interval / 1'000'000;
        network().rate_interval_us = static_cast<std::uint32_t>(interval);
        if (!rest.empty() || network().rate_bytes == 0)
            fail();
    }

    /// QEMU's: [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT
    void forward(std::string_view value) {
        user_words_ = value;
        const auto fail = [&] {
            error(value, fmt::format("'{}' is not a port forward", value),
                  "write for example hostfwd=tcp:127.0.0.1:2222-:22");
        };
        PortForward forward;
        const auto protocol = value.substr(0, value.find(':'));
        const auto dash = value.find('-');
        if ((protocol != "tcp" && protocol != "udp" && !protocol.empty()) || dash == value.npos ||
            dash <= protocol.size())
            return fail();
        forward.udp = protocol == "udp";
        const auto half = [](std::string_view text, std::string& address, std::uint16_t& port) {
            const auto colon = text.rfind(':');
            if (colon == text.npos)
                return false;
            address = text.substr(0, colon);
            const auto number = to_number<std::uint16_t>(text.substr(colon + 1));
            port = number.value_or(0);
            return port != 0 && (address.empty() || is_ip4(address));
        };
        if (!half(value.substr(protocol.size() + 1, dash - protocol.size() - 1), forward.host_address,
                  forward.host_port) ||
            !half(value.substr(dash + 1), forward.guest_address, forward.guest_port))
            return fail();
        network().user.forwards.push_back(std::move(forward));
    }

    void user(std::string_view key, std::string_view value) {
        user_words_ = value;
        auto& user = network().user;
        if (key == "tftp") {
            user.tftp_folder = value;
            spec_.tftp_where = position(value);
        } else if (key == "bootfile")
            user.boot_file = value;
        else if (value == "on" || value == "1" || value == "yes")
            user.restricted = true;
        else if (value != "off" && value != "0" && value != "no")
            error(value, fmt::format("restrict cannot be '{}'", value), "write restrict=on or restrict=off");
    }

    void finish() {
        if (network().kind == NetworkKind::Bridge) {
            if (network().bridge.empty())
                network().bridge = default_bridge;
            if (user_words_.data() != nullptr)
                error(user_words_,
                      "hostfwd, tftp, bootfile and restrict are of the network behind an address "
                      "translation",
                      "write type=user as well, and no bridge=");
        } else if (bridge_seen_) {
            error(text_, "type=user and bridge= or vifname= exclude each other", "leave one of them away");
        }
    }

    std::string_view text_, user_words_;
    Diagnostics* diagnostics_;
    NetworkSpec spec_;
    bool good_ = true, bridge_seen_ = false;
};

} // namespace

std::optional<NetworkSpec> parse_network_spec(std::string_view text, const Position& where,
                                              Diagnostics& diagnostics) {
    return NetworkParser{text, where, diagnostics}.parse();
}

std::array<std::uint8_t, 6> default_mac(std::string_view machine_uuid, unsigned number) {
    const auto space = boost::uuids::string_generator{}(std::string{machine_uuid});
    const auto hash = boost::uuids::name_generator_sha1{space}(fmt::format("vif{}", number));
    // Xen's range; with the fourth byte's top bit clear, as libxl makes them.
    return {0x00, 0x16, 0x3e, static_cast<std::uint8_t>(hash.data[0] & 0x7f), hash.data[1], hash.data[2]};
}

std::string_view to_string(NetworkModel model) {
    return std::ranges::find(models, model, &ModelName::model)->name;
}

std::string mac_text(const std::array<std::uint8_t, 6>& mac) {
    return fmt::format("{:02x}", fmt::join(mac, ":"));
}

} // namespace escalus
