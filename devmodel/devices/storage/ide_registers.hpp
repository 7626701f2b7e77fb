// SPDX-License-Identifier: GPL-2.0-or-later
// Names of ATA/ATAPI-6 (T13/1410D clause 7) registers and bits.
#pragma once

#include <cstdint>

namespace escalus {

namespace ata {
// Command block registers by port offset.
inline constexpr unsigned reg_data = 0, reg_feature = 1, reg_error = 1, reg_count = 2, reg_lba_low = 3,
                          reg_lba_mid = 4, reg_lba_high = 5, reg_device = 6, reg_status = 7, reg_command = 7;
// Status.
inline constexpr std::uint8_t busy = 0x80, ready = 0x40, fault = 0x20, seek_complete = 0x10,
                              data_request = 0x08, error_bit = 0x01;
// Error.
inline constexpr std::uint8_t uncorrectable = 0x40, id_not_found = 0x10, aborted = 0x04;
// Device control.
inline constexpr std::uint8_t high_order = 0x80, software_reset = 0x04, no_interrupt = 0x02;
// Device.
inline constexpr std::uint8_t device_lba = 0x40, device_one = 0x10, device_force_unit_access = 0x80;
// Interrupt reason (count register of packet devices).
inline constexpr std::uint8_t reason_command = 0x01, reason_to_host = 0x02;

inline constexpr std::uint8_t execute_diagnostic = 0x90;
} // namespace ata

/// A command block register with the value written before the last one (48-bit addressing, clause 6.20).
struct TwoDeep {
    std::uint8_t current = 0;
    std::uint8_t previous = 0;

    void push(std::uint8_t value) {
        previous = current;
        current = value;
    }
    TwoDeep& operator=(std::uint8_t value) { // by the device: leaves no previous content
        current = value;
        previous = 0;
        return *this;
    }
};

struct TaskFile {
    TwoDeep feature, count, lba_low, lba_mid, lba_high;
    std::uint8_t device = 0;
    std::uint8_t error = 0;
};

} // namespace escalus
