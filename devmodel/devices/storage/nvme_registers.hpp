// SPDX-License-Identifier: GPL-2.0-or-later
// Registers, commands and status codes of NVM Express 1.4.
#pragma once

#include <array>
#include <cstdint>

namespace escalus::nvme {

// Controller registers (3.1).
inline constexpr unsigned reg_cap = 0x00, reg_vs = 0x08, reg_intms = 0x0c, reg_intmc = 0x10, reg_cc = 0x14,
                          reg_csts = 0x1c, reg_aqa = 0x24, reg_asq = 0x28, reg_acq = 0x30, doorbells = 0x1000;
inline constexpr std::uint32_t version = 0x00010400;

// Controller configuration (3.1.5) and status (3.1.6).
inline constexpr std::uint32_t cc_enable = 1, cc_command_set = 7u << 4, cc_page_size = 15u << 7,
                               cc_arbitration = 7u << 11, cc_shutdown = 3u << 14, cc_known = 0x00fffff1;
inline constexpr std::uint32_t csts_ready = 1, csts_fatal = 2, csts_shutting_down = 1u << 2,
                               csts_shut_down = 2u << 2, csts_shutdown = 3u << 2;

enum AdminCommand : std::uint8_t {
    delete_sq = 0x00,
    create_sq = 0x01,
    get_log_page = 0x02,
    delete_cq = 0x04,
    create_cq = 0x05,
    identify = 0x06,
    abort_command = 0x08,
    set_features = 0x09,
    get_features = 0x0a,
    async_event_request = 0x0c,
};

enum NvmCommand : std::uint8_t {
    flush = 0x00,
    write = 0x01,
    read = 0x02,
    compare = 0x05,
    write_zeroes = 0x08,
    dataset_management = 0x09,
};

enum Feature : std::uint8_t {
    arbitration = 0x01,
    power_management = 0x02,
    temperature_threshold = 0x04,
    error_recovery = 0x05,
    write_cache = 0x06,
    queue_count = 0x07,
    interrupt_coalescing = 0x08,
    interrupt_vector = 0x09,
    write_atomicity = 0x0a,
    event_configuration = 0x0b,
};

enum LogPage : std::uint8_t { log_errors = 1, log_health = 2, log_firmware = 3 };

/// Status code type and status code (4.6.1), as they stand in the status field.
enum class Status : std::uint16_t {
    Success = 0x000,
    InvalidOpcode = 0x001,
    InvalidField = 0x002,
    DataTransferError = 0x004,
    InternalError = 0x006,
    InvalidNamespace = 0x00b,
    SequenceError = 0x00c,
    InvalidPrpOffset = 0x013,
    WriteProtected = 0x020,
    LbaOutOfRange = 0x080,
    CapacityExceeded = 0x081,
    InvalidCompletionQueue = 0x100,
    InvalidQueueId = 0x101,
    InvalidQueueSize = 0x102,
    TooManyEventRequests = 0x105,
    InvalidVector = 0x108,
    InvalidLogPage = 0x109,
    InvalidQueueDeletion = 0x10c,
    FeatureNotSaveable = 0x10d,
    FeatureNotChangeable = 0x10e,
    WriteFault = 0x280,
    UnrecoveredRead = 0x281,
    CompareFailure = 0x285,
};
inline constexpr std::uint16_t status_more = 0x2000, status_do_not_retry = 0x4000;

inline constexpr std::uint32_t every_namespace = 0xffffffff;
inline constexpr unsigned command_bytes = 64, completion_bytes = 16, identify_bytes = 4096;

/// A submission queue entry (4.2).
struct Command {
    std::uint8_t opcode = 0;
    bool plain = true; ///< neither fused nor with scatter-gather lists
    std::uint16_t id = 0;
    std::uint32_t nsid = 0;
    std::uint64_t prp1 = 0, prp2 = 0;
    std::array<std::uint32_t, 6> words{}; ///< command dwords 10 to 15

    [[nodiscard]] std::uint32_t dword(unsigned n) const { return words[n - 10]; }
    [[nodiscard]] std::uint64_t lba() const { return words[0] | std::uint64_t{words[1]} << 32; }
};

} // namespace escalus::nvme
