// SPDX-License-Identifier: GPL-2.0-or-later
// An ATA hard disk: ATA/ATAPI-6 (T13/1410D), general feature set with 48-bit addressing, power management,
// write cache and look-ahead switches.
//
// State beyond IdeDrive's: CHS translation, multiple count, transfer modes, power mode. Missing: SMART,
// security, host protected area (READ NATIVE MAX answers, SET MAX aborts), queued commands, APM, AAM: all of
// these abort, and IDENTIFY DEVICE says so.
#pragma once

#include "devmodel/devices/storage/ide_drive.hpp"

namespace escalus {

struct IdeStrings {
    std::string model, serial, firmware; ///< at most 40, 20 and 8 printable ASCII characters are used
};

class AtaDisk final : public IdeDrive {
  public:
    explicit AtaDisk(std::unique_ptr<BlockBackend> image,
                     IdeStrings strings = {"ESCALUS HARDDISK", "ES00001", "1.0"});

  private:
    struct Geometry {
        std::uint32_t cylinders, heads, sectors;
    };
    using Handler = void (AtaDisk::*)();
    struct Command;
    static const Command* find(std::uint8_t code);

    void execute(std::uint8_t code) override;
    void set_signature() override;
    void revert_settings(bool hardware) override;
    void transfer_done() override;
    void transfer_failed(std::uint64_t offset) override;

    // Addressing (clause 6.2).
    enum class Addressing { Lba28OrChs, Lba48 };
    struct Extent {
        std::uint64_t lba;
        std::uint32_t sectors;
    };
    /// Nothing when the address does not exist; the error has been reported then.
    bool decode(Addressing how, Extent& extent);
    void set_address(std::uint64_t lba);
    void transfer(bool to_guest, bool dma, std::uint32_t sectors_a_block, Addressing how);

    // Ends of commands (clause 9).
    void succeed();
    void fail(std::uint8_t error, std::uint8_t extra_status = 0);

    // Commands.
    void identify();
    void verify(Addressing how);
    void set_features();
    void set_transfer_mode();
    void set_multiple();
    void initialize_parameters();
    void flush();
    void read_native_max(Addressing how);
    void seek();
    void check_power();

    static Geometry default_geometry(std::uint64_t sectors);
    static Geometry translation(std::uint64_t sectors, std::uint32_t heads, std::uint32_t sectors_a_track);

    IdeStrings strings_;
    std::uint64_t sectors_;
    Geometry native_, current_;
    Addressing addressing_ = Addressing::Lba28OrChs; // of the command under way
    std::uint8_t code_ = 0;                          // the command under way
    std::uint8_t multiple_ = 0;                      // sectors, 0: disabled
    std::uint8_t pio_mode_ = 4;
    std::uint8_t dma_mode_ = 0x22; // as in SET FEATURES 3: multiword DMA 2
    bool write_cache_ = true, look_ahead_ = true;
    bool keep_settings_ = false; // SET FEATURES 0x66
    bool standby_ = false;
};

} // namespace escalus
