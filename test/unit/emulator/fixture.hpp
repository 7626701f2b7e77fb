// SPDX-License-Identifier: GPL-2.0-or-later
// A small PC to execute instructions on: RAM with a hole, a ROM, a device in memory and one on a port.
#pragma once

#include "devmodel/emulator/cpu_state.hpp"
#include "devmodel/emulator/emulator.hpp"

#include <cstring>
#include <initializer_list>
#include <vector>

namespace escalus::test {

/// RAM from 0 to 0xa0000 and from 1 MiB to 2 MiB, ROM from 0xf0000 to 1 MiB.
class PcMemory final : public GuestMemory {
  public:
    static constexpr std::uint64_t hole = 0xa0000, rom = 0xf0000, high = 0x100000, end = 0x200000;
    [[nodiscard]] std::span<std::uint8_t> at(GuestPhys gpa, std::uint64_t size, Access access) override {
        const auto inside = [&](std::uint64_t from, std::uint64_t to) {
            return raw(gpa) >= from && raw(gpa) < to && size <= to - raw(gpa);
        };
        if (inside(0, hole) || inside(high, end) || (inside(rom, high) && access == Access::Read))
            return std::span{bytes}.subspan(raw(gpa), size);
        return {};
    }
    std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(end);
};

/// Registers that keep what is written, and a record of the accesses.
class Scratch final : public BusDevice {
  public:
    struct Touch {
        bool write;
        std::uint64_t offset;
        std::size_t size;
        bool operator==(const Touch&) const = default;
    };
    explicit Scratch(std::size_t size) : bytes(size) {}
    void read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) override {
        touches.push_back({false, offset, data.size()});
        std::memcpy(data.data(), bytes.data() + offset, data.size());
    }
    void write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) override {
        touches.push_back({true, offset, data.size()});
        std::memcpy(bytes.data() + offset, data.data(), data.size());
    }
    std::vector<std::uint8_t> bytes;
    std::vector<Touch> touches;
};

/// A port that counts up when read, and remembers what is written.
class CountingPort final : public BusDevice {
  public:
    void read(unsigned, std::uint64_t, std::span<std::uint8_t> data) override {
        for (auto& byte : data)
            byte = next++;
    }
    void write(unsigned, std::uint64_t, std::span<const std::uint8_t> data) override {
        written.insert(written.end(), data.begin(), data.end());
    }
    void read_repeated(unsigned region, std::uint64_t offset, unsigned width,
                       std::span<std::uint8_t> data) override {
        ++bulk_calls;
        BusDevice::read_repeated(region, offset, width, data);
    }
    void write_repeated(unsigned region, std::uint64_t offset, unsigned width,
                        std::span<const std::uint8_t> data) override {
        ++bulk_calls;
        BusDevice::write_repeated(region, offset, width, data);
    }
    std::uint8_t next = 0;
    unsigned bulk_calls = 0;
    std::vector<std::uint8_t> written;
};

/// XMM/YMM registers in memory.
class Vectors final : public VectorRegisters {
  public:
    void read(unsigned index, std::span<std::uint8_t> value) override {
        std::memcpy(value.data(), reg[index], value.size());
    }
    void write(unsigned index, std::span<const std::uint8_t> value, bool zero_upper) override {
        if (zero_upper)
            std::memset(reg[index], 0, sizeof reg[index]);
        std::memcpy(reg[index], value.data(), value.size());
    }
    std::uint32_t pkru() override { return keys; }
    std::uint8_t reg[16][32] = {};
    std::uint32_t keys = 0;
};

using Outcome = EmulationResult::Outcome;

struct Pc {
    static constexpr std::uint64_t device_gpa = 0xa0000; ///< 128 KiB, as VGA's
    static constexpr std::uint64_t tables_gpa = 0x180000;
    static constexpr std::uint64_t code = 0x7c00;
    static constexpr std::uint16_t port = 0x1f0;

    explicit Pc(const EmulatorOptions& options = {}) : emulator{memory, memory_bus, port_bus, options} {
        memory_bus.add(device_gpa, device.bytes.size(), device, 0);
        port_bus.add(port, 8, ports, 0);
        real_mode();
    }

    static constexpr std::uint16_t data_rights = 0x93, code_rights = 0x9b, big = 0x400, long_code = 0x200;

