// SPDX-License-Identifier: GPL-2.0-or-later
// The raw form of a Mode 1 CD sector (ECMA-130, clause 14 and annexes A and B): sync, header, user data, EDC
// and ECC, made from its 2048 bytes of user data, for READ CD.
#pragma once

#include <cstdint>
#include <span>

namespace escalus::cd {

inline constexpr std::size_t user_bytes = 2048, raw_bytes = 2352;
inline constexpr std::uint32_t frames_a_second = 75, lead_in_frames = 150; // LBA 0 is at 00:02:00

/// Parts of a sector, as byte 9 of READ CD names them.
inline constexpr std::uint8_t part_sync = 0x80, part_subheader = 0x40, part_header = 0x20, part_user = 0x10,
                              part_check = 0x08;

struct Msf {
    std::uint8_t minute, second, frame;
};
Msf to_msf(std::uint32_t lba);

/// Bytes of the sector's parts that `parts` selects. Mode 1 has no subheader.
std::size_t size_of(std::uint8_t parts);
/// Writes these parts, in the order in which they are on the medium, to `out` (size_of(parts) bytes).
void put_sector(std::uint32_t lba, std::span<const std::uint8_t> user, std::uint8_t parts,
                std::span<std::uint8_t> out);

} // namespace escalus::cd
