// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/edid.hpp"

#include <algorithm>
#include <span>
#include <string_view>

namespace escalus {

namespace {

struct Resolution {
    unsigned width, height;
};

constexpr std::array<Resolution, 4> preferred{{{1280, 800}, {1024, 768}, {800, 600}, {640, 480}}};
constexpr std::array<Resolution, 8> standard{{{1920, 1200},
                                              {1920, 1080},
                                              {1680, 1050},
                                              {1600, 1200},
                                              {1440, 900},
                                              {1280, 1024},
                                              {1280, 800},
                                              {1280, 720}}};
constexpr Resolution largest{2560, 1600};
constexpr unsigned refresh_hz = 60, dots_per_inch = 96;

std::uint8_t low(unsigned value) {
    return static_cast<std::uint8_t>(value);
}

unsigned millimetres(unsigned pixels) {
    return pixels * 254 / (dots_per_inch * 10);
}

/// CVT 1.2, 3.4.2: reduced blanking.
struct Timing {
    unsigned clock_khz, blank_lines, sync_lines;
    static constexpr unsigned blank_dots = 160, front_dots = 48, sync_dots = 32, front_lines = 3,
                              back_lines_least = 6, blank_ns = 460'000, clock_step_khz = 250;
};

Timing timing_of(Resolution mode) {
    const auto is = [&](unsigned x, unsigned y) { return mode.width * y == mode.height * x; };
    const unsigned sync = is(4, 3) ? 4 : is(16, 9) ? 5 : is(16, 10) ? 6 : is(5, 4) || is(15, 9) ? 7 : 10;
    const unsigned line_ns = (1'000'000'000 / refresh_hz - Timing::blank_ns) / mode.height;
    const unsigned lines =
        std::max(Timing::blank_ns / line_ns + 1, Timing::front_lines + sync + Timing::back_lines_least);
    const auto hertz = std::uint64_t{refresh_hz} * (mode.width + Timing::blank_dots) * (mode.height + lines);
    const auto steps = hertz / (Timing::clock_step_khz * 1000);
    return {static_cast<unsigned>(steps) * Timing::clock_step_khz, lines, sync};
}

void standard_timing(std::span<std::uint8_t> bytes, Resolution mode) {
    const auto is = [&](unsigned x, unsigned y) { return mode.width * y == mode.height * x; };
    const unsigned aspect = is(16, 10) ? 0 : is(4, 3) ? 1 : is(5, 4) ? 2 : 3; // 16:9
    bytes[0] = low(mode.width / 8 - 31);
    bytes[1] = low(aspect << 6 | (refresh_hz - 60));
}

void detailed_timing(std::span<std::uint8_t> bytes, Resolution mode) {
    const auto timing = timing_of(mode);
    const auto high = [](unsigned first, unsigned second) { return low(first >> 8 << 4 | second >> 8); };
    const unsigned clock = timing.clock_khz / 10;
    const unsigned wide = millimetres(mode.width), tall = millimetres(mode.height);
    bytes[0] = low(clock);
    bytes[1] = low(clock >> 8);
    bytes[2] = low(mode.width);
    bytes[3] = low(Timing::blank_dots);
    bytes[4] = high(mode.width, Timing::blank_dots);
    bytes[5] = low(mode.height);
    bytes[6] = low(timing.blank_lines);
    bytes[7] = high(mode.height, timing.blank_lines);
    bytes[8] = low(Timing::front_dots);
    bytes[9] = low(Timing::sync_dots);
    bytes[10] = low(Timing::front_lines << 4 | (timing.sync_lines & 15));
    bytes[12] = low(wide);
    bytes[13] = low(tall);
    bytes[14] = high(wide, tall);
    bytes[17] = 0x1a; // separate syncs, horizontal positive, vertical negative
}

void text_descriptor(std::span<std::uint8_t> bytes, std::uint8_t tag, std::string_view text) {
    constexpr std::size_t room = 13;
    bytes[3] = tag;
    const auto at = bytes.subspan(5, room);
    std::ranges::fill(at, std::uint8_t{' '});
    std::ranges::copy(text.substr(0, room), at.begin());
    if (text.size() < room)
        at[text.size()] = '\n';
}

void range_limits(std::span<std::uint8_t> bytes) {
    constexpr std::array<std::uint8_t, 18> limits{
        0, 0, 0, 0xfd, 0, 50, 75, 30, 120, 30 /* 300 MHz */, 0x01, '\n', ' ', ' ', ' ', ' ', ' ', ' '};
    std::ranges::copy(limits, bytes.begin());
}

} // namespace

Edid make_edid(std::uint64_t video_memory_bytes) {
    const auto fits = [&](Resolution mode) {
        return std::uint64_t{mode.width} * mode.height * 4 <= video_memory_bytes;
    };
    const auto found = std::ranges::find_if(preferred, fits);
    const auto first = found == preferred.end() ? preferred.back() : *found;

    Edid edid{};
    const std::span all{edid};
    constexpr std::array<std::uint8_t, 24> head{
        0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x31, 0xd8, // "LNX"
        0x01, 0x00,                                                 // product
        0x00, 0x00, 0x00, 0x00,                                     // no serial number
        0x00, 36,                                                   // made in 2026
        0x01, 0x04,                                                 // EDID 1.4
        0xa5,       // digital, eight bits a colour, DisplayPort
        0x00, 0x00, // centimetres, below
        0x78,       // gamma 2.2
    };
    std::ranges::copy(head, all.begin());
    edid[21] = low(millimetres(first.width) / 10);
    edid[22] = low(millimetres(first.height) / 10);
    edid[24] = 0x06; // RGB 4:4:4, sRGB, the preferred mode is the native one
    constexpr std::array<std::uint8_t, 10> srgb{0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
    std::ranges::copy(srgb, all.subspan(25).begin());
    // Established timings, all at 60 Hz: 640x480, 800x600, 1024x768.
    edid[35] = low(0x20u | (fits({800, 600}) ? 1u : 0u));
    edid[36] = fits({1024, 768}) ? 0x08 : 0;
    std::size_t at = 38;
    for (const auto mode : standard)
        if (fits(mode)) {
            standard_timing(all.subspan(at, 2), mode);
            at += 2;
        }
    std::ranges::fill(all.subspan(at, 54 - at), std::uint8_t{1}); // unused

    detailed_timing(all.subspan(54, 18), first);
    if (fits(largest))
        detailed_timing(all.subspan(72, 18), largest);
    else
        edid[75] = 0x10; // a dummy descriptor
    range_limits(all.subspan(90, 18));
    text_descriptor(all.subspan(108, 18), 0xfc, "Escalus");
    unsigned sum = 0;
    for (const auto byte : edid)
        sum += byte;
    edid[127] = low(0u - sum);
    return edid;
}

} // namespace escalus
