// SPDX-License-Identifier: GPL-2.0-or-later
// SMBIOS 2.8 tables (DMTF DSP0134): types 0, 1, 3, 4, 16, 17, 19, 32 and 127, with the 32-bit entry point
// that SeaBIOS relocates.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace escalus {

struct SmbiosConfig {
    std::string name{}; ///< product serial: the guest's name
    std::string uuid{}; ///< empty: "not set"
    std::uint64_t memory_below_4g = 0;
    std::uint64_t memory_above_4g = 0;
    unsigned vcpus = 1;
};

struct SmbiosFiles {
    std::vector<std::uint8_t> tables; ///< etc/smbios/smbios-tables
    std::vector<std::uint8_t> anchor; ///< etc/smbios/smbios-anchor
};

/// Throws std::invalid_argument for a malformed UUID.
[[nodiscard]] SmbiosFiles build_smbios(const SmbiosConfig& config);

} // namespace escalus
