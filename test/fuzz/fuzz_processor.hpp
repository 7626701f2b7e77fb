// SPDX-License-Identifier: GPL-2.0-or-later
// A processor for fuzz targets: a local APIC, and of the vCPU's loop what concerns it.
#pragma once

#include "devmodel/devices/chipset/i8259.hpp"
#include "devmodel/devices/chipset/local_apic.hpp"
#include "devmodel/machine/clock.hpp"
#include "test/fuzz/fuzz_input.hpp"

#include <array>

namespace escalus::fuzz {

class Processor final : private CpuSignals, private TscClock {
  public:
    Processor(Clock& clock, ApicBus& bus, std::uint32_t id)
        : apic{clock,
               this,
               bus,
               *this,
               {.id = id, .bootstrap = id == 0, .x2apic = true, .tsc_deadline = true}} {}

    /// What is due goes in service, one way or the other.
    void take(I8259Pair& pic) {
        if (apic.pic_interrupt_pending()) {
            static_cast<void>(pic.acknowledge());
            apic.pic_interrupt_taken();
        } else if (const auto vector = apic.pending_interrupt()) {
            if (*vector < 16) // Intel SDM volume 3, 11.5.2: vectors 0 to 15 are never accepted
                __builtin_trap();
            apic.accept(*vector);
        } else if (const auto held_back = apic.requested_interrupt()) {
            apic.offer(*held_back);
            apic.settle_offer((*held_back & 1) != 0);
        }
    }
    void msr(unsigned how, unsigned selector, Input& in) {
        constexpr std::array<std::uint32_t, 8> known{
            LocalApic::msr_apic_base, LocalApic::msr_tsc_deadline, 0x808, 0x80b, 0x80f, 0x830, 0x832, 0x838};
        const auto index = (how & 0x40) != 0 ? known[selector & 7] : LocalApic::msr_x2apic_first + selector;
        if ((how & 0x20) != 0) {
            static_cast<void>(apic.read_msr(index));
            return;
        }
        const auto low = in.dword();
        const auto high = (how & 0x10) != 0 ? in.dword() : 0;
        // Few values are taken as the base, and none is likely to come up.
        const bool base = index == LocalApic::msr_apic_base && (low & 1) != 0;
        const auto value = base ? 0xfee00000u | (low & 0x30c00u) : low | std::uint64_t{high} << 32;
        static_cast<void>(apic.write_msr(index, value));
        if ((low & 0x80) != 0)
            apic.set_cr8(static_cast<std::uint8_t>(low & 15));
    }

  private:
    void interrupt_pending() override {}
    void nmi() override {}
    void smi() override {}
    void init() override {}
    void startup(std::uint8_t) override {}
    [[nodiscard]] std::uint64_t tsc_at(GuestTime time) const override {
        return static_cast<std::uint64_t>(time) * 2;
    }
    [[nodiscard]] GuestTime time_of_tsc(std::uint64_t tsc) const override {
        return static_cast<GuestTime>(tsc / 2);
    }

  public:
    LocalApic apic;
};

} // namespace escalus::fuzz
