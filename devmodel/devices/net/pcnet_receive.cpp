// SPDX-License-Identifier: GPL-2.0-or-later
// Receiving: address match, stripping, the ring.
#include "devmodel/backends/net/internet_packet.hpp"
#include "devmodel/devices/net/pcnet.hpp"
#include "devmodel/machine/little_endian.hpp"

namespace escalus {

using namespace pcnet;

namespace {
constexpr std::size_t type_offset = 12, least_payload = 46, longest_frame = 4090;
constexpr std::uint32_t any = 1; // accepted without a match of its own
} // namespace

// No register is touched when a buffer is given: nobody would say that there is room again. What finds none
// is missed, as on the wire.
bool Pcnet::can_receive() {
    return may_work();
}

void Pcnet::receive(std::span<const std::uint8_t> received, const NetOffload&) {
    if (!may_work() || looped() || received.size() < ethernet_header)
        return;
    std::array<std::uint8_t, ethernet_minimum> storage;
    accept(padded(received, storage), false);
}

std::uint32_t Pcnet::filter(Frame frame) const {
    const auto mode = csr_[15];
    if (is_broadcast(frame)) {
        if ((mode & mode_no_broadcast) == 0)
            return desc_broadcast;
    } else if (is_multicast(frame)) {
        const auto hash = multicast_hash_right(frame);
        if ((csr_[8 + hash / 16] >> hash % 16 & 1) != 0)
            return desc_hashed;
    } else if ((mode & mode_no_physical) == 0) {
        std::array<std::uint8_t, 6> address;
        for (unsigned i = 0; i < 3; ++i)
            store_le(address, 2 * i, csr_[12 + i]);
        if (is_sent_to(frame, address))
            return desc_mine;
    }
    return (mode & mode_all) != 0 ? any : 0;
}

// `with_crc`: the last bytes of a looped frame are the CRC that the guest made itself.
void Pcnet::accept(Frame frame, bool with_crc) {
    if ((csr_[0] & csr0_receiver) == 0 || (csr_[5] & csr5_suspend) != 0 ||
        frame.size() < ethernet_header + ethernet_crc_bytes || frame.size() > longest_frame)
        return;
    auto flags = filter(frame);
    if (flags == 0)
        return;
    flags &= ~any;
    if ((csr_[15] & mode_all) != 0)
        flags = 0; // matches are not told in promiscuous mode
    rx_frame_.assign(frame.begin(), frame.end());
    const auto length = load_be16(frame, type_offset);
    if (with_crc) {
        const auto data = frame.first(frame.size() - ethernet_crc_bytes);
        if (ethernet_crc(data) != load_le<std::uint32_t>(frame, data.size()))
            flags |= desc_crc | desc_error;
    } else if ((csr_[4] & csr4_strip) != 0 && length < least_payload &&
               ethernet_header + length <= frame.size()) {
        rx_frame_.resize(ethernet_header + length); // without the padding, and the CRC
    } else {
        rx_frame_.resize(frame.size() + ethernet_crc_bytes);
        store_le(std::span{rx_frame_}, frame.size(), ethernet_crc(frame));
    }
    put_in_ring(rx_frame_, flags);
}

void Pcnet::put_in_ring(std::span<const std::uint8_t> bytes, std::uint32_t flags) {
    const auto total = static_cast<std::uint32_t>(bytes.size());
    std::optional<Descriptor> last;
    for (std::uint32_t n = 0; !bytes.empty() && n < receive_ring_.length; ++n) {
        auto found = fetch(receive_ring_);
        if (!found)
            return bus_error();
        if ((found->status & desc_own) == 0)
            break;
        if (last && !store(*last)) // not the frame's last
            return bus_error();
        receive_ring_.advance();
        const auto part = bytes.first(std::min(bytes.size(), found->bytes()));
        if (!memory().write(GuestPhys{found->buffer}, part))
            return bus_error();
        bytes = bytes.subspan(part.size());
        found->status = (found->status & 0xffff) | (last ? 0u : desc_first);
        found->more = 0;
        last = found;
    }
    if (!last) {
        ++csr_[112];
        raise(csr0_missed);
        return;
    }
    if (bytes.empty()) {
        last->status |= desc_last | flags;
        last->more = total;
    } else { // the rest found no buffer
        last->status |= desc_error | desc_no_buffer | desc_overflow;
    }
    if (!store(*last))
        return bus_error();
    raise(csr0_received);
}

} // namespace escalus
