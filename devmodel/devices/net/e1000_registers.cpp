// SPDX-License-Identifier: GPL-2.0-or-later
// What the guest reads and writes: 128 KiB of memory, or two ports that are a window onto them.
#include "devmodel/devices/net/e1000.hpp"
#include "devmodel/machine/little_endian.hpp"

namespace escalus {

using namespace e1000;

namespace {
struct Range {
    unsigned begin, end; // the second is beyond
};
// Registers without any effect of their own but that software sees what it wrote: flow control, timing, LEDs,
// FIFO pointers, wake-up and management filters, the packet buffer.
constexpr Range plain[]{
    {0x001c, 0x0020}, {0x0028, 0x003c}, {0x0170, 0x0184}, {0x0410, 0x0414}, {0x0448, 0x045c},
    {0x0e00, 0x0e04}, {0x1000, 0x1004}, {0x2160, 0x216c}, {0x2410, 0x2438}, {0x2800, 0x2808},
    {0x2828, 0x2830}, {0x2c00, 0x2c04}, {0x3000, 0x3004}, {0x3410, 0x3438}, {0x3800, 0x3808},
    {0x3828, 0x3834}, {0x5000, 0x5004}, {0x5200, 0x5480}, {0x5600, 0x5804}, {0x5808, 0x580c},
    {0x5810, 0x5814}, {0x5820, 0x5824}, {0x5838, 0x583c}, {0x5840, 0x5860}, {0x5880, 0x5890},
    {0x5900, 0x5904}, {0x5a00, 0x5a80}, {0x5f00, 0x5f20}, {0x9000, 0xa000}, {0x10000, 0x20000}};

bool is_plain(unsigned offset) {
    return std::ranges::any_of(plain, [&](const Range& r) { return offset >= r.begin && offset < r.end; });
}
// The high half of a 64-bit counter.
bool is_high_octets(unsigned offset) {
    return offset == stat_rx_good_octets + 4 || offset == stat_tx_good_octets + 4 ||
           offset == stat_rx_octets + 4 || offset == stat_tx_octets + 4;
}
bool is_low_octets(unsigned offset) {
    return is_high_octets(offset + 4);
}
} // namespace

void E1000::read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size();) {
        const auto at = static_cast<unsigned>(offset + i);
        std::uint32_t value = 0;
        if (region == memory_bar)
            value = get(at & ~3u);
        else if (at < 4)
            value = io_address_;
        else if (at < 8 && io_address_ < registers_.size() * 4)
            value = get(io_address_ & ~3u);
        for (unsigned byte = at & 3; byte < 4 && i < data.size(); ++byte, ++i)
            data[i] = static_cast<std::uint8_t>(value >> (8 * byte));
    }
}

void E1000::write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size();) {
        const auto at = static_cast<unsigned>(offset + i);
        // Bytes that the access leaves out keep what is there.
        auto value = region == memory_bar ? get_plain(at & ~3u) : at < 4 ? io_address_ : 0;
        for (unsigned byte = at & 3; byte < 4 && i < data.size(); ++byte, ++i)
            value = (value & ~(0xffu << (8 * byte))) | std::uint32_t{data[i]} << (8 * byte);
        if (region == memory_bar)
            set(at & ~3u, value);
        else
            set_io(at & ~3u, value);
    }
}

void E1000::set_io(unsigned offset, std::uint32_t value) {
    if (offset == 0)
        io_address_ = value;
    else if (offset == 4 && io_address_ < registers_.size() * 4)
        set(io_address_ & ~3u, value);
}

std::uint32_t E1000::status() const {
    const auto speed = static_cast<unsigned>(phy_.speed());
    return (phy_.full_duplex() ? 1u : 0u) | (phy_.link() ? 2u : 0u) | speed << 6 | speed << 8;
}

std::uint32_t E1000::get_plain(unsigned offset) const {
    switch (offset) {
    case reg_device_status:
        return status();
    case reg_eecd:
        return (reg(reg_eecd) & ~eecd_out) | eecd_present | (eeprom_.data_out() ? eecd_out : 0u) |
               ((reg(reg_eecd) & eecd_request) != 0 ? eecd_grant : 0u);
    case reg_ims:
        return mask_;
    case reg_ics: // real ones can be read here, and nothing is cleared
        return causes_;
    case reg_icr:
    case reg_imc:
        return 0;
    default:
        return reg(offset);
    }
}

