// SPDX-License-Identifier: GPL-2.0-or-later
// The script by which firmware places tables of fw_cfg, links and checksums them: "etc/table-loader",
// commands of 128 bytes (QEMU hw/acpi/bios-linker-loader.c).
#pragma once

#include "firmware/byte_writer.hpp"

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace escalus {

class LoaderScript {
  public:
    enum class Zone : std::uint8_t { High = 1, FSegment = 2 };

    void allocate(std::string_view file, std::uint32_t alignment, Zone zone) {
        ByteWriter{bytes_}.u32(1).text(file, name_size).u32(alignment).u8(static_cast<std::uint8_t>(zone));
        finish();
    }
    /// Adds the address where `source` was placed to the `width` bytes at `offset` of `file`.
    void add_pointer(std::string_view file, std::size_t offset, std::uint8_t width, std::string_view source) {
        ByteWriter{bytes_}.u32(2).text(file, name_size).text(source, name_size).u32(offset).u8(width);
        finish();
    }
    /// Puts the checksum of `length` bytes from `start` at `offset`.
    void add_checksum(std::string_view file, std::size_t offset, std::size_t start, std::size_t length) {
        ByteWriter{bytes_}.u32(3).text(file, name_size).u32(offset).u32(start).u32(length);
        finish();
    }
    [[nodiscard]] std::vector<std::uint8_t> take() { return std::move(bytes_); }

  private:
    static constexpr std::size_t name_size = 56, command_size = 128;
    void finish() { bytes_.resize((bytes_.size() + command_size - 1) / command_size * command_size); }

    std::vector<std::uint8_t> bytes_;
};

} // namespace escalus
