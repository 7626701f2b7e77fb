// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/ata_disk.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr std::size_t sector_bytes = 512;
constexpr std::uint8_t most_multiple = 16;
constexpr unsigned queue_depth = 32;
constexpr std::uint64_t lba28_sectors = 0x0fff'ffff; // what 28-bit commands can reach is one more
} // namespace

AtaDisk::AtaDisk(std::unique_ptr<BlockBackend> image, IdeStrings strings)
    : IdeDrive{std::move(image)},
      strings_{std::move(strings)},
      sectors_{medium_->size() / sector_bytes},
      native_{native_geometry(sectors_)},
      current_{native_} {}

// --- Geometry and addresses --------------------------------------------------------------------------------

AtaDisk::Geometry AtaDisk::geometry(std::uint64_t sectors, std::uint32_t heads,
                                    std::uint32_t sectors_a_track) {
    const std::uint64_t cylinders = sectors / (std::uint64_t{heads} * sectors_a_track);
    return {static_cast<std::uint32_t>(std::min<std::uint64_t>(cylinders, 65535)), heads, sectors_a_track};
}

AtaDisk::Geometry AtaDisk::native_geometry(std::uint64_t sectors) {
    constexpr std::uint32_t heads = 16, sectors_a_track = 63, most_cylinders = 16383; // clause 8.15.8
    Geometry g =
        sectors >= heads * sectors_a_track
            ? geometry(sectors, heads, sectors_a_track)
            : geometry(sectors, 1, static_cast<std::uint32_t>(std::clamp<std::uint64_t>(sectors, 1, 63)));
    g.cylinders = std::min(g.cylinders, most_cylinders);
    return g;
}

std::uint32_t AtaDisk::wide_count(const TwoDeep& reg) {
    const std::uint32_t count = std::uint32_t{reg.previous} << 8 | reg.current;
    return count != 0 ? count : 65536;
}

bool AtaDisk::decode(Addressing how, Extent& extent) {
    addressing_ = how;
    if (how != Addressing::Short) {
        auto wide = [](const TwoDeep& r) { return std::uint64_t{r.previous} << 24 | r.current; };
        extent.lba = wide(regs_.lba_low) | wide(regs_.lba_mid) << 8 | wide(regs_.lba_high) << 16;
        extent.sectors = wide_count(how == Addressing::Queued ? regs_.feature : regs_.count);
    } else {
        extent.sectors = regs_.count.current != 0 ? regs_.count.current : 256u;
        const std::uint32_t mid_high = regs_.lba_high.current << 8 | regs_.lba_mid.current;
        const std::uint32_t top = regs_.device & 0x0fu;
        if ((regs_.device & ata::device_lba) != 0) {
            extent.lba = top << 24 | mid_high << 8 | regs_.lba_low.current;
        } else {
            const std::uint32_t sector = regs_.lba_low.current;
            if (sector == 0 || sector > current_.sectors || top >= current_.heads ||
                mid_high >= current_.cylinders) {
                fail(ata::id_not_found);
                return false;
            }
            extent.lba = (std::uint64_t{mid_high} * current_.heads + top) * current_.sectors + sector - 1;
        }
    }
    if (extent.lba >= sectors_ || extent.sectors > sectors_ - extent.lba) {
        set_address(std::max(extent.lba, sectors_)); // the first that does not exist
        fail(ata::id_not_found);
        return false;
    }
    return true;
}

void AtaDisk::set_address(std::uint64_t lba) {
    auto byte = [](std::uint64_t value, unsigned shift) { return static_cast<std::uint8_t>(value >> shift); };
    if (addressing_ != Addressing::Short) {
        regs_.lba_low = {byte(lba, 0), byte(lba, 24)};
        regs_.lba_mid = {byte(lba, 8), byte(lba, 32)};
        regs_.lba_high = {byte(lba, 16), byte(lba, 40)};
        return;
    }
    std::uint64_t top = lba >> 24;
    std::uint64_t low = lba & 0xff, mid_high = lba >> 8;
    if ((regs_.device & ata::device_lba) == 0) {
        const auto track = lba / current_.sectors;
        low = lba % current_.sectors + 1;
        mid_high = track / current_.heads;
        top = track % current_.heads;
    }
    regs_.lba_low = byte(low, 0);
    regs_.lba_mid = byte(mid_high, 0);
    regs_.lba_high = byte(mid_high, 8);
    regs_.device = static_cast<std::uint8_t>((regs_.device & 0xf0) | (top & 0x0f));
}

