// SPDX-License-Identifier: GPL-2.0-or-later
// A cable whose other end is the test, for network cards.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"

#include <utility>
#include <vector>

namespace escalus::test {

class FakeCable final : public NetBackend {
  public:
    [[nodiscard]] std::string description() const override { return "test"; }
    void connect(NetCard* new_card) override { card = new_card; }
    [[nodiscard]] bool link_up() const override { return up; }
    void send(std::span<const std::uint8_t> frame, const NetOffload& offload) override {
        sent.push_back({{frame.begin(), frame.end()}, offload});
    }
    void card_ready() override { ++ready; }
    void accept_offloads(bool checksum, bool tcp4, bool tcp6) override {
        offloads = (checksum ? 1u : 0u) | (tcp4 ? 2u : 0u) | (tcp6 ? 4u : 0u);
    }
    void pull(bool new_up) {
        up = new_up;
        card->link_changed(up);
    }

    struct Sent {
        std::vector<std::uint8_t> frame;
        NetOffload offload;
    };
    NetCard* card = nullptr;
    bool up = true;
    std::vector<Sent> sent;
    unsigned ready = 0, offloads = 0;
};

} // namespace escalus::test
