// SPDX-License-Identifier: GPL-2.0-or-later
#include "vnc/rfb_framing.hpp"

namespace escalus {

namespace {

using Action = RfbFrame::Action;

enum MessageType : std::uint8_t {
    set_pixel_format = 0,
    set_encodings = 2,
    update_request = 3,
    key_event = 4,
    pointer_event = 5,
    cut_text = 6,
    set_scale = 8,
    set_server_input = 9,
    set_single_window = 10,
    text_chat = 11,
    palm_set_scale = 15,
    xvp = 250,
    set_desktop_size = 251,
    qemu = 255,
};
constexpr std::size_t max_encodings = 1024;
constexpr std::uint32_t max_skipped = 64u << 20;

std::uint32_t be16(std::span<const std::uint8_t> b, std::size_t at) {
    return b[at] * 256u + b[at + 1];
}
std::uint32_t be32(std::span<const std::uint8_t> b, std::size_t at) {
    return be16(b, at) << 16 | be16(b, at + 2);
}

RfbFrame handle(std::span<const std::uint8_t> bytes, std::size_t size) {
    if (bytes.size() < size)
        return {};
    return {Action::Handle, size};
}

/// A message whose length stands in its head of `head` bytes.
template <typename F>
RfbFrame sized(std::span<const std::uint8_t> bytes, std::size_t head, F with_head) {
    if (bytes.size() < head)
        return {};
    return with_head();
}

RfbFrame normal(std::span<const std::uint8_t> b) {
    switch (b[0]) {
    case set_pixel_format:
        return handle(b, 20);
    case set_encodings:
        return sized(b, 4, [&]() -> RfbFrame {
            if (be16(b, 2) > max_encodings)
                return {Action::Reject};
            return handle(b, 4 + 4 * be16(b, 2));
        });
    case update_request:
        return handle(b, 10);
    case key_event:
        return handle(b, 8);
    case pointer_event:
        return handle(b, 6);
    case cut_text: // the guest has no clipboard; a negative length is the extended clipboard's
        return sized(b, 8, [&]() -> RfbFrame {
            const auto length = be32(b, 4);
            const auto size = (length >> 31) != 0 ? 0 - length : length;
            return size > max_skipped ? RfbFrame{Action::Reject} : RfbFrame{Action::Skip, 8 + size};
        });
    case text_chat: // lengths from 0xfffffffd are commands without text
        return sized(b, 8, [&]() -> RfbFrame {
            const auto length = be32(b, 4);
            const auto size = length >= 0xfffffffd ? 0 : length;
            return size > max_skipped ? RfbFrame{Action::Reject} : RfbFrame{Action::Skip, 8 + size};
        });
    case set_scale:
    case palm_set_scale:
    case set_server_input:
    case xvp:
        return {Action::Skip, 4};
    case set_single_window:
        return {Action::Skip, 6};
    case set_desktop_size:
        return sized(b, 8, [&] { return handle(b, 8 + 16u * b[6]); });
    case qemu: // submessage 0 is the extended key event
        return sized(b, 2,
                     [&]() -> RfbFrame { return b[1] == 0 ? handle(b, 12) : RfbFrame{Action::Reject}; });
    default:
        return {Action::Reject};
    }
}

} // namespace

RfbFrame next_rfb_frame(RfbPhase phase, std::span<const std::uint8_t> bytes) {
    if (bytes.empty())
        return {};
    switch (phase) {
    case RfbPhase::Version:
        return handle(bytes, 12);
    case RfbPhase::SecurityType:
    case RfbPhase::Initialisation:
        return handle(bytes, 1);
    case RfbPhase::Authentication:
        return handle(bytes, 16);
    default:
        return normal(bytes);
    }
}

} // namespace escalus
