// SPDX-License-Identifier: GPL-2.0-or-later
// The admin commands of the NVMe controller (NVM Express 1.4, chapter 5), but for those about features.
#include "devmodel/devices/storage/nvme.hpp"
#include "devmodel/devices/storage/nvme_prp.hpp"
#include "devmodel/machine/little_endian.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

using namespace nvme;

void Nvme::admin(const Command& command) {
    if (const auto answer = run_admin(command))
        complete(0, command.id, answer->status, answer->result);
}

Nvme::Outcome Nvme::run_admin(const Command& command) {
    switch (command.opcode) {
    case delete_sq:
        return delete_submissions(command);
    case create_sq:
        return create_submissions(command);
    case get_log_page:
        return tell_log(command);
    case delete_cq:
        return delete_completions(command);
    case create_cq:
        return create_completions(command);
    case nvme::identify:
        return tell_identity(command);
    case abort_command:
        return Answer{Status::Success, 1}; // it was not aborted: commands run at once, and to their end
    case nvme::set_features:
        return set_feature(command);
    case nvme::get_features:
        return get_feature(command);
    case async_event_request:
        return request_event(command);
    default:
        return Answer{Status::InvalidOpcode};
    }
}

/// Hands over data, as much of it as there is.
Nvme::Outcome Nvme::give(const Command& command, std::span<const std::uint8_t> data) {
    GuestBuffers target;
    const auto status = collect_regions(memory_, command, data.size(), page_bytes_, target);
    if (status != Status::Success)
        return Answer{status};
    return Answer{target.write(memory_, 0, data) ? Status::Success : Status::DataTransferError};
}

// --- Queues (5.3 to 5.6) -----------------------------------------------------------------------------------

Nvme::Outcome Nvme::create_completions(const Command& command) {
    constexpr std::uint32_t contiguous = 1, interrupts = 2;
    const auto index = command.dword(10) & 0xffff, entries = (command.dword(10) >> 16) + 1;
    const auto flags = command.dword(11) & 0xffff, vector = command.dword(11) >> 16;
    if (index == 0 || index > completions_granted_ || completions_[index])
        return Answer{Status::InvalidQueueId};
    if (entries < 2 || entries > most_entries)
        return Answer{Status::InvalidQueueSize};
    if ((flags & contiguous) == 0)
        return Answer{Status::InvalidField};
    if (command.prp1 % page_bytes_ != 0)
        return Answer{Status::InvalidPrpOffset};
    if (vector >= msix_.vectors() || (vector != 0 && !msix_.enabled()))
        return Answer{Status::InvalidVector};
    CompletionQueue queue;
    queue.base = command.prp1;
    queue.entries = entries;
    queue.vector = static_cast<std::uint16_t>(vector);
    queue.interrupts = (flags & interrupts) != 0;
    completions_[index] = std::move(queue);
    return Answer{};
}

Nvme::Outcome Nvme::create_submissions(const Command& command) {
    constexpr std::uint32_t contiguous = 1;
    const auto index = command.dword(10) & 0xffff, entries = (command.dword(10) >> 16) + 1;
    const auto flags = command.dword(11) & 0xffff, completions = command.dword(11) >> 16;
    if (completions == 0 || completions > most_queues || !completions_[completions])
        return Answer{Status::InvalidCompletionQueue};
    if (index == 0 || index > submissions_granted_ || submissions_[index])
        return Answer{Status::InvalidQueueId};
    if (entries < 2 || entries > most_entries)
        return Answer{Status::InvalidQueueSize};
    if ((flags & contiguous) == 0)
        return Answer{Status::InvalidField};
    if (command.prp1 % page_bytes_ != 0)
        return Answer{Status::InvalidPrpOffset};
    SubmissionQueue queue;
    queue.base = command.prp1;
    queue.entries = entries;
    queue.completions = static_cast<std::uint16_t>(completions);
    submissions_[index] = queue;
    return Answer{};
}

Nvme::Outcome Nvme::delete_completions(const Command& command) {
    const auto index = command.dword(10) & 0xffff;
    if (index == 0 || index > most_queues || !completions_[index])
        return Answer{Status::InvalidQueueId};
    if (std::ranges::any_of(submissions_,
                            [index](const auto& queue) { return queue && queue->completions == index; }))
        return Answer{Status::InvalidQueueDeletion};
    completions_[index].reset();
    return Answer{};
}

Nvme::Outcome Nvme::delete_submissions(const Command& command) {
    const auto index = command.dword(10) & 0xffff;
    if (index == 0 || index > most_queues || !submissions_[index] || submissions_[index]->deleter)
        return Answer{Status::InvalidQueueId};
    submissions_[index]->deleter = command.id;
    finish_deletion(static_cast<std::uint16_t>(index)); // or later, with the last command's end
    return {};
}

