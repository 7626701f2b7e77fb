// SPDX-License-Identifier: GPL-2.0-or-later
// The MC146818A real-time clock with 128 bytes of CMOS memory, as in a PC/AT.
//
// Specification: Motorola MC146818A datasheet (ADI1019R1); 82371SB (PIIX3) datasheet, 2.5.8; the PC
// conventions for the century (0x32, and 0x37 as on PS/2). Ports: 0x70 (index, write-only; bit 7 masks NMI),
// 0x71 (data).
// State: the 128 bytes, the phase of the divider chain, which second the time registers show.
// The alarm, update and periodic flags are functions of guest time and are worked out when someone looks; a
// timer runs only while an enabled interrupt could come. The interrupt line rises when IRQF goes from 0 to 1
// and falls when register C is read, so periods that pass meanwhile are coalesced, as on the chip.
// Missing: square-wave output, daylight saving (its bit is stored), time bases other than 32.768 kHz.
#pragma once

#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/irq_line.hpp"
#include "devmodel/machine/port_notes.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace escalus {

class Mc146818 final : public Device, public BusDevice {
  public:
    static constexpr GuestTime uip_lead = 244'000; ///< UIP rises 244 us before an update

    struct Config {
        /// Wall-clock time at power-on as the guest shall see it: UNIX seconds, time zone and offset
        /// included.
        std::int64_t unix_seconds = 0;
        /// False when the guest is told (ACPI WAET, "RTC good") that it need not read register C: then every
        /// enabled event gives a new edge.
        bool interrupts_need_register_c = true;
    };

    /// `irq8` is the interrupt output.
    Mc146818(Clock& clock, Bus& ports, IrqLine irq8, const Config& config);

    /// The index only matters to what follows at the data port.
    static void leave_notes(PortNotes& notes);

    /// CMOS memory as firmware expects it (index 0x0e..0x7f, but not the century bytes). Kept over resets.
    void set_cmos(std::uint8_t index, std::uint8_t value);
    [[nodiscard]] std::uint8_t cmos(std::uint8_t index) const { return bytes_.at(index); }
    /// Port 0x70 bit 7.
    [[nodiscard]] bool nmi_masked() const { return nmi_masked_; }
    /// What the clock shows, as UNIX seconds.
    [[nodiscard]] std::int64_t unix_seconds();

    [[nodiscard]] std::string_view name() const override { return "mc146818"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    struct Date {
        std::int64_t days = 0; // since 1970-01-01
        std::int64_t second_of_day = 0;
        unsigned weekday = 1; // 1 is Sunday
    };
    [[nodiscard]] std::uint8_t read_register(std::uint8_t index);
    void write_register(std::uint8_t index, std::uint8_t value);
    void write_a(std::uint8_t value);
    void write_b(std::uint8_t value);

    [[nodiscard]] bool chain_runs() const;
    [[nodiscard]] bool updates_run() const;
    [[nodiscard]] std::int64_t second_index() const;
    [[nodiscard]] std::uint64_t periods_at(GuestTime time) const;
    /// Hertz of the periodic interrupt; 0 when there is none.
    [[nodiscard]] std::uint64_t periodic_rate() const;
    [[nodiscard]] std::uint8_t encode(unsigned value) const;
    [[nodiscard]] unsigned decode(std::uint8_t value) const;
    [[nodiscard]] std::uint8_t encode_hour(unsigned hour) const;
    [[nodiscard]] unsigned decode_hour(std::uint8_t value) const;
    [[nodiscard]] Date date() const;
    void set_date(const Date& date);
    [[nodiscard]] std::optional<std::int64_t> seconds_to_alarm(std::int64_t second_of_day) const;

    void set_format(std::uint8_t b);
    void advance();
    void settle_interrupt();
    void arm();
    void fire();

    Clock& clock_;
    IrqLine irq8_;
    Config config_;
    Timer timer_;
    std::array<std::uint8_t, 128> bytes_{};
    std::uint8_t index_ = 0;
    bool nmi_masked_ = false;
    GuestTime chain_base_ = 0;      // when the divider chain was 0
    std::int64_t shown_second_ = 0; // the second, counted from chain_base_, that the time registers show
    GuestTime advanced_to_ = 0;     // flags are right up to here
};

} // namespace escalus
