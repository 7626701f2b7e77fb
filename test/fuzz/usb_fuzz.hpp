// SPDX-License-Identifier: GPL-2.0-or-later
// What the fuzz targets of USB controllers share: a keyboard, a tablet and a disk that can be plugged in,
// guest memory, and what happens to all of them whatever the controller is.
#pragma once

#include "devmodel/backends/block/memory_backend.hpp"
#include "devmodel/devices/usb/usb_disk.hpp"
#include "devmodel/devices/usb/usb_hub.hpp"
#include "devmodel/devices/usb/usb_keyboard.hpp"
#include "devmodel/devices/usb/usb_tablet.hpp"
#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "devmodel/machine/pci.hpp"
#include "test/fuzz/fuzz_input.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

namespace escalus::fuzz {

struct UsbMachine {
    static constexpr GuestTime ms = ns_per_second / 1000;
    static constexpr std::size_t disk_command_bytes = 31; // the command block wrapper (Bulk-Only 1.0, 5.1)

    explicit UsbMachine(std::size_t memory_bytes) : memory{memory_bytes} {}

    std::unique_ptr<UsbDevice> make_keyboard() {
        auto owned = std::make_unique<UsbKeyboard>(clock);
        keyboard = owned.get();
        return owned;
    }
    std::unique_ptr<UsbDevice> make_tablet() {
        auto owned = std::make_unique<UsbTablet>(clock);
        tablet = owned.get();
        return owned;
    }
    std::unique_ptr<UsbDevice> make_disk() {
        auto medium = std::make_unique<MemoryBackend>(400 * 512 + 100);
        backend = medium.get();
        return std::make_unique<UsbDisk>(std::move(medium), "0123456789AB");
    }

    static void config(PciFunction& card, unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> data{};
        store_le(data, 0, value);
        card.config_write(offset, data);
    }
    template <typename T>
    static void write(Bus& bus, std::uint64_t at, T value) {
        std::array<std::uint8_t, sizeof value> data{};
        store_le(data, 0, value);
        bus.write(at, data);
    }
    void put(std::uint32_t at, std::uint32_t value) { store_le(memory.bytes(), at, value); }
    void put64(std::uint32_t at, std::uint64_t value) { store_le(memory.bytes(), at, value); }

    /// A command for the disk that means something, but for what the input says.
    void fill_disk_command(std::uint32_t at, Input& in) {
        constexpr std::array<std::uint8_t, 8> codes{0x28, 0x2a, 0x12, 0x1a, 0x35, 0x25, 0x5a, 0x03};
        const auto how = in.byte();
        auto m = memory.bytes().subspan(at, disk_command_bytes);
        std::ranges::fill(m, std::uint8_t{0});
        store_le(m, 0, std::uint32_t{0x43425355});
        store_le(m, 8, in.byte() * 64u + (how & 1));
        m[12] = (how & 2) != 0 ? 0x80 : 0;
        m[13] = (how & 0x40) != 0 ? 1 : 0;
        m[14] = 16;
        m[15] = (how & 4) != 0 ? in.byte() : codes[how >> 3 & 7];
        m[16] = in.byte();
        m[17] = in.byte() & 0x83;
        m[20] = in.byte();
        m[23] = in.byte() & 15;
    }
    /// Operations 9 to 12 and 14.
    void common(PciFunction& card, std::uint8_t op, std::uint8_t selector, Input& in) {
        switch (op & 15) {
        case 9:
            clock.advance(selector * (ms / 8));
            break;
        case 10:
            backend->deferred = (selector & 1) != 0;
            if ((selector & 2) != 0)
                backend->bad_offset = in.byte() * 512u;
            break;
        case 11:
            backend->complete_one();
            break;
        case 12: {
            const auto value = in.byte();
            card.config_write(selector, {&value, 1});
            break;
        }
        case 14:
            keyboard->key(selector, (op & 0x10) != 0);
            tablet->place(selector * 100u, op * 100u, static_cast<int>(op >> 6) - 1, selector & 7u);
            break;
        default:
            break;
        }
    }

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory;
    ManualClock clock;
    MemoryBackend* backend = nullptr; // of the disk
    UsbKeyboard* keyboard = nullptr;
    UsbTablet* tablet = nullptr;
};

} // namespace escalus::fuzz
