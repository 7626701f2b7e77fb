// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "test/nested/framework/check.hpp"

namespace escalus::nested::vmx {
extern const Vendor vendor;

/// What VMXON was given.
[[nodiscard]] std::uint64_t vmxon_region();
/// The memory that guest.cpp needs, once.
void start_guests();
} // namespace escalus::nested::vmx
