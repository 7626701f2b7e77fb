// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/guest_memory.hpp"

#include <algorithm>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
/// RAM at pages 0 and 2, nothing at page 1, a ROM at page 3.
class Patchwork final : public GuestMemory {
  public:
    std::span<std::uint8_t> at(GuestPhys gpa, std::uint64_t size, Access access) override {
        const auto page = raw(gpa) / page_size;
        if (size == 0 || page > 3 || page == 1 || (raw(gpa) + size - 1) / page_size != page)
            return {};
        if (page == 3 && access == Access::Write)
            return {};
        return std::span{bytes}.subspan(raw(gpa), size);
    }
    std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(4 * page_size, 0x55);
};
} // namespace

TEST_CASE("copies cross pages; holes read as ones and swallow writes") {
    Patchwork memory;
    std::vector<std::uint8_t> data(page_size + 16);
    CHECK_FALSE(memory.read(GuestPhys{page_size - 8}, data));
    CHECK(std::all_of(data.begin(), data.begin() + 8, [](auto b) { return b == 0x55; }));
    CHECK(std::all_of(data.begin() + 8, data.begin() + 8 + page_size, [](auto b) { return b == 0xff; }));
    CHECK(data.back() == 0x55);
    std::ranges::fill(data, std::uint8_t{1});
    CHECK_FALSE(memory.write(GuestPhys{page_size - 8}, data));
    CHECK(memory.bytes[page_size - 1] == 1);
    CHECK(memory.bytes[page_size] == 0x55);
    CHECK(memory.bytes[2 * page_size + 7] == 1);
    CHECK(memory.bytes[2 * page_size + 8] == 0x55);
}

TEST_CASE("a ROM is read, not written; addresses near the end of the space are harmless") {
    Patchwork memory;
    std::vector<std::uint8_t> data(16);
    CHECK(memory.read(GuestPhys{3 * page_size}, data));
    CHECK_FALSE(memory.write(GuestPhys{3 * page_size}, data));
    CHECK(memory.bytes[3 * page_size] == 0x55);
    CHECK_FALSE(memory.read(GuestPhys{~0ull - 3}, data));
    FlatMemory flat{4096};
    CHECK(flat.at(GuestPhys{~0ull}, 2, Access::Read).empty());
    CHECK(flat.at(GuestPhys{4090}, 7, Access::Read).empty());
    CHECK(flat.at(GuestPhys{4090}, 6, Access::Read).size() == 6);
}
