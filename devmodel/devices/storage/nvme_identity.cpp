// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/nvme_identity.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <string_view>

#include <fmt/format.h>

namespace escalus::nvme {

namespace {
constexpr std::string_view model = "Escalus NVMe Disk", revision = "1.0";

class Structure {
  public:
    explicit Structure(std::size_t size) : bytes_(size) {}
    void byte(std::size_t at, unsigned value) { bytes_[at] = static_cast<std::uint8_t>(value); }
    void word(std::size_t at, unsigned value) { store_le(bytes_, at, static_cast<std::uint16_t>(value)); }
    void dword(std::size_t at, std::uint32_t value) { store_le(bytes_, at, value); }
    void qword(std::size_t at, std::uint64_t value) { store_le(bytes_, at, value); }
    /// Printable ASCII, padded.
    void text(std::size_t at, std::size_t size, std::string_view value, char padding = ' ') {
        for (std::size_t i = 0; i < size; ++i)
            byte(at + i, static_cast<unsigned char>(
                             i < value.size() && value[i] >= ' ' && value[i] <= '~' ? value[i] : padding));
    }
    [[nodiscard]] std::vector<std::uint8_t> take() { return std::move(bytes_); }

  private:
    std::vector<std::uint8_t> bytes_;
};

std::string uuid_text(const std::array<std::uint8_t, 16>& uuid) {
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); ++i)
        text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
    return text;
}
} // namespace

std::vector<std::uint8_t> identify_controller(const Identity& identity, bool trims) {
    Structure s{identify_bytes};
    s.word(0, pci_vendor);
    s.word(2, pci_subsystem_vendor);
    s.text(4, 20, identity.serial);
    s.text(24, 40, model);
    s.text(64, 8, revision);
    s.byte(72, 6);              // recommended arbitration burst
    s.byte(77, transfer_shift); // MDTS
    s.dword(80, version);
    s.byte(111, 1);                       // an I/O controller
    s.byte(258, most_aborts - 1);         // ACL
    s.byte(259, most_event_requests - 1); // AERL
    s.byte(260, 0x03);                    // one firmware slot, read only
    s.byte(261, 0x05);                    // health log also of the namespace, log pages by offset
    s.byte(262, error_log_entries - 1);
    s.word(266, 343); // warning and critical temperature
    s.word(268, 373);
    s.byte(512, 0x66);                // submission queue entries of 64 bytes
    s.byte(513, 0x44);                // completion queue entries of 16
    s.dword(516, 1);                  // namespaces
    s.word(520, trims ? 0x0d : 0x01); // compare; dataset management and write zeroes
    s.byte(525, 0x07);                // a volatile write cache; flush of all namespaces is possible
    s.text(768, 256, fmt::format("nqn.2014-08.org.nvmexpress:uuid:{}", uuid_text(identity.uuid)), '\0');
    s.word(2048, 2500); // power state 0: 25 W
    return s.take();
}

std::vector<std::uint8_t> identify_namespace(std::uint64_t blocks, bool read_only) {
    constexpr unsigned page_blocks = 4096 >> block_shift, chunk_blocks = 131072 >> block_shift;
    Structure s{identify_bytes};
    s.qword(0, blocks);
    s.qword(8, blocks);
    s.qword(16, blocks);
    s.byte(24, 0x10);                             // what is optimal is told below
    s.byte(33, 0x08);                             // write zeroes can deallocate
    for (const std::size_t at : {64, 66, 68, 70}) // granularity and alignment of writes and deallocation
        s.word(at, page_blocks - 1);
    s.word(72, chunk_blocks - 1);
    s.byte(99, read_only ? 1 : 0);
    s.byte(128 + 2, block_shift); // format 0, the one in use
    return s.take();
}

std::vector<std::uint8_t> active_namespaces(std::uint32_t after) {
    Structure s{identify_bytes};
    if (after == 0)
        s.dword(0, 1);
    return s.take();
}

std::vector<std::uint8_t> namespace_descriptors(const Identity& identity) {
    Structure s{identify_bytes};
    s.byte(0, 3); // a UUID
    s.byte(1, 16);
    for (std::size_t i = 0; i < identity.uuid.size(); ++i)
        s.byte(4 + i, identity.uuid[i]);
    return s.take();
}

std::vector<std::uint8_t> health_log(const Health& health) {
    constexpr std::uint64_t unit = 1000; // of 512 bytes, rounded up
    Structure s{512};
    s.byte(0, health.critical_warning);
    s.word(1, kelvin);
    s.byte(3, 100); // spare
    s.byte(4, 10);
    s.qword(32, (health.blocks_read + unit - 1) / unit);
    s.qword(48, (health.blocks_written + unit - 1) / unit);
    s.qword(64, health.reads);
    s.qword(80, health.writes);
    s.qword(112, 1); // power cycles
    s.qword(128, health.hours);
    s.qword(144, health.unsafe_shutdowns);
    s.qword(160, health.media_errors);
    s.qword(176, health.errors);
    return s.take();
}

std::vector<std::uint8_t> firmware_log() {
    Structure s{512};
    s.byte(0, 1); // slot 1 is active
    s.text(8, 8, revision);
    return s.take();
}

} // namespace escalus::nvme
