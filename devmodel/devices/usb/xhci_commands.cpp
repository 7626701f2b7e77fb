// SPDX-License-Identifier: GPL-2.0-or-later
// The command ring (4.6): slots and endpoints.
#include "devmodel/devices/usb/xhci.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

using namespace xhci;

namespace {
constexpr unsigned most_commands = 64; // at a time
constexpr unsigned most_links = 16;    // link TRBs in a row
constexpr unsigned control_endpoint = 1, most_endpoints = 31;
constexpr std::uint8_t type_control = 4, type_isochronous_out = 1, type_isochronous_in = 5;
constexpr GuestTime soon = ns_per_second / 8000;

std::uint64_t input_context(std::uint64_t input, unsigned index) { // after the control context (6.2.5)
    return input + (index + 1) * context_bytes;
}
} // namespace

void Xhci::run_commands() {
    commands_run_ = true;
    unsigned links = 0;
    for (unsigned n = 0; n < most_commands && commands_run_ && running();) {
        const auto trb = load_trb(commands_.at);
        if (!trb || ((trb->control & trb_cycle) != 0) != commands_.cycle)
            return;
        if (trb->type() == TrbType::Link) {
            if (++links > most_links)
                return system_error();
            commands_.at = trb->parameter & ~std::uint64_t{0xf};
            if ((trb->control & trb_toggle) != 0)
                commands_.cycle = !commands_.cycle;
            continue;
        }
        links = 0;
        ++n;
        const auto at = std::exchange(commands_.at, commands_.at + trb_bytes);
        const auto [code, slot] = command(*trb);
        post({.parameter = at,
              .status = static_cast<std::uint32_t>(code) << 24,
              .control = static_cast<std::uint32_t>(TrbType::CommandCompletion) << 10 | slot << 24});
    }
    if (commands_run_ && running())
        timer_.arm(clock_.now() + soon); // there may be more
}

std::pair<Xhci::Code, unsigned> Xhci::command(const Trb& trb) {
    const auto id = trb.slot();
    switch (trb.type()) {
    case TrbType::NoOpCommand:
        return {Code::Success, 0};
    case TrbType::EnableSlot:
        for (unsigned i = 1; i <= std::min<unsigned>(configure_, slot_count); ++i)
            if (!slots_[i].enabled) {
                slots_[i] = {};
                slots_[i].enabled = true;
                return {Code::Success, i};
            }
        return {Code::NoSlots, 0};
    case TrbType::DisableSlot:
    case TrbType::AddressDevice:
    case TrbType::ConfigureEndpoint:
    case TrbType::EvaluateContext:
    case TrbType::ResetEndpoint:
    case TrbType::StopEndpoint:
    case TrbType::SetDequeue:
    case TrbType::ResetDevice:
        break;
    default:
        return {Code::Trb, 0};
    }
    if (id == 0 || id > slot_count || !slots_[id].enabled)
        return {Code::SlotNotEnabled, id};
    auto& slot = slots_[id];
    switch (trb.type()) {
    case TrbType::DisableSlot:
        disable(slot);
        return {Code::Success, id};
    case TrbType::AddressDevice:
        return {address_device(slot, id, trb), id};
    case TrbType::ConfigureEndpoint:
        return {configure(slot, trb), id};
    case TrbType::EvaluateContext:
        return {evaluate(slot, trb), id};
    case TrbType::ResetDevice:
        return {reset_device(slot), id};
    default:
        return {endpoint_command(slot, trb), id};
    }
}

void Xhci::disable(Slot& slot) {
    if (slot.state != SlotState::Disabled)
        write_slot_state(slot, SlotState::Disabled);
    slot = {};
}

void Xhci::write_slot_state(Slot& slot, SlotState state) {
    slot.state = state;
    std::array<std::uint32_t, 1> word{};
    if (!load(slot.context + 12, word))
        return;
    word[0] = static_cast<std::uint32_t>(state) << 27 | slot.address;
    store(slot.context + 12, word);
}

