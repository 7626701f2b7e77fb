// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/input/ps2_mouse.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace escalus {

namespace {
constexpr std::size_t motion_limit = 32; // clicks kept while the guest does not look
constexpr int motion_bound = 1'000'000;  // counts kept likewise
constexpr int packet_bound = 255;        // nine bits, and no overflow
constexpr std::uint8_t standard_id = 0, wheel_id = 3, explorer_id = 4;

enum Command : std::uint8_t {
    scale_1_1 = 0xe6,
    scale_2_1 = 0xe7,
    set_resolution = 0xe8,
    status_request = 0xe9,
    stream_mode = 0xea,
    read_data = 0xeb,
    leave_wrap = 0xec,
    enter_wrap = 0xee,
    remote_mode = 0xf0,
    identify = 0xf2,
    set_rate = 0xf3,
    enable = 0xf4,
    disable = 0xf5,
    defaults = 0xf6,
    resend_last = 0xfe,
    reset_device = 0xff,
};

int take_part(int& from, int low, int high) {
    const int part = std::clamp(from, low, high);
    from -= part;
    return part;
}
void add(int& to, int amount) {
    to = std::clamp(to + std::clamp(amount, -motion_bound, motion_bound), -motion_bound, motion_bound);
}
} // namespace

Ps2Mouse::Ps2Mouse() {
    set_defaults();
}

void Ps2Mouse::set_defaults() {
    rate_ = 100;
    resolution_ = 2;
    double_scale_ = false;
    remote_ = false;
    reporting_ = false;
    motion_.clear();
}

void Ps2Mouse::reset(ResetKind) {
    set_defaults();
    drop_everything();
    sent_buttons_ = 0;
    last_rates_ = {};
    last_reply_.clear();
    pending_ = 0;
    id_ = standard_id;
    wrap_ = false;
}

void Ps2Mouse::move(int dx, int dy, int wheel, unsigned buttons) {
    const bool click = buttons != std::exchange(buttons_, buttons);
    if (!reporting_ && !remote_)
        return;
    if (id_ == standard_id)
        wheel = 0;
    if (dx == 0 && dy == 0 && wheel == 0 && !click)
        return;
    if (motion_.empty() || ((motion_.back().click || click) && motion_.size() < motion_limit))
        motion_.push_back({});
    auto& last = motion_.back();
    add(last.dx, dx);
    add(last.dy, dy);
    add(last.wheel, wheel);
    last.buttons = buttons;
    last.click = last.click || click;
    stream();
}

/// Takes the next packet off the motion; one without motion when there is none.
std::vector<std::uint8_t> Ps2Mouse::next_packet() {
    int dx = 0, dy = 0, wheel = 0;
    if (!motion_.empty()) {
        auto& next = motion_.front();
        dx = take_part(next.dx, -packet_bound, packet_bound);
        dy = -take_part(next.dy, -packet_bound, packet_bound); // a mouse counts upwards
        wheel = take_part(next.wheel, -8, 7);
        if (next.dx == 0 && next.dy == 0 && next.wheel == 0) {
            sent_buttons_ = next.buttons; // only now are we where the button changed
            motion_.pop_front();
        }
    }
    std::vector<std::uint8_t> packet{
        static_cast<std::uint8_t>((sent_buttons_ & 7) | 8u | (dx < 0 ? 0x10u : 0) | (dy < 0 ? 0x20u : 0)),
        static_cast<std::uint8_t>(dx), static_cast<std::uint8_t>(dy)};
    if (id_ == wheel_id)
        packet.push_back(static_cast<std::uint8_t>(wheel));
    else if (id_ == explorer_id)
        packet.push_back(static_cast<std::uint8_t>((static_cast<unsigned>(wheel) & 0xf) |
                                                   ((sent_buttons_ & (side | extra)) << 1)));
    return packet;
}

void Ps2Mouse::stream() {
    // One packet at a time: what happens while it is on its way is added up for the next one.
    if (!reporting_ || remote_ || wrap_ || has_data() || motion_.empty())
        return;
    last_reply_ = next_packet();
    send(last_reply_);
}

void Ps2Mouse::reply(std::vector<std::uint8_t> bytes) {
    answer(bytes);
    last_reply_ = std::move(bytes);
}

void Ps2Mouse::receive(std::uint8_t byte) {
    drop_data(); // a command interrupts a packet, and the packet is not taken up again
    if (wrap_ && byte != leave_wrap && byte != reset_device) {
        answer(std::array{byte});
        return;
    }
    if (const auto command = std::exchange(pending_, std::uint8_t{0}); command != 0)
        receive_argument(command, byte);
    else
        receive_command(byte);
}

void Ps2Mouse::receive_argument(std::uint8_t command, std::uint8_t byte) {
    if (command == set_resolution) {
        if (byte > 3) {
            reply({resend});
            pending_ = command;
            return;
        }
        resolution_ = byte;
    } else {
        rate_ = byte;
        note_rate(byte);
    }
    reply({ack});
}

/// The knock by which drivers ask for the wheel and the further buttons.
void Ps2Mouse::note_rate(std::uint8_t rate) {
    last_rates_ = {last_rates_[1], last_rates_[2], rate};
    if (last_rates_ == std::array<std::uint8_t, 3>{200, 100, 80})
        id_ = wheel_id;
    else if (last_rates_ == std::array<std::uint8_t, 3>{200, 200, 80})
        id_ = explorer_id;
}

void Ps2Mouse::receive_command(std::uint8_t byte) {
    switch (byte) {
    case scale_1_1:
    case scale_2_1:
        double_scale_ = byte == scale_2_1;
        reply({ack});
        break;
    case set_resolution:
    case set_rate:
        pending_ = byte;
        reply({ack});
        break;
    case status_request: {
        const auto status = (remote_ ? 0x40u : 0) | (reporting_ ? 0x20u : 0) | (double_scale_ ? 0x10u : 0) |
                            ((buttons_ & left) != 0 ? 4u : 0) | ((buttons_ & middle) != 0 ? 2u : 0) |
                            ((buttons_ & right) != 0 ? 1u : 0);
        reply({ack, static_cast<std::uint8_t>(status), resolution_, rate_});
        break;
    }
    case stream_mode:
    case remote_mode:
        remote_ = byte == remote_mode;
        motion_.clear();
        reply({ack});
        break;
    case read_data: {
        auto packet = next_packet();
        packet.insert(packet.begin(), ack);
        reply(std::move(packet));
        break;
    }
    case enter_wrap:
    case leave_wrap:
        wrap_ = byte == enter_wrap;
        reply({ack});
        break;
    case identify:
        reply({ack, id_});
        break;
    case enable:
    case disable:
        reporting_ = byte == enable;
        motion_.clear();
        reply({ack});
        break;
    case defaults:
        set_defaults();
        reply({ack});
        break;
    case resend_last:
        answer(last_reply_);
        break;
    case reset_device:
        reset(ResetKind::System);
        reply({ack, self_test_passed, standard_id});
        break;
    default:
        reply({resend});
        break;
    }
}

} // namespace escalus
