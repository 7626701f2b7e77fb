// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/acpi_placement.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

namespace escalus {

namespace {

constexpr std::size_t entry_size = 128, name_size = 56;
constexpr unsigned zone_f_segment = 2;
constexpr std::uint64_t f_segment = 0xf0000; // where systems search for the MP table's pointer
enum Command : std::uint32_t { allocate = 1, add_pointer = 2, add_checksum = 3 };

std::uint32_t u32(std::span<const std::uint8_t> entry, std::size_t offset) {
    std::uint32_t value = 0;
    std::memcpy(&value, entry.data() + offset, sizeof value);
    return value;
}

std::string name_at(std::span<const std::uint8_t> entry, std::size_t offset) {
    const auto field = entry.subspan(offset, name_size);
    return {field.begin(), std::ranges::find(field, 0)};
}

class Script {
  public:
    Script(std::uint64_t base, std::uint64_t end) : base_{base}, end_{end} {}

    void place(const std::string& name, std::span<const std::uint8_t> content, std::uint64_t alignment,
               unsigned zone) {
        if (alignment == 0 || (alignment & (alignment - 1)) != 0)
            throw std::runtime_error{fmt::format("ACPI loader: alignment {} of {}", alignment, name)};
        const auto next =
            zone == zone_f_segment ? std::max(base_ + bytes_.size(), f_segment) : base_ + bytes_.size();
        const auto at = (next + alignment - 1) & ~(alignment - 1);
        if (at > end_ || content.size() > end_ - at)
            throw std::runtime_error{"ACPI loader: the tables are too large"};
        bytes_.resize(at - base_);
        bytes_.insert(bytes_.end(), content.begin(), content.end());
        places_[name] = {at, content.size()};
    }

    void link(const std::string& in, const std::string& to, std::uint32_t offset, unsigned width) {
        if (width != 1 && width != 2 && width != 4 && width != 8)
            throw std::runtime_error{"ACPI loader: pointer width"};
        auto field = range(in, offset, width);
        std::uint64_t value = 0;
        for (unsigned i = 0; i < width; ++i)
            value |= std::uint64_t{field[i]} << (8 * i);
        value += find(to).address;
        for (unsigned i = 0; i < width; ++i)
            field[i] = static_cast<std::uint8_t>(value >> (8 * i));
    }

    void checksum(const std::string& name, std::uint32_t offset, std::uint32_t start, std::uint32_t length) {
        std::uint8_t sum = 0;
        for (const auto byte : range(name, start, length))
            sum = static_cast<std::uint8_t>(sum + byte);
        auto& field = range(name, offset, 1)[0];
        field = static_cast<std::uint8_t>(field - sum);
    }

    AcpiPlacement result() {
        const auto rsdp = places_.find("etc/acpi/rsdp");
        return {rsdp == places_.end() ? 0 : rsdp->second.address, base_, std::move(bytes_)};
    }

  private:
    struct Place {
        std::uint64_t address, size;
    };
    [[nodiscard]] const Place& find(const std::string& name) const {
        if (const auto found = places_.find(name); found != places_.end())
            return found->second;
        throw std::runtime_error{fmt::format("ACPI loader: {} was not placed", name)};
    }
    std::span<std::uint8_t> range(const std::string& name, std::uint64_t offset, std::uint64_t size) {
        const auto& place = find(name);
        if (offset > place.size || size > place.size - offset)
            throw std::runtime_error{
                fmt::format("ACPI loader: {:#x}+{:#x} is not in {}", offset, size, name)};
        return std::span{bytes_}.subspan(place.address - base_ + offset, size);
    }

    std::uint64_t base_, end_;
    std::vector<std::uint8_t> bytes_;
    std::map<std::string, Place> places_;
};

} // namespace

AcpiPlacement place_acpi(std::span<const std::uint8_t> script,
                         const std::function<std::span<const std::uint8_t>(std::string_view)>& file,
                         std::uint64_t base, std::uint64_t end) {
    Script work{base, end};
    for (; script.size() >= entry_size; script = script.subspan(entry_size)) {
        const auto entry = script.first(entry_size);
        const auto name = name_at(entry, 4);
        switch (u32(entry, 0)) {
        case allocate:
            work.place(name, file(name), u32(entry, 4 + name_size), entry[8 + name_size]);
            break;
        case add_pointer:
            work.link(name, name_at(entry, 4 + name_size), u32(entry, 4 + 2 * name_size),
                      entry[8 + 2 * name_size]);
            break;
        case add_checksum:
            work.checksum(name, u32(entry, 4 + name_size), u32(entry, 8 + name_size),
                          u32(entry, 12 + name_size));
            break;
        default: // zero ends nothing and does nothing; others are for firmware only
            break;
        }
    }
    return work.result();
}

} // namespace escalus
