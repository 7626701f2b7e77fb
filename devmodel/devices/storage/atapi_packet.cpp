// SPDX-License-Identifier: GPL-2.0-or-later
// Packet commands: dispatch, sense data, tray, reading, mode pages (MMC-3 clause 6, SPC-2).
#include "devmodel/devices/storage/atapi_cdrom.hpp"
#include "devmodel/devices/storage/cd_sector.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr std::uint8_t not_ready = 2, illegal_request = 5, aborted_command = 0x0b;
} // namespace

std::uint32_t AtapiCdrom::packet16(unsigned at) const {
    return static_cast<std::uint32_t>(packet_[at] << 8 | packet_[at + 1]);
}
std::uint32_t AtapiCdrom::packet24(unsigned at) const {
    return std::uint32_t{packet_[at]} << 16 | packet16(at + 1);
}
std::uint32_t AtapiCdrom::packet32(unsigned at) const {
    return packet16(at) << 16 | packet16(at + 2);
}

std::uint32_t AtapiCdrom::sectors() const {
    if (!medium_present())
        return 0;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(
        medium_->size() / cd::user_bytes + (medium_->size() % cd::user_bytes != 0), 0xffff'fff0));
}

bool AtapiCdrom::is_dvd() const {
    constexpr std::uint32_t longest_cd = 99 * 60 * cd::frames_a_second; // what a CD's addresses can express
    return sectors() > longest_cd;
}

// --- Dispatch and ends -------------------------------------------------------------------------------------

void AtapiCdrom::succeed() {
    sense_ = {};
    regs_.error = 0;
    regs_.count = std::uint8_t{ata::reason_command | ata::reason_to_host};
    status_ = ata::ready | ata::seek_complete;
    set_interrupt(true);
}

void AtapiCdrom::fail(Sense sense) {
    sense_ = sense;
    const bool refused = sense.key == illegal_request || sense.key == aborted_command;
    regs_.error = static_cast<std::uint8_t>(sense.key << 4 | (refused ? ata::aborted : 0));
    regs_.count = std::uint8_t{ata::reason_command | ata::reason_to_host};
    status_ = ata::ready | ata::seek_complete | ata::error_bit;
    set_interrupt(true);
}

AtapiCdrom::Sense AtapiCdrom::no_medium() const {
    return {not_ready, 0x3a, static_cast<std::uint8_t>(tray_open_ ? 2 : 1)};
}

const std::array<AtapiCdrom::PacketCommand, 256>& AtapiCdrom::commands() {
    static const auto table = [] {
        using D = AtapiCdrom;
        std::array<PacketCommand, 256> t{};
        constexpr bool medium = true, drive = false;
        t[0x00] = {[](D& d) { d.succeed(); }, medium}; // TEST UNIT READY
        t[0x03] = {[](D& d) { d.request_sense(); }, drive, true};
        t[0x12] = {[](D& d) { d.inquiry(); }, drive, true};
        t[0x15] = t[0x55] = {[](D& d) { d.mode_select(); }, drive};
        t[0x1a] = t[0x5a] = {[](D& d) { d.mode_sense(); }, drive};
        t[0x1b] = {[](D& d) { d.start_stop(); }, drive};
        t[0x1e] = {[](D& d) { d.prevent_allow(); }, drive};
        t[0x25] = {[](D& d) { d.read_capacity(); }, medium};
        t[0x28] = {[](D& d) { d.read(d.packet32(2), d.packet16(7)); }, medium};
        t[0xa8] = {[](D& d) { d.read(d.packet32(2), d.packet32(6)); }, medium};
        t[0x2b] = {[](D& d) { // SEEK(10)
                       if (d.check_range(d.packet32(2), 1))
                           d.succeed();
                   },
                   medium};
        t[0x42] = {[](D& d) { d.read_subchannel(); }, medium};
        t[0x43] = {[](D& d) { d.read_toc(); }, medium};
        t[0x44] = {[](D& d) { d.read_header(); }, medium};
        // PLAY AUDIO (10), MSF and (12): the data track is no audio track.
        t[0x45] = t[0x47] = t[0xa5] = {[](D& d) { d.fail({illegal_request, 0x64, 0}); }, medium};
        // PAUSE/RESUME and STOP PLAY/SCAN: nothing plays, which is what Windows 95 makes sure of.
        t[0x4b] = t[0x4e] = {[](D& d) { d.succeed(); }, medium};
        t[0x46] = {[](D& d) { d.get_configuration(); }, drive, true};
        t[0x4a] = {[](D& d) { d.get_event_status(); }, drive, true};
        t[0x51] = {[](D& d) { d.read_disc_information(); }, medium};
        t[0x52] = {[](D& d) { d.read_track_information(); }, medium};
        t[0xad] = {[](D& d) { d.read_dvd_structure(); }, medium};
        t[0xb9] = {[](D& d) { d.read_cd_msf(); }, medium};
        t[0xbb] = {[](D& d) { d.succeed(); }, drive}; // SET CD SPEED
        t[0xbd] = {[](D& d) { d.mechanism_status(); }, drive};
        t[0xbe] = {[](D& d) { d.read_cd(d.packet32(2), d.packet24(6)); }, medium};
        return t;
    }();
    return table;
}

void AtapiCdrom::execute_packet() {
    raw_parts_ = 0;
    const PacketCommand& command = commands()[packet_[0]];
    if (command.run == nullptr) {
        fail({illegal_request, 0x20, 0}); // invalid command operation code
    } else if (attention_ && !command.despite_attention) {
        fail(*attention_);
        attention_.reset();
    } else if (command.needs_medium && !medium_present()) {
        fail(no_medium());
    } else {
        command.run(*this);
    }
}

void AtapiCdrom::request_sense() {
    if (sense_.key == 0 && attention_) {
        sense_ = *attention_;
        attention_.reset();
    }
    const auto out = blank(18);
    out[0] = 0x70; // current error, fixed format
    out[2] = sense_.key;
    out[7] = 10;
    out[12] = sense_.code;
    out[13] = sense_.qualifier;
    reply(18, packet_[4]);
}

void AtapiCdrom::inquiry() {
    if ((packet_[1] & 1) != 0) { // no vital product data
        fail({illegal_request, 0x24, 0});
        return;
    }
    const auto out = blank(36);
    out[0] = 0x05; // CD-ROM
    out[1] = 0x80; // removable
    out[3] = 0x21; // ATAPI
    out[4] = 31;
    auto text = [&](std::size_t at, std::size_t size, std::string_view value) {
        for (std::size_t i = 0; i < size; ++i)
            out[at + i] = i < value.size() ? static_cast<std::uint8_t>(value[i]) : std::uint8_t{' '};
    };
    const std::string_view model = strings_.model;
    const auto space = std::min(model.find(' '), model.size());
    text(8, 8, model.substr(0, space));
    text(16, 16, space < model.size() ? model.substr(space + 1) : std::string_view{});
    text(32, 4, strings_.firmware);
    reply(36, packet_[4]);
}

// --- Tray --------------------------------------------------------------------------------------------------

void AtapiCdrom::start_stop() {
    const bool load_eject = (packet_[4] & 2) != 0, start = (packet_[4] & 1) != 0;
    if (load_eject && !start && !tray_open_) {
        if (locked_) {
            fail({illegal_request, 0x53, 2}); // medium removal prevented
            return;
        }
        tray_open_ = true;
        event_ = MediaEvent::Removal;
        if (std::exchange(eject_wanted_, false))
            medium_.reset();
    } else if (load_eject && start && tray_open_) {
        tray_open_ = false;
        if (medium_ != nullptr) {
            attention_ = Sense{6, 0x28, 0};
            event_ = MediaEvent::NewMedia;
        }
    }
    succeed();
}

void AtapiCdrom::prevent_allow() {
    locked_ = (packet_[4] & 1) != 0;
    succeed();
}

// --- Reading -----------------------------------------------------------------------------------------------

bool AtapiCdrom::check_range(std::uint32_t lba, std::uint32_t count) {
    const auto all = sectors();
    if (lba < all && count <= all - lba)
        return true;
    fail({illegal_request, 0x21, 0}); // logical block address out of range
    return false;
}

void AtapiCdrom::read(std::uint32_t lba, std::uint32_t count) {
    if (count == 0) {
        succeed();
        return;
    }
    if (!check_range(lba, count))
        return;
    const std::size_t unit = raw_parts_ != 0 ? cd::size_of(raw_parts_) : cd::user_bytes;
    auto t = medium_transfer(std::uint64_t{lba} * unit, std::uint64_t{count} * unit, unit);
    t.to_guest = true;
    t.dma = packet_dma_;
    t.block = block_size(t.left, unit);
    start(t);
}

void AtapiCdrom::read_cd(std::uint32_t lba, std::uint32_t count) {
    const unsigned type = packet_[1] >> 2 & 7; // 0: any, 2: Mode 1; the others are not on this medium
    if (type != 0 && type != 2) {
        fail({illegal_request, 0x64, 0});
        return;
    }
    if ((packet_[9] & 0x07) != 0 || (packet_[10] & 0x07) != 0) { // error flags, subchannels
        fail({illegal_request, 0x24, 0});
        return;
    }
    const std::uint8_t parts = packet_[9] & 0xf8;
    if (cd::size_of(parts) == 0) {
        if (count == 0 || check_range(lba, count))
            succeed();
        return;
    }
    raw_parts_ = parts == cd::part_user ? std::uint8_t{0} : parts;
    read(lba, count);
}

void AtapiCdrom::read_cd_msf() {
    auto frames = [this](unsigned at) {
        return (packet_[at] * 60u + packet_[at + 1]) * cd::frames_a_second + packet_[at + 2];
    };
    const auto from = frames(3), to = frames(6);
    if (from < cd::lead_in_frames || to < from)
        fail({illegal_request, 0x24, 0});
    else
        read_cd(from - cd::lead_in_frames, to - from);
}

// --- Mode pages --------------------------------------------------------------------------------------------

void AtapiCdrom::mode_sense() {
    const bool ten = packet_[0] == 0x5a;
    const unsigned page = packet_[2] & 0x3f, control = packet_[2] >> 6;
    if (control == 3) {
        fail({illegal_request, 0x39, 0}); // saving parameters not supported
        return;
    }
    const std::size_t header = ten ? 8 : 4;
    const auto out = blank(256);
    std::size_t size = header;
    for (const unsigned known : {0x01u, 0x0eu, 0x2au})
        if (page == known || page == 0x3f)
            size += put_mode_page(out.subspan(size), known, control == 1);
    if (size == header) {
        fail({illegal_request, 0x24, 0});
        return;
    }
    const std::uint8_t medium_type = tray_open_ ? 0x71 : medium_ == nullptr ? 0x70 : 0x01;
    if (ten) {
        out[1] = static_cast<std::uint8_t>(size - 2);
        out[2] = medium_type;
    } else {
        out[0] = static_cast<std::uint8_t>(size - 1);
        out[1] = medium_type;
    }
    reply(size, ten ? packet16(7) : packet_[4]);
}

std::size_t AtapiCdrom::put_mode_page(std::span<std::uint8_t> out, unsigned page, bool changeable) const {
    const std::size_t size = page == 0x01 ? error_page_.size() : page == 0x0e ? audio_page_.size() : 20;
    out[0] = static_cast<std::uint8_t>(page);
    out[1] = static_cast<std::uint8_t>(size);
    const auto body = out.subspan(2, size);
    if (page == 0x01 || page == 0x0e) {
        if (changeable)
            std::ranges::fill(body, std::uint8_t{0xff});
        else if (page == 0x01)
            std::ranges::copy(error_page_, body.begin());
        else
            std::ranges::copy(audio_page_, body.begin());
    } else if (!changeable) { // capabilities and mechanical status (SFF-8020i table 86)
        body[0] = 0x0b;       // reads CD-R, CD-RW, DVD-ROM
        body[2] = 0x71; // audio commands, Mode 2 form 1 and 2, multisession: older drivers insist on these
        body[4] = static_cast<std::uint8_t>(0x29 | (locked_ ? 2 : 0)); // tray, eject and lock
        body[6] = 0x16; // 5645 KB/s: 32 times the speed of audio, the most and the current
        body[7] = 0x0d;
        body[9] = 2; // volume levels
        body[10] = 0;
        body[11] = 128; // KiB of buffer
        body[12] = 0x16;
        body[13] = 0x0d;
    }
    return size + 2;
}

void AtapiCdrom::mode_select() {
    const bool ten = packet_[0] == 0x55;
    const std::size_t size = ten ? packet16(7) : packet_[4];
    if ((packet_[1] & 1) != 0 || size > 4096) { // saving pages; more than any set of pages
        fail({illegal_request, 0x24, 0});
        return;
    }
    if (size == 0) {
        succeed();
        return;
    }
    auto t = buffer_transfer(false, size);
    t.dma = packet_dma_;
    t.block = block_size(size, 1);
    start(t);
}

void AtapiCdrom::mode_parameters(std::span<const std::uint8_t> data) {
    const bool ten = packet_[0] == 0x55;
    const std::size_t header = ten ? 8 : 4;
    constexpr Sense bad_length{illegal_request, 0x1a, 0}, bad_field{illegal_request, 0x26, 0};
    if (data.size() < header) {
        fail(bad_length);
        return;
    }
    const std::size_t descriptors = ten ? std::size_t{data[6]} << 8 | data[7] : data[3];
    if (descriptors > data.size() - header) {
        fail(bad_length);
        return;
    }
    for (data = data.subspan(header + descriptors); !data.empty();) {
        if (data.size() < 2 || data[1] > data.size() - 2u) {
            fail(bad_length);
            return;
        }
        const unsigned page = data[0] & 0x3f;
        const auto body = data.subspan(2, data[1]);
        if (page == 0x01 && body.size() <= error_page_.size()) {
            std::ranges::copy(body, error_page_.begin());
        } else if (page == 0x0e && body.size() <= audio_page_.size()) {
            std::ranges::copy(body, audio_page_.begin());
        } else if (page != 0x0d && page != 0x2a) { // device parameters, capabilities: nothing to set
            fail(bad_field);
            return;
        }
        data = data.subspan(2 + body.size());
    }
    succeed();
}

} // namespace escalus
