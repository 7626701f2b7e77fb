// SPDX-License-Identifier: GPL-2.0-or-later
// Requests and descriptors of the control pipe (Universal Serial Bus Specification 1.1, 9.3 to 9.6), and what
// a device says of itself, from which its descriptors are made.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace escalus {

enum class UsbSpeed : std::uint8_t { Low, Full };

namespace usb {

// bmRequestType: direction, type and recipient.
inline constexpr std::uint8_t to_host = 0x80, type_mask = 0x60, class_type = 0x20, recipient_mask = 0x1f;
inline constexpr std::uint8_t of_device = 0, of_interface = 1, of_endpoint = 2, of_other = 3;

inline constexpr std::uint8_t get_status = 0, clear_feature = 1, set_feature = 3, set_address = 5,
                              get_descriptor = 6, get_configuration = 8, set_configuration = 9,
                              get_interface = 10, set_interface = 11;

inline constexpr std::uint8_t device_descriptor = 1, configuration_descriptor = 2, string_descriptor = 3,
                              interface_descriptor = 4, endpoint_descriptor = 5;
inline constexpr std::uint16_t endpoint_halt = 0, device_remote_wakeup = 1;

inline constexpr std::uint8_t class_hid = 3, class_mass_storage = 8, class_hub = 9;
inline constexpr std::uint8_t bulk = 2, interrupt = 3; // endpoint descriptors' bmAttributes
inline constexpr std::uint8_t endpoint_in = 0x80;
inline constexpr std::size_t setup_bytes = 8;

} // namespace usb

struct UsbSetup {
    std::uint8_t type = 0, request = 0;
    std::uint16_t value = 0, index = 0, length = 0;

    [[nodiscard]] bool to_host() const { return (type & usb::to_host) != 0; }
    [[nodiscard]] bool standard() const { return (type & usb::type_mask) == 0; }
    [[nodiscard]] bool of_class() const { return (type & usb::type_mask) == usb::class_type; }
    [[nodiscard]] std::uint8_t recipient() const { return type & usb::recipient_mask; }
};

struct UsbEndpoint {
    std::uint8_t address = 0; ///< bit 7: IN
    std::uint8_t attributes = usb::interrupt;
    std::uint16_t max_packet = 8;
    std::uint8_t interval = 0; ///< of interrupt endpoints, in frames
};

/// A device with one configuration of one interface.
struct UsbIdentity {
    std::uint16_t vendor = 0, product = 0, release = 0;
    std::uint8_t device_class = 0;
    std::uint8_t interface_class = 0, interface_subclass = 0, interface_protocol = 0;
    std::uint8_t control_packet = 8; ///< bytes
    bool remote_wakeup = false, self_powered = false;
    std::uint8_t milliamperes = 100;
    std::string manufacturer, product_name, serial; ///< printable ASCII
};

/// The bytes of all descriptors.
struct UsbDescriptors {
    UsbSpeed speed;
    std::vector<std::uint8_t> device;
    std::vector<std::uint8_t> configuration; ///< with interface, class and endpoint descriptors
    std::vector<std::vector<std::uint8_t>> strings;
    std::vector<UsbEndpoint> endpoints;
    std::uint8_t control_packet = 8;
    bool can_wake = false, self_powered = false;
};

/// `class_descriptor` follows the interface's descriptor.
[[nodiscard]] UsbDescriptors make_descriptors(UsbSpeed speed, const UsbIdentity& identity,
                                              std::vector<UsbEndpoint> endpoints,
                                              std::span<const std::uint8_t> class_descriptor = {});

} // namespace escalus
