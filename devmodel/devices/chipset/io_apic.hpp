// SPDX-License-Identifier: GPL-2.0-or-later
// The I/O APIC: 24 inputs, each with a redirection entry.
//
// Specification: Intel 82093AA datasheet (290566-001); version 0x20 with the EOI register at offset 0x40, as
// in ICH datasheets (13.5 of the ICH9).
// Memory: 4 KiB at 0xfec00000, registers at 0x00 (index), 0x10 (data), 0x40 (EOI).
// State: index, ID, redirection entries with remote IRR, input levels.
// Inputs carry "asserted", not volts, so the polarity bit is stored and has no effect. Edges at a masked
// input are lost, as on the part. Delivery status always reads idle.
#pragma once

#include "devmodel/devices/chipset/apic_bus.hpp"
#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/irq_line.hpp"

#include <array>
#include <cstdint>

namespace escalus {

class IoApic final : public Device, public BusDevice, public IrqSink, public EoiSink {
  public:
    static constexpr std::uint64_t mmio_base = 0xfec00000, mmio_size = 0x1000;
    static constexpr unsigned input_count = 24;

    /// Attaches itself to `bus` for EOIs. `id` is the power-on APIC ID (4 bits).
    IoApic(Bus& memory, ApicBus& bus, std::uint8_t id);

    void set_irq(unsigned input, bool level) override;
    void eoi(std::uint8_t vector) override;

    [[nodiscard]] std::string_view name() const override { return "io-apic"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    [[nodiscard]] std::uint32_t read_register() const;
    void write_register(std::uint32_t value);
    void write_entry(unsigned input, bool high_half, std::uint32_t value);
    /// Sends a level-triggered interrupt when it is asserted, not masked and not in service.
    void service_level(unsigned input);
    bool send(unsigned input);

    ApicBus& bus_;
    std::uint8_t power_on_id_;
    std::uint8_t index_ = 0;
    std::uint32_t id_ = 0;
    std::array<std::uint64_t, input_count> entries_{};
    std::array<bool, input_count> levels_{};
};

} // namespace escalus
