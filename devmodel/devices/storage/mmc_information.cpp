// SPDX-License-Identifier: GPL-2.0-or-later
// Packet commands that tell about drive and medium (MMC-3 clause 6; SFF-8020i for the oldest forms).
#include "devmodel/devices/storage/atapi_cdrom.hpp"
#include "devmodel/devices/storage/cd_sector.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr std::uint8_t illegal_request = 5;
constexpr std::uint8_t data_track = 0x14; // Q channel: current position; a data track
constexpr std::uint8_t lead_out = 0xaa;

void store16(std::span<std::uint8_t> out, std::size_t value) {
    out[0] = static_cast<std::uint8_t>(value >> 8);
    out[1] = static_cast<std::uint8_t>(value);
}
void store32(std::span<std::uint8_t> out, std::uint64_t value) {
    store16(out, value >> 16 & 0xffff);
    store16(out.subspan(2), value & 0xffff);
}
void store_msf(std::span<std::uint8_t> out, std::uint32_t lba) {
    const auto msf = cd::to_msf(lba);
    out[0] = msf.minute;
    out[1] = msf.second;
    out[2] = msf.frame;
}
void put_address(std::span<std::uint8_t> out, std::uint32_t lba, bool msf) {
    if (msf)
        store_msf(out.subspan(1), lba);
    else
        store32(out, lba);
}
} // namespace

void AtapiCdrom::read_capacity() {
    const auto out = blank(8);
    store32(out, sectors() - 1u);
    store32(out.subspan(4), cd::user_bytes);
    reply(8, 8);
}

void AtapiCdrom::read_header() {
    const auto lba = packet32(2);
    if (!check_range(lba, 1))
        return;
    const auto out = blank(8);
    out[0] = 1; // Mode 1
    put_address(out.subspan(4), lba, (packet_[1] & 2) != 0);
    reply(8, packet16(7));
}

void AtapiCdrom::read_toc() {
    const bool msf = (packet_[1] & 2) != 0;
    // SFF-8020i has the format in the control byte.
    const unsigned format = (packet_[2] & 0x0f) != 0 ? packet_[2] & 0x0fu : packet_[9] >> 6;
    const std::uint8_t first = packet_[6];
    const auto out = blank(64);
    out[2] = out[3] = 1; // first and last track, or session
    std::size_t size = 4;
    if (format == 0) { // the tracks from `first` on, and the lead-out
        if (first > 1 && first != lead_out) {
            fail({illegal_request, 0x24, 0});
            return;
        }
        auto track = [&](std::uint8_t number, std::uint32_t lba) {
            out[size + 1] = data_track;
            out[size + 2] = number;
            put_address(out.subspan(size + 4), lba, msf);
            size += 8;
        };
        if (first <= 1)
            track(1, 0);
        track(lead_out, sectors());
    } else if (format == 1) { // the last session's first track
        out[5] = data_track;
        out[6] = 1;
        put_address(out.subspan(8), 0, msf);
        size = 12;
    } else if (format == 2) { // the lead-in's Q channel, always as minutes, seconds and frames
        auto point = [&](std::uint8_t number) {
            const auto entry = out.subspan(size, 11);
            entry[0] = 1; // session
            entry[1] = data_track;
            entry[3] = number;
            size += 11;
            return entry.subspan(8);
        };
        point(0xa0)[0] = 1; // first track; CD-ROM
        point(0xa1)[0] = 1; // last track
        store_msf(point(0xa2), sectors());
        store_msf(point(1), 0);
    } else {
        fail({illegal_request, 0x24, 0});
        return;
    }
    store16(out, size - 2);
    reply(size, packet16(7));
}

void AtapiCdrom::read_subchannel() {
    const bool msf = (packet_[1] & 2) != 0, wanted = (packet_[2] & 0x40) != 0;
    const auto out = blank(24);
    out[1] = 0x15; // no current audio status to return
    std::size_t size = 4;
    if (wanted) {
        out[4] = packet_[3];
        switch (packet_[3]) {
        case 1: // position
            out[5] = data_track;
            out[6] = out[7] = 1;
            put_address(out.subspan(8), 0, msf);
            size = 16;
            break;
        case 2: // catalogue number: none
            size = 24;
            break;
        case 3: // ISRC: none
            out[5] = data_track;
            out[6] = 1;
            size = 24;
            break;
        default:
            fail({illegal_request, 0x24, 0});
            return;
        }
    }
    store16(out.subspan(2), size - 4);
    reply(size, packet16(7));
}

