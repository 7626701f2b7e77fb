// SPDX-License-Identifier: GPL-2.0-or-later
// What IDENTIFY DEVICE and IDENTIFY PACKET DEVICE have in common (ATA/ATAPI-6 clauses 8.15 and 8.16): a block
// of 256 words, strings, checksum, and the transfer modes that SET FEATURES 0x03 chooses.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace escalus {

struct IdeStrings {
    std::string model, serial, firmware; ///< at most 40, 20 and 8 printable ASCII characters are used
};

/// The transfer modes of a drive: PIO 0-4, multiword DMA 0-2, Ultra DMA 0-5. They change no timing here, but
/// drivers read back what they have set.
struct TransferModes {
    std::uint8_t multiword = 0x04; ///< one bit: the mode that is selected, 0 when Ultra DMA is
    std::uint8_t ultra = 0;

    /// SET FEATURES 0x03 with this count register; false when there is no such mode.
    bool select(std::uint8_t mode);
};

/// The byte that makes the sum of all zero.
[[nodiscard]] std::uint8_t checksum(std::span<const std::uint8_t> bytes);

class IdentifyData {
  public:
    /// Fills `block` (512 bytes) with zeros.
    explicit IdentifyData(std::span<std::uint8_t> block);
    void word(unsigned index, unsigned value);
    void dword(unsigned index, std::uint32_t value);
    /// Two characters a word, the first in the high byte, padded with spaces.
    void text(unsigned index, unsigned words, std::string_view value);
    void modes(const TransferModes& modes);
    /// What Serial ATA adds (Serial ATA 2.6, 13.2.1): speeds, and native command queueing when `depth` is not
    /// 0.
    void serial_ata(unsigned depth);
    /// Word 255: the last thing to do.
    void seal();

  private:
    std::span<std::uint8_t> block_;
};

} // namespace escalus
