// SPDX-License-Identifier: GPL-2.0-or-later
// The ATA side of the packet device: registers, IDENTIFY, and the phases of PACKET (ATA/ATAPI-6, clause 9.8).
#include "devmodel/devices/storage/atapi_cdrom.hpp"

#include "devmodel/devices/storage/cd_sector.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr std::uint8_t feature_dma = 0x01, feature_overlap = 0x02;
constexpr std::uint8_t signature_mid = 0x14, signature_high = 0xeb;
} // namespace

AtapiCdrom::AtapiCdrom(std::unique_ptr<BlockBackend> medium, IdeStrings strings)
    : IdeDrive{std::move(medium)}, strings_{std::move(strings)} {}

void AtapiCdrom::execute(std::uint8_t code) {
    phase_ = Phase::Ata;
    switch (code) {
    case 0x08: // DEVICE RESET (clause 8.9): no interrupt
        abandon();
        set_signature();
        regs_.error = 1;
        status_ = status_after_reset();
        break;
    case 0x20: // READ SECTOR(S) and IDENTIFY DEVICE: drivers tell disks from packet devices by these
    case 0xec:
        set_signature();
        abort_ata();
        break;
    case 0xa0:
        begin_packet();
        break;
    case 0xa1:
        identify();
        break;
    case 0xe5: // CHECK POWER MODE
        regs_.count = std::uint8_t{0xff};
        succeed_ata();
        break;
    case 0xe0: // STANDBY IMMEDIATE, IDLE IMMEDIATE, STANDBY, IDLE, SLEEP
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0xe6:
        succeed_ata();
        break;
    case 0xef:
        set_features();
        break;
    default:
        abort_ata();
    }
}

bool AtapiCdrom::executes_while_busy(std::uint8_t code) const {
    return code == 0x08;
}

void AtapiCdrom::set_signature() { // clause 9.12
    regs_.count = regs_.lba_low = std::uint8_t{1};
    regs_.lba_mid = signature_mid;
    regs_.lba_high = signature_high;
}

void AtapiCdrom::revert_settings(bool hardware) {
    phase_ = Phase::Ata;
    if (hardware) {
        keep_settings_ = false;
        modes_ = {};
        locked_ = false;
        sense_ = {};
        attention_ = Sense{6, 0x29, 0}; // power on, reset occurred
        event_ = MediaEvent::None;
    }
    if (keep_settings_)
        return;
    error_page_ = {0x00, 0x05};                                   // five retries
    audio_page_ = {0x04, 0, 0, 0, 0, 75, 0x01, 0xff, 0x02, 0xff}; // immediate; ports 0 and 1, full volume
}

void AtapiCdrom::succeed_ata() {
    status_ = ata::ready | ata::seek_complete;
    set_interrupt(true);
}

void AtapiCdrom::abort_ata() {
    regs_.error = ata::aborted;
    status_ = ata::ready | ata::seek_complete | ata::error_bit;
    set_interrupt(true);
}

void AtapiCdrom::identify() {
    IdentifyData id{buffer()};
    id.word(0, 0x85c0); // ATAPI, CD-ROM, removable, DRQ within 50 us of PACKET without INTRQ, 12-byte packets
    id.text(10, 10, strings_.serial);
    id.word(20, 3);
    id.word(21, 256);
    id.text(23, 4, strings_.firmware);
    id.text(27, 20, strings_.model);
    id.word(48, 1);
    id.word(49, 0x0f00); // IORDY, LBA, DMA
    id.word(51, 0x0200);
    id.word(53, 6); // words 64-70 and 88 are valid
    id.modes(modes_);
    id.word(71, 30); // microseconds from PACKET to bus release
    id.word(72, 30);
    if (serial())
        id.serial_ata(0);
    id.word(80, 0x007e); // ATA-1 to ATA/ATAPI-6
    id.word(81, 0x0022);
    id.word(82, 0x4218); // NOP, DEVICE RESET, PACKET, power management
    id.word(83, 0x4000);
    id.word(84, 0x4000);
    id.word(85, 0x4218);
    id.word(87, 0x4000);
    id.word(93, serial() ? 0 : 0x6001);
    id.seal();
    start(buffer_transfer(true, 512));
}

void AtapiCdrom::set_features() {
    switch (regs_.feature.current) {
    case 0x03:
        if (!modes_.select(regs_.count.current)) {
            abort_ata();
            return;
        }
        break;
    case 0x66:
        keep_settings_ = true;
        break;
    case 0xcc:
        keep_settings_ = false;
        break;
    default:
        abort_ata();
        return;
    }
    succeed_ata();
}

// --- PACKET ------------------------------------------------------------------------------------------------

void AtapiCdrom::begin_packet() {
    if ((regs_.feature.current & feature_overlap) != 0) {
        abort_ata();
        return;
    }
    packet_dma_ = (regs_.feature.current & feature_dma) != 0;
    byte_limit_ = static_cast<std::uint16_t>(regs_.lba_high.current << 8 | regs_.lba_mid.current);
    phase_ = Phase::Packet;
    auto t = buffer_transfer(false, packet_.size());
    t.packet = true;
    t.quiet = true; // word 0 of IDENTIFY says so; Windows 98 resets a drive that interrupts here
    start(t);
}

