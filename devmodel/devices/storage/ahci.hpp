// SPDX-License-Identifier: GPL-2.0-or-later
// The AHCI controller of the Intel 82801IR (ICH9R) in its AHCI mode: PCI 8086:2922, six ports.
//
// AHCI 1.3 (registers as ICH9 has them: version 1.2); Intel I/O Controller Hub 9 datasheet (316972), chapters
// 15 (configuration) and 15.4 (memory registers), capability of the index-data pair in 15.1.31. State: global
// control, interrupt status, six ports. Interrupts by wire or by one message.
// Missing: the legacy register blocks (CAP.SAM says so), staggered spin-up, port power management, command
// completion coalescing, enclosure management, the PCI power management capability.
#pragma once

#include "devmodel/devices/storage/ahci_port.hpp"
#include "devmodel/machine/pci.hpp"

namespace escalus {

class Ahci final : public PciFunction {
  public:
    static constexpr unsigned port_count = 6;
    static constexpr PciIdentity ich9{.vendor = 0x8086,
                                      .device = 0x2922,
                                      .class_code = 0x010601,
                                      .revision = 2,
                                      .subsystem_vendor = 0x8086,
                                      .subsystem = 0x2922,
                                      .interrupt_pin = 1};

    Ahci(PciSpaces spaces, GuestMemory& memory, const PciIdentity& identity = ich9);

    /// Before the first reset. Throws std::logic_error when the port has a drive, std::out_of_range when
    /// there is no such port.
    void attach(unsigned port, std::unique_ptr<IdeDrive> drive);
    [[nodiscard]] IdeDrive* drive(unsigned port) { return ports_.at(port).drive(); }

    [[nodiscard]] std::string_view name() const override { return "ahci"; }
    void reset(ResetKind kind) override;
    void pause() override;
    void resume() override;
    void config_write(unsigned offset, std::span<const std::uint8_t> data) override;

    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    [[nodiscard]] std::uint32_t read_register(unsigned offset) const;
    void write_register(unsigned offset, std::uint32_t value);
    void reset_controller(bool hardware);
    void update_interrupt();

    std::array<AhciPort, port_count> ports_;
    std::uint32_t control_ = 0, interrupts_ = 0;
    std::uint32_t told_ = 0; // the bits of `interrupts_` that a message has told of
    std::uint32_t index_ = 0;
};

} // namespace escalus
