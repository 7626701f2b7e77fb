// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/vmx/mtrr.hpp"

#include "vmm/cpu/instructions.hpp"

namespace escalus::vmm::vmx {

namespace {

constexpr std::uint64_t enabled = 1 << 11, fixed_enabled = 1 << 10, valid = 1 << 11, type_mask = 0xff;
constexpr std::uint64_t fixed_end = 1 << 20;

constexpr MemoryType to_type(std::uint64_t value) {
    switch (value & type_mask) {
    case 1:
    case 4:
    case 5:
    case 6:
        return static_cast<MemoryType>(value & type_mask);
    default: // 0, and the reserved ones, which the registers do not take
        return MemoryType::Uncacheable;
    }
}

// Table 11-9: eight ranges a register; one of 64 KiB, two of 16 KiB, eight of 4 KiB each.
TypedRun fixed_type(const Mtrrs& m, std::uint64_t address) {
    unsigned reg = 0, shift = 16;
    std::uint64_t start = 0;
    if (address >= 0xc0000) {
        reg = 3 + static_cast<unsigned>((address - 0xc0000) >> 15);
        shift = 12;
        start = 0xc0000 + (reg - 3) * 0x8000ull;
    } else if (address >= 0x80000) {
        reg = 1 + static_cast<unsigned>((address - 0x80000) >> 17);
        shift = 14;
        start = 0x80000 + (reg - 1) * 0x20000ull;
    }
    const auto index = (address - start) >> shift;
    const auto size = 1ull << shift;
    return {to_type(m.fixed[reg] >> (8 * index)), size - address % size};
}

// Section 11.11.4.1: what holds where variable ranges overlap. UC wins; WT over WB; every other mixture is
// undefined, and UC is what can do no harm.
constexpr MemoryType combine(MemoryType a, MemoryType b) {
    if (a == b)
        return a;
    const bool through = (a == MemoryType::WriteThrough && b == MemoryType::WriteBack) ||
                         (a == MemoryType::WriteBack && b == MemoryType::WriteThrough);
    return through ? MemoryType::WriteThrough : MemoryType::Uncacheable;
}

} // namespace

TypedRun memory_type_at(const Mtrrs& m, std::uint64_t address) {
    if ((m.default_type & enabled) == 0)
        return {MemoryType::Uncacheable, ~0ull - address};
    const bool fixed = (m.default_type & fixed_enabled) != 0;
    if (fixed && address < fixed_end)
        return fixed_type(m, address);

    const auto width = (1ull << m.physical_bits) - 1;
    bool found = false;
    TypedRun run{to_type(m.default_type), ~0ull - address};
    const auto bound = [&](std::uint64_t end) {
        if (end > address && end - address < run.bytes)
            run.bytes = end - address;
    };
    for (unsigned i = 0; i < m.variable_count; ++i) {
        const auto& v = m.variable[i];
        const auto mask = v.mask & width & ~0xfffull;
        if ((v.mask & valid) == 0 || mask == 0)
            continue;
        const auto base = v.base & mask;
        const auto hole = ~mask & width; // address bits that do not matter
        if ((hole & (hole + 1)) == 0) {
            bound(base);
            bound(base + hole + 1);
        } else { // a range in pieces: only its smallest piece is sure to be uniform
            const auto piece = mask & (0 - mask);
            bound((address / piece + 1) * piece);
        }
        if ((address & mask) != base)
            continue;
        run.type = found ? combine(run.type, to_type(v.base)) : to_type(v.base);
        found = true;
    }
    return run;
}

Mtrrs read_mtrrs(unsigned physical_bits) {
    constexpr std::uint32_t msr_cap = 0xfe, msr_default = 0x2ff, msr_base0 = 0x200;
    constexpr std::uint32_t msr_fixed[Mtrrs::fixed_count] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                                             0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
    constexpr std::uint64_t cap_fixed = 1 << 8;
    Mtrrs m;
    m.physical_bits = physical_bits;
    if ((cpuid(1).edx & 1 << 12) == 0) { // no MTRRs: the caches' own rules, which the PAT refines
        m.default_type = enabled | static_cast<std::uint64_t>(MemoryType::WriteBack);
        return m;
    }
    const auto cap = read_msr(msr_cap);
    m.default_type = read_msr(msr_default);
    if ((cap & cap_fixed) == 0)
        m.default_type &= ~fixed_enabled;
    else
        for (unsigned i = 0; i < Mtrrs::fixed_count; ++i)
            m.fixed[i] = read_msr(msr_fixed[i]);
    m.variable_count = static_cast<unsigned>(cap & 0xff);
    if (m.variable_count > Mtrrs::variable_max)
        m.variable_count = Mtrrs::variable_max;
    for (unsigned i = 0; i < m.variable_count; ++i)
        m.variable[i] = {read_msr(msr_base0 + 2 * i), read_msr(msr_base0 + 2 * i + 1)};
    return m;
}

} // namespace escalus::vmm::vmx
