// SPDX-License-Identifier: GPL-2.0-or-later
// The NVM command set (NVM Express 1.4, chapter 6) on the controller's one namespace.
#include "devmodel/devices/storage/nvme.hpp"
#include "devmodel/devices/storage/nvme_prp.hpp"
#include "devmodel/machine/little_endian.hpp"

namespace escalus {

using namespace nvme;

namespace {
constexpr std::uint32_t force_unit_access = 1u << 30, deallocate = 1u << 25; // of dword 12
constexpr std::uint32_t attribute_deallocate = 1u << 2;                      // dataset management, dword 11
constexpr std::uint64_t range_bytes = 16;

Status status_of(const DiskRequest& request, DiskRequest::Outcome outcome) {
    switch (outcome) {
    case DiskRequest::Outcome::Good:
        return Status::Success;
    case DiskRequest::Outcome::BadMemory:
        return Status::DataTransferError;
    case DiskRequest::Outcome::Differs:
        return Status::CompareFailure;
    case DiskRequest::Outcome::BadImage:
        break;
    }
    if (request.work == DiskRequest::Work::Read || request.work == DiskRequest::Work::Compare)
        return Status::UnrecoveredRead;
    return request.error == std::errc::no_space_on_device ? Status::CapacityExceeded : Status::WriteFault;
}
} // namespace

bool Nvme::in_image(std::uint64_t lba, std::uint64_t count) const {
    return lba <= blocks() && count <= blocks() - lba;
}

void Nvme::run_io(std::uint16_t queue, const Command& command) {
    auto request = std::make_shared<DiskRequest>();
    if (const auto status = prepare(command, *request); status != Status::Success) {
        fail_io(queue, command, status);
        return;
    }
    request->done = [this, queue, command](DiskRequest& r, DiskRequest::Outcome outcome) {
        finish_io(queue, command, r, outcome);
    };
    requests_.start(memory_, std::move(request));
}

Status Nvme::prepare(const Command& command, DiskRequest& request) {
    using Work = DiskRequest::Work;
    const bool all = command.opcode == nvme::flush && command.nsid == every_namespace;
    if (command.nsid != 1 && !all)
        return Status::InvalidNamespace;
    switch (command.opcode) {
    case nvme::flush:
        request.work = Work::Flush;
        request.flush_after = true;
        return Status::Success;
    case nvme::read:
        request.work = Work::Read;
        request.flush_first = (command.dword(12) & force_unit_access) != 0;
        return prepare_transfer(command, request);
    case nvme::compare:
        request.work = Work::Compare;
        return prepare_transfer(command, request);
    case nvme::write:
        request.work = Work::Write;
        return prepare_transfer(command, request);
    case nvme::write_zeroes:
        return prepare_zeroes(command, request);
    case dataset_management:
        return prepare_ranges(command, request);
    default:
        return Status::InvalidOpcode;
    }
}

Status Nvme::prepare_transfer(const Command& command, DiskRequest& request) {
    const std::uint64_t count = (command.dword(12) & 0xffff) + 1, bytes = count << block_shift;
    if (bytes > 4096u << transfer_shift)
        return Status::InvalidField;
    if (!in_image(command.lba(), count))
        return Status::LbaOutOfRange;
    if (request.work == DiskRequest::Work::Write) {
        if (image_->read_only())
            return Status::WriteProtected;
        request.flush_after = !write_back_ || (command.dword(12) & force_unit_access) != 0;
    }
    request.offset = command.lba() << block_shift;
    return collect_regions(memory_, command, bytes, page_bytes_, request.data);
}

Status Nvme::prepare_zeroes(const Command& command, DiskRequest& request) {
    const std::uint64_t count = (command.dword(12) & 0xffff) + 1;
    if (!image_->can_trim() && !image_->read_only())
        return Status::InvalidOpcode;
    if (!in_image(command.lba(), count))
        return Status::LbaOutOfRange;
    if (image_->read_only())
        return Status::WriteProtected;
    request.work = DiskRequest::Work::Zero;
    request.flush_after = !write_back_ || (command.dword(12) & force_unit_access) != 0;
    request.ranges.push_back(
        {command.lba() << block_shift, count << block_shift, (command.dword(12) & deallocate) != 0});
    return Status::Success;
}

/// Of the attributes only "deallocate" says what is to be done; the others are hints (6.7).
Status Nvme::prepare_ranges(const Command& command, DiskRequest& request) {
    const std::uint64_t count = (command.dword(10) & 0xff) + 1;
    if (!image_->can_trim() && !image_->read_only())
        return Status::InvalidOpcode;
    GuestBuffers list;
    if (const auto status = collect_regions(memory_, command, count * range_bytes, page_bytes_, list);
        status != Status::Success)
        return status;
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count * range_bytes));
    if (!list.read(memory_, 0, bytes))
        return Status::DataTransferError;
    if ((command.dword(11) & attribute_deallocate) != 0 && image_->read_only())
        return Status::WriteProtected;
    request.work = DiskRequest::Work::Discard;
    for (std::size_t at = 0; at < bytes.size(); at += range_bytes) {
        const auto length = load_le<std::uint32_t>(bytes, at + 4);
        const auto lba = load_le<std::uint64_t>(bytes, at + 8);
        if (!in_image(lba, length))
            return Status::LbaOutOfRange;
        if (length != 0 && (command.dword(11) & attribute_deallocate) != 0)
            request.ranges.push_back({lba << block_shift, std::uint64_t{length} << block_shift, true});
    }
    request.flush_after = !write_back_ && !request.ranges.empty();
    return Status::Success;
}

void Nvme::finish_io(std::uint16_t queue, const Command& command, const DiskRequest& request,
                     DiskRequest::Outcome outcome) {
    const auto status = status_of(request, outcome);
    if (status != Status::Success) {
        health_.media_errors += outcome == DiskRequest::Outcome::BadImage ? 1 : 0;
        fail_io(queue, command, status);
        return;
    }
    const auto moved = request.data.size() >> block_shift;
    if (request.work == DiskRequest::Work::Read || request.work == DiskRequest::Work::Compare) {
        ++health_.reads;
        health_.blocks_read += moved;
    } else if (request.work == DiskRequest::Work::Write) {
        ++health_.writes;
        health_.blocks_written += moved;
    }
    complete(queue, command.id, Status::Success);
}

void Nvme::fail_io(std::uint16_t queue, const Command& command, Status status) {
    ++health_.errors;
    failures_.push_front(
        {health_.errors, command.lba(), queue, command.id, static_cast<std::uint16_t>(status), command.nsid});
    if (failures_.size() > error_log_entries)
        failures_.pop_back();
    complete(queue, command.id, status, 0, true);
}

} // namespace escalus
