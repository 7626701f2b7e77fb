// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/usb/scsi_disk.hpp"

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <utility>

namespace escalus {

namespace {
enum Command : std::uint8_t {
    test_unit_ready = 0x00,
    request_sense_command = 0x03,
    format_unit = 0x04,
    read_6 = 0x08,
    write_6 = 0x0a,
    inquiry_command = 0x12,
    mode_sense_6 = 0x1a,
    start_stop_unit = 0x1b,
    send_diagnostic = 0x1d,
    prevent_allow = 0x1e,
    read_format_capacities_command = 0x23,
    read_capacity_10 = 0x25,
    read_10 = 0x28,
    write_10 = 0x2a,
    seek_10 = 0x2b,
    write_verify_10 = 0x2e,
    verify_10 = 0x2f,
    synchronize_cache_10 = 0x35,
    mode_sense_10 = 0x5a,
    read_16 = 0x88,
    write_16 = 0x8a,
    synchronize_cache_16 = 0x91,
    service_action_in = 0x9e,
    report_luns = 0xa0,
    read_12 = 0xa8,
    write_12 = 0xaa,
};
constexpr std::uint8_t read_capacity_16 = 0x10; // a service action

constexpr std::uint8_t medium_error = 3, illegal_request = 5, unit_attention = 6, data_protect = 7;
constexpr std::uint8_t force_unit_access = 8; // in byte 1 of READ and WRITE
constexpr std::uint8_t caching_page = 8, all_pages = 0x3f;
constexpr std::size_t no_limit = ~std::size_t{0};

using Bytes = std::vector<std::uint8_t>;

void put(Bytes& to, std::initializer_list<unsigned> bytes) {
    for (const auto byte : bytes)
        to.push_back(static_cast<std::uint8_t>(byte));
}
void put32(Bytes& to, std::uint64_t value) {
    for (int shift = 24; shift >= 0; shift -= 8)
        to.push_back(static_cast<std::uint8_t>(value >> shift));
}
void put64(Bytes& to, std::uint64_t value) {
    put32(to, value >> 32);
    put32(to, value);
}
void put_text(Bytes& to, std::string_view text, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i)
        to.push_back(i < text.size() ? static_cast<std::uint8_t>(text[i]) : std::uint8_t{' '});
}
} // namespace

std::uint32_t ScsiDisk::Block::get16(unsigned at) const {
    return bytes[at] << 8 | bytes[at + 1];
}
std::uint32_t ScsiDisk::Block::get32(unsigned at) const {
    return get16(at) << 16 | get16(at + 2);
}
std::uint64_t ScsiDisk::Block::get64(unsigned at) const {
    return std::uint64_t{get32(at)} << 32 | get32(at + 4);
}

ScsiDisk::ScsiDisk(ScsiIdentity identity, std::uint64_t bytes, bool read_only)
    : identity_{std::move(identity)}, blocks_{bytes / block_bytes}, read_only_{read_only} {}

void ScsiDisk::reset() {
    sense_ = {};
    attention_ = true;
    locked_ = false;
}

ScsiTask ScsiDisk::fail(Sense sense) {
    sense_ = sense;
    return {.work = ScsiTask::Work::Fail, .reply = {}};
}

void ScsiDisk::medium_failed(bool writing) {
    // WRITE ERROR, UNRECOVERED READ ERROR.
    sense_ = {medium_error, static_cast<std::uint8_t>(writing ? 0x0c : 0x11), 0};
}

ScsiTask ScsiDisk::reply(Bytes data, std::size_t allocated) {
    data.resize(std::min(data.size(), allocated));
    return {.work = ScsiTask::Work::Reply, .reply = std::move(data)};
}

