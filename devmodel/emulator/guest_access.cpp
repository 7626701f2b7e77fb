// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/emulator/guest_access.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

namespace escalus::emulation {

namespace {
constexpr std::uint16_t attribute_type_writable = 2, attribute_type_down = 4, attribute_type_code = 8,
                        attribute_present = 0x80;

template <typename T>
bool exchange(std::span<std::uint8_t> where, std::uint64_t seen, std::uint64_t value) {
    auto expected = static_cast<T>(seen);
    return std::atomic_ref<T>{*reinterpret_cast<T*>(where.data())}.compare_exchange_strong(
        expected, static_cast<T>(value));
}

[[noreturn]] void raise_segment(bool stack) {
    throw GuestFault{.vector = stack ? vector::ss : vector::gp, .error_code = 0};
}
} // namespace

void GuestAccess::check_limit(const abi::Segment& s, bool stack, std::uint64_t offset, unsigned size,
                              Use use) const {
    const bool code = (s.attributes & attribute_type_code) != 0;
    bool expand_down = false;
    if (!mode_.real_like()) {
        if ((s.attributes & attribute_present) == 0)
            raise_segment(stack); // a null selector
        if (use == Use::Write && (code || (s.attributes & attribute_type_writable) == 0))
            raise_segment(stack);
        if (use == Use::Read && code && (s.attributes & attribute_type_writable) == 0) // bit 1: readable
            raise_segment(stack);
        expand_down = !code && (s.attributes & attribute_type_down) != 0;
    }
    const std::uint64_t last = offset + size - 1;
    if (expand_down) {
        const std::uint64_t top = (s.attributes & CpuMode::big) != 0 ? 0xffffffff : 0xffff;
        if (offset <= s.limit || last > top)
            raise_segment(stack);
    } else if (last > s.limit) {
        raise_segment(stack);
    }
}

std::uint64_t GuestAccess::linear(unsigned segment, std::uint64_t offset, unsigned size, Use use,
                                  unsigned alignment) const {
    const auto& s = page_.segment[segment];
    const bool stack = segment == abi::seg_ss;
    std::uint64_t result = 0;
    if (mode_.long64()) {
        result = offset;
        if (segment == abi::seg_fs || segment == abi::seg_gs)
            result += s.base;
        if (!is_canonical(result, page_.cr4) || !is_canonical(result + size - 1, page_.cr4))
            raise_segment(stack);
    } else {
        check_limit(s, stack, offset & 0xffffffff, size, use);
        result = (s.base + offset) & 0xffffffff;
    }
    if (alignment > 1 && mode_.cpl == 3 && (page_.rflags & flag::ac) != 0 &&
        (page_.cr0 & control::cr0_am) != 0 && use != Use::Fetch &&
        (result & (std::bit_floor(alignment) - 1)) != 0)
        throw GuestFault{.vector = vector::ac, .error_code = 0};
    return result;
}

GuestPhys GuestAccess::translate(std::uint64_t linear, Use use) {
    const bool write = use == Use::Write;
    const std::uint64_t page_base = linear & ~page_mask;
    if (use != Use::Fetch) {
        for (const auto& r : remembered_)
            if (r.valid && r.page == page_base && (r.write || !write))
                return r.frame + (linear & page_mask);
    }
    const auto found = walker_.walk(
        page_, linear, {.write = write, .fetch = use == Use::Fetch, .user = mode_.cpl == 3}, pkru_);
    if (!found.ok)
        throw GuestFault{.vector = vector::pf, .error_code = found.error_code, .cr2 = linear};
    if (use != Use::Fetch) {
        remembered_[next_remembered_] = {true, write, page_base, found.gpa - (linear & page_mask)};
        next_remembered_ = (next_remembered_ + 1) % remembered_.size();
    }
    return found.gpa;
}

bool GuestAccess::take_hint(std::uint64_t linear, unsigned size, Use use) {
    if (!hint_.valid)
        return false;
    hint_.valid = false; // a later iteration may be at the same offset of another page
    const std::uint64_t offset = linear & page_mask;
    return offset + size <= page_size && offset == (raw(hint_.gpa) & page_mask) &&
           (use == Use::Read || (use == Use::Write && hint_.write));
}

Place GuestAccess::resolve_linear(std::uint64_t linear, unsigned size, Use use) {
    const auto room = static_cast<unsigned>(page_size - (linear & page_mask));
    Place place{.size = size, .first_size = std::min(size, room)};
    if (take_hint(linear, size, use)) {
        place.first = hint_.gpa;
        return place;
    }
    place.first = translate(linear, use);
    if (size > room) {
        std::uint64_t next = linear + room;
        if (!mode_.long64())
            next &= 0xffffffff;
        place.second = translate(next, use);
    }
    return place;
}

Place GuestAccess::resolve_vector(unsigned segment, std::uint64_t offset, unsigned size, Use use,
                                  bool aligned) {
    const std::uint64_t where = linear(segment, offset, size, use, 0);
    if (aligned && (where & (size - 1)) != 0)
        raise_gp();
    return resolve_linear(where, size, use);
}

void GuestAccess::read_physical(GuestPhys gpa, std::span<std::uint8_t> data) {
    if (const auto ram = around_.memory.at(gpa, data.size(), Access::Read); ram.size() == data.size()) {
        std::ranges::copy(ram, data.begin());
        return;
    }
    while (!data.empty()) { // devices know widths of 1, 2, 4 and 8
        const auto n = std::bit_floor(std::min<std::size_t>(data.size(), 8));
        around_.memory_bus.read(raw(gpa), data.first(n));
        ++around_.device_accesses;
        data = data.subspan(n);
        gpa += n;
    }
}

void GuestAccess::write_physical(GuestPhys gpa, std::span<const std::uint8_t> data) {
    if (const auto ram = around_.memory.at(gpa, data.size(), Access::Write); ram.size() == data.size()) {
        std::ranges::copy(data, ram.begin());
        return;
    }
    while (!data.empty()) { // ROM without a device: the bus drops the write
        const auto n = std::bit_floor(std::min<std::size_t>(data.size(), 8));
        around_.memory_bus.write(raw(gpa), data.first(n));
        ++around_.device_accesses;
        data = data.subspan(n);
        gpa += n;
    }
}

void GuestAccess::read(const Place& place, std::span<std::uint8_t> data) {
    read_physical(place.first, data.first(place.first_size));
    if (place.size > place.first_size)
        read_physical(place.second, data.subspan(place.first_size));
}

void GuestAccess::write(const Place& place, std::span<const std::uint8_t> data) {
    write_physical(place.first, data.first(place.first_size));
    if (place.size > place.first_size)
        write_physical(place.second, data.subspan(place.first_size));
}

std::uint64_t GuestAccess::load(const Place& place) {
    std::uint8_t bytes[8] = {};
    read(place, std::span{bytes}.first(place.size));
    std::uint64_t value = 0;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

void GuestAccess::store(const Place& place, std::uint64_t value) {
    std::uint8_t bytes[8];
    std::memcpy(bytes, &value, sizeof bytes);
    write(place, std::span{bytes}.first(place.size));
}

void GuestAccess::store_locked(const Place& place, std::uint64_t seen, std::uint64_t value) {
    const bool aligned = (raw(place.first) & (place.size - 1)) == 0;
    if (const auto ram = around_.memory.at(place.first, place.size, Access::Write);
        aligned && ram.size() == place.size) {
        bool done = false;
        switch (place.size) {
        case 1:
            done = exchange<std::uint8_t>(ram, seen, value);
            break;
        case 2:
            done = exchange<std::uint16_t>(ram, seen, value);
            break;
        case 4:
            done = exchange<std::uint32_t>(ram, seen, value);
            break;
        default:
            done = exchange<std::uint64_t>(ram, seen, value);
            break;
        }
        if (!done)
            throw RetryInstruction{};
        return;
    }
    store(place, value);
}

} // namespace escalus::emulation
