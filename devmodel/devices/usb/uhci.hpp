// SPDX-License-Identifier: GPL-2.0-or-later
// The USB host controller of the Intel 82371SB (PIIX3): PCI function 2, 8086:7020, two ports.
//
// Intel Universal Host Controller Interface Design Guide 1.1; 82371FB/82371SB datasheet (order 290550), 2.4.
// State: the registers, the two ports with what is plugged in, since when frames are counted and which of
// them have been carried out. The frame number follows guest time; frames are carried out at their end, one
// by one while there is something to do, several at a time while the schedule only has endpoints with nothing
// to say. A device that then has something wakes the controller, and reading the status or the frame number
// carries out what is due, so that a driver sees no frame number whose frame has not been.
//
// A frame moves more bytes than the wire could, bounded as is the number of structures it looks at: a
// schedule that runs in circles costs no more than a full one. A pointer to where no memory is stops the
// controller with Host System Error, a descriptor that makes no sense with Host Controller Process Error.
// Missing: start-of-frame timing (SOFMOD), the legacy keyboard traps and their SMI (LEGSUP is there, its trap
// status stays clear), isochronous devices.
#pragma once

#include "devmodel/devices/usb/uhci_registers.hpp"
#include "devmodel/devices/usb/usb_device.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/guest_memory.hpp"
#include "devmodel/machine/pci.hpp"

#include <array>
#include <memory>

namespace escalus {

class Uhci final : public PciFunction {
  public:
    static constexpr unsigned port_count = uhci::port_count;
    static constexpr PciIdentity piix3{.vendor = 0x8086,
                                       .device = 0x7020,
                                       .class_code = 0x0c0300,
                                       .revision = 1,
                                       .subsystem_vendor = 0x1af4,
                                       .subsystem = 0x1100,
                                       .interrupt_pin = 4};

    Uhci(PciSpaces spaces, GuestMemory& memory, Clock& clock, const PciIdentity& identity = piix3);

    /// Plugs a device in; drivers see the change. Throws std::logic_error when the port is taken,
    /// std::out_of_range when there is no such port.
    void attach(unsigned port, std::unique_ptr<UsbDevice> device);
    /// Pulls it out; null when there was none.
    std::unique_ptr<UsbDevice> detach(unsigned port);

    [[nodiscard]] std::string_view name() const override { return "piix3-uhci"; }
    void reset(ResetKind kind) override;
    void config_write(unsigned offset, std::span<const std::uint8_t> data) override;

    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

    /// Frames carried out, for tests and statistics.
    [[nodiscard]] std::uint64_t frames() const { return frames_; }
    /// How often the controller looked whether frames are due.
    [[nodiscard]] std::uint64_t wakeups() const { return wakeups_; }

  private:
    struct Port {
        std::unique_ptr<UsbDevice> device;
        std::uint16_t state = uhci::port_always;
    };
    /// What is left of a frame.
    struct Frame;
    enum class Outcome : std::uint8_t { Done, NotNow, Short, Failed, Halt };

    // Registers (uhci.cpp).
    [[nodiscard]] std::uint16_t read_register(unsigned offset);
    void write_register(unsigned offset, std::uint16_t value, std::uint16_t mask);
    void write_command(std::uint16_t value);
    void reset_controller();
    void plugged(Port& port);
    void write_port(Port& port, std::uint16_t value, std::uint16_t mask);
    void device_ready(unsigned port);
    void update_interrupt();

    // Frames (uhci_frames.cpp).
    void run();
    void halt();
    [[nodiscard]] bool running() const { return (command_ & uhci::cmd_run) != 0; }
    [[nodiscard]] std::uint64_t frames_begun() const;
    [[nodiscard]] GuestTime end_of(std::uint64_t frame) const;
    void catch_up();
    void timer_fired();
    void wake();
    void carry_out(std::uint64_t frame);
    void walk(Frame& frame, std::uint32_t link);
    Outcome execute(uhci::TransferDescriptor& td, Frame& frame, bool queued);
    Outcome transact(uhci::TransferDescriptor& td, Frame& frame, bool queued);
    Outcome failed(uhci::TransferDescriptor& td, std::uint32_t status);
    [[nodiscard]] UsbDevice* find(unsigned address);
    [[nodiscard]] bool load(std::uint32_t address, std::span<std::uint32_t> words);
    [[nodiscard]] bool store(std::uint32_t address, std::uint32_t word);
    void stop_with(std::uint16_t error);

    GuestMemory& memory_;
    Clock& clock_;
    Timer timer_;
    std::array<Port, port_count> ports_;

    std::uint16_t command_ = 0, status_ = 0, interrupts_ = 0;
    bool short_packet_ = false, complete_ = false; // why the status has sts_interrupt
    std::uint32_t frame_list_ = 0;
    std::uint8_t sof_modify_ = 0;

    std::uint16_t first_frame_ = 0; // its number
    GuestTime began_ = 0;           // when it began
    std::uint64_t next_ = 0;        // the first frame, counted from there, that has not been carried out
    std::uint64_t idle_ = 0;        // frames without an event, in a row
    bool walking_ = false, woken_ = false;
    std::uint64_t frames_ = 0, wakeups_ = 0;
};

} // namespace escalus
