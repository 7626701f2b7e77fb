// SPDX-License-Identifier: GPL-2.0-or-later
// The format of long-mode page tables, which nested tables of AMD-V share: AMD APM 2, sections 5.3 and 15.25.
#pragma once

#include "vmm/memory/nested_tables.hpp"

namespace escalus::vmm {

/// Every entry carries U/S: the nested walk is always a user access (APM 2, section 15.25.5).
constexpr NestedFormat amd64_page_format(bool pages_1g) {
    return {.present = 1,
            .table = 7,
            .read = 5,
            .write = 2,
            .execute = 0,
            .no_execute = 1ull << 63,
            .leaf = 0,
            .large = 1 << 7,
            .dirty = 1 << 6,
            .pages_1g = pages_1g};
}

} // namespace escalus::vmm
