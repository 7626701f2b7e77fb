// SPDX-License-Identifier: GPL-2.0-or-later
// The flash chip, driven as OVMF and Linux' cfi_cmdset_0001 drive such chips.
#include "devmodel/devices/chipset/cfi_flash.hpp"
#include "devmodel/machine/address_space.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/manual_clock.hpp"

#include <string>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {

constexpr std::uint64_t end = 0xffc84000, size = 0x84000, base = end - size;
constexpr std::uint8_t read_array = 0xff, read_status = 0x70, clear_status = 0x50;

std::vector<std::uint8_t> erased() {
    std::vector<std::uint8_t> bytes(size, 0xff);
    bytes[0x28] = '_';
    return bytes;
}

struct Fixture {
    Fixture() { flash.reset(ResetKind::PowerOn); }

    void write(std::uint64_t offset, std::uint8_t value) {
        bus.write(base + offset, std::span<const std::uint8_t>{&value, 1});
    }
    /// As the guest reads: from memory where it is mapped, else through an exit.
    std::uint8_t read(std::uint64_t offset) {
        std::array<std::uint8_t, 1> byte{};
        if (const auto memory = space.at(GuestPhys{base + offset}, 1, Access::Read); !memory.empty())
            return memory[0];
        ++exits;
        bus.read(base + offset, byte);
        return byte[0];
    }
    [[nodiscard]] bool mapped() { return !space.at(GuestPhys{base}, size, Access::Read).empty(); }
    std::uint8_t status() {
        write(0, read_status);
        return read(0x1234);
    }
    void program(std::uint64_t offset, std::uint8_t value) {
        write(offset, 0x10);
        write(offset, value);
    }
    void buffered(std::uint64_t offset, const std::vector<std::uint8_t>& data) {
        write(offset, 0xe8);
        CHECK(read(offset) == 0x80);
        write(offset, static_cast<std::uint8_t>(data.size() - 1));
        for (std::size_t i = 0; i < data.size(); ++i)
            write(offset + i, data[i]);
        write(offset, 0xd0);
    }

    TestMemoryMap engine;
    AddressSpace space{engine};
    Bus bus{"memory", 1ull << 46};
    ManualClock clock;
    std::unique_ptr<MemoryNvram> owned = std::make_unique<MemoryNvram>(erased());
    MemoryNvram& kept = *owned;
    CfiFlash flash{bus, space, clock, end, std::move(owned)};
    unsigned exits = 0;
};

} // namespace

TEST_CASE_METHOD(Fixture, "the array is memory that can be read only, until a command changes what is read") {
    CHECK(mapped());
    CHECK(space.at(GuestPhys{base}, 1, Access::Write).empty());
    CHECK(space.at(GuestPhys{base - 1}, 1, Access::Read).empty());
    CHECK(space.at(GuestPhys{end}, 1, Access::Read).empty());
    CHECK(read(0x28) == '_');
    CHECK(exits == 0);
    write(0, read_array);
    write(0, clear_status); // these two leave the array where it is
    CHECK(mapped());
    write(0, read_status);
    CHECK(!mapped());
    write(0, read_array);
    CHECK(read(0x28) == '_');
    CHECK(exits == 1); // firmware may write on at once: mapping it again waits for some reads
    for (unsigned i = 0; i < 20; ++i)
        CHECK(read(0x28) == '_');
    CHECK(mapped());
    CHECK(exits == 16);
}

TEST_CASE_METHOD(Fixture, "OVMF finds that it is flash, neither RAM nor ROM") {
    write(0x28, clear_status);
    CHECK(read(0x28) == '_'); // RAM would have kept the command
    write(0x28, read_status);
    CHECK(read(0x28) == 0x00); // a ROM would still have its byte
    write(0x28, read_array);
    CHECK(read(0x28) == '_');
}

