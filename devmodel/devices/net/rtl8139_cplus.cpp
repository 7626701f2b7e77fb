// SPDX-License-Identifier: GPL-2.0-or-later
// C+ mode: descriptor rings, VLAN tags, checksums, large sends, tally counters (RTL8139C+ datasheet, chapter
// 9).
#include "devmodel/backends/net/internet_packet.hpp"
#include "devmodel/devices/net/rtl8139.hpp"
#include "devmodel/machine/little_endian.hpp"

#include <utility>

namespace escalus {

using namespace rtl8139;

namespace {
constexpr unsigned descriptor_bytes = 16, ring_descriptors = 64;
constexpr std::size_t longest_send = 65536 + ethernet_header, addresses = 12, tag_bytes = 4;

// What the descriptor asks for, done to the frame as far as it is the card's to do; the rest goes with it.
NetOffload prepare(std::span<std::uint8_t> frame, std::uint32_t command) {
    NetOffload offload;
    const bool large = (command & desc_large) != 0;
    if (!large && (command & (desc_ip_sum | desc_udp_sum | desc_tcp_sum)) == 0)
        return offload;
    const auto packet = InternetPacket::find(frame);
    if (!packet || packet->version6)
        return offload; // the chip knows IPv4 alone
    if (large || (command & desc_ip_sum) != 0)
        packet->fill_header_checksum(frame);
    const auto wanted = packet->protocol == InternetPacket::tcp   ? large || (command & desc_tcp_sum) != 0
                        : packet->protocol == InternetPacket::udp ? !large && (command & desc_udp_sum) != 0
                                                                  : false;
    const auto offset = packet->checksum_offset(frame);
    if (!wanted || !offset)
        return offload;
    const auto bytes = packet->end - packet->transport;
    store_be16(frame, packet->transport + *offset, fold_sum(packet->pseudo_header(frame, bytes)));
    offload.needs_checksum = true;
    offload.checksum_start = static_cast<std::uint16_t>(packet->transport);
    offload.checksum_offset = static_cast<std::uint16_t>(*offset);
    const std::size_t header = packet->transport + (frame[packet->transport + 12] >> 4) * 4u;
    const auto segment = command >> 16 & 0x7ff;
    if (large && segment >= 64 && header + segment < packet->end) {
        offload.segmentation = NetOffload::Segmentation::Tcp4;
        offload.header_bytes = static_cast<std::uint16_t>(header);
        offload.segment_bytes = static_cast<std::uint16_t>(segment);
    }
    return offload;
}
} // namespace

std::uint64_t Rtl8139::address64(unsigned begin) const {
    if (begin == reg_rx_ring)
        return std::uint64_t{rx_ring_address_[1]} << 32 | rx_ring_address_[0];
    const auto n = (begin - reg_tx_ring) / 4;
    return std::uint64_t{tx_address_[n + 1]} << 32 | tx_address_[n];
}

std::optional<Rtl8139::Descriptor> Rtl8139::fetch(std::uint64_t ring, unsigned index) {
    std::array<std::uint8_t, descriptor_bytes> bytes;
    const auto where = (ring & ~std::uint64_t{255}) + index * descriptor_bytes;
    if (!memory().read(GuestPhys{where}, bytes))
        return {};
    return Descriptor{where, load_le<std::uint32_t>(bytes, 0), load_le<std::uint32_t>(bytes, 4),
                      load_le<std::uint64_t>(bytes, 8)};
}

Rtl8139::Sent Rtl8139::send_descriptor(SendRing& ring, std::uint64_t base) {
    const auto found = fetch(base, ring.next);
    if (!found)
        raise(int_bus_error);
    if (!found || (found->command & desc_own) == 0)
        return Sent::Nothing;
    const bool last = (found->command & desc_last) != 0;
    if ((found->command & desc_first) != 0) {
        ring.frame.clear();
        ring.broken = false;
        ring.first = *found;
    }
    const std::size_t bytes = found->command & 0xffff, so_far = ring.frame.size();
    if (so_far + bytes > longest_send) {
        ring.broken = true;
    } else {
        ring.frame.resize(so_far + bytes);
        if (!memory().read(GuestPhys{found->buffer}, std::span{ring.frame}.subspan(so_far))) {
            ring.broken = true;
            raise(int_bus_error);
        }
    }
    auto status = found->command & ~(desc_own | (last ? desc_tx_errors : 0u));
    if (last && ring.broken)
        status |= desc_tx_summary;
    std::array<std::uint8_t, 4> word;
    store_le(word, 0, status);
    if (!memory().write(GuestPhys{found->where}, word)) { // it would be found again for ever
        raise(int_bus_error);
        return Sent::Nothing;
    }
    ring.next = (found->command & desc_end) != 0 ? 0 : (ring.next + 1) % ring_descriptors;
    if (!last)
        return Sent::Part;
    if (std::exchange(ring.broken, false)) {
        ++tally_.send_errors;
        ++tally_.aborted;
        raise(int_tx_error);
    } else {
        send_gathered(ring);
    }
    ring.frame.clear();
    return Sent::Whole;
}

void Rtl8139::send_gathered(SendRing& ring) {
    if (ring.frame.size() < ethernet_header)
        return;
    ++tally_.sent;
    if ((ring.first.tag & desc_add_tag) != 0) { // in the descriptor as it is on the wire
        const std::array<std::uint8_t, tag_bytes> tag{0x81, 0x00, static_cast<std::uint8_t>(ring.first.tag),
                                                      static_cast<std::uint8_t>(ring.first.tag >> 8)};
        ring.frame.insert(ring.frame.begin() + addresses, tag.begin(), tag.end());
    }
    const auto offload = prepare(ring.frame, ring.first.command);
    put_on_wire(ring.frame, offload);
}

std::uint32_t Rtl8139::checksum_status(Frame frame) const {
    if ((cplus_ & cplus_checksum) == 0)
        return 0;
    const auto packet = InternetPacket::find(frame);
    if (!packet || packet->version6)
        return 0;
    auto status = packet->header_checksum_good(frame) ? desc_ip : desc_ip | desc_ip_bad;
    if (!packet->checksum_offset(frame))
        return status;
    const bool good = packet->transport_checksum_good(frame);
    if (packet->protocol == InternetPacket::tcp)
        return (status & ~desc_ip) | desc_tcp | (good ? 0 : desc_tcp_bad);
    return (status & ~desc_ip) | desc_udp | (good ? 0 : desc_udp_bad);
}

// A frame may take several descriptors; the first of them tells what the frame is, the last how long.
void Rtl8139::receive_to_descriptors(Frame frame, std::uint16_t header) {
    const auto kind = ((header & head_broadcast) != 0 ? desc_broadcast : 0u) |
                      ((header & head_multicast) != 0 ? desc_multicast : 0u) |
                      ((header & head_mine) != 0 ? desc_mine : 0u) | checksum_status(frame);
    std::array<std::uint8_t, 4> crc;
    store_le(crc, 0, ethernet_crc(frame));
    rx_frame_.assign(frame.begin(), frame.end());
    std::uint32_t tag = 0;
    if ((cplus_ & cplus_untag) != 0 && load_be16(rx_frame_, addresses) == 0x8100 && rx_frame_.size() > 18) {
        tag = desc_tag_there | load_le<std::uint16_t>(rx_frame_, addresses + 2);
        rx_frame_.erase(rx_frame_.begin() + addresses, rx_frame_.begin() + addresses + tag_bytes);
    }
    rx_frame_.insert(rx_frame_.end(), crc.begin(), crc.end());

    const auto total = static_cast<std::uint32_t>(rx_frame_.size());
    std::span<const std::uint8_t> left{rx_frame_};
    std::uint32_t first = desc_first;
    for (unsigned used = 0; used < ring_descriptors; ++used) {
        const auto found = fetch(address64(reg_rx_ring), rx_next_);
        if (!found)
            raise(int_bus_error);
        if (!found || (found->command & desc_own) == 0)
            break;
        const auto bytes = std::min<std::size_t>(left.size(), found->command & desc_rx_size);
        bool good = memory().write(GuestPhys{found->buffer}, left.first(bytes));
        left = left.subspan(bytes);
        std::array<std::uint8_t, 8> status;
        store_le(status, 0,
                 (found->command & desc_end) | first | kind | (left.empty() ? desc_last | total : 0u));
        store_le(status, 4, tag);
        good = memory().write(GuestPhys{found->where}, status) && good;
        if (!good)
            raise(int_bus_error);
        rx_next_ = (found->command & desc_end) != 0 ? 0 : (rx_next_ + 1) % ring_descriptors;
        first = 0;
        if (!left.empty())
            continue;
        ++tally_.received;
        tally_.received_mine += (header & head_mine) != 0 ? 1 : 0;
        tally_.received_broadcast += (header & head_broadcast) != 0 ? 1 : 0;
        tally_.received_multicast += (header & head_multicast) != 0 ? 1 : 0;
        raise(int_rx_ok);
        return;
    }
    miss_frame();
}

void Rtl8139::set_tally(std::uint32_t low) {
    tally_address_[0] = low & ~(63u & ~tally_dump);
    if ((low & tally_dump) == 0 || !may_work())
        return;
    std::array<std::uint8_t, 64> bytes{};
    store_le(bytes, 0, tally_.sent);
    store_le(bytes, 8, tally_.received);
    store_le(bytes, 16, tally_.send_errors);
    store_le(bytes, 24, tally_.receive_errors);
    store_le(bytes, 28, tally_.missed);
    store_le(bytes, 40, tally_.received_mine);
    store_le(bytes, 48, tally_.received_broadcast);
    store_le(bytes, 56, tally_.received_multicast);
    store_le(bytes, 60, tally_.aborted);
    tally_address_[0] &= ~tally_dump;
    if (!memory().write(GuestPhys{std::uint64_t{tally_address_[1]} << 32 | tally_address_[0]}, bytes))
        raise(int_bus_error);
}

} // namespace escalus