/// State and dequeue pointer, where software finds them (6.2.3).
void Xhci::write_endpoint(const Slot& slot, unsigned index) {
    const auto& endpoint = slot.endpoints[index];
    const auto at = slot.context + index * context_bytes;
    std::array<std::uint32_t, 4> words{};
    if (!load(at, words))
        return;
    words[0] = (words[0] & ~7u) | static_cast<std::uint32_t>(endpoint.state);
    words[2] = static_cast<std::uint32_t>(endpoint.ring.at) | (endpoint.ring.cycle ? 1u : 0u);
    words[3] = static_cast<std::uint32_t>(endpoint.ring.at >> 32);
    store(at, words);
}

/// Takes an endpoint's context over from the input context to the output context.
bool Xhci::enable_endpoint(Slot& slot, unsigned index, std::uint64_t context) {
    std::array<std::uint32_t, 8> words{};
    if (!load(context, words))
        return false;
    auto& endpoint = slot.endpoints[index];
    endpoint = {
        .state = EndpointState::Running,
        .type = static_cast<std::uint8_t>(words[1] >> 3 & 7),
        .max_packet = static_cast<std::uint16_t>(words[1] >> 16),
        .ring = {(std::uint64_t{words[3]} << 32 | words[2]) & ~std::uint64_t{0xf}, (words[2] & 1) != 0}};
    const bool streams = (words[0] >> 10 & 0x1f) != 0;
    const bool in = (index & 1) != 0;
    const bool fits = index == control_endpoint ? endpoint.type == type_control
                                                : endpoint.type != type_control && (endpoint.type >= 4) == in;
    if (streams || !fits || endpoint.type == 0 || endpoint.max_packet == 0 || endpoint.max_packet > 1024 ||
        endpoint.type == type_isochronous_in || endpoint.type == type_isochronous_out) {
        endpoint = {};
        return false;
    }
    words[0] = (words[0] & ~7u) | static_cast<std::uint32_t>(endpoint.state);
    return store(slot.context + index * context_bytes, words);
}

// 4.6.5. The device is found by its port, and has address 0 since that was reset; its address is the slot's
// number.
Xhci::Code Xhci::address_device(Slot& slot, unsigned id, const Trb& trb) {
    const auto input = trb.parameter & ~std::uint64_t{0xf};
    std::array<std::uint32_t, 2> flags{};
    std::array<std::uint32_t, 8> words{};
    std::array<std::uint32_t, 2> output{};
    if (!load(input, flags) || !load(input_context(input, 0), words) || !load(contexts_ + id * 8, output))
        return Code::Trb;
    const bool block = (trb.control & trb_block_address) != 0;
    const auto port = words[1] >> 16 & 0xff;
    if (flags[0] != 0 || (flags[1] & 3) != 3 || port == 0 || port > port_count)
        return Code::Trb;
    if (slot.state != SlotState::Disabled && (slot.state != SlotState::Default || block))
        return Code::ContextState;
    slot.context = (std::uint64_t{output[1]} << 32 | output[0]) & ~std::uint64_t{0x3f};
    slot.port = port;
    slot.address = 0;
    auto* device = device_of(slot);
    if (device == nullptr)
        return Code::Transaction;
    if (!block) {
        const std::array<std::uint8_t, usb::setup_bytes> request{
            0, usb::set_address, static_cast<std::uint8_t>(id), 0, 0, 0, 0, 0};
        if (device->setup(0, request) != UsbReply::Ack || device->in(0, {}).reply != UsbReply::Ack)
            return Code::Transaction;
        slot.address = static_cast<std::uint8_t>(id);
    }
    if (!enable_endpoint(slot, control_endpoint, input_context(input, control_endpoint)))
        return Code::Parameter;
    slot.state = block ? SlotState::Default : SlotState::Addressed;
    words[3] = static_cast<std::uint32_t>(slot.state) << 27 | slot.address;
    return store(slot.context, words) ? Code::Success : Code::Trb;
}

