// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/usb/usb_device.hpp"

#include "devmodel/machine/copy_bytes.hpp"
#include "devmodel/machine/little_endian.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

using namespace usb;

namespace {
constexpr std::uint8_t status_self_powered = 1, status_wakes = 2, status_halted = 1;
constexpr unsigned endpoint_number_mask = 0xf;

std::uint32_t halt_bit(std::uint8_t endpoint) {
    return 1u << ((endpoint & endpoint_number_mask) + ((endpoint & endpoint_in) != 0 ? 16 : 0));
}
std::uint8_t low_byte(std::uint16_t value) {
    return static_cast<std::uint8_t>(value);
}
} // namespace

UsbDevice::UsbDevice(UsbDescriptors descriptors) : descriptors_{std::move(descriptors)} {}

void UsbDevice::bus_reset() {
    address_ = 0;
    next_address_.reset();
    configuration_ = 0;
    remote_wakeup_ = false;
    halted_ = 0;
    stage_ = Stage::Idle;
    data_.clear();
    configured_anew();
}

void UsbDevice::halt(std::uint8_t endpoint, bool halted) {
    if (halted)
        halted_ |= halt_bit(endpoint);
    else
        halted_ &= ~halt_bit(endpoint);
}

bool UsbDevice::halted(std::uint8_t endpoint) const {
    return (halted_ & halt_bit(endpoint)) != 0;
}

bool UsbDevice::has_endpoint(std::uint8_t endpoint) const {
    return configured() && std::ranges::find(descriptors_.endpoints, endpoint, &UsbEndpoint::address) !=
                               descriptors_.endpoints.end();
}

UsbIn UsbDevice::packet(std::span<const std::uint8_t> data, std::span<std::uint8_t> room) {
    if (data.size() > room.size())
        return {UsbReply::Babble, 0};
    copy_bytes(data, room);
    return {UsbReply::Ack, data.size()};
}

// --- transactions

UsbReply UsbDevice::setup(unsigned endpoint, std::span<const std::uint8_t> data) {
    if (endpoint != 0 || data.size() != setup_bytes)
        return UsbReply::Silent;
    // A function must take a SETUP whatever it was about to do (8.5.2).
    request_ = {data[0], data[1], load_le<std::uint16_t>(data, 2), load_le<std::uint16_t>(data, 4),
                load_le<std::uint16_t>(data, 6)};
    next_address_.reset();
    begin_request();
    return UsbReply::Ack;
}

UsbReply UsbDevice::out(unsigned endpoint, std::span<const std::uint8_t> data) {
    if (endpoint == 0)
        return control_out(data);
    const auto address = static_cast<std::uint8_t>(endpoint);
    if (!has_endpoint(address))
        return UsbReply::Silent;
    return halted(address) ? UsbReply::Stall : take(endpoint, data);
}

UsbIn UsbDevice::in(unsigned endpoint, std::span<std::uint8_t> room) {
    if (endpoint == 0)
        return control_in(room);
    const auto address = static_cast<std::uint8_t>(endpoint | endpoint_in);
    if (!has_endpoint(address))
        return {UsbReply::Silent, 0};
    return halted(address) ? UsbIn{UsbReply::Stall, 0} : give(endpoint, room);
}

UsbReply UsbDevice::take(unsigned, std::span<const std::uint8_t>) {
    return UsbReply::Stall;
}

UsbIn UsbDevice::give(unsigned, std::span<std::uint8_t>) {
    return {UsbReply::Stall, 0};
}

// --- the control pipe (8.5.2): SETUP, data in one direction or none, and a status in the other

void UsbDevice::begin_request() {
    data_.clear();
    moved_ = 0;
    if (request_.to_host()) {
        auto reply = answer();
        stage_ = reply ? Stage::DataIn : Stage::Stalled;
        if (reply) {
            data_ = std::move(*reply);
            data_.resize(std::min<std::size_t>(data_.size(), request_.length));
            if (request_.length == 0)
                stage_ = Stage::StatusIn;
        }
    } else if (request_.length != 0) {
        stage_ = Stage::DataOut;
    } else {
        stage_ = perform() ? Stage::StatusIn : Stage::Stalled;
    }
}

