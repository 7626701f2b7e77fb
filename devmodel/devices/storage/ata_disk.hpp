// SPDX-License-Identifier: GPL-2.0-or-later
// An ATA hard disk: ATA/ATAPI-6 (T13/1410D), general feature set with 48-bit addressing, power management,
// write cache and look-ahead switches. On a serial host also native command queueing (Serial ATA 2.6, 13.6):
// the host keeps the queue, and gives the drive one queued command after the other.
//
// State beyond IdeDrive's: CHS translation, multiple count, transfer modes, power mode, the queued error log.
// Missing: SMART, security, host protected area (READ NATIVE MAX answers, SET MAX aborts), legacy queued
// commands, APM, AAM: all of these abort, and IDENTIFY DEVICE says so. SLEEP is STANDBY: it needs no reset to
// wake.
#pragma once

#include "devmodel/devices/storage/ide_drive.hpp"
#include "devmodel/devices/storage/ide_identity.hpp"

#include <array>
#include <optional>

namespace escalus {

class AtaDisk final : public IdeDrive {
  public:
    explicit AtaDisk(std::unique_ptr<BlockBackend> image,
                     IdeStrings strings = {"ESCALUS HARDDISK", "ES00001", "1.0"});

  private:
    struct Geometry {
        std::uint32_t cylinders, heads, sectors;
    };
    /// 28-bit or CHS registers; 48-bit registers; 48 bits with the count in the feature registers.
    enum class Addressing { Short, Long, Queued };
    enum class Movement { Pio, Multiple, Dma };
    struct Extent {
        std::uint64_t lba;
        std::uint32_t sectors;
    };
    using Handler = void (*)(AtaDisk&);
    static const std::array<Handler, 256>& commands();

    void execute(std::uint8_t code) override;
    void set_signature() override;
    [[nodiscard]] std::uint8_t status_after_reset() const override { return ata::ready | ata::seek_complete; }
    void revert_settings(bool hardware) override;
    void transfer_done() override;
    void transfer_failed(std::uint64_t offset) override;

    // Addressing (clause 6.2).
    /// False when there is no such address; the error has been reported then.
    bool decode(Addressing how, Extent& extent);
    void set_address(std::uint64_t lba);
    [[nodiscard]] static std::uint32_t wide_count(const TwoDeep& reg);

    // Ends of commands (clause 9).
    void succeed(bool interrupt = true);
    void fail(std::uint8_t error);

    // Commands.
    void read(Movement how, Addressing addressing);
    void write(Movement how, Addressing addressing);
    void transfer_sectors(bool to_guest, Movement how, Addressing addressing);
    void queued(bool to_guest);
    void verify(Addressing addressing);
    void read_log();
    void identify();
    void set_features();
    void set_multiple();
    void initialize_parameters();
    void flush();
    void read_native_max(Addressing addressing);
    void seek();
    void enter_standby(bool standby);
    void check_power();

    static Geometry geometry(std::uint64_t sectors, std::uint32_t heads, std::uint32_t sectors_a_track);
    static Geometry native_geometry(std::uint64_t sectors);

    IdeStrings strings_;
    std::uint64_t sectors_;
    Geometry native_, current_;
    Extent extent_{};                           // of the command under way
    Addressing addressing_ = Addressing::Short; // of the command under way
    std::uint8_t multiple_ = 0;                 // sectors a block, 0: READ and WRITE MULTIPLE are disabled
    TransferModes modes_;
    bool write_cache_ = true, look_ahead_ = true;
    bool keep_settings_ = false; // SET FEATURES 0x66
    bool standby_ = false;
    std::optional<std::uint8_t> tag_; // of the queued command under way
    bool unit_access_ = false;        // forced by the write under way: it ends once it is on the medium
    std::array<std::uint8_t, 14> queued_error_{}; // log page 0x10
};

} // namespace escalus