// --- Identify (5.15) and logs (5.14) -----------------------------------------------------------------------

Nvme::Outcome Nvme::tell_identity(const Command& command) {
    enum : std::uint8_t { one_namespace = 0, controller = 1, namespace_list = 2, descriptor_list = 3 };
    switch (command.dword(10) & 0xff) {
    case controller:
        return give(command, identify_controller(identity_, image_->can_trim()));
    case one_namespace:
        if (command.nsid != 1)
            return Answer{Status::InvalidNamespace};
        return give(command, identify_namespace(blocks(), image_->read_only()));
    case namespace_list:
        if (command.nsid >= every_namespace - 1)
            return Answer{Status::InvalidNamespace};
        return give(command, active_namespaces(command.nsid));
    case descriptor_list:
        if (command.nsid != 1)
            return Answer{Status::InvalidNamespace};
        return give(command, namespace_descriptors(identity_));
    default:
        return Answer{Status::InvalidField};
    }
}

std::vector<std::uint8_t> Nvme::error_log() const {
    constexpr std::size_t entry_bytes = 64;
    std::vector<std::uint8_t> log(entry_bytes * error_log_entries);
    for (std::size_t i = 0; i < failures_.size(); ++i) {
        const auto entry = std::span{log}.subspan(i * entry_bytes, entry_bytes);
        const Failure& failure = failures_[i];
        store_le<std::uint64_t>(entry, 0, failure.count);
        store_le<std::uint16_t>(entry, 8, failure.queue);
        store_le<std::uint16_t>(entry, 10, failure.command);
        store_le<std::uint16_t>(entry, 12, static_cast<std::uint16_t>(failure.status << 1));
        store_le<std::uint16_t>(entry, 14, 0xffff); // no field of the command is to blame
        store_le<std::uint64_t>(entry, 16, failure.lba);
        store_le<std::uint32_t>(entry, 24, failure.nsid);
    }
    return log;
}

Nvme::Outcome Nvme::tell_log(const Command& command) {
    constexpr std::uint32_t retain_event = 1u << 15;
    constexpr std::uint64_t seconds_an_hour = 3600;
    const auto page = command.dword(10) & 0xff;
    const auto bytes =
        (((command.dword(10) >> 16) | std::uint64_t{command.dword(11) & 0xffff} << 16) + 1) * 4;
    const auto offset = command.dword(12) | std::uint64_t{command.dword(13)} << 32;
    if (offset % 4 != 0 || bytes > 4096u << transfer_shift)
        return Answer{Status::InvalidField};
    std::vector<std::uint8_t> log;
    std::uint32_t event = 0; // of which reading the page tells that it has been seen
    if (page == log_errors) {
        log = error_log();
        event = 1u << 0;
    } else if (page == log_health) {
        if (command.nsid != 0 && command.nsid != 1 && command.nsid != every_namespace)
            return Answer{Status::InvalidNamespace};
        health_.hours = ticks_at(clock_.now(), 1) / seconds_an_hour;
        log = health_log(health_);
        event = 1u << 1;
    } else if (page == log_firmware) {
        log = firmware_log();
    } else {
        return Answer{Status::InvalidLogPage};
    }
    if (offset > log.size())
        return Answer{Status::InvalidField};
    const auto rest = std::span{log}.subspan(static_cast<std::size_t>(offset));
    auto answer =
        give(command, rest.first(std::min<std::size_t>(rest.size(), static_cast<std::size_t>(bytes))));
    if (answer->status == Status::Success && (command.dword(10) & retain_event) == 0) {
        masked_events_ &= ~event;
        send_events();
    }
    return answer;
}

// --- Asynchronous events (5.2) -----------------------------------------------------------------------------

Nvme::Outcome Nvme::request_event(const Command& command) {
    if (event_requests_.size() >= most_event_requests)
        return Answer{Status::TooManyEventRequests};
    event_requests_.push_back(command.id);
    send_events();
    return {};
}

void Nvme::report_event(unsigned type, unsigned information, LogPage log) {
    const auto result = type | information << 8 | std::uint32_t{log} << 16;
    if ((masked_events_ >> type & 1) != 0 ||
        std::ranges::find(events_, result, &Event::result) != events_.end())
        return; // the driver will look at the log anyway, or has yet to hear of the same
    events_.push_back({result, type});
    send_events();
}

void Nvme::send_events() {
    for (auto event = events_.begin(); event != events_.end() && !event_requests_.empty();) {
        if ((masked_events_ >> event->type & 1) != 0) {
            ++event;
            continue;
        }
        masked_events_ |= 1u << event->type;
        const auto command = event_requests_.front();
        event_requests_.pop_front();
        const auto result = event->result;
        event = events_.erase(event);
        complete(0, command, Status::Success, result);
    }
}

} // namespace escalus
