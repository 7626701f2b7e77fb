// SPDX-License-Identifier: GPL-2.0-or-later
// Does what firmware does with the ACPI tables of fw_cfg: executes the table loader's script (QEMU,
// hw/acpi/bios-linker-loader.c) to place, link and checksum them. For kernels started without firmware.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace escalus {

struct AcpiPlacement {
    std::uint64_t rsdp = 0; ///< address of the root pointer; 0: the script placed none
    std::uint64_t base = 0; ///< where `bytes` goes
    std::vector<std::uint8_t> bytes;
};

/// `file` gives a file's content by name. Everything goes to [base, end), which is where a kernel without
/// firmware looks for the root pointer when it lies in 0xe0000..0xfffff; what is to be in the F segment is.
/// Throws std::runtime_error for a script that cannot be executed, or when there is no room.
[[nodiscard]] AcpiPlacement
place_acpi(std::span<const std::uint8_t> script,
           const std::function<std::span<const std::uint8_t>(std::string_view)>& file, std::uint64_t base,
           std::uint64_t end);

} // namespace escalus
