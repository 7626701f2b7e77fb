// SPDX-License-Identifier: GPL-2.0-or-later
// The commands of a SCSI direct-access block device, without the way they come by: SPC-2 (T10/1236D) and SBC
// (NCITS 306:1998), as far as systems ask USB disks for them.
//
// State: sense data, a pending unit attention, the lock of the medium. Data of the medium is moved by the
// transport. Missing: MODE SELECT, reservations, queueing, protection information, UNMAP.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace escalus {

struct ScsiIdentity {
    std::string vendor, product, revision, serial; ///< 8, 16 and 4 printable ASCII characters are used
    bool removable = false;
};

/// What a command comes to.
struct ScsiTask {
    enum class Work : std::uint8_t {
        Fail,  ///< CHECK CONDITION; REQUEST SENSE tells why
        None,  ///< GOOD, without data
        Reply, ///< `reply` goes to the initiator
        Read,  ///< `bytes` of the medium from `offset` on do
        Write, ///< come from it, and `flush` when on stable storage
        Flush, ///< everything written is to be on stable storage
    };
    Work work = Work::None;
    std::vector<std::uint8_t> reply;
    std::uint64_t offset = 0, bytes = 0;
    bool flush = false;
};

class ScsiDisk {
  public:
    static constexpr unsigned block_bytes = 512;

    /// `bytes`: of the medium; a last block that is not whole is left out.
    ScsiDisk(ScsiIdentity identity, std::uint64_t bytes, bool read_only);

    /// Power-on or a hard reset: the next command but for a few is told of it.
    void reset();
    /// `command` is the command descriptor block; bytes beyond its end count as zeros.
    [[nodiscard]] ScsiTask execute(unsigned lun, std::span<const std::uint8_t> command);
    /// The medium failed while the last task was carried out.
    void medium_failed(bool writing);
    [[nodiscard]] bool locked() const { return locked_; }

  private:
    struct Sense {
        std::uint8_t key = 0, code = 0, qualifier = 0;
    };
    struct Block { // a command descriptor block, padded
        std::uint8_t bytes[16];
        [[nodiscard]] std::uint32_t get16(unsigned at) const;
        [[nodiscard]] std::uint32_t get32(unsigned at) const;
        [[nodiscard]] std::uint64_t get64(unsigned at) const;
    };

    ScsiTask fail(Sense sense);
    static ScsiTask reply(std::vector<std::uint8_t> data, std::size_t allocated);
    ScsiTask run(const Block& block);
    ScsiTask request_sense(const Block& block);
    ScsiTask inquiry(const Block& block, unsigned lun);
    ScsiTask vital_product_data(const Block& block);
    ScsiTask mode_sense(const Block& block, bool long_form);
    ScsiTask read_format_capacities(const Block& block);
    ScsiTask read_capacity(bool long_form, std::size_t allocated);
    ScsiTask transfer(ScsiTask::Work work, std::uint64_t lba, std::uint64_t blocks, bool flush = false);

    ScsiIdentity identity_;
    std::uint64_t blocks_;
    bool read_only_;
    Sense sense_;
    bool attention_ = true;
    bool locked_ = false;
};

} // namespace escalus
