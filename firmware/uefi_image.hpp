// SPDX-License-Identifier: GPL-2.0-or-later
// UEFI firmware for virtual machines (edk2's OVMF): its code, and the variables that a new machine starts
// with. Debian's package has them in two files, OVMF_CODE_4M.fd and OVMF_VARS_4M.fd; others have one with
// the variables in front.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace escalus {

struct UefiImage {
    std::vector<std::uint8_t> code;      ///< ends at 4 GiB
    std::vector<std::uint8_t> variables; ///< ends where the code begins
};

/// `chosen` is a path or a file name to search for; empty: Debian's. Throws std::runtime_error that names
/// what is missing or not such an image, and what to do.
[[nodiscard]] UefiImage load_uefi(const std::string& chosen);

/// The volume of variables that an image begins with (PI 1.7, volume 3, 3.2.1: EFI_FIRMWARE_VOLUME_HEADER
/// with EFI_SYSTEM_NV_DATA_FV_GUID): its size; 0 when there is none.
[[nodiscard]] std::uint64_t variable_volume_size(const std::vector<std::uint8_t>& image);

} // namespace escalus
