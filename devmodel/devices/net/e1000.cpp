// SPDX-License-Identifier: GPL-2.0-or-later
// Construction and reset, interrupts and the timers that hold them back, statistics.
#include "devmodel/devices/net/e1000.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <numeric>
#include <utility>

namespace escalus {

using namespace e1000;

namespace {
constexpr unsigned window_bytes = 0x20000, io_bytes = 0x40;
constexpr GuestTime throttle_unit = 256, delay_unit = 1024; // ns
constexpr std::uint16_t eeprom_sum = 0xbaba;
} // namespace

E1000::E1000(PciSpaces spaces, CardWiring wiring)
    : EthernetCard{identity, spaces, wiring},
      registers_(window_bytes / 4),
      phy_{clock(), [this] { raise(int_link); }},
      throttle_{clock(), [this] { update_interrupt(); }},
      rx_relative_{clock(), [this] { flush(int_rx_timer, rx_relative_, rx_absolute_); }},
      rx_absolute_{clock(), [this] { flush(int_rx_timer, rx_relative_, rx_absolute_); }},
      tx_relative_{clock(), [this] { flush(int_tx_written, tx_relative_, tx_absolute_); }},
      tx_absolute_{clock(), [this] { flush(int_tx_written, tx_relative_, tx_absolute_); }} {
    set_config(reg_status, 2, 0x0220); // medium DEVSEL#, 66 MHz
    set_config(0x3e, 2, 0x00ff);       // minimum grant
    declare_bar(memory_bar, BarKind::Memory, window_bytes);
    declare_bar(io_bar, BarKind::Io, io_bytes);
    // The words that software reads (5.6): address, board number, control words with their signatures, PCI
    // IDs, and a sum.
    auto& words = eeprom_.content;
    for (unsigned i = 0; i < 3; ++i)
        words[i] = load_le<std::uint16_t>(rom_mac(), 2 * i);
    words[0x08] = 0xffff;
    words[0x09] = 0xffff;
    words[0x0a] = 0x440a;
    words[0x0b] = identity.subsystem;
    words[0x0c] = identity.subsystem_vendor;
    words[0x0d] = identity.device;
    words[0x0e] = identity.vendor;
    words[0x0f] = 0x7040;
    words[0x3f] = static_cast<std::uint16_t>(eeprom_sum - std::accumulate(words.begin(), words.end() - 1, 0));
}

void E1000::reset(ResetKind kind) {
    EthernetCard::reset(kind);
    eeprom_.reset();
    phy_.reset(wire().link_up());
    io_address_ = 0;
    reset_controller();
}

void E1000::reset_controller() {
    stop_transmitting();
    for (auto* timer : {&throttle_, &rx_relative_, &rx_absolute_, &tx_relative_, &tx_absolute_})
        timer->cancel();
    std::ranges::fill(registers_, 0u);
    reg(reg_ctrl) = ctrl_full_duplex | ctrl_link_up | 2u << 8; // 1000 Mbit/s, as the EEPROM has it
    reg(reg_fcal) = 0x00c28001;
    reg(reg_fcah) = 0x0100;
    reg(reg_fct) = 0x8808;
    reg(reg_vet) = 0x8100;
    reg(reg_ledctl) = 0x07061302;
    reg(reg_pba) = 0x00100030;
    reg(reg_rxdctl) = 1u << 16;
    load_address();
    causes_ = mask_ = 0;
    next_interrupt_ = 0;
    checksum_context_ = segment_context_ = {};
    gathered_ = {};
    update_interrupt();
}

void E1000::load_address() {
    const auto& words = eeprom_.content;
    reg(reg_ra) = words[0] | std::uint32_t{words[1]} << 16;
    reg(reg_ra + 4) = 1u << 31 | words[2];
}

void E1000::link_changed(bool up) {
    phy_.set_cable(up);
    room_again();
}

void E1000::raise(std::uint32_t causes) {
    causes_ |= causes;
    update_interrupt();
}

// The throttle sets the time between two rising edges of the wire; a cause that is taken back meanwhile is
// gone.
void E1000::update_interrupt() {
    if ((causes_ & mask_) == 0) {
        throttle_.cancel();
        asserted_ = false;
    } else if (!asserted_) {
        const auto interval = reg(reg_itr) & 0xffff;
        if (interval != 0 && clock().now() < next_interrupt_) {
            throttle_.arm(next_interrupt_);
        } else {
            asserted_ = true;
            next_interrupt_ = clock().now() + interval * throttle_unit;
        }
    }
    request_intx(asserted_);
}

// 13.4.30: each event starts the relative timer anew; the absolute one bounds what the first of them waits.
void E1000::raise_later(std::uint32_t cause, unsigned delay, unsigned limit, Timer& relative,
                        Timer& absolute) {
    if (delay == 0) {
        flush(cause, relative, absolute);
        return;
    }
    relative.arm(clock().now() + delay * delay_unit);
    if (limit != 0 && !absolute.armed())
        absolute.arm(clock().now() + limit * delay_unit);
}

void E1000::flush(std::uint32_t cause, Timer& relative, Timer& absolute) {
    relative.cancel();
    absolute.cancel();
    raise(cause);
}

// Counters stay at their highest value.
void E1000::count(unsigned offset, std::uint32_t by) {
    auto& counter = reg(offset);
    counter = by > ~counter ? ~std::uint32_t{0} : counter + by;
}

void E1000::count_octets(unsigned low, std::uint64_t by) {
    const auto value = (std::uint64_t{reg(low + 4)} << 32 | reg(low)) + by;
    reg(low) = static_cast<std::uint32_t>(value);
    reg(low + 4) = static_cast<std::uint32_t>(value >> 32);
}

// Which of six counters a frame of that many bytes, CRC and all, belongs to: an offset.
unsigned E1000::size_class(std::size_t bytes) {
    unsigned n = 0;
    for (const std::size_t limit : {64u, 127u, 255u, 511u, 1023u})
        n += bytes > limit ? 4 : 0;
    return n;
}

} // namespace escalus
