// SPDX-License-Identifier: GPL-2.0-or-later
// Construction and reset, interrupts, descriptors, sending.
#include "devmodel/devices/net/pcnet.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <numeric>
#include <utility>

namespace escalus {

using namespace pcnet;

namespace {
constexpr unsigned window_bytes = 32;
constexpr std::size_t longest_send = 16384, longest_standard = 1518;
constexpr GuestTime poll_shortest = 2'000'000, poll_longest = 128'000'000; // 65536 clocks of 33 MHz, and idle
} // namespace

Pcnet::Pcnet(PciSpaces spaces, CardWiring wiring)
    : EthernetCard{identity, spaces, wiring}, poll_{clock(), [this] { transmit(); }} {
    set_config(reg_status, 2, 0x0280); // fast back-to-back, medium DEVSEL#
    set_config(0x3e, 2, 0xff06);       // minimum grant, maximum latency
    declare_bar(0, BarKind::Io, window_bytes);
    declare_bar(1, BarKind::Memory, window_bytes);
    // The address PROM (datasheet, "Address PROM Space"): address, hardware ID, 'W' 'W', and their sum.
    std::ranges::copy(rom_mac(), prom_.begin());
    prom_[9] = 0x11;
    prom_[14] = prom_[15] = 'W';
    const auto sum = std::accumulate(prom_.begin(), prom_.end(), 0u);
    store_le(std::span{prom_}, 12, static_cast<std::uint16_t>(sum));
    // The EEPROM begins with the same bytes; those up to the eighteenth word sum to 0xff.
    auto& words = eeprom_.content;
    for (unsigned i = 0; i < 8; ++i)
        words[i] = load_le<std::uint16_t>(prom_, 2 * i);
    unsigned total = 0;
    for (unsigned i = 0; i < 18; ++i)
        total += (words[i] & 0xffu) + (words[i] >> 8);
    words[15] = static_cast<std::uint16_t>((0xff - total) << 8);
}

void Pcnet::reset(ResetKind kind) {
    EthernetCard::reset(kind);
    eeprom_.reset();
    bcr_ = {};
    bcr_[0] = bcr_[1] = 5;
    bcr_[2] = 2;
    bcr_[4] = 0xc0;
    bcr_[5] = 0x84;
    bcr_[6] = 0x88;
    bcr_[7] = 0x90;
    bcr_[18] = 0x9001;
    bcr_[19] = 0xa002; // an EEPROM is there, and was read without error
    bcr_[20] = 0x0200;
    bcr_[22] = 0xff06;
    csr_ = {};
    reset_software();
}

void Pcnet::link_changed(bool) {} // BCR4 tells

void Pcnet::raise(std::uint16_t causes) {
    csr_[0] |= causes;
    update_interrupt();
}

// CSR0's causes by CSR3's masks, CSR4's by the bits beside them, CSR5's by their enables.
void Pcnet::update_interrupt() {
    const bool some = ((csr_[0] & ~csr_[3]) & 0x5f00) != 0 || ((csr_[4] >> 1 & ~csr_[4]) & 0x0115) != 0 ||
                      (csr_[4] & csr4_user) != 0 || ((csr_[5] >> 1 & csr_[5]) & 0x0548) != 0;
    csr_[0] = static_cast<std::uint16_t>((csr_[0] & ~csr0_interrupt) | (some ? csr0_interrupt : 0));
    request_intx(some && (csr_[0] & csr0_enable) != 0);
}

// A DMA that found no memory: MERR, and both directions stop.
void Pcnet::bus_error() {
    csr_[0] &= static_cast<std::uint16_t>(~(csr0_transmitter | csr0_receiver));
    raise(csr0_memory);
}

// In 16 bit structures addresses have 24 bits; the rest comes from CSR2.
std::uint32_t Pcnet::extend(std::uint32_t address) const {
    return has_wide_structures() ? address : (address & 0xffffff) | (csr_[2] & 0xff00u) << 16;
}

std::optional<Pcnet::Descriptor> Pcnet::fetch(const Ring& ring) {
    const auto size = has_wide_structures() ? 16u : 8u;
    const auto where = std::uint64_t{ring.base} + std::uint64_t{ring.index} * size;
    std::array<std::uint8_t, 16> bytes{};
    if (!memory().read(GuestPhys{where}, std::span{bytes}.first(size)))
        return {};
    if (!has_wide_structures()) {
        const auto flags = load_le<std::uint16_t>(bytes, 2);
        return Descriptor{where, extend(load_le<std::uint16_t>(bytes, 0) | (flags & 0xffu) << 16),
                          (flags & 0xff00u) << 16 | load_le<std::uint16_t>(bytes, 4),
                          load_le<std::uint16_t>(bytes, 6)};
    }
    const auto first = load_le<std::uint32_t>(bytes, 0), third = load_le<std::uint32_t>(bytes, 8);
    const auto status = load_le<std::uint32_t>(bytes, 4);
    return style() == 3 ? Descriptor{where, third, status, first} : Descriptor{where, first, status, third};
}

// What the chip writes: the word with the results, then the one with the ownership.
bool Pcnet::store(const Descriptor& descriptor) {
    std::array<std::uint8_t, 4> results{}, status{};
    store_le(results, 0, descriptor.more);
    const auto bytes = std::span{results};
    if (!has_wide_structures()) {
        store_le(status, 0, static_cast<std::uint8_t>(descriptor.status >> 24));
        return memory().write(GuestPhys{descriptor.where + 6}, bytes.first(2)) &&
               memory().write(GuestPhys{descriptor.where + 3}, std::span{status}.first(1));
    }
    store_le(status, 0, descriptor.status);
    return memory().write(GuestPhys{descriptor.where + (style() == 3 ? 0u : 8u)}, bytes) &&
           memory().write(GuestPhys{descriptor.where + 4}, status);
}

bool Pcnet::looped() const {
    return (csr_[15] & mode_loop) != 0;
}

bool Pcnet::transmit_some() {
    constexpr unsigned most_frames = 64, most_descriptors = 256;
    csr_[0] &= static_cast<std::uint16_t>(~csr0_demand);
    unsigned frames = 0;
    for (unsigned n = 0; n < most_descriptors && frames < most_frames; ++n) {
        if ((csr_[0] & csr0_transmitter) == 0 || (csr_[5] & csr5_suspend) != 0) {
            poll_.cancel();
            return false;
        }
        const auto sent = send_descriptor();
        frames += sent == Sent::Whole ? 1 : 0;
        if (sent == Sent::Nothing) {
            poll_later(n != 0);
            return false;
        }
    }
    return true;
}

// The chip looks at its ring every 65536 clocks by itself, unless it is told not to.
void Pcnet::poll_later(bool busy) {
    poll_.cancel();
    if ((csr_[0] & csr0_transmitter) == 0 || (csr_[4] & csr4_no_poll) != 0)
        return;
    poll_interval_ = busy ? poll_shortest : std::clamp(poll_interval_ * 2, poll_shortest, poll_longest);
    poll_.arm(clock().now() + poll_interval_);
}

Pcnet::Sent Pcnet::send_descriptor() {
    auto found = fetch(transmit_ring_);
    if (!found) {
        bus_error();
        return Sent::Nothing;
    }
    if ((found->status & desc_own) == 0) {
        if (last_part_) // the rest of a frame is not there: the FIFO ran dry
            fail_send(*std::exchange(last_part_, {}), more_buffer | more_underflow);
        return Sent::Nothing;
    }
    transmit_ring_.advance();
    if ((found->status & desc_first) != 0) {
        tx_frame_.clear();
        first_status_ = found->status;
    } else if (!last_part_) { // a part of nothing is given back
        found->status &= ~desc_own;
        if (!store(*found))
            bus_error();
        return Sent::Part;
    }
    const auto so_far = tx_frame_.size();
    if (so_far + found->bytes() <= longest_send) {
        tx_frame_.resize(so_far + found->bytes());
        if (!memory().read(GuestPhys{found->buffer}, std::span{tx_frame_}.subspan(so_far))) {
            bus_error();
            return Sent::Nothing;
        }
    }
    found->status &= ~(desc_own | desc_error);
    if ((found->status & desc_last) == 0) {
        last_part_ = found;
        if (!store(*found))
            bus_error();
        return Sent::Part;
    }
    last_part_.reset();
    const bool internal = looped() && (csr_[15] & mode_internal) != 0;
    if (!wire().link_up() && !internal) {
        fail_send(*found, more_carrier);
        raise(csr0_collision);
        return Sent::Whole;
    }
    found->more = has_wide_structures() ? 0 : found->more & 0x3ff;
    if (!store(*found)) {
        bus_error();
        return Sent::Nothing;
    }
    send_gathered(found->status);
    return Sent::Whole;
}

void Pcnet::fail_send(Descriptor descriptor, std::uint32_t errors) {
    descriptor.status = (descriptor.status & ~desc_own) | desc_error;
    descriptor.more = has_wide_structures() ? errors : errors >> 16;
    if (!store(descriptor))
        return bus_error();
    if ((errors & more_underflow) != 0 && (csr_[3] & csr3_no_underflow_stop) == 0)
        csr_[0] &= static_cast<std::uint16_t>(~csr0_transmitter);
    raise(csr0_sent);
}

void Pcnet::send_gathered(std::uint32_t status) {
    // Who sends a CRC of his own has it in the frame.
    const bool own_crc =
        (csr_[15] & mode_no_crc) != 0 && (style() == 1 || (first_status_ & desc_add_crc) == 0);
    if ((csr_[4] & csr4_pad) != 0 && !own_crc && tx_frame_.size() < ethernet_minimum)
        tx_frame_.resize(ethernet_minimum);
    csr_[4] |= csr4_started;
    std::uint16_t causes = 0;
    const bool wants = (csr_[5] & csr5_last_sent) != 0 && (status & desc_want_sent) != 0;
    if ((csr_[5] & csr5_no_sent) == 0 || wants)
        causes |= csr0_sent;
    if (tx_frame_.size() + (own_crc ? 0 : ethernet_crc_bytes) > longest_standard)
        causes |= csr0_babble;
    raise(causes);
    const Frame frame{tx_frame_};
    if (looped())
        accept(frame, own_crc);
    else if (frame.size() >= ethernet_header + (own_crc ? ethernet_crc_bytes : 0))
        wire().send(own_crc ? frame.first(frame.size() - ethernet_crc_bytes) : frame, {});
}

} // namespace escalus
