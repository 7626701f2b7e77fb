// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/usb/usb_hub.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace escalus {

using namespace usb;

namespace {
constexpr std::uint8_t status_endpoint = 1, hub_descriptor_type = 0x29;
constexpr std::uint8_t bitmap_bytes = 2; // a bit for the hub, one for each port
// wPortStatus and, as far as they have one, wPortChange (11.16.2.6).
constexpr std::uint16_t connection = 1, enabled = 2, suspended = 4, reset_bit = 0x10, power = 0x100,
                        low_speed = 0x200;
// Feature selectors (table 11-12).
constexpr std::uint16_t port_enable = 1, port_suspend = 2, port_reset = 4, port_power = 8, change_first = 16,
                        change_last = 20;
constexpr std::uint16_t hub_local_power = 0, hub_over_current = 1;

UsbIdentity identity() {
    return {.vendor = 0x0409, // as QEMU's
            .product = 0x55aa,
            .release = 0x0101,
            .device_class = class_hub,
            .interface_class = class_hub,
            .remote_wakeup = true,
            .self_powered = true,
            .milliamperes = 0,
            .manufacturer = "Escalus",
            .product_name = "Escalus USB Hub",
            .serial = "1"};
}
} // namespace

UsbHub::UsbHub()
    : UsbDevice{make_descriptors(UsbSpeed::Full, identity(),
                                 {{.address = status_endpoint | endpoint_in,
                                   .attributes = interrupt,
                                   .max_packet = bitmap_bytes,
                                   .interval = 255}})} {}

void UsbHub::attach(unsigned port, std::unique_ptr<UsbDevice> device) {
    auto& p = ports_.at(port);
    if (p.device)
        throw std::logic_error{"the hub's port is taken"};
    p.device = std::move(device);
    p.device->on_ready([this, port] { child_ready(port); });
    if ((p.status & power) != 0)
        power_up(p);
    ready();
}

std::unique_ptr<UsbDevice> UsbHub::detach(unsigned port) {
    auto& p = ports_.at(port);
    auto device = std::move(p.device);
    if (!device)
        return device;
    device->on_ready({});
    if ((p.status & enabled) != 0)
        p.change |= enabled;
    if ((p.status & power) != 0)
        p.change |= connection;
    p.status &= power;
    ready();
    return device;
}

void UsbHub::power_up(Port& port) {
    port.status = power;
    if (!port.device)
        return;
    port.device->bus_reset();
    port.status |= connection;
    if (port.device->speed() == UsbSpeed::Low)
        port.status |= low_speed;
    port.change |= connection;
}

UsbDevice* UsbHub::find(unsigned address) {
    if (auto* self = UsbDevice::find(address))
        return self;
    for (auto& port : ports_) {
        if (!port.device || (port.status & (enabled | suspended)) != enabled)
            continue;
        if (auto* device = port.device->find(address))
            return device;
    }
    return nullptr;
}

void UsbHub::bus_reset() {
    for (auto& port : ports_) {
        port.status = port.change = 0;
        if (port.device)
            port.device->bus_reset();
    }
    UsbDevice::bus_reset();
}

/// Ports have no power without a configuration (11.10).
void UsbHub::configured_anew() {
    for (auto& port : ports_)
        port.status = port.change = 0;
}

void UsbHub::child_ready(unsigned number) {
    auto& port = ports_[number];
    if ((port.status & suspended) != 0 && port.device->remote_wakeup()) { // 11.9: it resumes by itself
        port.status &= static_cast<std::uint16_t>(~suspended);
        port.change |= suspended;
    }
    ready();
}

UsbIn UsbHub::give(unsigned, std::span<std::uint8_t> room) {
    unsigned bitmap = 0;
    for (unsigned i = 0; i < ports_.size(); ++i)
        if (ports_[i].change != 0)
            bitmap |= 2u << i;
    if (bitmap == 0)
        return {UsbReply::Nak, 0};
    const std::array<std::uint8_t, bitmap_bytes> bytes{static_cast<std::uint8_t>(bitmap),
                                                       static_cast<std::uint8_t>(bitmap >> 8)};
    return packet(bytes, room);
}

std::optional<std::vector<std::uint8_t>> UsbHub::answer_request(const UsbSetup& request) {
    if (!request.of_class())
        return {};
    if (request.recipient() == of_other) {
        if (request.request != get_status || request.index == 0 || request.index > port_count)
            return {};
        const auto& port = ports_[request.index - 1u];
        return std::vector<std::uint8_t>{
            static_cast<std::uint8_t>(port.status), static_cast<std::uint8_t>(port.status >> 8),
            static_cast<std::uint8_t>(port.change), static_cast<std::uint8_t>(port.change >> 8)};
    }
    if (request.request == get_status)
        return std::vector<std::uint8_t>(4);
    if (request.request == get_descriptor && request.value >> 8 == hub_descriptor_type)
        // No power switching, no overcurrent protection; power is good after 2 ms (11.15.2.1).
        return std::vector<std::uint8_t>{11,  hub_descriptor_type, port_count, 0x12, 0, 1, 0, 0, 0, 0xff,
                                         0xff};
    return {};
}

bool UsbHub::take_request(const UsbSetup& request, std::span<const std::uint8_t>) {
    if (!request.of_class() || (request.request != set_feature && request.request != clear_feature))
        return false;
    if (request.recipient() == of_device)
        return request.value == hub_local_power || request.value == hub_over_current;
    const auto number = request.index & 0xffu;
    if (request.recipient() != of_other || number == 0 || number > port_count)
        return false;
    auto& port = ports_[number - 1];
    return request.request == set_feature ? set_port_feature(port, request.value)
                                          : clear_port_feature(port, request.value);
}

bool UsbHub::set_port_feature(Port& port, std::uint16_t feature) {
    switch (feature) {
    case port_power:
        if ((port.status & power) == 0)
            power_up(port);
        break;
    case port_reset: // over at once: who waits for its end finds the change
        if ((port.status & connection) == 0)
            break;
        port.device->bus_reset();
        port.status = static_cast<std::uint16_t>((port.status | enabled) & ~suspended);
        port.change |= reset_bit;
        break;
    case port_suspend:
        if ((port.status & enabled) != 0)
            port.status |= suspended;
        break;
    default:
        return false;
    }
    ready();
    return true;
}

bool UsbHub::clear_port_feature(Port& port, std::uint16_t feature) {
    if (feature >= change_first && feature <= change_last) {
        port.change &= static_cast<std::uint16_t>(~(1u << (feature - change_first)));
        return true;
    }
    switch (feature) {
    case port_enable:
        port.status &= static_cast<std::uint16_t>(~(enabled | suspended));
        return true;
    case port_suspend:
        if ((port.status & suspended) != 0)
            port.change |= suspended;
        port.status &= static_cast<std::uint16_t>(~suspended);
        return true;
    case port_power:
        port.status = port.change = 0;
        return true;
    default:
        return false;
    }
}

} // namespace escalus
