// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/port_notes.hpp"

#include <memory>

#include <catch2/catch.hpp>
#include <fmt/format.h>

using namespace escalus;

namespace {
class Log final : public BusDevice {
  public:
    void read(unsigned, std::uint64_t, std::span<std::uint8_t>) override {}
    void write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) override {
        text += fmt::format("{}:", offset);
        for (const auto byte : data)
            text += fmt::format("{:02x}", byte);
        text += ' ';
    }
    std::string text;
};

struct Fixture {
    Bus ports{"port", 0x10000};
    Log log;
    PortNotes notes;
    std::unique_ptr<abi::VcpuPage> first = std::make_unique<abi::VcpuPage>(),
                                   second = std::make_unique<abi::VcpuPage>();

    Fixture() { ports.add(0x100, 16, log, 0); }
    void post(abi::VcpuPage& page, unsigned vcpu, std::uint16_t port, std::uint8_t width,
              std::uint32_t value) const {
        page.posted[page.posted_written++ % abi::posted_writes_max] = {port, width, 0, value};
        first->posted_vcpus |= 1u << vcpu;
    }
};
} // namespace

TEST_CASE_METHOD(Fixture, "a note is in the pages of all vCPUs, also one from before they were known") {
    const auto place = abi::port_note_index(0x101);
    notes.set(0x101, abi::port_answers, 0x50);
    notes.attach({first.get(), second.get()});
    CHECK(first->port_notes[place] == abi::port_note(0x101, abi::port_answers, 0x50));
    CHECK(second->port_notes[place] == first->port_notes[place]);
    notes.set(0x101, abi::port_answers, 0x51);
    CHECK(second->port_notes[place] == abi::port_note(0x101, abi::port_answers, 0x51));
    std::uint16_t alike = 0x1000; // the same place
    while (abi::port_note_index(alike) != abi::port_note_index(0x101))
        ++alike;
    notes.set(alike, abi::port_posts); // the first one keeps the place
    notes.set(alike, 0);
    CHECK(first->port_notes[place] == abi::port_note(0x101, abi::port_answers, 0x51));
    notes.set(0x101, 0);
    CHECK(first->port_notes[place] == 0);
    notes.set(alike, abi::port_posts);
    CHECK(second->port_notes[place] == abi::port_note(alike, abi::port_posts, 0));
}

TEST_CASE_METHOD(Fixture, "writes that wait are carried out once, each vCPU's in their order") {
    notes.attach({first.get(), second.get()});
    CHECK(notes.waiting() == 0);
    post(*second, 1, 0x104, 4, 0x12345678);
    post(*first, 0, 0x101, 1, 0xabcdef01);
    post(*first, 0, 0x102, 2, 0xabcdef02);
    CHECK(notes.waiting() != 0);
    notes.carry_out(ports);
    CHECK(log.text == "1:01 2:02ef 4:78563412 ");
    CHECK(notes.waiting() == 0);
    notes.carry_out(ports);
    CHECK(log.text == "1:01 2:02ef 4:78563412 ");
    first->posted_written = first->posted_taken = 0xffffffff; // counts go round
    for (unsigned i = 0; i < abi::posted_writes_max; ++i)
        post(*first, 0, 0x103, 1, i);
    log.text.clear();
    notes.carry_out(ports);
    CHECK(log.text == "3:00 3:01 3:02 3:03 3:04 3:05 3:06 3:07 3:08 3:09 3:0a 3:0b 3:0c 3:0d 3:0e 3:0f ");
    CHECK(first->posted_taken == first->posted_written);
}
