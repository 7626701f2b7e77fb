// SPDX-License-Identifier: GPL-2.0-or-later
// What ATA and ATAPI devices have in common: the command block registers (ATA/ATAPI-6, T13/1410D, clause 7),
// the interrupt-pending state, and the movement of data between medium, buffer and guest by PIO or DMA.
//
// State: registers with their previous contents (48-bit addressing), one transfer, one buffer. A transfer is
// a loop of chunks: medium <-> buffer (asynchronous), then buffer <-> guest, the latter in DRQ blocks by PIO
// or as the bus master's table says by DMA. Whatever a reset abandons is told apart by a generation number,
// and its buffer lives on until its completion has come.
#pragma once

#include "devmodel/backends/block/block_backend.hpp"
#include "devmodel/devices/storage/bus_master.hpp"
#include "devmodel/devices/storage/ide_registers.hpp"

#include <memory>
#include <vector>

namespace escalus {

/// Where a drive is plugged in.
class IdeHost {
  public:
    virtual ~IdeHost() = default;
    /// The drive's interrupt_pending() changed.
    virtual void interrupt_changed() = 0;
    /// The DMA engine, when it runs and the machine lets it; else null.
    virtual BusMaster* dma() = 0;
};

class IdeDrive {
  public:
    explicit IdeDrive(std::unique_ptr<BlockBackend> medium);
    virtual ~IdeDrive();
    IdeDrive(const IdeDrive&) = delete;
    IdeDrive& operator=(const IdeDrive&) = delete;

    // For the channel.
    void plug(IdeHost& host) { host_ = &host; }
    [[nodiscard]] std::uint8_t read_register(unsigned index, bool previous) const;
    void write_register(unsigned index, std::uint8_t value);
    [[nodiscard]] std::uint8_t status() const { return status_; }
    [[nodiscard]] bool interrupt_pending() const { return interrupt_pending_; }
    void acknowledge_interrupt() { set_interrupt(false); }
    /// A write of the command register while this device is selected.
    void command(std::uint8_t code);
    /// The data port: moves up to data.size() bytes and returns how many, 0 without a data request.
    std::size_t data_in(std::span<std::uint8_t> data);
    std::size_t data_out(std::span<const std::uint8_t> data);
    /// The DMA engine began to run.
    void dma_started() { run(); }

    /// SRST held / released, or EXECUTE DEVICE DIAGNOSTIC (both are seen by both devices).
    void begin_reset();
    void finish_reset();
    /// Power-on or the bus's RESET-.
    void hardware_reset();
    void pause() { paused_ = true; }
    void resume();

  protected:
    static constexpr std::size_t chunk_bytes = 128 * 1024;

    // The kind of device.
    virtual void execute(std::uint8_t code) = 0;
    virtual bool executes_while_busy(std::uint8_t /*code*/) const { return false; }
    virtual void set_signature() = 0;
    virtual void revert_settings(bool hardware) = 0;

    // The medium, in the transfer's bytes. Overridden where these are not the backend's.
    virtual void read_medium(std::uint64_t offset, std::span<std::uint8_t> data,
                             BlockBackend::Completion done);
    virtual bool try_read_medium(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces);

    // What the transfer tells the device.
    virtual void block_opened(std::size_t /*bytes*/) {} ///< DRQ is about to be set for a block by PIO
    virtual void transfer_done() = 0;
    virtual void transfer_failed(std::uint64_t offset) = 0; ///< the medium failed at this byte
    virtual void
    data_received(std::span<const std::uint8_t> data); ///< a transfer from the guest to the device itself

    struct Transfer {
        enum class Stage {
            None,   ///< no transfer
            Chunk,  ///< the next chunk is to be taken up
            Io,     ///< the medium works
            IoDone, ///< the medium's answer is to be looked at
            Guest,  ///< the guest moves the buffer's bytes
        };
        Stage stage = Stage::None;
        bool to_guest = false;
        bool dma = false;
        bool medium = false;                   ///< false: the buffer is all of it
        bool first_block = true;               ///< by PIO: no block has been opened yet
        std::uint64_t offset = 0;              ///< of the medium's next chunk
        std::uint64_t left = 0;                ///< bytes of the medium that no finished chunk has covered
        std::size_t unit = 512;                ///< sector size: the smallest chunk
        std::size_t block = 512;               ///< bytes of a DRQ block
        std::size_t chunk_limit = chunk_bytes; ///< one unit while looking for a bad sector
        std::uint64_t careful_end = 0;         ///< where chunk_limit goes back to normal
        std::size_t position = 0, end = 0;     ///< what the guest has yet to move of the buffer
        std::size_t block_end = 0;
        std::error_code error;
    };

    void start_medium_transfer(bool to_guest, bool dma, std::uint64_t offset, std::uint64_t bytes,
                               std::size_t unit, std::size_t block);
    /// The buffer's first `bytes` bytes go to the guest / come from it.
    void start_buffer_transfer(bool to_guest, bool dma, std::size_t bytes, std::size_t block);
    [[nodiscard]] std::span<std::uint8_t> buffer() { return *buffer_; }
    /// Ends the transfer, whatever its state; a completion still to come is ignored.
    void abandon();
    /// A flush, and whatever else the medium does without data: `done` comes unless the drive was reset.
    void flush_medium(BlockBackend::Completion done);

    void set_interrupt(bool pending);
    [[nodiscard]] Transfer::Stage stage() const { return transfer_.stage; }
    [[nodiscard]] const Transfer& transfer() const { return transfer_; }

    TaskFile regs_;
    std::uint8_t status_ = 0;
    std::unique_ptr<BlockBackend> medium_;

  private:
    void run();
    void step();
    void take_chunk();
    void look_at_answer();
    void move_by_dma();
    void offer_block();
    void block_finished();
    void window_finished();
    std::function<void(std::error_code)> guarded(void (IdeDrive::*then)(std::error_code));
    void medium_answered(std::error_code error);

    IdeHost* host_ = nullptr;
    Transfer transfer_;
    std::shared_ptr<std::vector<std::uint8_t>> buffer_;
    std::vector<std::span<std::uint8_t>> pieces_;
    std::shared_ptr<std::uint64_t> generation_;
    bool io_under_way_ = false;
    bool interrupt_pending_ = false;
    bool running_ = false, again_ = false;
    bool paused_ = false;
};

} // namespace escalus
