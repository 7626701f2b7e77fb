// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/control/control_cpuid.hpp"

#include "vmm/abi/abi.hpp"
#include "vmm/control/host_page.hpp"
#include "vmm/cpu/backend.hpp"

namespace escalus::vmm {

namespace {

constexpr std::uint32_t osxsave = 1u << 27, ospke = 1u << 4;

std::uint32_t signature_word(unsigned n) {
    std::uint32_t word = 0;
    for (unsigned i = 0; i < 4; ++i)
        word |= std::uint32_t{static_cast<unsigned char>(abi::signature[4 * n + i])} << (8 * i);
    return word;
}

// The bit shows CR4 of whoever executes CPUID, which is the monitor here.
std::uint32_t mirror(std::uint32_t value, std::uint32_t bit, bool set) {
    return set ? value | bit : value & ~bit;
}

} // namespace

CpuidResult control_cpuid(std::uint32_t function, std::uint32_t index, std::uint64_t control_cr4) {
    switch (function) {
    case abi::leaf_signature:
        return {abi::leaf_host_page, signature_word(0), signature_word(1), signature_word(2)};
    case abi::leaf_version:
        return {abi::version, backend->features(), static_cast<std::uint32_t>(backend->kind), 0};
    case abi::leaf_host_page: {
        const auto address = raw(host_page_address());
        return {static_cast<std::uint32_t>(address), static_cast<std::uint32_t>(address >> 32), 0, 0};
    }
    default:
        break;
    }
    CpuidResult r = cpuid(function, index);
    switch (function) {
    case 1:
        r.ecx = mirror(r.ecx, osxsave, (control_cr4 & cr4::osxsave) != 0);
        break;
    case 7:
        if (index == 0)
            r.ecx = mirror(r.ecx, ospke, (control_cr4 & cr4::pke) != 0);
        break;
    default:
        break;
    }
    backend->hide_features(function, index, r);
    return r;
}

} // namespace escalus::vmm
