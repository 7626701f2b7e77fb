// SPDX-License-Identifier: GPL-2.0-or-later
// Does in software what a sender left to do: checksums (RFC 1071), and cutting a TCP segment that is larger
// than the wire takes into such that fit (as "large send offload" of network cards).
#pragma once

#include "devmodel/backends/net/net_backend.hpp"

#include <vector>

namespace escalus {

/// Puts the checksum in. False, and nothing done, when the frame has no room for it.
bool complete_checksum(std::span<std::uint8_t> frame, const NetOffload& offload);

/// Smaller segments of a guest's would be a flood: the least that Linux lets a peer ask for.
inline constexpr std::uint16_t least_segment = 48;

/// Makes of a frame what goes onto a wire, one piece at a time: the frame itself when nothing is left to do,
/// else one or several of its own.
class FrameFinisher {
  public:
    /// False when the frame is not what `offload` says; there is nothing to come then. Where it has to be
    /// cut, the segments' payload is at least `least` bytes. The frame is used until done().
    [[nodiscard]] bool begin(std::span<const std::uint8_t> frame, const NetOffload& offload,
                             std::uint16_t least = least_segment);
    [[nodiscard]] bool done() const { return frame_.empty(); }
    /// The next piece, until the next call. Not after done().
    [[nodiscard]] std::span<const std::uint8_t> next();
    /// Forgets what was to come.
    void drop() { frame_ = {}; }

  private:
    [[nodiscard]] std::span<const std::uint8_t> next_segment();

    std::span<const std::uint8_t> frame_; // empty: nothing to come
    NetOffload offload_;
    std::size_t ip_ = 0, payload_ = 0;      // where they begin, where the frame is to be cut
    std::size_t position_ = 0, number_ = 0; // of the next segment, in the payload
    std::vector<std::uint8_t> piece_;
};

} // namespace escalus
