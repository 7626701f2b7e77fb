// SPDX-License-Identifier: GPL-2.0-or-later
// One bit a vector, as a local APIC's IRR, ISR and TMR have it, with the highest one at hand: every exit of a
// vCPU asks for it, and mostly there is none.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace escalus {

class VectorBitmap {
  public:
    void set(std::uint8_t vector, bool value) {
        const unsigned index = vector / 32u;
        const std::uint32_t bit = 1u << vector % 32u;
        std::uint32_t& word = words_.at(index);
        word = value ? word | bit : word & ~bit;
        occupied_ = word != 0 ? occupied_ | 1u << index : occupied_ & ~(1u << index);
    }
    [[nodiscard]] bool test(std::uint8_t vector) const {
        return (words_.at(vector / 32u) >> vector % 32u & 1) != 0;
    }
    /// 0 when none is set (vectors below 16 never are).
    [[nodiscard]] std::uint8_t highest() const {
        if (occupied_ == 0)
            return 0;
        const auto index = static_cast<unsigned>(std::bit_width(occupied_)) - 1;
        return static_cast<std::uint8_t>(index * 32 +
                                         static_cast<unsigned>(std::bit_width(words_.at(index))) - 1);
    }
    /// As the register page shows it: 32 vectors a word.
    [[nodiscard]] std::uint32_t word(unsigned index) const { return words_.at(index); }

  private:
    std::array<std::uint32_t, 8> words_{};
    std::uint32_t occupied_ = 0; ///< which words are not 0
};

} // namespace escalus
