// SPDX-License-Identifier: GPL-2.0-or-later
// A USB disk: Mass Storage Class, Bulk-Only Transport 1.0, with the SCSI transparent command set.
//
// A command block wrapper comes by the bulk OUT pipe, data moves one way or the other, a status wrapper
// leaves by the bulk IN pipe. Data goes through a buffer of one chunk; while the image works, the answer is
// NAK. Where the host has announced more data than the command has, zeros fill it up or what comes is
// dropped, and the residue tells (6.7.2, 6.7.3): no pipe is halted for it, since much firmware cannot go on
// after that. Work for the image begins with a transaction only, so a paused machine begins none. State: the
// command under way, the buffer, what the image has been asked for. Missing: more than one logical unit.
#pragma once

#include "devmodel/backends/block/block_backend.hpp"
#include "devmodel/devices/usb/scsi_disk.hpp"
#include "devmodel/devices/usb/usb_device.hpp"

#include <memory>

namespace escalus {

class UsbDisk final : public UsbDevice {
  public:
    static constexpr std::uint8_t bulk_in = 1, bulk_out = 2;
    static constexpr std::size_t packet_bytes = 64;

    /// `serial`: upper-case hexadecimal digits, at least twelve (4.1.1).
    UsbDisk(std::unique_ptr<BlockBackend> medium, const std::string& serial);
    ~UsbDisk() override;

    void bus_reset() override;

  private:
    enum class Phase : std::uint8_t {
        Command,
        DataIn,
        DataOut,
        Status,
        Lost, ///< a bad wrapper: until Reset Recovery (6.6.1)
    };
    enum class Status : std::uint8_t { Passed = 0, Failed = 1, PhaseError = 2 };

    std::optional<std::vector<std::uint8_t>> answer_request(const UsbSetup& request) override;
    bool take_request(const UsbSetup& request, std::span<const std::uint8_t> data) override;
    UsbReply take(unsigned endpoint, std::span<const std::uint8_t> data) override;
    UsbIn give(unsigned endpoint, std::span<std::uint8_t> room) override;
    void configured_anew() override;
    void halt_cleared(std::uint8_t endpoint) override;

    void abandon();
    UsbReply take_command(std::span<const std::uint8_t> wrapper);
    void begin(bool data_in);
    UsbReply take_data(std::span<const std::uint8_t> data);
    UsbIn give_data(std::span<std::uint8_t> room);
    UsbIn give_status(std::span<std::uint8_t> room);
    void fill();
    void drain();
    [[nodiscard]] BlockBackend::Completion completion();
    void image_done(std::error_code error);

    std::unique_ptr<BlockBackend> medium_;
    ScsiDisk disk_;
    ScsiTask task_;
    Phase phase_ = Phase::Command;
    Status status_ = Status::Passed;
    std::uint32_t tag_ = 0;
    std::uint64_t expected_ = 0; // bytes that the host moves
    std::uint64_t wanted_ = 0;   // those of them that the command is about
    std::uint64_t moved_ = 0;    // so far
    std::uint64_t imaged_ = 0;   // bytes that the image has moved
    bool flush_ = false;         // before the status
    bool asking_ = false;        // the image works

    struct Work { // with a completion, which may come when nobody waits for it any more
        UsbDisk* owner;
        std::shared_ptr<unsigned> in_image;
        std::vector<std::uint8_t> buffer{};
    };
    std::shared_ptr<unsigned> in_image_ = std::make_shared<unsigned>(0);
    std::shared_ptr<Work> work_;
    std::size_t given_ = 0; // of the buffer
};

} // namespace escalus
