// SPDX-License-Identifier: GPL-2.0-or-later
#include "firmware/smbios.hpp"

#include "firmware/byte_writer.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>
#include <string_view>

#include <fmt/format.h>

namespace escalus {

namespace {

constexpr std::uint64_t mebibyte = 1ull << 20, gibibyte = 1ull << 30;
constexpr std::string_view maker = "Escalus";

/// The tables, growing: each structure's formatted part, then its strings.
class Structures {
  public:
    /// The formatted part must begin with type, length and handle, which are written here; `fields` is the
    /// rest.
    void add(std::uint8_t type, std::uint16_t handle, std::span<const std::uint8_t> fields,
             std::initializer_list<std::string_view> strings = {}) {
        ByteWriter out{bytes};
        out.u8(type).u8(4 + fields.size()).u16(handle).raw(fields);
        for (const auto string : strings)
            out.text(string, string.size() + 1);
        out.zeroes(strings.size() == 0 ? 2 : 1);
        ++count;
        // 5.2.1: the longest one, strings included.
        longest = std::max(longest, bytes.size() - start_);
        start_ = bytes.size();
    }
    std::vector<std::uint8_t> bytes;
    std::size_t count = 0, longest = 0;

  private:
    std::size_t start_ = 0;
};

/// 7.2.1: the first three fields are little-endian.
std::array<std::uint8_t, 16> parse_uuid(const std::string& text) {
    std::array<std::uint8_t, 16> uuid{};
    if (text.empty())
        return uuid; // all zeroes: not set
    const auto bad = [&] {
        return std::invalid_argument{
            fmt::format("\"{}\" is not a UUID (8-4-4-4-12 hexadecimal digits)", text)};
    };
    if (text.size() != 36)
        throw bad();
    std::size_t byte = 0;
    for (std::size_t i = 0; i < text.size();) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i++] != '-')
                throw bad();
            continue;
        }
        const auto* digits = text.data() + i;
        if (const auto [end, error] = std::from_chars(digits, digits + 2, uuid[byte++], 16);
            error != std::errc{} || end != digits + 2)
            throw bad();
        i += 2;
    }
    std::reverse(uuid.begin(), uuid.begin() + 4);
    std::reverse(uuid.begin() + 4, uuid.begin() + 6);
    std::reverse(uuid.begin() + 6, uuid.begin() + 8);
    return uuid;
}

