// SPDX-License-Identifier: GPL-2.0-or-later
// The two cascaded 8259A interrupt controllers of a PC with the edge/level registers of the PIIX.
//
// Specification: Intel 8259A datasheet (231468-003); 82371SB (PIIX3) datasheet, 2.5.5 ICWs and OCWs, 2.5.6
// ELCR.
// Ports: 0x20-0x21 (master), 0xa0-0xa1 (slave, at the master's input 2), 0x4d0-0x4d1 (ELCR).
// State: IRR, ISR, IMR, input levels, initialization sequence, rotation, special mask, poll, AEOI, ELCR.
// Kept simpler: an edge is latched until it is acknowledged even when the input falls before that (the real
// part answers with a spurious IRQ 7 then; all hypervisors latch, and timers here give pulses). 8080/8085
// mode (ICW4 bit 0 clear) delivers as 8086 mode does. Buffered mode has no effect. ICW3 is read over: the
// cascade is wired to input 2. ICW1.LTIM has no effect, as in the PIIX: the ELCR decides for each input.
#pragma once

#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/irq_line.hpp"

#include <array>
#include <cstdint>

namespace escalus {

/// One 8259A. It knows nothing of its partner; the pair wires them.
class I8259 {
  public:
    explicit I8259(bool is_slave) : is_slave_{is_slave} {}

    void reset();
    void set_input(unsigned input, bool level);
    [[nodiscard]] std::uint8_t read(unsigned port);
    void write(unsigned port, std::uint8_t value);

    /// The INT pin.
    [[nodiscard]] bool interrupt_requested() const { return highest_request() != none; }
    /// An INTA cycle: the input that is acknowledged; input 7 when there is no request (spurious).
    unsigned acknowledge();
    [[nodiscard]] std::uint8_t vector(unsigned input) const {
        return static_cast<std::uint8_t>(vector_base_ | input);
    }
    /// The next read is a poll, and acknowledges.
    [[nodiscard]] bool polled() const { return poll_; }

    [[nodiscard]] std::uint8_t level_triggered() const { return elcr_; }
    void set_level_triggered(std::uint8_t mask) { elcr_ = mask; }

  private:
    static constexpr unsigned none = 8;

    /// The input with the highest priority that interrupts now, or `none`.
    [[nodiscard]] unsigned highest_request() const;
    /// How many inputs go before the first one of `bits`, in order of priority; `none` when there is none.
    [[nodiscard]] unsigned rank(std::uint8_t bits) const;
    [[nodiscard]] std::uint8_t requests() const;
    [[nodiscard]] std::uint8_t in_service() const;
    void start_initialization(std::uint8_t icw1);
    void write_ocw2(std::uint8_t value);
    void write_ocw3(std::uint8_t value);

    bool is_slave_;
    std::uint8_t inputs_ = 0;
    std::uint8_t irr_ = 0; // latched edges; level inputs count as long as they are high
    std::uint8_t isr_ = 0;
    std::uint8_t imr_ = 0;
    std::uint8_t elcr_ = 0;
    std::uint8_t vector_base_ = 0;
    std::uint8_t lowest_priority_ = 7;
    std::uint8_t next_icw_ = 0; // 2, 3 or 4 during initialization
    bool expects_icw4_ = false;
    bool single_ = false;
    bool auto_eoi_ = false;
    bool rotate_on_auto_eoi_ = false;
    bool special_mask_ = false;
    bool special_fully_nested_ = false;
    bool poll_ = false;
    bool read_isr_ = false;
};

class I8259Pair final : public Device, public BusDevice, public IrqSink {
  public:
    /// `intr` is the master's INT output: it goes to LINT0 of the local APICs and to I/O APIC input 0.
    I8259Pair(Bus& ports, IrqLine intr);

    /// ISA interrupts 0 to 15; input 2 is the cascade and is ignored.
    void set_irq(unsigned input, bool level) override;

    /// The processor's INTA cycle: the vector. Call it when the interrupt is really taken. Without a request
    /// it is the spurious vector (IRQ 7, or IRQ 15 when the slave's request vanished).
    std::uint8_t acknowledge();
    [[nodiscard]] bool interrupt_requested() const { return intr_.level(); }

    [[nodiscard]] std::string_view name() const override { return "i8259"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    void update();

    I8259 master_{false};
    I8259 slave_{true};
    IrqLine intr_;
};

} // namespace escalus
