// SPDX-License-Identifier: GPL-2.0-or-later
// An interrupt line: a wire a device is given. The device does not know which controller, or which input,
// stands at its other end.
#pragma once

#include <cstddef>
#include <vector>

namespace escalus {

/// The receiving end: an interrupt controller or router. `input` is the number that the one who made the line
/// chose.
class IrqSink {
  public:
    virtual ~IrqSink() = default;
    virtual void set_irq(unsigned input, bool level) = 0;
};

class IrqLine {
  public:
    IrqLine() = default; // connected to nothing
    IrqLine(IrqSink& sink, unsigned input) : sink_{&sink}, input_{input} {}

    /// Only changes of level reach the sink.
    void set(bool level) {
        if (level == level_)
            return;
        level_ = level;
        if (sink_ != nullptr)
            sink_->set_irq(input_, level);
    }
    void raise() { set(true); }
    void lower() { set(false); }
    /// A rising edge, as edge-triggered sources (timers) give.
    void pulse() {
        set(false);
        set(true);
        set(false);
    }
    [[nodiscard]] bool level() const { return level_; }

  private:
    IrqSink* sink_ = nullptr;
    unsigned input_ = 0;
    bool level_ = false;
};

/// One wire to several sinks: an ISA interrupt reaches both the 8259 pair and the I/O APIC.
class IrqFanOut final : public IrqSink {
  public:
    void connect(IrqSink& sink, unsigned input) { outputs_.push_back({&sink, input}); }
    void set_irq(unsigned, bool level) override {
        for (auto& out : outputs_)
            out.sink->set_irq(out.input, level);
    }

  private:
    struct Output {
        IrqSink* sink;
        unsigned input;
    };
    std::vector<Output> outputs_;
};

} // namespace escalus
