// SPDX-License-Identifier: GPL-2.0-or-later
// Intel 82371AB (PIIX4) power management and SMBus, function 3: datasheet 290562-001; ACPI specification
// section 4.8 for the fixed registers.
//
// Modelled: PMBASE with PM1 status, enable and control, the PM timer (acpi_pm_timer), GPE0 status and enable
// and the global registers as registers; the APM ports 0xb2/0xb3 with the ACPI enable and disable commands;
// the system control interrupt; the power button; soft off (S5) through SLP_EN; the SMBus host controller, on
// whose bus nobody answers. State: these registers and the configuration space.
//
// Missing: SMM (so no SMI of any kind), device traps, clock control, suspend to RAM or disk.
#pragma once

#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/pci.hpp"

#include <cstdint>
#include <functional>

namespace escalus {

class AcpiPmTimer;

class Piix4Pm final : public PciFunction {
  public:
    static constexpr std::uint8_t acpi_enable_command = 0xf1, acpi_disable_command = 0xf0;

    struct Wiring {
        IrqLine sci;                     ///< ISA interrupt 9, level
        std::function<void()> power_off; ///< the guest entered S5; called from within a guest access
    };
    /// `timer` is this chip's PM timer, not registered on a bus. Plug it at 01.3.
    Piix4Pm(PciSpaces spaces, Clock& clock, AcpiPmTimer& timer, Wiring wiring);
    ~Piix4Pm() override;

    /// The user pressed the power button. A guest without ACPI does not notice.
    void press_power_button();
    /// The guest took over power management (SCI_EN).
    [[nodiscard]] bool acpi_enabled() const { return (control_ & 1) != 0; }

    [[nodiscard]] std::string_view name() const override { return "piix4-pm"; }
    void reset(ResetKind kind) override;
    void config_write(unsigned offset, std::span<const std::uint8_t> data) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    [[nodiscard]] std::uint32_t read_pm(unsigned dword);
    void write_pm(unsigned word, std::uint16_t value, std::uint16_t mask);
    void write_control(std::uint16_t value);
    [[nodiscard]] std::uint8_t read_smbus(unsigned offset) const;
    void write_smbus(unsigned offset, std::uint8_t value);
    void write_apm(unsigned offset, std::uint8_t value);
    void place_blocks();
    void move_block(std::uint64_t& where, std::uint64_t wanted, std::uint64_t size, unsigned region);
    void note_timer_overflow();
    void update_sci();

    Bus& ports_;
    AcpiPmTimer& pm_timer_;
    Wiring wiring_;
    Timer overflow_; // the PM timer's top bit changes
    std::uint64_t seen_toggles_ = 0;
    std::uint64_t pm_base_ = 0;
    std::uint64_t smbus_base_ = 0;
    std::uint16_t status_ = 0;
    std::uint16_t enable_ = 0;
    std::uint16_t control_ = 0;
    std::uint16_t gpe_status_ = 0;
    std::uint16_t gpe_enable_ = 0;
    std::uint8_t apm_command_ = 0;
    std::uint8_t apm_status_ = 0;
    std::array<std::uint8_t, 64> pm_registers_{}; // those without a function
    std::array<std::uint8_t, 16> smbus_registers_{};
};

} // namespace escalus
