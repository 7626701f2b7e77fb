// SPDX-License-Identifier: GPL-2.0-or-later
// What the guest reads and writes: the PROM, and four ports that lead to the registers.
#include "devmodel/devices/net/pcnet.hpp"
#include "devmodel/machine/little_endian.hpp"

namespace escalus {

using namespace pcnet;

namespace {
constexpr unsigned prom_bytes = 16, rdp = 0, rap = 1, reset_port = 2, bdp = 3;
constexpr std::uint16_t bcr2_prom_writable = 0x100;
constexpr std::uint16_t most_entries = 512;

// CSRs that can be written only while the chip is stopped or suspended.
bool needs_stop(unsigned index) {
    return index == 1 || index == 2 || (index >= 8 && index <= 15) || (index >= 18 && index <= 47) ||
           index == 72 || index == 74 || index == 76 || index == 78 || index == 112;
}
} // namespace

void Pcnet::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    const unsigned step = (bcr_[18] & bcr18_wide) != 0 ? 4 : 2;
    for (std::size_t i = 0; i < data.size();) {
        const auto at = static_cast<unsigned>(offset + i) % (2 * prom_bytes);
        if (at < prom_bytes) {
            data[i++] = prom_[at];
            continue;
        }
        const auto value = get_port((at - prom_bytes) / step);
        for (unsigned byte = at % step; byte < step && i < data.size(); ++byte, ++i)
            data[i] = static_cast<std::uint8_t>(value >> (8 * byte));
    }
}

void Pcnet::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    // A double word at RDP is how drivers ask for ports of that width.
    if (offset == prom_bytes && data.size() == 4)
        bcr_[18] |= bcr18_wide;
    const unsigned step = (bcr_[18] & bcr18_wide) != 0 ? 4 : 2;
    for (std::size_t i = 0; i < data.size();) {
        const auto at = static_cast<unsigned>(offset + i) % (2 * prom_bytes);
        if (at < prom_bytes) {
            if ((bcr_[2] & bcr2_prom_writable) != 0)
                prom_[at] = data[i];
            ++i;
            continue;
        }
        std::uint32_t value = 0;
        for (unsigned byte = at % step; byte < step && i < data.size(); ++byte, ++i)
            value |= std::uint32_t{data[i]} << (8 * byte);
        if (at % step == 0) // an upper half alone means nothing
            set_port((at - prom_bytes) / step, value);
    }
}

std::uint32_t Pcnet::get_port(unsigned index) {
    switch (index) {
    case rdp:
        return get_csr(register_address_);
    case rap:
        return register_address_;
    case reset_port:
        reset_software();
        return 0;
    case bdp:
        return get_bcr(register_address_);
    default:
        return 0;
    }
}

void Pcnet::set_port(unsigned index, std::uint32_t value) {
    const auto word = static_cast<std::uint16_t>(value);
    if (index == rdp)
        set_csr(register_address_, word);
    else if (index == rap)
        register_address_ = word & 0x7f;
    else if (index == bdp)
        set_bcr(register_address_, word);
}

void Pcnet::reset_software() {
    stop_transmitting();
    poll_.cancel();
    register_address_ = 0;
    const auto mode = csr_[15];
    csr_ = {};
    csr_[0] = csr0_stop;
    csr_[4] = 0x0115;
    for (unsigned i = 0; i < 3; ++i)
        csr_[12 + i] = load_le<std::uint16_t>(prom_, 2 * i);
    csr_[15] = mode & 0x21c4;
    csr_[80] = 0x1410;
    csr_[88] = 0x1003; // the part number, 0x2621
    csr_[89] = 0x0262;
    csr_[100] = 0x0200;
    csr_[124] = 0;
    receive_ring_ = transmit_ring_ = {};
    last_part_.reset();
    tx_frame_.clear();
    update_interrupt();
}

