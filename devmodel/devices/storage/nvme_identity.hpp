// SPDX-License-Identifier: GPL-2.0-or-later
// What an NVMe controller tells about itself and its namespace: the data structures of Identify (NVM Express
// 1.4, 5.15) and the health log (5.14.1.2), as pure functions.
#pragma once

#include "devmodel/devices/storage/nvme_registers.hpp"

#include <span>
#include <string>
#include <vector>

namespace escalus::nvme {

struct Identity {
    std::string serial;                  ///< 20 printable ASCII characters at most are used
    std::array<std::uint8_t, 16> uuid{}; ///< of the namespace, in the order of its text form
};

inline constexpr std::uint16_t pci_vendor = 0x1b36, pci_device = 0x0010, pci_subsystem_vendor = 0x1af4,
                               pci_subsystem = 0x1100;
inline constexpr unsigned most_event_requests = 4, most_aborts = 4, error_log_entries = 16;
inline constexpr unsigned transfer_shift = 8; ///< a command moves 2^8 pages of 4 KiB at most: 1 MiB
inline constexpr unsigned block_shift = 9;
inline constexpr std::uint16_t kelvin = 300; ///< how warm it is

/// Counters of the health log, since power-on.
struct Health {
    std::uint64_t blocks_read = 0, blocks_written = 0, reads = 0, writes = 0, media_errors = 0, errors = 0,
                  unsafe_shutdowns = 0, hours = 0;
    std::uint8_t critical_warning = 0;
};

[[nodiscard]] std::vector<std::uint8_t> identify_controller(const Identity& identity, bool trims);
[[nodiscard]] std::vector<std::uint8_t> identify_namespace(std::uint64_t blocks, bool read_only);
/// Of the namespaces above `after`.
[[nodiscard]] std::vector<std::uint8_t> active_namespaces(std::uint32_t after);
[[nodiscard]] std::vector<std::uint8_t> namespace_descriptors(const Identity& identity);
[[nodiscard]] std::vector<std::uint8_t> health_log(const Health& health);
[[nodiscard]] std::vector<std::uint8_t> firmware_log();

} // namespace escalus::nvme
