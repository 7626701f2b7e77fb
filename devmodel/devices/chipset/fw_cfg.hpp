// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's firmware configuration device (QEMU, docs/specs/fw_cfg.rst): how the machine hands memory map, ACPI
// tables, boot order and files to SeaBIOS and OVMF.
//
// Modelled: selector (port 0x510) and data port (0x511), the DMA interface (0x514..0x51b, big-endian) with
// read, skip, write and select, the signature, interface ID and file directory items.
// State: the selected key, the position in the item, the DMA address' high half. The items are the machine's,
// not the guest's; a guest can change only files that were added with a write callback.
#pragma once

#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/device.hpp"
#include "devmodel/machine/guest_memory.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace escalus {

class FwCfg final : public Device, public BusDevice {
  public:
    using Bytes = std::vector<std::uint8_t>;
    /// The guest wrote bytes [offset, offset + length) of the file, by DMA; `content` is the whole file.
    using Written = std::function<void(std::uint64_t offset, std::uint64_t length,
                                       std::span<const std::uint8_t> content)>;

    static constexpr std::uint16_t key_signature = 0x00, key_id = 0x01, key_file_directory = 0x19,
                                   key_first_file = 0x20;
    static constexpr std::size_t longest_file_name = 55;

    FwCfg(Bus& ports, GuestMemory& memory);
    ~FwCfg() override;

    /// A numbered item. Throws std::invalid_argument for a key in use or one kept for files.
    void add_item(std::uint16_t key, Bytes data);
    /// The same, as little-endian integers.
    void add_u16(std::uint16_t key, std::uint16_t value);
    void add_u32(std::uint16_t key, std::uint32_t value);
    void add_u64(std::uint16_t key, std::uint64_t value);
    /// A named file. Throws std::invalid_argument for a name in use, empty or longer than longest_file_name.
    void add_file(std::string name, Bytes data, Written written = {});
    /// Replaces a file's content (the next boot sees it); adds the file when it is not there.
    void set_file(std::string_view name, Bytes data);

    /// For tests and dumps: an empty span when there is no such item.
    [[nodiscard]] std::span<const std::uint8_t> item(std::uint16_t key) const;
    [[nodiscard]] std::span<const std::uint8_t> file(std::string_view name) const;

    [[nodiscard]] std::string_view name() const override { return "fw-cfg"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;
    void read_repeated(unsigned region, std::uint64_t offset, unsigned width,
                       std::span<std::uint8_t> data) override;

  private:
    struct Item {
        Bytes data;
        Written written;
    };
    [[nodiscard]] Item* selected();
    void select(std::uint16_t key);
    std::uint8_t next_byte();
    void run_dma(GuestPhys descriptor);
    bool dma_read(GuestPhys to, std::uint64_t length);
    bool dma_write(GuestPhys from, std::uint64_t length);
    void rebuild_directory();

    Bus& ports_;
    GuestMemory& memory_;
    std::map<std::uint16_t, Item> items_;
    std::map<std::string, std::uint16_t, std::less<>> files_;
    std::uint16_t key_ = 0;
    std::uint64_t position_ = 0;
    std::uint64_t dma_address_ = 0;
};

} // namespace escalus
