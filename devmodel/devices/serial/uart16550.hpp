// SPDX-License-Identifier: GPL-2.0-or-later
// 16550A UART: National Semiconductor PC16550D datasheet (TL/C/8652).
//
// Modelled: all registers, both FIFOs of 16 bytes, interrupt priorities, the receive FIFO's trigger levels
// and time-out, modem control and status with their deltas, loopback, break. Receiving is paced by the line
// speed the guest set (a receiver that is not read overruns no more than a flow-controlled line would: bytes
// wait in the backend). Transmission is not paced: a byte leaves at once, and the holding register's
// interrupt follows as the datasheet says.
// State: the registers and the receive FIFO.
//
// Missing: parity and framing errors never happen; the lines CTS, DSR and DCD are always asserted, RI never.
#pragma once

#include "devmodel/backends/char/char_backend.hpp"
#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/irq_line.hpp"

#include <cstdint>
#include <deque>

namespace escalus {

class Uart16550 final : public Device, public BusDevice {
  public:
    /// `backend` may be null (nothing is plugged into the connector). COM1 is at 0x3f8 with ISA interrupt 4,
    /// COM2 0x2f8 with 3, COM3 0x3e8 with 4, COM4 0x2e8 with 3.
    Uart16550(Bus& ports, std::uint16_t base, Clock& clock, IrqLine irq, CharBackend* backend);
    ~Uart16550() override;

    [[nodiscard]] std::string_view name() const override { return "uart16550"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;
    void write_repeated(unsigned region, std::uint64_t offset, unsigned width,
                        std::span<const std::uint8_t> data) override;

  private:
    std::uint8_t read_register(unsigned index);
    void write_register(unsigned index, std::uint8_t value);
    void transmit(std::span<const std::uint8_t> bytes);
    void write_fifo_control(std::uint8_t value);
    void write_modem_control(std::uint8_t value);
    std::uint8_t read_receiver();
    std::uint8_t read_interrupt_id();
    std::uint8_t read_line_status();
    std::uint8_t read_modem_status();
    [[nodiscard]] std::size_t offer(std::span<const std::uint8_t> bytes);
    void received(std::uint8_t byte);
    [[nodiscard]] std::size_t capacity() const;
    [[nodiscard]] std::size_t trigger_level() const;
    [[nodiscard]] GuestTime character_time() const;
    [[nodiscard]] std::uint8_t modem_lines() const;
    [[nodiscard]] std::uint8_t pending_interrupt() const;
    void update_irq();
    void rearm_timeout();
    void ask_for_more();

    Bus& ports_;
    std::uint16_t base_;
    Clock& clock_;
    IrqLine irq_;
    CharBackend* backend_;
    Timer timeout_;  // the receive FIFO was left alone for four characters
    Timer receiver_; // the next character has arrived on the line
    std::deque<std::uint8_t> fifo_;
    std::uint16_t divisor_ = 1;
    std::uint8_t interrupt_enable_ = 0;
    std::uint8_t fifo_control_ = 0;
    std::uint8_t line_control_ = 0;
    std::uint8_t modem_control_ = 0;
    std::uint8_t line_errors_ = 0; // overrun and break, until the line status is read
    std::uint8_t modem_deltas_ = 0;
    std::uint8_t scratch_ = 0;
    bool transmitter_interrupt_ = false; // THR empty, not yet reported
    bool timed_out_ = false;
    bool line_busy_ = false; // a character time has not passed since the last one
};

} // namespace escalus
