// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/apic_bus.hpp"

#include "devmodel/devices/chipset/local_apic.hpp"

namespace escalus {

namespace {

/// Who is next at lowest-priority delivery: the smallest priority, then the first from `turn` on.
class LowestPriority {
  public:
    explicit LowestPriority(std::uint32_t turn) : turn_{turn} {}
    void consider(LocalApic& apic, std::uint32_t position) {
        const std::uint32_t distance = position - turn_;
        const unsigned priority = apic.arbitration_priority();
        if (best_ != nullptr && (priority > priority_ || (priority == priority_ && distance > distance_)))
            return;
        best_ = &apic;
        priority_ = priority;
        distance_ = distance;
    }
    [[nodiscard]] LocalApic* best() const { return best_; }

  private:
    std::uint32_t turn_;
    LocalApic* best_ = nullptr;
    unsigned priority_ = 0;
    std::uint32_t distance_ = 0;
};

} // namespace

bool ApicBus::send(const ApicMessage& message) {
    if (message.delivery == ApicDelivery::LowestPriority) {
        LowestPriority choice{turn_ % static_cast<std::uint32_t>(apics_.empty() ? 1 : apics_.size())};
        for (std::uint32_t i = 0; i < apics_.size(); ++i)
            if (apics_[i]->accepts_fixed() && apics_[i]->matches(message))
                choice.consider(*apics_[i], i);
        if (choice.best() == nullptr)
            return false;
        ++turn_;
        return choice.best()->receive(message);
    }
    bool taken = false;
    for (LocalApic* apic : apics_)
        if (apic->matches(message))
            taken |= apic->receive(message);
    return taken;
}

bool ApicBus::send_ipi(LocalApic& from, ApicShorthand shorthand, const ApicMessage& message) {
    switch (shorthand) {
    case ApicShorthand::None:
        return send(message);
    case ApicShorthand::Self:
        return from.receive(message);
    default:
        break;
    }
    bool taken = false;
    for (LocalApic* apic : apics_)
        if (apic != &from || shorthand == ApicShorthand::All)
            taken |= apic->receive(message);
    return taken;
}

[[gnu::hot]] bool ApicBus::send_msi(std::uint64_t address, std::uint32_t data) {
    constexpr std::uint64_t logical = 1 << 2, redirection_hint = 1 << 3;
    ApicMessage message;
    message.delivery = static_cast<ApicDelivery>(data >> 8 & 7);
    message.vector = static_cast<std::uint8_t>(data);
    message.level = (data & 0x8000) != 0;
    message.destination = static_cast<std::uint8_t>(address >> 12);
    message.logical = (address & logical) != 0;
    // The hint asks for one receiver; physical destinations name one anyhow.
    if ((address & redirection_hint) != 0 && message.logical && message.delivery == ApicDelivery::Fixed)
        message.delivery = ApicDelivery::LowestPriority;
    return send(message);
}

void ApicBus::broadcast_eoi(std::uint8_t vector) {
    for (EoiSink* sink : eoi_sinks_)
        sink->eoi(vector);
}

} // namespace escalus
