// SPDX-License-Identifier: GPL-2.0-or-later
// What the guest reads and writes.
#include "devmodel/devices/net/rtl8139.hpp"
#include "devmodel/machine/little_endian.hpp"

namespace escalus {

using namespace rtl8139;

namespace {
constexpr unsigned window_bytes = 256, wake_begin = 0x78;
constexpr std::uint32_t version = 0x74800000, tx_config_writable = 0x0307f7f0,
                        rx_config_writable = 0x0f03ffbf;
} // namespace

Rtl8139::Register Rtl8139::register_at(unsigned offset) {
    if (offset < 0x10 || offset >= 0xec)
        return {offset, 1};
    if (offset < 0x34 || (offset >= 0x40 && offset < 0x50) || (offset >= 0x54 && offset < 0x58) ||
        (offset >= 0xe4 && offset < 0xec))
        return {offset & ~3u, 4};
    if (offset < 0x36 || (offset >= 0x38 && offset < 0x40) || (offset >= 0x5c && offset < 0x5e) ||
        (offset >= 0x60 && offset < 0x78) || (offset >= 0xe0 && offset < 0xe4))
        return {offset & ~1u, 2};
    return {offset, 1};
}

// No register changes by being read, so that a read of any width is made of bytes.
void Rtl8139::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size();) {
        const auto at = static_cast<unsigned>(offset + i) % window_bytes;
        const auto reg = register_at(at);
        const auto value = get(reg.begin);
        for (unsigned byte = at % reg.width; byte < reg.width && i < data.size(); ++byte, ++i)
            data[i] = static_cast<std::uint8_t>(value >> (8 * byte));
    }
}

void Rtl8139::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size();) {
        const auto at = static_cast<unsigned>(offset + i) % window_bytes;
        const auto reg = register_at(at);
        // Bytes that the access leaves out keep what is there; in the status register a one would clear it.
        auto value = reg.begin == reg_isr ? 0 : get(reg.begin);
        for (unsigned byte = at % reg.width; byte < reg.width && i < data.size(); ++byte, ++i)
            value = (value & ~(0xffu << (8 * byte))) | std::uint32_t{data[i]} << (8 * byte);
        set(reg.begin, value);
    }
}

std::uint32_t Rtl8139::get(unsigned begin) const {
    if (begin < reg_mac + 6)
        return mac_[begin];
    if (begin >= reg_multicast && begin < reg_multicast + 8)
        return multicast_[begin - reg_multicast];
    if (begin >= reg_tx_status && begin < reg_tx_status + 16) {
        const auto n = (begin - reg_tx_status) / 4;
        return cplus() ? (n < 2 ? tally_address_[n] : 0) : tx_status_[n];
    }
    if (begin >= reg_tx_address && begin < reg_tx_address + 16)
        return tx_address_[(begin - reg_tx_address) / 4];
    if (begin >= wake_begin && begin < wake_begin + wake_.size())
        return wake_[begin - wake_begin];
    const bool link = wire().link_up();
    switch (begin) {
    case reg_rx_buffer:
        return rx_buffer_;
    case reg_cr:
        return command_ | (cplus() || ring_used() == 0 ? cmd_empty : 0u);
    case reg_read_pointer:
        return rx_read_;
    case reg_write_pointer:
        return rx_position_ & 0xffff;
    case reg_imr:
        return mask_;
    case reg_isr:
        return status_;
    case reg_tx_config:
        return tx_config_ | version;
    case reg_rx_config:
        return rx_config_;
    case reg_timer:
        return static_cast<std::uint32_t>(ticks_at(clock().now() - timer_zero_, timer_hz));
    case reg_missed:
        return missed_;
    case reg_eeprom:
        return eeprom_control_ | ((eeprom_control_ & 0xc0) == 0x80 && eeprom_.data_out() ? 1u : 0u);
    case reg_config0:
        return config_[0];
    case reg_config1:
        return config_[1];
    case reg_timer_target:
        return timer_target_;
    case reg_media: // flow control of both kinds can be used; power is there
        return 0xd0u | (link ? 0u : 4u);
    case reg_config3:
        return config_[3];
    case reg_config4:
        return config_[4];
    case 0x5c:
        return early_;
    case reg_revision:
        return 0x10;
    case reg_tx_summary:
        return tx_summary();
    case reg_phy_control:
        return phy_control_;
    case reg_phy_status:
        return phy_can | (link ? phy_negotiated | phy_link : 0u);
    case reg_advertised:
        return advertised_;
    case reg_partner:
        return link ? phy_partner : 0u;
    case reg_expansion:
        return link ? 1u : 0u;
    case reg_phy_test: // the cable: connected at 100 Mbit/s
        return phy_test_ | (link ? 0x48u : 0u);
    case reg_config5:
        return config_[5];
    case reg_poll: // a bit stays until its ring was found empty
        return (send_rings_[0].wanted ? poll_normal : 0u) | (send_rings_[1].wanted ? poll_high : 0u);
    case reg_cplus:
        return cplus_;
    case reg_rx_ring:
    case reg_rx_ring + 4:
        return rx_ring_address_[(begin - reg_rx_ring) / 4];
    default:
        return 0;
    }
}

