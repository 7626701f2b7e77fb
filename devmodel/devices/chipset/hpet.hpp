// SPDX-License-Identifier: GPL-2.0-or-later
// The high precision event timer: a 64-bit counter at 100 MHz and three comparators.
//
// Specification: IA-PC HPET (High Precision Event Timers) 1.0a.
// Memory: 1 KiB at 0xfed00000. Period 10,000,000 fs (0x989680).
// State: configuration, counter phase, per timer configuration, comparator, period and status.
// Matches are functions of guest time; a timer runs only while an enabled comparator could interrupt. A
// comparator that is set to a value just passed (less than `recent_past` ticks ago) fires at once instead of
// after a wrap: guests that arm it late under a hypervisor would hang for 43 s (32-bit mode) or for ever.
// See edge_pacer.hpp for what happens when the host is late.
// Missing: FSB (MSI) delivery, which is announced as not supported.
#pragma once

#include "devmodel/devices/chipset/edge_pacer.hpp"
#include "devmodel/devices/chipset/legacy_routing.hpp"
#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/irq_line.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace escalus {

class Hpet final : public Device, public BusDevice {
  public:
    static constexpr std::uint64_t mmio_base = 0xfed00000, mmio_size = 0x400;
    static constexpr unsigned timer_count = 3;
    static constexpr std::uint32_t period_fs = 10'000'000;
    static constexpr std::uint64_t recent_past = 10'000'000; ///< ticks: 100 ms

    /// Interrupts that are not routed to the legacy lines reach `io_apic` with the input number that the
    /// guest chose out of `routes` (a mask of I/O APIC inputs; give it inputs that nothing else drives).
    Hpet(Clock& clock, Bus& memory, LegacyRouting& legacy, IrqSink& io_apic, std::uint32_t routes);

    [[nodiscard]] std::string_view name() const override { return "hpet"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    struct Comparator {
        std::uint64_t config = 0;
        std::uint64_t value = 0;               // as the guest reads it
        std::uint64_t period = 0;              // periodic mode: what is added at each match
        bool accumulator_open = false;         // the low half was set by VAL_SET; the high half may follow
        std::optional<std::uint64_t> match_at; // tick (of hpet_oscillator) of the next match
        EdgePacer pacer;
        unsigned route = no_route; // where `line` goes
        IrqLine line;
    };
    static constexpr unsigned no_route = 0xff;

    [[nodiscard]] bool enabled() const;
    [[nodiscard]] std::uint64_t tick() const;
    [[nodiscard]] std::uint64_t counter() const;
    [[nodiscard]] std::uint64_t read_register(unsigned offset) const;
    void write_register(unsigned offset, std::uint64_t value, std::uint64_t mask);
    void write_config(std::uint64_t value);
    void write_timer_config(Comparator& timer, std::uint64_t value);
    void write_comparator(Comparator& timer, std::uint64_t value, std::uint64_t mask);

    enum class Past { FiresNow, Wraps };
    void schedule_match(Comparator& timer, Past past);
    void advance();
    void advance(unsigned index);
    void connect(unsigned index);
    void deliver_owed();
    void settle();
    void fire();

    Clock& clock_;
    LegacyRouting& legacy_;
    IrqSink& io_apic_;
    std::uint32_t routes_;
    Timer timer_;
    std::uint64_t config_ = 0;
    std::uint64_t status_ = 0;
    std::uint64_t counter_base_ = 0; // the counter while halted; while it runs, counter minus tick
    std::array<Comparator, timer_count> timers_;
};

} // namespace escalus
