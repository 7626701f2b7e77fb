// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/key_typer.hpp"

#include "devmodel/devices/input/keysym_map.hpp"

#include <optional>
#include <stdexcept>

#include <fmt/format.h>

namespace escalus {
namespace {

constexpr KeyNumber left_shift = 0x2a, right_alt = 0xb8;

/// Takes one character off the front of a UTF-8 text; nothing when it is malformed.
std::optional<std::uint32_t> take_character(std::string_view& text) {
    const auto first = static_cast<unsigned char>(text[0]);
    const unsigned length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 0;
    if (length == 0 || length > text.size())
        return {};
    std::uint32_t code = length == 1 ? first : first & (0x7fu >> length);
    for (unsigned i = 1; i < length; ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if ((byte & 0xc0) != 0x80)
            return {};
        code = code << 6 | (byte & 0x3f);
    }
    text.remove_prefix(length);
    return code;
}

/// keysymdef.h: Latin-1 characters are their own keysyms, control characters have 0xff00 added, others
/// 0x01000000.
std::uint32_t keysym_of(std::uint32_t character) {
    if (character == '\n' || character == '\r')
        return 0xff0d;
    if (character == '\t' || character == '\b' || character == 0x1b)
        return 0xff00 + character;
    return character < 0x100 ? character : 0x01000000 + character;
}

} // namespace

std::vector<KeyEvent> events_of_chord(std::string_view chord) {
    const std::vector<KeyNumber> keys = keys_by_name(chord);
    std::vector<KeyEvent> events;
    events.reserve(2 * keys.size());
    for (const KeyNumber key : keys)
        events.push_back({key, true});
    for (auto key = keys.rbegin(); key != keys.rend(); ++key)
        events.push_back({*key, false});
    return events;
}

std::vector<KeyEvent> events_of_text(std::string_view text, std::string_view keymap) {
    const KeysymMap map{keymap};
    std::vector<KeyEvent> events;
    while (!text.empty()) {
        const auto character = take_character(text);
        if (!character)
            throw std::invalid_argument("the text is not valid UTF-8");
        const auto press = map.find(keysym_of(*character));
        if (!press)
            throw std::invalid_argument(fmt::format(
                "the keyboard layout {} has no key for the character U+{:04X}", keymap, *character));
        const auto chord = [&](KeyNumber modifier, bool wanted, bool down) {
            if (wanted)
                events.push_back({modifier, down});
        };
        chord(left_shift, press->shift, true);
        chord(right_alt, press->altgr, true);
        events.push_back({press->key, true});
        events.push_back({press->key, false});
        chord(right_alt, press->altgr, false);
        chord(left_shift, press->shift, false);
    }
    return events;
}

void KeyTyper::type(const std::vector<KeyEvent>& events, std::chrono::milliseconds pace,
                    std::function<void()> done) {
    if (events.empty())
        return done();
    const bool idle = steps_.empty();
    for (const KeyEvent& event : events)
        steps_.push_back({event, pace, {}});
    steps_.back().done = std::move(done);
    if (idle)
        next();
}

void KeyTyper::stop() {
    timer_.cancel();
    steps_.clear();
}

void KeyTyper::next() {
    {
        const std::scoped_lock guard{*lock_};
        keyboard_->key(steps_.front().event.key, steps_.front().event.down);
    }
    timer_.expires_after(steps_.front().pace);
    timer_.async_wait([this](boost::system::error_code error) {
        if (error)
            return; // the loop or this object ends
        const auto done = std::move(steps_.front().done);
        steps_.pop_front();
        if (!steps_.empty())
            next();
        if (done)
            done();
    });
}

} // namespace escalus
