// SPDX-License-Identifier: GPL-2.0-or-later
// An NVM Express controller with one namespace, a disk image.
//
// NVM Express Base Specification 1.4. Drivers know such functions by their class (01 08 02); the number is
// that of the virtual one that they have known longest (1b36:0010). State: controller registers, queues and
// how far each side of them is, commands under way, outstanding event requests, features, error log, health
// counters. Interrupts by wire or MSI-X. Blocks of 512 bytes; a volatile write cache that can be switched
// off. Commands of all queues run at once, up to a limit; they are fetched in turn (round robin).
//
// nvme.cpp has registers and life, nvme_queues.cpp queues and interrupts, nvme_admin.cpp and
// nvme_features.cpp the admin commands, nvme_io.cpp those of the NVM command set.
//
// Missing: scatter-gather lists, metadata, several namespaces and their management, firmware download,
// format, sanitize, reservations, shadow doorbells, a 64-bit BAR; an abort finds every command begun.
#pragma once

#include "devmodel/devices/storage/disk_requests.hpp"
#include "devmodel/devices/storage/nvme_identity.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/msix.hpp"
#include "devmodel/machine/pci.hpp"

namespace escalus {

class Nvme final : public PciFunction {
  public:
    static constexpr unsigned most_queues = 16;         ///< for I/O, of each kind
    static constexpr std::uint32_t most_entries = 1024; ///< in each of them
    static constexpr unsigned register_bar = 0;
    static constexpr std::uint64_t bar_bytes = 0x4000, msix_page = 0x2000; ///< the latter in that BAR

    Nvme(PciSpaces spaces, GuestMemory& memory, Clock& clock, std::unique_ptr<BlockBackend> image,
         nvme::Identity identity);

    [[nodiscard]] std::string_view name() const override { return "nvme"; }
    void reset(ResetKind kind) override;
    void pause() override;
    void resume() override;
    void config_write(unsigned offset, std::span<const std::uint8_t> data) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    using Command = nvme::Command;
    using Status = nvme::Status;
    struct SubmissionQueue {
        std::uint64_t base = 0;
        std::uint32_t entries = 0, head = 0, tail = 0;
        std::uint16_t completions = 0; // the queue that they go to
        unsigned under_way = 0;
        std::optional<std::uint16_t> deleter; // the command that waits for the last one
    };
    struct Posted {
        std::uint16_t queue, command;
        std::uint16_t status; // with its flags
        std::uint32_t result;
    };
    struct CompletionQueue {
        std::uint64_t base = 0;
        std::uint32_t entries = 0, head = 0, tail = 0;
        bool phase = true;
        std::uint16_t vector = 0;
        bool interrupts = false, news = false;
        std::deque<Posted> waiting; // the driver has left no room
        [[nodiscard]] bool empty() const { return head == tail; }
        [[nodiscard]] bool full() const { return (tail + 1) % entries == head; }
    };
    /// What an admin command has come to; nothing when it ends later.
    struct Answer {
        Status status = Status::Success;
        std::uint32_t result = 0;
    };
    using Outcome = std::optional<Answer>;

    [[nodiscard]] bool messages_enabled() const override { return msix_.enabled(); }

    // Registers.
    [[nodiscard]] std::uint32_t read_register(unsigned offset) const;
    void write_register(unsigned offset, std::uint32_t value);
    void write_configuration(std::uint32_t value);
    void enable();
    void disable();
    void shut_down();
    void fail() { csts_ |= nvme::csts_fatal; }

    // Queues.
    [[nodiscard]] bool running() const;
    void ring(unsigned doorbell, std::uint32_t value);
    void serve();
    bool fetch(std::uint16_t queue);
    void complete(std::uint16_t queue, std::uint16_t command, Status status, std::uint32_t result = 0,
                  bool logged = false);
    void finish_deletion(std::uint16_t queue);
    void post(std::uint16_t index, const Posted& posted);
    void write_entry(CompletionQueue& queue, const Posted& posted);
    void tell_driver();

    // Admin commands.
    void admin(const Command& command);
    Outcome run_admin(const Command& command);
    Outcome create_completions(const Command& command);
    Outcome create_submissions(const Command& command);
    Outcome delete_completions(const Command& command);
    Outcome delete_submissions(const Command& command);
    Outcome tell_identity(const Command& command);
    Outcome tell_log(const Command& command);
    Outcome set_feature(const Command& command);
    Outcome get_feature(const Command& command);
    Outcome set_write_cache(const Command& command);
    Outcome request_event(const Command& command);
    Outcome give(const Command& command, std::span<const std::uint8_t> data);
    [[nodiscard]] std::vector<std::uint8_t> error_log() const;
    void report_event(unsigned type, unsigned information, nvme::LogPage log);
    void send_events();
    void look_at_temperature();
    void default_features();

    // I/O commands.
    void run_io(std::uint16_t queue, const Command& command);
    Status prepare(const Command& command, DiskRequest& request);
    Status prepare_transfer(const Command& command, DiskRequest& request);
    Status prepare_zeroes(const Command& command, DiskRequest& request);
    Status prepare_ranges(const Command& command, DiskRequest& request);
    void finish_io(std::uint16_t queue, const Command& command, const DiskRequest& request,
                   DiskRequest::Outcome outcome);
    void fail_io(std::uint16_t queue, const Command& command, Status status);
    [[nodiscard]] bool in_image(std::uint64_t lba, std::uint64_t blocks) const;
    [[nodiscard]] std::uint64_t blocks() const { return image_->size() >> nvme::block_shift; }

    GuestMemory& memory_;
    Clock& clock_;
    std::unique_ptr<BlockBackend> image_;
    nvme::Identity identity_;
    MsixTable msix_;
    DiskRequests requests_;
    Timer later_; // more commands came than one call serves

    std::uint32_t cc_ = 0, csts_ = 0, masked_ = 0, aqa_ = 0;
    std::uint64_t asq_ = 0, acq_ = 0;
    std::uint32_t page_bytes_ = 4096;
    std::array<std::optional<SubmissionQueue>, most_queues + 1> submissions_;
    std::array<std::optional<CompletionQueue>, most_queues + 1> completions_;
    bool paused_ = false, serving_ = false;

    // Features.
    std::array<std::uint32_t, 16> features_{}; // by identifier
    std::array<std::uint32_t, most_queues + 1> vector_features_{};
    std::uint16_t over_temperature_ = 0, under_temperature_ = 0;
    unsigned submissions_granted_ = most_queues, completions_granted_ = most_queues;
    bool write_back_ = true;

    struct Event {
        std::uint32_t result;
        unsigned type;
    };
    std::deque<std::uint16_t> event_requests_; // commands that wait for one
    std::deque<Event> events_;
    std::uint32_t masked_events_ = 0; // types that a log page must be read for first
    struct Failure {
        std::uint64_t count, lba;
        std::uint16_t queue, command, status;
        std::uint32_t nsid;
    };
    std::deque<Failure> failures_; // newest first
    nvme::Health health_;
};

} // namespace escalus