UsbReply UsbDevice::control_out(std::span<const std::uint8_t> data) {
    switch (stage_) {
    case Stage::DataIn: // the status stage; the host may have had enough before the end
    case Stage::StatusOut:
        stage_ = Stage::Idle;
        return UsbReply::Ack;
    case Stage::DataOut:
        if (data_.size() + data.size() > request_.length) {
            stage_ = Stage::Stalled;
            return UsbReply::Stall;
        }
        data_.insert(data_.end(), data.begin(), data.end());
        if (data_.size() == request_.length || data.size() < descriptors_.control_packet)
            stage_ = perform() ? Stage::StatusIn : Stage::Stalled;
        return UsbReply::Ack;
    case Stage::Idle:
    case Stage::StatusIn:
    case Stage::Stalled:
        break;
    }
    return UsbReply::Stall;
}

UsbIn UsbDevice::control_in(std::span<std::uint8_t> room) {
    if (stage_ == Stage::DataIn) {
        const auto rest = std::span<const std::uint8_t>{data_}.subspan(moved_);
        const auto next = rest.first(std::min<std::size_t>(rest.size(), descriptors_.control_packet));
        const auto given = packet(next, room);
        moved_ += given.bytes;
        // A packet that is not full ends the data.
        if (given.reply == UsbReply::Ack &&
            (next.size() < descriptors_.control_packet || moved_ == request_.length))
            stage_ = Stage::StatusOut;
        return given;
    }
    if (stage_ == Stage::StatusIn) {
        if (next_address_)
            address_ = *std::exchange(next_address_, {});
        stage_ = Stage::Idle;
        return {UsbReply::Ack, 0};
    }
    return {UsbReply::Stall, 0};
}

// --- standard requests (9.4)

std::optional<std::vector<std::uint8_t>> UsbDevice::answer() {
    if (!request_.standard())
        return answer_request(request_);
    switch (request_.request) {
    case get_status:
        switch (request_.recipient()) {
        case of_device:
            return std::vector<std::uint8_t>{
                static_cast<std::uint8_t>((descriptors_.self_powered ? status_self_powered : 0) |
                                          (remote_wakeup_ ? status_wakes : 0)),
                0};
        case of_interface:
            return std::vector<std::uint8_t>{0, 0};
        case of_endpoint: {
            const auto endpoint = low_byte(request_.index);
            if ((endpoint & endpoint_number_mask) != 0 && !has_endpoint(endpoint))
                return {};
            return std::vector<std::uint8_t>{halted(endpoint) ? status_halted : std::uint8_t{0}, 0};
        }
        default:
            return {};
        }
    case get_descriptor:
        if (request_.recipient() == of_device)
            return descriptor();
        return answer_request(request_);
    case get_configuration:
        return std::vector<std::uint8_t>{configuration_};
    case get_interface:
        if (!configured() || request_.index != 0)
            return {};
        return std::vector<std::uint8_t>{0};
    default:
        return {};
    }
}

std::optional<std::vector<std::uint8_t>> UsbDevice::descriptor() const {
    const auto index = low_byte(request_.value);
    switch (request_.value >> 8) {
    case device_descriptor:
        return descriptors_.device;
    case configuration_descriptor:
        if (index != 0)
            return {};
        return descriptors_.configuration;
    case string_descriptor:
        if (index >= descriptors_.strings.size())
            return {};
        return descriptors_.strings[index];
    default: // DEVICE_QUALIFIER among them: there is no high speed
        return {};
    }
}

bool UsbDevice::perform() {
    if (!request_.standard())
        return take_request(request_, data_);
    switch (request_.request) {
    case set_address:
        if (request_.value > 127)
            return false;
        next_address_ = low_byte(request_.value);
        return true;
    case set_configuration:
        if (request_.value > 1)
            return false;
        configuration_ = low_byte(request_.value);
        halted_ = 0;
        configured_anew();
        return true;
    case set_interface:
        return configured() && request_.index == 0 && request_.value == 0;
    case set_feature:
    case clear_feature:
        return feature(request_.request == set_feature);
    default:
        return false;
    }
}

bool UsbDevice::feature(bool set) {
    if (request_.recipient() == of_device && request_.value == device_remote_wakeup) {
        remote_wakeup_ = set && descriptors_.can_wake;
        return descriptors_.can_wake;
    }
    if (request_.recipient() != of_endpoint || request_.value != endpoint_halt)
        return false;
    const auto endpoint = low_byte(request_.index);
    if ((endpoint & endpoint_number_mask) == 0)
        return true; // the control pipe's halt ends with the next SETUP
    if (!has_endpoint(endpoint))
        return false;
    halt(endpoint, set);
    if (!set)
        halt_cleared(endpoint);
    return true;
}

std::optional<std::vector<std::uint8_t>> UsbDevice::answer_request(const UsbSetup&) {
    return {};
}

bool UsbDevice::take_request(const UsbSetup&, std::span<const std::uint8_t>) {
    return false;
}

} // namespace escalus