// --- Ends of commands --------------------------------------------------------------------------------------

void AtaDisk::succeed(bool interrupt) {
    status_ = ata::ready | ata::seek_complete;
    if (interrupt)
        set_interrupt(true);
}

void AtaDisk::fail(std::uint8_t error) {
    regs_.error = error;
    status_ = ata::ready | ata::seek_complete | ata::error_bit;
    if (tag_)
        queued_error_ = {*tag_,
                         0,
                         status_,
                         error,
                         regs_.lba_low.current,
                         regs_.lba_mid.current,
                         regs_.lba_high.current,
                         regs_.device,
                         regs_.lba_low.previous,
                         regs_.lba_mid.previous,
                         regs_.lba_high.previous,
                         0,
                         regs_.count.current,
                         regs_.count.previous};
    set_interrupt(true);
}

void AtaDisk::transfer_done() {
    const bool read = transfer().to_guest;
    if (transfer().medium) {
        set_address(extent_.lba + extent_.sectors - 1);
        regs_.count = 0;
    }
    if (!read && (!write_cache_ || unit_access_)) {
        flush();
        return;
    }
    // By PIO a read has had its last interrupt with its last block (clause 9.5).
    succeed(!read || transfer().dma || transfer().verify);
}

void AtaDisk::transfer_failed(std::uint64_t offset) {
    const std::uint64_t bad = offset / sector_bytes;
    set_address(bad);
    regs_.count = static_cast<std::uint8_t>(extent_.lba + extent_.sectors - bad);
    fail(transfer().to_guest ? ata::uncorrectable : ata::aborted);
}

// --- Resets ------------------------------------------------------------------------------------------------

void AtaDisk::set_signature() { // clause 9.12
    regs_.count = regs_.lba_low = std::uint8_t{1};
    regs_.lba_mid = regs_.lba_high = std::uint8_t{0};
}

void AtaDisk::revert_settings(bool hardware) {
    standby_ = false;
    if (hardware) {
        keep_settings_ = false;
        modes_ = {};
    }
    if (keep_settings_)
        return;
    current_ = native_;
    // Drives begin with 0 and a PC's BIOS sets what they take, which systems then go by (Linux does not set
    // it). SeaBIOS leaves it to the drive.
    multiple_ = most_multiple;
    write_cache_ = look_ahead_ = true;
}

// --- Commands that move data -------------------------------------------------------------------------------

void AtaDisk::transfer_sectors(bool to_guest, Movement how, Addressing addressing) {
    if (how == Movement::Multiple && multiple_ == 0) {
        fail(ata::aborted);
        return;
    }
    if (!decode(addressing, extent_))
        return;
    standby_ = false;
    auto t = medium_transfer(extent_.lba * sector_bytes, std::uint64_t{extent_.sectors} * sector_bytes,
                             sector_bytes);
    t.to_guest = to_guest;
    t.dma = how == Movement::Dma;
    t.quiet = !to_guest; // the first block of a write is asked for without an interrupt (clause 9.6)
    if (how == Movement::Multiple)
        t.block = multiple_ * sector_bytes;
    start(t);
}

void AtaDisk::read(Movement how, Addressing addressing) {
    transfer_sectors(true, how, addressing);
}

void AtaDisk::write(Movement how, Addressing addressing) {
    if (medium_->read_only())
        fail(ata::aborted);
    else
        transfer_sectors(false, how, addressing);
}

void AtaDisk::queued(bool to_guest) {
    if (!serial() || (!to_guest && medium_->read_only())) {
        fail(ata::aborted);
        return;
    }
    tag_ = static_cast<std::uint8_t>(regs_.count.current >> 3);
    unit_access_ = !to_guest && (regs_.device & ata::device_force_unit_access) != 0;
    transfer_sectors(to_guest, Movement::Dma, Addressing::Queued);
}

void AtaDisk::verify(Addressing addressing) {
    if (!decode(addressing, extent_))
        return;
    standby_ = false;
    auto t = medium_transfer(extent_.lba * sector_bytes, std::uint64_t{extent_.sectors} * sector_bytes,
                             sector_bytes);
    t.to_guest = t.verify = true;
    start(t);
}

void AtaDisk::flush() {
    flush_medium([this](std::error_code error) {
        if (error)
            fail(ata::aborted);
        else
            succeed();
    });
}

