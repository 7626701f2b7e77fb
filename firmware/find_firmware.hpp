// SPDX-License-Identifier: GPL-2.0-or-later
// Where the firmware images are: the domain file's choice, $ESCALUS_FIRMWARE, Debian's package, our own
// installation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace escalus {

inline constexpr const char* default_bios = "bios-256k.bin";
inline constexpr const char* default_vga_bios = "vgabios-stdvga.bin";
inline constexpr const char* default_uefi = "OVMF_CODE_4M.fd";

/// The directories searched, in order.
[[nodiscard]] std::vector<std::string> firmware_directories();

/// The path of `name`; `chosen` (a path, or a file name to search for) takes its place when not empty. Throws
/// std::runtime_error that says where it was sought and which package to install.
[[nodiscard]] std::string find_firmware(const std::string& name, const std::string& chosen = {});

/// Reads a whole image of at most `limit` bytes. Throws std::runtime_error naming path and reason.
[[nodiscard]] std::vector<std::uint8_t> load_firmware(const std::string& path, std::uint64_t limit);

} // namespace escalus
