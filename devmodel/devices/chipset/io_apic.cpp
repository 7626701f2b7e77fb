// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/io_apic.hpp"

namespace escalus {

namespace {

constexpr std::uint64_t offset_index = 0x00, offset_data = 0x10, offset_eoi = 0x40;
constexpr unsigned reg_id = 0, reg_version = 1, reg_arbitration = 2, reg_entries = 0x10;
constexpr std::uint32_t version = 0x20;

constexpr std::uint64_t entry_logical = 1 << 11, entry_remote_irr = 1 << 14, entry_level = 1 << 15,
                        entry_masked = 1 << 16;
constexpr std::uint64_t entry_writable = 0xff00'0000'0001'afffull; // not delivery status and remote IRR
constexpr unsigned entry_delivery_shift = 8, entry_destination_shift = 56;

} // namespace

IoApic::IoApic(Bus& memory, ApicBus& bus, std::uint8_t id) : bus_{bus}, power_on_id_{id} {
    memory.add(mmio_base, mmio_size, *this, 0);
    bus.attach(*this);
    reset(ResetKind::PowerOn);
}

void IoApic::reset(ResetKind) {
    index_ = 0;
    id_ = std::uint32_t{power_on_id_} << 24;
    entries_.fill(entry_masked);
    // levels_ stays: it is what the wires carry.
}

bool IoApic::send(unsigned input) {
    const std::uint64_t entry = entries_.at(input);
    ApicMessage message;
    message.delivery = static_cast<ApicDelivery>(entry >> entry_delivery_shift & 7);
    message.vector = static_cast<std::uint8_t>(entry);
    message.logical = (entry & entry_logical) != 0;
    message.level = (entry & entry_level) != 0;
    message.destination = static_cast<std::uint32_t>(entry >> entry_destination_shift);
    return bus_.send(message);
}

void IoApic::service_level(unsigned input) {
    std::uint64_t& entry = entries_.at(input);
    if (!levels_.at(input) || (entry & entry_level) == 0 || (entry & (entry_masked | entry_remote_irr)) != 0)
        return;
    // Only fixed and lowest-priority interrupts have an EOI to wait for (82093AA, 3.2.4, bit 14). Set before
    // sending: who receives it must find the entry in service.
    const auto delivery = static_cast<ApicDelivery>(entry >> entry_delivery_shift & 7);
    if (delivery == ApicDelivery::Fixed || delivery == ApicDelivery::LowestPriority)
        entry |= entry_remote_irr;
    if (!send(input))
        entry &= ~entry_remote_irr;
}

void IoApic::set_irq(unsigned input, bool level) {
    if (input >= input_count)
        return;
    const bool rises = level && !levels_.at(input);
    levels_.at(input) = level;
    const std::uint64_t entry = entries_.at(input);
    if ((entry & entry_level) != 0)
        service_level(input);
    else if (rises && (entry & entry_masked) == 0)
        send(input);
}

void IoApic::eoi(std::uint8_t vector) {
    for (unsigned input = 0; input < input_count; ++input) {
        std::uint64_t& entry = entries_.at(input);
        if (static_cast<std::uint8_t>(entry) != vector || (entry & entry_remote_irr) == 0)
            continue;
        entry &= ~entry_remote_irr;
        service_level(input);
    }
}

std::uint32_t IoApic::read_register() const {
    if (index_ >= reg_entries && index_ < reg_entries + 2 * input_count) {
        const std::uint64_t entry = entries_.at((index_ - reg_entries) / 2);
        return static_cast<std::uint32_t>((index_ & 1) != 0 ? entry >> 32 : entry);
    }
    switch (index_) {
    case reg_id:
    case reg_arbitration:
        return id_;
    case reg_version:
        return (input_count - 1) << 16 | version;
    default:
        return 0xffffffff;
    }
}

void IoApic::write_register(std::uint32_t value) {
    if (index_ == reg_id)
        id_ = value & 0x0f00'0000;
    else if (index_ >= reg_entries && index_ < reg_entries + 2 * input_count)
        write_entry((index_ - reg_entries) / 2, (index_ & 1) != 0, value);
}

void IoApic::write_entry(unsigned input, bool high_half, std::uint32_t value) {
    std::uint64_t& entry = entries_.at(input);
    const std::uint64_t half = high_half ? std::uint64_t{value} << 32 : value;
    const std::uint64_t mask = entry_writable & (high_half ? ~0xffff'ffffull : 0xffff'ffffull);
    entry = (entry & ~mask) | (half & mask);
    if ((entry & entry_level) == 0)
        entry &= ~entry_remote_irr; // how systems end an interrupt on parts without an EOI register
    service_level(input);
}

void IoApic::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    std::uint32_t value = 0;
    if ((offset & ~3ull) == offset_index)
        value = index_;
    else if ((offset & ~3ull) == offset_data)
        value = read_register();
    for (std::size_t i = 0; i < data.size(); ++i) {
        const std::size_t byte = (offset & 3) + i;
        data[i] = static_cast<std::uint8_t>(byte < 4 ? value >> 8 * byte : 0);
    }
}

void IoApic::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < data.size() && i < 4; ++i)
        value |= std::uint32_t{data[i]} << 8 * i;
    if (offset == offset_index)
        index_ = static_cast<std::uint8_t>(value);
    else if (offset == offset_data && data.size() >= 4) // the window takes whole registers only
        write_register(value);
    else if (offset == offset_eoi)
        eoi(static_cast<std::uint8_t>(value));
}

} // namespace escalus