void AtapiCdrom::get_configuration() {
    constexpr std::size_t profile_cd = 0x08, profile_dvd = 0x10;
    const unsigned which = packet_[1] & 3; // 0: all, 1: the current ones, 2: just the one
    const auto start_from = packet16(2);
    const bool dvd = medium_present() && is_dvd(), disc = medium_present() && !dvd;
    if (which == 3) {
        fail({illegal_request, 0x24, 0});
        return;
    }
    const auto out = blank(256);
    store16(out.subspan(6), dvd ? profile_dvd : disc ? profile_cd : 0);
    std::size_t size = 8;
    // Adds a feature descriptor when it was asked for, and returns where its data goes.
    std::array<std::uint8_t, 16> unwanted{};
    auto feature = [&](unsigned code, bool persistent, bool current, std::uint8_t data_bytes) {
        const bool asked = which == 2 ? code == start_from : code >= start_from && (which == 0 || current);
        if (!asked)
            return std::span<std::uint8_t>{unwanted};
        const auto at = out.subspan(size, 4u + data_bytes);
        store16(at, code);
        at[2] = static_cast<std::uint8_t>((persistent ? 2 : 0) | (current ? 1 : 0));
        at[3] = data_bytes;
        size += at.size();
        return at.subspan(4);
    };
    const auto profiles = feature(0x0000, true, true, 8);
    store16(profiles, profile_dvd);
    profiles[2] = dvd ? 1 : 0;
    store16(profiles.subspan(4), profile_cd);
    profiles[6] = disc ? 1 : 0;
    feature(0x0001, true, true, 4)[3] = 2;    // core; ATAPI
    feature(0x0003, true, true, 4)[0] = 0x29; // removable medium; tray, eject, lock
    const auto random = feature(0x0010, false, medium_present(), 8);
    store32(random, cd::user_bytes);
    store16(random.subspan(4), 1);
    feature(0x001e, false, disc, 4); // CD read
    feature(0x001f, false, dvd, 0);  // DVD read
    feature(0x0100, true, true, 0);  // power management
    store32(out, size - 4);
    reply(size, packet16(7));
}

void AtapiCdrom::get_event_status() {
    constexpr std::uint8_t class_media = 4, mask_media = 1 << class_media, no_event = 0x80;
    if ((packet_[1] & 1) == 0) { // asynchronous notification
        fail({illegal_request, 0x24, 0});
        return;
    }
    const auto out = blank(8);
    out[3] = mask_media;
    const bool media = (packet_[4] & mask_media) != 0;
    if (media) {
        out[2] = class_media;
        out[4] = static_cast<std::uint8_t>(event_);
        out[5] = static_cast<std::uint8_t>((tray_open_ ? 1 : 0) | (medium_present() ? 2 : 0));
        event_ = MediaEvent::None;
    } else {
        out[2] = no_event;
    }
    const std::size_t size = media ? 8 : 4;
    store16(out, size - 2);
    reply(size, packet16(7));
}

void AtapiCdrom::read_disc_information() {
    const auto out = blank(34);
    store16(out, 32);
    out[2] = 0x0e;                         // last session complete, disc finalized
    out[3] = out[4] = out[5] = out[6] = 1; // first track, sessions, first and last track in the last
    out[7] = 0x20;                         // unrestricted use
    std::fill(&out[16], &out[24], std::uint8_t{0xff}); // no further session can start
    reply(34, packet16(7));
}

void AtapiCdrom::read_track_information() {
    const auto number = packet32(2);
    const bool by_address = (packet_[1] & 3) == 0;
    if (by_address ? number >= sectors() : number != 1) {
        fail({illegal_request, by_address ? std::uint8_t{0x21} : std::uint8_t{0x24}, 0});
        return;
    }
    const auto out = blank(36);
    store16(out, 34);
    out[2] = 1; // track
    out[3] = 1; // session
    out[5] = 4; // data, copying prohibited
    out[6] = 1; // Mode 1
    store32(out.subspan(24), sectors());
    reply(36, packet16(7));
}

void AtapiCdrom::read_dvd_structure() {
    const unsigned format = packet_[7], layer = packet_[6];
    if (!is_dvd()) {
        fail({illegal_request, 0x30, 2}); // cannot read medium, incompatible format
        return;
    }
    constexpr std::size_t physical_bytes = 4 + 2048, copyright_bytes = 4 + 4;
    const auto out = blank(physical_bytes);
    std::size_t size = physical_bytes;
    if (layer != 0 && format != 0xff) {
        fail({illegal_request, 0x24, 0});
        return;
    }
    switch (format) {
    case 0x00: { // physical
        constexpr std::uint32_t first = 0x030000;
        out[4] = 0x01; // DVD-ROM
        out[5] = 0x0f; // 120 mm, no maximum rate
        out[6] = 0x01; // one embossed layer
        store32(out.subspan(8), first);
        store32(out.subspan(12), first + sectors() - 1u);
        break;
    }
    case 0x01: // copyright: none
        size = copyright_bytes;
        break;
    case 0x04: // manufacturing
        break;
    case 0xff: { // what there is
        size = 4;
        for (const auto& [code, bytes] :
             {std::pair{std::uint8_t{0}, physical_bytes}, {1, copyright_bytes}, {4, physical_bytes}}) {
            out[size] = code;
            out[size + 1] = 0x40; // readable
            store16(out.subspan(size + 2), bytes);
            size += 4;
        }
        break;
    }
    default:
        fail({illegal_request, 0x24, 0});
        return;
    }
    store16(out, size - 2);
    reply(size, packet16(8));
}

void AtapiCdrom::mechanism_status() {
    const auto out = blank(8);
    if (tray_open_)
        out[1] = 0x10;
    reply(8, packet16(8));
}

} // namespace escalus