// 4.6.6
Xhci::Code Xhci::configure(Slot& slot, const Trb& trb) {
    if (slot.state != SlotState::Addressed && slot.state != SlotState::Configured)
        return Code::ContextState;
    const auto input = trb.parameter & ~std::uint64_t{0xf};
    const bool all = (trb.control & trb_deconfigure) != 0;
    std::array<std::uint32_t, 2> flags{};
    if (!all && !load(input, flags))
        return Code::Trb;
    if (!all && ((flags[0] & 3) != 0 || (flags[1] & 3) != 1))
        return Code::Trb;
    for (unsigned i = 2; i <= most_endpoints; ++i) {
        const bool drop = all || (flags[0] >> i & 1) != 0, add = !all && (flags[1] >> i & 1) != 0;
        if (drop && slot.endpoints[i].state != EndpointState::Disabled) {
            slot.endpoints[i] = {};
            write_endpoint(slot, i);
        }
        if (add && !enable_endpoint(slot, i, input_context(input, i)))
            return Code::Parameter;
    }
    std::array<std::uint32_t, 1> given{}, word{};
    if (!load(slot.context, word) || (!all && !load(input_context(input, 0), given)))
        return Code::Trb;
    const auto entries = all ? 1u << 27 : given[0] & 0xf8000000;
    // What a hub's driver tells of it (MTT and Hub) comes along.
    word[0] = (word[0] & 0x01ffffff) | entries | (given[0] & 0x06000000);
    if (!store(slot.context, word))
        return Code::Trb;
    write_slot_state(slot, all ? SlotState::Addressed : SlotState::Configured);
    return Code::Success;
}

// 4.6.7: the size of the control endpoint's packets, and what the slot's context says of latency and
// interrupter.
Xhci::Code Xhci::evaluate(Slot& slot, const Trb& trb) {
    if (slot.state == SlotState::Disabled)
        return Code::ContextState;
    const auto input = trb.parameter & ~std::uint64_t{0xf};
    std::array<std::uint32_t, 2> flags{}, given{}, kept{};
    if (!load(input, flags) || flags[0] != 0 || (flags[1] & ~3u) != 0)
        return Code::Trb;
    if ((flags[1] & 1) != 0) {
        if (!load(input_context(input, 0) + 4, given) || !load(slot.context + 4, kept))
            return Code::Trb;
        kept[0] = (kept[0] & ~0xffffu) | (given[0] & 0xffff);
        kept[1] = (kept[1] & 0x003fffff) | (given[1] & 0xffc00000);
        store(slot.context + 4, kept);
    }
    if ((flags[1] & 2) != 0) {
        const auto at = slot.context + control_endpoint * context_bytes;
        if (!load(input_context(input, control_endpoint), given) || !load(at, kept))
            return Code::Trb;
        const auto size = given[1] >> 16;
        if (size == 0 || size > 1024)
            return Code::Parameter;
        kept[1] = (kept[1] & 0xffff) | size << 16;
        slot.endpoints[control_endpoint].max_packet = static_cast<std::uint16_t>(size);
        store(at, kept);
    }
    return Code::Success;
}

// 4.6.8 to 4.6.10
Xhci::Code Xhci::endpoint_command(Slot& slot, const Trb& trb) {
    const auto index = trb.endpoint();
    if (index == 0 || slot.endpoints[index].state == EndpointState::Disabled)
        return Code::EndpointNotEnabled;
    auto& endpoint = slot.endpoints[index];
    switch (trb.type()) {
    case TrbType::StopEndpoint:
        if (endpoint.state != EndpointState::Running)
            return Code::ContextState;
        endpoint.state = EndpointState::Stopped;
        break;
    case TrbType::ResetEndpoint:
        if (endpoint.state != EndpointState::Halted)
            return Code::ContextState;
        endpoint.state = EndpointState::Stopped;
        break;
    default: // Set TR Dequeue Pointer
        if (endpoint.state != EndpointState::Stopped && endpoint.state != EndpointState::Error)
            return Code::ContextState;
        endpoint.ring = {trb.parameter & ~std::uint64_t{0xf}, (trb.parameter & 1) != 0};
        endpoint.moved = 0;
        endpoint.state = EndpointState::Stopped;
        break;
    }
    write_endpoint(slot, index);
    return Code::Success;
}

// 4.6.11: the device has been reset, and has address 0 again.
Xhci::Code Xhci::reset_device(Slot& slot) {
    if (slot.state != SlotState::Addressed && slot.state != SlotState::Configured)
        return Code::ContextState;
    for (unsigned i = 2; i <= most_endpoints; ++i)
        if (slot.endpoints[i].state != EndpointState::Disabled) {
            slot.endpoints[i] = {};
            write_endpoint(slot, i);
        }
    slot.address = 0;
    write_slot_state(slot, SlotState::Default);
    return Code::Success;
}

} // namespace escalus
