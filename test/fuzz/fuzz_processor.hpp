// SPDX-License-Identifier: GPL-2.0-or-later
// A processor for fuzz targets: a local APIC, KVM's interface, and of the vCPU's loop what concerns them.
#pragma once

#include "devmodel/devices/chipset/i8259.hpp"
#include "devmodel/devices/chipset/local_apic.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/kvm_interface.hpp"
#include "test/fuzz/fuzz_input.hpp"

#include <array>

namespace escalus::fuzz {

class Processor final : private CpuSignals, private TscClock {
  public:
    Processor(Clock& clock, ApicBus& bus, GuestMemory& memory, std::uint32_t id)
        : memory_{memory},
          apic{clock,
               this,
               bus,
               *this,
               {.id = id, .bootstrap = id == 0, .x2apic = true, .tsc_deadline = true}},
          kvm{clock,
              *this,
              memory,
              apic,
              [] { return std::int64_t{0}; },
              {KvmInterface::features(true), 2'000'000'000}} {}

    /// What is due goes in service, one way or the other.
    void take(I8259Pair& pic) {
        if (++turns_ % 2 != 0) // the guest has ended its interrupt meanwhile
            memory_.write(GuestPhys{kvm.read_msr(KvmInterface::msr_end_of_interrupt).value_or(0) & ~3ull},
                          std::array<std::uint8_t, 4>{});
        kvm.after_exit();
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
        kvm.before_entry();
    }
    void msr(unsigned how, unsigned selector, Input& in) {
        constexpr std::array<std::uint32_t, 8> known{
            LocalApic::msr_apic_base, LocalApic::msr_tsc_deadline, 0x808, 0x80b, 0x80f, 0x830, 0x832, 0x838};
        const auto index = (how & 0x40) != 0  ? known[selector & 7]
                           : selector >= 0xf0 ? KvmInterface::msr_wall_clock + (selector & 7)
                                              : LocalApic::msr_x2apic_first + selector;
        if ((how & 0x20) != 0) {
            static_cast<void>(KvmInterface::owns_msr(index) ? kvm.read_msr(index) : apic.read_msr(index));
            return;
        }
        const auto low = in.dword();
        const auto high = (how & 0x10) != 0 ? in.dword() : 0;
        // Few values are taken as the base, and none is likely to come up.
        const bool base = index == LocalApic::msr_apic_base && (low & 1) != 0;
        const auto value = base ? 0xfee00000u | (low & 0x30c00u) : low | std::uint64_t{high} << 32;
        static_cast<void>(KvmInterface::owns_msr(index) ? kvm.write_msr(index, value)
                                                        : apic.write_msr(index, value));
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

    GuestMemory& memory_;
    unsigned turns_ = 0;

  public:
    LocalApic apic;
    KvmInterface kvm;
};

} // namespace escalus::fuzz
