// SPDX-License-Identifier: GPL-2.0-or-later
#include "firmware/smbios.hpp"

#include <map>
#include <numeric>
#include <span>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
struct Structure {
    std::vector<std::uint8_t> fields;
    std::vector<std::string> strings;
};
/// Walks the tables as an operating system does.
std::multimap<unsigned, Structure> parse(const std::vector<std::uint8_t>& bytes, std::size_t& longest) {
    std::multimap<unsigned, Structure> result;
    longest = 0;
    for (std::size_t at = 0; at < bytes.size();) {
        const auto start = at;
        Structure structure;
        const std::size_t length = bytes.at(at + 1);
        REQUIRE(length >= 4);
        structure.fields.assign(bytes.begin() + static_cast<long>(at),
                                bytes.begin() + static_cast<long>(at + length));
        at += length;
        if (bytes.at(at) == 0)
            ++at;
        else
            while (bytes.at(at) != 0) {
                structure.strings.emplace_back();
                while (bytes.at(at) != 0)
                    structure.strings.back() += static_cast<char>(bytes[at++]);
                ++at;
            }
        REQUIRE(bytes.at(at++) == 0);
        longest = std::max(longest, at - start);
        result.emplace(structure.fields[0], structure);
    }
    return result;
}
unsigned sum(std::span<const std::uint8_t> bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), 0u) & 0xff;
}
} // namespace

TEST_CASE("the anchor describes the tables") {
    const auto files = build_smbios({.name = "verona", .memory_below_4g = 512ull << 20, .vcpus = 3});
    std::size_t longest = 0;
    const auto all = parse(files.tables, longest);
    REQUIRE(files.anchor.size() == 31);
    const std::span anchor{files.anchor};
    CHECK(sum(anchor) == 0);
    CHECK(sum(anchor.subspan(16)) == 0);
    CHECK(std::string(anchor.begin(), anchor.begin() + 4) == "_SM_");
    CHECK(anchor[5] == 31);
    CHECK((anchor[8] | anchor[9] << 8) == static_cast<int>(longest));
    CHECK((anchor[22] | anchor[23] << 8) == static_cast<int>(files.tables.size()));
    CHECK((anchor[28] | anchor[29] << 8) == static_cast<int>(all.size()));
    for (const unsigned type : {0u, 1u, 3u, 16u, 17u, 19u, 32u, 127u})
        CHECK(all.count(type) == 1);
    CHECK(all.count(4) == 3);
    // Lengths by DSP0134.
    CHECK(all.find(0)->second.fields.size() == 0x18);
    CHECK(all.find(1)->second.fields.size() == 0x1b);
    CHECK(all.find(3)->second.fields.size() == 0x15);
    CHECK(all.find(4)->second.fields.size() == 0x2a);
    CHECK(all.find(16)->second.fields.size() == 0x17);
    CHECK(all.find(17)->second.fields.size() == 0x28);
    CHECK(all.find(19)->second.fields.size() == 0x1f);
    CHECK(all.find(32)->second.fields.size() == 0x0b);
}

TEST_CASE("name and UUID are the guest's") {
    const auto files = build_smbios(
        {.name = "romeo\n", .uuid = "00112233-4455-6677-8899-aabbccddeeff", .memory_below_4g = 64ull << 20});
    std::size_t longest = 0;
    const auto system = parse(files.tables, longest).find(1)->second;
    CHECK(system.strings.at(3) == "romeo?");
    CHECK(std::vector<std::uint8_t>(system.fields.begin() + 8, system.fields.begin() + 24) ==
          std::vector<std::uint8_t>{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb,
                                    0xcc, 0xdd, 0xee, 0xff});
    for (const auto* bad : {"x", "00112233-4455-6677-8899-aabbccddeef",
                            "00112233-4455-6677-8899-aabbccddeeZZ", "00112233+4455-6677-8899-aabbccddeeff"})
        CHECK_THROWS_AS(build_smbios({.name = "a", .uuid = bad, .memory_below_4g = 1 << 20}),
                        std::invalid_argument);
}

TEST_CASE("memory above 4 GiB has its own mapping and modules") {
    const auto files =
        build_smbios({.name = "big", .memory_below_4g = 3ull << 30, .memory_above_4g = 37ull << 30});
    std::size_t longest = 0;
    const auto all = parse(files.tables, longest);
    CHECK(all.count(17) == 3);
    CHECK(all.count(19) == 2);
    unsigned mebibytes = 0;
    for (auto [it, end] = all.equal_range(17); it != end; ++it)
        mebibytes += static_cast<unsigned>(it->second.fields[12] | it->second.fields[13] << 8);
    CHECK(mebibytes == 40 * 1024);
}
