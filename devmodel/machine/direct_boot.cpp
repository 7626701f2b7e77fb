// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/direct_boot.hpp"

#include "devmodel/machine/acpi_placement.hpp"
#include "devmodel/machine/pc_board.hpp"
#include "devmodel/machine/pci_setup.hpp"
#include "devmodel/machine/vcpu_thread.hpp"
#include "firmware/acpi_tables.hpp"

namespace escalus {

namespace {

constexpr std::uint64_t tables_base = 0xe0000, tables_end = 0x100000;

std::uint64_t place_tables(PcBoard& board) {
    const auto script = board.fw_cfg.file("etc/table-loader");
    if (script.empty())
        return 0;
    const auto placed = place_acpi(
        script, [&](std::string_view name) { return board.fw_cfg.file(name); }, tables_base, tables_end);
    board.space.write(GuestPhys{placed.base}, placed.bytes);
    return placed.rsdp;
}

void write_register(LocalApic& apic, std::uint64_t offset, std::uint32_t value) {
    std::array<std::uint8_t, 4> data{};
    for (unsigned i = 0; i < 4; ++i)
        data[i] = static_cast<std::uint8_t>(value >> (8 * i));
    apic.write_mmio(offset, data);
}

/// Virtual wire mode (MultiProcessor Specification 1.4, 3.6.2.2): the 8259's interrupts come through LINT0.
void connect_pic_through_apic(LocalApic& apic) {
    if (!apic.mmio_base())
        return;
    constexpr std::uint64_t spurious = 0xf0, lvt_lint0 = 0x350, lvt_lint1 = 0x360;
    write_register(apic, spurious, 0x1ff);
    write_register(apic, lvt_lint0, 0x700);
    write_register(apic, lvt_lint1, 0x400);
}

} // namespace

std::unique_ptr<DirectBoot> DirectBoot::open(const MachineConfig& config) {
    return std::unique_ptr<DirectBoot>{
        new DirectBoot{open_boot_image({config.kernel, config.ramdisk, config.modules, config.cmdline})}};
}

void DirectBoot::load(PcBoard& board, std::span<const std::unique_ptr<VcpuThread>> processors) const {
    auto& processor = *processors.front();
    set_up_chipset(board.pci, acpi_pm_base);
    assign_pci_resources(board.pci, {});
    const std::array<std::uint8_t, 1> level_10_11{0x0c};
    board.ports.write(0x4d1, level_10_11);
    board.dma.open_cascade();
    connect_pic_through_apic(processor.apic());
    for (const auto& each : processors) // systems compare them
        each->msrs().set_default_memory_type_write_back();
    const BootTarget target{.memory = board.space,
                            .low_end = board.memory.low_end(),
                            .high_bytes = board.memory.high_bytes(),
                            .rsdp = place_tables(board)};
    image_->load(target, processor.page());
}

} // namespace escalus