    void segments(std::uint16_t attributes, std::uint32_t limit, std::uint16_t code_attributes) {
        for (auto& s : page.segment)
            s = {.selector = 8, .attributes = attributes, .limit = limit, .base = 0};
        page.segment[abi::seg_cs].attributes = code_attributes;
    }
    void user(bool on) {
        for (auto i : {abi::seg_ss, abi::seg_cs})
            page.segment[i].attributes =
                static_cast<std::uint16_t>((page.segment[i].attributes & ~0x60) | (on ? 0x60 : 0));
    }
    void real_mode() {
        page = {};
        page.rflags = 2;
        page.cr0 = 0x10;
        segments(data_rights, 0xffff, code_rights);
    }
    void protected_mode(unsigned bits) {
        page = {};
        page.rflags = 2;
        page.cr0 = 0x11;
        const std::uint16_t size = bits == 32 ? big : std::uint16_t{0};
        segments(data_rights | size, bits == 32 ? 0xffffffff : 0xffff, code_rights | size);
    }
    /// 4-level paging with nothing mapped.
    void long_mode() {
        page = {};
        page.rflags = 2;
        page.cr0 = 0x80000011;
        page.cr4 = emulation::control::cr4_pae;
        page.efer = 0xd00; // LME, LMA, NXE
        segments(data_rights, 0xffffffff, code_rights | long_code);
        page.cr3 = tables_gpa;
        next_table = tables_gpa + 4096;
        std::memset(&memory.bytes[tables_gpa], 0, PcMemory::end - tables_gpa);
    }

    std::uint64_t entry(std::uint64_t at) const {
        std::uint64_t value = 0;
        std::memcpy(&value, &memory.bytes[at], 8);
        return value;
    }
    void set_entry(std::uint64_t at, std::uint64_t value) { std::memcpy(&memory.bytes[at], &value, 8); }
    /// Where the entry of `linear` at `level` (1 is the PTE) lies; makes the tables above it.
    std::uint64_t entry_address(std::uint64_t linear, unsigned level = 1) {
        std::uint64_t table = page.cr3;
        for (unsigned l = (page.cr4 & emulation::control::cr4_la57) != 0 ? 5 : 4;; --l) {
            const std::uint64_t at = table + (linear >> (12 + 9 * (l - 1)) & 511) * 8;
            if (l == level)
                return at;
            if (entry(at) == 0) {
                set_entry(at, next_table | 7);
                next_table += 4096;
            }
            table = entry(at) & 0xffffffffff000;
        }
    }
    void map(std::uint64_t linear, std::uint64_t gpa, std::uint64_t bits = 7) {
        set_entry(entry_address(linear), gpa | bits);
    }

    void poke(std::uint64_t gpa, std::initializer_list<std::uint8_t> data) {
        std::copy(data.begin(), data.end(), memory.bytes.begin() + static_cast<std::ptrdiff_t>(gpa));
    }
    /// Puts the bytes at linear (without paging) or physical `code`, and RIP there.
    void put(std::span<const std::uint8_t> bytes) {
        std::memset(&memory.bytes[code], 0x90, 32);
        std::copy(bytes.begin(), bytes.end(), memory.bytes.begin() + code);
        page.rip = code;
        page.event = {};
        page.dirty = 0;
        device.touches.clear();
    }
    EmulationResult run(std::span<const std::uint8_t> bytes) {
        put(bytes);
        return emulator.emulate(page, vectors_present ? &vectors : nullptr);
    }
    EmulationResult run(std::initializer_list<std::uint8_t> bytes) {
        return run(std::span{bytes.begin(), bytes.size()});
    }
    /// Makes the next run() one for an exit that the CPU took for this address.
    void memory_exit(std::uint64_t gpa, bool write) {
        page.exit_reason = static_cast<std::uint32_t>(abi::ExitReason::Memory);
        page.exit.memory = {};
        page.exit.memory.gpa = gpa;
        page.exit.memory.write = write ? 1 : 0;
    }
    /// Whether the last run put this fault into the page.
    [[nodiscard]] bool raised(std::uint8_t vector, std::optional<std::uint32_t> error = {}) const {
        return page.event.valid == 1 && page.event.type == abi::EventType::Exception &&
               page.event.vector == vector && (page.event.has_error_code != 0) == error.has_value() &&
               page.event.error_code == error.value_or(0);
    }
    template <typename T>
    [[nodiscard]] T device_value(std::uint64_t offset) const {
        T value{};
        std::memcpy(&value, &device.bytes[offset], sizeof value);
        return value;
    }
    template <typename T>
    void set_device(std::uint64_t offset, T value) {
        std::memcpy(&device.bytes[offset], &value, sizeof value);
    }

    PcMemory memory;
    Bus memory_bus{"memory", 1ull << 46};
    Bus port_bus{"port", 0x10000};
    Scratch device{0x20000};
    CountingPort ports;
    Vectors vectors;
    bool vectors_present = true;
    std::uint64_t next_table = 0;
    abi::VcpuPage page{};
    Emulator emulator;
};

} // namespace escalus::test
