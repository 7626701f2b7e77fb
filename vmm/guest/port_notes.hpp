// SPDX-License-Identifier: GPL-2.0-or-later
// Port accesses that need no device model: it has left a note of what they do (abi::port_note). A disk's
// driver writes a dozen registers that only the command makes use of, and reads a status that only the guest
// itself can change; each would be an exit to the device model, which costs several times as much.
#pragma once

#include "vmm/guest/vm.hpp"

namespace escalus::vmm {

/// Carries out IN or OUT (no string form) by a note. False: the device model has to do it. `single_step()`:
/// RFLAGS.TF, whose exception is the device model's to raise.
template <typename SingleStep>
[[nodiscard]] inline bool serve_port(Vcpu& vcpu, std::uint16_t port, std::uint8_t width, bool in,
                                     std::uint64_t& rax, SingleStep single_step) {
    abi::VcpuPage& page = *vcpu.page;
    const auto note = __atomic_load_n(&page.port_notes[abi::port_note_index(port)], __ATOMIC_RELAXED);
    const std::uint32_t by_byte = in ? abi::port_answers : abi::port_posts;
    const std::uint32_t flag = width == 1 ? by_byte : width == 4 && !in ? abi::port_posts_long : 0u;
    if ((note & 0xffff) != port || (note >> 16 & flag) == 0) [[likely]]
        return false;
    if (single_step())
        return false;
    if (in) {
        if (__atomic_load_n(vcpu.posted_vcpus, __ATOMIC_ACQUIRE) != 0)
            return false; // it might tell what one of these changes
        rax = (rax & ~std::uint64_t{0xff}) | note >> 24;
        return true;
    }
    const auto written = __atomic_load_n(&page.posted_written, __ATOMIC_RELAXED);
    if (written - __atomic_load_n(&page.posted_taken, __ATOMIC_ACQUIRE) >= abi::posted_writes_max)
        return false;
    page.posted[written % abi::posted_writes_max] = {port, width, 0, static_cast<std::uint32_t>(rax)};
    __atomic_store_n(&page.posted_written, written + 1, __ATOMIC_RELEASE);
    __atomic_fetch_or(vcpu.posted_vcpus, 1u << vcpu.index, __ATOMIC_RELEASE);
    return true;
}

} // namespace escalus::vmm
