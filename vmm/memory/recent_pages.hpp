// SPDX-License-Identifier: GPL-2.0-or-later
// The last answers of a guest's nested tables, for one vCPU. A CPU that does not tell where the instruction
// after the one that exited is has its bytes read at each exit, mostly from the same pages; a walk touches as
// many pages again as the tables have levels.
//
// Whoever changes the tables sets Vcpu::flush, and forget() is called before the vCPU is entered again.
#pragma once

#include "vmm/memory/nested_tables.hpp"

namespace escalus::vmm {

class RecentPages {
  public:
    /// As NestedTables::translate(); only what can be read is kept.
    [[nodiscard]] HostPhys translate(const NestedTables& tables, GuestPhys gpa) {
        const auto within = raw(gpa) & page_mask;
        Entry& entry = entries_[raw(gpa) / page_size % count];
        if (entry.guest != (raw(gpa) ^ within)) {
            const HostPhys host = tables.translate(gpa);
            if (raw(host) == 0)
                return host;
            entry = {raw(gpa) ^ within, raw(host) ^ within};
        }
        return HostPhys{entry.host | within};
    }
    void forget() {
        for (Entry& entry : entries_)
            entry.guest = none;
    }

  private:
    static constexpr unsigned count = 8; // the levels of the guest's own tables, and the code
    static constexpr std::uint64_t none = ~0ull;
    struct Entry {
        std::uint64_t guest = none, host = 0;
    };
    Entry entries_[count];
};

} // namespace escalus::vmm
