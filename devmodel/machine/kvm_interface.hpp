// SPDX-License-Identifier: GPL-2.0-or-later
// What a vCPU offers of KVM's paravirtual interface, which Linux and the BSDs look for: a clock that is read
// from memory and tells the rate of the TSC, an end of interrupt that is noted in memory instead of written
// to the APIC, and that port 0x80 delays nothing. A guest that does not ask for it sees a computer without
// it.
//
// Specification: Linux, Documentation/virt/kvm/x86/cpuid.rst and msr.rst; arch/x86/include/asm/pvclock-abi.h.
// MSRs: 0x4b564d00 (wall clock), 0x4b564d01 (system time), 0x4b564d04 (end of interrupt).
// State: the addresses that the guest gave; whether it was told that its end of interrupt may wait.
// The first clock's MSRs (0x11, 0x12) are not offered. Missing: asynchronous page faults, stolen time,
// hypercalls.
#pragma once

#include "devmodel/devices/chipset/local_apic.hpp"
#include "devmodel/machine/guest_memory.hpp"

#include <cstdint>
#include <functional>
#include <optional>

namespace escalus {

class KvmInterface {
  public:
    static constexpr std::uint32_t msr_wall_clock = 0x4b564d00, msr_system_time = 0x4b564d01,
                                   msr_end_of_interrupt = 0x4b564d04;
    /// CPUID 0x40000101 EAX.
    static constexpr std::uint32_t feature_no_io_delay = 1u << 1, feature_clock = 1u << 3,
                                   feature_end_of_interrupt = 1u << 6, feature_stable_clock = 1u << 24;
    /// All there is. Without an APIC there is nothing whose interrupts could end.
    [[nodiscard]] static constexpr std::uint32_t features(bool apic) {
        return feature_no_io_delay | feature_clock | feature_stable_clock |
               (apic ? feature_end_of_interrupt : 0);
    }

    /// Nanoseconds since 1970 (UTC) as the guest shall see them.
    using WallTime = std::function<std::int64_t()>;
    struct Config {
        std::uint32_t features = 0; ///< what CPUID offers
        std::uint64_t tsc_hz = 0;   ///< of the guest's TSC
    };

    KvmInterface(const Clock& clock, const TscClock& tsc, GuestMemory& memory, LocalApic& apic,
                 WallTime wall_time, const Config& config);

    [[nodiscard]] static bool owns_msr(std::uint32_t index) {
        return index == msr_wall_clock || index == msr_system_time || index == msr_end_of_interrupt;
    }
    /// No value, and false, mean #GP(0).
    [[nodiscard]] std::optional<std::uint64_t> read_msr(std::uint32_t index) const;
    [[nodiscard]] bool write_msr(std::uint32_t index, std::uint64_t value);
    void reset();
    /// The guest's TSC was changed, and the clock in its memory with it.
    void tsc_changed() { write_system_time(); }

    /// Right before the vCPU enters guest mode, and right after it has left it.
    void before_entry() {
        if ((end_of_interrupt_ & enabled) != 0 && apic_.end_can_wait()) [[unlikely]]
            let_end_wait();
    }
    void after_exit() {
        if (waits_) [[unlikely]]
            see_whether_ended();
    }

  private:
    static constexpr std::uint64_t enabled = 1;

    [[nodiscard]] bool offers(std::uint32_t index) const;
    void write_wall_clock();
    void write_system_time();
    void let_end_wait();
    void see_whether_ended();

    const Clock& clock_;
    const TscClock& tsc_;
    GuestMemory& memory_;
    LocalApic& apic_;
    WallTime wall_time_;
    Config config_;
    std::uint64_t wall_clock_ = 0, system_time_ = 0, end_of_interrupt_ = 0;
    std::uint32_t version_ = 0; ///< of the system time
    bool waits_ = false;
};

} // namespace escalus
