// SPDX-License-Identifier: GPL-2.0-or-later
// Where a network card's frames go and come from: the two ends of a cable. Both are called on the loop
// thread or on a vCPU's, always with the device lock held; neither may block.
//
// A backend never calls its card from within a call of the card's (what arrives because of a frame that was
// sent comes later, on the loop thread), so that cards need not be re-entrant.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace escalus {

using MacAddress = std::array<std::uint8_t, 6>;

/// The longest frame of Ethernet without extensions, a VLAN tag included and without FCS; and the longest of
/// all, unsegmented.
inline constexpr std::size_t ethernet_frame_bytes = 1518, longest_frame_bytes = 18 + 65535;

/// What a sender left for the receiver of a frame to do; the fields of virtio_net_hdr (Virtual I/O Device
/// 1.1, 5.1.6), which TAP devices of Linux use as well.
struct NetOffload {
    enum class Segmentation : std::uint8_t { None, Tcp4, Tcp6 };
    bool needs_checksum = false;   ///< the sum from checksum_start on is to be put at start + offset
    bool checksum_is_good = false; ///< somebody has looked at it already
    Segmentation segmentation = Segmentation::None;
    bool has_ecn = false;
    std::uint16_t header_bytes = 0;  ///< of Ethernet, IP and TCP together; a hint
    std::uint16_t segment_bytes = 0; ///< payload of each segment, where segmented
    std::uint16_t checksum_start = 0, checksum_offset = 0;

    [[nodiscard]] bool unfinished() const { return needs_checksum || segmentation != Segmentation::None; }
};

/// The card's end.
class NetCard {
  public:
    virtual ~NetCard() = default;
    /// Whether receive() would take a frame now. A card that said no calls NetBackend::card_ready() later.
    [[nodiscard]] virtual bool can_receive() = 0;
    /// A whole Ethernet frame from the destination address on, without FCS, perhaps shorter than 60 bytes.
    /// A card that has no room drops it. `offload` says None of everything unless the card asked for it by
    /// NetBackend::accept_offloads().
    virtual void receive(std::span<const std::uint8_t> frame, const NetOffload& offload) = 0;
    /// Those were all for now. Every backend says so after the last frame that it has: a card may have waited
    /// with its interrupt for this.
    virtual void end_of_frames() {}
    /// The cable was pulled or plugged in.
    virtual void link_changed(bool up) = 0;
};

/// The world's end.
class NetBackend {
  public:
    virtual ~NetBackend() = default;
    [[nodiscard]] virtual std::string description() const = 0; ///< for messages: "user", "tap vif1.0"

    /// Frames come from now on; null unplugs the card, and frames that come meanwhile are lost.
    virtual void connect(NetCard* card) = 0;
    [[nodiscard]] virtual bool link_up() const { return true; }

    /// Sends a frame, without FCS; it is copied or sent before the call returns. One that cannot be sent is
    /// lost, as on a wire. Whatever `offload` asks for is done here, or by whoever gets it.
    virtual void send(std::span<const std::uint8_t> frame, const NetOffload& offload) = 0;
    /// The card has room again.
    virtual void card_ready() = 0;
    /// The card takes frames whose checksum is not there yet, and unsegmented ones.
    virtual void accept_offloads(bool /*checksum*/, bool /*tcp4*/, bool /*tcp6*/) {}
};

} // namespace escalus