std::uint16_t Pcnet::get_csr(unsigned index) const {
    const auto left = [](const Ring& ring) { return static_cast<std::uint16_t>(ring.index - ring.length); };
    switch (index) {
    case 0: {
        const auto value = csr_[0];
        return value |
               ((value & (csr0_babble | csr0_collision | csr0_missed | csr0_memory)) != 0 ? csr0_error
                                                                                          : std::uint16_t{0});
    }
    case 16:
        return csr_[1];
    case 17:
        return csr_[2];
    case 24:
        return static_cast<std::uint16_t>(receive_ring_.base);
    case 25:
        return static_cast<std::uint16_t>(receive_ring_.base >> 16);
    case 30:
        return static_cast<std::uint16_t>(transmit_ring_.base);
    case 31:
        return static_cast<std::uint16_t>(transmit_ring_.base >> 16);
    case 58:
        return get_bcr(20);
    case 72:
        return left(receive_ring_);
    case 74:
        return left(transmit_ring_);
    case 76:
        return static_cast<std::uint16_t>(-receive_ring_.length);
    case 78:
        return static_cast<std::uint16_t>(-transmit_ring_.length);
    default:
        return csr_[index];
    }
}

void Pcnet::set_csr(unsigned index, std::uint16_t value) {
    if (needs_stop(index) && (csr_[0] & csr0_stop) == 0 && (csr_[5] & csr5_suspend) == 0)
        return;
    const auto low = [&](Ring& ring) { ring.base = (ring.base & 0xffff0000) | value; };
    const auto high = [&](Ring& ring) { ring.base = (ring.base & 0xffff) | std::uint32_t{value} << 16; };
    const auto length = [&](Ring& ring) { ring = {ring.base, 0x10000u - value, 0}; };
    const auto counter = [&](Ring& ring) {
        const auto left = std::uint32_t{0x10000} - value;
        ring.index = left <= ring.length ? ring.length - left : 0;
    };
    switch (index) {
    case 0:
        set_csr0(value);
        break;
    case 3:
        csr_[3] = value & 0x5f7c;
        update_interrupt();
        break;
    case 4:
        set_csr4(value);
        break;
    case 5:
        set_csr5(value);
        break;
    case 16:
        set_csr(1, value);
        break;
    case 17:
        set_csr(2, value);
        break;
    case 24:
        low(receive_ring_);
        break;
    case 25:
        high(receive_ring_);
        break;
    case 30:
        low(transmit_ring_);
        break;
    case 31:
        high(transmit_ring_);
        break;
    case 58:
        set_bcr(20, value);
        break;
    case 72:
        counter(receive_ring_);
        break;
    case 74:
        counter(transmit_ring_);
        break;
    case 76:
        length(receive_ring_);
        break;
    case 78:
        length(transmit_ring_);
        break;
    default:
        if (needs_stop(index) || index == 80 || index == 82 || index == 100 || index == 122)
            csr_[index] = value;
    }
}

// The causes are cleared by ones; STOP goes before everything else.
void Pcnet::set_csr0(std::uint16_t value) {
    csr_[0] &= static_cast<std::uint16_t>(~(value & csr0_causes));
    if ((value & csr0_stop) != 0) {
        stop();
        return;
    }
    csr_[0] = static_cast<std::uint16_t>((csr_[0] & ~csr0_enable) | (value & csr0_enable));
    if ((value & csr0_init) != 0 && (csr_[0] & csr0_init) == 0)
        initialize();
    if ((value & csr0_start) != 0 && (csr_[0] & csr0_start) == 0)
        start_rings();
    update_interrupt();
    if ((value & csr0_demand) != 0 && (csr_[0] & csr0_transmitter) != 0) {
        csr_[0] |= csr0_demand;
        transmit();
    }
}

void Pcnet::stop() {
    stop_transmitting();
    poll_.cancel();
    last_part_.reset();
    csr_[0] = csr0_stop;
    csr_[4] &= static_cast<std::uint16_t>(~(csr4_causes | csr4_user | csr4_user_command));
    csr_[5] &= static_cast<std::uint16_t>(~(0x0010 | csr5_suspend));
    update_interrupt();
}

void Pcnet::set_csr4(std::uint16_t value) {
    constexpr std::uint16_t cleared = csr4_causes | csr4_user;
    const auto causes = static_cast<std::uint16_t>(csr_[4] & cleared & ~value);
    csr_[4] = static_cast<std::uint16_t>((value & ~(cleared | csr4_user_command)) | causes);
    if ((value & csr4_user_command) != 0)
        csr_[4] |= csr4_user;
    update_interrupt();
}

void Pcnet::set_csr5(std::uint16_t value) {
    const auto causes = static_cast<std::uint16_t>(csr_[5] & csr5_causes & ~value);
    csr_[5] = static_cast<std::uint16_t>((value & ~csr5_causes) | causes);
    update_interrupt();
    transmit(); // unless it is suspended now
}

