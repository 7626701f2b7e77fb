// SPDX-License-Identifier: GPL-2.0-or-later
#include "firmware/dsdt.hpp"

namespace escalus {

namespace {
#include "dsdt.hex" // made by iasl: an array dsdt_aml_code
}

std::span<const std::uint8_t> dsdt_aml() {
    return dsdt_aml_code;
}

} // namespace escalus
