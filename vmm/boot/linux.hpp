// SPDX-License-Identifier: GPL-2.0-or-later
// Loads a Linux bzImage as control OS, by the 64-bit boot protocol (Documentation/x86/boot.rst and
// zero-page.rst).
#pragma once

#include "vmm/boot/boot_info.hpp"
#include "vmm/cpu/backend.hpp"

namespace escalus::vmm {

/// Places kernel, boot parameters, command line and first page tables into memory that `memory` has as usable
/// and `taken` does not hold. `memory` is what the control OS is told. Module 0 is the kernel, its string the
/// command line; module 1, if there, the initial RAM disk.
ControlStart load_linux(const BootInfo& info, const MemoryList& memory, MemoryList& taken);

} // namespace escalus::vmm
