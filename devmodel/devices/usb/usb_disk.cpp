// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/usb/usb_disk.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace escalus {

using namespace usb;

namespace {
constexpr std::uint8_t scsi_transparent = 6, bulk_only = 0x50;
constexpr std::uint8_t get_max_lun = 0xfe, mass_storage_reset = 0xff;
constexpr std::size_t command_wrapper_bytes = 31, status_wrapper_bytes = 13, command_most = 16;
constexpr std::uint32_t command_signature = 0x43425355, status_signature = 0x53425355;
constexpr std::size_t chunk_bytes = 64 * 1024;
constexpr unsigned most_abandoned = 8; // requests that the image still works on

UsbIdentity identity(const std::string& serial) {
    return {.vendor = 0x46f4, // as QEMU's
            .product = 0x0001,
            .release = 0x0100,
            .interface_class = class_mass_storage,
            .interface_subclass = scsi_transparent,
            .interface_protocol = bulk_only,
            .control_packet = 64,
            .self_powered = true,
            .milliamperes = 0,
            .manufacturer = "Escalus",
            .product_name = "Escalus USB Disk",
            .serial = serial};
}
} // namespace

UsbDisk::UsbDisk(std::unique_ptr<BlockBackend> medium, const std::string& serial)
    : UsbDevice{make_descriptors(
          UsbSpeed::Full, identity(serial),
          {{.address = bulk_in | endpoint_in, .attributes = bulk, .max_packet = packet_bytes},
           {.address = bulk_out, .attributes = bulk, .max_packet = packet_bytes}})},
      medium_{std::move(medium)},
      disk_{{.vendor = "ESCALUS", .product = "USB DISK", .revision = "1.0", .serial = serial},
            medium_->size(),
            medium_->read_only()},
      work_{std::make_shared<Work>(Work{this, in_image_})} {}

UsbDisk::~UsbDisk() {
    work_->owner = nullptr;
}

void UsbDisk::bus_reset() {
    disk_.reset();
    UsbDevice::bus_reset();
}

void UsbDisk::configured_anew() {
    abandon();
    phase_ = Phase::Command;
}

void UsbDisk::abandon() {
    work_->owner = nullptr;
    work_ = std::make_shared<Work>(Work{this, in_image_});
    asking_ = false;
    flush_ = false;
    given_ = 0;
}

void UsbDisk::halt_cleared(std::uint8_t endpoint) {
    if (phase_ == Phase::Lost)
        halt(endpoint);
}

std::optional<std::vector<std::uint8_t>> UsbDisk::answer_request(const UsbSetup& request) {
    if (!request.of_class() || request.request != get_max_lun || request.index != 0)
        return {};
    return std::vector<std::uint8_t>{0};
}

bool UsbDisk::take_request(const UsbSetup& request, std::span<const std::uint8_t>) {
    if (!request.of_class() || request.request != mass_storage_reset || request.index != 0)
        return false;
    configured_anew(); // halted pipes stay so until they are cleared, too (3.1)
    return true;
}

// --- the image

BlockBackend::Completion UsbDisk::completion() {
    asking_ = true;
    ++*in_image_;
    return [work = work_](std::error_code error) {
        --*work->in_image;
        if (work->owner != nullptr)
            work->owner->image_done(error);
    };
}

void UsbDisk::image_done(std::error_code error) {
    asking_ = false;
    const bool writing = task_.work != ScsiTask::Work::Read;
    if (error) {
        disk_.medium_failed(writing);
        status_ = Status::Failed;
        wanted_ = std::min(wanted_, imaged_);
        flush_ = false;
        work_->buffer.clear();
    } else {
        imaged_ += work_->buffer.size();
        if (writing)
            work_->buffer.clear();
    }
    given_ = 0;
    ready();
}

void UsbDisk::fill() {
    auto& buffer = work_->buffer;
    buffer.resize(static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes, wanted_ - imaged_)));
    medium_->read(task_.offset + imaged_, buffer, completion());
}

void UsbDisk::drain() {
    medium_->write(task_.offset + imaged_, work_->buffer, completion());
}

// --- the transport

UsbReply UsbDisk::take(unsigned, std::span<const std::uint8_t> data) {
    switch (phase_) {
    case Phase::Command:
        return take_command(data);
    case Phase::DataOut:
        return take_data(data);
    case Phase::DataIn:
    case Phase::Status:
        return UsbReply::Nak; // a status is to be fetched first
    case Phase::Lost:
        break;
    }
    return UsbReply::Stall;
}

UsbIn UsbDisk::give(unsigned, std::span<std::uint8_t> room) {
    switch (phase_) {
    case Phase::DataIn:
        return give_data(room);
    case Phase::Status:
        return give_status(room);
    case Phase::Command:
    case Phase::DataOut:
        return {UsbReply::Nak, 0};
    case Phase::Lost:
        break;
    }
    return {UsbReply::Stall, 0};
}

