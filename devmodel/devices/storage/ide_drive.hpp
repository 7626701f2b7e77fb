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
#include "devmodel/devices/storage/dma_stream.hpp"
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
    virtual DmaStream* dma() = 0;

    /// Serial ATA: nobody reads the data port, all data moves through dma().
    [[nodiscard]] virtual bool serial() const { return false; }
    /// Serial ATA: the bytes of a PIO data phase have gone through dma(); `last`: they end the command's
    /// data.
    virtual void pio_moved(bool /*to_guest*/, std::size_t /*bytes*/, bool /*last*/) {}
    /// Serial ATA: dma() took or gave less than there is to move.
    virtual void dma_stalled() {}
};

class IdeDrive {
  public:
    explicit IdeDrive(std::unique_ptr<BlockBackend> medium);
    virtual ~IdeDrive();
    IdeDrive(const IdeDrive&) = delete;
    IdeDrive& operator=(const IdeDrive&) = delete;

    // For the channel.
    void plug(IdeHost& host) { host_ = &host; }
    [[nodiscard]] std::uint8_t read_register(unsigned index, bool previous);
    void write_register(unsigned index, std::uint8_t value);
    [[nodiscard]] std::uint8_t status() const { return status_; }
    [[nodiscard]] bool interrupt_pending() const { return interrupt_pending_; }
    /// Nothing is under way: only the guest can change what its registers say.
    [[nodiscard]] bool idle() const {
        return transfer_.stage == Transfer::Stage::None && (status_ & (ata::busy | ata::data_request)) == 0;
    }
    void acknowledge_interrupt() { set_interrupt(false); }
    /// Serial ATA: a whole set of registers, as a register FIS brings it; and what the drive answers with.
    void load_registers(const TaskFile& registers) { regs_ = registers; }
    [[nodiscard]] const TaskFile& registers() const { return regs_; }
    /// A write of the command register while this device is selected.
    void command(std::uint8_t code);
    /// The data port: moves up to data.size() bytes and returns how many, 0 without a data request.
    std::size_t data_in(std::span<std::uint8_t> data);
    std::size_t data_out(std::span<const std::uint8_t> data);
    /// The DMA engine began to run.
    void dma_started() { run(); }
    /// The host has given up the command under way: it ends without an answer.
    void give_up();

    /// SRST held / released, or EXECUTE DEVICE DIAGNOSTIC (both are seen by both devices).
    void begin_reset();
    void finish_reset();
    void finish_diagnostic() { set_interrupt(true); }
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
    [[nodiscard]] virtual std::uint8_t status_after_reset() const = 0;
    virtual void revert_settings(bool hardware) = 0;

    // The medium, in the transfer's bytes. Overridden where these are not the backend's.
    virtual void read_medium(std::uint64_t offset, std::span<std::uint8_t> data,
                             BlockBackend::Completion done);
    virtual bool try_read_medium(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces);

    // What the transfer tells the device.
    virtual void block_opened(std::size_t /*bytes*/) {} ///< DRQ is about to be set for a block by PIO
    virtual void transfer_done() = 0;
    virtual void transfer_failed(std::uint64_t offset) = 0; ///< the medium failed at this byte
    virtual void data_received(std::size_t /*bytes*/) {} ///< a transfer from the guest to the device itself

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
        bool packet = false;       ///< the command packet: goes through the data port on Serial ATA, too
        bool medium = false;       ///< false: the buffer is all of it
        bool verify = false;       ///< only read the medium
        bool quiet = false;        ///< by PIO: the next block is opened without an interrupt
        bool failed = false;       ///< the medium failed after what the guest is being given
        std::uint64_t offset = 0;  ///< of the buffer's first byte in the medium
        std::uint64_t left = 0;    ///< bytes of the medium from `offset` on
        std::size_t unit = 512;    ///< sector size
        std::size_t block = 512;   ///< bytes of a DRQ block
        std::size_t end = 0;       ///< bytes in the buffer
        std::size_t position = 0;  ///< what the guest has moved of them
        std::size_t block_end = 0; ///< where the DRQ block ends
        std::size_t io_from = 0, io_n = 0; ///< what the medium is moving of them
        std::error_code error;
    };

    [[nodiscard]] Transfer medium_transfer(std::uint64_t offset, std::uint64_t bytes, std::size_t unit) const;
    /// A transfer between the guest and the buffer's first `bytes` bytes alone.
    [[nodiscard]] Transfer buffer_transfer(bool to_guest, std::size_t bytes) const;
    void start(const Transfer& transfer);
    [[nodiscard]] std::span<std::uint8_t> buffer() { return *buffer_; }
    /// Ends the transfer, whatever its state; a completion still to come is ignored.
    void abandon();
    /// `done` comes unless the drive was reset.
    void flush_medium(BlockBackend::Completion done);

    void set_interrupt(bool pending);
    [[nodiscard]] const Transfer& transfer() const { return transfer_; }
    [[nodiscard]] bool serial() const { return host_ != nullptr && host_->serial(); }

    TaskFile regs_;
    std::uint8_t status_ = 0;
    std::unique_ptr<BlockBackend> medium_;

  private:
    void run();
    void step();
    void take_chunk();
    bool read_straight(DmaStream& dma, std::size_t bytes);
    /// `bytes` more of the data have gone by DMA.
    void tell_moved(std::size_t bytes, bool last);
    void start_io();
    void look_at_answer();
    void give_to_guest();
    void move_by_dma();
    void offer_block();
    void block_finished();
    void window_finished();
    void finish();
    [[nodiscard]] BlockBackend::Completion guarded(BlockBackend::Completion done);

    IdeHost* host_ = nullptr;
    Transfer transfer_;
    std::shared_ptr<std::vector<std::uint8_t>> buffer_;
    std::vector<std::span<std::uint8_t>> pieces_;
    std::shared_ptr<std::uint64_t> generation_;
    bool io_under_way_ = false;
    bool pio_ = false; // the transfer under way is one by PIO that dma() moves (Serial ATA)
    bool interrupt_pending_ = false;
    bool running_ = false, again_ = false;
    bool paused_ = false;
};

} // namespace escalus
