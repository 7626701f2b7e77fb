// SPDX-License-Identifier: GPL-2.0-or-later
// The compiled DSDT (dsdt.asl).
#pragma once

#include <cstdint>
#include <span>

namespace escalus {

[[nodiscard]] std::span<const std::uint8_t> dsdt_aml();

} // namespace escalus
