// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/pci_setup.hpp"

#include <algorithm>
#include <array>

namespace escalus {

namespace {

constexpr std::array<std::uint8_t, 4> isa_interrupts{10, 10, 11, 11};

/// Where the PIIX3's links lead with what firmware, or set_up_chipset(), writes there.
unsigned interrupt_of(unsigned device, unsigned pin) {
    return isa_interrupts[(device - 1 + pin - 1) & 3];
}

struct Function {
    PciBus& pci;
    unsigned device, number;

    [[nodiscard]] std::uint32_t read(unsigned offset, unsigned width) const {
        std::array<std::uint8_t, 4> data{};
        pci.config_read(0, device, number, offset, std::span{data}.first(width));
        std::uint32_t value = 0;
        for (unsigned i = 0; i < width; ++i)
            value |= std::uint32_t{data[i]} << (8 * i);
        return value;
    }
    void write(unsigned offset, unsigned width, std::uint32_t value) const {
        std::array<std::uint8_t, 4> data{};
        for (unsigned i = 0; i < width; ++i)
            data[i] = static_cast<std::uint8_t>(value >> (8 * i));
        pci.config_write(0, device, number, offset, std::span<const std::uint8_t>{data}.first(width));
    }
    [[nodiscard]] bool exists() const { return read(0, 2) != 0xffff; }
};

/// The next aligned piece of a window; 0 when it is used up.
std::uint32_t take(std::uint64_t& next, std::uint64_t end, std::uint64_t size) {
    const auto at = (next + size - 1) / size * size;
    if (at + size > end)
        return 0;
    next = at + size;
    return static_cast<std::uint32_t>(at);
}

void assign_function(const Function& f, std::uint64_t& io, std::uint64_t& memory, const PciWindows& windows) {
    constexpr unsigned bars = 6, command_decode = PciFunction::command_io | PciFunction::command_memory;
    f.write(PciFunction::reg_command, 2, 0);
    for (unsigned i = 0; i < bars; ++i) {
        const auto reg = PciFunction::reg_bar0 + 4 * i;
        f.write(reg, 4, 0xffffffff);
        const auto probed = f.read(reg, 4);
        const bool port = (probed & 1) != 0;
        const auto mask = probed & (port ? 0xfffcu : 0xfffffff0u);
        if (mask == 0) {
            f.write(reg, 4, 0);
            continue;
        }
        const std::uint64_t size =
            (port ? 0x10000u : 0u) - (port ? mask : std::uint64_t{mask}) + (port ? 0 : 0x1'0000'0000);
        f.write(reg, 4, port ? take(io, windows.io_end, size) : take(memory, windows.memory_end, size));
    }
    if (const auto pin = f.read(0x3d, 1); pin != 0)
        f.write(0x3c, 1, interrupt_of(f.device, pin));
    f.write(PciFunction::reg_command, 2, command_decode);
}

} // namespace

std::vector<PciInterrupt> pci_interrupts(PciBus& pci) {
    std::vector<PciInterrupt> found;
    for (unsigned device = 0; device < 32; ++device)
        for (unsigned number = 0; number < 8; ++number) {
            const Function f{pci, device, number};
            const auto pin = f.exists() ? f.read(0x3d, 1) : 0;
            const auto known = [&](const PciInterrupt& i) { return i.device == device && i.pin == pin; };
            if (pin != 0 && std::ranges::none_of(found, known))
                found.push_back({device, pin, interrupt_of(device, pin)});
        }
    return found;
}

void assign_pci_resources(PciBus& pci, const PciWindows& windows) {
    std::uint64_t io = windows.io_base, memory = windows.memory_base;
    for (unsigned device = 0; device < 32; ++device) {
        const bool several = (Function{pci, device, 0}.read(0x0e, 1) & 0x80) != 0;
        for (unsigned number = 0; number < (several ? 8u : 1u); ++number)
            if (const Function f{pci, device, number}; f.exists())
                assign_function(f, io, memory, windows);
    }
}

void set_up_chipset(PciBus& pci, std::uint16_t pm_base) {
    // i440FX: all of the BIOS area is RAM (PAM0 to PAM6).
    const Function host{pci, 0, 0};
    host.write(0x59, 1, 0x30);
    for (unsigned reg = 0x5a; reg <= 0x5f; ++reg)
        host.write(reg, 1, 0x33);
    const Function bridge{pci, 1, 0};
    for (unsigned n = 0; n < isa_interrupts.size(); ++n)
        bridge.write(0x60 + n, 1, isa_interrupts[n]);
    const Function ide{pci, 1, 1};
    ide.write(0x40, 2, 0x8000); // both channels decode
    ide.write(0x42, 2, 0x8000);
    const Function pm{pci, 1, 3};
    pm.write(0x3c, 1, 9);
    pm.write(0x40, 4, pm_base | 1u);
    pm.write(0x80, 1, 1); // PMREGMISC: decode it
    pm.write(0x90, 4, 0x701);
    pm.write(0xd2, 1, 9);
}

} // namespace escalus
