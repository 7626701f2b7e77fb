// SPDX-License-Identifier: GPL-2.0-or-later
// Sending (8254x Software Developer's Manual, 3.3 to 3.5): descriptors, contexts, sums, segments.
#include "devmodel/backends/net/internet_packet.hpp"
#include "devmodel/devices/net/e1000.hpp"
#include "devmodel/machine/little_endian.hpp"

#include <utility>

namespace escalus {

using namespace e1000;

namespace {
constexpr unsigned descriptor_bytes = 16;
constexpr std::size_t longest_plain = 16288, longest_segmented = 128 * 1024, addresses = 12, tag_bytes = 4;
// The longest packet whose length IPv4 can tell: what the wire takes unsegmented.
constexpr std::size_t longest_packet = 65535;

// Sums [start, end] and puts the result at `field`; `end` 0 means the frame's end (3.5.5.2).
void insert_sum(std::span<std::uint8_t> frame, std::size_t start, std::size_t field, std::size_t end) {
    const auto beyond = end == 0 ? frame.size() : std::min(end + 1, frame.size());
    if (start >= beyond || field + 2 > frame.size())
        return;
    const auto sum = fold_sum(add_words(frame.subspan(start, beyond - start)));
    store_be16(frame, field, sum == 0xffff ? sum : static_cast<std::uint16_t>(~sum));
}

void add_be32(std::span<std::uint8_t> frame, std::size_t offset, std::uint64_t by) {
    const auto value = (std::uint64_t{load_be16(frame, offset)} << 16 | load_be16(frame, offset + 2)) + by;
    store_be16(frame, offset, static_cast<std::uint16_t>(value >> 16));
    store_be16(frame, offset + 2, static_cast<std::uint16_t>(value));
}
} // namespace

bool E1000::transmit_some() {
    constexpr unsigned most_frames = 64, most_descriptors = 256;
    std::uint32_t causes = 0;
    unsigned frames = 0;
    bool more = false;
    for (unsigned n = 0;; ++n) {
        // A tail beyond the ring would never be reached.
        more = (reg(reg_tctl) & tctl_enable) != 0 && reg(reg_tdh) != reg(reg_tdt) &&
               reg(reg_tdt) < ring_entries(reg_tdlen);
        if (!more || n == most_descriptors || frames >= most_frames)
            break;
        if (!fetch_and_send(frames, causes)) {
            more = false;
            break;
        }
    }
    if (!more && frames != 0)
        causes |= int_tx_empty;
    if (causes != 0)
        raise(causes);
    return more;
}

// False: the ring is not in memory, and the card stops until it is told of more.
bool E1000::fetch_and_send(unsigned& frames, std::uint32_t& causes) {
    if (reg(reg_tdh) >= ring_entries(reg_tdlen))
        reg(reg_tdh) = 0;
    std::array<std::uint8_t, descriptor_bytes> bytes;
    const auto base = std::uint64_t{reg(reg_tdbah)} << 32 | (reg(reg_tdbal) & ~15u);
    const auto where = base + std::uint64_t{reg(reg_tdh)} * descriptor_bytes;
    if (!memory().read(GuestPhys{where}, bytes))
        return false;
    const auto low = load_le<std::uint64_t>(bytes, 0), high = load_le<std::uint64_t>(bytes, 8);
    const auto command = static_cast<std::uint32_t>(high);
    const bool extended = (command & tx_extended) != 0, last = (command & tx_end) != 0;
    if (extended && (command & 0xf00000) != tx_kind_data) {
        set_context(low, high);
    } else {
        if (!std::exchange(gathered_.begun, true))
            gathered_.options = extended ? static_cast<std::uint32_t>(high >> 32) : 0;
        gathered_.segmented = extended && (command & tx_segment) != 0;
        gather(low, command & (extended ? 0xfffffu : 0xffffu));
        if (last) {
            frames +=
                1 + static_cast<unsigned>(gathered_.bytes.size() / 4096); // a large one has many segments
            if (gathered_.broken || gathered_.bytes.size() < ethernet_header)
                ;
            else if (extended)
                send_extended(high);
            else
                send_legacy(high);
            gathered_.bytes.clear();
            gathered_.begun = gathered_.broken = gathered_.segmented = false;
        }
    }
    reg(reg_tdh) = reg(reg_tdh) + 1 < ring_entries(reg_tdlen) ? reg(reg_tdh) + 1 : 0;
    if ((command & (tx_report | tx_report_sent)) == 0)
        return true;
    std::array<std::uint8_t, 4> status;
    store_le(status, 0, static_cast<std::uint32_t>((high >> 32 & ~std::uint64_t{15}) | tx_done));
    memory().write(GuestPhys{where + 12}, status);
    if ((command & tx_delay) != 0 && reg(reg_tidv) != 0)
        raise_later(int_tx_written, reg(reg_tidv), reg(reg_tadv) & 0xffff, tx_relative_, tx_absolute_);
    else
        causes |= int_tx_written;
    return true;
}

void E1000::set_context(std::uint64_t low, std::uint64_t high) {
    Context context;
    context.ip_start = low & 0xff;
    context.ip_field = low >> 8 & 0xff;
    context.ip_end = low >> 16 & 0xffff;
    context.start = low >> 32 & 0xff;
    context.field = low >> 40 & 0xff;
    context.end = low >> 48;
    context.header = high >> 40 & 0xff;
    context.segment = high >> 48;
    context.tcp = (high & tx_context_tcp) != 0;
    context.ipv4 = (high & tx_context_ipv4) != 0;
    ((high & tx_segment) != 0 ? segment_context_ : checksum_context_) = context;
}

void E1000::gather(std::uint64_t address, std::size_t bytes) {
    auto& frame = gathered_.bytes;
    const auto so_far = frame.size();
    if (so_far + bytes > (gathered_.segmented ? longest_segmented : longest_plain)) {
        gathered_.broken = true;
        return;
    }
    frame.resize(so_far + bytes);
    if (!memory().read(GuestPhys{address}, std::span{frame}.subspan(so_far)))
        gathered_.broken = true;
}

void E1000::send_legacy(std::uint64_t high) {
    auto& frame = gathered_.bytes;
    if ((high & tx_insert_sum) != 0)
        insert_sum(frame, high >> 40 & 0xff, high >> 16 & 0xff, 0);
    put_on_wire(frame, {}, high);
}

void E1000::send_extended(std::uint64_t high) {
    const auto options = gathered_.options;
    if (gathered_.segmented) {
        const auto context = segment_context_;
        count(stat_tx_segmented);
        if (!leave_segments(context, options, high))
            send_segments(context, options, high);
        return;
    }
    auto& frame = gathered_.bytes;
    const auto& context = checksum_context_;
    if ((options & tx_ip_sum) != 0)
        insert_sum(frame, context.ip_start, context.ip_field, context.ip_end);
    NetOffload offload;
    if ((options & tx_transport_sum) != 0) {
        const bool to_end = context.end == 0 || context.end + 1 >= frame.size();
        if (to_end && context.start < context.field && context.field + 2 <= frame.size()) {
            offload.needs_checksum = true;
            offload.checksum_start = static_cast<std::uint16_t>(context.start);
            offload.checksum_offset = static_cast<std::uint16_t>(context.field - context.start);
        } else {
            insert_sum(frame, context.start, context.field, context.end);
        }
    }
    put_on_wire(frame, offload, high);
}

// TCP as everybody sends it goes on as one, and is cut by the wire, or by nobody.
bool E1000::leave_segments(const Context& context, std::uint32_t options, std::uint64_t high) {
    auto& frame = gathered_.bytes;
    const std::uint32_t wanted = tx_transport_sum | (context.ipv4 ? tx_ip_sum : 0u);
    const bool looped = phy_.loopback() || (reg(reg_rctl) & rctl_mac_loopback) != 0;
    if (looped || !context.tcp || (options & wanted) != wanted || context.segment < 64 ||
        context.ip_start + 40 > frame.size() || frame.size() - context.ip_start > longest_packet)
        return false;
    // The lengths are the card's to fill in.
    if (context.ipv4)
        store_be16(frame, context.ip_start + 2, static_cast<std::uint16_t>(frame.size() - context.ip_start));
    else
        store_be16(frame, context.ip_start + 4,
                   static_cast<std::uint16_t>(frame.size() - context.ip_start - 40));
    const auto packet = InternetPacket::find(frame);
    if (!packet || packet->network != context.ip_start || packet->transport != context.start ||
        packet->version6 == context.ipv4 || packet->protocol != InternetPacket::tcp ||
        packet->checksum_offset(frame) != 16u || context.field != context.start + 16 ||
        context.header != context.start + (frame[context.start + 12] >> 4) * 4u ||
        context.header >= frame.size())
        return false;
    packet->fill_header_checksum(frame);
    store_be16(frame, context.field, fold_sum(packet->pseudo_header(frame, packet->end - packet->transport)));
    NetOffload offload;
    offload.needs_checksum = true;
    offload.checksum_start = static_cast<std::uint16_t>(context.start);
    offload.checksum_offset = 16;
    if (context.header + context.segment < frame.size()) {
        offload.segmentation = context.ipv4 ? NetOffload::Segmentation::Tcp4 : NetOffload::Segmentation::Tcp6;
        offload.header_bytes = static_cast<std::uint16_t>(context.header);
        offload.segment_bytes = static_cast<std::uint16_t>(context.segment);
    }
    put_on_wire(frame, offload, high);
    return true;
}

// 3.5.4 to 3.5.9, for whatever the headers are.
void E1000::send_segments(const Context& context, std::uint32_t options, std::uint64_t high) {
    const std::span<const std::uint8_t> frame{gathered_.bytes};
    const auto header = context.header;
    if (context.segment < 64 || header < ethernet_header || header >= frame.size() ||
        context.ip_start + 8 > header || context.start + (context.tcp ? 14u : 6u) > header)
        return;
    std::uint64_t sent = 0;
    for (std::uint16_t n = 0; header + sent < frame.size(); ++n) {
        const auto bytes = std::min<std::size_t>(context.segment, frame.size() - header - sent);
        const bool last = header + sent + bytes == frame.size();
        segment_.assign(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(header));
        const auto payload = frame.subspan(header + sent, bytes);
        segment_.insert(segment_.end(), payload.begin(), payload.end());
        const auto ip = context.ip_start;
        if (context.ipv4) {
            store_be16(segment_, ip + 2, static_cast<std::uint16_t>(segment_.size() - ip));
            store_be16(segment_, ip + 4, static_cast<std::uint16_t>(load_be16(segment_, ip + 4) + n));
        } else {
            store_be16(segment_, ip + 4, static_cast<std::uint16_t>(segment_.size() - ip - 40));
        }
        const auto transport = segment_.size() - context.start;
        if (context.tcp) {
            add_be32(segment_, context.start + 4, sent);
            if (!last)
                segment_[context.start + 13] &= 0xf6; // FIN and PSH are the last one's
        } else {
            store_be16(segment_, context.start + 4, static_cast<std::uint16_t>(transport));
        }
        if ((options & tx_transport_sum) != 0 && context.field + 2 <= segment_.size()) {
            // What the driver put there is the sum of the pseudo header without a length.
            store_be16(segment_, context.field,
                       fold_sum(std::uint64_t{load_be16(segment_, context.field)} + transport));
            insert_sum(segment_, context.start, context.field, context.end);
        }
        if ((options & tx_ip_sum) != 0)
            insert_sum(segment_, context.ip_start, context.ip_field, context.ip_end);
        put_on_wire(segment_, {}, high);
        sent += bytes;
    }
}

void E1000::put_on_wire(std::vector<std::uint8_t>& frame, NetOffload offload, std::uint64_t high) {
    if ((high & tx_vlan) != 0 && (reg(reg_ctrl) & ctrl_vlan) != 0) {
        std::array<std::uint8_t, tag_bytes> tag;
        store_be16(tag, 0, static_cast<std::uint16_t>(reg(reg_vet)));
        store_be16(tag, 2, static_cast<std::uint16_t>(high >> 48));
        frame.insert(frame.begin() + addresses, tag.begin(), tag.end());
        if (offload.needs_checksum)
            offload.checksum_start += tag_bytes;
        if (offload.segmentation != NetOffload::Segmentation::None)
            offload.header_bytes += tag_bytes;
    }
    if ((reg(reg_tctl) & tctl_pad) != 0 && frame.size() < ethernet_minimum)
        frame.resize(ethernet_minimum);
    std::size_t frames = 1, octets = frame.size() + ethernet_crc_bytes;
    if (offload.segmentation != NetOffload::Segmentation::None) {
        const auto payload = frame.size() - offload.header_bytes;
        frames = (payload + offload.segment_bytes - 1) / offload.segment_bytes;
        octets = payload + frames * (offload.header_bytes + ethernet_crc_bytes);
    }
    count_sent(frame, frames, octets);
    if (phy_.loopback() || (reg(reg_rctl) & rctl_mac_loopback) != 0) {
        if (offload.needs_checksum)
            insert_sum(frame, offload.checksum_start,
                       offload.checksum_start + std::size_t{offload.checksum_offset}, 0);
        accept(frame, false);
    } else if (phy_.link()) {
        wire().send(frame, offload);
    }
}

void E1000::count_sent(Frame frame, std::size_t frames, std::size_t octets) {
    const auto number = static_cast<std::uint32_t>(frames);
    count(stat_tx_good, number);
    count(stat_tx_total, number);
    count(stat_tx_64 + size_class(octets / frames), number);
    count_octets(stat_tx_good_octets, octets);
    count_octets(stat_tx_octets, octets);
    if (is_broadcast(frame))
        count(stat_tx_broadcast);
    else if (is_multicast(frame))
        count(stat_tx_multicast);
}

} // namespace escalus
