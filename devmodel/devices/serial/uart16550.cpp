// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/serial/uart16550.hpp"

#include <algorithm>
#include <array>

namespace escalus {

namespace {
enum Register : unsigned {
    reg_data = 0, // or the divisor's low byte
    reg_interrupt_enable = 1,
    reg_interrupt_id = 2, // written: FIFO control
    reg_line_control = 3,
    reg_modem_control = 4,
    reg_line_status = 5,
    reg_modem_status = 6,
    reg_scratch = 7,
};

constexpr std::uint8_t ie_received = 1, ie_transmitter = 2, ie_line = 4, ie_modem = 8, ie_bits = 0x0f;

// Interrupt identification, in the order of priority (table IV).
constexpr std::uint8_t id_none = 0x01, id_line = 0x06, id_received = 0x04, id_timeout = 0x0c,
                       id_transmitter = 0x02, id_modem = 0x00, id_fifos = 0xc0;

constexpr std::uint8_t fifo_enable = 1, fifo_clear_receiver = 2, fifo_kept = 0xc9; // enable, mode, trigger

constexpr std::uint8_t lc_stop_bits = 0x04, lc_parity = 0x08, lc_break = 0x40, lc_divisor_latch = 0x80;
constexpr std::uint8_t mc_dtr = 1, mc_rts = 2, mc_out1 = 4, mc_out2 = 8, mc_loop = 16, mc_bits = 0x1f;
constexpr std::uint8_t ls_data = 1, ls_overrun = 2, ls_break = 0x10, ls_holding_empty = 0x20, ls_empty = 0x40;
constexpr std::uint8_t ms_cts = 0x10, ms_dsr = 0x20, ms_ring = 0x40, ms_dcd = 0x80;

constexpr std::size_t fifo_size = 16;
constexpr std::int64_t oscillator = 1'843'200 / 16; // baud at divisor 1
} // namespace

Uart16550::Uart16550(Bus& ports, std::uint16_t base, Clock& clock, IrqLine irq, CharBackend* backend)
    : ports_{ports},
      base_{base},
      clock_{clock},
      irq_{irq},
      backend_{backend},
      timeout_{clock,
               [this] {
                   timed_out_ = true;
                   update_irq();
               }},
      receiver_{clock, [this] {
                    line_busy_ = false;
                    ask_for_more();
                }} {
    ports_.add(base_, 8, *this, 0);
    if (backend_ != nullptr)
        backend_->on_receive([this](std::span<const std::uint8_t> bytes) { return offer(bytes); });
}

Uart16550::~Uart16550() {
    if (backend_ != nullptr)
        backend_->on_receive({});
    ports_.remove(base_);
}

void Uart16550::reset(ResetKind) {
    timeout_.cancel();
    receiver_.cancel();
    fifo_.clear();
    divisor_ = 1;
    interrupt_enable_ = fifo_control_ = line_control_ = modem_control_ = 0;
    line_errors_ = modem_deltas_ = scratch_ = 0;
    transmitter_interrupt_ = timed_out_ = line_busy_ = false;
    update_irq();
    ask_for_more();
}

void Uart16550::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i)
        data[i] = read_register(static_cast<unsigned>(offset + i));
}

void Uart16550::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i)
        write_register(static_cast<unsigned>(offset + i), data[i]);
}

void Uart16550::write_repeated(unsigned region, std::uint64_t offset, unsigned width,
                               std::span<const std::uint8_t> data) {
    if (offset == reg_data && width == 1 && (line_control_ & lc_divisor_latch) == 0)
        transmit(data); // all at once: the backend wakes up once
    else
        BusDevice::write_repeated(region, offset, width, data);
}

std::uint8_t Uart16550::read_register(unsigned index) {
    const bool latch = (line_control_ & lc_divisor_latch) != 0;
    switch (index) {
    case reg_data:
        return latch ? static_cast<std::uint8_t>(divisor_) : read_receiver();
    case reg_interrupt_enable:
        return latch ? static_cast<std::uint8_t>(divisor_ >> 8) : interrupt_enable_;
    case reg_interrupt_id:
        return read_interrupt_id();
    case reg_line_control:
        return line_control_;
    case reg_modem_control:
        return modem_control_;
    case reg_line_status:
        return read_line_status();
    case reg_modem_status:
        return read_modem_status();
    default:
        return scratch_;
    }
}