void Rtl8139::set(unsigned begin, std::uint32_t value) {
    const auto byte = static_cast<std::uint8_t>(value);
    const auto word = static_cast<std::uint16_t>(value);
    if (begin < reg_mac + 6) {
        mac_[begin] = byte;
        return;
    }
    if (begin >= reg_multicast && begin < reg_multicast + 8) {
        multicast_[begin - reg_multicast] = byte;
        return;
    }
    if (begin >= reg_tx_status && begin < reg_tx_status + 16) {
        const auto n = (begin - reg_tx_status) / 4;
        if (!cplus())
            set_tx_status(n, value);
        else if (n == 0)
            set_tally(value);
        else if (n == 1)
            tally_address_[1] = value;
        return;
    }
    if (begin >= reg_tx_address && begin < reg_tx_address + 16) {
        const auto n = (begin - reg_tx_address) / 4;
        tx_address_[n] = value;
        if (cplus())
            send_rings_[n / 2] = {};
        return;
    }
    if (begin >= wake_begin && begin < wake_begin + wake_.size() && begin != reg_config5) {
        wake_[begin - wake_begin] = byte;
        return;
    }
    switch (begin) {
    case reg_rx_buffer:
        rx_buffer_ = value;
        reset_ring();
        room_again();
        break;
    case reg_cr:
        set_command(byte);
        break;
    case reg_read_pointer:
        rx_read_ = word;
        room_again();
        break;
    case reg_imr:
        mask_ = word & int_all;
        update_interrupt();
        break;
    case reg_isr:
        status_ = static_cast<std::uint16_t>(status_ & ~value);
        update_interrupt();
        break;
    case reg_tx_config:
        tx_config_ = value & tx_config_writable;
        break;
    case reg_rx_config:
        if (((rx_config_ ^ value) & 0x1800) != 0) { // another size of the buffer
            rx_config_ = value & rx_config_writable;
            reset_ring();
        }
        rx_config_ = value & rx_config_writable;
        room_again();
        break;
    case reg_timer:
        timer_zero_ = clock().now();
        arm_timer();
        break;
    case reg_missed:
        missed_ = 0;
        break;
    case reg_eeprom:
        set_eeprom(byte);
        break;
    case reg_config0:
    case reg_config1:
    case reg_config3:
    case reg_config4:
    case reg_config5:
        set_config(begin, byte);
        break;
    case reg_timer_target:
        set_timer_target(value);
        break;
    case 0x5c:
        early_ = word;
        break;
    case reg_phy_control:
        set_phy(word);
        break;
    case reg_advertised:
        advertised_ = word;
        break;
    case reg_phy_test:
        phy_test_ = word & 0x03a5;
        break;
    case reg_poll:
        send_rings_[0].wanted |= (byte & poll_normal) != 0;
        send_rings_[1].wanted |= (byte & poll_high) != 0;
        if ((byte & poll_software) != 0)
            raise(int_software);
        transmit();
        break;
    case reg_cplus:
        cplus_ = word & 0x027b;
        room_again();
        break;
    case reg_rx_ring:
    case reg_rx_ring + 4:
        rx_ring_address_[(begin - reg_rx_ring) / 4] = value;
        rx_next_ = 0;
        break;
    default:
        break;
    }
}

void Rtl8139::set_command(std::uint8_t value) {
    if ((value & cmd_reset) != 0) {
        reset_chip();
        return;
    }
    const auto risen = value & ~command_;
    command_ = value & (cmd_receive | cmd_transmit);
    if ((risen & cmd_receive) != 0)
        reset_ring();
    if ((risen & cmd_transmit) != 0)
        for (auto& ring : send_rings_)
            ring = {.wanted = ring.wanted, .frame = {}, .first = {}};
    transmit();
    room_again();
}

void Rtl8139::set_eeprom(std::uint8_t value) {
    eeprom_control_ = value & 0xce;
    switch (value >> 6) {
    case 1: // auto-load: back to normal by itself when it is done
        load_eeprom();
        eeprom_control_ = 0;
        break;
    case 2:
        eeprom_.set_lines((value & 8) != 0, (value & 4) != 0, (value & 2) != 0);
        break;
    default:
        eeprom_.set_lines(false, false, false);
    }
}

void Rtl8139::set_config(unsigned begin, std::uint8_t value) {
    const auto put = [&](unsigned n, std::uint8_t writable) {
        config_[n] = static_cast<std::uint8_t>((config_[n] & ~writable) | (value & writable));
    };
    if (begin == reg_config5)
        return put(5, 0xf7);
    if (!unlocked())
        return;
    if (begin == reg_config0)
        put(0, 0x07);
    else if (begin == reg_config1)
        put(1, 0xf3);
    else if (begin == reg_config3)
        put(3, 0x70);
    else
        put(4, 0xf7);
}

// Speed, negotiation and duplex are locked with the configuration registers (6.30).
void Rtl8139::set_phy(std::uint16_t value) {
    if ((value & phy_reset) != 0) {
        phy_control_ = phy_100 | phy_negotiate | phy_full_duplex;
        advertised_ = phy_all_modes;
        return;
    }
    constexpr std::uint16_t locked = phy_100 | phy_negotiate | phy_full_duplex;
    const std::uint16_t writable = unlocked() ? locked : 0;
    phy_control_ = static_cast<std::uint16_t>((phy_control_ & ~writable) | (value & writable));
    if ((value & phy_restart) != 0 && (phy_control_ & phy_negotiate) != 0)
        raise(int_link); // the link went, and came back
}

} // namespace escalus
