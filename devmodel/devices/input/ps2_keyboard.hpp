// SPDX-License-Identifier: GPL-2.0-or-later
// The enhanced (101/102 key) PS/2 keyboard: IBM PS/2 Hardware Interface Technical Reference, "Keyboards
// (101- and 102-Key)", scan code sets 1, 2 and 3.
//
// Modelled: all commands (LEDs, echo, set query and choice, identify, rate, enable, disable, defaults, the
// set-3 key types, resend, reset), overrun, Print Screen's and Pause's sequences. Repetition comes from the
// viewer: a second key-down of a key that is down is one repeat. That way a late key-up on a slow network
// does not become a row of characters. State: the set, LEDs, rate, key types, keys that are down.
//
// Missing: the rate is kept but paces nothing (see above); the shift codes that old keyboards put around the
// grey arrow keys for software that knows no 0xe0.
#pragma once

#include "devmodel/devices/input/input.hpp"
#include "devmodel/devices/input/ps2_device.hpp"
#include "devmodel/devices/input/scan_codes.hpp"
#include "devmodel/machine/device.hpp"

#include <array>
#include <bitset>
#include <initializer_list>

namespace escalus {

class Ps2Keyboard final : public Ps2Device, public Device, public KeyboardSink {
  public:
    static constexpr unsigned led_scroll = 1, led_num = 2, led_caps = 4;

    Ps2Keyboard();

    void key(KeyNumber number, bool down) override;
    void receive(std::uint8_t byte) override;
    [[nodiscard]] unsigned leds() const { return leds_; }

    [[nodiscard]] std::string_view name() const override { return "ps2-keyboard"; }
    void reset(ResetKind kind) override;

  private:
    /// Print Screen sends another code with Alt, and leaves its shift out with Ctrl or Shift.
    enum class PrintScreen : std::uint8_t { Plain, Bare, SysRq };

    void set_defaults();
    void receive_argument(std::uint8_t command, std::uint8_t byte);
    void receive_command(std::uint8_t byte);
    void reply(std::initializer_list<std::uint8_t> bytes) { answer({bytes.begin(), bytes.size()}); }
    /// Set-2 bytes, sent as they are or in set 1.
    void send_set2(std::initializer_list<std::uint8_t> bytes);
    void send_set3(KeyNumber number, bool down, bool repeat);
    void send_print_screen(bool down);
    void send_pause(bool down);
    [[nodiscard]] bool any_down(std::initializer_list<KeyNumber> keys) const;

    std::bitset<256> down_;
    std::array<scan_codes::KeyType, 256> key_types_{}; // by set-3 code
    std::uint8_t pending_ = 0;                         // the command that waits for its argument
    std::uint8_t set_ = 2;
    std::uint8_t leds_ = 0;
    std::uint8_t rate_ = 0;
    bool scanning_ = true;
    bool overrun_ = false;
    PrintScreen print_screen_ = PrintScreen::Plain;
};

} // namespace escalus
