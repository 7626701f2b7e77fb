// SPDX-License-Identifier: GPL-2.0-or-later
// What the guest reads and writes: four pages of sixteen registers, the data port and the reset port.
#include "devmodel/devices/net/ne2000.hpp"
#include "devmodel/machine/little_endian.hpp"

#include <utility>

namespace escalus {

using namespace dp8390;

namespace {
constexpr std::uint8_t receive_command = 0;
constexpr unsigned page_bytes = 256;
} // namespace

void Ne2000::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    if (offset >= reset_port) {
        reset_chip();
        std::ranges::fill(data, receive_command);
    } else if (offset >= data_port) {
        read_data(data);
    } else {
        for (std::size_t i = 0; i < data.size(); ++i)
            data[i] = get(static_cast<unsigned>(offset + i) & 15);
    }
}

void Ne2000::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    if (offset >= reset_port)
        return; // the reset that a read began ends
    if (offset >= data_port)
        write_data(data);
    else
        for (std::size_t i = 0; i < data.size(); ++i)
            set(static_cast<unsigned>(offset + i) & 15, data[i]);
}

// In word mode the port moves words, however wide the access: of a byte access the other half is lost.
void Ne2000::read_data(std::span<std::uint8_t> data) {
    const unsigned width =
        std::max((data_config_ & dcr_word) != 0 ? 2u : 1u, static_cast<unsigned>(data.size()));
    for (unsigned i = 0; i < data.size(); ++i)
        data[i] = remote_ == Remote::Read ? peek((remote_address_ + i) & 0xffffu) : std::uint8_t{0xff};
    if (remote_ == Remote::Read)
        remote_moved(width);
}

void Ne2000::write_data(std::span<const std::uint8_t> data) {
    if (remote_ != Remote::Write)
        return;
    const unsigned width =
        std::max((data_config_ & dcr_word) != 0 ? 2u : 1u, static_cast<unsigned>(data.size()));
    for (unsigned i = 0; i < data.size() && i < remote_bytes_; ++i)
        poke((remote_address_ + i) & 0xffffu, data[i]);
    remote_moved(width);
}

// The remote address goes round the ring as the local one does.
void Ne2000::remote_moved(unsigned bytes) {
    const auto before = remote_address_;
    remote_address_ = static_cast<std::uint16_t>(remote_address_ + bytes);
    if (before / page_bytes != remote_address_ / page_bytes && remote_address_ / page_bytes == stop_)
        remote_address_ = static_cast<std::uint16_t>(start_ * page_bytes + remote_address_ % page_bytes);
    remote_bytes_ = static_cast<std::uint16_t>(remote_bytes_ > bytes ? remote_bytes_ - bytes : 0);
    if (remote_bytes_ == 0) {
        remote_ = Remote::None;
        raise(int_remote_done);
    }
}

std::uint8_t Ne2000::get(unsigned index) {
    if (index == 0)
        return command_;
    switch (command_ >> 6) {
    case 0:
        return get_page0(index);
    case 1:
        return index < 7 ? mac_[index - 1] : index == 7 ? current_ : multicast_[index - 8];
    case 2:
        return get_page2(index);
    default:
        return get_page3(index);
    }
}

std::uint8_t Ne2000::take_counter(unsigned n) {
    return std::exchange(counters_[n], std::uint8_t{0});
}

std::uint8_t Ne2000::get_page0(unsigned index) {
    switch (index) {
    case 2: // current local DMA address; its low byte is 0 between frames
        return current_;
    case 3:
        return boundary_;
    case 4:
        return transmit_status_;
    case 6:
        fifo_next_ = (fifo_next_ + 1) % static_cast<unsigned>(fifo_.size());
        return fifo_[(fifo_next_ + fifo_.size() - 1) % fifo_.size()];
    case 7:
        return causes_;
    case 8:
        return static_cast<std::uint8_t>(remote_address_);
    case 9:
        return static_cast<std::uint8_t>(remote_address_ >> 8);
    case 10: // by these two bytes an RTL8029 is known
        return 'P';
    case 11:
        return 'C';
    case 12:
        return receive_status_;
    case 13:
    case 14:
    case 15:
        return take_counter(index - 13);
    default:
        return 0;
    }
}

std::uint8_t Ne2000::get_page2(unsigned index) const {
    switch (index) {
    case 1:
        return start_;
    case 2:
        return stop_;
    case 4:
        return transmit_page_;
    case 12:
        return receive_config_ | 0xc0;
    case 13:
        return transmit_config_ | 0xe0;
    case 14:
        return data_config_ | 0x80;
    case 15:
        return mask_ | 0x80;
    default:
        return 0;
    }
}

