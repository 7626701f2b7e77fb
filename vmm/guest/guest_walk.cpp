// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/guest/guest_walk.hpp"

#include "vmm/cpu/instructions.hpp"
#include "vmm/memory/identity_map.hpp"

namespace escalus::vmm {

namespace {

constexpr std::uint64_t none = ~0ull;
constexpr std::uint64_t entry_address = 0x000f'ffff'ffff'f000;

[[gnu::hot]] const void* guest_memory(const PagingState& state, std::uint64_t gpa) {
    if (state.nested == nullptr)
        return HostPhys{gpa} < identity_limit() ? reinterpret_cast<const void*>(gpa) : nullptr;
    const HostPhys host = state.recent != nullptr ? state.recent->translate(*state.nested, GuestPhys{gpa})
                                                  : state.nested->translate(GuestPhys{gpa});
    return reinterpret_cast<const void*>(raw(host));
}

[[gnu::hot]] std::uint64_t to_guest_physical(const PagingState& state, std::uint64_t linear) {
    if ((state.cr0 & cr0::pg) == 0)
        return linear & 0xffff'ffff;
    const bool wide = (state.cr4 & cr4::pae) != 0;
    const bool long_mode = (state.efer & efer::lma) != 0;
    const unsigned index_bits = wide ? 9 : 10;
    unsigned shift = 0;
    std::uint64_t table = 0;
    if (long_mode) {
        shift = (state.cr4 & cr4::la57) != 0 ? 48 : 39;
        table = state.cr3 & entry_address;
    } else if (wide) {
        shift = 30;
        table = state.cr3 & 0xffff'ffe0;
    } else {
        shift = 22;
        table = state.cr3 & 0xffff'f000;
    }
    for (;; shift -= index_bits) {
        const auto index = linear >> shift & ((1u << index_bits) - 1);
        const void* memory = guest_memory(state, table + index * (wide ? 8 : 4));
        if (memory == nullptr)
            return none;
        const std::uint64_t entry =
            wide ? *static_cast<const std::uint64_t*>(memory) : *static_cast<const std::uint32_t*>(memory);
        if ((entry & 1) == 0)
            return none;
        const auto within = (1ull << shift) - 1;
        if (shift == 12)
            return (entry & entry_address) | (linear & within);
        const bool can_be_large = shift == 21 || (shift == 30 && long_mode) || (shift == 22 && !wide);
        if ((entry & 0x80) != 0 && can_be_large) {
            auto base = entry & entry_address & ~within;
            if (shift == 22) // PSE-36: bits 20:13 are address bits 39:32
                base = (entry & 0xffc0'0000) | (entry >> 13 & 0xff) << 32;
            return base | (linear & within);
        }
        table = entry & entry_address;
    }
}

} // namespace

[[gnu::hot]] unsigned read_guest_linear(const PagingState& state, GuestLinear linear, std::uint8_t* to,
                                        unsigned bytes) {
    unsigned done = 0;
    while (done < bytes) {
        const auto address = raw(linear) + done;
        const auto gpa = to_guest_physical(state, address);
        if (gpa == none)
            break;
        const auto* from = static_cast<const std::uint8_t*>(guest_memory(state, gpa));
        if (from == nullptr)
            break;
        do
            to[done++] = *from++;
        while (done < bytes && (raw(linear) + done) % page_size != 0);
    }
    return done;
}

} // namespace escalus::vmm
