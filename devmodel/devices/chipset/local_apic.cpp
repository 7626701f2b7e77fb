// SPDX-License-Identifier: GPL-2.0-or-later
// Interrupts: requests, priorities, delivery. The registers are in local_apic_registers.cpp.
#include "devmodel/devices/chipset/local_apic.hpp"

#include "devmodel/devices/chipset/local_apic_bits.hpp"

#include <utility>

namespace escalus {

using namespace apic;

LocalApic::LocalApic(Clock& clock, const TscClock* tsc, ApicBus& bus, CpuSignals& signals,
                     const Config& config)
    : bus_{bus}, signals_{signals}, config_{config}, timer_{clock, tsc, [this] { deliver_lvt(timer); }} {
    bus.attach(*this);
    reset(ResetKind::PowerOn);
}

void LocalApic::reset(ResetKind) {
    base_ = config_.present ? default_base | base_enable | (config_.bootstrap ? base_bootstrap : 0) : 0;
    init_state();
}

/// The state after power-on, and after INIT (11.4.7.1 and 11.4.7.3). The wires keep their levels.
void LocalApic::init_state() {
    irr_ = isr_ = tmr_ = {};
    offered_ = 0;
    end_waits_ = false;
    lvt_.fill(lvt_masked);
    tpr_ = 0;
    ldr_ = 0;
    dfr_ = 0xffffffff;
    svr_ = 0xff;
    esr_ = pending_errors_ = 0;
    icr_ = 0;
    ext_int_message_ = false;
    timer_.reset();
}

bool LocalApic::hardware_enabled() const {
    return (base_ & base_enable) != 0;
}
bool LocalApic::x2apic_mode() const {
    return (base_ & base_x2apic) != 0;
}
bool LocalApic::software_enabled() const {
    return (svr_ & svr_enable) != 0;
}
bool LocalApic::accepts_fixed() const {
    return hardware_enabled() && software_enabled();
}

// --- priorities

std::uint8_t LocalApic::processor_priority() const {
    const std::uint8_t in_service = isr_.highest();
    return tpr_ >> 4 >= in_service >> 4 ? tpr_ : in_service & 0xf0;
}

[[gnu::hot]] std::optional<std::uint8_t> LocalApic::let_through(std::uint8_t vector) const {
    // Requests outlive a software disable (11.4.7.2), so that is not asked here.
    if (!hardware_enabled() || vector >> 4 <= isr_.highest() >> 4)
        return std::nullopt;
    return vector;
}

[[gnu::hot]] std::optional<std::uint8_t> LocalApic::pending_interrupt() const {
    const auto vector = requested_interrupt();
    return vector && *vector >> 4 > tpr_ >> 4 ? vector : std::nullopt;
}

void LocalApic::accept(std::uint8_t vector) {
    irr_.set(vector, false);
    isr_.set(vector, true);
}

void LocalApic::offer(std::uint8_t vector) {
    irr_.set(vector, false);
    offered_ = vector;
}

void LocalApic::put_offer(bool taken) {
    (taken ? isr_ : irr_).set(std::exchange(offered_, std::uint8_t{0}), true);
}

[[gnu::hot]] void LocalApic::request(std::uint8_t vector, bool level) {
    if (vector < 16) {
        report_error(error_receive_vector);
        return;
    }
    irr_.set(vector, true);
    tmr_.set(vector, level);
    if (requested_interrupt() || end_waits_)
        signals_.interrupt_pending();
}

void LocalApic::settle_end(bool ended) {
    if (std::exchange(end_waits_, false) && ended)
        end_of_interrupt();
}

void LocalApic::end_of_interrupt() {
    const std::uint8_t vector = isr_.highest();
    if (vector == 0)
        return;
    isr_.set(vector, false);
    if (!tmr_.test(vector))
        return;
    std::uint32_t& lint = lvt_[lint_0];
    if ((lint & lvt_remote_irr) != 0 && (lint & lvt_vector) == vector) {
        lint &= ~lvt_remote_irr;
        request_lint0_level();
    }
    if ((svr_ & svr_no_eoi_broadcast) == 0)
        bus_.broadcast_eoi(vector);
}

void LocalApic::report_error(std::uint32_t bit) {
    if ((pending_errors_ & bit) != 0)
        return; // and so an error entry with an illegal vector cannot report itself for ever
    pending_errors_ |= bit;
    deliver_lvt(error);
}

// --- local interrupts

void LocalApic::deliver_lvt(LvtEntry entry) {
    const std::uint32_t lvt = lvt_.at(entry);
    if (!hardware_enabled() || (lvt & lvt_masked) != 0)
        return;
    if (entry == performance)
        lvt_.at(entry) |= lvt_masked; // 11.5.1: set by the delivery
    // The timer and the error entry have no delivery mode: fixed.
    switch (static_cast<ApicDelivery>((lvt & lvt_delivery) >> lvt_delivery_shift)) {
    case ApicDelivery::Fixed:
        request(static_cast<std::uint8_t>(lvt & lvt_vector), false);
        break;
    case ApicDelivery::Smi:
        signals_.smi();
        break;
    case ApicDelivery::Nmi:
        signals_.nmi();
        break;
    case ApicDelivery::Init:
        init_state();
        signals_.init();
        break;
    case ApicDelivery::ExtInt:
        signals_.interrupt_pending();
        break;
    default: // reserved in an LVT entry
        break;
    }
}

void LocalApic::raise_performance_counter() {
    deliver_lvt(performance);
}

/// LINT0 as a level-triggered fixed interrupt: one is in flight until its EOI.
void LocalApic::request_lint0_level() {
    std::uint32_t& lvt = lvt_[lint_0];
    if (!lint_[lint0] || !hardware_enabled() || (lvt & (lvt_masked | lvt_remote_irr | lvt_delivery)) != 0 ||
        (lvt & lvt_level) == 0)
        return;
    lvt |= lvt_remote_irr;
    request(static_cast<std::uint8_t>(lvt & lvt_vector), true);
}

void LocalApic::set_irq(unsigned input, bool level) {
    if (input > lint1)
        return;
    const bool rises = level && !lint_.at(input);
    lint_.at(input) = level;
    if (!rises)
        return;
    if (!hardware_enabled()) { // the pins are INTR and NMI (11.4.3)
        if (input == lint0)
            signals_.interrupt_pending();
        else
            signals_.nmi();
        return;
    }
    const std::uint32_t lvt = lvt_[lint_0];
    if (input == lint0 && (lvt & lvt_level) != 0 && (lvt & lvt_delivery) == 0)
        request_lint0_level();
    else
        deliver_lvt(input == lint0 ? lint_0 : lint_1); // LINT1 is always edge-sensitive (11.5.1)
}

[[gnu::hot]] bool LocalApic::takes_pic_interrupt() const {
    if (!hardware_enabled())
        return lint_[lint0];
    constexpr auto ext_int = static_cast<std::uint32_t>(ApicDelivery::ExtInt) << lvt_delivery_shift;
    const bool wired = (lvt_[lint_0] & (lvt_delivery | lvt_masked)) == ext_int;
    return ext_int_message_ || (wired && lint_[lint0]);
}

// --- messages

std::uint32_t LocalApic::logical_id() const {
    if (x2apic_mode()) // derived from the ID (11.12.10.2)
        return config_.id >> 4 << 16 | 1u << (config_.id & 15);
    return ldr_ >> 24;
}

bool LocalApic::matches_logical(std::uint32_t destination) const {
    const std::uint32_t own = logical_id();
    if (x2apic_mode())
        return destination >> 16 == own >> 16 && (destination & own & 0xffff) != 0;
    if (destination > 0xff)
        return false;
    if (dfr_ >> 28 == 0xf) // flat model
        return (destination & own) != 0;
    return destination >> 4 == own >> 4 && (destination & own & 0xf) != 0; // cluster model
}

bool LocalApic::matches(const ApicMessage& message) const {
    if (!hardware_enabled())
        return false;
    if (message.destination == (message.wide ? 0xffffffff : 0xff))
        return true;
    return message.logical ? matches_logical(message.destination) : message.destination == config_.id;
}

bool LocalApic::receive(const ApicMessage& message) {
    if (!hardware_enabled())
        return false;
    switch (message.delivery) {
    case ApicDelivery::Fixed:
    case ApicDelivery::LowestPriority:
        if (!software_enabled())
            return false;
        request(message.vector, message.level);
        return true;
    case ApicDelivery::Smi:
        signals_.smi();
        return true;
    case ApicDelivery::Nmi:
        signals_.nmi();
        return true;
    case ApicDelivery::Init:
        init_state();
        signals_.init();
        return true;
    case ApicDelivery::Startup:
        signals_.startup(message.vector);
        return true;
    case ApicDelivery::ExtInt:
        if (!software_enabled())
            return false;
        ext_int_message_ = true;
        signals_.interrupt_pending();
        return true;
    default: // 3 is reserved
        return false;
    }
}

} // namespace escalus
