// SPDX-License-Identifier: GPL-2.0-or-later
// The pc machine's main board: every device but the processors, built from a MachineConfig and wired.
//
//   PCI 00.0 i440FX   01.0 PIIX3 bridge   01.1 PIIX3 IDE   01.2 PIIX3 USB, when it is asked for
//       01.3 PIIX4 power management   02.0 VGA
//       03.0 to 07.0 network cards   08.0 AHCI, when a disk is plugged into it   09.0 xHCI, when asked for
//       0c.0 to 0f.0 NVMe disks 10.0 to 1f.0 virtio disks
#pragma once

#include "devmodel/backends/char/char_backend.hpp"
#include "devmodel/config/machine_config.hpp"
#include "devmodel/devices/chipset/a20_gate.hpp"
#include "devmodel/devices/chipset/acpi_pm_timer.hpp"
#include "devmodel/devices/chipset/apic_bus.hpp"
#include "devmodel/devices/chipset/cfi_flash.hpp"
#include "devmodel/devices/chipset/debug_console.hpp"
#include "devmodel/devices/chipset/fw_cfg.hpp"
#include "devmodel/devices/chipset/hpet.hpp"
#include "devmodel/devices/chipset/i440fx.hpp"
#include "devmodel/devices/chipset/i8237.hpp"
#include "devmodel/devices/chipset/i8254.hpp"
#include "devmodel/devices/chipset/i8259.hpp"
#include "devmodel/devices/chipset/io_apic.hpp"
#include "devmodel/devices/chipset/legacy_routing.hpp"
#include "devmodel/devices/chipset/mc146818.hpp"
#include "devmodel/devices/chipset/piix3.hpp"
#include "devmodel/devices/chipset/piix4_pm.hpp"
#include "devmodel/devices/chipset/system_ports.hpp"
#include "devmodel/devices/display/vga.hpp"
#include "devmodel/devices/input/i8042.hpp"
#include "devmodel/devices/input/input_choice.hpp"
#include "devmodel/devices/input/ps2_keyboard.hpp"
#include "devmodel/devices/input/ps2_mouse.hpp"
#include "devmodel/devices/serial/uart16550.hpp"
#include "devmodel/devices/storage/ahci.hpp"
#include "devmodel/devices/storage/atapi_cdrom.hpp"
#include "devmodel/devices/storage/floppy_controller.hpp"
#include "devmodel/devices/storage/nvme.hpp"
#include "devmodel/devices/storage/piix_ide.hpp"
#include "devmodel/devices/usb/uhci.hpp"
#include "devmodel/devices/usb/xhci.hpp"
#include "devmodel/devices/virtio/virtio_pci.hpp"
#include "devmodel/machine/address_space.hpp"
#include "devmodel/machine/apic_window.hpp"
#include "devmodel/machine/device_lock.hpp"
#include "devmodel/machine/isa_interrupts.hpp"
#include "devmodel/machine/machine.hpp"
#include "devmodel/machine/network_cards.hpp"
#include "devmodel/machine/pc_memory.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace boost::asio {
class io_context;
}

namespace escalus {

/// Images and the memory they need: known before the VM is created.
struct PcFirmware {
    std::vector<std::uint8_t> bios;      ///< empty when a kernel is started directly
    std::vector<std::uint8_t> variables; ///< of UEFI firmware, as a new machine has them; else empty
    VgaConfig vga;
    /// Finds and reads what the configuration asks for. Throws std::runtime_error.
    explicit PcFirmware(const MachineConfig& config);
    /// The VM's memory in all.
    [[nodiscard]] std::uint64_t memory_bytes(const MachineConfig& config) const;
};

class PcBoard {
  public:
    struct Signals {
        std::function<void()> reset;     ///< from within a guest access
        std::function<void()> power_off; ///< the same
    };

