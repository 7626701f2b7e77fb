// SPDX-License-Identifier: GPL-2.0-or-later
// Receiving (8254x Software Developer's Manual, 3.2): filters, VLAN tags, sums, descriptors.
#include "devmodel/backends/net/internet_packet.hpp"
#include "devmodel/devices/net/e1000.hpp"
#include "devmodel/machine/little_endian.hpp"

namespace escalus {

using namespace e1000;

namespace {
constexpr unsigned descriptor_bytes = 16, receive_addresses = 16;
constexpr std::size_t longest_standard = 1522, longest_jumbo = 16384, addresses = 12, tag_bytes = 4;
constexpr MacAddress pause_address{0x01, 0x80, 0xc2, 0x00, 0x00, 0x01};
} // namespace

bool E1000::is_tagged(Frame frame) const {
    return frame.size() >= ethernet_header + tag_bytes &&
           load_be16(frame, addresses) == static_cast<std::uint16_t>(reg(reg_vet));
}

unsigned E1000::free_buffers() const {
    const auto entries = ring_entries(reg_rdlen), head = reg(reg_rdh), tail = reg(reg_rdt);
    if (head >= entries || tail > entries || head == tail)
        return 0;
    return head < tail ? tail - head : entries - head + tail;
}

std::size_t E1000::buffer_bytes() const {
    const auto shift = reg(reg_rctl) >> 16 & 3;
    if ((reg(reg_rctl) & rctl_size_extension) != 0 && shift != 0)
        return 32768u >> shift;
    return 2048u >> shift;
}

bool E1000::filter(Frame frame, bool& exact) const {
    const auto control = reg(reg_rctl);
    if (is_tagged(frame) && (control & rctl_vlan_filter) != 0) {
        const auto tag = load_be16(frame, addresses + 2);
        if ((reg(reg_vfta + (tag >> 5 & 0x7f) * 4) >> (tag & 31) & 1) == 0)
            return false;
        if ((control & rctl_cfi_enable) != 0 && ((tag & 0x1000) != 0) != ((control & rctl_cfi) != 0))
            return false;
    }
    if (is_broadcast(frame) && (control & rctl_broadcast) != 0)
        return true;
    const auto low = load_le<std::uint32_t>(frame, 0);
    const auto high = 1u << 31 | load_le<std::uint16_t>(frame, 4);
    for (unsigned n = 0; n < receive_addresses; ++n)
        if (reg(reg_ra + 8 * n) == low && (reg(reg_ra + 8 * n + 4) & 0x8003ffff) == high) {
            exact = true;
            return true;
        }
    if (!is_multicast(frame))
        return (control & rctl_all_unicast) != 0;
    if ((control & rctl_all_multicast) != 0)
        return true;
    // Twelve bits of the address, from where the multicast offset says.
    constexpr std::array<unsigned, 4> shifts{4, 3, 2, 0};
    const auto bits = (frame[4] | unsigned{frame[5]} << 8) >> shifts[control >> 12 & 3] & 0xfff;
    return (reg(reg_mta + bits / 32 * 4) >> bits % 32 & 1) != 0;
}

bool E1000::can_receive() {
    if (!may_work())
        return false;
    // A receiver that is off, or has no link, loses them.
    return (reg(reg_rctl) & rctl_enable) == 0 || !phy_.link() || free_buffers() != 0;
}

void E1000::receive(std::span<const std::uint8_t> frame, const NetOffload& offload) {
    if (may_work() && phy_.link() && !phy_.loopback() && (reg(reg_rctl) & rctl_mac_loopback) == 0)
        accept(frame, offload.checksum_is_good);
}

void E1000::accept(Frame frame, bool known_good) {
    if ((reg(reg_rctl) & rctl_enable) == 0 || frame.size() < ethernet_header)
        return;
    std::array<std::uint8_t, ethernet_minimum> storage;
    frame = padded(frame, storage);
    const auto octets = frame.size() + ethernet_crc_bytes;
    count(stat_rx_total);
    count_octets(stat_rx_octets, octets);
    if (octets > ((reg(reg_rctl) & rctl_long) != 0 ? longest_jumbo : longest_standard)) {
        count(stat_oversize);
        return;
    }
    const bool pause = is_sent_to(frame, pause_address) && load_be16(frame, addresses) == 0x8808;
    bool exact = false;
    if ((pause && (reg(reg_rctl) & rctl_discard_pause) != 0) || !filter(frame, exact))
        return;

    std::uint8_t status = exact ? std::uint8_t{0} : rx_not_exact, errors = 0;
    const auto control = reg(reg_rxcsum);
    const auto packet =
        (control & (rxcsum_ip | rxcsum_transport)) != 0 ? InternetPacket::find(frame) : std::nullopt;
    if (!packet)
        status |= rx_no_sums;
    if (packet && !packet->version6 && (control & rxcsum_ip) != 0) {
        status |= rx_ip_summed;
        errors |= packet->header_checksum_good(frame) ? std::uint8_t{0} : rx_ip_bad;
    }
    if (packet && (control & rxcsum_transport) != 0 && packet->checksum_offset(frame)) {
        status |= rx_tcp_summed;
        errors |= known_good || packet->transport_checksum_good(frame) ? std::uint8_t{0} : rx_tcp_bad;
    }
    const auto start = std::min<std::size_t>(control & 0xff, frame.size());
    const auto sum = static_cast<std::uint16_t>(~fold_sum(add_words(frame.subspan(start))));

    std::uint16_t tag = 0;
    const bool take_tag = (reg(reg_ctrl) & ctrl_vlan) != 0 && is_tagged(frame);
    const bool add_crc = (reg(reg_rctl) & rctl_strip_crc) == 0;
    auto stored = frame;
    if (take_tag || add_crc) {
        rx_frame_.assign(frame.begin(), frame.end());
        if (take_tag) {
            tag = load_be16(frame, addresses + 2);
            status |= rx_vlan;
            rx_frame_.erase(rx_frame_.begin() + addresses, rx_frame_.begin() + addresses + tag_bytes);
        }
        if (add_crc) {
            rx_frame_.resize(rx_frame_.size() + ethernet_crc_bytes);
            store_le(std::span{rx_frame_}, rx_frame_.size() - ethernet_crc_bytes, ethernet_crc(frame));
        }
        stored = rx_frame_;
    }
    const auto free_before = free_buffers();
    if (!store(stored, status, errors, sum, tag)) {
        count(stat_no_buffers);
        count(stat_missed);
        raise(int_rx_overrun);
        return;
    }
    count(stat_rx_good);
    count(stat_rx_64 + size_class(octets));
    count_octets(stat_rx_good_octets, octets);
    if (is_broadcast(frame))
        count(stat_rx_broadcast);
    else if (is_multicast(frame))
        count(stat_rx_multicast);
    tell_received(free_before, octets);
}

// Into as many buffers as it takes. A descriptor whose address is 0 is passed over.
bool E1000::store(Frame frame, std::uint8_t status, std::uint8_t errors, std::uint16_t sum,
                  std::uint16_t tag) {
    const auto room = buffer_bytes();
    auto free = free_buffers();
    if (frame.size() > std::uint64_t{free} * room)
        return false;
    const auto base = std::uint64_t{reg(reg_rdbah)} << 32 | (reg(reg_rdbal) & ~15u);
    for (; free > 0; --free) {
        std::array<std::uint8_t, descriptor_bytes> bytes;
        const auto where = base + std::uint64_t{reg(reg_rdh)} * descriptor_bytes;
        if (!memory().read(GuestPhys{where}, bytes))
            return false;
        const auto address = load_le<std::uint64_t>(bytes, 0);
        const auto part = frame.first(address == 0 ? 0 : std::min(frame.size(), room));
        if (address != 0)
            memory().write(GuestPhys{address}, part);
        frame = frame.subspan(part.size());
        const auto now = address == 0
                             ? rx_done
                             : static_cast<std::uint8_t>(status | rx_done | (frame.empty() ? rx_end : 0));
        store_le(bytes, 8, static_cast<std::uint16_t>(part.size()));
        store_le(bytes, 10, sum);
        bytes[12] = now;
        bytes[13] = errors;
        store_le(bytes, 14, tag);
        memory().write(GuestPhys{where + 8}, std::span{bytes}.subspan(8));
        reg(reg_rdh) = reg(reg_rdh) + 1 < ring_entries(reg_rdlen) ? reg(reg_rdh) + 1 : 0;
        if (frame.empty())
            return true;
    }
    return false;
}

void E1000::tell_received(unsigned free_before, std::size_t bytes) {
    const auto threshold = ring_entries(reg_rdlen) >> (1 + (reg(reg_rctl) >> 8 & 3));
    if (free_before > threshold && free_buffers() <= threshold)
        raise(int_rx_threshold);
    if (bytes <= (reg(reg_rsrpd) & 0xfff))
        raise(int_small_packet);
    raise_later(int_rx_timer, reg(reg_rdtr), reg(reg_radv) & 0xffff, rx_relative_, rx_absolute_);
}

} // namespace escalus
