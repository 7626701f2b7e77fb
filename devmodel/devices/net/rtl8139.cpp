// SPDX-License-Identifier: GPL-2.0-or-later
// Construction and reset, interrupts, timer, filter.
#include "devmodel/devices/net/rtl8139.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <utility>

namespace escalus {

using namespace rtl8139;

namespace {
constexpr unsigned window_bytes = 256, io_bar = 0, memory_bar = 1;
constexpr std::uint32_t loopback = 0x60000;
constexpr std::size_t longest_frame = 4092; // beyond, the receiver's watchdog cuts it off
} // namespace

Rtl8139::Rtl8139(PciSpaces spaces, CardWiring wiring)
    : EthernetCard{identity, spaces, wiring}, timer_{clock(), [this] {
                                                         raise(int_timer);
                                                         arm_timer();
                                                     }} {
    PciFunction::set_config(reg_status, 2, 0x0280); // fast back-to-back, medium DEVSEL#
    PciFunction::set_config(0x3e, 2, 0x4020);       // minimum grant, maximum latency
    declare_bar(io_bar, BarKind::Io, window_bytes);
    declare_bar(memory_bar, BarKind::Memory, window_bytes);
    auto& words = eeprom_.content;
    words[0] = 0x8129;
    words[1] = words[3] = identity.vendor;
    words[2] = words[4] = identity.device;
    words[5] = 0x4020;
    words[6] = 0xe110;
    for (unsigned i = 0; i < 3; ++i)
        words[7 + i] = load_le<std::uint16_t>(rom_mac(), 2 * i);
    words[10] = 0x4d10; // configuration 3 and 0
    words[11] = 0xf7c2;
}

void Rtl8139::reset(ResetKind kind) {
    EthernetCard::reset(kind);
    eeprom_.reset();
    eeprom_control_ = 0;
    load_eeprom();
    reset_chip();
}

void Rtl8139::load_eeprom() {
    for (unsigned i = 0; i < 3; ++i)
        store_le(mac_, 2 * i, eeprom_.content[7 + i]);
    multicast_ = {};
    config_ = {0, 0x0c, 0, 0x01, 0, 0}; // both windows are there
    phy_control_ = phy_100 | phy_negotiate | phy_full_duplex;
    advertised_ = phy_all_modes;
    phy_test_ = 0x0180;
    wake_ = {};
}

// The command register's reset: what the EEPROM says stays (6.9).
void Rtl8139::reset_chip() {
    stop_transmitting();
    timer_.cancel();
    tx_status_.fill(tx_own);
    tx_address_ = {};
    tally_address_ = rx_ring_address_ = {};
    rx_buffer_ = 0;
    tx_config_ = rx_config_ = missed_ = 0;
    mask_ = status_ = cplus_ = early_ = 0;
    command_ = 0;
    tx_next_ = 0;
    send_rings_ = {};
    reset_ring();
    tally_ = {};
    timer_zero_ = clock().now();
    timer_target_ = 0;
    update_interrupt();
}

void Rtl8139::raise(std::uint16_t causes) {
    status_ |= causes;
    update_interrupt();
}

void Rtl8139::update_interrupt() {
    request_intx((status_ & mask_) != 0);
}

void Rtl8139::link_changed(bool) {
    raise(int_link);
}

// The counter runs on after the match, so that the next one is 2^32 ticks away.
void Rtl8139::arm_timer() {
    if (timer_target_ == 0) {
        timer_.cancel();
        return;
    }
    const auto passed = ticks_at(clock().now() - timer_zero_, timer_hz);
    auto due = (passed & ~std::uint64_t{0xffffffff}) + timer_target_;
    if (due <= passed)
        due += std::uint64_t{1} << 32;
    timer_.arm(timer_zero_ + time_of_tick(due, timer_hz));
}

void Rtl8139::set_timer_target(std::uint32_t value) {
    timer_target_ = value;
    arm_timer();
}

// The upper bits of a received frame's header: whom it is for. 0: it is not wanted.
std::uint16_t Rtl8139::filter(Frame frame) const {
    const bool all = (rx_config_ & rx_accept_all) != 0;
    if (is_broadcast(frame))
        return (rx_config_ & rx_accept_broadcast) != 0 ? head_broadcast : std::uint16_t{0};
    if (is_multicast(frame)) {
        const auto hash = multicast_hash_left(frame);
        const bool wanted =
            (rx_config_ & rx_accept_multicast) != 0 && (multicast_[hash / 8] >> hash % 8 & 1) != 0;
        return wanted ? head_multicast : std::uint16_t{0};
    }
    if (is_sent_to(frame, mac_))
        return all || (rx_config_ & rx_accept_mine) != 0 ? head_mine : std::uint16_t{0};
    return all ? head_ok : std::uint16_t{0};
}

bool Rtl8139::can_receive() {
    if (!may_work())
        return false;
    if ((command_ & cmd_receive) == 0 || (tx_config_ & loopback) == loopback)
        return true; // to be lost
    // C+ rings are filled without a register being touched: nobody would say that there is room again.
    return cplus() || ring_bytes() - ring_used() > 1536;
}

void Rtl8139::receive(std::span<const std::uint8_t> frame, const NetOffload&) {
    if (may_work() && (tx_config_ & loopback) != loopback)
        accept(frame);
}

void Rtl8139::accept(Frame frame) {
    if ((command_ & cmd_receive) == 0 || frame.size() < ethernet_header || frame.size() > longest_frame)
        return;
    std::array<std::uint8_t, ethernet_minimum> storage;
    frame = padded(frame, storage);
    const auto header = filter(frame);
    if (header == 0)
        return;
    if ((cplus_ & cplus_receive) != 0)
        receive_to_descriptors(frame, header);
    else if (!cplus())
        receive_to_ring(frame, header);
}

void Rtl8139::miss_frame() {
    missed_ = (missed_ + 1) & 0xffffff;
    ++tally_.missed;
    ++tally_.receive_errors;
    raise(int_rx_overflow);
}

} // namespace escalus
