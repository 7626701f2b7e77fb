// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/port_notes.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace escalus {

void PortNotes::attach(std::vector<abi::VcpuPage*> vcpus) {
    vcpus_ = std::move(vcpus);
    for (auto* page : vcpus_)
        std::ranges::copy(notes_, page->port_notes);
}

void PortNotes::set(std::uint16_t port, std::uint32_t flags, std::uint8_t answer) {
    const auto index = abi::port_note_index(port);
    auto& mine = notes_.at(index);
    if (mine != 0 && static_cast<std::uint16_t>(mine) != port)
        return;
    const auto note = flags == 0 ? 0 : abi::port_note(port, flags, answer);
    if (std::exchange(mine, note) == note)
        return;
    for (auto* page : vcpus_)
        __atomic_store_n(&page->port_notes[index], note, __ATOMIC_RELEASE);
}

void PortNotes::carry_out(Bus& ports) {
    auto posted = __atomic_exchange_n(&vcpus_.front()->posted_vcpus, 0, __ATOMIC_ACQUIRE);
    for (; posted != 0; posted &= posted - 1) {
        const auto index = static_cast<std::size_t>(std::countr_zero(posted));
        if (index >= vcpus_.size())
            return;
        auto& page = *vcpus_[index];
        const auto written = __atomic_load_n(&page.posted_written, __ATOMIC_ACQUIRE);
        auto taken = page.posted_taken;
        for (; taken != written; ++taken) {
            const auto& write = page.posted[taken % abi::posted_writes_max];
            std::array<std::uint8_t, 4> data{};
            std::memcpy(data.data(), &write.value, data.size()); // both are little-endian
            ports.write(write.port, std::span<const std::uint8_t>{data}.first(write.width));
        }
        __atomic_store_n(&page.posted_taken, taken, __ATOMIC_RELEASE);
    }
}

} // namespace escalus
