// SPDX-License-Identifier: GPL-2.0-or-later
// A local APIC, xAPIC and x2APIC.
//
// Specification: Intel SDM volume 3, chapter 11; IA32_APIC_BASE in 11.4.4 and 11.12.1 with the transitions of
// 11.12.5. Version 0x14, six LVT entries, EOI broadcast suppression. Register page: 4 KiB, wherever
// IA32_APIC_BASE puts it, for this vCPU alone; so the machine routes accesses to read_mmio()/write_mmio().
// State: IRR, ISR, TMR, TPR, LDR, DFR, SVR, ESR, ICR, the LVT, LINT levels, the timer.
// Kept simpler: sending is immediate (ICR and LVT delivery status always read idle); no focus processor; APR
// and RRD read 0. Missing: CMCI; thermal and performance-counter entries are kept but nothing raises them but
// raise_performance_counter().
//
// How a vCPU's loop uses it, with the device lock held:
//   after an exit, before anything else:  apic.set_cr8(page.cr8)   (the guest writes CR8 without exits)
//   before entering:  page.cr8 = apic.cr8()   (it may have written the TPR register), then
//     if apic.pic_interrupt_pending():             (ExtINT goes first)
//         can take it: vector = pic.acknowledge(); apic.pic_interrupt_taken(); inject vector
//         else:        request an interrupt window
//     else if v = apic.pending_interrupt():
//         can take it: apic.accept(v); inject v
//         else:        request an interrupt window of priority v >> 4
//     else if v = apic.requested_interrupt():      (only the TPR holds it back)
//         request an interrupt window of priority v >> 4
// In place of such a window the CPU may be left to take v by itself: apic.offer(v), and settle_offer() after
// the exit. And if apic.end_can_wait(), the guest may end its interrupt without an exit: apic.let_end_wait(),
// and settle_end() after the exit, after settle_offer().
#pragma once

#include "devmodel/devices/chipset/apic_bus.hpp"
#include "devmodel/devices/chipset/apic_timer.hpp"
#include "devmodel/devices/chipset/vector_bitmap.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/irq_line.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace escalus {

/// What a local APIC asks of its processor. Calls come with the device lock held, from any thread.
class CpuSignals {
  public:
    virtual ~CpuSignals() = default;
    /// A maskable interrupt may have become deliverable: take the vCPU out of guest mode or out of HLT, and
    /// let it look at the APIC. Comes regardless of the TPR, since the guest may have changed CR8 unseen.
    virtual void interrupt_pending() = 0;
    virtual void nmi() = 0;
    virtual void smi() = 0;
    /// INIT: the vCPU goes to its INIT state and waits for SIPI. The APIC has reset itself already.
    virtual void init() = 0;
    /// SIPI: start at vector << 12 when waiting for it; else to be ignored.
    virtual void startup(std::uint8_t vector) = 0;
};

class LocalApic final : public Device, public IrqSink {
  public:
    static constexpr std::uint64_t default_base = 0xfee00000, mmio_size = 0x1000;
    static constexpr std::uint32_t msr_apic_base = 0x1b, msr_tsc_deadline = 0x6e0, msr_x2apic_first = 0x800,
                                   msr_x2apic_last = 0x8ff;
    enum Lint : unsigned { lint0 = 0, lint1 = 1 }; ///< inputs of set_irq()

    struct Config {
        std::uint32_t id = 0;
        bool bootstrap = false; ///< this is the bootstrap processor
        bool present = true;    ///< false: no APIC (`apic = 0`); INTR and NMI reach the processor directly
        bool x2apic = false;    ///< what CPUID offers
        bool tsc_deadline = false;
        unsigned physical_address_bits = 40;
    };

    /// `tsc` may be null when config.tsc_deadline is false.
    LocalApic(Clock& clock, const TscClock* tsc, ApicBus& bus, CpuSignals& signals, const Config& config);

    // --- the vCPU's loop
    /// The vector to inject next: the highest request above the processor priority.
    [[nodiscard]] std::optional<std::uint8_t> pending_interrupt() const;
    /// The highest request that in-service interrupts let through; the TPR may hold it back.
    [[nodiscard]] std::optional<std::uint8_t> requested_interrupt() const {
        return irr_.highest() == 0 ? std::nullopt : let_through(irr_.highest());
    }
    /// The processor takes the vector that pending_interrupt() gave: it goes in service.
    void accept(std::uint8_t vector);
    /// The CPU may take the vector by itself, that requested_interrupt() gave, until settle_offer(). The
    /// vector can be requested anew meanwhile, which makes two of it, as when the first has gone in service.
    void offer(std::uint8_t vector);
    /// What became of it; nothing when there was no offer, or a reset since.
    void settle_offer(bool taken) {
        if (offered_ != 0) [[unlikely]]
            put_offer(taken);
    }
    /// Whether nothing happens at the end of the interrupt in service, or on offer, but that it is no longer
    /// in service: no request waits for that, and it was edge-triggered.
    [[nodiscard]] bool end_can_wait() const {
        const auto in_service = isr_.highest();
        if (irr_.highest() != 0 || (in_service != 0) == (offered_ != 0))
            return false;
        return !tmr_.test(in_service != 0 ? in_service : offered_);
    }
    /// From now on it may have ended unseen, until settle_end(): each request is signalled.
    void let_end_wait() { end_waits_ = true; }
    /// What became of it; nothing when the APIC was reset since.
    void settle_end(bool ended);
    /// The 8259 pair has an interrupt for this processor (LINT0 as ExtINT, an ExtINT message, or no APIC).
    [[nodiscard]] bool pic_interrupt_pending() const {
        return (lint_[lint0] || ext_int_message_) && takes_pic_interrupt();
    }
    /// The INTA cycle was run.
    void pic_interrupt_taken() { ext_int_message_ = false; }
    [[nodiscard]] std::uint8_t cr8() const { return static_cast<std::uint8_t>(tpr_ >> 4); }
    /// MOV to CR8 clears the low bits of the TPR; a value that is there already is none.
    void set_cr8(std::uint8_t value) {
        if ((value & 15) != cr8())
            tpr_ = static_cast<std::uint8_t>((value & 15) << 4);
    }

