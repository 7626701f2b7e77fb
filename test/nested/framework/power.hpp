// SPDX-License-Identifier: GPL-2.0-or-later
// How the suite ends: through QEMU's isa-debug-exit device, by ACPI soft-off, or in a halt.
#pragma once

#include "vmm/boot/boot_info.hpp"

#include <cstdint>

namespace escalus::nested {

enum class ExitMethod { Any, Debug, Acpi, Halt };
/// Written to isa-debug-exit; QEMU then ends with status value * 2 + 1.
enum class ExitCode : std::uint8_t { Passed = 0, Failed = 1, CannotRun = 2 };

/// Finds the machine's soft-off registers; once.
void start_power(vmm::BootInfo& info);
/// Any: all methods in turn. A method that does nothing here is followed by a halt.
[[noreturn]] void leave(ExitMethod method, ExitCode code);

} // namespace escalus::nested
