// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/fw_cfg.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace escalus {

namespace {
constexpr std::uint16_t port_select = 0x510, port_dma = 0x514;
enum Region : unsigned { region_select, region_dma };

constexpr std::uint32_t dma_error = 1, dma_do_read = 2, dma_skip = 4, dma_select = 8, dma_do_write = 16;
constexpr std::uint64_t dma_signature = 0x51454d5520434647; // "QEMU CFG"
constexpr std::uint32_t id_traditional = 1, id_dma = 2;

template <typename T>
void put_little(FwCfg::Bytes& bytes, T value) {
    for (unsigned i = 0; i < sizeof(T); ++i)
        bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}
template <typename T>
void put_big(FwCfg::Bytes& bytes, T value) {
    for (unsigned i = sizeof(T); i-- > 0;)
        bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}
std::uint64_t get_big(std::span<const std::uint8_t> bytes) {
    std::uint64_t value = 0;
    for (const auto byte : bytes)
        value = value << 8 | byte;
    return value;
}
} // namespace

FwCfg::FwCfg(Bus& ports, GuestMemory& memory) : ports_{ports}, memory_{memory} {
    items_[key_signature].data = {'Q', 'E', 'M', 'U'};
    put_little(items_[key_id].data, id_traditional | id_dma);
    rebuild_directory();
    ports_.add(port_select, 2, *this, region_select);
    ports_.add(port_dma, 8, *this, region_dma);
}

FwCfg::~FwCfg() {
    ports_.remove(port_select);
    ports_.remove(port_dma);
}

void FwCfg::add_item(std::uint16_t key, Bytes data) {
    const bool file_key = key >= key_first_file && key < 0x4000;
    if (file_key || key == key_file_directory || !items_.emplace(key, Item{std::move(data), {}}).second)
        throw std::invalid_argument{fmt::format("fw_cfg item {:#x} is in use", key)};
}

void FwCfg::add_u16(std::uint16_t key, std::uint16_t value) {
    Bytes bytes;
    put_little(bytes, value);
    add_item(key, std::move(bytes));
}
void FwCfg::add_u32(std::uint16_t key, std::uint32_t value) {
    Bytes bytes;
    put_little(bytes, value);
    add_item(key, std::move(bytes));
}
void FwCfg::add_u64(std::uint16_t key, std::uint64_t value) {
    Bytes bytes;
    put_little(bytes, value);
    add_item(key, std::move(bytes));
}

void FwCfg::add_file(std::string name, Bytes data, Written written) {
    if (name.empty() || name.size() > longest_file_name)
        throw std::invalid_argument{fmt::format("fw_cfg file name \"{}\" is empty or too long", name)};
    if (files_.contains(name))
        throw std::invalid_argument{fmt::format("fw_cfg file \"{}\" exists already", name)};
    const auto key = static_cast<std::uint16_t>(key_first_file + files_.size());
    items_[key] = Item{std::move(data), std::move(written)};
    files_.emplace(std::move(name), key);
    rebuild_directory();
}

void FwCfg::set_file(std::string_view name, Bytes data) {
    if (const auto it = files_.find(name); it != files_.end()) {
        items_[it->second].data = std::move(data);
        rebuild_directory();
    } else {
        add_file(std::string{name}, std::move(data));
    }
}

std::span<const std::uint8_t> FwCfg::item(std::uint16_t key) const {
    const auto it = items_.find(key);
    return it == items_.end() ? std::span<const std::uint8_t>{} : it->second.data;
}

std::span<const std::uint8_t> FwCfg::file(std::string_view name) const {
    const auto it = files_.find(name);
    return it == files_.end() ? std::span<const std::uint8_t>{} : item(it->second);
}

void FwCfg::rebuild_directory() {
    Bytes directory;
    put_big(directory, static_cast<std::uint32_t>(files_.size()));
    for (const auto& [file_name, key] : files_) {
        put_big(directory, static_cast<std::uint32_t>(items_[key].data.size()));
        put_big(directory, key);
        put_big(directory, std::uint16_t{0});
        directory.insert(directory.end(), file_name.begin(), file_name.end());
        directory.resize(directory.size() + longest_file_name + 1 - file_name.size());
    }
    items_[key_file_directory].data = std::move(directory);
}

