// SPDX-License-Identifier: GPL-2.0-or-later
// An ATAPI CD/DVD-ROM drive: the PACKET feature set of ATA/ATAPI-6 (T13/1410D), commands of MMC-3 (T10/1363D)
// with the older forms of SFF-8020i that old systems use.
//
// State beyond IdeDrive's: the medium (one data track, Mode 1, 2048-byte sectors; a DVD when it is larger
// than any CD), tray, lock, sense data, pending unit attention and event, the mode pages that can be set.
// Missing: audio tracks, multisession, writing, asynchronous event notification.
#pragma once

#include "devmodel/devices/storage/ide_drive.hpp"
#include "devmodel/devices/storage/ide_identity.hpp"

#include <array>
#include <optional>
#include <string>

namespace escalus {

class AtapiCdrom final : public IdeDrive {
  public:
    /// Null: a drive without a medium.
    explicit AtapiCdrom(std::unique_ptr<BlockBackend> medium,
                        IdeStrings strings = {"ESCALUS DVD-ROM", "ES00002", "1.0"});

    /// The user's side. Inserting (not null) replaces a medium that is there and closes the tray; the guest
    /// sees a unit attention. Ejecting works even when the guest has locked the drive (`locked()` tells), as
    /// the emergency hole of a real drive does. A command under way fails.
    void insert(std::unique_ptr<BlockBackend> medium);
    void eject();
    /// The eject button. True when the drive is empty now. When the guest has locked it, the guest is told of
    /// the wish (an eject request event); the medium comes out once the guest opens the tray.
    [[nodiscard]] bool ask_to_eject();
    /// What lies in the drive, or on its tray, for messages; empty when nothing does.
    [[nodiscard]] std::string medium_name() const { return medium_ ? medium_->description() : std::string{}; }
    [[nodiscard]] bool locked() const { return locked_; }
    /// A medium lies in the closed drive.
    [[nodiscard]] bool medium_present() const { return medium_ != nullptr && !tray_open_; }

  private:
    struct Sense {
        std::uint8_t key = 0, code = 0, qualifier = 0;
    };
    struct PacketCommand {
        void (*run)(AtapiCdrom&) = nullptr;
        bool needs_medium = true;
        bool despite_attention = false; ///< runs, and leaves a pending unit attention alone
    };
    enum class Phase : std::uint8_t {
        Ata,    ///< an ATA command
        Packet, ///< PACKET, whose command packet is to come
        Data,   ///< PACKET, which has its command packet
    };
    enum class MediaEvent : std::uint8_t { None = 0, EjectRequest = 1, NewMedia = 2, Removal = 3 };

    // ATA level (atapi_cdrom.cpp).
    void execute(std::uint8_t code) override;
    [[nodiscard]] bool executes_while_busy(std::uint8_t code) const override;
    void set_signature() override;
    /// Clear, without DRDY: that tells packet devices (clause 9.10).
    [[nodiscard]] std::uint8_t status_after_reset() const override { return 0; }
    void revert_settings(bool hardware) override;
    void identify();
    void set_features();
    void succeed_ata();
    void abort_ata();
    void begin_packet();

    // The movement of a packet command's data.
    void read_medium(std::uint64_t offset, std::span<std::uint8_t> data,
                     BlockBackend::Completion done) override;
    bool try_read_medium(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces) override;
    void block_opened(std::size_t bytes) override;
    void transfer_done() override;
    void transfer_failed(std::uint64_t offset) override;
    void data_received(std::size_t bytes) override;
    [[nodiscard]] std::size_t block_size(std::uint64_t total, std::size_t unit) const;
    /// Zeros to put a reply in.
    [[nodiscard]] std::span<std::uint8_t> blank(std::size_t bytes);
    void reply(std::size_t bytes, std::size_t allocated);

    // Packet level (atapi_packet.cpp).
    static const std::array<PacketCommand, 256>& commands();
    void execute_packet();
    void succeed();
    void fail(Sense sense);
    void change_medium(std::unique_ptr<BlockBackend> medium);
    [[nodiscard]] Sense no_medium() const;
    [[nodiscard]] std::uint32_t packet16(unsigned at) const;
    [[nodiscard]] std::uint32_t packet24(unsigned at) const;
    [[nodiscard]] std::uint32_t packet32(unsigned at) const;
    [[nodiscard]] std::uint32_t sectors() const; ///< of the medium
    [[nodiscard]] bool is_dvd() const;
    bool check_range(std::uint32_t lba, std::uint32_t count);

    void request_sense();
    void inquiry();
    void start_stop();
    void prevent_allow();
    void read(std::uint32_t lba, std::uint32_t count);
    void read_cd(std::uint32_t lba, std::uint32_t count);
    void read_cd_msf();
    void mode_sense();
    void mode_select();
    void mode_parameters(std::span<const std::uint8_t> data);

    // What the drive tells about itself and the medium (mmc_information.cpp).
    void read_capacity();
    void read_toc();
    void read_subchannel();
    void read_header();
    void get_configuration();
    void get_event_status();
    void read_disc_information();
    void read_track_information();
    void read_dvd_structure();
    void mechanism_status();
    std::size_t put_mode_page(std::span<std::uint8_t> out, unsigned page, bool changeable) const;

    IdeStrings strings_;
    TransferModes modes_;
    bool keep_settings_ = false;

    std::array<std::uint8_t, 12> packet_{};
    Phase phase_ = Phase::Ata;
    bool packet_dma_ = false;
    std::uint16_t byte_limit_ = 0;
    std::uint8_t raw_parts_ = 0; ///< READ CD under way: the parts of a sector it delivers; 0: user data

    Sense sense_;
    std::optional<Sense> attention_;
    MediaEvent event_ = MediaEvent::None;
    bool tray_open_ = false;
    bool locked_ = false;
    bool eject_wanted_ = false;                 ///< by the user, who takes the medium when the tray opens
    std::array<std::uint8_t, 6> error_page_{};  ///< mode page 0x01
    std::array<std::uint8_t, 14> audio_page_{}; ///< mode page 0x0e
};

} // namespace escalus
