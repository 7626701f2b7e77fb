// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/memory/nested_tables.hpp"

#include "vmm/memory/page_allocator.hpp"

namespace escalus::vmm {

namespace {

constexpr std::uint64_t address_mask = 0x000f'ffff'ffff'f000;
constexpr unsigned top_level = 3;

constexpr std::uint64_t level_bytes(unsigned level) {
    return page_size << (9 * level);
}
constexpr unsigned index_of(std::uint64_t gpa, unsigned level) {
    return static_cast<unsigned>(gpa >> (12 + 9 * level)) & 511;
}
std::uint64_t* table_at(std::uint64_t entry) {
    return reinterpret_cast<std::uint64_t*>(entry & address_mask);
}
constexpr std::uint64_t units(std::uint64_t start, std::uint64_t bytes, std::uint64_t unit) {
    return (start + bytes - 1) / unit - start / unit + 1;
}

} // namespace

bool NestedTables::start(const NestedFormat& format, std::uint64_t budget) {
    format_ = &format;
    budget_ = budget;
    root_ = take_page();
    return raw(root_) != 0;
}

HostPhys NestedTables::take_page() {
    if (budget_ == 0)
        return HostPhys{};
    const HostPhys page = allocate_pages(1);
    if (raw(page) != 0)
        --budget_;
    return page;
}

void NestedTables::release() {
    if (raw(root_) == 0)
        return;
    auto* top = table_at(raw(root_));
    for (unsigned i = 0; i < 512; ++i)
        clear(top[i], top_level);
    free_pages(root_, 1);
    ++budget_;
    root_ = HostPhys{};
}

// Empties an entry of `level`, freeing the tables below it.
void NestedTables::clear(std::uint64_t& entry, unsigned level) {
    const auto old = entry;
    entry = 0;
    if ((old & format_->present) == 0 || level == 0 || (old & format_->large) != 0)
        return;
    auto* table = table_at(old);
    for (unsigned i = 0; i < 512; ++i)
        clear(table[i], level - 1);
    free_pages(HostPhys{old & address_mask}, 1);
    ++budget_;
}

std::uint64_t NestedTables::leaf_bits(std::uint64_t flags, std::uint64_t leaf, unsigned level) const {
    std::uint64_t bits = leaf;
    if ((flags & abi::map_read) != 0)
        bits |= format_->read;
    if ((flags & abi::map_write) != 0)
        bits |= format_->may_write != 0 ? format_->may_write : format_->write;
    bits |= (flags & abi::map_execute) != 0 ? format_->execute : format_->no_execute;
    return level != 0 ? bits | format_->large : bits;
}

// The table below `entry`, which is made, or made out of a large page, when it is not there.
std::uint64_t* NestedTables::table_of(std::uint64_t& entry, unsigned level) {
    if ((entry & format_->present) != 0 && (entry & format_->large) == 0)
        return table_at(entry);
    const HostPhys page = take_page();
    if (raw(page) == 0)
        return nullptr;
    auto* table = table_at(raw(page));
    if ((entry & format_->present) != 0) {
        const auto bits = entry & ~address_mask & (level == 1 ? ~format_->large : ~std::uint64_t{0});
        for (unsigned i = 0; i < 512; ++i)
            table[i] = ((entry & address_mask) + i * level_bytes(level - 1)) | bits;
    }
    entry = raw(page) | format_->table;
    return table;
}

std::uint64_t NestedTables::tables_needed(std::uint64_t gpa, std::uint64_t host, std::uint64_t bytes) const {
    const bool congruent = (gpa - host) % level_bytes(1) == 0;
    const auto small =
        congruent ? (gpa % level_bytes(1) != 0 ? 1u : 0u) + ((gpa + bytes) % level_bytes(1) != 0 ? 1u : 0u)
                  : units(gpa, bytes, level_bytes(1));
    return small + units(gpa, bytes, level_bytes(2)) + units(gpa, bytes, level_bytes(3));
}

bool NestedTables::map(GuestPhys gpa, HostPhys host, std::uint64_t bytes, std::uint64_t flags) {
    return map(gpa, host, bytes, flags, format_->leaf);
}

bool NestedTables::map(GuestPhys gpa, HostPhys host, std::uint64_t bytes, std::uint64_t flags,
                       std::uint64_t leaf) {
    std::uint64_t from = raw(gpa), to = raw(host);
    if (tables_needed(from, to, bytes) > budget_)
        return false;
    while (bytes != 0) {
        auto* table = table_at(raw(root_));
        for (unsigned level = top_level;; --level) {
            auto& entry = table[index_of(from, level)];
            const auto size = level_bytes(level);
            const bool fits = level == 0 || ((level == 1 || (level == 2 && format_->pages_1g)) &&
                                             bytes >= size && (from | to) % size == 0);
            if (fits) {
                clear(entry, level);
                entry = to | leaf_bits(flags, leaf, level);
                from += size;
                to += size;
                bytes -= size;
                break;
            }
            table = table_of(entry, level);
            if (table == nullptr)
                return false; // the private memory is used up, not just the budget
        }
    }
    return true;
}

bool NestedTables::unmap(GuestPhys gpa, std::uint64_t bytes) {
    std::uint64_t from = raw(gpa);
    // Only the large pages that the ends cut need tables.
    if (budget_ < 4)
        return false;
    while (bytes != 0) {
        auto* table = table_at(raw(root_));
        for (unsigned level = top_level;; --level) {
            auto& entry = table[index_of(from, level)];
            const auto size = level_bytes(level);
            const bool absent = (entry & format_->present) == 0;
            if (absent || (bytes >= size && from % size == 0) || level == 0) {
                const auto step = size - from % size < bytes ? size - from % size : bytes;
                if (!absent)
                    clear(entry, level);
                from += step;
                bytes -= step;
                break;
            }
            table = table_of(entry, level);
            if (table == nullptr)
                return false;
        }
    }
    return true;
}

NestedTables::Leaf NestedTables::find(GuestPhys gpa) const {
    if (raw(gpa) >= level_bytes(top_level + 1))
        return {nullptr, page_size};
    auto* table = table_at(raw(root_));
    for (unsigned level = top_level;; --level) {
        auto& entry = table[index_of(raw(gpa), level)];
        if ((entry & format_->present) == 0)
            return {nullptr, level_bytes(level)};
        if (level == 0 || (entry & format_->large) != 0)
            return {&entry, level_bytes(level)};
        table = table_at(entry);
    }
}

HostPhys NestedTables::translate(GuestPhys gpa) const {
    const Leaf leaf = find(gpa);
    if (leaf.entry == nullptr || (*leaf.entry & format_->read) != format_->read)
        return HostPhys{};
    return HostPhys{(*leaf.entry & address_mask & ~(leaf.bytes - 1)) | (raw(gpa) & (leaf.bytes - 1))};
}

bool NestedTables::permits(GuestPhys gpa, bool write, bool fetch) {
    const Leaf leaf = find(gpa);
    if (leaf.entry == nullptr)
        return false;
    if (write && (*leaf.entry & format_->may_write) != 0)
        __atomic_fetch_or(leaf.entry, format_->write | format_->dirty, __ATOMIC_ACQ_REL);
    const auto needed = format_->read | (write ? format_->write : 0) | (fetch ? format_->execute : 0);
    return (*leaf.entry & needed) == needed && !(fetch && (*leaf.entry & format_->no_execute) != 0);
}

std::uint64_t* NestedTables::entry_at(std::uint64_t gpa, unsigned level) {
    auto* table = table_at(raw(root_));
    for (unsigned l = top_level; l != level; --l) {
        auto& entry = table[index_of(gpa, l)];
        if ((entry & format_->present) == 0)
            return nullptr;
        table = table_of(entry, l);
        if (table == nullptr)
            return nullptr;
    }
    return &table[index_of(gpa, level)];
}

bool NestedTables::harvest_dirty(GuestPhys gpa, std::uint64_t pages, std::uint64_t* bitmap) {
    for (std::uint64_t page = 0; page < pages; ++page) {
        const auto address = raw(gpa) + page * page_size;
        const Leaf leaf = find(GuestPhys{address});
        if (leaf.entry == nullptr) {
            // Nothing is mapped up to the end of this hole.
            const auto skip = (leaf.bytes - address % leaf.bytes) / page_size;
            page += skip - 1;
            continue;
        }
        auto* entry = leaf.bytes == page_size ? leaf.entry : entry_at(address, 0);
        if (entry == nullptr)
            return false;
        // Atomic: the hardware may set bits at the same moment.
        const auto forget = format_->dirty | (format_->may_write != 0 ? format_->write : 0);
        if ((*entry & format_->dirty) != 0 &&
            (__atomic_fetch_and(entry, ~forget, __ATOMIC_ACQ_REL) & format_->dirty) != 0)
            bitmap[page / 64] |= 1ull << (page % 64);
    }
    return true;
}

} // namespace escalus::vmm
