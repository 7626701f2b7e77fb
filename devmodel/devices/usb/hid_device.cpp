// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/usb/hid_device.hpp"

#include <utility>

namespace escalus {

using namespace usb;

namespace {
constexpr std::uint8_t hid_type = 0x21, report_type = 0x22; // descriptors (7.1)
constexpr std::uint8_t get_report = 1, get_idle = 2, get_protocol = 3, set_report = 9, set_idle = 10,
                       set_protocol = 11; // requests (7.2)
constexpr std::uint16_t input_report = 1, output_report = 2;
constexpr GuestTime idle_unit = 4 * ns_per_second / 1000;
constexpr std::size_t most_waiting = 64;

std::vector<std::uint8_t> hid_descriptor(std::size_t report_bytes) { // 6.2.1; no country code
    return {9,
            hid_type,
            0x11,
            0x01,
            0,
            1,
            report_type,
            static_cast<std::uint8_t>(report_bytes),
            static_cast<std::uint8_t>(report_bytes >> 8)};
}
} // namespace

HidDevice::HidDevice(Clock& clock, const UsbIdentity& identity, std::uint8_t max_packet,
                     std::uint8_t interval, std::span<const std::uint8_t> descriptor, std::uint8_t idle)
    : UsbDevice{make_descriptors(UsbSpeed::Full, identity,
                                 {{.address = report_endpoint | endpoint_in,
                                   .attributes = interrupt,
                                   .max_packet = max_packet,
                                   .interval = interval}},
                                 hid_descriptor(descriptor.size()))},
      clock_{clock},
      idle_timer_{clock, [this] { ready(); }},
      hid_descriptor_{hid_descriptor(descriptor.size())},
      report_descriptor_{descriptor.begin(), descriptor.end()},
      power_on_idle_{idle},
      idle_{idle} {}

void HidDevice::bus_reset() {
    idle_ = power_on_idle_;
    protocol_ = Protocol::Report; // 7.2.6
    UsbDevice::bus_reset();
}

void HidDevice::configured_anew() {
    waiting_.clear();
    idle_timer_.cancel();
    last_.clear();
    last_given_ = clock_.now();
}

void HidDevice::report(Report report, bool motion) {
    if (!configured())
        return;
    if (!waiting_.empty() && ((motion && waiting_.back().motion) || waiting_.size() >= most_waiting)) {
        if (motion && waiting_.back().motion)
            merge(waiting_.back().report, report);
        else
            waiting_.back() = {std::move(report), motion};
        return;
    }
    waiting_.push_back({std::move(report), motion});
    ready();
}

UsbIn HidDevice::give(unsigned, std::span<std::uint8_t> room) {
    if (waiting_.empty()) {
        // The report is repeated when it has not changed for the idle time (7.2.4).
        if (idle_ == 0 || last_.empty() || clock_.now() - last_given_ < idle_ * idle_unit)
            return {UsbReply::Nak, 0};
        last_ = current();
    } else {
        last_ = std::move(waiting_.front().report);
        waiting_.pop_front();
    }
    last_given_ = clock_.now();
    if (idle_ != 0)
        idle_timer_.arm(last_given_ + idle_ * idle_unit);
    return packet(last_, room);
}

std::optional<std::vector<std::uint8_t>> HidDevice::answer_request(const UsbSetup& request) {
    if (request.recipient() != of_interface)
        return {};
    if (request.standard() && request.request == get_descriptor) {
        switch (request.value >> 8) {
        case hid_type:
            return hid_descriptor_;
        case report_type:
            return report_descriptor_;
        default:
            return {};
        }
    }
    if (!request.of_class())
        return {};
    switch (request.request) {
    case get_report:
        if (request.value >> 8 != input_report)
            return {};
        return current();
    case get_idle:
        return std::vector<std::uint8_t>{idle_};
    case get_protocol:
        return std::vector<std::uint8_t>{static_cast<std::uint8_t>(protocol_)};
    default:
        return {};
    }
}

bool HidDevice::take_request(const UsbSetup& request, std::span<const std::uint8_t> data) {
    if (request.recipient() != of_interface || !request.of_class())
        return false;
    switch (request.request) {
    case set_report:
        return request.value >> 8 == output_report && take_output(data);
    case set_idle:
        idle_ = static_cast<std::uint8_t>(request.value >> 8);
        return true;
    case set_protocol:
        if (request.value > 1)
            return false;
        protocol_ = static_cast<Protocol>(request.value);
        return true;
    default:
        return false;
    }
}

} // namespace escalus
