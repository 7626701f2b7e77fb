// SPDX-License-Identifier: GPL-2.0-or-later
// The control OS's nested tables: all physical memory at its own address, but for what is the monitor's. The
// control OS reads ones where the monitor lies; the area shared with root is read-only.
#pragma once

#include "vmm/abi/abi.hpp"

namespace escalus::vmm {

struct HiddenRanges {
    HostPhys image{};
    std::uint64_t image_bytes = 0;
    HostPhys private_memory{};
    std::uint64_t private_bytes = 0;
    HostPhys shared{};
    std::uint64_t shared_bytes = 0;
};

/// Maps [0, top). What lies above (device memory) is mapped when it is first touched.
void start_control_memory(const HiddenRanges& hidden, HostPhys top);
[[nodiscard]] HostPhys control_memory_root();

/// Maps what a fault at `gpa` asks for. False when the access is not allowed.
bool map_on_demand(GuestPhys gpa, bool write);

/// While CPUs are being started, writes to the local APIC's page fault (xAPIC mode).
void watch_apic_page(HostPhys page, bool watch);

} // namespace escalus::vmm
