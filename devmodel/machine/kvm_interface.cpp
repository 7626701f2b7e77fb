// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/kvm_interface.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <atomic>
#include <utility>

namespace escalus {

namespace {

// struct pvclock_wall_clock: when the system time was 0.
namespace wall {
constexpr std::size_t version = 0, seconds = 4, nanoseconds = 8, size = 12;
}
// struct pvclock_vcpu_time_info: system time = base + (TSC - stamp) shifted and multiplied.
namespace system {
// The version is at 0.
constexpr std::size_t stamp = 8, base = 16, multiplier = 24, shift = 28, flags = 29, size = 32;
constexpr std::uint8_t flag_stable = 1; // the same on all vCPUs
} // namespace system
constexpr std::uint8_t end_may_wait = 1; // the guest takes it away

/// How TSC ticks become nanoseconds: shifted left by `shift` (right, when that is negative), then times
/// multiplier / 2^32.
struct TickScale {
    std::uint32_t multiplier;
    std::int8_t shift;
};

TickScale tick_scale(std::uint64_t hz) {
    // Shifted such that the multiplier is below 1, and has all its 32 bits.
    std::int8_t shift = 0;
    for (; hz > 2 * ns_per_second; hz >>= 1)
        --shift;
    for (; hz <= ns_per_second; hz <<= 1)
        ++shift;
    return {static_cast<std::uint32_t>((static_cast<Wide>(ns_per_second) << 32) / hz), shift};
}

/// Another vCPU may read while this is written: an odd version tells it to read again.
template <typename Fill>
void write_versioned(std::span<std::uint8_t> area, std::uint32_t& version, Fill fill) {
    store_le(area, 0, ++version);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    fill();
    std::atomic_thread_fence(std::memory_order_seq_cst);
    store_le(area, 0, ++version);
}

} // namespace

KvmInterface::KvmInterface(const Clock& clock, const TscClock& tsc, GuestMemory& memory, LocalApic& apic,
                           WallTime wall_time, const Config& config)
    : clock_{clock},
      tsc_{tsc},
      memory_{memory},
      apic_{apic},
      wall_time_{std::move(wall_time)},
      config_{config} {}

void KvmInterface::reset() {
    wall_clock_ = system_time_ = end_of_interrupt_ = 0;
    waits_ = false;
}

bool KvmInterface::offers(std::uint32_t index) const {
    const auto feature = index == msr_end_of_interrupt ? feature_end_of_interrupt : feature_clock;
    return (config_.features & feature) != 0;
}

std::optional<std::uint64_t> KvmInterface::read_msr(std::uint32_t index) const {
    if (!offers(index))
        return std::nullopt;
    switch (index) {
    case msr_wall_clock:
        return wall_clock_;
    case msr_system_time:
        return system_time_;
    default:
        return end_of_interrupt_;
    }
}

bool KvmInterface::write_msr(std::uint32_t index, std::uint64_t value) {
    constexpr std::uint64_t reserved = 2; // addresses are multiples of 4
    if (!offers(index) || (value & reserved) != 0)
        return false;
    switch (index) {
    case msr_wall_clock:
        wall_clock_ = value;
        write_wall_clock();
        return true;
    case msr_system_time:
        system_time_ = value;
        write_system_time();
        return true;
    default:
        end_of_interrupt_ = value;
        return true;
    }
}

void KvmInterface::write_wall_clock() {
    const auto area = memory_.at(GuestPhys{wall_clock_ & ~3ull}, wall::size, Access::Write);
    if (area.empty())
        return;
    const auto zero = wall_time_() - clock_.now();
    auto version = load_le<std::uint32_t>(area, wall::version) & ~1u;
    write_versioned(area, version, [&] {
        store_le(area, wall::seconds, static_cast<std::uint32_t>(zero / ns_per_second));
        store_le(area, wall::nanoseconds, static_cast<std::uint32_t>(zero % ns_per_second));
    });
}

void KvmInterface::write_system_time() {
    if ((system_time_ & enabled) == 0)
        return;
    const auto area = memory_.at(GuestPhys{system_time_ & ~3ull}, system::size, Access::Write);
    if (area.empty())
        return;
    const auto scale = tick_scale(config_.tsc_hz);
    write_versioned(area, version_, [&] {
        store_le(area, 4, std::uint32_t{0});
        // Counted from the same moment on all vCPUs, so that not even roundings differ.
        store_le(area, system::stamp, tsc_.tsc_at(0));
        store_le(area, system::base, std::uint64_t{0});
        store_le(area, system::multiplier, scale.multiplier);
        store_le(area, system::shift, static_cast<std::uint8_t>(scale.shift));
        const bool stable = (config_.features & feature_stable_clock) != 0;
        store_le(area, system::flags, stable ? system::flag_stable : std::uint8_t{0});
        store_le(area, system::flags + 1, std::uint16_t{0});
    });
}

[[gnu::hot]] void KvmInterface::let_end_wait() {
    const auto area = memory_.at(GuestPhys{end_of_interrupt_ & ~3ull}, 4, Access::Write);
    if (area.empty())
        return;
    area[0] |= end_may_wait;
    apic_.let_end_wait();
    waits_ = true;
}

[[gnu::hot]] void KvmInterface::see_whether_ended() {
    waits_ = false;
    const auto area = memory_.at(GuestPhys{end_of_interrupt_ & ~3ull}, 4, Access::Write);
    const bool ended = !area.empty() && (area[0] & end_may_wait) == 0;
    if (!area.empty())
        area[0] &= static_cast<std::uint8_t>(~end_may_wait);
    apic_.settle_end(ended);
}

} // namespace escalus