void Uart16550::write_register(unsigned index, std::uint8_t value) {
    const bool latch = (line_control_ & lc_divisor_latch) != 0;
    switch (index) {
    case reg_data:
        if (latch)
            divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff00) | value);
        else
            transmit(std::array{value});
        break;
    case reg_interrupt_enable:
        if (latch) {
            divisor_ = static_cast<std::uint16_t>((divisor_ & 0x00ff) | value << 8);
            break;
        }
        // Enabling the interrupt of an empty holding register raises it at once: drivers test for that.
        if ((value & ~interrupt_enable_ & ie_transmitter) != 0)
            transmitter_interrupt_ = true;
        interrupt_enable_ = value & ie_bits;
        update_irq();
        break;
    case reg_interrupt_id:
        write_fifo_control(value);
        break;
    case reg_line_control:
        if ((value & ~line_control_ & lc_break) != 0 && (modem_control_ & mc_loop) != 0)
            line_errors_ |= ls_break; // a break comes back in loopback as a null character with its flag
        line_control_ = value;
        update_irq();
        break;
    case reg_modem_control:
        write_modem_control(value);
        break;
    case reg_scratch:
        scratch_ = value;
        break;
    default: // the line and modem status are the chip's
        break;
    }
}

void Uart16550::transmit(std::span<const std::uint8_t> bytes) {
    if ((modem_control_ & mc_loop) != 0) {
        for (const auto byte : bytes)
            received(byte);
    } else if (backend_ != nullptr) {
        backend_->send(bytes);
    }
    // The holding register was filled, which takes the interrupt back, and is empty again: a new edge.
    transmitter_interrupt_ = false;
    update_irq();
    transmitter_interrupt_ = true;
    update_irq();
}

void Uart16550::write_fifo_control(std::uint8_t value) {
    const bool toggles = ((value ^ fifo_control_) & fifo_enable) != 0;
    if (toggles || (value & fifo_clear_receiver) != 0) {
        fifo_.clear();
        timed_out_ = false;
        timeout_.cancel();
    }
    // The other bits are taken only together with the enable bit (8.4).
    fifo_control_ = (value & fifo_enable) != 0 ? value & fifo_kept : 0;
    update_irq();
    ask_for_more();
}

void Uart16550::write_modem_control(std::uint8_t value) {
    const auto before = modem_lines();
    modem_control_ = value & mc_bits;
    const auto after = modem_lines();
    const auto changed = static_cast<unsigned>(before ^ after);
    modem_deltas_ |= static_cast<std::uint8_t>((changed & (ms_cts | ms_dsr | ms_dcd)) >> 4);
    if ((before & ~after & ms_ring) != 0) // trailing edge
        modem_deltas_ |= ms_ring >> 4;
    update_irq();
    ask_for_more();
}

std::uint8_t Uart16550::modem_lines() const {
    if ((modem_control_ & mc_loop) == 0)
        return backend_ != nullptr ? ms_cts | ms_dsr | ms_dcd : 0;
    // 8.7: in loopback the outputs are tied to the inputs.
    return static_cast<std::uint8_t>(
        ((modem_control_ & mc_rts) != 0 ? ms_cts : 0) | ((modem_control_ & mc_dtr) != 0 ? ms_dsr : 0) |
        ((modem_control_ & mc_out1) != 0 ? ms_ring : 0) | ((modem_control_ & mc_out2) != 0 ? ms_dcd : 0));
}

std::uint8_t Uart16550::read_modem_status() {
    const auto value = static_cast<std::uint8_t>(modem_lines() | modem_deltas_);
    modem_deltas_ = 0;
    update_irq();
    return value;
}

std::uint8_t Uart16550::read_line_status() {
    const auto value =
        static_cast<std::uint8_t>(ls_holding_empty | ls_empty | line_errors_ | (fifo_.empty() ? 0 : ls_data));
    line_errors_ = 0;
    update_irq();
    return value;
}