    PcBoard(boost::asio::io_context& loop, NetworkSide network, DeviceLock& device_lock, Clock& clock,
            MemoryMap& engine_memory, const MachineConfig& config, const PcFirmware& firmware,
            const std::string& runtime_directory, Signals signals);
    ~PcBoard();
    PcBoard(const PcBoard&) = delete;
    PcBoard& operator=(const PcBoard&) = delete;

    /// INTR of the 8259 pair and NMI go to this processor.
    void connect(LocalApic& apic);

    void reset(ResetKind kind);
    void start();
    void pause();
    void resume();

    // Media that are changed while the machine runs (pc_media.cpp); see Machine.
    [[nodiscard]] std::vector<Machine::RemovableDrive> removable_drives() const;
    void insert_medium(const std::string& device, std::unique_ptr<BlockBackend> medium, bool force);
    void eject_medium(const std::string& device, bool force);

    // In order of construction: what comes later refers to what comes before.
    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", 1ull << 46};
    PortNotes port_notes;
    AddressSpace space;
    PcMemory memory;
    ApicBus apic_bus;
    ApicWindow apic_window{memory_bus};
    IsaInterrupts isa;
    IrqFanOut intr;
    I8259Pair pic;
    std::optional<IoApic> io_apic;
    LegacyRouting legacy;
    A20Gate a20;
    FwCfg fw_cfg;
    PciBus pci;
    I8237Pair dma;
    AcpiPmTimer pm_timer;
    Piix3 piix3;
    I440fx host_bridge;
    Piix4Pm pm;
    PiixIde ide;
    std::optional<Ahci> ahci;
    std::optional<FloppyController> floppy; ///< when there is a drive
    std::vector<std::unique_ptr<VirtioPci>> virtio;
    std::vector<NetworkCard> networks;
    std::vector<std::unique_ptr<Nvme>> nvme;
    std::optional<Uhci> uhci;
    std::optional<Xhci> xhci;
    std::optional<Vga> vga;
    std::optional<CfiFlash> flash; // UEFI's variables, below the ROM
    I8254 pit;
    Mc146818 rtc;
    std::optional<Hpet> hpet;
    SystemPorts system_ports;
    std::optional<DebugConsole> debug_console;
    Ps2Keyboard keyboard;
    Ps2Mouse mouse;
    I8042 i8042;
    // What the user's keys and pointer go to.
    KeyboardChoice keys{keyboard};
    PointerChoice pointer{mouse};
    /// By COM port; null where there is none.
    std::vector<std::unique_ptr<CharBackend>> serial_backends;
    std::vector<std::unique_ptr<Uart16550>> uarts;

  private:
    void plug_pci();
    void plug_card(unsigned slot, PciFunction& card);
    void attach_floppy(const DiskConfig& disk, std::unique_ptr<BlockBackend> medium);
    void attach(const DiskConfig& disk, std::unique_ptr<BlockBackend> medium, const MachineConfig& config);
    void open_disks(boost::asio::io_context& loop, DeviceLock& device_lock, const MachineConfig& config,
                    const std::string& runtime_directory);
    void open_networks(NetworkSide network, DeviceLock& device_lock, const MachineConfig& config);
    void open_usb(boost::asio::io_context& loop, DeviceLock& device_lock, const MachineConfig& config,
                  const std::string& runtime_directory);
    std::unique_ptr<UsbDevice> make_usb_device(const UsbDeviceConfig& device, boost::asio::io_context& loop,
                                               DeviceLock& device_lock, const MachineConfig& config,
                                               const std::string& runtime_directory);
    void open_serial(boost::asio::io_context& loop, DeviceLock& device_lock, Clock& clock,
                     const MachineConfig& config, const std::string& runtime_directory);
    void tell_firmware(const MachineConfig& config);
    void set_cmos_memory_sizes();
    void set_cmos_equipment();

    [[nodiscard]] unsigned floppy_unit(const std::string& device) const;

    Clock& clock_;
    std::vector<Device*> devices_;
    std::map<std::string, AtapiCdrom*> cdroms_; // by virtual device; the controllers own them
    unsigned serial_ports_ = 0;                 // a bit each
};

} // namespace escalus
