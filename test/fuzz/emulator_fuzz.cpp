// SPDX-License-Identifier: GPL-2.0-or-later
// The instruction emulator on arbitrary instructions, task switches, modes, registers, segments and page
// tables. It must always come back with a result; a fault must be an exception the CPU has, and what is not
// supported must be described.
#include "devmodel/emulator/emulator.hpp"
#include "devmodel/machine/flat_memory.hpp"

#include <cstdlib>
#include <cstring>

namespace {
using namespace escalus;

class FuzzDevice final : public BusDevice {
  public:
    explicit FuzzDevice(std::uint64_t size) : size_{size} {}
    void read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) override {
        check(offset, data.size());
        std::memset(data.data(), 0x5a, data.size());
    }
    void write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) override {
        check(offset, data.size());
    }

  private:
    void check(std::uint64_t offset, std::size_t n) const {
        const bool width = n == 1 || n == 2 || n == 4 || n == 8;
        if (!width || offset > size_ || n > size_ - offset)
            std::abort();
    }
    std::uint64_t size_;
};

class FuzzVectors final : public VectorRegisters {
  public:
    void read(unsigned index, std::span<std::uint8_t> value) override {
        check(index, value.size());
        std::memset(value.data(), static_cast<int>(index), value.size());
    }
    void write(unsigned index, std::span<const std::uint8_t> value, bool) override {
        check(index, value.size());
    }

  private:
    static void check(unsigned index, std::size_t n) {
        if (index > 15 || n > 32)
            std::abort();
    }
};

/// Takes values off the front of the input; zeros when it is used up.
class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : data_{data}, size_{size} {}
    template <typename T>
    T take() {
        T value{};
        const std::size_t n = size_ < sizeof value ? size_ : sizeof value;
        if (n != 0)
            std::memcpy(&value, data_, n);
        data_ += n;
        size_ -= n;
        return value;
    }
    [[nodiscard]] const std::uint8_t* data() const { return data_; }
    [[nodiscard]] std::size_t size() const { return size_; }

  private:
    const std::uint8_t* data_;
    std::size_t size_;
};

/// Addresses that lead somewhere: RAM, its end, the device, the page tables, or anywhere.
std::uint64_t address(Input& in) {
    const auto kind = in.take<std::uint8_t>();
    const auto low = in.take<std::uint16_t>();
    switch (kind % 5) {
    case 0:
        return low;
    case 1:
        return 0x10000 - 8 + low % 16;
    case 2:
        return 0x20000 + low;
    case 3:
        return 0xffff'ffff'ffff'0000 + low;
    default:
        return in.take<std::uint64_t>();
    }
}
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint64_t ram_size = 0x10000, device_at = 0x20000, device_size = 0x10000, code = 0x1000;
    static FlatMemory ram{ram_size};
    static Bus memory_bus{"memory", 1ull << 46}, ports{"port", 0x10000};
    static FuzzDevice device{device_size}, port{0x10000};
    static bool plugged = false;
    if (!plugged) {
        memory_bus.add(device_at, device_size, device, 0);
        ports.add(0, 0x10000, port, 0);
        plugged = true;
    }
    static Emulator emulator{ram, memory_bus, ports};
    static FuzzVectors vectors;

    Input in{data, size};
    abi::VcpuPage page{};
    const auto mode = in.take<std::uint8_t>();
    page.cr0 = 0x10 | (mode & 1) | ((mode & 3) == 3 ? 0x80000000u : 0u);
    page.cr4 = in.take<std::uint32_t>();
    page.efer = 0x800 | ((mode & 7) == 7 ? 0x500u : 0u);
    page.cr3 = 0x4000;
    page.xcr0 = 7;
    page.rflags = 2 | in.take<std::uint32_t>();
    for (auto& gpr : page.gpr)
        gpr = address(in);
    for (auto& s : page.segment) {
        const auto shape = in.take<std::uint16_t>();
        s.attributes = static_cast<std::uint16_t>(shape | 0x93);
        s.limit = (shape & 0x100) != 0 ? 0xffffffff : 0xffff;
        s.base = (shape & 0x800) != 0 ? in.take<std::uint32_t>() : 0;
    }
    page.rip = code;
    auto memory = ram.bytes();
    std::memset(memory.data(), 0, memory.size());
    // Tables that map the low 4 MiB to themselves in every paging mode, then bent by the input.
    for (unsigned level = 0; level < 5; ++level) {
        const std::uint64_t at = 0x4000 + 0x1000ull * level;
        for (std::uint64_t i = 0; i < (level == 4 ? 512u : 4u); ++i) {
            const std::uint64_t entry = level == 4 ? i << 12 | 7 : (at + 0x1000) | 7;
            std::memcpy(&memory[at + 8 * i], &entry, sizeof entry);
        }
    }
    for (auto bends = in.take<std::uint8_t>() % 4; bends != 0; --bends) {
        const auto where = in.take<std::uint16_t>();
        memory[0x4000 + where % 0x5000] = in.take<std::uint8_t>();
    }
    const bool task_switch = (mode & 0xc0) == 0xc0, string_io = (mode & 0xc0) == 0x80;
    if (task_switch) { // with descriptors and TSSs from the input
        page.exit_reason = static_cast<std::uint32_t>(abi::ExitReason::TaskSwitch);
        page.exit.task.selector = in.take<std::uint8_t>();
        page.exit.task.source = static_cast<abi::TaskSource>(in.take<std::uint8_t>() & 3);
        page.gdtr = {code, in.take<std::uint16_t>()};
        page.next_rip = page.rip + 2;
        const auto cause = in.take<std::uint16_t>();
        page.event = {static_cast<std::uint8_t>(cause & 1), static_cast<abi::EventType>(cause >> 1 & 3),
                      static_cast<std::uint8_t>(cause >> 3 & 31), static_cast<std::uint8_t>(cause >> 8 & 1),
                      cause};
        for (std::size_t i = 0; i < in.size() && i < 0x1000; ++i)
            memory[code + i] = in.data()[i];
    } else if (string_io) {
        page.exit_reason = static_cast<std::uint32_t>(abi::ExitReason::Io);
        page.exit.io = in.take<abi::IoExit>();
        page.next_rip = page.rip + in.take<std::uint8_t>();
    } else {
        page.exit_reason = static_cast<std::uint32_t>(abi::ExitReason::Memory);
        page.exit.memory.gpa = address(in);
        page.exit.memory.write = mode >> 3 & 1;
        page.exit.memory.fetch = mode >> 4 & 1;
        page.exit.memory.page_walk = mode >> 5 & 1;
        page.exit.memory.bytes_valid = (mode & 0x40) != 0 ? in.take<std::uint8_t>() : 0;
        std::memcpy(page.exit.memory.bytes, in.data(), in.size() < 15 ? in.size() : 15);
    }
    std::memcpy(&memory[code], in.data(), in.size() < 64 ? in.size() : 64);

    const auto result = task_switch ? emulator.task_switch(page)
                        : string_io ? emulator.string_io(page)
                                    : emulator.emulate(page, &vectors);
    const bool fault = result.outcome == EmulationResult::Outcome::Fault;
    if (fault && (page.event.valid != 1 || page.event.vector > 31))
        std::abort();
    if (result.outcome == EmulationResult::Outcome::Unsupported && result.text.empty())
        std::abort();
    return 0;
}