TEST_CASE_METHOD(Fixture, "bytes are programmed, and only erasing makes ones") {
    program(0x100, 0x5a);
    CHECK(read(0x100) == 0x80); // status until told otherwise
    program(0x101, 0xf0);
    program(0x101, 0x3f);
    write(0x101, read_array);
    CHECK(read(0x100) == 0x5a);
    CHECK(read(0x101) == 0x30);
    CHECK(kept.contents()[0x100] == 0x5a);
    CHECK(kept.contents()[0x101] == 0x30);

    write(0x0fff, 0x20);
    write(0x0fff, 0xd0);
    CHECK(status() == 0x80);
    write(0, read_array);
    CHECK(read(0x28) == 0xff);
    CHECK(read(0x101) == 0xff);
    CHECK(kept.contents()[0x28] == 0xff);
    // The neighbouring block is as it was.
    program(0x1000, 0x11);
    write(0, 0x20);
    write(0, 0xd0);
    write(0, read_array);
    CHECK(read(0x1000) == 0x11);
    // The last byte, with the other program command.
    write(size - 1, 0x40);
    write(size - 1, 0x22);
    write(0, read_array);
    CHECK(read(size - 1) == 0x22);
    CHECK(kept.contents()[size - 1] == 0x22);
}

TEST_CASE_METHOD(Fixture, "what is written is committed on the way back to the array, or soon") {
    CHECK(kept.commits == 0);
    program(5, 1);
    CHECK(kept.commits == 0);
    write(5, read_array);
    CHECK(kept.commits == 1);
    write(5, read_array);
    CHECK(kept.commits == 1);
    program(6, 1); // and a guest that stays in status mode
    clock.advance(ns_per_second / 20);
    CHECK(kept.commits == 1);
    clock.advance(ns_per_second / 20);
    CHECK(kept.commits == 2);
    program(7, 1);
    flash.reset(ResetKind::System);
    CHECK(kept.commits == 3);
    CHECK(mapped());
    CHECK(read(7) == 1);
}

TEST_CASE_METHOD(Fixture, "a buffer is written at once, or not at all") {
    std::vector<std::uint8_t> data(256);
    for (unsigned i = 0; i < data.size(); ++i)
        data[i] = static_cast<std::uint8_t>(i);
    buffered(0x2000, data);
    CHECK(status() == 0x80);
    buffered(0x2180, {1, 2, 3});
    CHECK(kept.writes == 2);
    write(0, read_array);
    for (unsigned i = 0; i < data.size(); ++i)
        CHECK(read(0x2000 + i) == data[i]);
    CHECK(read(0x217f) == 0xff);
    CHECK(read(0x2182) == 3);
    CHECK(read(0x2183) == 0xff);

    // Another write than the confirmation: nothing is programmed.
    write(0x3000, 0xe8);
    write(0x3000, 0);
    write(0x3000, 0x12);
    write(0x3000, 0xff);
    CHECK(status() == 0xb0);
    write(0, clear_status);
    // Bytes of two buffers.
    write(0x30ff, 0xe8);
    write(0x30ff, 1);
    write(0x30ff, 0x12);
    write(0x3100, 0x12);
    write(0x30ff, 0xd0);
    CHECK(status() == 0xb0);
    write(0, clear_status);
    CHECK(status() == 0);
    write(0, read_array);
    CHECK(read(0x3000) == 0xff);
    CHECK(read(0x30ff) == 0xff);
    CHECK(read(0x3100) == 0xff);
}

