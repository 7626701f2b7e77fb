// SPDX-License-Identifier: GPL-2.0-or-later
// Local APICs on a bus, with processors that remember what they were asked.
#pragma once

#include "devmodel/devices/chipset/local_apic.hpp"
#include "test/unit/chipset/board.hpp"

#include <memory>
#include <vector>

namespace escalus::test {

struct Cpu final : CpuSignals {
    void interrupt_pending() override { ++kicks; }
    void nmi() override { ++nmis; }
    void smi() override { ++smis; }
    void init() override { ++inits; }
    void startup(std::uint8_t vector) override { startups.push_back(vector); }
    unsigned kicks = 0, nmis = 0, smis = 0, inits = 0;
    std::vector<std::uint8_t> startups;
};

/// 2.5 GHz, with an offset that the guest may change.
struct Tsc final : TscClock {
    explicit Tsc(const Clock&) {}
    [[nodiscard]] std::uint64_t tsc_at(GuestTime time) const override {
        return static_cast<std::uint64_t>(time) * 5 / 2 + offset;
    }
    [[nodiscard]] GuestTime time_of_tsc(std::uint64_t tsc) const override {
        if (tsc <= offset)
            return 0;
        const auto time = ((tsc - offset) / 5) * 2 + ((tsc - offset) % 5 * 2 + 4) / 5;
        return time < std::uint64_t{INT64_MAX} ? static_cast<GuestTime>(time) : INT64_MAX;
    }
    std::uint64_t offset = 0;
};

class ApicBoard {
  public:
    explicit ApicBoard(unsigned cpus = 1, bool x2apic = true) {
        for (unsigned id = 0; id < cpus; ++id) {
            cpu.push_back(std::make_unique<Cpu>());
            apic.push_back(std::make_unique<LocalApic>(
                board.clock, &tsc, bus, *cpu.back(),
                LocalApic::Config{.id = id, .bootstrap = id == 0, .x2apic = x2apic, .tsc_deadline = true}));
        }
    }
    std::uint32_t get(unsigned offset, unsigned which = 0) {
        std::array<std::uint8_t, 4> bytes{};
        apic.at(which)->read_mmio(offset, bytes);
        return bytes[0] | std::uint32_t{bytes[1]} << 8 | std::uint32_t{bytes[2]} << 16 |
               std::uint32_t{bytes[3]} << 24;
    }
    void set(unsigned offset, std::uint32_t value, unsigned which = 0) {
        std::array<std::uint8_t, 4> bytes{};
        for (unsigned i = 0; i < 4; ++i)
            bytes.at(i) = static_cast<std::uint8_t>(value >> 8 * i);
        apic.at(which)->write_mmio(offset, bytes);
    }
    void enable_all() {
        for (unsigned i = 0; i < apic.size(); ++i)
            set(0xf0, 0x1ff, i);
    }
    LocalApic& operator[](unsigned which) { return *apic.at(which); }

    Board board;
    Tsc tsc{board.clock};
    ApicBus bus;
    std::vector<std::unique_ptr<Cpu>> cpu;
    std::vector<std::unique_ptr<LocalApic>> apic;
};

} // namespace escalus::test
