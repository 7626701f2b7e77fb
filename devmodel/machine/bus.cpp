// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/bus.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace escalus {

void BusDevice::read_repeated(unsigned region, std::uint64_t offset, unsigned width,
                              std::span<std::uint8_t> data) {
    for (; data.size() >= width; data = data.subspan(width))
        read(region, offset, data.first(width));
}

void BusDevice::write_repeated(unsigned region, std::uint64_t offset, unsigned width,
                               std::span<const std::uint8_t> data) {
    for (; data.size() >= width; data = data.subspan(width))
        write(region, offset, data.first(width));
}

Bus::Bus(std::string name, std::uint64_t limit) : name_{std::move(name)}, limit_{limit} {}

bool Bus::overlaps(std::uint64_t base, std::uint64_t size) const {
    auto next = ranges_.lower_bound(base);
    if (next != ranges_.end() && next->first - base < size)
        return true;
    if (next == ranges_.begin())
        return false;
    const auto& before = std::prev(next)->second;
    return base - before.base < before.size;
}

void Bus::add(std::uint64_t base, std::uint64_t size, BusDevice& device, unsigned region) {
    if (size == 0 || base >= limit_ || size > limit_ - base)
        throw BusConflict{
            fmt::format("{} bus: range {:#x}+{:#x} is empty or beyond {:#x}", name_, base, size, limit_)};
    if (overlaps(base, size))
        throw BusConflict{fmt::format("{} bus: {:#x}+{:#x} is already claimed", name_, base, size)};
    ranges_.emplace(base, Range{base, size, &device, region});
    last_ = {};
}

bool Bus::remove(std::uint64_t base) {
    last_ = {};
    return ranges_.erase(base) != 0;
}

[[gnu::hot]] const Bus::Range* Bus::find(std::uint64_t address, std::uint64_t size) const {
    auto contains = [&](const Range& r) {
        return address >= r.base && address - r.base < r.size && size <= r.size - (address - r.base);
    };
    if (contains(last_))
        return &last_;
    auto it = ranges_.upper_bound(address);
    if (it == ranges_.begin())
        return nullptr;
    const Range& r = std::prev(it)->second;
    if (!contains(r))
        return nullptr;
    last_ = r;
    return &last_;
}

[[gnu::hot]] bool Bus::read(std::uint64_t address, std::span<std::uint8_t> data) {
    if (const Range* r = find(address, data.size())) {
        r->device->read(r->region, address - r->base, data);
        return true;
    }
    std::ranges::fill(data, std::uint8_t{0xff});
    if (data.size() == 1 || !overlaps(address, data.size()))
        return false;
    bool answered = false;
    for (std::size_t i = 0; i < data.size(); ++i)
        answered |= read(address + i, data.subspan(i, 1));
    return answered;
}

[[gnu::hot]] bool Bus::write(std::uint64_t address, std::span<const std::uint8_t> data) {
    if (const Range* r = find(address, data.size())) {
        r->device->write(r->region, address - r->base, data);
        return true;
    }
    if (data.size() == 1 || !overlaps(address, data.size()))
        return false;
    bool answered = false;
    for (std::size_t i = 0; i < data.size(); ++i)
        answered |= write(address + i, data.subspan(i, 1));
    return answered;
}

bool Bus::read_repeated(std::uint64_t address, unsigned width, std::span<std::uint8_t> data) {
    if (const Range* r = find(address, width)) {
        r->device->read_repeated(r->region, address - r->base, width, data);
        return true;
    }
    bool answered = false;
    for (; data.size() >= width; data = data.subspan(width))
        answered |= read(address, data.first(width));
    return answered;
}

bool Bus::write_repeated(std::uint64_t address, unsigned width, std::span<const std::uint8_t> data) {
    if (const Range* r = find(address, width)) {
        r->device->write_repeated(r->region, address - r->base, width, data);
        return true;
    }
    bool answered = false;
    for (; data.size() >= width; data = data.subspan(width))
        answered |= write(address, data.first(width));
    return answered;
}

} // namespace escalus
