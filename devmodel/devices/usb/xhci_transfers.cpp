// SPDX-License-Identifier: GPL-2.0-or-later
// Transfer rings (4.9, 4.11): transfer descriptors, packets to and from devices, transfer events.
#include "devmodel/devices/usb/xhci.hpp"
#include "devmodel/machine/little_endian.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

using namespace xhci;

namespace {
constexpr unsigned most_transfers = 64;         // of an endpoint at a time
constexpr std::size_t most_trbs = 256;          // of a transfer descriptor
constexpr unsigned most_links = 16;             // in a row
constexpr std::uint64_t most_bytes = 64 * 1024; // of a transfer at a time
constexpr std::size_t largest_packet = 1024;
constexpr GuestTime soon = ns_per_second / 8000;

bool has_data(const Trb& trb) {
    return trb.type() == TrbType::Normal || trb.type() == TrbType::Data;
}
} // namespace

UsbDevice* Xhci::device_of(const Slot& slot) {
    if (slot.port == 0)
        return nullptr;
    auto& port = ports_[slot.port - 1];
    const bool awake = (port.state & (port_enabled | port_link_mask)) == port_enabled;
    return port.device && awake ? port.device->find(slot.address) : nullptr;
}

/// What waits for a device or for its turn.
void Xhci::work() {
    if (!running())
        return;
    flush_events();
    if (commands_run_)
        run_commands();
    for (unsigned slot = 1; slot <= slot_count; ++slot)
        for (unsigned index = 1; slots_[slot].enabled && index < slots_[slot].endpoints.size(); ++index)
            if (std::exchange(slots_[slot].endpoints[index].waiting, false))
                run_endpoint(slot, index);
    update_interrupt();
}

void Xhci::run_endpoint(unsigned number, unsigned index) {
    auto& endpoint = slots_[number].endpoints[index];
    auto outcome = Outcome::Done;
    for (unsigned n = 0; n < most_transfers && outcome == Outcome::Done && running(); ++n)
        outcome = endpoint.state == EndpointState::Running ? run_transfer(number, index) : Outcome::Halted;
    if (outcome == Outcome::Done || outcome == Outcome::Later) { // the others get their turn
        endpoint.waiting = true;
        timer_.arm(clock_.now() + soon);
    }
}

/// A doorbell lets a stopped endpoint go on, too (4.8.3).
void Xhci::ring(unsigned number, unsigned index) {
    auto& slot = slots_[number];
    if (!slot.enabled || index == 0 || index >= slot.endpoints.size())
        return;
    if (auto& endpoint = slot.endpoints[index]; endpoint.state == EndpointState::Stopped) {
        endpoint.state = EndpointState::Running;
        write_endpoint(slot, index);
    }
    run_endpoint(number, index);
}

/// The next transfer descriptor; `ring` is then behind it. Nothing when it is not whole.
bool Xhci::gather(Ring& ring, std::vector<Placed>& transfer) {
    transfer.clear();
    for (unsigned links = 0; transfer.size() < most_trbs;) {
        const auto trb = load_trb(ring.at);
        if (!trb || ((trb->control & trb_cycle) != 0) != ring.cycle)
            return false;
        if (trb->type() == TrbType::Link) {
            if (++links > most_links) {
                system_error();
                return false;
            }
            ring.at = trb->parameter & ~std::uint64_t{0xf};
            if ((trb->control & trb_toggle) != 0)
                ring.cycle = !ring.cycle;
            continue;
        }
        links = 0;
        transfer.push_back({ring.at, *trb});
        ring.at += trb_bytes;
        if ((trb->control & trb_chain) == 0)
            return true;
    }
    return true; // longer than any that means something: what follows is one of its own
}

Xhci::Outcome Xhci::run_transfer(unsigned number, unsigned index) {
    auto& slot = slots_[number];
    auto& endpoint = slot.endpoints[index];
    auto ring = endpoint.ring;
    if (!gather(ring, transfer_))
        return Outcome::Empty;
    const auto& first = transfer_.front().trb;
    std::optional<Code> code;
    if (auto* device = device_of(slot); device == nullptr) {
        code = Code::Transaction;
    } else if (first.type() == TrbType::NoOp) {
        code = Code::Success;
    } else if (index == 1 && first.type() == TrbType::Setup) {
        std::array<std::uint8_t, usb::setup_bytes> request{};
        store_le(request, 0, first.parameter);
        code = device->setup(0, request) == UsbReply::Ack ? Code::Success : Code::Transaction;
    } else if (index == 1 && first.type() == TrbType::Status) {
        code = move_data(slot, index, *device, (first.control & trb_in) != 0, 0);
    } else if (has_data(first) || first.type() == TrbType::EventData) {
        std::uint64_t total = 0;
        for (const auto& [at, trb] : transfer_)
            total += has_data(trb) ? trb.length() : 0;
        const bool in = index == 1 ? (first.control & trb_in) != 0 : (index & 1) != 0;
        code = move_data(slot, index, *device, in, total);
    } else {
        code = Code::Trb;
    }
    if (!running())
        return Outcome::Halted;
    if (!code)
        return Outcome::NotNow;
    if (*code == Code::None)
        return Outcome::Later;
    const auto moved = std::exchange(endpoint.moved, 0);
    if (*code == Code::Success) {
        endpoint.ring = ring;
        report(number, index, *code, moved);
        return Outcome::Done;
    }
    // 4.8.3: the endpoint stays where it is until software has cleared the matter up.
    endpoint.state = *code == Code::Trb ? EndpointState::Error : EndpointState::Halted;
    write_endpoint(slot, index);
    report(number, index, *code, moved);
    return Outcome::Halted;
}