std::uint8_t Uart16550::read_interrupt_id() {
    const auto id = pending_interrupt();
    if (id == id_transmitter) { // reading the identification takes this interrupt back
        transmitter_interrupt_ = false;
        update_irq();
    }
    return static_cast<std::uint8_t>(id | ((fifo_control_ & fifo_enable) != 0 ? id_fifos : 0));
}

std::uint8_t Uart16550::read_receiver() {
    std::uint8_t byte = 0;
    if (!fifo_.empty()) {
        byte = fifo_.front();
        fifo_.pop_front();
    }
    timed_out_ = false;
    rearm_timeout();
    update_irq();
    ask_for_more();
    return byte;
}

std::size_t Uart16550::capacity() const {
    return (fifo_control_ & fifo_enable) != 0 ? fifo_size : 1;
}

std::size_t Uart16550::trigger_level() const {
    static constexpr std::size_t levels[] = {1, 4, 8, 14};
    return (fifo_control_ & fifo_enable) != 0 ? levels[fifo_control_ >> 6] : 1;
}

GuestTime Uart16550::character_time() const {
    const std::int64_t bits = 1 + 5 + (line_control_ & 3) + ((line_control_ & lc_parity) != 0 ? 1 : 0) +
                              ((line_control_ & lc_stop_bits) != 0 ? 2 : 1);
    return bits * std::max<std::int64_t>(divisor_, 1) * ns_per_second / oscillator;
}

/// Bytes from the backend: as many as fit, one character time after those before.
std::size_t Uart16550::offer(std::span<const std::uint8_t> bytes) {
    if (line_busy_ || (modem_control_ & mc_loop) != 0)
        return 0;
    const auto room = capacity() - std::min(capacity(), fifo_.size());
    const auto count = std::min(room, bytes.size());
    if (count == 0)
        return 0;
    for (const auto byte : bytes.first(count))
        received(byte);
    // The line was busy that long. Several at once spare wake-ups; on average the speed is the guest's.
    line_busy_ = true;
    receiver_.arm(clock_.now() + static_cast<GuestTime>(count) * character_time());
    return count;
}

void Uart16550::received(std::uint8_t byte) {
    if (fifo_.size() >= capacity()) { // only loopback can overrun
        line_errors_ |= ls_overrun;
        if (capacity() == 1)
            fifo_.back() = byte; // without FIFOs the new character takes the place of the old one
    } else {
        fifo_.push_back(byte);
    }
    timed_out_ = false;
    rearm_timeout();
    update_irq();
}

/// 8.6.1: the interrupt comes four character times after the last character came or was read.
void Uart16550::rearm_timeout() {
    if ((fifo_control_ & fifo_enable) != 0 && !fifo_.empty() && fifo_.size() < trigger_level())
        timeout_.arm(clock_.now() + 4 * character_time());
    else
        timeout_.cancel();
}

void Uart16550::ask_for_more() {
    if (backend_ != nullptr && !line_busy_ && fifo_.size() < capacity() && (modem_control_ & mc_loop) == 0)
        backend_->ready();
}

std::uint8_t Uart16550::pending_interrupt() const {
    if ((interrupt_enable_ & ie_line) != 0 && line_errors_ != 0)
        return id_line;
    if ((interrupt_enable_ & ie_received) != 0) {
        if (fifo_.size() >= trigger_level())
            return id_received;
        if (timed_out_ && !fifo_.empty())
            return id_timeout;
    }
    if ((interrupt_enable_ & ie_transmitter) != 0 && transmitter_interrupt_)
        return id_transmitter;
    if ((interrupt_enable_ & ie_modem) != 0 && modem_deltas_ != 0)
        return id_modem;
    return id_none;
}

void Uart16550::update_irq() {
    // On a PC the interrupt reaches the bus by way of OUT2, which loopback disconnects.
    const bool connected = (modem_control_ & (mc_out2 | mc_loop)) == mc_out2;
    irq_.set(connected && pending_interrupt() != id_none);
}

} // namespace escalus
