// SPDX-License-Identifier: GPL-2.0-or-later
// The formats of floppy disks, told by the size of their images, and which drive takes which.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include <fmt/format.h>

namespace escalus {

/// By the numbers that CMOS register 0x10 has for them.
enum class FloppyDriveType : std::uint8_t {
    None = 0,
    Dd525 = 1, ///< 5.25", 360 KB
    Hd525 = 2, ///< 5.25", 1.2 MB
    Dd35 = 3,  ///< 3.5", 720 KB
    Hd35 = 4,  ///< 3.5", 1.44 MB
    Ed35 = 5,  ///< 3.5", 2.88 MB
};

/// As the controller's registers name them.
enum class FloppyRate : std::uint8_t { K500 = 0, K300 = 1, K250 = 2, M1 = 3 };

struct FloppyFormat {
    unsigned kib = 0; ///< as it is called: 1440 KB
    std::uint8_t cylinders = 0, heads = 0, sectors = 0;
    FloppyDriveType drive = FloppyDriveType::None; ///< the one that such an image gets
    FloppyRate rate = FloppyRate::K500;

    [[nodiscard]] std::uint64_t bytes() const { return 512ull * cylinders * heads * sectors; }
};

namespace floppy_detail {
using Type = FloppyDriveType;
using Rate = FloppyRate;

// 720 KB disks get a 1.44 MB drive, which takes both; so do the two that hold more than 1.44 MB.
inline constexpr std::array<FloppyFormat, 10> formats{{
    {160, 40, 1, 8, Type::Dd525, Rate::K250},
    {180, 40, 1, 9, Type::Dd525, Rate::K250},
    {320, 40, 2, 8, Type::Dd525, Rate::K250},
    {360, 40, 2, 9, Type::Dd525, Rate::K250},
    {720, 80, 2, 9, Type::Hd35, Rate::K250},
    {1200, 80, 2, 15, Type::Hd525, Rate::K500},
    {1440, 80, 2, 18, Type::Hd35, Rate::K500},
    {1680, 80, 2, 21, Type::Hd35, Rate::K500}, // Microsoft's distribution media format
    {1722, 82, 2, 21, Type::Hd35, Rate::K500},
    {2880, 80, 2, 36, Type::Ed35, Rate::M1},
}};

constexpr bool takes(Type drive, const FloppyFormat& format) {
    switch (drive) {
    case Type::None:
        return true; // any drive
    case Type::Dd525:
        return format.drive == Type::Dd525;
    case Type::Hd525:
        return format.drive == Type::Dd525 || format.drive == Type::Hd525;
    case Type::Dd35:
        return format.kib == 720;
    case Type::Hd35:
        return format.drive == Type::Hd35;
    case Type::Ed35:
        return format.drive == Type::Hd35 || format.drive == Type::Ed35;
    }
    return false;
}
} // namespace floppy_detail

/// The format of an image of this size; none when no floppy disk has it.
[[nodiscard]] inline std::optional<FloppyFormat> floppy_format(std::uint64_t bytes) {
    const auto* const found = std::ranges::find(floppy_detail::formats, bytes, &FloppyFormat::bytes);
    return found != floppy_detail::formats.end() ? std::optional{*found} : std::nullopt;
}

/// The sizes that such a drive takes, or that there are, for messages: "160, 180, ... KB".
[[nodiscard]] inline std::string floppy_sizes(FloppyDriveType drive) {
    std::string list;
    for (const auto& format : floppy_detail::formats)
        if (floppy_detail::takes(drive, format))
            list += fmt::format("{}{}", list.empty() ? "" : ", ", format.kib);
    return list + " KB";
}

/// Why a disk of this size cannot be put into the drive; empty when it can.
[[nodiscard]] inline std::string why_no_floppy(FloppyDriveType drive, std::uint64_t bytes) {
    const auto format = floppy_format(bytes);
    if (format && floppy_detail::takes(drive, *format))
        return {};
    return fmt::format("{} of {} bytes {}: {} {}", format ? "a disk" : "an image", bytes,
                       format ? "does not fit into this drive" : "is no floppy disk",
                       format ? "it takes" : "they have",
                       floppy_sizes(format ? drive : FloppyDriveType::None));
}

} // namespace escalus
