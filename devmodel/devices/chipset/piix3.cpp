// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/piix3.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr unsigned reg_pirq_route = 0x60;
constexpr std::uint8_t pirq_disabled = 0x80;
constexpr std::uint8_t reset_cpu = 4, reset_control_writable = 0x06;

/// Interrupts 0, 1, 2, 8 and 13 belong to the board and cannot be chosen (2.2.13).
constexpr bool routable(unsigned irq) {
    return irq >= 3 && irq != 8 && irq != 13;
}
} // namespace

Piix3::Piix3(PciSpaces spaces, IrqSink& isa_irqs, std::function<void()> reset)
    : PciFunction{PciIdentity{.vendor = 0x8086,
                              .device = 0x7000,
                              .class_code = 0x060100,
                              .subsystem_vendor = 0x1af4,
                              .subsystem = 0x1100,
                              .multifunction = true},
                  spaces},
      request_reset_{std::move(reset)} {
    // PCICMD: I/O, memory and bus master are hard-wired to 1 (2.2.3); STATUS: medium DEVSEL timing.
    set_config(reg_command, 2, command_io | command_memory | command_master);
    set_writable(reg_command, 2, 0x0108);
    set_config(reg_status, 2, 0x0200);

    struct Register {
        unsigned offset, width;
        std::uint32_t power_on, writable;
    };
    static constexpr Register registers[] = {
        {0x4c, 1, 0x4d, 0xff},             // IORT, ISA I/O recovery timer
        {0x4e, 2, 0x0003, 0x07ff},         // XBCS, X-bus chip select
        {0x60, 4, 0x80808080, 0x8f8f8f8f}, // PIRQRC[A:D]
        {0x69, 1, 0x02, 0xfe},             // TOM, top of memory
        {0x6a, 2, 0x0000, 0x8005},         // MSTAT
        {0x70, 1, 0x80, 0xef},             // MBIRQ0
        {0x76, 2, 0x0c0c, 0x8f8f},         // MBDMA[1:0]
        {0x78, 2, 0x0002, 0xffff},         // PCSC, programmable chip select
        {0x80, 1, 0x00, 0x7f},             // APICBASE
        {0x82, 1, 0x00, 0x0f},             // DLC, deterministic latency
        {0xa0, 1, 0x08, 0x1f},             // SMICNTL
        {0xa2, 2, 0x0000, 0x00ff},         // SMIEN
        {0xa4, 4, 0x00000000, 0xe000fffb}, // SEE
        {0xa8, 1, 0x0f, 0xff},             // FTMR
        {0xaa, 2, 0x0000, 0x00ff},         // SMIREQ
        {0xac, 1, 0x00, 0xff},             // CTLTMR
        {0xae, 1, 0x00, 0xff},             // CTHTMR
    };
    for (const auto& r : registers) {
        set_config(r.offset, r.width, r.power_on);
        set_writable(r.offset, r.width, r.writable);
    }

    for (unsigned irq = 0; irq < isa_irqs_.size(); ++irq)
        isa_irqs_[irq] = IrqLine{isa_irqs, irq};
    for (unsigned i = 0; i < wires_.size(); ++i)
        wires_[i].connect(IrqLine{router_, i});
}

IrqLine Piix3::intx_line(unsigned device, unsigned pin) {
    return wires_[(device + pin + 2) % 4].add_source(); // (device - 1 + pin - 1) mod 4
}

void Piix3::route() {
    std::array<bool, 16> asserted{};
    for (unsigned i = 0; i < wires_.size(); ++i) {
        const auto routing = config(reg_pirq_route + i, 1);
        const auto irq = routing & 0xf;
        if ((routing & pirq_disabled) == 0 && routable(irq) && wires_[i].level())
            asserted[irq] = true;
    }
    for (unsigned irq = 0; irq < asserted.size(); ++irq)
        isa_irqs_[irq].set(asserted[irq]);
}

void Piix3::write_reset_control(std::uint8_t value) {
    // 2.5.4: the processor (bit 1 clear) or the whole board (set) is reset when bit 2 goes from 0 to 1. Here
    // both reset the board, as nothing that resets through this port expects devices to live on.
    const bool was_set = (reset_control_ & reset_cpu) != 0;
    reset_control_ = value & reset_control_writable;
    if (!was_set && (reset_control_ & reset_cpu) != 0 && request_reset_)
        request_reset_();
}

void Piix3::reset(ResetKind kind) {
    PciFunction::reset(kind);
    reset_control_ = 0;
    route();
}

void Piix3::config_write(unsigned offset, std::span<const std::uint8_t> data) {
    PciFunction::config_write(offset, data);
    route();
}

// No BARs and no port ranges of its own: 0xcf9 comes by way of the host bridge.
void Piix3::read(unsigned, std::uint64_t, std::span<std::uint8_t> data) {
    std::ranges::fill(data, std::uint8_t{0xff});
}
void Piix3::write(unsigned, std::uint64_t, std::span<const std::uint8_t>) {}

} // namespace escalus