// READ LOG EXT: the directory of logs, and the error of a queued command (Serial ATA 2.6, 13.7.4).
void AtaDisk::read_log() {
    constexpr std::uint8_t directory = 0x00, queued_errors = 0x10;
    const auto log = regs_.lba_low.current;
    const auto page = regs_.lba_mid.previous << 8 | regs_.lba_mid.current;
    const auto pages = regs_.count.previous << 8 | regs_.count.current;
    if (!serial() || page != 0 || pages != 1 || (log != directory && log != queued_errors)) {
        fail(ata::aborted);
        return;
    }
    const auto out = buffer().first(sector_bytes);
    std::ranges::fill(out, std::uint8_t{0});
    if (log == directory) {
        out[0] = 1; // version 1.0
        out[2 * queued_errors] = 1;
    } else {
        std::ranges::copy(queued_error_, out.begin());
        out[sector_bytes - 1] = checksum(out.first(sector_bytes - 1));
    }
    start(buffer_transfer(true, sector_bytes));
}

void AtaDisk::identify() {
    IdentifyData id{buffer()};
    id.word(0, 0x0040); // fixed device
    id.word(1, native_.cylinders);
    id.word(3, native_.heads);
    id.word(4, native_.sectors * sector_bytes); // words 4, 5, 20-22 are for drivers from before ATA-2
    id.word(5, sector_bytes);
    id.word(6, native_.sectors);
    id.text(10, 10, strings_.serial);
    id.word(20, 3);   // dual-ported cached buffer
    id.word(21, 256); // of 128 KiB
    id.word(22, 4);
    id.text(23, 4, strings_.firmware);
    id.text(27, 20, strings_.model);
    id.word(47, 0x8000u | most_multiple);
    id.word(48, 1);      // 32-bit data port accesses work
    id.word(49, 0x0f00); // IORDY, LBA, DMA
    id.word(50, 0x4000);
    id.word(51, 0x0200); // PIO 2 and up
    id.word(52, 0x0200);
    id.word(53, 7); // words 54-58, 64-70 and 88 are valid
    id.word(54, current_.cylinders);
    id.word(55, current_.heads);
    id.word(56, current_.sectors);
    id.dword(57, current_.cylinders * current_.heads * current_.sectors);
    id.word(59, multiple_ != 0 ? 0x100u | multiple_ : 0);
    id.dword(60, static_cast<std::uint32_t>(std::min(sectors_, lba28_sectors)));
    id.modes(modes_);
    if (serial())
        id.serial_ata(queue_depth);
    id.word(80, 0x007e); // ATA-1 to ATA/ATAPI-6
    id.word(81, 0x0022); // T13/1410D revision 3a
    // NOP, look-ahead, write cache, power management; FLUSH CACHE (EXT), 48-bit addresses.
    id.word(82, 0x4068);
    id.word(83, 0x7400);
    const unsigned logging = serial() ? 0x4020 : 0x4000;
    id.word(84, logging);
    id.word(85, 0x4008u | (look_ahead_ ? 0x40u : 0u) | (write_cache_ ? 0x20u : 0u));
    id.word(86, 0x3400);
    id.word(87, logging);
    id.word(93, serial() ? 0 : 0x6001); // 80-conductor cable
    id.dword(100, static_cast<std::uint32_t>(sectors_));
    id.dword(102, static_cast<std::uint32_t>(sectors_ >> 32));
    id.seal();
    start(buffer_transfer(true, 512));
}

// --- Commands without data ---------------------------------------------------------------------------------

void AtaDisk::set_features() {
    switch (regs_.feature.current) {
    case 0x02:
        write_cache_ = true;
        break;
    case 0x82:
        write_cache_ = false;
        flush(); // what the cache holds is written out first (clause 8.46.8)
        return;
    case 0x55:
        look_ahead_ = false;
        break;
    case 0xaa:
        look_ahead_ = true;
        break;
    case 0x66:
        keep_settings_ = true;
        break;
    case 0xcc:
        keep_settings_ = false;
        break;
    case 0x03:
        if (!modes_.select(regs_.count.current)) {
            fail(ata::aborted);
            return;
        }
        break;
    default:
        fail(ata::aborted);
        return;
    }
    succeed();
}

void AtaDisk::set_multiple() {
    const std::uint8_t count = regs_.count.current;
    if (count > most_multiple || (count & (count - 1)) != 0) {
        multiple_ = 0; // clause 8.51.6
        fail(ata::aborted);
        return;
    }
    multiple_ = count;
    succeed();
}

void AtaDisk::initialize_parameters() { // ATA-5 clause 8.16
    const std::uint32_t track = regs_.count.current;
    if (track == 0) {
        fail(ata::aborted);
        return;
    }
    current_ = geometry(sectors_, (regs_.device & 0x0fu) + 1, track);
    succeed();
}

