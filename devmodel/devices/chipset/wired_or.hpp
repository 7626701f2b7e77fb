// SPDX-License-Identifier: GPL-2.0-or-later
// Several sources on one wire: the wire is up while any of them is. This is how PCI functions share an INTx
// wire, and how a PCI interrupt and an ISA device can share one input of the interrupt controllers.
#pragma once

#include "devmodel/machine/irq_line.hpp"

#include <vector>

namespace escalus {

class WiredOr final : public IrqSink {
  public:
    WiredOr() = default;
    explicit WiredOr(IrqLine output) : output_{output} {}
    WiredOr(const WiredOr&) = delete; // the lines handed out point here
    WiredOr& operator=(const WiredOr&) = delete;

    void connect(IrqLine output) {
        output_ = output;
        output_.set(asserted_ != 0);
    }
    /// A line for one more source. It must not outlive this object.
    [[nodiscard]] IrqLine add_source() {
        levels_.push_back(false);
        return IrqLine{*this, static_cast<unsigned>(levels_.size() - 1)};
    }
    [[nodiscard]] bool level() const { return asserted_ != 0; }

    void set_irq(unsigned source, bool level) override {
        if (levels_.at(source) == level)
            return;
        levels_[source] = level;
        asserted_ += level ? 1 : -1;
        output_.set(asserted_ != 0);
    }

  private:
    IrqLine output_;
    std::vector<bool> levels_;
    int asserted_ = 0;
};

} // namespace escalus
