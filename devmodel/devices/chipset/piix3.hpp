// SPDX-License-Identifier: GPL-2.0-or-later
// Intel 82371SB (PIIX3) PCI-to-ISA bridge, function 0: datasheet 290550-002.
//
// Modelled: the interrupt router (PIRQRC[A:D], 0x60..0x63), which ties the four PCI INTx wires to ISA
// interrupts, several to one if asked; the reset control register (port 0xcf9, reached through the host
// bridge); the other configuration registers as registers. The INTx wires swizzle as on every PC board:
// device d, pin p drives PIRQ (d - 1 + p - 1) mod 4.
// State: the configuration space, the level of each wire.
//
// Missing: X-bus chip selects, distributed DMA, the port 0xb2 SMI logic (see piix4_pm).
#pragma once

#include "devmodel/devices/chipset/wired_or.hpp"
#include "devmodel/machine/pci.hpp"

#include <array>
#include <functional>

namespace escalus {

class Piix3 final : public PciFunction {
  public:
    /// `isa_irqs` is set_irq(n) for ISA interrupt n when PCI asserts or releases it. `reset` resets the
    /// machine: it is called from within a guest access and must not act before that access is done.
    /// Plug it at 01.0.
    Piix3(PciSpaces spaces, IrqSink& isa_irqs, std::function<void()> reset);

    /// The interrupt wire for a PCI function: `pin` is 1..4 (INTA..INTD). One call for each function.
    [[nodiscard]] IrqLine intx_line(unsigned device, unsigned pin);

    /// Port 0xcf9.
    [[nodiscard]] std::uint8_t reset_control() const { return reset_control_; }
    void write_reset_control(std::uint8_t value);

    [[nodiscard]] std::string_view name() const override { return "piix3"; }
    void reset(ResetKind kind) override;
    void config_write(unsigned offset, std::span<const std::uint8_t> data) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    /// Receives the four wired INTx wires.
    struct Router final : IrqSink {
        explicit Router(Piix3& owner) : bridge{owner} {}
        void set_irq(unsigned, bool) override { bridge.route(); }
        Piix3& bridge;
    };
    void route();

    Router router_{*this};
    std::array<WiredOr, 4> wires_;
    std::array<IrqLine, 16> isa_irqs_;
    std::function<void()> request_reset_;
    std::uint8_t reset_control_ = 0;
};

} // namespace escalus
