// SPDX-License-Identifier: GPL-2.0-or-later
// A port of an AHCI controller with at most one drive: AHCI 1.3, sections 3.3 (registers), 4.2 (structures in
// memory), 5 (how commands run), 6 (errors) and 10.4 (resets); frames of Serial ATA 2.6.
//
// State: the port's registers, the command that the drive executes, the queued commands (NCQ) that the drive
// has taken. The drive is the same model as on IDE: what it would move by PIO or DMA goes through the
// command's region table instead. Queued commands are executed one after the other, in the order of their
// arrival; another command waits until the queue is empty. After an error nothing runs until software has
// cleared PxCMD.ST, and what was under way is forgotten then.
// Missing: port multipliers, asynchronous notification, power states of the link, command completion
// coalescing, activity LEDs.
#pragma once

#include "devmodel/devices/storage/ahci_registers.hpp"
#include "devmodel/devices/storage/ide_drive.hpp"

#include <array>
#include <deque>
#include <functional>
#include <optional>

namespace escalus {

/// The regions of a command table (AHCI 1.3, 4.2.3.3).
class AhciPrdTable final : public DmaStream {
  public:
    explicit AhciPrdTable(GuestMemory& memory) : DmaStream{memory, ~std::uint64_t{0}} {}
    void open(std::uint64_t table, std::uint32_t entries);
    /// A region, or the table, was not memory.
    [[nodiscard]] bool failed() const { return failed_; }
    /// All regions have been used.
    [[nodiscard]] bool used_up() const { return used_up_; }

  private:
    bool fetch(Cursor& cursor) const override;
    void exhausted() override { used_up_ = true; }
    void faulted() override { failed_ = true; }
    bool failed_ = false, used_up_ = false;
};

class AhciPort final : private IdeHost {
  public:
    /// `changed`: PxIS or PxIE changed.
    AhciPort(GuestMemory& memory, std::function<void()> changed);

    /// Throws std::logic_error when there is a drive already.
    void attach(std::unique_ptr<IdeDrive> drive);
    [[nodiscard]] IdeDrive* drive() { return drive_.get(); }

    /// 32-bit registers; `offset` is a multiple of 4 below port_bytes.
    [[nodiscard]] std::uint32_t read(unsigned offset) const;
    void write(unsigned offset, std::uint32_t value);
    [[nodiscard]] bool interrupting() const { return (is_ & ie_) != 0; }

    /// `hardware`: the machine's reset; else the controller's own (GHC.HR), which resets the link.
    void reset(bool hardware);
    /// The PCI command register's bus master bit.
    void allow_dma(bool allowed);
    void pause();
    void resume();

  private:
    struct Command {
        unsigned slot = 0;
        std::uint64_t header = 0, table = 0; ///< addresses
        std::uint32_t flags = 0;             ///< the header's first word
        std::uint32_t regions = 0;
        TaskFile registers;
        std::uint8_t code = 0;
    };
    enum class Running { Nothing, Command, Queued };

    // IdeHost
    void interrupt_changed() override;
    DmaStream* dma() override;
    [[nodiscard]] bool serial() const override { return true; }
    void pio_moved(bool to_guest, std::size_t bytes, bool last) override;
    void dma_stalled() override { work(); }

    // Commands.
    [[nodiscard]] bool started() const { return (cmd_ & ahci::cmd_start) != 0; }
    [[nodiscard]] bool able() const;
    void work();
    bool work_once();
    std::optional<unsigned> next_slot();
    bool issue(unsigned slot);
    void control(const Command& command, std::uint8_t value);
    void queue(const Command& command);
    void begin(const Command& command, Running kind);
    void hand_over_packet();
    void look_at_drive();
    void end_command();
    void end_queued();
    void forget_commands();
    void diagnose();
    void fatal(std::uint32_t cause);

    // Frames to the host.
    void receive(std::uint32_t offset, std::span<const std::uint8_t> frame);
    void write_byte_count();
    void put_registers(std::span<std::uint8_t> frame) const;
    void send_registers(bool interrupt);
    void send_device_bits(std::uint32_t finished);
    void raise(std::uint32_t cause);
    void take_status();

    // Resets.
    void write_command(std::uint32_t value);
    void write_control(std::uint32_t value);
    void stop();
    void reset_link();
    [[nodiscard]] bool online() const;

    GuestMemory& memory_;
    std::function<void()> changed_;
    std::unique_ptr<IdeDrive> drive_;
    AhciPrdTable regions_;

    std::uint64_t command_list_ = 0, received_ = 0;
    std::uint32_t is_ = 0, ie_ = 0, cmd_ = 0, tfd_ = 0, sig_ = 0, sctl_ = 0, serr_ = 0, sact_ = 0, ci_ = 0;

    Running running_ = Running::Nothing;
    Command current_;
    std::deque<Command> queue_; // taken by the drive, not begun
    unsigned last_slot_ = 0;
    bool ended_by_pio_ = false; // its last frame was a PIO setup
    bool halted_ = false;       // an error: until PxCMD.ST is cleared
    bool dma_allowed_ = false, paused_ = false;
    bool working_ = false, again_ = false;
};

} // namespace escalus
