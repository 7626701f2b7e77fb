// SPDX-License-Identifier: GPL-2.0-or-later
// The VGA's colour look-up table (Inmos IMSG171 as in the IBM VGA), ports 0x3c6-0x3c9, with the 8-bit mode
// that the Bochs VBE interface can switch on. State: 256 colours, the index and the component it stands at.
#pragma once

#include <array>
#include <cstdint>

namespace escalus {

class VgaDac {
  public:
    [[nodiscard]] std::uint8_t read(unsigned port);
    /// True when a colour that the picture may show changed.
    bool write(unsigned port, std::uint8_t value);
    /// True when it was the other way before.
    bool set_eight_bits(bool eight_bits);

    /// What a pixel of this value looks like: 0x00RRGGBB.
    [[nodiscard]] std::uint32_t colour(std::uint8_t pixel) const;

  private:
    std::array<std::array<std::uint8_t, 3>, 256> colours_{};
    std::array<std::uint8_t, 3> incoming_{}; // a colour is stored when its third component comes
    std::uint8_t mask_ = 0xff;
    std::uint8_t read_index_ = 0, write_index_ = 0;
    std::uint8_t component_ = 0;
    bool reading_ = false;
    bool eight_bits_ = false;
};

} // namespace escalus
