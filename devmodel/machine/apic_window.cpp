// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/apic_window.hpp"

#include <algorithm>

namespace escalus {

ApicWindow::~ApicWindow() {
    for (const auto base : claimed_)
        memory_.remove(base);
}

void ApicWindow::update() {
    for (const auto base : claimed_)
        memory_.remove(base);
    claimed_.clear();
    for (const auto* apic : apics_) {
        const auto base = apic->mmio_base();
        // The guest chooses the place: on top of a device, the device stays.
        if (!base || std::ranges::find(claimed_, *base) != claimed_.end() ||
            memory_.overlaps(*base, LocalApic::mmio_size))
            continue;
        memory_.add(*base, LocalApic::mmio_size, *this, static_cast<unsigned>(claimed_.size()));
        claimed_.push_back(*base);
    }
}

void ApicWindow::read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) {
    if (current_ != nullptr && current_->mmio_base() == claimed_.at(region))
        current_->read_mmio(offset, data);
    else
        std::ranges::fill(data, std::uint8_t{0xff});
}

void ApicWindow::write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) {
    if (current_ != nullptr && current_->mmio_base() == claimed_.at(region))
        current_->write_mmio(offset, data);
}

} // namespace escalus
