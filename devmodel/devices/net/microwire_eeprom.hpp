// SPDX-License-Identifier: GPL-2.0-or-later
// A 93C46 serial EEPROM, 64 words of 16 bits, at a three-wire bus whose lines a controller's register moves
// (Microchip 93C46 datasheet, DS21749).
//
// State: the words, the write latch, the command being shifted in, the word being shifted out. A write takes
// no time: DO says ready as soon as chip select comes back.
#pragma once

#include <array>
#include <cstdint>

namespace escalus {

class MicrowireEeprom {
  public:
    static constexpr unsigned words = 64;
    using Content = std::array<std::uint16_t, words>;

    Content content{};

    /// New levels of chip select, clock and data in.
    void set_lines(bool select, bool clock, bool data_in);
    [[nodiscard]] bool data_out() const { return data_out_; }
    /// Power-on: the bus is idle and writes are locked. The words stay.
    void reset();

  private:
    static constexpr unsigned address_bits = 6;
    enum class Phase : std::uint8_t { Idle, Command, Read, Write };

    void clock_in(bool bit);
    void execute();
    void store();

    Phase phase_ = Phase::Idle;
    std::uint16_t shift_ = 0;
    unsigned bits_ = 0;    // shifted so far in this phase
    unsigned address_ = 0; // of the next word to be read, or of the one to be written
    bool all_ = false;     // the write goes to every word
    bool writable_ = false, select_ = false, clock_ = false, data_out_ = true;
};

} // namespace escalus
