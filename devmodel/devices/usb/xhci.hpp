// SPDX-License-Identifier: GPL-2.0-or-later
// A USB 3 host controller: eXtensible Host Controller Interface, revision 1.1; PCI 1b36:000d, as QEMU's.
//
// Eight ports, of which the first four speak the USB 2.0 protocol; the devices here are full-speed ones and
// are plugged in there. The other four are there since drivers look for them. One interrupter, by INTx or by
// one message. State: registers, ports with what is plugged in, slots with their endpoints' rings, events
// that wait for room in the event ring. Transfers are carried out when their doorbell rings; one whose device
// has said NAK is taken up again when the device has news, so an idle bus costs nothing.
//
// The work of one go is bounded, and goes on later by a timer. A pointer to where no memory is stops the
// controller with Host System Error.
// Missing: streams, isochronous endpoints, more interrupters and event ring segments, interrupt moderation,
// bandwidth and latency commands, saving and restoring of state, power management capabilities.
#pragma once

#include "devmodel/devices/usb/usb_device.hpp"
#include "devmodel/devices/usb/xhci_registers.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/guest_memory.hpp"
#include "devmodel/machine/pci.hpp"

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace escalus {

class Xhci final : public PciFunction {
  public:
    static constexpr unsigned usb2_ports = 4, port_count = 8, slot_count = 32;
    static constexpr PciIdentity qemu{.vendor = 0x1b36,
                                      .device = 0x000d,
                                      .class_code = 0x0c0330,
                                      .revision = 1,
                                      .subsystem_vendor = 0x1af4,
                                      .subsystem = 0x1100,
                                      .interrupt_pin = 1};

    Xhci(PciSpaces spaces, GuestMemory& memory, Clock& clock, const PciIdentity& identity = qemu);

    /// Plugs a device into a port of the first four. Throws std::logic_error when it is taken or not among
    /// those.
    void attach(unsigned port, std::unique_ptr<UsbDevice> device);
    /// Null when there was none.
    std::unique_ptr<UsbDevice> detach(unsigned port);

    [[nodiscard]] std::string_view name() const override { return "xhci"; }
    void reset(ResetKind kind) override;
    void config_write(unsigned offset, std::span<const std::uint8_t> data) override;

    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    using Trb = xhci::Trb;
    using Code = xhci::Code;
    struct Port {
        std::unique_ptr<UsbDevice> device;
        std::uint32_t state = 0;
    };
    struct Ring {
        std::uint64_t at = 0;
        bool cycle = true;
    };
    struct Endpoint {
        xhci::EndpointState state = xhci::EndpointState::Disabled;
        std::uint8_t type = 0;
        std::uint16_t max_packet = 0;
        Ring ring;
        std::uint64_t moved = 0; ///< of the transfer under way
        bool waiting = false;    ///< there may be something to go on with
    };
    struct Slot {
        bool enabled = false;
        xhci::SlotState state = xhci::SlotState::Disabled;
        std::uint64_t context = 0; ///< the output device context
        unsigned port = 0;
        std::uint8_t address = 0;
        std::array<Endpoint, 32> endpoints; ///< by device context index
    };
    struct Placed { // a TRB and where it is
        std::uint64_t at;
        Trb trb;
    };
    enum class Outcome : std::uint8_t { Done, Empty, NotNow, Later, Halted };

    // Registers, ports, events (xhci.cpp).
    [[nodiscard]] std::uint32_t read_register(unsigned offset) const;
    [[nodiscard]] std::uint32_t read_capability(unsigned offset) const;
    [[nodiscard]] std::uint32_t read_operational(unsigned offset) const;
    [[nodiscard]] std::uint32_t read_runtime(unsigned offset) const;
    void write_register(unsigned offset, std::uint32_t value);
    void write_operational(unsigned offset, std::uint32_t value);
    void write_interrupter(unsigned offset, std::uint32_t value);
    void write_port(unsigned port, std::uint32_t value);
    void set_port_change(unsigned port, std::uint32_t change);
    void reset_controller();
    void plugged(unsigned port);
    void device_ready(unsigned port);
    void post(Trb event);
    bool put_event(const Trb& event);
    void flush_events();
    void interrupt();
    void update_interrupt();
    void system_error();
    [[nodiscard]] bool running() const { return (status_ & xhci::sts_halted) == 0; }

    // Memory.
    bool load(std::uint64_t address, std::span<std::uint32_t> words);
    bool store(std::uint64_t address, std::span<const std::uint32_t> words);
    [[nodiscard]] std::optional<Trb> load_trb(std::uint64_t address);

    // Commands (xhci_commands.cpp).
    void run_commands();
    std::pair<Code, unsigned> command(const Trb& trb);
    Code address_device(Slot& slot, unsigned id, const Trb& trb);
    Code configure(Slot& slot, const Trb& trb);
    Code evaluate(Slot& slot, const Trb& trb);
    Code endpoint_command(Slot& slot, const Trb& trb);
    Code reset_device(Slot& slot);
    bool enable_endpoint(Slot& slot, unsigned index, std::uint64_t context);
    void write_endpoint(const Slot& slot, unsigned index);
    void write_slot_state(Slot& slot, xhci::SlotState state);
    void disable(Slot& slot);

    // Transfers (xhci_transfers.cpp).
    void work();
    void ring(unsigned slot, unsigned index);
    void run_endpoint(unsigned slot, unsigned index);
    Outcome run_transfer(unsigned slot, unsigned index);
    bool gather(Ring& ring, std::vector<Placed>& transfer);
    std::optional<Code> move_data(Slot& slot, unsigned index, UsbDevice& device, bool in,
                                  std::uint64_t total);
    bool copy(std::uint64_t offset, std::span<std::uint8_t> data, bool to_guest);
    void report(unsigned slot, unsigned index, Code code, std::uint64_t moved);
    [[nodiscard]] UsbDevice* device_of(const Slot& slot);

    GuestMemory& memory_;
    Clock& clock_;
    Timer timer_;
    std::array<Port, port_count> ports_;
    std::array<Slot, slot_count + 1> slots_; // by slot number, from 1

    std::uint32_t command_ = 0, status_ = 0, notifications_ = 0, configure_ = 0;
    std::uint64_t contexts_ = 0;
    Ring commands_;
    bool commands_run_ = false;
    std::uint32_t management_ = 0, moderation_ = 0, segments_ = 0;
    std::uint64_t segment_table_ = 0, event_dequeue_ = 0;
    std::uint64_t event_ring_ = 0; // where the segment is
    std::uint32_t event_size_ = 0, event_index_ = 0;
    bool event_cycle_ = true;
    std::deque<Trb> late_events_;  // for which there was no room
    std::vector<Placed> transfer_; // under way
};

} // namespace escalus
