// SPDX-License-Identifier: GPL-2.0-or-later
// Where one message of an RFB viewer ends and the next begins (RFC 6143, and the registry of extensions in
// the "rfbproto" document), so that a viewer that stops in the middle of a message makes nobody wait for the
// rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace escalus {

/// What a viewer is expected to send next.
enum class RfbPhase : std::uint8_t { Version, SecurityType, Authentication, Initialisation, Normal };

struct RfbFrame {
    enum class Action : std::uint8_t {
        More,   ///< not all of it is there
        Handle, ///< `size` bytes: one message
        Skip,   ///< `size` bytes, which may be more than are there: a message that means nothing to us
        Reject  ///< no such message: the connection cannot go on
    };
    Action action = Action::More;
    std::size_t size = 0;
};

/// What stands at the beginning of `bytes`.
RfbFrame next_rfb_frame(RfbPhase phase, std::span<const std::uint8_t> bytes);

} // namespace escalus
