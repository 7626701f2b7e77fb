// SPDX-License-Identifier: GPL-2.0-or-later
// The sixteen ISA interrupt wires of the pc machine: several sources may share one, and each reaches the 8259
// pair and the I/O APIC (where ISA interrupt 0 is input 2, as the MADT says).
#pragma once

#include "devmodel/devices/chipset/wired_or.hpp"
#include "devmodel/machine/irq_line.hpp"

#include <array>

namespace escalus {

class IsaInterrupts final : public IrqSink {
  public:
    /// `io_apic` may be null.
    void connect(IrqSink& pic, IrqSink* io_apic) {
        for (unsigned n = 0; n < wires_.size(); ++n) {
            fans_[n].connect(pic, n);
            if (io_apic != nullptr && n != 2)
                fans_[n].connect(*io_apic, n == 0 ? 2 : n);
            wires_[n].connect(IrqLine{fans_[n], 0});
            pci_[n] = wires_[n].add_source();
        }
    }
    /// A line for one more source.
    [[nodiscard]] IrqLine line(unsigned n) { return wires_.at(n).add_source(); }
    /// The PCI interrupt router's.
    void set_irq(unsigned n, bool level) override { pci_.at(n).set(level); }

  private:
    std::array<IrqFanOut, 16> fans_;
    std::array<WiredOr, 16> wires_;
    std::array<IrqLine, 16> pci_;
};

} // namespace escalus