FwCfg::Item* FwCfg::selected() {
    const auto it = items_.find(key_);
    return it == items_.end() ? nullptr : &it->second;
}

void FwCfg::select(std::uint16_t key) {
    key_ = key;
    position_ = 0;
}

std::uint8_t FwCfg::next_byte() {
    const Item* item = selected();
    return item != nullptr && position_ < item->data.size() ? item->data[position_++] : 0;
}

void FwCfg::reset(ResetKind) {
    select(key_signature);
    dma_address_ = 0;
}

void FwCfg::read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        if (region == region_dma)
            data[i] = static_cast<std::uint8_t>(dma_signature >> (8 * (7 - (offset + i))));
        else // the selector cannot be read
            data[i] = offset + i == 1 ? next_byte() : 0;
    }
}

void FwCfg::read_repeated(unsigned region, std::uint64_t offset, unsigned width,
                          std::span<std::uint8_t> data) {
    if (region != region_select || offset != 1 || width != 1) {
        BusDevice::read_repeated(region, offset, width, data);
        return;
    }
    for (auto& byte : data)
        byte = next_byte();
}

void FwCfg::write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) {
    if (region == region_select) {
        if (offset == 0 && data.size() == 2)
            select(static_cast<std::uint16_t>(data[0] | data[1] << 8));
        return; // bytes written to the data port have been dropped since QEMU 2.4
    }
    // The specification allows one 64-bit write, or 32 bits high half first; the low half starts the
    // transfer.
    if (data.size() == 8 && offset == 0)
        dma_address_ = get_big(data);
    else if (data.size() == 4 && offset == 0)
        dma_address_ = get_big(data) << 32;
    else if (data.size() == 4 && offset == 4)
        dma_address_ |= get_big(data);
    else
        return;
    if (offset == 0 && data.size() == 4)
        return;
    run_dma(GuestPhys{std::exchange(dma_address_, 0)});
}

bool FwCfg::dma_read(GuestPhys to, std::uint64_t length) {
    const Item* item = selected();
    const auto there = item == nullptr ? 0 : item->data.size() - std::min(position_, item->data.size());
    const auto from_item = std::min(length, there);
    if (from_item != 0) {
        if (!memory_.write(to, std::span{item->data}.subspan(position_, from_item)))
            return false;
        position_ += from_item;
    }
    // Beyond the end an item reads as zeroes.
    static constexpr std::array<std::uint8_t, 4096> zeroes{};
    for (auto done = from_item; done < length;) {
        const auto piece = std::min<std::uint64_t>(length - done, zeroes.size());
        if (!memory_.write(to + done, std::span{zeroes}.first(piece)))
            return false;
        done += piece;
    }
    return true;
}

bool FwCfg::dma_write(GuestPhys from, std::uint64_t length) {
    Item* item = selected();
    if (item == nullptr || !item->written || position_ > item->data.size() ||
        length > item->data.size() - position_)
        return false;
    // By way of a copy, so that a bad address changes nothing.
    Bytes bytes(length);
    if (!memory_.read(from, bytes))
        return false;
    std::ranges::copy(bytes, item->data.begin() + static_cast<std::ptrdiff_t>(position_));
    item->written(position_, length, item->data);
    position_ += length;
    return true;
}

void FwCfg::run_dma(GuestPhys descriptor) {
    std::array<std::uint8_t, 16> access{};
    bool good = memory_.read(descriptor, access);
    if (good) {
        const std::span fields{access};
        const auto control = static_cast<std::uint32_t>(get_big(fields.first(4)));
        const auto length = get_big(fields.subspan(4, 4));
        const GuestPhys address{get_big(fields.subspan(8, 8))};
        if ((control & dma_select) != 0)
            select(static_cast<std::uint16_t>(control >> 16));
        if ((control & dma_do_read) != 0)
            good = dma_read(address, length);
        else if ((control & dma_do_write) != 0)
            good = dma_write(address, length);
        else if ((control & dma_skip) != 0)
            position_ += length; // 32 bits a time: cannot wrap within a machine's life
    }
    Bytes result;
    put_big(result, good ? 0 : dma_error);
    memory_.write(descriptor, result);
}

} // namespace escalus
