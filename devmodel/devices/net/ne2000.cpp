// SPDX-License-Identifier: GPL-2.0-or-later
// The controller: sending, receiving into the ring of pages, interrupts.
#include "devmodel/devices/net/ne2000.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <utility>

namespace escalus {

using namespace dp8390;

namespace {
constexpr unsigned io_bytes = 32, page_bytes = 256, header_bytes = 4, pages = 256;
// What the longest frame takes: the wire holds back what there is no room for.
constexpr unsigned most_pages =
    (header_bytes + ethernet_maximum + ethernet_crc_bytes + page_bytes - 1) / page_bytes;
} // namespace

Ne2000::Ne2000(PciSpaces spaces, CardWiring wiring)
    : EthernetCard{identity, spaces, wiring},
      overrun_{wiring.clock, [this] { overrun(); }},
      arrival_{wiring.clock, [this] { room_again(); }} {
    set_config(reg_status, 2, 0x0200); // medium DEVSEL#
    declare_bar(0, BarKind::Io, io_bytes);
    // Each byte is there twice, as a word of its own, with the signature of a 16 bit card (0x57) at the end.
    for (unsigned i = 0; i < 6; ++i)
        prom_[2 * i] = prom_[2 * i + 1] = rom_mac()[i];
    for (unsigned i = 28; i < 32; ++i)
        prom_[i] = 0x57;
    auto& words = eeprom_.content;
    words[0] = 0x4040; // CONFIG2 and CONFIG3: 10BaseT, full duplex
    for (unsigned i = 0; i < 3; ++i)
        words[1 + i] = load_le<std::uint16_t>(rom_mac(), 2 * i);
    words[14] = identity.vendor;
    words[15] = identity.device;
}

void Ne2000::reset(ResetKind kind) {
    EthernetCard::reset(kind);
    eeprom_.reset();
    eeprom_control_ = 0;
    config_ = {0, 0, 0x40, 0x40};
    ram_ = {};
    mac_ = {};
    multicast_ = {};
    start_ = stop_ = boundary_ = current_ = transmit_page_ = 0;
    transmit_bytes_ = remote_address_ = remote_bytes_ = 0;
    receive_config_ = transmit_config_ = data_config_ = 0;
    reset_chip();
}

// What the reset pin does, and the reset port with it: stopped, no interrupts, the rest as it was.
void Ne2000::reset_chip() {
    stop_transmitting();
    command_ = cmd_no_dma | cmd_stop;
    running_ = held_back_ = false;
    overrun_.cancel();
    arrival_.cancel();
    causes_ = int_reset;
    mask_ = 0;
    remote_ = Remote::None;
    receive_status_ = transmit_status_ = 0;
    counters_ = {};
    fifo_ = {};
    fifo_next_ = 0;
    update_interrupt();
}

void Ne2000::raise(std::uint8_t causes) {
    causes_ |= causes;
    update_interrupt();
}

void Ne2000::update_interrupt() {
    request_intx((causes_ & mask_ & ~int_reset) != 0);
}

void Ne2000::count(unsigned n) {
    if (counters_[n] < 192) // where they stop (DP8390D, 10.0)
        ++counters_[n];
    if ((counters_[n] & 0x80) != 0)
        raise(int_counter);
}

std::uint8_t Ne2000::peek(unsigned address) const {
    if (address < prom_.size())
        return prom_[address];
    return address >= ram_begin && address < ram_begin + ram_bytes ? ram_[address - ram_begin]
                                                                   : std::uint8_t{0xff};
}

void Ne2000::poke(unsigned address, std::uint8_t value) {
    if (address >= ram_begin && address < ram_begin + ram_bytes)
        ram_[address - ram_begin] = value;
}

bool Ne2000::transmit_some() {
    if ((command_ & cmd_transmit) == 0 || !running_)
        return false;
    frame_.resize(transmit_bytes_);
    for (unsigned i = 0; i < frame_.size(); ++i)
        frame_[i] = peek((transmit_page_ * page_bytes + i) & 0xffff);
    command_ &= static_cast<std::uint8_t>(~cmd_transmit);
    if ((transmit_config_ & tcr_loopback) != 0) {
        loop_back(frame_);
        return false;
    }
    transmit_status_ = 1; // sent, without a collision
    if (frame_.size() >= ethernet_header)
        wire().send(frame_, {});
    raise(int_sent);
    return false;
}

// 12.0: what comes back goes no further than the FIFO, where the last bytes and the length are to be read.
// The status is what the datasheet's table has for each of the three modes with a CRC that the sender
// appends.
void Ne2000::loop_back(Frame frame) {
    constexpr std::array<std::uint8_t, 4> statuses{0, 0x53, 0x43, 0x03};
    transmit_status_ = statuses[transmit_config_ >> 1 & 3];
    receive_status_ = rsr_crc;
    const auto size = frame.size() + ethernet_crc_bytes;
    std::array<std::uint8_t, ethernet_crc_bytes> crc;
    store_le(crc, 0, ethernet_crc(frame));
    fifo_ = {frame.empty() ? std::uint8_t{0} : frame.back(),
             crc[0],
             crc[1],
             crc[2],
             crc[3],
             static_cast<std::uint8_t>(size),
             static_cast<std::uint8_t>(size >> 8),
             static_cast<std::uint8_t>(size >> 8)};
    fifo_next_ = 0;
    raise(int_sent);
}

bool Ne2000::wanted(Frame frame, std::uint8_t& status) const {
    if (is_multicast(frame)) {
        status |= rsr_group;
        if (is_broadcast(frame) && (receive_config_ & rcr_broadcast) != 0)
            return true;
        const auto hash = multicast_hash_left(frame);
        return (receive_config_ & rcr_multicast) != 0 && (multicast_[hash / 8] >> hash % 8 & 1) != 0;
    }
    return (receive_config_ & rcr_all) != 0 || is_sent_to(frame, mac_);
}

std::uint8_t Ne2000::page_after(std::uint8_t page) const {
    const auto next = static_cast<std::uint8_t>(page + 1);
    return next == stop_ ? start_ : next;
}

// Pages from the current one up to the boundary. When both are the same the ring is empty.
unsigned Ne2000::free_pages() const {
    unsigned n = 0;
    auto page = current_;
    do {
        page = page_after(page);
        ++n;
    } while (page != boundary_ && n < pages);
    return n;
}

bool Ne2000::has_room() const {
    if (!running_ || (transmit_config_ & tcr_loopback) != 0 || (receive_config_ & rcr_monitor) != 0)
        return true; // to be lost, or counted
    const auto free = free_pages();
    // A ring that is smaller than a frame takes what fits, when it is empty.
    const unsigned all = stop_ > start_ ? stop_ - start_ : 0u;
    return free > most_pages || free + 1 >= all;
}

bool Ne2000::can_receive() {
    if (paused())
        return false;
    if (!has_room()) {
        held_back_ = true;
        if (!overrun_.armed())
            overrun_.arm(clock().now() + patience);
        return false;
    }
    overrun_.cancel();
    if (std::exchange(held_back_, false)) // what waited begins to come now
        arrival_.arm(clock().now() + wire_time(ethernet_maximum));
    return !arrival_.armed();
}

void Ne2000::receive(std::span<const std::uint8_t> received, const NetOffload&) {
    if (paused() || !running_ || (transmit_config_ & tcr_loopback) != 0 || received.size() < ethernet_header)
        return;
    std::array<std::uint8_t, ethernet_minimum> storage;
    const auto frame = padded(received, storage);
    arrival_.arm(clock().now() + wire_time(frame.size()));
    std::uint8_t status = rsr_good;
    if (!wanted(frame, status))
        return;
    const auto needed = (header_bytes + frame.size() + ethernet_crc_bytes + page_bytes - 1) / page_bytes;
    if ((receive_config_ & rcr_monitor) != 0) { // judged, not kept
        receive_status_ = rsr_disabled | (status & rsr_group);
        count(2);
    } else if (needed >= free_pages()) {
        miss_frame(status);
    } else {
        put_in_ring(frame, status);
    }
}

void Ne2000::overrun() {
    if (!has_room())
        miss_frame(0);
}

void Ne2000::miss_frame(std::uint8_t status) {
    receive_status_ = static_cast<std::uint8_t>(rsr_missed | (status & rsr_group));
    count(2);
    raise(int_overwritten);
}

void Ne2000::put_in_ring(Frame frame, std::uint8_t status) {
    auto page = current_;
    unsigned in_page = header_bytes;
    const auto store = [&](std::uint8_t byte) {
        if (in_page == page_bytes) {
            page = page_after(page);
            in_page = 0;
        }
        poke(page * page_bytes + in_page++, byte);
    };
    for (auto byte : frame)
        store(byte);
    const auto crc = ethernet_crc(frame);
    for (unsigned i = 0; i < ethernet_crc_bytes; ++i)
        store(static_cast<std::uint8_t>(crc >> (8 * i)));
    const auto bytes = frame.size() + ethernet_crc_bytes;
    const auto next = page_after(page);
    const std::array<std::uint8_t, header_bytes> header{status, next, static_cast<std::uint8_t>(bytes),
                                                        static_cast<std::uint8_t>(bytes >> 8)};
    for (unsigned i = 0; i < header.size(); ++i)
        poke(current_ * page_bytes + i, header[i]);
    current_ = next;
    receive_status_ = status;
    raise(int_received);
}

} // namespace escalus