    // --- registers
    /// Where the register page is; nothing when it is disabled or in x2APIC mode.
    [[nodiscard]] std::optional<std::uint64_t> mmio_base() const;
    /// `offset` counts from the page's start; an access must not leave the page.
    void read_mmio(std::uint64_t offset, std::span<std::uint8_t> data);
    void write_mmio(std::uint64_t offset, std::span<const std::uint8_t> data);
    /// IA32_APIC_BASE, IA32_TSC_DEADLINE and 0x800-0x8ff. No value, and false, mean #GP(0).
    [[nodiscard]] std::optional<std::uint64_t> read_msr(std::uint32_t index);
    [[nodiscard]] bool write_msr(std::uint32_t index, std::uint64_t value);
    [[nodiscard]] static bool owns_msr(std::uint32_t index) {
        return index == msr_apic_base || index == msr_tsc_deadline ||
               (index >= msr_x2apic_first && index <= msr_x2apic_last);
    }
    [[nodiscard]] std::uint64_t base_msr() const { return base_; }
    [[nodiscard]] std::uint32_t id() const { return config_.id; }
    /// The guest wrote its TSC (or TSC_ADJUST).
    void tsc_changed() { timer_.tsc_changed(); }

    // --- wires
    /// LINT0 (INTR of the 8259 pair) and LINT1 (NMI).
    void set_irq(unsigned input, bool level) override;
    void raise_performance_counter();

    // --- the bus
    [[nodiscard]] bool matches(const ApicMessage& message) const;
    /// Takes part in lowest-priority arbitration: enabled by hardware and software.
    [[nodiscard]] bool accepts_fixed() const;
    [[nodiscard]] std::uint8_t arbitration_priority() const { return processor_priority(); }
    /// False when it is not taken: disabled, or a reserved delivery mode.
    bool receive(const ApicMessage& message);

    [[nodiscard]] std::string_view name() const override { return "local-apic"; }
    /// Power-on and system reset. INIT, which keeps ID and IA32_APIC_BASE, comes as a message.
    void reset(ResetKind kind) override;

  private:
    enum LvtEntry : unsigned { timer, thermal, performance, lint_0, lint_1, error, lvt_count };

    [[nodiscard]] bool x2apic_mode() const;
    [[nodiscard]] bool hardware_enabled() const;
    void put_offer(bool taken);
    [[nodiscard]] bool takes_pic_interrupt() const;
    [[nodiscard]] std::optional<std::uint8_t> let_through(std::uint8_t vector) const;
    [[nodiscard]] bool software_enabled() const;
    [[nodiscard]] std::uint8_t processor_priority() const;
    [[nodiscard]] bool matches_logical(std::uint32_t destination) const;
    [[nodiscard]] std::uint32_t logical_id() const;
    void init_state();

    void request(std::uint8_t vector, bool level);
    void deliver_lvt(LvtEntry entry);
    void request_lint0_level();
    void end_of_interrupt();
    void report_error(std::uint32_t bit);

    // local_apic_registers.cpp; `index` is the register's offset / 16, or its MSR number - 0x800. No value,
    // and false, mean that there is no such register, or that the value is not one it takes.
    [[nodiscard]] std::optional<std::uint32_t> read_register(unsigned index);
    [[nodiscard]] bool write_register(unsigned index, std::uint32_t value);
    [[nodiscard]] bool write_x2apic(unsigned index, std::uint64_t value);
    [[nodiscard]] bool write_base(std::uint64_t value);
    [[nodiscard]] std::uint32_t lvt_writable(LvtEntry entry) const;
    void write_lvt(LvtEntry entry, std::uint32_t value);
    void write_svr(std::uint32_t value);
    void send_ipi();

    ApicBus& bus_;
    CpuSignals& signals_;
    Config config_;
    ApicTimer timer_;
    std::uint64_t base_ = 0; // IA32_APIC_BASE
    VectorBitmap irr_, isr_, tmr_;
    std::uint8_t offered_ = 0; // 0: none
    bool end_waits_ = false;
    std::array<std::uint32_t, lvt_count> lvt_{};
    std::uint8_t tpr_ = 0;
    std::uint32_t ldr_ = 0, dfr_ = 0, svr_ = 0;
    std::uint32_t esr_ = 0, pending_errors_ = 0;
    std::uint64_t icr_ = 0; // the destination is in the high half, as the mode's register has it
    std::array<bool, 2> lint_{};
    bool ext_int_message_ = false;
};

} // namespace escalus
