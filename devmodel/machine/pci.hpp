// SPDX-License-Identifier: GPL-2.0-or-later
// PCI configuration space (PCI Local Bus Specification 3.0, chapter 6), type 0 headers, one bus.
//
// PciFunction is the base of every PCI device model: it keeps the 256 bytes with their write masks, moves
// BARs on the buses as the guest programs them, and gates them by the command register. PciBus finds
// functions by (device, function); the host bridge (devices/chipset/i440fx) puts it behind ports 0xcf8/0xcfc.
#pragma once

#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/irq_line.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

namespace escalus {

struct PciIdentity {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    std::uint32_t class_code = 0; ///< 24 bits: class, subclass, programming interface
    std::uint8_t revision = 0;
    std::uint16_t subsystem_vendor = 0;
    std::uint16_t subsystem = 0;
    std::uint8_t interrupt_pin = 0; ///< 0 none, 1..4 INTA..INTD
    bool multifunction = false;
};

/// The two buses that BARs decode on.
struct PciSpaces {
    Bus& ports;
    Bus& memory;
};

/// A message-signalled interrupt's way to the processors: a write of `data` to `address`.
using MessageSender = std::function<void(std::uint64_t address, std::uint32_t data)>;

class PciFunction : public Device, public BusDevice {
  public:
    static constexpr std::uint8_t command_io = 1, command_memory = 2, command_master = 4;
    static constexpr std::uint16_t command_no_intx = 0x400, status_intx = 8, status_capabilities = 0x10;
    static constexpr unsigned reg_command = 0x04, reg_status = 0x06, reg_bar0 = 0x10, reg_rom = 0x30,
                              reg_capabilities = 0x34;

    PciFunction(const PciIdentity& identity, PciSpaces spaces);
    ~PciFunction() override;

    /// Configuration accesses; `offset` + data.size() <= 256. Overriders call the base and then look at what
    /// changed.
    virtual void config_read(unsigned offset, std::span<std::uint8_t> data);
    virtual void config_write(unsigned offset, std::span<const std::uint8_t> data);

    void reset(ResetKind kind) override;

    /// The INTx wire, given by the machine when the function is plugged in.
    void connect_intx(IrqLine line) { intx_ = line; }
    /// The same for messages; without it, none are sent.
    void connect_messages(MessageSender send) { send_ = std::move(send); }
    /// An expansion ROM (PCI 3.0, 6.2.5.2 and 6.3), before the first reset. Empty: none. An image for another
    /// card is made to name this one.
    void set_rom(std::vector<std::uint8_t> image);

  protected:
    enum class BarKind { Io, Memory, PrefetchableMemory };
    /// Declares a BAR of a power-of-two size; accesses to it reach read()/write() with region == `index`.
    /// When `on_bus` is false the base class only keeps the register: the device maps memory itself in
    /// bar_moved(). Index 6 is the expansion ROM BAR (memory).
    void declare_bar(unsigned index, BarKind kind, std::uint64_t size, bool on_bus = true);
    /// Where the BAR decodes now; nothing when it is disabled by the command register (or a ROM's enable
    /// bit).
    [[nodiscard]] std::optional<std::uint64_t> bar_address(unsigned index) const;
    /// Called after a BAR began, moved or stopped to decode.
    virtual void bar_moved(unsigned index, std::optional<std::uint64_t> address);

    /// Raw configuration bytes: for reset values and read-only state. `writable` sets bits that the guest may
    /// change.
    [[nodiscard]] std::uint32_t config(unsigned offset, unsigned width) const;
    void set_config(unsigned offset, unsigned width, std::uint32_t value);
    void set_writable(unsigned offset, unsigned width, std::uint32_t mask);
    void set_write_one_to_clear(unsigned offset, unsigned width, std::uint32_t mask);

    [[nodiscard]] bool bus_master_enabled() const { return (config(reg_command, 2) & command_master) != 0; }
    /// The function's interrupt request: seen in the status register, and on the wire unless the command
    /// register disables it or messages have taken its place.
    void request_intx(bool level);

    /// Puts a capability at `offset` before those declared earlier (PCI 3.0, 6.7); its body is the caller's.
    void add_capability(unsigned offset, std::uint8_t id);
    /// Message-signalled interrupts with one vector and 64-bit addresses: 14 bytes at `offset`
    /// (PCI 3.0, 6.8.1).
    void declare_msi(unsigned offset);
    [[nodiscard]] bool msi_enabled() const;
    void send_msi();
    /// A message as MSI-X has it; dropped while the function may not master the bus.
    void send_message(std::uint64_t address, std::uint32_t data);
    /// Whether messages have taken the wire's place.
    [[nodiscard]] virtual bool messages_enabled() const { return msi_enabled(); }

  private:
    struct Bar {
        BarKind kind = BarKind::Memory;
        std::uint64_t size = 0; // 0: not there
        bool on_bus = true;
        std::optional<std::uint64_t> decoded;
    };
    class Rom final : public BusDevice {
      public:
        void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
        void write(unsigned, std::uint64_t, std::span<const std::uint8_t>) override {}
        std::vector<std::uint8_t> bytes;
    };
    [[nodiscard]] unsigned bar_register(unsigned index) const {
        return index == 6 ? reg_rom : reg_bar0 + 4 * index;
    }
    void update_bars();
    void update_intx();

    PciSpaces spaces_;
    std::array<std::uint8_t, 256> config_{};
    std::array<std::uint8_t, 256> power_on_{};
    std::array<std::uint8_t, 256> writable_{};
    std::array<std::uint8_t, 256> clearable_{};
    std::array<Bar, 7> bars_{};
    Rom rom_;
    IrqLine intx_;
    MessageSender send_;
    bool intx_requested_ = false;
    unsigned msi_ = 0;    // where its capability is; 0: there is none
    bool sealed_ = false; // false until the first reset, which records the power-on values
};

class PciBus {
  public:
    /// Throws BusConflict when the slot is taken.
    void plug(unsigned device, unsigned function, PciFunction& what);
    /// Configuration cycles; absent functions read as all ones.
    void config_read(unsigned bus, unsigned device, unsigned function, unsigned offset,
                     std::span<std::uint8_t> data);
    void config_write(unsigned bus, unsigned device, unsigned function, unsigned offset,
                      std::span<const std::uint8_t> data);

  private:
    std::map<unsigned, PciFunction*> functions_; // by device * 8 + function
};

} // namespace escalus
