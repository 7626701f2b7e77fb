// SPDX-License-Identifier: GPL-2.0-or-later
// Frames: when they are carried out, and what is in them (UHCI 1.1, chapter 3).
#include "devmodel/devices/usb/uhci.hpp"
#include "devmodel/machine/little_endian.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

using namespace uhci;

namespace {
constexpr GuestTime frame_time = ns_per_second / 1000;

// Bounds of one frame. The wire would do some 1200 bytes.
constexpr unsigned most_bytes = 16 * 1024, most_structures = 1024;
// Frames that are made up for when the host was late; those before are as if the bus had been busy.
constexpr std::uint64_t most_behind = 64;

/// In how many frames to look again after so many without an event.
std::uint64_t stride_after(std::uint64_t idle) {
    return idle < 32 ? 1 : idle < 256 ? 4 : 16;
}
} // namespace

struct Uhci::Frame {
    unsigned bytes = 0, structures = 0;
    bool event = false; // a transaction or an interrupt, and not just NAKs
    bool complete = false, short_packet = false, error = false;
};

// --- time

void Uhci::run() {
    status_ &= static_cast<std::uint16_t>(~sts_halted);
    began_ = clock_.now();
    next_ = 0;
    idle_ = 0;
    wake();
}

void Uhci::halt() {
    catch_up();
    if (!running()) // an error came first
        return;
    first_frame_ = static_cast<std::uint16_t>((first_frame_ + frames_begun()) & frame_mask);
    command_ &= static_cast<std::uint16_t>(~cmd_run);
    status_ |= sts_halted;
    timer_.cancel();
}

std::uint64_t Uhci::frames_begun() const {
    return static_cast<std::uint64_t>((clock_.now() - began_) / frame_time);
}

GuestTime Uhci::end_of(std::uint64_t frame) const {
    return began_ + static_cast<GuestTime>(frame + 1) * frame_time;
}

/// Carries out the frames that are over.
void Uhci::catch_up() {
    if (walking_ || !running())
        return;
    walking_ = true;
    const auto due = frames_begun();
    if (due - next_ > most_behind)
        next_ = due - most_behind;
    while (running() && next_ < due)
        carry_out(next_++);
    walking_ = false;
    update_interrupt();
    if (std::exchange(woken_, false) || (idle_ == 0 && due != 0))
        wake();
}

void Uhci::timer_fired() {
    ++wakeups_;
    catch_up();
    if (!timer_.armed() && running() && bus_master_enabled())
        timer_.arm(end_of(frames_begun() + stride_after(idle_) - 1));
}

/// Something has changed: the next look comes with the end of this frame.
void Uhci::wake() {
    if (walking_) {
        woken_ = true;
        return;
    }
    if (!running() || !bus_master_enabled())
        return timer_.cancel();
    const auto soon = end_of(frames_begun());
    if (!timer_.armed() || timer_.deadline() > soon)
        timer_.arm(soon);
}

void Uhci::stop_with(std::uint16_t error) {
    status_ |= error | sts_halted;
    first_frame_ = static_cast<std::uint16_t>((first_frame_ + next_) & frame_mask);
    command_ &= static_cast<std::uint16_t>(~cmd_run);
    timer_.cancel();
}

// --- memory

bool Uhci::load(std::uint32_t address, std::span<std::uint32_t> words) {
    std::array<std::uint8_t, 16> bytes{};
    if (!memory_.read(GuestPhys{address}, std::span{bytes}.first(words.size() * 4))) {
        stop_with(sts_system_error);
        return false;
    }
    for (std::size_t i = 0; i < words.size(); ++i)
        words[i] = load_le<std::uint32_t>(bytes, 4 * i);
    return true;
}

bool Uhci::store(std::uint32_t address, std::uint32_t word) {
    std::array<std::uint8_t, 4> bytes{};
    store_le(bytes, 0, word);
    if (memory_.write(GuestPhys{address}, bytes))
        return true;
    stop_with(sts_system_error);
    return false;
}

// --- the schedule

void Uhci::carry_out(std::uint64_t number) {
    if (!bus_master_enabled() || (command_ & cmd_global_suspend) != 0)
        return;
    ++frames_;
    Frame frame;
    std::array<std::uint32_t, 1> link{};
    const auto entry = (first_frame_ + number) % frames_in_list;
    if (load(static_cast<std::uint32_t>(frame_list_ + 4 * entry), link))
        walk(frame, link[0]);
    // Interrupts come with the end of the frame (2.1.2).
    if (frame.complete || frame.short_packet)
        status_ |= sts_interrupt;
    complete_ = complete_ || frame.complete;
    short_packet_ = short_packet_ || frame.short_packet;
    if (frame.error)
        status_ |= sts_error;
    idle_ = frame.event ? 0 : idle_ + 1;
}

