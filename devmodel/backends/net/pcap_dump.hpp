// SPDX-License-Identifier: GPL-2.0-or-later
// Writes the frames that pass between a card and any backend into a file, in the format of libpcap 2.4
// (microseconds, Ethernet), for tcpdump and Wireshark. A file that cannot be written to any more is given up
// with a line in the log; the network goes on.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"

#include <memory>

namespace escalus {

class PcapDump final : public NetBackend, private NetCard {
  public:
    /// Throws std::runtime_error when the file cannot be made.
    PcapDump(std::unique_ptr<NetBackend> inner, const std::string& path);
    ~PcapDump() override;
    PcapDump(const PcapDump&) = delete;
    PcapDump& operator=(const PcapDump&) = delete;

    [[nodiscard]] std::string description() const override { return inner_->description(); }
    void connect(NetCard* card) override;
    [[nodiscard]] bool link_up() const override { return inner_->link_up(); }
    void send(std::span<const std::uint8_t> frame, const NetOffload& offload) override;
    void card_ready() override { inner_->card_ready(); }
    void accept_offloads(bool checksum, bool tcp4, bool tcp6) override {
        inner_->accept_offloads(checksum, tcp4, tcp6);
    }

  private:
    [[nodiscard]] bool can_receive() override { return card_ != nullptr && card_->can_receive(); }
    void receive(std::span<const std::uint8_t> frame, const NetOffload& offload) override;
    void end_of_frames() override {
        if (card_ != nullptr)
            card_->end_of_frames();
    }
    void link_changed(bool up) override;
    void record(std::span<const std::uint8_t> frame);

    std::unique_ptr<NetBackend> inner_;
    std::string path_;
    int file_;
    NetCard* card_ = nullptr;
};

} // namespace escalus
