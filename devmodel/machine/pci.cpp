// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/pci.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace escalus {

namespace {
constexpr std::uint32_t rom_enable = 1;

constexpr std::uint32_t type_bits(bool io, bool prefetchable) {
    return io ? 1u : prefetchable ? 8u : 0u;
}
} // namespace

PciFunction::PciFunction(const PciIdentity& identity, PciSpaces spaces) : spaces_{spaces} {
    set_config(0x00, 2, identity.vendor);
    set_config(0x02, 2, identity.device);
    set_config(0x08, 1, identity.revision);
    set_config(0x09, 1, identity.class_code & 0xff);
    set_config(0x0a, 2, identity.class_code >> 8);
    set_config(0x0e, 1, identity.multifunction ? 0x80 : 0);
    set_config(0x2c, 2, identity.subsystem_vendor);
    set_config(0x2e, 2, identity.subsystem);
    set_config(0x3d, 1, identity.interrupt_pin);
    // I/O, memory, bus master, SERR# and INTx disable; the rest of the command register is hard-wired.
    set_writable(reg_command, 2, command_io | command_memory | command_master | 0x0500);
    set_write_one_to_clear(reg_status, 2, 0xf900);
    set_writable(0x0c, 2, 0xffff); // cache line size, latency timer
    set_writable(0x3c, 1, 0xff);   // interrupt line: the firmware's scratch byte
}

PciFunction::~PciFunction() {
    for (auto& bar : bars_)
        if (bar.decoded && bar.on_bus)
            (bar.kind == BarKind::Io ? spaces_.ports : spaces_.memory).remove(*bar.decoded);
}

std::uint32_t PciFunction::config(unsigned offset, unsigned width) const {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < width; ++i)
        value |= std::uint32_t{config_[offset + i]} << (8 * i);
    return value;
}

void PciFunction::set_config(unsigned offset, unsigned width, std::uint32_t value) {
    for (unsigned i = 0; i < width; ++i)
        config_[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

void PciFunction::set_writable(unsigned offset, unsigned width, std::uint32_t mask) {
    for (unsigned i = 0; i < width; ++i)
        writable_[offset + i] = static_cast<std::uint8_t>(mask >> (8 * i));
}

void PciFunction::set_write_one_to_clear(unsigned offset, unsigned width, std::uint32_t mask) {
    for (unsigned i = 0; i < width; ++i)
        clearable_[offset + i] = static_cast<std::uint8_t>(mask >> (8 * i));
}

void PciFunction::declare_bar(unsigned index, BarKind kind, std::uint64_t size, bool on_bus) {
    bars_.at(index) = Bar{kind, size, on_bus, {}};
    const auto type = type_bits(kind == BarKind::Io, kind == BarKind::PrefetchableMemory);
    const auto address_mask = static_cast<std::uint32_t>(~(size - 1));
    set_config(bar_register(index), 4, index == 6 ? 0 : type);
    set_writable(bar_register(index), 4, index == 6 ? address_mask | rom_enable : address_mask);
}

namespace {

/// Firmware starts a ROM only for the card that it names (PCI 3.0, 6.3.1), and some images are for several
/// cards. The first image's vendor and device become these, and its bytes add up to 0 again, by the one that
/// iPXE and its kin keep for that.
void name_card_in_rom(std::span<std::uint8_t> rom, std::uint16_t vendor, std::uint16_t device) {
    constexpr std::size_t pointer = 0x18, checksum = 6, length_unit = 512, structure_bytes = 0x18;
    if (rom.size() < pointer + 2 || rom[0] != 0x55 || rom[1] != 0xaa)
        return;
    const std::size_t data = load_le<std::uint16_t>(rom, pointer), length = rom[2] * length_unit;
    if (length > rom.size() || data + structure_bytes > length ||
        !std::ranges::equal(rom.subspan(data, 4), std::string_view{"PCIR"}))
        return;
    if (load_le<std::uint16_t>(rom, data + 4) == vendor && load_le<std::uint16_t>(rom, data + 6) == device)
        return;
    store_le(rom, data + 4, vendor);
    store_le(rom, data + 6, device);
    const auto image = rom.first(length);
    rom[checksum] =
        static_cast<std::uint8_t>(rom[checksum] - std::accumulate(image.begin(), image.end(), 0u));
}

} // namespace

void PciFunction::set_rom(std::vector<std::uint8_t> image) {
    if (image.empty())
        return;
    name_card_in_rom(image, static_cast<std::uint16_t>(config(0, 2)),
                     static_cast<std::uint16_t>(config(2, 2)));
    constexpr std::size_t least_rom = 2048;
    image.resize(std::bit_ceil(std::max(image.size(), least_rom)), 0xff);
    declare_bar(6, BarKind::Memory, image.size());
    rom_.bytes = std::move(image);
}

void PciFunction::Rom::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), data.size(), data.begin());
}

std::optional<std::uint64_t> PciFunction::bar_address(unsigned index) const {
    return bars_.at(index).decoded;
}

void PciFunction::bar_moved(unsigned, std::optional<std::uint64_t>) {}

