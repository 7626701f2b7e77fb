// SPDX-License-Identifier: GPL-2.0-or-later
// The enhanced (101/102 key) PS/2 keyboard: IBM PS/2 Hardware Interface Technical Reference, "Keyboards
// (101- and 102-Key)", scan code sets 1, 2 and 3.
//
// Modelled: all commands (LEDs, echo, set query and choice, identify, rate, enable, disable, defaults, the
// set-3 key types, resend, reset), overrun, Print Screen's and Pause's sequences. Repetition comes from the
// viewer: a second key-down of a key that is down is one repeat. That way a late key-up on a slow network
// does not become a row of characters. State: the set, LEDs, rate, key types, keys that are down.
//
// Missing: the rate is kept but paces nothing (see above).
#pragma once

#include "devmodel/devices/input/input.hpp"
#include "devmodel/devices/input/ps2_device.hpp"
#include "devmodel/machine/device.hpp"

#include <array>
#include <bitset>
#include <span>

namespace escalus {

class Ps2Keyboard final : public Ps2Device, public Device, public KeyboardSink {
  public:
    static constexpr unsigned led_scroll = 1, led_num = 2, led_caps = 4;

    void key(KeyNumber number, bool down) override;
    void receive(std::uint8_t byte) override;
    [[nodiscard]] unsigned leds() const { return leds_; }

    [[nodiscard]] std::string_view name() const override { return "ps2-keyboard"; }
    void reset(ResetKind kind) override;

  private:
    enum class KeyType : std::uint8_t { All, MakeBreak, MakeOnly, Typematic };
    static constexpr std::size_t queue_limit = 64; // a real one holds 16 bytes

    void set_defaults();
    void receive_argument(std::uint8_t command, std::uint8_t byte);
    void receive_command(std::uint8_t byte);
    void send_key(std::span<const std::uint8_t> bytes);
    void key_set1(KeyNumber number, bool down);
    void key_set2(KeyNumber number, bool down);
    void key_set3(KeyNumber number, bool down, bool repeat);

    std::bitset<256> down_;
    std::array<KeyType, 256> key_types_{}; // by set-3 code
    std::uint8_t pending_ = 0;             // the command that waits for its argument
    std::uint8_t set_ = 2;
    std::uint8_t leds_ = 0;
    std::uint8_t rate_ = 0x2b;
    bool scanning_ = true;
};

} // namespace escalus
