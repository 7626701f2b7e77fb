// SPDX-License-Identifier: GPL-2.0-or-later
// The local APICs' register page on the memory bus. Each processor sees its own APIC there, so whoever
// accesses the bus for a vCPU says first which one (Intel SDM volume 3A, 11.4.1).
// Missing: an APIC page that was moved onto RAM does not hide the RAM.
#pragma once

#include "devmodel/devices/chipset/local_apic.hpp"
#include "devmodel/machine/bus.hpp"

#include <cstdint>
#include <vector>

namespace escalus {

class ApicWindow final : public BusDevice {
  public:
    explicit ApicWindow(Bus& memory) : memory_{memory} {}
    ~ApicWindow() override;
    ApicWindow(const ApicWindow&) = delete;
    ApicWindow& operator=(const ApicWindow&) = delete;

    void add(LocalApic& apic) { apics_.push_back(&apic); }
    /// An IA32_APIC_BASE was written: claims the pages where APICs are now.
    void update();
    void set_current(LocalApic& apic) { current_ = &apic; }

    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    Bus& memory_;
    std::vector<LocalApic*> apics_;
    std::vector<std::uint64_t> claimed_; // a region's tag is its index here
    LocalApic* current_ = nullptr;
};

} // namespace escalus