UsbReply UsbDisk::take_command(std::span<const std::uint8_t> wrapper) {
    if (*in_image_ >= most_abandoned) // a driver that resets all the time gets no more memory for it
        return UsbReply::Nak;
    if (wrapper.size() != command_wrapper_bytes || load_le<std::uint32_t>(wrapper) != command_signature) {
        phase_ = Phase::Lost;
        halt(bulk_in | endpoint_in);
        halt(bulk_out);
        return UsbReply::Ack;
    }
    tag_ = load_le<std::uint32_t>(wrapper, 4);
    expected_ = load_le<std::uint32_t>(wrapper, 8);
    const auto lun = wrapper[13] & 0xfu;
    const auto size = std::min<std::size_t>(wrapper[14] & 0x1f, command_most);
    task_ = disk_.execute(lun, wrapper.subspan(15, size));
    begin((wrapper[12] & endpoint_in) != 0);
    return UsbReply::Ack;
}

void UsbDisk::begin(bool data_in) {
    using enum ScsiTask::Work;
    const auto amount = task_.work == Reply ? task_.reply.size() : task_.bytes;
    const bool moves = task_.work == Reply || task_.work == Read || task_.work == Write;
    status_ = task_.work == Fail ? Status::Failed : Status::Passed;
    flush_ = task_.work == Flush || task_.flush;
    wanted_ = std::min<std::uint64_t>(amount, expected_);
    moved_ = imaged_ = 0;
    given_ = 0;
    work_->buffer.clear();
    // Cases 2, 3, 7, 8, 10 and 13 of 6.7: the command has more data than the host knows of, or wants it to go
    // the other way. A reply may always be cut.
    const bool wrong_way = moves && amount != 0 && (task_.work == Write) == data_in;
    if (expected_ != 0 ? wrong_way || (amount > expected_ && task_.work != Reply) : moves && amount != 0) {
        status_ = Status::PhaseError;
        task_.work = None;
        flush_ = false;
        wanted_ = 0;
    }
    phase_ = expected_ == 0 ? Phase::Status : data_in ? Phase::DataIn : Phase::DataOut;
    if (task_.work == Reply)
        work_->buffer = std::move(task_.reply);
    else if (task_.work == Read && wanted_ != 0)
        fill();
    ready(); // the other pipe has something now
}

UsbIn UsbDisk::give_data(std::span<std::uint8_t> room) {
    if (asking_)
        return {UsbReply::Nak, 0};
    if (task_.work == ScsiTask::Work::Read && moved_ < wanted_ && given_ == work_->buffer.size()) {
        fill();
        if (asking_)
            return {UsbReply::Nak, 0};
    }
    std::array<std::uint8_t, packet_bytes> bytes{};
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(packet_bytes, expected_ - moved_));
    const auto of_command =
        moved_ < wanted_ ? static_cast<std::size_t>(std::min<std::uint64_t>(size, wanted_ - moved_)) : 0;
    std::copy_n(work_->buffer.begin() + static_cast<std::ptrdiff_t>(given_), of_command, bytes.begin());
    const auto given = packet(std::span{bytes}.first(size), room);
    if (given.reply != UsbReply::Ack)
        return given;
    given_ += of_command;
    moved_ += size;
    if (moved_ == expected_)
        phase_ = Phase::Status;
    return given;
}

UsbReply UsbDisk::take_data(std::span<const std::uint8_t> data) {
    if (asking_)
        return UsbReply::Nak;
    auto& buffer = work_->buffer;
    if (moved_ < wanted_) {
        const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(data.size(), wanted_ - moved_));
        buffer.insert(buffer.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(size));
    }
    moved_ += std::min<std::uint64_t>(data.size(), expected_ - moved_);
    if (moved_ < expected_ && data.size() < packet_bytes) { // the host ends it before its time
        status_ = Status::PhaseError;
        wanted_ = imaged_;
        flush_ = false;
        buffer.clear();
        phase_ = Phase::Status;
        ready();
        return UsbReply::Ack;
    }
    if (!buffer.empty() && (buffer.size() >= chunk_bytes || moved_ >= wanted_))
        drain();
    if (moved_ == expected_) {
        phase_ = Phase::Status;
        ready();
    }
    return UsbReply::Ack;
}

UsbIn UsbDisk::give_status(std::span<std::uint8_t> room) {
    if (!asking_ && std::exchange(flush_, false))
        medium_->flush(completion());
    if (asking_)
        return {UsbReply::Nak, 0};
    std::array<std::uint8_t, status_wrapper_bytes> wrapper{};
    store_le(wrapper, 0, status_signature);
    store_le(wrapper, 4, tag_);
    store_le(wrapper, 8, static_cast<std::uint32_t>(expected_ - wanted_));
    wrapper[12] = static_cast<std::uint8_t>(status_);
    const auto given = packet(wrapper, room);
    if (given.reply == UsbReply::Ack) {
        phase_ = Phase::Command;
        ready();
    }
    return given;
}

} // namespace escalus
