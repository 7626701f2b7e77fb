// SPDX-License-Identifier: GPL-2.0-or-later
// The monitor's own page tables: all physical memory at its own address.
#pragma once

#include "vmm/abi/types.hpp"

namespace escalus::vmm {

/// The boot tables map 4 GiB. This extends them to `top`, taking pages from the private allocator.
void extend_identity_map(HostPhys top);
/// First address that is not mapped.
[[nodiscard]] HostPhys identity_limit();

} // namespace escalus::vmm
