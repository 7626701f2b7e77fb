// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/guest_memory.hpp"

#include "devmodel/machine/copy_bytes.hpp"

#include <algorithm>

namespace escalus {

namespace {
// The largest piece of [gpa, gpa+size) that surely lies in one page, the unit in which memory is mapped.
std::uint64_t to_page_end(GuestPhys gpa, std::uint64_t size) {
    return std::min(size, page_size - (raw(gpa) & page_mask));
}
} // namespace

[[gnu::hot]] bool GuestMemory::read(GuestPhys gpa, std::span<std::uint8_t> data) {
    if (auto whole = at(gpa, data.size(), Access::Read); whole.size() == data.size()) {
        copy_bytes(whole, data);
        return true;
    }
    bool all = true;
    while (!data.empty()) {
        const auto n = to_page_end(gpa, data.size());
        if (auto part = at(gpa, n, Access::Read); part.size() == n) {
            copy_bytes(part, data);
        } else {
            std::ranges::fill(data.first(n), std::uint8_t{0xff});
            all = false;
        }
        data = data.subspan(n);
        gpa += n;
    }
    return all;
}

[[gnu::hot]] bool GuestMemory::write(GuestPhys gpa, std::span<const std::uint8_t> data) {
    if (auto whole = at(gpa, data.size(), Access::Write); whole.size() == data.size()) {
        copy_bytes(data, whole);
        return true;
    }
    bool all = true;
    while (!data.empty()) {
        const auto n = to_page_end(gpa, data.size());
        if (auto part = at(gpa, n, Access::Write); part.size() == n)
            copy_bytes(data.first(n), part);
        else
            all = false;
        data = data.subspan(n);
        gpa += n;
    }
    return all;
}

} // namespace escalus
