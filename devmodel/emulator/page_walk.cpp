// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/emulator/page_walk.hpp"

#include "devmodel/emulator/cpu_state.hpp"

#include <atomic>
#include <cstring>

namespace escalus::emulation {

namespace {
constexpr std::uint64_t entry_present = 1, entry_write = 2, entry_user = 4, entry_accessed = 0x20,
                        entry_dirty = 0x40, entry_large = 0x80, entry_nx = 1ull << 63;

constexpr std::uint64_t bits(unsigned high, unsigned low) {
    return (~0ull >> (63 - high)) & (~0ull << low);
}

template <typename Entry>
bool exchange(std::span<std::uint8_t> where, std::uint64_t seen, std::uint64_t value) {
    // Another vCPU may change the entry at the same time, so this must be one atomic step. The span is
    // aligned: entries lie at multiples of their size in page-aligned memory.
    auto& entry = *reinterpret_cast<Entry*>(where.data());
    auto expected = static_cast<Entry>(seen);
    return std::atomic_ref<Entry>{entry}.compare_exchange_strong(expected, static_cast<Entry>(value));
}
} // namespace

/// The shape of the tables in the current paging mode, and the entries that a walk went through.
struct PageWalker::Path {
    unsigned levels = 0, entry_bytes = 8, index_bits = 9;
    bool pae = false; // 3-level: the top level's entries have no R/W, U/S, A
    struct Step {
        GuestPhys at;
        std::uint64_t entry;
    };
    Step steps[6] = {}; // by level, 1 (PTE) to 5
};

std::uint64_t PageWalker::reserved_bits(const abi::VcpuPage& page, const Path& path, unsigned level,
                                        bool leaf) const {
    const unsigned physical = options_.physical_address_bits;
    if (path.entry_bytes == 4) {
        if (!leaf || level == 1)
            return 0;
        // PSE-36: bits 20:13 are physical address bits 39:32.
        return bits(21, 21) | (physical < 40 ? bits(20, 13 + physical - 32) : 0);
    }
    const std::uint64_t nx = (page.efer & control::efer_nxe) != 0 ? 0 : entry_nx;
    if (path.pae) {
        // Bit 5 is reserved as well, but QEMU's TCG marks these entries as accessed, like all others.
        if (level == 3)
            return bits(63, physical) | bits(8, 6) | bits(2, 1);
        return bits(62, physical) | nx | (leaf && level == 2 ? bits(20, 13) : 0);
    }
    std::uint64_t reserved = (physical < 52 ? bits(51, physical) : 0) | nx;
    if (level >= 4 || (level == 3 && !options_.gigabyte_pages))
        reserved |= entry_large;
    if (leaf && level == 3)
        reserved |= bits(29, 13);
    if (leaf && level == 2)
        reserved |= bits(20, 13);
    return reserved;
}

bool PageWalker::set_bits(GuestPhys entry, unsigned bytes, std::uint64_t seen, std::uint64_t set) const {
    auto where = memory_.at(entry, bytes, Access::Write);
    if (where.size() != bytes)
        return true; // tables in ROM: there is nothing to mark
    return bytes == 8 ? exchange<std::uint64_t>(where, seen, seen | set)
                      : exchange<std::uint32_t>(where, seen, seen | set);
}

Translation PageWalker::walk(const abi::VcpuPage& page, std::uint64_t linear, WalkAccess access,
                             std::uint32_t pkru, WalkTrace* trace) const {
    if (trace != nullptr)
        trace->count = 0;
    if ((page.cr0 & control::cr0_pg) == 0)
        return {true, GuestPhys{linear & 0xffffffff}, 0};
    Translation result;
    for (unsigned attempt = 0; attempt < 16; ++attempt) { // a hostile guest must not keep us here
        bool raced = false;
        result = walk_once(page, linear, access, pkru, trace, raced);
        if (!raced)
            return result;
    }
    throw RetryInstruction{};
}

Translation PageWalker::walk_once(const abi::VcpuPage& page, std::uint64_t linear, WalkAccess access,
                                  std::uint32_t pkru, WalkTrace* trace, bool& raced) const {
    Path path;
    GuestPhys table{};
    if ((page.efer & control::efer_lma) != 0) {
        path.levels = (page.cr4 & control::cr4_la57) != 0 ? 5 : 4;
        table = GuestPhys{page.cr3 & bits(51, 12)};
    } else if ((page.cr4 & control::cr4_pae) != 0) {
        path.levels = 3;
        path.pae = true;
        table = GuestPhys{page.cr3 & bits(31, 5)};
        linear &= 0xffffffff;
    } else {
        path.levels = 2;
        path.entry_bytes = 4;
        path.index_bits = 10;
        table = GuestPhys{page.cr3 & bits(31, 12)};
        linear &= 0xffffffff;
    }

    const bool nx_enabled = (page.efer & control::efer_nxe) != 0 && path.entry_bytes == 8;
    const bool smep = (page.cr4 & control::cr4_smep) != 0;
    std::uint32_t error = 0;
    if (access.write)
        error |= page_fault::write;
    if (access.user)
        error |= page_fault::user;
    if (access.fetch && (nx_enabled || smep))
        error |= page_fault::fetch;
    auto fault = [&](std::uint32_t more) { return Translation{false, {}, error | more}; };

    bool user_page = true, writable = true, executable = true;
    unsigned level = path.levels;
    for (;; --level) {
        const unsigned shift = 12 + path.index_bits * (level - 1);
        const std::uint64_t index = linear >> shift & ((1u << path.index_bits) - 1);
        auto& step = path.steps[level];
        step.at = table + index * path.entry_bytes;
        std::uint8_t raw_entry[8] = {};
        memory_.read(step.at, std::span{raw_entry}.first(path.entry_bytes));
        std::memcpy(&step.entry, raw_entry, sizeof step.entry);
        const std::uint64_t entry = step.entry;

        if ((entry & entry_present) == 0)
            return fault(0);
        bool leaf = level == 1;
        if (!leaf && (entry & entry_large) != 0) {
            if (path.entry_bytes == 4)
                leaf = (page.cr4 & control::cr4_pse) != 0;
            else
                leaf = level == 2 || (level == 3 && !path.pae);
        }
        if ((entry & reserved_bits(page, path, level, leaf)) != 0)
            return fault(page_fault::present | page_fault::reserved);
        if (!path.pae || level != 3) {
            user_page &= (entry & entry_user) != 0;
            writable &= (entry & entry_write) != 0;
            executable &= !nx_enabled || (entry & entry_nx) == 0;
        }
        if (leaf)
            break;
        table = GuestPhys{entry & (path.entry_bytes == 4 ? bits(31, 12) : bits(51, 12))};
    }

    const bool write_protect = (page.cr0 & control::cr0_wp) != 0;
    bool allowed = !access.user || user_page;
    if (access.fetch) {
        allowed &= executable && (access.user || !smep || !user_page);
    } else {
        allowed &= !access.write || writable || (!access.user && !write_protect);
        if (!access.user && user_page && (page.cr4 & control::cr4_smap) != 0)
            allowed &= !access.implicit && (page.rflags & flag::ac) != 0;
    }
    std::uint32_t reason = page_fault::present;
    const std::uint64_t leaf_entry = path.steps[level].entry;
    if (path.levels >= 4 && (page.cr4 & control::cr4_pke) != 0 && user_page && !access.fetch) {
        const std::uint32_t rights = pkru >> (2 * (leaf_entry >> 59 & 15)) & 3;
        const bool no_access = (rights & 1) != 0;
        const bool no_write = (rights & 2) != 0 && access.write && (access.user || write_protect);
        if (no_access || no_write) {
            allowed = false;
            reason |= page_fault::key;
        }
    }
    if (!allowed && !access.probe)
        return fault(reason);

    if (!access.probe) {
        for (unsigned l = path.levels; l >= level; --l) {
            if (path.pae && l == 3)
                continue;
            const auto& step = path.steps[l];
            const std::uint64_t want = entry_accessed | (l == level && access.write ? entry_dirty : 0);
            if ((step.entry & want) != want && !set_bits(step.at, path.entry_bytes, step.entry, want)) {
                raced = true;
                return {};
            }
            path.steps[l].entry |= want;
        }
    }
    if (trace != nullptr) {
        trace->entry_bytes = path.entry_bytes;
        for (unsigned l = path.levels; l >= level; --l)
            trace->step.at(trace->count++) = {path.steps[l].at, path.steps[l].entry};
    }

    const unsigned page_bits = 12 + path.index_bits * (level - 1);
    std::uint64_t frame = leaf_entry & bits(51, page_bits);
    if (path.entry_bytes == 4) {
        frame = leaf_entry & bits(31, page_bits);
        if (level == 2)
            frame |= (leaf_entry & bits(20, 13)) << (32 - 13);
    }
    return {true, GuestPhys{frame | (linear & (bits(page_bits - 1, 0)))}, 0};
}

} // namespace escalus::emulation