void AtaDisk::read_native_max(Addressing addressing) {
    addressing_ = addressing;
    if (addressing == Addressing::Short && (regs_.device & ata::device_lba) == 0) {
        fail(ata::aborted);
        return;
    }
    const auto last = sectors_ - 1;
    set_address(addressing == Addressing::Short ? std::min(last, lba28_sectors) : last);
    succeed();
}

void AtaDisk::seek() {
    const TwoDeep count = std::exchange(regs_.count, TwoDeep{1, 0}); // SEEK has no count
    Extent where{};
    const bool found = decode(Addressing::Short, where);
    regs_.count = count;
    if (found)
        succeed();
}

void AtaDisk::enter_standby(bool standby) {
    standby_ = standby;
    if (standby)
        flush(); // the disk is about to be switched off
    else
        succeed();
}

void AtaDisk::check_power() {
    regs_.count = static_cast<std::uint8_t>(standby_ ? 0x00 : 0xff);
    succeed();
}

const std::array<AtaDisk::Handler, 256>& AtaDisk::commands() {
    using enum Movement;
    using enum Addressing;
    static const auto table = [] {
        std::array<Handler, 256> t;
        t.fill([](AtaDisk& d) { d.fail(ata::aborted); }); // NOP (0x00) among them, as it must
        for (unsigned i = 0; i < 16; ++i) {
            t[0x10 + i] = [](AtaDisk& d) { d.succeed(); }; // RECALIBRATE
            t[0x70 + i] = [](AtaDisk& d) { d.seek(); };
        }
        t[0x20] = t[0x21] = [](AtaDisk& d) { d.read(Pio, Short); };
        t[0x24] = [](AtaDisk& d) { d.read(Pio, Long); };
        t[0x2f] = [](AtaDisk& d) { d.read_log(); };
        t[0x60] = [](AtaDisk& d) { d.queued(true); };
        t[0x61] = [](AtaDisk& d) { d.queued(false); };
        t[0x25] = [](AtaDisk& d) { d.read(Dma, Long); };
        t[0x27] = [](AtaDisk& d) { d.read_native_max(Long); };
        t[0x29] = [](AtaDisk& d) { d.read(Multiple, Long); };
        t[0x30] = t[0x31] = t[0x3c] = [](AtaDisk& d) { d.write(Pio, Short); }; // 0x3c: WRITE VERIFY
        t[0x34] = [](AtaDisk& d) { d.write(Pio, Long); };
        t[0x35] = [](AtaDisk& d) { d.write(Dma, Long); };
        t[0x39] = [](AtaDisk& d) { d.write(Multiple, Long); };
        t[0x40] = t[0x41] = [](AtaDisk& d) { d.verify(Short); };
        t[0x42] = [](AtaDisk& d) { d.verify(Long); };
        t[0x91] = [](AtaDisk& d) { d.initialize_parameters(); };
        t[0xc4] = [](AtaDisk& d) { d.read(Multiple, Short); };
        t[0xc5] = [](AtaDisk& d) { d.write(Multiple, Short); };
        t[0xc6] = [](AtaDisk& d) { d.set_multiple(); };
        t[0xc8] = t[0xc9] = [](AtaDisk& d) { d.read(Dma, Short); };
        t[0xca] = t[0xcb] = [](AtaDisk& d) { d.write(Dma, Short); };
        // STANDBY (IMMEDIATE), SLEEP, IDLE (IMMEDIATE), CHECK POWER MODE; 0x94-0x99 are their ATA-1 codes.
        t[0xe0] = t[0xe2] = t[0xe6] = t[0x94] = t[0x96] = t[0x99] = [](AtaDisk& d) { d.enter_standby(true); };
        t[0xe1] = t[0xe3] = t[0x95] = t[0x97] = [](AtaDisk& d) { d.enter_standby(false); };
        t[0xe5] = t[0x98] = [](AtaDisk& d) { d.check_power(); };
        t[0xe7] = t[0xea] = [](AtaDisk& d) { d.flush(); };
        t[0xec] = [](AtaDisk& d) { d.identify(); };
        t[0xef] = [](AtaDisk& d) { d.set_features(); };
        t[0xf8] = [](AtaDisk& d) { d.read_native_max(Short); };
        return t;
    }();
    return table;
}

void AtaDisk::execute(std::uint8_t code) {
    tag_.reset();
    unit_access_ = false;
    commands()[code](*this);
}

} // namespace escalus
