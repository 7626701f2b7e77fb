// SPDX-License-Identifier: GPL-2.0-or-later
// Raw sectors, checked against ECMA-130's own equations rather than against another table.
#include "devmodel/devices/storage/cd_sector.hpp"
#include "test/unit/storage/ide_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
std::uint8_t times(std::uint8_t a, std::uint8_t b) { // GF(2^8), x^8 + x^4 + x^3 + x^2 + 1
    std::uint8_t product = 0;
    for (; b != 0; b >>= 1, a = static_cast<std::uint8_t>(a << 1 ^ ((a & 0x80) != 0 ? 0x1d : 0)))
        product = static_cast<std::uint8_t>(product ^ ((b & 1) != 0 ? a : 0));
    return product;
}
// Both syndromes of a Reed-Solomon codeword vanish.
bool is_codeword(const std::vector<std::uint8_t>& word) {
    std::uint8_t sum = 0, weighted = 0;
    for (const auto byte : word) {
        sum ^= byte;
        weighted = static_cast<std::uint8_t>(times(weighted, 2) ^ byte);
    }
    return sum == 0 && weighted == 0;
}
} // namespace

TEST_CASE("a raw Mode 1 sector is what a CD holds") {
    const auto user = test::pattern(2048, 0x3c);
    std::vector<std::uint8_t> raw(cd::raw_bytes);
    const std::uint32_t lba = 75 * 60 * 12 + 75 * 34 + 56 - 150; // 12:34:56
    REQUIRE(cd::size_of(0xf8) == cd::raw_bytes);
    cd::put_sector(lba, user, 0xf8, raw);
    CHECK(raw[0] == 0x00);
    CHECK(raw[1] == 0xff);
    CHECK(raw[10] == 0xff);
    CHECK(raw[11] == 0x00);
    CHECK(raw[12] == 0x12);
    CHECK(raw[13] == 0x34);
    CHECK(raw[14] == 0x56);
    CHECK(raw[15] == 1);
    CHECK(std::equal(user.begin(), user.end(), raw.begin() + 16));

    // EDC: the remainder of the whole, least significant bit first, is zero (clause 14.3).
    std::uint32_t remainder = 0;
    for (std::size_t i = 0; i < 2068; ++i) {
        remainder ^= raw[i];
        for (int bit = 0; bit < 8; ++bit)
            remainder = remainder >> 1 ^ ((remainder & 1) != 0 ? 0xd8018001u : 0);
    }
    CHECK(remainder == 0);
    CHECK(std::all_of(raw.begin() + 2068, raw.begin() + 2076, [](auto b) { return b == 0; }));

    // Annex A: bytes 12 to 2351 as words; P words are columns, Q words diagonals, of high and of low bytes.
    auto plane = [&](std::size_t word, std::size_t half) { return raw[12 + 2 * word + half]; };
    for (std::size_t half = 0; half < 2; ++half) {
        for (std::size_t column = 0; column < 43; ++column) {
            std::vector<std::uint8_t> word;
            for (std::size_t row = 0; row < 26; ++row)
                word.push_back(plane(43 * row + column, half));
            REQUIRE(is_codeword(word));
        }
        for (std::size_t diagonal = 0; diagonal < 26; ++diagonal) {
            std::vector<std::uint8_t> word;
            for (std::size_t i = 0; i < 43; ++i)
                word.push_back(plane((44 * i + 43 * diagonal) % 1118, half));
            word.push_back(plane(43 * 26 + diagonal, half));
            word.push_back(plane(44 * 26 + diagonal, half));
            REQUIRE(is_codeword(word));
        }
    }
}

TEST_CASE("parts of a sector") {
    const auto user = test::pattern(2048);
    for (const auto& [parts, size] :
         {std::pair{0x10u, 2048u}, {0x20u, 4u}, {0x30u, 2052u}, {0x18u, 2336u}, {0x80u, 12u}, {0x00u, 0u}})
        CHECK(cd::size_of(static_cast<std::uint8_t>(parts)) == size);
    std::vector<std::uint8_t> out(2052);
    cd::put_sector(0, user, 0x30, out);
    CHECK(out[0] == 0x00);
    CHECK(out[1] == 0x02); // 00:02:00
    CHECK(out[4] == user[0]);
}