void PciFunction::update_bars() {
    const auto command = config(reg_command, 2);
    // A BAR that moves must first leave its old place, or two BARs that trade places would collide on the
    // way.
    std::array<std::optional<std::uint64_t>, 7> wanted;
    for (unsigned i = 0; i < bars_.size(); ++i) {
        Bar& bar = bars_[i];
        if (bar.size == 0)
            continue;
        const bool io = bar.kind == BarKind::Io;
        const auto value = config(bar_register(i), 4);
        const auto address = value & static_cast<std::uint32_t>(~(bar.size - 1));
        const bool enabled =
            (command & (io ? command_io : command_memory)) != 0 && (i != 6 || (value & rom_enable) != 0);
        // Address 0 and the top of the space are what sizing leaves behind: nothing decodes there.
        const std::uint64_t limit = io ? 0x10000 : 0x1'0000'0000;
        if (enabled && address != 0 && address + bar.size < limit)
            wanted[i] = address;
    }
    std::array<bool, 7> moved{};
    for (unsigned i = 0; i < bars_.size(); ++i) {
        Bar& bar = bars_[i];
        moved[i] = bar.decoded != wanted[i];
        if (moved[i] && bar.decoded && bar.on_bus)
            (bar.kind == BarKind::Io ? spaces_.ports : spaces_.memory).remove(*bar.decoded);
    }
    for (unsigned i = 0; i < bars_.size(); ++i) {
        if (!moved[i])
            continue;
        Bar& bar = bars_[i];
        bar.decoded.reset();
        Bus& bus = bar.kind == BarKind::Io ? spaces_.ports : spaces_.memory;
        // The guest may program two BARs, or a BAR and a fixed device, to one address. The one there first
        // wins.
        if (wanted[i] && !(bar.on_bus && bus.overlaps(*wanted[i], bar.size))) {
            if (bar.on_bus)
                bus.add(*wanted[i], bar.size,
                        i == 6 && !rom_.bytes.empty() ? static_cast<BusDevice&>(rom_) : *this, i);
            bar.decoded = wanted[i];
        }
        bar_moved(i, bar.decoded);
    }
}

void PciFunction::request_intx(bool level) {
    intx_requested_ = level;
    update_intx();
}

void PciFunction::update_intx() {
    const auto status = config(reg_status, 2);
    set_config(reg_status, 2, intx_requested_ ? status | status_intx : status & ~std::uint32_t{status_intx});
    intx_.set(intx_requested_ && (config(reg_command, 2) & command_no_intx) == 0 && !messages_enabled());
}

void PciFunction::add_capability(unsigned offset, std::uint8_t id) {
    set_config(offset, 1, id);
    set_config(offset + 1, 1, config(reg_capabilities, 1));
    set_config(reg_capabilities, 1, offset);
    set_config(reg_status, 2, config(reg_status, 2) | status_capabilities);
}

namespace {
// Offsets within the capability of messages.
constexpr unsigned msi_control = 2, msi_address = 4, msi_data = 12;
constexpr std::uint32_t msi_enable = 1, msi_wide = 0x80;
constexpr std::uint8_t msi_id = 5;
} // namespace

void PciFunction::declare_msi(unsigned offset) {
    msi_ = offset;
    add_capability(offset, msi_id);
    set_config(offset + msi_control, 2, msi_wide);
    set_writable(offset + msi_control, 2, msi_enable);
    set_writable(offset + msi_address, 4, 0xfffffffc);
    set_writable(offset + msi_address + 4, 4, 0xffffffff);
    set_writable(offset + msi_data, 2, 0xffff);
}

bool PciFunction::msi_enabled() const {
    return msi_ != 0 && (config(msi_ + msi_control, 2) & msi_enable) != 0;
}

void PciFunction::send_msi() {
    const auto address =
        std::uint64_t{config(msi_ + msi_address + 4, 4)} << 32 | config(msi_ + msi_address, 4);
    send_message(address, config(msi_ + msi_data, 2));
}

[[gnu::hot]] void PciFunction::send_message(std::uint64_t address, std::uint32_t data) {
    if (send_ && bus_master_enabled())
        send_(address, data);
}

void PciFunction::config_read(unsigned offset, std::span<std::uint8_t> data) {
    std::copy_n(config_.begin() + offset, data.size(), data.begin());
}

void PciFunction::config_write(unsigned offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        auto& byte = config_[offset + i];
        const auto mask = writable_[offset + i];
        byte = static_cast<std::uint8_t>((byte & ~mask) | (data[i] & mask));
        byte = static_cast<std::uint8_t>(byte & ~(data[i] & clearable_[offset + i]));
    }
    update_bars();
    update_intx();
}

void PciFunction::reset(ResetKind) {
    if (!std::exchange(sealed_, true))
        power_on_ = config_;
    config_ = power_on_;
    intx_requested_ = false;
    intx_.lower();
    update_bars();
}

void PciBus::plug(unsigned device, unsigned function, PciFunction& what) {
    if (!functions_.emplace(device * 8 + function, &what).second)
        throw BusConflict{fmt::format("PCI slot {:02x}.{} is taken", device, function)};
}

void PciBus::config_read(unsigned bus, unsigned device, unsigned function, unsigned offset,
                         std::span<std::uint8_t> data) {
    std::ranges::fill(data, std::uint8_t{0xff});
    if (bus != 0 || offset + data.size() > 256)
        return;
    if (auto it = functions_.find(device * 8 + function); it != functions_.end())
        it->second->config_read(offset, data);
}

void PciBus::config_write(unsigned bus, unsigned device, unsigned function, unsigned offset,
                          std::span<const std::uint8_t> data) {
    if (bus != 0 || offset + data.size() > 256)
        return;
    if (auto it = functions_.find(device * 8 + function); it != functions_.end())
        it->second->config_write(offset, data);
}

} // namespace escalus