void AtapiCdrom::block_opened(std::size_t bytes) {
    if (phase_ == Phase::Ata)
        return;
    if (phase_ == Phase::Packet) {
        regs_.count = ata::reason_command;
        return;
    }
    regs_.count = transfer().to_guest ? ata::reason_to_host : std::uint8_t{0};
    regs_.lba_mid = static_cast<std::uint8_t>(bytes);
    regs_.lba_high = static_cast<std::uint8_t>(bytes >> 8);
}

void AtapiCdrom::transfer_done() {
    if (phase_ == Phase::Ata)
        status_ = ata::ready | ata::seek_complete; // IDENTIFY: its interrupt came with its data
    else
        succeed();
}

void AtapiCdrom::data_received(std::size_t bytes) {
    if (std::exchange(phase_, Phase::Data) == Phase::Data) {
        mode_parameters(buffer().first(bytes));
        return;
    }
    std::copy_n(buffer().begin(), packet_.size(), packet_.begin());
    execute_packet();
}

std::size_t AtapiCdrom::block_size(std::uint64_t total, std::size_t unit) const {
    // Zero is not allowed (clause 8.23.4), and means "as much as possible" to drivers older than that rule.
    std::size_t limit = byte_limit_ == 0 || byte_limit_ == 0xffff ? 0xfffe : byte_limit_;
    if (total <= limit)
        return static_cast<std::size_t>(total);
    limit = std::max<std::size_t>(limit & ~std::size_t{1}, 2);
    return limit >= unit && unit > 1 ? limit / unit * unit : limit;
}

std::span<std::uint8_t> AtapiCdrom::blank(std::size_t bytes) {
    const auto out = buffer().first(bytes);
    std::ranges::fill(out, std::uint8_t{0});
    return out;
}

void AtapiCdrom::reply(std::size_t bytes, std::size_t allocated) {
    const auto n = std::min(bytes, allocated);
    if (n == 0) {
        succeed();
        return;
    }
    auto t = buffer_transfer(true, n);
    t.dma = packet_dma_;
    t.block = block_size(n, 1);
    start(t);
}

// --- The medium --------------------------------------------------------------------------------------------

namespace {
// Reads user data; what an image lacks to a whole sector is zero.
void read_padded(BlockBackend& medium, std::uint64_t offset, std::span<std::uint8_t> data,
                 BlockBackend::Completion done) {
    const auto there = static_cast<std::size_t>(std::min<std::uint64_t>(data.size(), medium.size() - offset));
    std::ranges::fill(data.subspan(there), std::uint8_t{0});
    medium.read(offset, data.first(there), std::move(done));
}
} // namespace

void AtapiCdrom::read_medium(std::uint64_t offset, std::span<std::uint8_t> data,
                             BlockBackend::Completion done) {
    if (raw_parts_ == 0) {
        read_padded(*medium_, offset, data, std::move(done));
        return;
    }
    const auto size = cd::size_of(raw_parts_);
    const auto lba = static_cast<std::uint32_t>(offset / size);
    auto user = std::make_shared<std::vector<std::uint8_t>>(data.size() / size * cd::user_bytes);
    // `done` keeps the buffer that `data` is in.
    read_padded(*medium_, std::uint64_t{lba} * cd::user_bytes, *user,
                [user, data, size, lba, parts = raw_parts_, done = std::move(done)](std::error_code error) {
                    for (std::size_t i = 0; !error && i < data.size() / size; ++i)
                        cd::put_sector(lba + static_cast<std::uint32_t>(i),
                                       std::span{*user}.subspan(i * cd::user_bytes, cd::user_bytes), parts,
                                       data.subspan(i * size, size));
                    done(error);
                });
}

bool AtapiCdrom::try_read_medium(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces) {
    // The last sector of an image that ends within it takes the slow path: the backend refuses the range.
    return raw_parts_ == 0 && medium_->try_read(offset, pieces);
}

void AtapiCdrom::transfer_failed(std::uint64_t) {
    fail({3, 0x11, 0}); // medium error, unrecovered read error
}

// --- The user's side ---------------------------------------------------------------------------------------

void AtapiCdrom::change_medium(std::unique_ptr<BlockBackend> medium) {
    const bool reading = transfer().stage != Transfer::Stage::None && transfer().medium;
    if (reading)
        abandon();
    medium_ = std::move(medium);
    tray_open_ = eject_wanted_ = false;
    if (reading)
        fail(no_medium());
}

void AtapiCdrom::insert(std::unique_ptr<BlockBackend> medium) {
    change_medium(std::move(medium));
    attention_ = Sense{6, 0x28, 0}; // not ready to ready change, medium may have changed
    event_ = MediaEvent::NewMedia;
}

void AtapiCdrom::eject() {
    if (medium_ == nullptr)
        return;
    change_medium(nullptr);
    event_ = MediaEvent::Removal;
}

bool AtapiCdrom::ask_to_eject() {
    if (locked_ && medium_present()) {
        eject_wanted_ = true;
        event_ = MediaEvent::EjectRequest;
        return false;
    }
    eject();
    return true;
}

} // namespace escalus
