// SPDX-License-Identifier: GPL-2.0-or-later
// How much faster a guest's TSC runs than the host's: what VT-x calls TSC scaling (SDM 3C, section 25.6.5)
// and AMD-V the TSC ratio (APM 2, section 15.30.5).
#pragma once

#include "devmodel/machine/clock.hpp"
#include "vmm/abi/abi.hpp"

#include <cstdint>

namespace escalus {

class TscRatio {
  public:
    /// The same rate.
    constexpr TscRatio() = default;
    /// Rates in Hz, which differ by a factor of at most 255.
    constexpr TscRatio(std::uint64_t guest_hz, std::uint64_t host_hz)
        : ratio_{static_cast<std::uint64_t>(static_cast<Wide>(guest_hz) * abi::tsc_ratio_one / host_hz) &
                 abi::tsc_ratio_mask} {}

    /// The format of abi::Msrs::tsc_ratio.
    [[nodiscard]] constexpr std::uint64_t fixed_point() const { return ratio_; }
    [[nodiscard]] constexpr std::uint64_t to_guest(std::uint64_t host_ticks) const {
        return abi::scale_tsc(host_ticks, ratio_);
    }
    /// After how many of the host's ticks the guest's TSC has advanced by so many at least.
    [[nodiscard]] constexpr std::uint64_t to_host(std::uint64_t guest_ticks) const {
        if (ratio_ == abi::tsc_ratio_one)
            return guest_ticks;
        const auto ticks = (static_cast<Wide>(guest_ticks) * abi::tsc_ratio_one + ratio_ - 1) / ratio_;
        return ticks > ~0ull ? ~0ull : static_cast<std::uint64_t>(ticks);
    }

  private:
    std::uint64_t ratio_ = abi::tsc_ratio_one;
};

} // namespace escalus