/// Strings are printable, and not endless.
std::string clean(const std::string& text) {
    std::string result = text.substr(0, 64);
    std::ranges::replace_if(
        result, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
    return result.empty() ? "none" : result;
}

template <typename Write>
std::vector<std::uint8_t> fields(Write write) {
    std::vector<std::uint8_t> bytes;
    ByteWriter out{bytes};
    write(out);
    return bytes;
}

constexpr std::uint16_t handle_memory_array = 0x1000, handle_module = 0x1100, handle_mapping = 0x1300;

void add_system(Structures& tables, const SmbiosConfig& config) {
    // Type 0, firmware: no BIOS characteristics claimed but "virtual machine" (extension byte 2, bit 4).
    tables.add(0, 0x0000, fields([](ByteWriter& out) {
                   out.u8(1).u8(2).u16(0xe800).u8(3).u8(0).u64(8).u8(0).u8(0x14).u8(0).u8(0).u8(0xff).u8(
                       0xff);
               }),
               {maker, "1.0", "01/01/2026"});
    const auto uuid = parse_uuid(config.uuid);
    tables.add(1, 0x0100, fields([&](ByteWriter& out) {
                   out.u8(1).u8(2).u8(3).u8(4).raw(uuid).u8(6).u8(5).u8(6); // woken by the power switch
               }),
               {maker, "pc", "1.0", clean(config.name), "none", "Virtual machine"});
    tables.add(3, 0x0300, fields([](ByteWriter& out) {
                   out.u8(1).u8(1).u8(2).u8(0).u8(0).u8(3).u8(3).u8(3).u8(2).u32(0).u8(0).u8(0).u8(0).u8(0);
               }),
               {maker, "pc"});
}

void add_processors(Structures& tables, unsigned vcpus) {
    for (unsigned i = 0; i < vcpus; ++i) {
        const auto socket = fmt::format("CPU {}", i);
        tables.add(4, static_cast<std::uint16_t>(0x0400 + i), fields([](ByteWriter& out) {
                       out.u8(1)
                           .u8(3)
                           .u8(1)
                           .u8(2) // socket, central processor, family "other", maker
                           .u64(0)
                           .u8(3) // ID, version
                           .u8(0)
                           .u16(0)
                           .u16(2000)
                           .u16(2000) // voltage, clocks in MHz
                           .u8(0x41)
                           .u8(1) // populated and enabled, upgrade "other"
                           .u16(0xffff)
                           .u16(0xffff)
                           .u16(0xffff) // caches: not told
                           .u8(0)
                           .u8(0)
                           .u8(0)
                           .u8(1)
                           .u8(1)
                           .u8(1)
                           .u16(2) // one core, one thread; unknown characteristics
                           .u16(1);
                   }),
                   {socket, maker, "virtual"});
    }
}

void add_memory(Structures& tables, const SmbiosConfig& config) {
    const auto total = config.memory_below_4g + config.memory_above_4g;
    // One module a 16 GiB: each size then fits the 16 bits that all readers know.
    const auto modules = static_cast<std::uint16_t>((total + 16 * gibibyte - 1) / (16 * gibibyte));
    const auto kibibytes = total / 1024;
    tables.add(16, handle_memory_array, fields([&](ByteWriter& out) {
                   const bool fits = kibibytes < 0x8000'0000;
                   out.u8(1)
                       .u8(3)
                       .u8(6) // "other" place, system memory, multi-bit ECC
                       .u32(fits ? kibibytes : 0x8000'0000)
                       .u16(0xfffe)
                       .u16(modules)
                       .u64(fits ? 0 : total);
               }));
    for (std::uint16_t i = 0; i < modules; ++i) {
        const auto size = std::min(total - i * 16 * gibibyte, 16 * gibibyte);
        const auto locator = fmt::format("DIMM {}", i);
        tables.add(17, static_cast<std::uint16_t>(handle_module + i), fields([&](ByteWriter& out) {
                       out.u16(handle_memory_array)
                           .u16(0xfffe)
                           .u16(64)
                           .u16(64)
                           .u16(size / mebibyte)
                           .u8(9)
                           .u8(0)
                           .u8(1)
                           .u8(0) // a DIMM, in no set, with a name
                           .u8(7)
                           .u16(2)
                           .u16(0) // RAM, unknown details, speed not told
                           .u8(2)
                           .u8(0)
                           .u8(0)
                           .u8(0)
                           .u8(0)
                           .u32(0)
                           .u16(0)
                           .u16(0)
                           .u16(0)
                           .u16(0);
                   }),
                   {locator, maker});
    }
    std::uint16_t handle = handle_mapping;
    const auto map = [&](std::uint64_t base, std::uint64_t size) {
        if (size == 0)
            return;
        const auto first = base / 1024, last = (base + size) / 1024 - 1;
        const bool fits = last < 0xffff'ffff;
        tables.add(19, handle++, fields([&](ByteWriter& out) {
                       out.u32(fits ? first : 0xffff'ffff)
                           .u32(fits ? last : 0xffff'ffff)
                           .u16(handle_memory_array)
                           .u8(modules)
                           .u64(fits ? 0 : base)
                           .u64(fits ? 0 : base + size - 1);
                   }));
    };
    map(0, config.memory_below_4g);
    map(4 * gibibyte, config.memory_above_4g);
}

} // namespace

SmbiosFiles build_smbios(const SmbiosConfig& config) {
    Structures tables;
    add_system(tables, config);
    add_processors(tables, config.vcpus);
    add_memory(tables, config);
    tables.add(32, 0x2000, std::vector<std::uint8_t>(7)); // no errors detected at boot
    tables.add(127, 0x7f00, {});

    // 5.2.1, the 32-bit entry point. The firmware puts the tables' address in and corrects both checksums.
    SmbiosFiles files;
    std::vector<std::uint8_t> intermediate;
    ByteWriter{intermediate}
        .text("_DMI_", 5)
        .u8(0)
        .u16(tables.bytes.size())
        .u32(0)
        .u16(tables.count)
        .u8(0x28);
    intermediate[5] = zero_sum(intermediate);
    ByteWriter{files.anchor}
        .text("_SM_", 4)
        .u8(0)
        .u8(0x1f)
        .u8(2)
        .u8(8)
        .u16(tables.longest)
        .u8(0)
        .zeroes(5)
        .raw(intermediate);
    files.anchor[4] = zero_sum(files.anchor);
    files.tables = std::move(tables.bytes);
    return files;
}

} // namespace escalus