ScsiTask ScsiDisk::execute(unsigned lun, std::span<const std::uint8_t> command) {
    Block block{};
    std::copy_n(command.begin(), std::min(command.size(), std::size(block.bytes)), std::begin(block.bytes));
    const auto code = block.bytes[0];
    // These are carried out whatever else there is to tell (SPC-2, 5.6 and 7.3).
    if (code == inquiry_command)
        return inquiry(block, lun);
    if (lun != 0)
        return fail({illegal_request, 0x25, 0}); // LOGICAL UNIT NOT SUPPORTED
    if (code == request_sense_command)
        return request_sense(block);
    if (code == report_luns) {
        Bytes list;
        put32(list, 8);
        list.resize(16);
        return reply(std::move(list), block.get32(6));
    }
    if (std::exchange(attention_, false))
        return fail({unit_attention, 0x29, 0}); // POWER ON, RESET, OR BUS DEVICE RESET OCCURRED
    sense_ = {};
    return run(block);
}

ScsiTask ScsiDisk::run(const Block& block) {
    using enum ScsiTask::Work;
    const auto& b = block.bytes;
    const bool stable = (b[1] & force_unit_access) != 0;
    switch (b[0]) {
    case test_unit_ready:
    case start_stop_unit:
    case send_diagnostic:
        return {.work = None, .reply = {}};
    case prevent_allow:
        locked_ = (b[4] & 1) != 0;
        return {.work = None, .reply = {}};
    case seek_10:
    case verify_10: // without a byte to compare with: the blocks are there
        if ((b[1] & 2) != 0 && b[0] == verify_10)
            break;
        return transfer(None, block.get32(2), b[0] == seek_10 ? 0 : block.get16(7));
    case synchronize_cache_10:
    case synchronize_cache_16:
        return {.work = Flush, .reply = {}};
    case mode_sense_6:
    case mode_sense_10:
        return mode_sense(block, b[0] == mode_sense_10);
    case read_format_capacities_command:
        return read_format_capacities(block);
    case read_capacity_10:
        return read_capacity(false, no_limit);
    case service_action_in:
        if ((b[1] & 0x1f) != read_capacity_16)
            break;
        return read_capacity(true, block.get32(10));
    case read_6:
    case write_6:
        return transfer(b[0] == read_6 ? Read : Write, block.get32(0) & 0x1fffff, b[4] == 0 ? 256 : b[4]);
    case read_10:
        return transfer(Read, block.get32(2), block.get16(7));
    case write_10:
    case write_verify_10:
        return transfer(Write, block.get32(2), block.get16(7), stable && b[0] == write_10);
    case read_12:
        return transfer(Read, block.get32(2), block.get32(6));
    case write_12:
        return transfer(Write, block.get32(2), block.get32(6), stable);
    case read_16:
        return transfer(Read, block.get64(2), block.get32(10));
    case write_16:
        return transfer(Write, block.get64(2), block.get32(10), stable);
    default:
        return fail({illegal_request, 0x20, 0}); // INVALID COMMAND OPERATION CODE
    }
    return fail({illegal_request, 0x24, 0}); // INVALID FIELD IN CDB
}

ScsiTask ScsiDisk::request_sense(const Block& block) {
    Sense sense = std::exchange(sense_, {});
    if (sense.key == 0 && std::exchange(attention_, false))
        sense = {unit_attention, 0x29, 0};
    Bytes data; // fixed format (SPC-2, 7.23.2)
    put(data, {0x70, 0, sense.key, 0, 0, 0, 0, 10, 0, 0, 0, 0, sense.code, sense.qualifier, 0, 0, 0, 0});
    return reply(std::move(data), block.bytes[4]);
}

ScsiTask ScsiDisk::inquiry(const Block& block, unsigned lun) {
    if ((block.bytes[1] & 1) != 0)
        return lun == 0 ? vital_product_data(block) : fail({illegal_request, 0x24, 0});
    if (block.bytes[2] != 0)
        return fail({illegal_request, 0x24, 0});
    Bytes data; // 7.3.2: SPC-2, response format 2
    put(data, {lun == 0 ? 0x00u : 0x7fu, identity_.removable ? 0x80u : 0u, 4, 2, 31, 0, 0, 0});
    put_text(data, identity_.vendor, 8);
    put_text(data, identity_.product, 16);
    put_text(data, identity_.revision, 4);
    return reply(std::move(data), block.get16(3));
}

