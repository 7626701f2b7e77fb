// SPDX-License-Identifier: GPL-2.0-or-later
// The floppy disk controller of an AT: Intel 82077AA CHMOS Single-Chip Floppy Disk Controller, datasheet
// 290166-007, in PC-AT mode (ports 0x3f2 to 0x3f5 and 0x3f7), with up to two drives.
//
// Commands go through three phases: the guest writes a command's bytes to the FIFO port, the controller
// executes it (moving data by DMA, or through the FIFO port when SPECIFY said so), and the guest reads the
// result. Seeks go on by themselves after their last byte, one in each drive, and end with an interrupt that
// SENSE INTERRUPT STATUS asks about. Transfers go sector by sector: look for its ID, read it from the medium
// into the buffer, hand it to the guest; or the reverse.
//
// State: the registers, what CONFIGURE, SPECIFY and PERPENDICULAR MODE set, the phase with its bytes, a
// transfer with one sector, for each drive where the controller believes its heads to be, its seek and the
// status that waits to be asked for. What a reset or a change of disk abandons is told apart by its buffer.
//
// Missing: the SCAN commands (invalid here), FM, deleted-data marks (no image keeps them), tape drives,
// status registers A and B (not in PC-AT mode), the rotation of the disk. A read without a disk fails with
// "missing address mark" at once; the real chip waits for an index pulse for ever.
#pragma once

#include "devmodel/devices/storage/floppy_drive.hpp"
#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/irq_line.hpp"
#include "devmodel/machine/isa_dma.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

namespace escalus {

class FloppyController final : public Device, public BusDevice {
  public:
    static constexpr unsigned drives = 2;

    FloppyController(Clock& clock, Bus& ports, IrqLine irq, DmaLine dma);
    ~FloppyController() override;

    /// Before the machine runs.
    void attach(unsigned unit, FloppyDriveType type);
    /// Null where there is no drive.
    [[nodiscard]] const FloppyDrive* drive(unsigned unit) const;
    /// The user's side, as in FloppyDrive: a transfer on that drive fails.
    void insert(unsigned unit, std::unique_ptr<BlockBackend> medium);
    void eject(unsigned unit);

    [[nodiscard]] std::string_view name() const override { return "floppy"; }
    void reset(ResetKind kind) override;
    void pause() override { paused_ = true; }
    void resume() override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    static constexpr unsigned units = 4; // that the controller can name

    enum class Phase : std::uint8_t { Command, Execution, Result };
    enum class Kind : std::uint8_t { Read, Write, Verify, Track, Format };
    enum class Stage : std::uint8_t {
        None,   ///< no transfer
        Locate, ///< the next sector is to be looked for
        Io,     ///< the medium works
        IoDone, ///< the medium's answer is to be looked at
        Guest,  ///< the guest moves the buffer's bytes
    };
    struct Command {
        std::uint8_t mask = 0, value = 0; ///< of the first byte
        std::uint8_t bytes = 0;           ///< with the first
        void (FloppyController::*execute)() = nullptr;
    };
    using Sector = std::array<std::uint8_t, FloppyDrive::sector_bytes>;
    struct Transfer {
        Stage stage = Stage::None;
        Kind kind = Kind::Read;
        std::uint8_t unit = 0, head = 0;
        std::uint8_t c = 0, h = 0, r = 0, n = 0, end = 0;
        bool multi_track = false, skip = false, deleted = false;
        std::optional<unsigned> count;   ///< sectors to go, where the command says so
        bool matched = false;            ///< READ TRACK: an ID was the one asked for
        std::uint8_t status2 = 0;        ///< bits that do not end the transfer
        std::uint8_t filler = 0;         ///< FORMAT TRACK
        std::size_t size = 0, place = 0; ///< bytes that the guest moves, and has moved
        bool terminal_count = false;
        std::error_code error;
    };
    struct Unit {
        std::unique_ptr<FloppyDrive> drive;
        std::uint8_t cylinder = 0; ///< where the controller believes the heads to be
        bool busy = false;         ///< seeking, or sought and not asked about
        std::uint8_t seek_status = 0;
        std::optional<std::uint8_t> status; ///< ST0 for SENSE INTERRUPT STATUS
    };

    // Registers and phases (floppy_controller.cpp).
    [[nodiscard]] bool held() const;
    [[nodiscard]] std::uint8_t main_status() const;
    [[nodiscard]] std::uint8_t digital_input() const;
    void write_digital_output(std::uint8_t value);
    void write_rate_select(std::uint8_t value);
    void begin_reset();
    void end_reset();
    void polled();
    [[nodiscard]] std::uint8_t read_fifo();
    void write_fifo(std::uint8_t value);
    void set_interrupt(bool level);
    void next_interrupt();
    void answer(std::initializer_list<std::uint8_t> result);
    [[nodiscard]] FloppyDrive* drive_of(unsigned unit) { return units_[unit].drive.get(); }
    [[nodiscard]] FloppyRate rate() const { return static_cast<FloppyRate>(rate_); }

    // Commands without data (floppy_commands.cpp).
    static const Command* find_command(std::uint8_t first);
    void invalid();
    void specify();
    void sense_drive();
    void sense_interrupt();
    void recalibrate();
    void seek();
    void relative_seek();
    void start_seek(unsigned unit, unsigned pulses, bool inward, std::uint8_t status);
    void seeks_done(unsigned unit);
    void configure();
    void dump_registers();
    void version() { answer({0x90}); }
    void lock();
    void perpendicular();
    void read_id();

    // Transfers (floppy_transfer.cpp).
    void read_data();
    void write_data();
    void read_track();
    void verify();
    void format();
    void begin(Kind kind);
    void run();
    void step();
    void locate();
    [[nodiscard]] bool readable(const FloppyDrive* drive) const;
    void start_io(bool to_medium);
    void look_at_answer();
    void move();
    void offer(std::size_t bytes);
    void format_sector();
    void sector_done();
    [[nodiscard]] bool advance();
    void finish(std::uint8_t status1, std::uint8_t status2);
    void abandon();
    [[nodiscard]] bool to_guest() const;
    /// A byte is to go through the FIFO port.
    [[nodiscard]] bool through_port() const;
    void next_window();

    Bus& ports_;
    IrqLine irq_;
    DmaLine dma_;
    Timer poll_timer_;
    std::array<std::optional<Timer>, units> seek_timers_;
    Clock& clock_;

    std::array<Unit, units> units_;
    bool interrupt_ = false; // the INT pin, before the gate in the digital output register
    std::uint8_t digital_output_ = 0, rate_ = 2, tape_ = 0;
    bool polling_ = false; // after a reset, until the drives have been polled
    std::array<std::uint8_t, 2> specified_{};
    bool no_dma_ = false;
    std::uint8_t configuration_ = 0, precompensation_track_ = 0, perpendicular_ = 0;
    bool locked_ = false;

    Phase phase_ = Phase::Command;
    const Command* command_ = nullptr;
    std::array<std::uint8_t, 16> bytes_{}; // of the command or the result
    std::size_t filled_ = 0, taken_ = 0;
    std::uint8_t end_of_track_ = 0; // of the last command that had it, for DUMPREG
    std::uint8_t id_turn_ = 0;      // which sector's ID comes by next

    Transfer transfer_;
    std::shared_ptr<Sector> sector_;
    std::size_t window_ = 0; // through the FIFO port: where the bytes end that INT was raised for
    bool running_ = false, again_ = false;
    bool paused_ = false;
};

} // namespace escalus