std::uint32_t E1000::get(unsigned offset) {
    const auto value = offset == reg_icr ? causes_ : get_plain(offset);
    if (offset == reg_icr) {
        causes_ = 0;
        update_interrupt();
    } else if (offset >= stat_begin && offset < stat_end && !is_low_octets(offset)) {
        reg(offset) = 0;
        if (is_high_octets(offset))
            reg(offset - 4) = 0;
    }
    return value;
}

void E1000::set(unsigned offset, std::uint32_t value) {
    if (is_plain(offset)) {
        reg(offset) = value;
        return;
    }
    switch (offset) {
    case reg_ctrl:
    case reg_ctrl + 4: // the same register again
        set_control(value);
        break;
    case reg_ctrl_ext:
        reg(offset) = value & ~ctrl_ext_reload;
        if ((value & ctrl_ext_reload) != 0)
            load_address();
        break;
    case reg_eecd:
        reg(offset) = value & (eecd_clock | eecd_select | eecd_in | eecd_request | 0x30);
        eeprom_.set_lines((value & eecd_select) != 0, (value & eecd_clock) != 0, (value & eecd_in) != 0);
        break;
    case reg_eerd:
        set_eerd(value);
        break;
    case reg_mdic:
        set_mdic(value);
        break;
    case reg_icr:
        causes_ &= ~value;
        update_interrupt();
        break;
    case reg_itr:
        reg(offset) = value & 0xffff;
        update_interrupt();
        break;
    case reg_ics:
        raise(value & int_all);
        break;
    case reg_ims:
        mask_ |= value & int_all;
        update_interrupt();
        break;
    case reg_imc:
        mask_ &= ~value;
        update_interrupt();
        break;
    case reg_rctl:
        reg(offset) = value & ~1u;
        room_again();
        break;
    case reg_tctl:
        reg(offset) = value & ~1u;
        transmit();
        break;
    case reg_rdlen:
    case reg_tdlen:
        reg(offset) = value & 0xfff80;
        break;
    case reg_rdh:
    case reg_tdh:
        reg(offset) = value & 0xffff;
        break;
    case reg_rdt:
        reg(offset) = value & 0xffff;
        room_again();
        break;
    case reg_tdt:
        reg(offset) = value & 0xffff;
        transmit();
        break;
    case reg_rdtr: // bit 31: what is held back is told now
        reg(offset) = value & 0xffff;
        if ((value & 1u << 31) != 0 && rx_relative_.armed())
            flush(int_rx_timer, rx_relative_, rx_absolute_);
        break;
    case reg_tidv:
        reg(offset) = value & 0xffff;
        if ((value & 1u << 31) != 0 && tx_relative_.armed())
            flush(int_tx_written, tx_relative_, tx_absolute_);
        break;
    default:
        break;
    }
}

void E1000::set_control(std::uint32_t value) {
    if ((value & ctrl_reset) != 0) {
        reset_controller();
        return;
    }
    reg(reg_ctrl) = value & ~ctrl_phy_reset;
    if ((value & ctrl_phy_reset) != 0)
        phy_.write(0, static_cast<std::uint16_t>(0x8000 | phy_.read(0)));
    room_again();
}

// 13.4.8: bit 28 says that it is done, bit 30 that there is no such PHY.
void E1000::set_mdic(std::uint32_t value) {
    const auto index = value >> 16 & 31, address = value >> 21 & 31, operation = value >> 26 & 3;
    auto result = (value & 0x2fffffff) | 1u << 28;
    if (address != 1)
        result |= 1u << 30;
    else if (operation == 1)
        phy_.write(index, static_cast<std::uint16_t>(value));
    else if (operation == 2)
        result = (result & 0xffff0000) | phy_.read(index);
    reg(reg_mdic) = result;
    if ((value & 1u << 29) != 0)
        raise(int_mdio);
}

void E1000::set_eerd(std::uint32_t value) {
    const auto word = value >> 8 & 0xff;
    reg(reg_eerd) = value & 0xff00;
    if ((value & 1) != 0)
        reg(reg_eerd) |=
            0x10u | (word < MicrowireEeprom::words ? std::uint32_t{eeprom_.content[word]} << 16 : 0u);
}

} // namespace escalus
