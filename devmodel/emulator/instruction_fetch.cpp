// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/emulator/instruction_fetch.hpp"

#include <algorithm>

namespace escalus::emulation {

InstructionFetch::InstructionFetch(GuestAccess& access, const abi::VcpuPage& page, const CpuMode& mode,
                                   std::span<const std::uint8_t> given)
    : access_{access}, page_{page}, mode_{mode}, count_{std::min(given.size(), bytes_.size())} {
    std::ranges::copy(given.first(count_), bytes_.begin());
}

void InstructionFetch::more() {
    std::uint64_t offset = page_.rip + count_;
    std::uint64_t wanted = bytes_.size() - count_;
    if (!mode_.long64()) {
        offset &= 0xffffffff;
        const std::uint64_t limit = page_.segment[abi::seg_cs].limit;
        if (offset > limit)
            raise_gp();
        wanted = std::min(wanted, limit - offset + 1);
    }
    const std::uint64_t linear = access_.linear(abi::seg_cs, offset, 1, Use::Fetch, 0);
    wanted = std::min(wanted, page_size - (linear & page_mask));
    const GuestPhys gpa = access_.translate(linear, Use::Fetch);
    access_.read_physical(gpa, std::span{bytes_}.subspan(count_, wanted));
    count_ += wanted;
}

} // namespace escalus::emulation
