// SPDX-License-Identifier: GPL-2.0-or-later
// The 8254 programmable interval timer and system control port B (0x61), as a PC wires them.
//
// Specification: Intel 8254 datasheet (231164-005); 82371SB (PIIX3) datasheet, 2.5.7 and 2.5.9 (NMISC).
// Ports: 0x40-0x43, 0x61. Channel 0's output is IRQ 0; channels 0 and 1 have their gates tied high; channel
// 2's gate is port 0x61 bit 0 and its output is read at bit 5. Bit 4 toggles with each memory refresh (18
// ticks, 15.085 us).
// State: per channel mode, count register, when the counting element was loaded, latches, byte toggles, gate.
// Counts are functions of guest time, never of when a timer fired. See edge_pacer.hpp for what happens when
// the host is late with IRQ 0.
// Missing: the speaker (its enable bit is stored), NMI by parity or IOCHK.
#pragma once

#include "devmodel/devices/chipset/edge_pacer.hpp"
#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/irq_line.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace escalus {

/// One counter of an 8254. Time is counted in ticks of its CLK input, and passed in.
class I8254Channel {
  public:
    void reset(bool gate);
    /// Rising edges of OUT since the last call; brings the counter up to tick `now`.
    std::uint64_t advance(std::uint64_t now);
    /// The first tick after the last advance() at which OUT rises by itself.
    [[nodiscard]] std::optional<std::uint64_t> next_rising_edge() const;
    /// Distance of the rising edges in the periodic modes, else 0.
    [[nodiscard]] std::uint64_t period() const;

    // All of these act at the tick of the last advance().
    void write_control(std::uint8_t control);
    void write_count(std::uint8_t byte);
    [[nodiscard]] std::uint8_t read();
    void latch_count();
    void latch_status();
    void set_gate(bool level);
    [[nodiscard]] bool gate() const { return gate_; }
    [[nodiscard]] bool output() const;

  private:
    [[nodiscard]] bool periodic() const { return mode_ == 2 || mode_ == 3; }
    [[nodiscard]] std::uint64_t modulus() const { return bcd_ ? 10'000 : 65'536; }
    [[nodiscard]] std::uint64_t elapsed() const { return counting_ ? now_ - base_ : frozen_; }
    [[nodiscard]] std::uint64_t half_length(bool high) const;
    [[nodiscard]] std::uint64_t decode(std::uint16_t written) const;
    [[nodiscard]] std::uint16_t count() const;
    [[nodiscard]] std::uint64_t advance_periodic(std::uint64_t now);
    void load(std::uint64_t tick);
    void count_written();

    std::uint8_t mode_ = 0;
    std::uint8_t access_ = 3; // 1 low byte, 2 high byte, 3 low then high
    bool bcd_ = false;
    bool gate_ = true;

    std::uint16_t written_ = 0;            // count register (CR)
    std::optional<std::uint8_t> low_byte_; // the first byte of a count that is being written
    bool read_high_next_ = false;          // read toggle
    bool null_count_ = true;               // CR holds a count that the counting element has not got yet
    bool have_count_ = false;              // a whole count was written since the control word
    std::optional<std::uint64_t> load_at_; // tick of a load that is under way

    bool loaded_ = false;            // the counting element got a count since the control word
    bool counting_ = false;          // CLK decrements it
    std::uint64_t initial_ = 65'536; // what it was loaded with
    std::uint64_t now_ = 0;
    std::uint64_t base_ = 0;   // tick at which the count was `initial_` (start of a half cycle in mode 3)
    std::uint64_t frozen_ = 0; // elapsed ticks while not counting
    bool half_high_ = true;    // mode 3: level of OUT in the half cycle that began at base_
    std::uint16_t held_ = 0;   // what reads give before the first load

    std::optional<std::uint16_t> latched_count_;
    std::optional<std::uint8_t> latched_status_;
};

class I8254 final : public Device, public BusDevice {
  public:
    /// `irq0` is channel 0's output.
    I8254(Clock& clock, Bus& ports, IrqLine irq0);

    [[nodiscard]] std::string_view name() const override { return "i8254"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    [[nodiscard]] std::uint8_t read_port(unsigned port);
    void write_port(unsigned port, std::uint8_t value);
    void advance();
    void deliver_owed();
    void fire();
    void arm();

    Clock& clock_;
    IrqLine irq0_;
    Timer timer_;
    EdgePacer pacer_;
    std::array<I8254Channel, 3> channels_;
    std::uint8_t port_b_ = 0; // bits 3:0 of port 0x61
};

} // namespace escalus
