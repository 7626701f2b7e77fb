// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/guest/vm.hpp"

namespace escalus::vmm {

namespace {

constexpr std::uint32_t osxsave = 1u << 27, ospke = 1u << 4, every_vcpu = 0xffffffff;

/// Whether the entry stands before where one for this function, index and vCPU would.
[[gnu::hot]] bool precedes(const abi::CpuidEntry& entry, std::uint32_t function, std::uint32_t index,
                           unsigned vcpu) {
    if (entry.function != function)
        return entry.function < function;
    if (!entry.any_index && entry.index != index)
        return entry.index < index;
    return entry.vcpu < vcpu; // what is for every vCPU stands last
}

// The page belongs to the device model, which may change it at any moment: each field is used as it is read,
// and nothing but the answer depends on it.
[[gnu::hot]] const abi::CpuidEntry* find(const abi::CpuidPage& page, std::uint32_t function,
                                         std::uint32_t index, unsigned vcpu) {
    const std::uint32_t told = __atomic_load_n(&page.count, __ATOMIC_RELAXED);
    const std::uint32_t count = told < abi::cpuid_entries_max ? told : abi::cpuid_entries_max;
    std::uint32_t low = 0, high = count;
    while (low < high) {
        const auto middle = (low + high) / 2;
        if (precedes(page.entries[middle], function, index, vcpu))
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < count; ++low) {
        const abi::CpuidEntry& e = page.entries[low];
        if (e.function != function || (!e.any_index && e.index != index))
            return nullptr;
        if (e.vcpu == every_vcpu || e.vcpu == vcpu)
            return &e;
    }
    return nullptr;
}

} // namespace

[[gnu::hot]] CpuidResult guest_cpuid(const Vcpu& vcpu, std::uint32_t function, std::uint32_t index,
                                     std::uint64_t guest_cr4) {
    const abi::CpuidEntry* entry = find(*vcpu.cpuid, function, index, vcpu.index);
    if (entry == nullptr)
        return {};
    CpuidResult result{entry->eax, entry->ebx, entry->ecx, entry->edx};
    switch (function) {
    case 1:
        result.ecx = (result.ecx & ~osxsave) | ((guest_cr4 & cr4::osxsave) != 0 ? osxsave : 0);
        break;
    case 7:
        if (index == 0)
            result.ecx = (result.ecx & ~ospke) | ((guest_cr4 & cr4::pke) != 0 ? ospke : 0);
        break;
    case 0xd:
        // Sizes depend on XCR0, which is the guest's while its exits are handled.
        if (index == 0)
            result.ebx = cpuid(0xd, 0).ebx;
        break;
    default:
        break;
    }
    return result;
}

} // namespace escalus::vmm
