// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/input/ps2_keyboard.hpp"

#include <algorithm>

namespace escalus {

using namespace scan_codes;

namespace {
constexpr std::size_t queue_limit = 64;     // a real one holds 16 bytes
constexpr std::uint8_t default_rate = 0x2b; // 10.9 a second after half a second
constexpr std::uint8_t first_command = 0xed;
constexpr std::uint8_t identity[] = {0xab, 0x83};

enum Command : std::uint8_t {
    set_leds = 0xed,
    echo = 0xee,
    choose_set = 0xf0,
    identify = 0xf2,
    set_rate = 0xf3,
    enable = 0xf4,
    disable = 0xf5,
    defaults = 0xf6,
    all_typematic = 0xf7,
    all_make_break = 0xf8,
    all_make_only = 0xf9,
    all_everything = 0xfa,
    key_typematic = 0xfb,
    key_make_break = 0xfc,
    key_make_only = 0xfd,
    resend_last = 0xfe,
    reset_device = 0xff,
};

constexpr KeyType type_of(std::uint8_t command) {
    switch (command) {
    case all_typematic:
    case key_typematic:
        return KeyType::Typematic;
    case all_make_break:
    case key_make_break:
        return KeyType::MakeBreak;
    case all_make_only:
    case key_make_only:
        return KeyType::MakeOnly;
    default:
        return KeyType::All;
    }
}
} // namespace

Ps2Keyboard::Ps2Keyboard() {
    set_defaults();
}

void Ps2Keyboard::set_defaults() {
    set_ = 2;
    rate_ = default_rate;
    key_types_ = default_key_types();
    drop_data();
    overrun_ = false;
}

void Ps2Keyboard::reset(ResetKind) {
    set_defaults();
    drop_everything();
    down_.reset();
    pending_ = 0;
    leds_ = 0;
    scanning_ = true;
}

bool Ps2Keyboard::any_down(std::initializer_list<KeyNumber> keys) const {
    return std::ranges::any_of(keys, [this](KeyNumber key) { return down_.test(key); });
}

void Ps2Keyboard::key(KeyNumber number, bool down) {
    const bool repeat = down && down_.test(number);
    if (!down && !down_.test(number))
        return;
    if (!scanning_ || (set2(number) == 0 && set3(number) == 0)) {
        down_.reset(number);
        return;
    }
    if (down && waiting() >= queue_limit) {
        // The guest does not look. One overrun code, once; key-ups still go through, so that none sticks.
        if (!overrun_)
            send(std::array{set_ == 1 ? std::uint8_t{0xff} : std::uint8_t{0x00}});
        overrun_ = true;
        return;
    }
    overrun_ = false;
    if (down)
        down_.set(number);
    if (set_ == 3)
        send_set3(number, down, repeat);
    else if (number == print_screen)
        send_print_screen(down);
    else if (number == scan_codes::pause)
        send_pause(down && !repeat);
    else if ((number & 0x80) != 0 && down)
        send_set2({extended, set2(number)});
    else if ((number & 0x80) != 0)
        send_set2({extended, release, set2(number)});
    else if (down)
        send_set2({set2(number)});
    else
        send_set2({release, set2(number)});
    if (!down)
        down_.reset(number);
}

void Ps2Keyboard::send_set2(std::initializer_list<std::uint8_t> bytes) {
    if (set_ == 2) {
        send({bytes.begin(), bytes.size()});
        return;
    }
    std::array<std::uint8_t, 8> translated{};
    std::size_t count = 0;
    std::uint8_t break_bit = 0;
    for (const auto byte : bytes) {
        if (byte == release) {
            break_bit = 0x80;
            continue;
        }
        translated.at(count++) = static_cast<std::uint8_t>(set2_to_set1(byte) | break_bit);
        break_bit = 0;
    }
    send(std::span{translated}.first(count));
}

void Ps2Keyboard::send_print_screen(bool down) {
    if (down) // the break code matches the make code, whatever happened to the modifiers in between
        print_screen_ = any_down({left_alt, right_alt})                              ? PrintScreen::SysRq
                        : any_down({left_ctrl, right_ctrl, left_shift, right_shift}) ? PrintScreen::Bare
                                                                                     : PrintScreen::Plain;
    switch (print_screen_) {
    case PrintScreen::Plain:
        if (down)
            send_set2({extended, 0x12, extended, 0x7c});
        else
            send_set2({extended, release, 0x7c, extended, release, 0x12});
        break;
    case PrintScreen::Bare:
        if (down)
            send_set2({extended, 0x7c});
        else
            send_set2({extended, release, 0x7c});
        break;
    case PrintScreen::SysRq:
        if (down)
            send_set2({0x84});
        else
            send_set2({release, 0x84});
        break;
    }
}

void Ps2Keyboard::send_pause(bool down) {
    if (!down) // the key sends make and break together when pressed, and does not repeat
        return;
    if (any_down({left_ctrl, right_ctrl}))
        send_set2({extended, 0x7e, extended, release, 0x7e});
    else
        send_set2({pause_prefix, 0x14, 0x77, pause_prefix, release, 0x14, release, 0x77});
}

void Ps2Keyboard::send_set3(KeyNumber number, bool down, bool repeat) {
    const auto code = set3(number);
    if (code == 0)
        return;
    const auto type = key_types_[code];
    if (repeat && (type == KeyType::MakeBreak || type == KeyType::MakeOnly))
        return;
    if (down)
        send(std::array{code});
    else if (type == KeyType::All || type == KeyType::MakeBreak)
        send(std::array{release, code});
}

void Ps2Keyboard::receive(std::uint8_t byte) {
    // A command where an argument is due gives the old command up.
    if (const auto command = std::exchange(pending_, std::uint8_t{0}); command != 0 && byte < first_command)
        receive_argument(command, byte);
    else
        receive_command(byte);
}

void Ps2Keyboard::receive_argument(std::uint8_t command, std::uint8_t byte) {
    switch (command) {
    case set_leds:
        leds_ = byte & 7;
        reply({ack});
        break;
    case set_rate:
        rate_ = byte & 0x7f;
        reply({ack});
        break;
    case choose_set:
        if (byte == 0) {
            reply({ack, set_});
        } else if (byte <= 3) {
            set_ = byte;
            drop_data();
            reply({ack});
        } else {
            reply({resend});
        }
        break;
    default: // the set-3 key types take codes until the next command
        key_types_[byte] = type_of(command);
        pending_ = command;
        reply({ack});
        break;
    }
}

void Ps2Keyboard::receive_command(std::uint8_t byte) {
    switch (byte) {
    case set_leds:
    case set_rate:
    case choose_set:
    case key_typematic:
    case key_make_break:
    case key_make_only:
        pending_ = byte;
        reply({ack});
        break;
    case echo:
        reply({echo});
        break;
    case identify:
        reply({ack, identity[0], identity[1]});
        break;
    case enable:
        scanning_ = true;
        drop_data();
        reply({ack});
        break;
    case disable:
        set_defaults();
        scanning_ = false;
        reply({ack});
        break;
    case defaults:
        set_defaults();
        reply({ack});
        break;
    case all_typematic:
    case all_make_break:
    case all_make_only:
    case all_everything:
        key_types_.fill(type_of(byte));
        reply({ack});
        break;
    case resend_last:
        reply({last_sent()});
        break;
    case reset_device:
        reset(ResetKind::System);
        reply({ack, self_test_passed});
        break;
    default:
        reply({resend});
        break;
    }
}

} // namespace escalus
