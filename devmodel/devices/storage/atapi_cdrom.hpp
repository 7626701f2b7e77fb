// SPDX-License-Identifier: GPL-2.0-or-later
// An ATAPI CD/DVD-ROM drive: the PACKET feature set of ATA/ATAPI-6 (T13/1410D), commands of MMC-3 (T10/1363D)
// with the older forms of SFF-8020i that old systems use.
//
// State beyond IdeDrive's: the medium (one data track, Mode 1, 2048-byte sectors; a DVD when it is larger
// than any CD), tray, lock, sense data, pending unit attention and event, the mode pages that can be set.
// Missing: audio tracks, multisession, writing, asynchronous event notification.
#pragma once

#include "devmodel/devices/storage/ata_disk.hpp"

#include <array>
#include <optional>

namespace escalus {

class AtapiCdrom final : public IdeDrive {
  public:
    /// Null: a drive without a medium.
    explicit AtapiCdrom(std::unique_ptr<BlockBackend> medium,
                        IdeStrings strings = {"ESCALUS DVD-ROM", "ES00002", "1.0"});

    /// The user's side. Inserting replaces a medium that is there and closes the tray; the guest sees a unit
    /// attention. Ejecting works even when the guest has locked the drive (`locked()` tells), as the
    /// emergency hole of a real drive does. A command under way fails.
    void insert(std::unique_ptr<BlockBackend> medium);
    void eject();
    [[nodiscard]] bool locked() const { return locked_; }
    /// A medium lies in the closed drive.
    [[nodiscard]] bool medium_present() const { return medium_ != nullptr && !tray_open_; }

  private:
    struct Sense {
        std::uint8_t key = 0, code = 0, qualifier = 0;
    };
    struct PacketCommand;
    using Packet = std::array<std::uint8_t, 12>;
    static const PacketCommand* find(std::uint8_t code);

    void execute(std::uint8_t code) override;
    bool executes_while_busy(std::uint8_t code) const override;
    void set_signature() override;
    void revert_settings(bool hardware) override;
    void read_medium(std::uint64_t offset, std::span<std::uint8_t> data,
                     BlockBackend::Completion done) override;
    bool try_read_medium(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces) override;
    void block_opened(std::size_t bytes) override;
    void transfer_done() override;
    void transfer_failed(std::uint64_t offset) override;
    void data_received(std::span<const std::uint8_t> data) override;

    // ATA level.
    void identify_packet_device();
    void set_features();
    void succeed_ata();
    void abort_ata();
    void begin_packet();

    // Packet level.
    void execute_packet();
    void succeed();
    void fail(Sense sense);
    void reply(std::size_t bytes, std::size_t allocated);
    [[nodiscard]] std::span<std::uint8_t> fresh_reply(std::size_t bytes);
    [[nodiscard]] std::size_t block_limit() const;
    void medium_changed();

    void test_unit_ready();
    void request_sense();
    void inquiry();
    void mode_sense();
    void mode_select();
    void start_stop();
    void prevent_allow();
    void read_capacity();
    void read_10();
    void read_12();
    void read_cd();
    void read_cd_msf();
    void read_toc();
    void read_subchannel();
    void read_header();
    void seek();
    void no_audio();
    void play_audio();
    void get_configuration();
    void get_event_status();
    void read_disc_information();
    void read_track_information();
    void read_dvd_structure();
    void mechanism_status();
    void set_speed();

    void read_sectors(std::uint32_t lba, std::uint32_t count);
    void read_parts(std::uint32_t lba, std::uint32_t count);
    [[nodiscard]] std::uint32_t sectors() const; // of the medium
    [[nodiscard]] bool is_dvd() const;
    std::size_t put_mode_page(std::span<std::uint8_t> out, std::uint8_t page, unsigned control) const;

    IdeStrings strings_;
    Packet packet_{};
    bool awaiting_packet_ = false;
    bool packet_dma_ = false;
    Sense sense_;
    std::optional<Sense> attention_;
    enum class MediaEvent : std::uint8_t { None = 0, EjectRequest = 1, NewMedia = 2, Removal = 3 };
    MediaEvent event_ = MediaEvent::None;
    bool tray_open_ = false;
    bool locked_ = false;
    bool keep_settings_ = false;
    std::uint8_t dma_mode_ = 0x22;
    std::uint8_t raw_parts_ =
        0; // READ CD: which parts of a sector the transfer under way delivers; 0: user data
    std::array<std::uint8_t, 6> error_page_{};
    std::array<std::uint8_t, 14> audio_page_{};
};

} // namespace escalus