TEST_CASE_METHOD(Fixture, "query and identity") {
    write(0x55, 0x98);
    std::string text;
    for (const auto at : {0x10, 0x11, 0x12, 0x31, 0x32, 0x33})
        text += static_cast<char>(read(static_cast<unsigned>(at)));
    CHECK(text == "QRYPRI");
    CHECK(read(0x13) == 1);    // Intel's extended command set
    CHECK(read(0x15) == 0x31); // whose table is there
    CHECK(read(0x27) == 20);   // 2^20 is the next that holds 0x84000
    CHECK(read(0x28) == 0);    // eight bits wide
    CHECK(read(0x2a) == 8);    // 256 bytes of buffer
    CHECK(read(0x2c) == 1);
    CHECK((read(0x2d) | read(0x2e) << 8) + 1 == 132);
    CHECK((read(0x2f) | read(0x30) << 8) * 256 == 4096);
    CHECK(read(0x40) == 0);
    CHECK(read(0xfff) == 0);
    write(0, 0x90);
    CHECK(read(0) == 0x89);
    CHECK(read(1) == 0x18);
    CHECK(read(0x1002) == 0);
    write(0, 0xff);
    CHECK(read(0x28) == '_');
}

TEST_CASE_METHOD(Fixture, "a locked block keeps what it has until it is unlocked or the machine restarts") {
    write(0x1000, 0x60);
    write(0x1000, 0x01);
    CHECK(status() == 0x80);
    write(0, 0x90);
    CHECK(read(0x1002) == 1);
    CHECK(read(0x2) == 0);
    program(0x1010, 0);
    CHECK(status() == 0x92);
    write(0, clear_status);
    write(0x1000, 0x20);
    write(0x1000, 0xd0);
    CHECK(status() == 0xa2);
    write(0, clear_status);
    CHECK(kept.writes == 0);
    write(0x1000, 0x60);
    write(0x1000, 0xd0);
    program(0x1010, 0);
    CHECK(status() == 0x80);
    CHECK(kept.writes == 1);
    write(0x1000, 0x60);
    write(0x1000, 0x01);
    flash.reset(ResetKind::System);
    program(0x1011, 0);
    CHECK(status() == 0x80);
    write(0x1000, 0x60);
    write(0x1000, 0x77);
    CHECK(status() == 0xb0);
}

TEST_CASE_METHOD(Fixture, "wrong sequences say so and are over") {
    write(0, 0x20);
    write(0, 0xff);
    CHECK(status() == 0xb0);
    program(0, 0x12);
    CHECK(status() == 0xb0); // errors stay until they are cleared
    write(0, clear_status);
    CHECK(status() == 0);
    write(0, 0xb0); // suspends nothing
    CHECK(read(0) == 0x80);
    write(0, 0xd0); // resumes nothing
    CHECK(read(0) == 0x80);
    write(0, 0x33); // no command
    CHECK(read(0) == 0x12);
    CHECK(kept.contents()[0x28] == '_');
}

TEST_CASE_METHOD(Fixture, "wide accesses are byte cycles in order") {
    bus.write(base + 0x10, std::array<std::uint8_t, 2>{0x40, 0x77}); // command and, at the next byte, data
    write(0, read_array);
    CHECK(read(0x11) == 0x77);
    std::array<std::uint8_t, 8> eight{};
    bus.read(base + 0x24, eight);
    CHECK(eight[4] == '_');
    write(0, read_status);
    bus.read(base + 0x24, eight);
    CHECK(eight == std::array<std::uint8_t, 8>{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80});
}

TEST_CASE_METHOD(Fixture, "a backend that cannot keep what is written is an error of the chip's") {
    kept.broken = true;
    program(0, 0);
    CHECK(status() == 0x90);
    write(0, clear_status);
    write(0, 0x20);
    write(0, 0xd0);
    CHECK(status() == 0xa0);
}

TEST_CASE("sizes that cannot be") {
    TestMemoryMap memory;
    Bus bus{"memory", 1ull << 46};
    ManualClock clock;
    for (const std::size_t wrong : {std::size_t{0}, std::size_t{4097}, std::size_t{(16u << 20) + 4096}})
        CHECK_THROWS_AS((CfiFlash{bus, memory, clock, end,
                                  std::make_unique<MemoryNvram>(std::vector<std::uint8_t>(wrong))}),
                        std::invalid_argument);
}