ScsiTask ScsiDisk::vital_product_data(const Block& block) {
    Bytes page{0, block.bytes[2], 0, 0};
    switch (block.bytes[2]) {
    case 0x00: // supported pages
        put(page, {0x00, 0x80, 0x83});
        break;
    case 0x80: // unit serial number
        put_text(page, identity_.serial, identity_.serial.size());
        break;
    case 0x83: // identification: vendor and serial number
        put(page, {2, 1, 0, static_cast<unsigned>(8 + identity_.serial.size())});
        put_text(page, identity_.vendor, 8);
        put_text(page, identity_.serial, identity_.serial.size());
        break;
    default:
        return fail({illegal_request, 0x24, 0});
    }
    page[3] = static_cast<std::uint8_t>(page.size() - 4);
    return reply(std::move(page), block.get16(3));
}

ScsiTask ScsiDisk::mode_sense(const Block& block, bool long_form) {
    const auto page = block.bytes[2] & all_pages;
    const bool changeable = block.bytes[2] >> 6 == 1;
    if (block.bytes[2] >> 6 == 3)
        return fail({illegal_request, 0x39, 0}); // SAVING PARAMETERS NOT SUPPORTED
    if (page != caching_page && page != all_pages)
        return fail({illegal_request, 0x24, 0});
    const auto device_specific = read_only_ ? 0x80u : 0u;
    Bytes data;
    if (long_form)
        put(data, {0, 0, 0, device_specific, 0, 0, 0, 0});
    else
        put(data, {0, 0, device_specific, 0});
    Bytes caching{caching_page, 18};
    caching.resize(20);
    caching[2] = changeable ? 0 : 4; // WCE: what is written may wait for SYNCHRONIZE CACHE
    data.insert(data.end(), caching.begin(), caching.end());
    if (long_form) {
        data[1] = static_cast<std::uint8_t>(data.size() - 2);
        return reply(std::move(data), block.get16(7));
    }
    data[0] = static_cast<std::uint8_t>(data.size() - 1);
    return reply(std::move(data), block.bytes[4]);
}

ScsiTask ScsiDisk::read_format_capacities(const Block& block) {
    Bytes data; // USB Mass Storage UFI Command Specification 1.0, 4.10: one descriptor, formatted medium
    put(data, {0, 0, 0, 8});
    put32(data, std::min<std::uint64_t>(blocks_, 0xffffffff));
    put32(data, 2u << 24 | block_bytes);
    return reply(std::move(data), block.get16(7));
}

ScsiTask ScsiDisk::read_capacity(bool long_form, std::size_t allocated) {
    Bytes data;
    const auto last = blocks_ == 0 ? 0 : blocks_ - 1;
    if (long_form)
        put64(data, last);
    else
        put32(data, std::min<std::uint64_t>(last, 0xffffffff));
    put32(data, block_bytes);
    if (long_form)
        data.resize(32);
    return reply(std::move(data), allocated);
}

ScsiTask ScsiDisk::transfer(ScsiTask::Work work, std::uint64_t lba, std::uint64_t blocks, bool flush) {
    if (lba > blocks_ || blocks > blocks_ - lba)
        return fail({illegal_request, 0x21, 0}); // LOGICAL BLOCK ADDRESS OUT OF RANGE
    if (work == ScsiTask::Work::Write && read_only_)
        return fail({data_protect, 0x27, 0}); // WRITE PROTECTED
    if (blocks == 0)
        work = ScsiTask::Work::None;
    return {.work = work,
            .reply = {},
            .offset = lba * block_bytes,
            .bytes = work == ScsiTask::Work::None ? 0 : blocks * block_bytes,
            .flush = flush};
}

} // namespace escalus
