// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/vnc_settings.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace escalus {
namespace {

constexpr unsigned display_max = 65535 - 5900;
constexpr std::size_t password_max = 8; // what the RFB protocol's DES challenge takes

class VncSettings {
  public:
    explicit VncSettings(const Settings& settings) : settings_{&settings} {}

    VncConfig read() {
        if (const auto buffers = settings_->strings("vfb"))
            for (const Text& buffer : *buffers)
                frame_buffer(buffer);
        for (const std::string_view key : {"vnclisten", "vncpasswd", "keymap"})
            if (const auto text = settings_->string(key))
                set(key, *text);
        if (const auto on = settings_->boolean("vnc"))
            vnc_.enabled = *on;
        if (const auto unused = settings_->boolean("vncunused"))
            vnc_.find_unused = *unused;
        if (const auto number = settings_->integer("vncdisplay", 0, display_max, "a display number"))
            vnc_.display = static_cast<unsigned>(*number);
        return vnc_;
    }

  private:
    /// 'type=vnc,vncdisplay=1,...'
    void frame_buffer(const Text& text) {
        constexpr std::array<std::string_view, 8> ignored{"sdl",     "display",  "xauthority", "opengl",
                                                          "backend", "videoram", "vkb",        "type"};
        for (std::size_t at = 0; at < text.text.size();) {
            at = std::min(text.text.find_first_not_of(" \t", at), text.text.size());
            const auto end = std::min(text.text.find(',', at), text.text.size());
            const std::string_view part = std::string_view{text.text}.substr(at, end - at);
            const Position where = part_position(text.where, at, part.size());
            at = end + 1;
            const auto equals = part.find('=');
            if (equals == std::string_view::npos) {
                if (!part.empty())
                    settings_->diagnostics().error(where, fmt::format("'{}' is not KEY=VALUE", part),
                                                   "write for example vfb = [ 'type=vnc,vncdisplay=1' ]");
                continue;
            }
            const std::string_view key = part.substr(0, equals);
            if (key == "type" && part.substr(equals + 1) == "vnc")
                vnc_.enabled = true;
            else if (std::ranges::find(ignored, key) == ignored.end())
                set(key, {std::string{part.substr(equals + 1)}, where});
        }
    }

    void set(std::string_view key, const Text& text) {
        const Value value{Value::Kind::String, text.text, 0, {}, text.where};
        if (key == "vnclisten")
            listen(text);
        else if (key == "vncpasswd")
            password(text);
        else if (key == "keymap")
            keymap(text);
        else if (key == "vnc")
            vnc_.enabled = settings_->to_boolean(value, key).value_or(vnc_.enabled);
        else if (key == "vncunused")
            vnc_.find_unused = settings_->to_boolean(value, key).value_or(vnc_.find_unused);
        else if (key == "vncdisplay")
            display(text);
        else
            settings_->diagnostics().error(text.where, fmt::format("'{}' is not a key of vfb", key),
                                           "known are type, vnc, vnclisten, vncdisplay, vncunused, "
                                           "vncpasswd and keymap");
    }

    void display(const Text& text) {
        const auto number = to_integer(text.text);
        if (number && *number >= 0 && *number <= display_max)
            vnc_.display = static_cast<unsigned>(*number);
        else
            settings_->diagnostics().error(text.where, fmt::format("'{}' is not a display number", text.text),
                                           fmt::format("write a number from 0 to {}", display_max));
    }

    /// ADDRESS, ADDRESS:DISPLAY, [IPV6], [IPV6]:DISPLAY
    void listen(const Text& text) {
        std::string address = text.text;
        const auto colon = address.rfind(':');
        const bool bracketed = address.starts_with('[');
        const bool one_colon = colon != std::string::npos && address.find(':') == colon;
        if (one_colon || (bracketed && colon != std::string::npos && address[colon - 1] == ']')) {
            display({address.substr(colon + 1), text.where});
            address.resize(colon);
        }
        if (bracketed && address.ends_with(']'))
            address = address.substr(1, address.size() - 2);
        if (address.find_first_of(" /,[]") != std::string::npos)
            settings_->diagnostics().error(text.where,
                                           fmt::format("'{}' is not an address to listen at", text.text),
                                           "write '127.0.0.1' for this host only, '0.0.0.0' for all");
        else
            vnc_.listen = address.empty() ? "0.0.0.0" : address;
    }

    void password(const Text& text) {
        vnc_.password = text.text;
        if (text.text.size() > password_max)
            settings_->diagnostics().warning(
                text.where, "a VNC password has 8 characters: those after them do not count");
    }

    void keymap(const Text& text) {
        const bool good = std::ranges::all_of(text.text, [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
        });
        if (!good)
            settings_->diagnostics().error(text.where, fmt::format("'{}' is not a keymap", text.text),
                                           "write for example 'en-us' or 'de'");
        else if (!text.text.empty())
            vnc_.keymap = text.text;
    }

    const Settings* settings_;
    VncConfig vnc_;
};

} // namespace

VncConfig vnc_settings(const Settings& settings) {
    return VncSettings{settings}.read();
}

} // namespace escalus
