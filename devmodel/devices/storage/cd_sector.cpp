// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/cd_sector.hpp"

#include <algorithm>
#include <array>

namespace escalus::cd {

namespace {
constexpr std::size_t header_at = 12, user_at = 16, edc_at = 2064, p_parity_at = 2076, q_parity_at = 2248;

constexpr auto edc_table = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t edc = i;
        for (int bit = 0; bit < 8; ++bit)
            edc = edc >> 1 ^ ((edc & 1) != 0 ? 0xd8018001u : 0u);
        table[i] = edc;
    }
    return table;
}();

// GF(2^8) with x^8 + x^4 + x^3 + x^2 + 1: times x, and the inverse of "times x, plus itself".
constexpr std::uint8_t times_x(std::uint8_t v) {
    return static_cast<std::uint8_t>(v << 1 ^ ((v & 0x80) != 0 ? 0x1d : 0));
}
constexpr auto over_x_plus_1 = [] {
    std::array<std::uint8_t, 256> table{};
    for (unsigned i = 0; i < 256; ++i)
        table[i ^ times_x(static_cast<std::uint8_t>(i))] = static_cast<std::uint8_t>(i);
    return table;
}();

std::uint8_t bcd(std::uint32_t value) {
    return static_cast<std::uint8_t>(value / 10 << 4 | value % 10);
}

// One of the two product codes: `codewords` words of `length` bytes; word w's byte i is at
// (w/2)*major + w%2 + i*minor, modulo the covered area.
void put_parity(std::span<std::uint8_t> raw, unsigned codewords, unsigned length, unsigned major,
                unsigned minor, std::size_t parity_at) {
    const unsigned area = codewords * length;
    const auto covered = raw.subspan(header_at);
    for (unsigned w = 0; w < codewords; ++w) {
        unsigned at = (w >> 1) * major + (w & 1);
        std::uint8_t a = 0, b = 0;
        for (unsigned i = 0; i < length; ++i) {
            const std::uint8_t v = covered[at];
            at += minor;
            if (at >= area)
                at -= area;
            a = times_x(static_cast<std::uint8_t>(a ^ v));
            b ^= v;
        }
        a = over_x_plus_1[static_cast<std::uint8_t>(times_x(a) ^ b)];
        raw[parity_at + w] = a;
        raw[parity_at + w + codewords] = static_cast<std::uint8_t>(a ^ b);
    }
}

std::array<std::uint8_t, raw_bytes> make_raw(std::uint32_t lba, std::span<const std::uint8_t> user) {
    std::array<std::uint8_t, raw_bytes> raw{};
    std::fill(raw.begin() + 1, raw.begin() + 11, std::uint8_t{0xff});
    const auto msf = to_msf(lba);
    raw[header_at] = bcd(msf.minute);
    raw[header_at + 1] = bcd(msf.second);
    raw[header_at + 2] = bcd(msf.frame);
    raw[header_at + 3] = 1; // Mode 1
    std::ranges::copy(user.first(user_bytes), raw.begin() + user_at);
    std::uint32_t edc = 0;
    for (const auto byte : std::span{raw}.first(edc_at))
        edc = edc >> 8 ^ edc_table[(edc ^ byte) & 0xff];
    for (unsigned i = 0; i < 4; ++i)
        raw[edc_at + i] = static_cast<std::uint8_t>(edc >> (8 * i));
    put_parity(raw, 86, 24, 2, 86, p_parity_at);
    put_parity(raw, 52, 43, 86, 88, q_parity_at);
    return raw;
}

struct Part {
    std::uint8_t flag;
    std::size_t at, size;
};
constexpr std::array<Part, 4> layout{Part{part_sync, 0, header_at}, Part{part_header, header_at, 4},
                                     Part{part_user, user_at, user_bytes},
                                     Part{part_check, edc_at, raw_bytes - edc_at}};
} // namespace

Msf to_msf(std::uint32_t lba) {
    const std::uint32_t frames = lba + lead_in_frames;
    return {static_cast<std::uint8_t>(frames / (60 * frames_a_second)),
            static_cast<std::uint8_t>(frames / frames_a_second % 60),
            static_cast<std::uint8_t>(frames % frames_a_second)};
}

std::size_t size_of(std::uint8_t parts) {
    std::size_t size = 0;
    for (const auto& part : layout)
        if ((parts & part.flag) != 0)
            size += part.size;
    return size;
}

void put_sector(std::uint32_t lba, std::span<const std::uint8_t> user, std::uint8_t parts,
                std::span<std::uint8_t> out) {
    const auto raw = make_raw(lba, user);
    auto to = out.begin();
    for (const auto& part : layout)
        if ((parts & part.flag) != 0)
            to = std::ranges::copy(std::span{raw}.subspan(part.at, part.size), to).out;
}

} // namespace escalus::cd