std::uint8_t Ne2000::get_page3(unsigned index) const {
    switch (index) {
    case 1:
        return static_cast<std::uint8_t>(eeprom_control_ |
                                         ((eeprom_control_ & 0xc0) == 0x80 && eeprom_.data_out() ? 1 : 0));
    case 3:
    case 5:
    case 6:
        return config_[index == 3 ? 0 : index - 3];
    case 14:
        return 0x29;
    case 15:
        return 0x80;
    default:
        return 0;
    }
}

void Ne2000::set(unsigned index, std::uint8_t value) {
    if (index == 0)
        return set_command(value);
    switch (command_ >> 6) {
    case 0:
        set_page0(index, value);
        break;
    case 1:
        if (index < 7)
            mac_[index - 1] = value;
        else if (index == 7)
            current_ = value;
        else
            multicast_[index - 8] = value;
        room_again();
        break;
    case 3:
        set_page3(index, value);
        break;
    default:
        break;
    }
}

void Ne2000::set_page0(unsigned index, std::uint8_t value) {
    const auto low = [&](std::uint16_t& word) { word = static_cast<std::uint16_t>((word & 0xff00) | value); };
    const auto high = [&](std::uint16_t& word) {
        word = static_cast<std::uint16_t>((word & 0xff) | value << 8);
    };
    switch (index) {
    case 1:
        start_ = value;
        break;
    case 2:
        stop_ = value;
        break;
    case 3:
        boundary_ = value;
        room_again();
        break;
    case 4:
        transmit_page_ = value;
        break;
    case 5:
        low(transmit_bytes_);
        break;
    case 6:
        high(transmit_bytes_);
        break;
    case 7: // the reset bit goes when the chip is started
        causes_ = static_cast<std::uint8_t>(causes_ & ~(value & ~int_reset));
        update_interrupt();
        break;
    case 8:
        low(remote_address_);
        break;
    case 9:
        high(remote_address_);
        break;
    case 10:
        low(remote_bytes_);
        break;
    case 11:
        high(remote_bytes_);
        break;
    case 12:
        receive_config_ = value & 0x3f;
        room_again();
        break;
    case 13:
        transmit_config_ = value & 0x1f;
        break;
    case 14:
        data_config_ = value & 0x7f;
        break;
    default:
        mask_ = value & 0x7f;
        update_interrupt();
    }
}

void Ne2000::set_page3(unsigned index, std::uint8_t value) {
    const bool unlocked = (eeprom_control_ & 0xc0) == 0xc0;
    if (index == 1) {
        eeprom_control_ = value & 0xce;
        const bool program = (value & 0xc0) == 0x80;
        eeprom_.set_lines(program && (value & 8) != 0, program && (value & 4) != 0,
                          program && (value & 2) != 0);
        if ((value & 0xc0) == 0x40) // auto-load is done at once
            eeprom_control_ = 0;
    } else if (unlocked && (index == 5 || index == 6)) {
        config_[index - 3] = value;
    }
}

// Stopping takes effect at once; what is to be sent waits until the chip is started. STA starts it and need
// not stay (10.3, command register): Linux writes it without STA or STP to turn to page 0.
void Ne2000::set_command(std::uint8_t value) {
    const auto pending = command_ & cmd_transmit;
    command_ = static_cast<std::uint8_t>(value | pending);
    if ((value & cmd_stop) != 0) {
        running_ = false;
        causes_ |= int_reset;
        command_ &= static_cast<std::uint8_t>(~cmd_transmit);
    } else if ((value & cmd_start) != 0) {
        running_ = true;
        causes_ &= static_cast<std::uint8_t>(~int_reset);
    }
    switch (value & cmd_dma_mask) {
    case cmd_read:
        remote_ = Remote::Read;
        break;
    case cmd_write:
        remote_ = Remote::Write;
        break;
    case cmd_send_packet: // the frame at the boundary, with its own length
        remote_ = Remote::Read;
        remote_address_ = static_cast<std::uint16_t>(boundary_ * page_bytes);
        remote_bytes_ =
            static_cast<std::uint16_t>(peek(remote_address_ + 2u) | peek(remote_address_ + 3u) << 8);
        break;
    default:
        if ((value & cmd_no_dma) != 0)
            remote_ = Remote::None;
    }
    if (remote_ != Remote::None && remote_bytes_ == 0) {
        remote_ = Remote::None;
        causes_ |= int_remote_done;
    }
    update_interrupt();
    transmit();
    room_again();
}

} // namespace escalus
