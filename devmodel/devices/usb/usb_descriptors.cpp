// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/usb/usb_descriptors.hpp"

#include <initializer_list>
#include <utility>

namespace escalus {

using namespace usb;

namespace {
constexpr std::uint8_t bus_powered = 0x80, self_powered_bit = 0x40, wakes = 0x20;
constexpr std::uint16_t english = 0x0409;
constexpr std::uint8_t manufacturer_string = 1, product_string = 2, serial_string = 3;

void append(std::vector<std::uint8_t>& to, std::initializer_list<unsigned> bytes) {
    for (const auto byte : bytes)
        to.push_back(static_cast<std::uint8_t>(byte));
}

void append_word(std::vector<std::uint8_t>& to, std::uint16_t value) {
    to.push_back(static_cast<std::uint8_t>(value));
    to.push_back(static_cast<std::uint8_t>(value >> 8));
}

std::vector<std::uint8_t> string_of(std::string_view text) {
    constexpr std::size_t most = 126; // characters, as the length is one byte
    text = text.substr(0, most);
    std::vector<std::uint8_t> bytes;
    append(bytes, {static_cast<unsigned>(2 + 2 * text.size()), string_descriptor});
    for (const char c : text)
        append(bytes, {static_cast<unsigned char>(c), 0});
    return bytes;
}
} // namespace

UsbDescriptors make_descriptors(UsbSpeed speed, const UsbIdentity& id, std::vector<UsbEndpoint> endpoints,
                                std::span<const std::uint8_t> class_descriptor) {
    UsbDescriptors result{.speed = speed,
                          .device = {},
                          .configuration = {},
                          .strings = {},
                          .endpoints = std::move(endpoints),
                          .control_packet = id.control_packet,
                          .can_wake = id.remote_wakeup,
                          .self_powered = id.self_powered};
    const unsigned serial = id.serial.empty() ? 0 : serial_string;
    append(result.device, // 9.6.1
           {18, device_descriptor, 0x10, 0x01, id.device_class, 0, 0, id.control_packet});
    for (const auto word : {id.vendor, id.product, id.release})
        append_word(result.device, word);
    append(result.device, {manufacturer_string, product_string, serial, 1});

    auto& c = result.configuration;
    append(c, {9, configuration_descriptor, 0, 0, 1, 1, 0, // 9.6.2
               bus_powered | (id.self_powered ? self_powered_bit : 0u) | (id.remote_wakeup ? wakes : 0u),
               id.milliamperes / 2u});
    append(c, {9, interface_descriptor, 0, 0, static_cast<unsigned>(result.endpoints.size()), // 9.6.3
               id.interface_class, id.interface_subclass, id.interface_protocol, 0});
    c.insert(c.end(), class_descriptor.begin(), class_descriptor.end());
    for (const auto& e : result.endpoints) { // 9.6.4
        append(c, {7, endpoint_descriptor, e.address, e.attributes});
        append_word(c, e.max_packet);
        c.push_back(e.interval);
    }
    c[2] = static_cast<std::uint8_t>(c.size());
    c[3] = static_cast<std::uint8_t>(c.size() >> 8);

    std::vector<std::uint8_t> languages;
    append(languages, {4, string_descriptor, english & 0xffu, english >> 8u});
    result.strings.push_back(std::move(languages));
    for (const auto& text : {id.manufacturer, id.product_name, id.serial})
        result.strings.push_back(string_of(text));
    if (id.serial.empty())
        result.strings.pop_back();
    return result;
}

} // namespace escalus
