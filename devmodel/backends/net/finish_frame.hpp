// SPDX-License-Identifier: GPL-2.0-or-later
// Does in software what a sender left to do: checksums (RFC 1071), and cutting a TCP segment that is larger
// than the wire takes into such that fit (as "large send offload" of network cards). Pure functions.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"

#include <functional>
#include <vector>

namespace escalus {

/// The Internet checksum's sum, not yet inverted, of bytes that start at an even place; `sum` goes before.
[[nodiscard]] std::uint16_t internet_sum(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0);

/// Puts the checksum in. False, and nothing done, when the frame has no room for it.
bool complete_checksum(std::span<std::uint8_t> frame, const NetOffload& offload);

/// Calls `emit` with what goes onto a wire: the frame itself when nothing is left to do, else one or several
/// made in `scratch`. False, and nothing is emitted, when the frame is not what `offload` says; the segments'
/// payload is at least `least_segment` bytes.
bool finish_frame(std::span<const std::uint8_t> frame, const NetOffload& offload,
                  std::vector<std::uint8_t>& scratch,
                  const std::function<void(std::span<const std::uint8_t>)>& emit);

/// Smaller segments would be a flood: the least that Linux lets a peer ask for.
inline constexpr std::uint16_t least_segment = 48;

} // namespace escalus
