// SPDX-License-Identifier: GPL-2.0-or-later
// The queues of the NVMe controller: doorbells, commands fetched in turn, completions, interrupts (NVM
// Express 1.4, 4.1 and 7.5).
#include "devmodel/devices/storage/nvme.hpp"
#include "devmodel/machine/little_endian.hpp"

#include <atomic>
#include <utility>

namespace escalus {

using namespace nvme;

namespace {
constexpr unsigned commands_at_once = 1024; // that one call serves
// Admin commands that the image works on are few, and pass by a disk that is busy.
constexpr unsigned extra_for_admin = 4;
// Asynchronous events of the error kind (5.2.1).
constexpr unsigned event_error = 0, bad_doorbell = 0, bad_doorbell_value = 1;
} // namespace

bool Nvme::running() const {
    return (csts_ & (csts_ready | csts_fatal)) == csts_ready && !paused_ && bus_master_enabled();
}

void Nvme::ring(unsigned doorbell, std::uint32_t value) {
    if ((csts_ & csts_ready) == 0)
        return;
    const auto index = doorbell / 2;
    const bool submission = doorbell % 2 == 0;
    const bool there = index <= most_queues &&
                       (submission ? submissions_[index].has_value() : completions_[index].has_value());
    if (!there) {
        report_event(event_error, bad_doorbell, log_errors);
    } else if (submission) {
        auto& queue = *submissions_[index];
        if (value < queue.entries)
            queue.tail = value;
        else
            report_event(event_error, bad_doorbell_value, log_errors);
    } else {
        auto& queue = *completions_[index];
        // Only entries that were posted can have been taken.
        const auto taken = (value + queue.entries - queue.head) % queue.entries;
        const auto posted = (queue.tail + queue.entries - queue.head) % queue.entries;
        if (value < queue.entries && taken <= posted)
            queue.head = value;
        else
            report_event(event_error, bad_doorbell_value, log_errors);
        while (!queue.waiting.empty() && !queue.full()) {
            write_entry(queue, queue.waiting.front());
            queue.waiting.pop_front();
        }
    }
    serve();
}

void Nvme::serve() {
    if (serving_)
        return;
    serving_ = true;
    // A guest that adds commands faster than they are served shall not keep this thread for ever.
    unsigned budget = commands_at_once;
    for (bool more = true; more && budget != 0;) {
        more = false;
        for (std::uint16_t i = 0; i <= most_queues && budget != 0; ++i)
            if (fetch(i)) {
                more = true;
                --budget;
            }
    }
    if (budget == 0)
        later_.arm(0); // as soon as possible
    serving_ = false;
    tell_driver();
}

/// Takes the queue's next command; false when there is none that can be taken now.
bool Nvme::fetch(std::uint16_t index) {
    if (!running() || !submissions_[index])
        return false;
    SubmissionQueue& queue = *submissions_[index];
    const auto room = DiskRequests::most_under_way + (index == 0 ? extra_for_admin : 0);
    if (queue.head == queue.tail || queue.deleter || !completions_[queue.completions]->waiting.empty() ||
        requests_.full(room))
        return false;
    std::array<std::uint8_t, command_bytes> entry{};
    if (!memory_.read(GuestPhys{queue.base + std::uint64_t{queue.head} * command_bytes}, entry)) {
        fail();
        return false;
    }
    queue.head = (queue.head + 1) % queue.entries;
    ++queue.under_way;
    Command command{.opcode = entry[0],
                    .plain = (entry[1] & 0xc3) == 0,
                    .id = load_le<std::uint16_t>(entry, 2),
                    .nsid = load_le<std::uint32_t>(entry, 4),
                    .prp1 = load_le<std::uint64_t>(entry, 24),
                    .prp2 = load_le<std::uint64_t>(entry, 32)};
    for (unsigned i = 0; i < command.words.size(); ++i)
        command.words[i] = load_le<std::uint32_t>(entry, 40 + 4 * i);
    if (!command.plain)
        complete(index, command.id, Status::InvalidField);
    else if (index == 0)
        admin(command);
    else
        run_io(index, command);
    return true;
}

void Nvme::complete(std::uint16_t queue, std::uint16_t command, Status status, std::uint32_t result,
                    bool logged) {
    auto field = static_cast<std::uint16_t>(status);
    if (status != Status::Success)
        field = static_cast<std::uint16_t>(field | status_do_not_retry | (logged ? status_more : 0));
    post(submissions_[queue]->completions, {queue, command, field, result});
    auto& ended = *submissions_[queue];
    --ended.under_way;
    if (ended.deleter)
        finish_deletion(queue);
}

void Nvme::finish_deletion(std::uint16_t index) {
    const SubmissionQueue& queue = *submissions_[index];
    if (queue.under_way != 0)
        return;
    const auto deleter = *queue.deleter;
    // What could not be said for want of room need not be said any more (5.6).
    std::erase_if(completions_[queue.completions]->waiting,
                  [index](const Posted& posted) { return posted.queue == index; });
    submissions_[index].reset();
    complete(0, deleter, Status::Success);
}

void Nvme::post(std::uint16_t index, const Posted& posted) {
    auto& queue = *completions_[index];
    if (queue.full() || !queue.waiting.empty())
        queue.waiting.push_back(posted);
    else
        write_entry(queue, posted);
}

void Nvme::write_entry(CompletionQueue& queue, const Posted& posted) {
    std::array<std::uint8_t, completion_bytes> entry{};
    store_le<std::uint32_t>(entry, 0, posted.result);
    store_le<std::uint16_t>(entry, 8, static_cast<std::uint16_t>(submissions_[posted.queue]->head));
    store_le<std::uint16_t>(entry, 10, posted.queue);
    store_le<std::uint16_t>(entry, 12, posted.command);
    store_le<std::uint16_t>(entry, 14,
                            static_cast<std::uint16_t>(posted.status << 1 | (queue.phase ? 1 : 0)));
    const auto at = queue.base + std::uint64_t{queue.tail} * completion_bytes;
    // The driver looks at the phase, so that comes last.
    constexpr std::size_t body = 12;
    bool good = memory_.write(GuestPhys{at}, std::span{entry}.first(body));
    std::atomic_thread_fence(std::memory_order_release);
    good = memory_.write(GuestPhys{at + body}, std::span{entry}.subspan(body)) && good;
    if (!good)
        fail();
    queue.tail = (queue.tail + 1) % queue.entries;
    if (queue.tail == 0)
        queue.phase = !queue.phase;
    queue.news = queue.interrupts;
}

void Nvme::tell_driver() {
    bool level = false;
    for (auto& queue : completions_) {
        if (!queue)
            continue;
        if (std::exchange(queue->news, false))
            msix_.raise(queue->vector);
        level |= queue->interrupts && !queue->empty() &&
                 (queue->vector >= 32 || (masked_ >> queue->vector & 1) == 0);
    }
    request_intx(level);
}

} // namespace escalus
