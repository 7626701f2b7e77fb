// SPDX-License-Identifier: GPL-2.0-or-later
// 8139 mode: four transmit slots, and one receive buffer that is a ring of frames with headers.
#include "devmodel/devices/net/rtl8139.hpp"
#include "devmodel/machine/copy_bytes.hpp"
#include "devmodel/machine/little_endian.hpp"

namespace escalus {

using namespace rtl8139;

namespace {
constexpr std::uint32_t loopback = 0x60000;
constexpr unsigned header_bytes = 4;
// What a received frame takes: its header and CRC with it, and the next begins at a multiple of four.
std::uint32_t room_for(std::size_t frame) {
    return static_cast<std::uint32_t>((header_bytes + frame + ethernet_crc_bytes + 3) & ~std::size_t{3});
}
} // namespace

void Rtl8139::set_tx_status(unsigned n, std::uint32_t value) {
    // Statuses are the chip's; writing the size and the threshold hands the slot over.
    tx_status_[n] = value & (tx_size_mask | tx_own | 0x003f0000);
    transmit();
}

bool Rtl8139::transmit_some() {
    if ((command_ & cmd_transmit) == 0)
        return false;
    if (!cplus()) {
        for (unsigned sent = 0; sent < tx_status_.size() && (tx_status_[tx_next_] & tx_own) == 0; ++sent) {
            const auto n = tx_next_;
            tx_next_ = (tx_next_ + 1) % tx_status_.size();
            send_slot(n);
        }
        return false;
    }
    constexpr unsigned most_frames = 64, most_descriptors = 256;
    std::uint16_t causes = 0;
    unsigned frames = 0, descriptors = 0;
    for (unsigned n = 2; n-- > 0;) { // high priority first
        auto& ring = send_rings_[n];
        while (ring.wanted && (cplus_ & cplus_transmit) != 0) {
            if (frames >= most_frames || ++descriptors >= most_descriptors) {
                raise(causes);
                return true;
            }
            const auto sent =
                send_descriptor(ring, address64(n == 0 ? reg_tx_ring : reg_tx_ring_high_priority));
            if (sent == Sent::Nothing) {
                ring.wanted = false;
                causes |= frames != 0 ? int_no_tx_descriptor : std::uint16_t{0};
            } else if (sent == Sent::Whole) {
                ++frames;
                causes |= int_tx_ok;
            }
        }
    }
    raise(causes);
    return false;
}

void Rtl8139::send_slot(unsigned n) {
    tx_frame_.resize(tx_status_[n] & tx_size_mask);
    if (!memory().read(GuestPhys{tx_address_[n]}, tx_frame_)) {
        tx_status_[n] |= tx_own | tx_aborted;
        ++tally_.send_errors;
        ++tally_.aborted;
        raise(int_tx_error | int_bus_error);
        return;
    }
    tx_status_[n] |= tx_own | tx_ok;
    ++tally_.sent;
    raise(int_tx_ok);
    put_on_wire(tx_frame_, {});
}

void Rtl8139::put_on_wire(Frame frame, const NetOffload& offload) {
    if (frame.size() < ethernet_header)
        return;
    if ((tx_config_ & loopback) == loopback)
        accept(frame);
    else
        wire().send(frame, offload);
}

std::uint16_t Rtl8139::tx_summary() const {
    unsigned value = 0;
    for (unsigned n = 0; n < tx_status_.size() && !cplus(); ++n)
        value |= ((tx_status_[n] & tx_ok) != 0 ? 0x1000u << n : 0u) |
                 ((tx_status_[n] & tx_aborted) != 0 ? 0x10u << n : 0u) |
                 ((tx_status_[n] & tx_own) != 0 ? 1u << n : 0u);
    return static_cast<std::uint16_t>(value);
}

// The reader's register is 16 behind where it reads.
std::uint32_t Rtl8139::ring_used() const {
    return (rx_position_ - (rx_read_ + 16u)) & (ring_bytes() - 1);
}

void Rtl8139::reset_ring() {
    rx_position_ = 0;
    rx_read_ = 0xfff0;
    rx_next_ = 0;
}

void Rtl8139::receive_to_ring(Frame frame, std::uint16_t header) {
    const auto room = room_for(frame.size());
    // Not all of it: a ring that is full would look empty.
    if (room >= ring_bytes() - ring_used()) {
        miss_frame();
        return;
    }
    rx_frame_.resize(room);
    store_le(std::span{rx_frame_}, 0, static_cast<std::uint16_t>(header | head_ok));
    store_le(std::span{rx_frame_}, 2, static_cast<std::uint16_t>(frame.size() + ethernet_crc_bytes));
    copy_bytes(frame, std::span{rx_frame_}.subspan(header_bytes));
    store_le(std::span{rx_frame_}, header_bytes + frame.size(), ethernet_crc(frame));
    // With WRAP a frame goes on beyond the end of the ring; in a ring of 64 KiB it never does (6.16).
    const auto end = ring_bytes() - rx_position_;
    const bool split = room > end && ((rx_config_ & rx_no_wrap) == 0 || ring_bytes() == 0x10000);
    const auto bytes = std::span{rx_frame_};
    bool good =
        memory().write(GuestPhys{std::uint64_t{rx_buffer_} + rx_position_}, split ? bytes.first(end) : bytes);
    if (split)
        good = memory().write(GuestPhys{rx_buffer_}, bytes.subspan(end)) && good;
    rx_position_ = (rx_position_ + room) & (ring_bytes() - 1);
    ++tally_.received;
    tally_.received_mine += (header & head_mine) != 0 ? 1 : 0;
    tally_.received_broadcast += (header & head_broadcast) != 0 ? 1 : 0;
    tally_.received_multicast += (header & head_multicast) != 0 ? 1 : 0;
    raise(good ? int_rx_ok : static_cast<std::uint16_t>(int_rx_ok | int_bus_error));
}

} // namespace escalus