/// Packets until the end of the data. Nothing: NAK; Code::None: enough for now.
std::optional<Xhci::Code> Xhci::move_data(Slot& slot, unsigned index, UsbDevice& device, bool in,
                                          std::uint64_t total) {
    auto& endpoint = slot.endpoints[index];
    std::array<std::uint8_t, largest_packet> buffer{};
    for (std::uint64_t now = 0;;) {
        const auto size =
            static_cast<std::size_t>(std::min<std::uint64_t>(endpoint.max_packet, total - endpoint.moved));
        const auto data = std::span{buffer}.first(size);
        UsbIn result;
        if (in) {
            result = device.in(index / 2, data);
        } else {
            if (!copy(endpoint.moved, data, false))
                return Code::Transaction;
            result = {device.out(index / 2, data), size};
        }
        switch (result.reply) {
        case UsbReply::Ack:
            break;
        case UsbReply::Nak:
            return {};
        case UsbReply::Stall:
            return Code::Stall;
        case UsbReply::Babble:
            return Code::Babble;
        case UsbReply::Silent:
            return Code::Transaction;
        }
        if (in && !copy(endpoint.moved, data.first(result.bytes), true))
            return Code::Transaction;
        endpoint.moved += result.bytes;
        if (endpoint.moved == total || (in && result.bytes < size))
            return Code::Success;
        now += result.bytes;
        if (now >= most_bytes)
            return Code::None;
    }
}

/// Between `data` and the buffers of the transfer, `offset` bytes from their start.
bool Xhci::copy(std::uint64_t offset, std::span<std::uint8_t> data, bool to_guest) {
    for (const auto& [at, trb] : transfer_) {
        if (data.empty())
            break;
        const std::uint64_t length = has_data(trb) ? trb.length() : 0;
        if (offset >= length) {
            offset -= length;
            continue;
        }
        const auto part =
            data.first(static_cast<std::size_t>(std::min<std::uint64_t>(data.size(), length - offset)));
        if ((trb.control & trb_immediate) != 0) { // 4.11.7: up to eight bytes in the pointer's place
            std::array<std::uint8_t, 8> bytes{};
            store_le(bytes, 0, trb.parameter);
            if (to_guest || offset + part.size() > bytes.size())
                return false;
            std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), part.size(), part.begin());
        } else if (const GuestPhys address{trb.parameter + offset};
                   !bus_master_enabled() ||
                   !(to_guest ? memory_.write(address, part) : memory_.read(address, part))) {
            system_error();
            return false;
        }
        data = data.subspan(part.size());
        offset = 0;
    }
    return data.empty();
}

/// Events (4.10.1): for the TRB where a packet was short or the transfer failed, and for one that asks for
/// it.
void Xhci::report(unsigned slot, unsigned index, Code code, std::uint64_t moved) {
    std::uint64_t left = moved;
    std::uint32_t since_event = 0; // bytes, for Event Data
    bool short_packet = false, reported = false;
    for (const auto& [at, trb] : transfer_) {
        std::uint32_t part = 0;
        if (has_data(trb)) {
            part = static_cast<std::uint32_t>(std::min<std::uint64_t>(trb.length(), left));
            short_packet = short_packet || (part < trb.length() && code == Code::Success);
            left -= part;
            since_event += part;
        }
        const bool failed_here =
            code != Code::Success && left == 0 && (part < trb.length() || !has_data(trb));
        const bool asked =
            (trb.control & trb_complete) != 0 || (short_packet && (trb.control & trb_short) != 0);
        const bool last = &trb == &transfer_.back().trb;
        if (reported || (code == Code::Success ? !asked : !failed_here && !last))
            continue;
        const bool event_data = trb.type() == TrbType::EventData;
        const auto length = event_data ? since_event & 0xffffff : has_data(trb) ? trb.length() - part : 0;
        const auto said = code == Code::Success && short_packet ? Code::ShortPacket : code;
        post({.parameter = event_data ? trb.parameter : at,
              .status = static_cast<std::uint32_t>(said) << 24 | length,
              .control = static_cast<std::uint32_t>(TrbType::TransferEvent) << 10 | slot << 24 | index << 16 |
                         (event_data ? trb_event_data : 0)});
        reported = true;
        if (event_data)
            since_event = 0;
    }
}

} // namespace escalus
