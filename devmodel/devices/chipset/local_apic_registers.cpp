// SPDX-License-Identifier: GPL-2.0-or-later
// The register file of the local APIC: MMIO page (xAPIC) and MSRs (x2APIC).
#include "devmodel/devices/chipset/local_apic.hpp"
#include "devmodel/devices/chipset/local_apic_bits.hpp"

#include <algorithm>

namespace escalus {

using namespace apic;

namespace {

constexpr std::uint32_t version = 0x14;

constexpr std::uint32_t icr_vector = 0xff, icr_logical = 0x800, icr_assert = 0x4000, icr_level = 0x8000;
constexpr std::uint32_t icr_writable = 0xccfff, icr_x2apic_reserved = ~icr_writable;
constexpr unsigned icr_delivery_shift = 8, icr_shorthand_shift = 18;

bool has_bits_outside(std::uint64_t value, std::uint64_t allowed) {
    return (value & ~allowed) != 0;
}

} // namespace

// --- what both interfaces share

std::optional<std::uint32_t> LocalApic::read_register(unsigned index) {
    if (index >= reg_isr && index < reg_isr + 24) {
        const VectorBitmap& bitmap = index < reg_tmr ? isr_ : index < reg_irr ? tmr_ : irr_;
        return bitmap.word(index % 8);
    }
    if (index >= reg_lvt_timer && index <= reg_lvt_error)
        return lvt_.at(index - reg_lvt_timer);
    switch (index) {
    case reg_id:
        return x2apic_mode() ? config_.id : config_.id << 24;
    case reg_version: // EOI broadcast suppression, highest LVT entry, version
        return 1u << 24 | (lvt_count - 1) << 16 | version;
    case reg_tpr:
        return tpr_;
    case reg_ppr:
        return processor_priority();
    case reg_ldr:
        return x2apic_mode() ? logical_id() : ldr_;
    case reg_svr:
        return svr_;
    case reg_esr:
        return esr_;
    case reg_icr:
        return static_cast<std::uint32_t>(icr_);
    case reg_initial_count:
        return timer_.initial_count();
    case reg_current_count:
        return timer_.current_count();
    case reg_divide:
        return timer_.divide();
    default:
        break;
    }
    if (x2apic_mode())
        return std::nullopt;
    switch (index) {
    case reg_apr:
    case reg_eoi:
    case reg_rrd:
        return 0;
    case reg_dfr:
        return dfr_;
    case reg_icr_high:
        return static_cast<std::uint32_t>(icr_ >> 32);
    default:
        return std::nullopt;
    }
}

bool LocalApic::write_register(unsigned index, std::uint32_t value) {
    if (index >= reg_lvt_timer && index <= reg_lvt_error) {
        write_lvt(static_cast<LvtEntry>(index - reg_lvt_timer), value);
        return true;
    }
    switch (index) {
    case reg_tpr:
        tpr_ = static_cast<std::uint8_t>(value);
        return true;
    case reg_eoi:
        end_of_interrupt();
        return true;
    case reg_svr:
        write_svr(value);
        return true;
    case reg_esr: // a write shows what was collected since the last one (11.5.3)
        esr_ = pending_errors_;
        pending_errors_ = 0;
        return true;
    case reg_initial_count:
        timer_.set_initial_count(value);
        return true;
    case reg_divide:
        timer_.set_divide(value);
        return true;
    default:
        return false;
    }
}

std::uint32_t LocalApic::lvt_writable(LvtEntry entry) const {
    switch (entry) {
    case timer:
        return lvt_vector | lvt_masked | (config_.tsc_deadline ? 3u : 1u) << lvt_timer_mode_shift;
    case thermal:
    case performance:
        return lvt_vector | lvt_delivery | lvt_masked;
    case lint_0:
    case lint_1:
        return lvt_vector | lvt_delivery | lvt_polarity | lvt_level | lvt_masked;
    default:
        return lvt_vector | lvt_masked;
    }
}

void LocalApic::write_lvt(LvtEntry entry, std::uint32_t value) {
    std::uint32_t& lvt = lvt_.at(entry);
    const std::uint32_t old = lvt;
    lvt = value & lvt_writable(entry);
    if (!software_enabled())
        lvt |= lvt_masked; // and it cannot be cleared (11.4.7.2)
    if (entry == timer) {
        timer_.set_mode(static_cast<ApicTimer::Mode>(lvt >> lvt_timer_mode_shift & 3),
                        (lvt & lvt_masked) != 0);
        return;
    }
    if (entry != lint_0)
        return;
    if ((lvt & lvt_level) != 0 && (lvt & lvt_delivery) == 0)
        lvt |= old & lvt_remote_irr;
    request_lint0_level();
    if (pic_interrupt_pending())
        signals_.interrupt_pending();
}

void LocalApic::write_svr(std::uint32_t value) {
    svr_ = value & (0xff | svr_enable | svr_no_focus | svr_no_eoi_broadcast);
    if (software_enabled())
        return;
    for (std::uint32_t& lvt : lvt_)
        lvt |= lvt_masked;
    timer_.set_mode(static_cast<ApicTimer::Mode>(lvt_[timer] >> lvt_timer_mode_shift & 3), true);
}

/// Acts on the ICR (11.6.1).
void LocalApic::send_ipi() {
    const auto low = static_cast<std::uint32_t>(icr_);
    ApicMessage message;
    message.delivery = static_cast<ApicDelivery>(low >> icr_delivery_shift & 7);
    message.vector = static_cast<std::uint8_t>(low & icr_vector);
    message.logical = (low & icr_logical) != 0;
    message.wide = x2apic_mode();
    message.destination = static_cast<std::uint32_t>(icr_ >> (x2apic_mode() ? 32 : 56));
    const auto shorthand = static_cast<ApicShorthand>(low >> icr_shorthand_shift & 3);

    switch (message.delivery) {
    case ApicDelivery::Init:
        // The de-assert form only sets arbitration IDs, and not even that since the Pentium 4.
        if ((low & (icr_level | icr_assert)) == icr_level)
            return;
        break;
    case ApicDelivery::Fixed:
    case ApicDelivery::LowestPriority:
        if (message.vector < 16) {
            report_error(error_send_vector);
            return;
        }
        break;
    case ApicDelivery::Smi:
    case ApicDelivery::Nmi:
    case ApicDelivery::Startup:
        break;
    default: // ExtINT and 3 are reserved in the ICR
        return;
    }
    if (shorthand == ApicShorthand::Self && message.delivery != ApicDelivery::Fixed)
        return; // not a valid combination (table 11-3)
    bus_.send_ipi(*this, shorthand, message);
}

// --- xAPIC: the register page

std::optional<std::uint64_t> LocalApic::mmio_base() const {
    if (!hardware_enabled() || x2apic_mode())
        return std::nullopt;
    return base_ & ~(mmio_size - 1);
}

/// Registers are 32 bits wide and 16 bytes apart. Narrower reads inside one, which are undefined (11.4.1),
/// give its bytes, as processors do; the bytes between registers read 0.
void LocalApic::read_mmio(std::uint64_t offset, std::span<std::uint8_t> data) {
    if (!mmio_base()) {
        std::ranges::fill(data, std::uint8_t{0xff});
        return;
    }
    std::uint32_t value = 0;
    if ((offset & 15) < 4) {
        const auto index = static_cast<unsigned>(offset >> 4);
        const auto known = read_register(index);
        if (!known)
            report_error(error_register);
        value = known.value_or(0);
    }
    for (std::size_t i = 0; i < data.size(); ++i) {
        const std::size_t byte = (offset & 15) + i;
        data[i] = static_cast<std::uint8_t>(byte < 4 ? value >> 8 * byte : 0);
    }
}

/// Takes 32-bit writes (and the low half of wider ones) at a register; others, which are undefined, are
/// dropped.
void LocalApic::write_mmio(std::uint64_t offset, std::span<const std::uint8_t> data) {
    if (!mmio_base() || data.size() < 4 || (offset & 15) != 0)
        return;
    const std::uint32_t value =
        data[0] | std::uint32_t{data[1]} << 8 | std::uint32_t{data[2]} << 16 | std::uint32_t{data[3]} << 24;
    const auto index = static_cast<unsigned>(offset >> 4);
    switch (index) {
    case reg_ldr:
        ldr_ = value & 0xff000000;
        return;
    case reg_dfr:
        dfr_ = value | 0x0fffffff;
        return;
    case reg_icr:
        icr_ = (icr_ & 0xffffffff00000000) | (value & icr_writable);
        send_ipi();
        return;
    case reg_icr_high:
        icr_ = (icr_ & 0xffffffff) | std::uint64_t{value & 0xff000000} << 32;
        return;
    default:
        break;
    }
    const bool known = write_register(index, value) || read_register(index).has_value(); // or read-only
    if (!known)
        report_error(error_register);
}

// --- MSRs

std::optional<std::uint64_t> LocalApic::read_msr(std::uint32_t index) {
    if (!config_.present)
        return std::nullopt;
    if (index == msr_apic_base)
        return base_;
    if (index == msr_tsc_deadline)
        return config_.tsc_deadline ? std::optional{timer_.tsc_deadline()} : std::nullopt;
    if (!x2apic_mode() || index < msr_x2apic_first || index > msr_x2apic_last)
        return std::nullopt;
    const unsigned reg = index - msr_x2apic_first;
    if (reg == reg_icr)
        return icr_;
    const auto value = read_register(reg);
    return value ? std::optional<std::uint64_t>{*value} : std::nullopt;
}

bool LocalApic::write_msr(std::uint32_t index, std::uint64_t value) {
    if (!config_.present)
        return false;
    if (index == msr_apic_base)
        return write_base(value);
    if (index == msr_tsc_deadline) {
        if (config_.tsc_deadline)
            timer_.set_tsc_deadline(value);
        return config_.tsc_deadline;
    }
    if (!x2apic_mode() || index < msr_x2apic_first || index > msr_x2apic_last)
        return false;
    return write_x2apic(index - msr_x2apic_first, value);
}

/// Unlike the page, MSRs refuse reserved bits (11.12.1.3).
bool LocalApic::write_x2apic(unsigned index, std::uint64_t value) {
    if (index == reg_icr) {
        if ((value & icr_x2apic_reserved) != 0)
            return false;
        icr_ = value;
        send_ipi();
        return true;
    }
    if (index == reg_self_ipi) {
        if (has_bits_outside(value, 0xff))
            return false;
        const auto vector = static_cast<std::uint8_t>(value);
        if (vector < 16)
            report_error(error_send_vector);
        else if (software_enabled())
            request(vector, false);
        return true;
    }
    std::uint64_t allowed = 0xffffffff;
    if (index == reg_eoi || index == reg_esr)
        allowed = 0;
    else if (index == reg_tpr)
        allowed = 0xff;
    else if (index == reg_svr)
        allowed = 0xff | svr_enable | svr_no_focus | svr_no_eoi_broadcast;
    else if (index == reg_divide)
        allowed = 0xb;
    else if (index >= reg_lvt_timer && index <= reg_lvt_error) // delivery status and remote IRR: read-only
        allowed = lvt_writable(static_cast<LvtEntry>(index - reg_lvt_timer)) | lvt_remote_irr | 0x1000;
    if (has_bits_outside(value, allowed))
        return false;
    return write_register(index, static_cast<std::uint32_t>(value));
}

/// IA32_APIC_BASE with the transitions of 11.12.5: x2APIC mode is entered from xAPIC mode only, and left for
/// "disabled" only.
bool LocalApic::write_base(std::uint64_t value) {
    const std::uint64_t address_bits = ((1ull << config_.physical_address_bits) - 1) & ~(mmio_size - 1);
    const std::uint64_t allowed =
        address_bits | base_bootstrap | base_enable | (config_.x2apic ? base_x2apic : 0);
    if (has_bits_outside(value, allowed))
        return false;
    const bool enable = (value & base_enable) != 0, extended = (value & base_x2apic) != 0;
    if (extended && (!enable || !hardware_enabled()))
        return false;
    if (x2apic_mode() && enable && !extended)
        return false;
    const bool was_x2apic = x2apic_mode();
    const bool disables = hardware_enabled() && !enable;
    base_ = value;
    if (disables)
        init_state(); // the registers lose their contents (11.4.3)
    else if (extended && !was_x2apic)
        icr_ = 0;
    if (pic_interrupt_pending()) // LINT0 may have become INTR
        signals_.interrupt_pending();
    return true;
}

} // namespace escalus