void Uhci::walk(Frame& frame, std::uint32_t link) {
    std::uint32_t queue = 0; // the queue head whose elements are looked at
    bool in_queue = false;
    std::uint32_t queue_link = 0; // its way on
    // Bandwidth reclamation links the last queue back to an earlier one (3.4.2): a round in which nothing
    // moved is the last. A mark that moves on with every power of two finds the circle (Brent).
    std::uint32_t mark = link_end;
    unsigned queues = 0, next_mark = 1, moved_at_mark = 0;
    while ((link & link_end) == 0) {
        // Whoever links what never ends gets what a full frame gets.
        if (++frame.structures > most_structures || frame.bytes >= most_bytes)
            return;
        const auto address = link & link_address;
        if ((link & link_queue) != 0) {
            if (address == mark && frame.bytes == moved_at_mark)
                return;
            if (address == mark || ++queues == next_mark) {
                next_mark = address == mark ? next_mark : 2 * next_mark;
                mark = address;
                moved_at_mark = frame.bytes;
            }
            std::array<std::uint32_t, 2> head{};
            if (!load(address, head))
                return;
            queue = address;
            queue_link = head[0];
            in_queue = (head[1] & link_end) == 0;
            link = in_queue ? head[1] : head[0];
            continue;
        }
        std::array<std::uint32_t, 4> words{};
        if (!load(address, words))
            return;
        TransferDescriptor td{words[0], words[1], words[2], words[3]};
        const auto outcome = execute(td, frame, in_queue);
        if (outcome == Outcome::Halt)
            return;
        if (td.control != words[1] && !store(address + 4, td.control))
            return;
        if (!in_queue) {
            link = td.link;
        } else if (outcome == Outcome::Done) {
            // The element is done with; the queue goes on in this frame if it is said so (3.2.1, Vf).
            if (!store(queue + 4, td.link))
                return;
            const bool depth = (td.link & (link_depth | link_end)) == link_depth;
            in_queue = depth;
            link = depth ? td.link : queue_link;
        } else {
            in_queue = false;
            link = queue_link;
        }
        if ((command_ & cmd_single_step) != 0 && (words[1] & td_active) != 0) { // SWDBG: one at a time
            stop_with(0);
            return;
        }
    }
}

Uhci::Outcome Uhci::execute(TransferDescriptor& td, Frame& frame, bool queued) {
    if ((td.control & td_active) == 0) {
        // An interrupt on completion is for those, too, that have been before (3.2.2).
        if ((td.control & td_complete) != 0) {
            frame.complete = frame.event = true;
        }
        return Outcome::NotNow;
    }
    const auto outcome = transact(td, frame, queued);
    if (outcome == Outcome::Halt || outcome == Outcome::NotNow)
        return outcome;
    frame.event = true;
    if ((td.control & td_active) == 0 && (td.control & td_complete) != 0)
        frame.complete = true;
    if (outcome == Outcome::Short)
        frame.short_packet = true;
    if (outcome == Outcome::Failed && (td.control & td_active) == 0)
        frame.error = true;
    return outcome;
}

UsbDevice* Uhci::find(unsigned address) {
    for (auto& port : ports_) {
        if (!port.device || (port.state & (port_enabled | port_suspend | port_reset)) != port_enabled)
            continue;
        if (auto* device = port.device->find(address))
            return device;
    }
    return nullptr;
}

/// A transaction that got no proper answer: it is tried again until the counter in the descriptor runs out
/// (3.2.2, C_ERR), without end when that is zero from the start.
Uhci::Outcome Uhci::failed(TransferDescriptor& td, std::uint32_t status) {
    td.control |= status;
    const auto left = td.control & td_errors;
    if ((td.control & td_isochronous) != 0) {
        td.control &= ~td_active;
    } else if (left != 0) {
        td.control -= td_one_error;
        if (left == td_one_error) {
            td.control &= ~td_active;
            td.control |= td_stalled;
        }
    }
    return Outcome::Failed;
}

Uhci::Outcome Uhci::transact(TransferDescriptor& td, Frame& frame, bool queued) {
    const auto pid = td.pid();
    const auto length = td.length();
    if ((pid != pid_in && pid != pid_out && pid != pid_setup) || length > most_packet) {
        stop_with(sts_process_error);
        return Outcome::Halt;
    }
    std::array<std::uint8_t, most_packet> buffer;
    const auto data = std::span{buffer}.first(length);
    const bool to_device = pid != pid_in;
    if (to_device && length != 0 && !memory_.read(GuestPhys{td.buffer}, data)) {
        stop_with(sts_system_error);
        return Outcome::Halt;
    }
    UsbIn result{UsbReply::Silent, 0};
    if (auto* device = find(td.address())) {
        if (pid == pid_in)
            result = device->in(td.endpoint(), data);
        else if (pid == pid_out)
            result = {device->out(td.endpoint(), data), length};
        else
            result = {device->setup(td.endpoint(), data), length};
    }
    td.control &= ~(td_nak | td_timeout | td_babble | td_buffer_error | td_bit_stuff | td_stalled);
    const auto set_length = [&](std::size_t bytes) {
        td.control = (td.control & ~td_length) | ((static_cast<std::uint32_t>(bytes) - 1) & td_length);
    };
    switch (result.reply) {
    case UsbReply::Nak:
        td.control |= td_nak;
        return Outcome::NotNow;
    case UsbReply::Stall:
    case UsbReply::Babble:
        td.control &= ~td_active;
        td.control |= td_stalled | (result.reply == UsbReply::Babble ? td_babble : 0);
        set_length(0);
        return Outcome::Failed;
    case UsbReply::Silent:
        set_length(0);
        return failed(td, td_timeout);
    case UsbReply::Ack:
        break;
    }
    if (!to_device && result.bytes != 0 && !memory_.write(GuestPhys{td.buffer}, data.first(result.bytes))) {
        stop_with(sts_system_error);
        return Outcome::Halt;
    }
    frame.bytes += static_cast<unsigned>(result.bytes) + 13; // token, handshake and gaps (USB 1.1, 5.8.4)
    td.control &= ~td_active;
    set_length(result.bytes);
    // The queue waits for its driver when a packet was shorter than asked for (3.2.2, SPD).
    if (!to_device && queued && (td.control & td_short) != 0 && result.bytes < length)
        return Outcome::Short;
    return Outcome::Done;
}

} // namespace escalus
