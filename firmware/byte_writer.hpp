// SPDX-License-Identifier: GPL-2.0-or-later
// Little-endian structures, field by field: what all firmware tables are made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace escalus {

class ByteWriter {
  public:
    explicit ByteWriter(std::vector<std::uint8_t>& bytes) : bytes_{bytes} {}

    ByteWriter& u8(std::uint64_t value) { return number(value, 1); }
    ByteWriter& u16(std::uint64_t value) { return number(value, 2); }
    ByteWriter& u32(std::uint64_t value) { return number(value, 4); }
    ByteWriter& u64(std::uint64_t value) { return number(value, 8); }
    ByteWriter& zeroes(std::size_t count) {
        bytes_.insert(bytes_.end(), count, 0);
        return *this;
    }
    ByteWriter& raw(std::span<const std::uint8_t> data) {
        bytes_.insert(bytes_.end(), data.begin(), data.end());
        return *this;
    }
    /// Exactly `width` bytes, filled up with `fill`. Throws std::invalid_argument when the text is longer.
    ByteWriter& text(std::string_view text, std::size_t width, char fill = '\0') {
        if (text.size() > width)
            throw std::invalid_argument{"firmware table: a text does not fit its field"};
        bytes_.insert(bytes_.end(), text.begin(), text.end());
        bytes_.insert(bytes_.end(), width - text.size(), static_cast<std::uint8_t>(fill));
        return *this;
    }

  private:
    ByteWriter& number(std::uint64_t value, unsigned width) {
        for (unsigned i = 0; i < width; ++i)
            bytes_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
        return *this;
    }
    std::vector<std::uint8_t>& bytes_;
};

/// The byte that makes the sum of all bytes 0, when it stands where now a 0 stands.
inline std::uint8_t zero_sum(std::span<const std::uint8_t> bytes) {
    return static_cast<std::uint8_t>(-std::accumulate(bytes.begin(), bytes.end(), 0));
}

} // namespace escalus