// The initialization block (datasheet, "Initialization Block"): 24 bytes with 16 bit addresses, or 28.
void Pcnet::initialize() {
    const bool wide = has_wide_structures();
    std::array<std::uint8_t, 28> bytes{};
    const auto where = std::uint32_t{csr_[2]} << 16 | csr_[1];
    if (!may_work() || !memory().read(GuestPhys{where}, std::span{bytes}.first(wide ? 28 : 24))) {
        bus_error();
        return;
    }
    const unsigned address = wide ? 4 : 2, hashes = wide ? 12 : 8, rings = wide ? 20 : 16;
    csr_[15] = load_le<std::uint16_t>(bytes, 0);
    for (unsigned i = 0; i < 3; ++i)
        csr_[12 + i] = load_le<std::uint16_t>(bytes, address + 2 * i);
    for (unsigned i = 0; i < 4; ++i)
        csr_[8 + i] = load_le<std::uint16_t>(bytes, hashes + 2 * i);
    const auto receive = load_le<std::uint32_t>(bytes, rings),
               transmit_base = load_le<std::uint32_t>(bytes, rings + 4);
    const unsigned receive_log = wide ? bytes[2] >> 4 : receive >> 29;
    const unsigned transmit_log = wide ? bytes[3] >> 4 : transmit_base >> 29;
    csr_[6] = static_cast<std::uint16_t>(transmit_log << 12 | receive_log << 8);
    const auto ring = [&](std::uint32_t base, unsigned log) {
        return Ring{extend(base), std::min<std::uint32_t>(1u << log, most_entries), 0};
    };
    receive_ring_ = ring(receive, receive_log);
    transmit_ring_ = ring(transmit_base, transmit_log);
    csr_[0] = static_cast<std::uint16_t>((csr_[0] & ~csr0_stop) | csr0_init | csr0_done);
}

void Pcnet::start_rings() {
    csr_[0] = static_cast<std::uint16_t>((csr_[0] & ~csr0_stop) | csr0_start);
    if ((csr_[15] & mode_no_transmitter) == 0)
        csr_[0] |= csr0_transmitter;
    if ((csr_[15] & mode_no_receiver) == 0)
        csr_[0] |= csr0_receiver;
    transmit();
    room_again();
}

std::uint16_t Pcnet::get_bcr(unsigned index) const {
    switch (index) {
    case 4: // link status, where bit 6 has the LED show that
        return static_cast<std::uint16_t>((bcr_[4] & 0x7fff) |
                                          ((bcr_[4] & 0x40) != 0 && wire().link_up() ? 0x8000 : 0));
    case 19:
        return static_cast<std::uint16_t>((bcr_[19] & ~1u) | (eeprom_.data_out() ? 1u : 0u));
    case 20: { // the size of structures, and whether CSRs are PCnet's, follow from the style
        const auto style_now = bcr_[20] & 0xffu;
        return static_cast<std::uint16_t>(style_now | (style_now == 0   ? 0x200u
                                                       : style_now == 1 ? 0x100u
                                                                        : 0x300u));
    }
    default:
        return index < bcr_.size() ? bcr_[index] : std::uint16_t{0};
    }
}

void Pcnet::set_bcr(unsigned index, std::uint16_t value) {
    switch (index) {
    case 2:
    case 4:
    case 5:
    case 6:
    case 7:
    case 9:
    case 16:
    case 17:
    case 21:
    case 22:
        bcr_[index] = value;
        break;
    case 18: // the ports' width is read-only
        bcr_[18] = static_cast<std::uint16_t>((value & ~bcr18_wide) | (bcr_[18] & bcr18_wide));
        break;
    case 19:
        bcr_[19] = static_cast<std::uint16_t>(0xa000 | (value & 0x17));
        if ((value & 0x10) != 0)
            eeprom_.set_lines((value & 4) != 0, (value & 2) != 0, (value & 1) != 0);
        else
            eeprom_.set_lines(false, false, false);
        break;
    case 20: // while the chip is stopped
        if ((csr_[0] & csr0_stop) != 0 || (csr_[5] & csr5_suspend) != 0)
            bcr_[20] = static_cast<std::uint16_t>((value & 0xff) > 3 ? 0 : value & 0xff);
        break;
    default:
        break;
    }
}

} // namespace escalus
