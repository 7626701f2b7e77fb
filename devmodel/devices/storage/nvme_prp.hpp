// SPDX-License-Identifier: GPL-2.0-or-later
// Physical region pages: where the data of an NVMe command lies (NVM Express 1.4, 4.3).
#pragma once

#include "devmodel/devices/storage/nvme_registers.hpp"
#include "devmodel/machine/guest_buffers.hpp"

namespace escalus::nvme {

/// Adds the regions of `bytes` bytes of data to `data`. The time it takes is bounded by `bytes`.
[[nodiscard]] Status collect_regions(GuestMemory& memory, const Command& command, std::uint64_t bytes,
                                     std::uint32_t page_bytes, GuestBuffers& data);

} // namespace escalus::nvme
