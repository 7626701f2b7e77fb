// SPDX-License-Identifier: GPL-2.0-or-later
// The area that the monitor shares with root: host page first, the log ring behind it. Read-only for the
// control OS.
#pragma once

#include "vmm/abi/abi.hpp"

namespace escalus::vmm {

void start_host_page(HostPhys area, std::uint64_t bytes);
[[nodiscard]] abi::HostPage& host_page();
[[nodiscard]] HostPhys host_page_address();
/// Fills in what is known once everything has started.
void complete_host_page(std::uint64_t monitor_bytes);

} // namespace escalus::vmm
