// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/guest/port_notes.hpp"

#include <memory>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::vmm;

namespace {
struct Guest {
    std::unique_ptr<abi::VcpuPage> first = std::make_unique<abi::VcpuPage>(),
                                   second = std::make_unique<abi::VcpuPage>();
    Vcpu vcpu, other;
    bool steps = false;

    Guest() {
        vcpu.page = first.get();
        other.page = second.get();
        other.index = 1;
        vcpu.posted_vcpus = other.posted_vcpus = &first->posted_vcpus;
    }
    void note(std::uint16_t port, std::uint32_t flags, std::uint8_t answer = 0) {
        for (auto* page : {first.get(), second.get()})
            page->port_notes[abi::port_note_index(port)] = abi::port_note(port, flags, answer);
    }
    bool in(Vcpu& by, std::uint16_t port, std::uint64_t& rax, std::uint8_t width = 1) {
        return serve_port(by, port, width, true, rax, [&] { return steps; });
    }
    bool out(Vcpu& by, std::uint16_t port, std::uint64_t value, std::uint8_t width = 1) {
        return serve_port(by, port, width, false, value, [&] { return steps; });
    }
};
} // namespace

TEST_CASE_METHOD(Guest, "a port without a note is the device model's") {
    std::uint64_t rax = 0x1234;
    CHECK_FALSE(in(vcpu, 0x1f7, rax));
    CHECK_FALSE(out(vcpu, 0x1f2, 1));
    CHECK_FALSE(in(vcpu, 0, rax)); // an empty note is none for port 0
    note(0x1f7, abi::port_answers, 0x50);
    CHECK_FALSE(out(vcpu, 0x1f7, 1)); // it may be read only
    note(0x1f2, abi::port_posts);
    CHECK_FALSE(in(vcpu, 0x1f2, rax));
    std::uint16_t alike = 0x1000; // the same place
    while (abi::port_note_index(alike) != abi::port_note_index(0x1f7))
        ++alike;
    CHECK_FALSE(in(vcpu, alike, rax));
    CHECK(rax == 0x1234);
}

TEST_CASE_METHOD(Guest, "a byte is answered, and the rest of the register left alone") {
    note(0x1f7, abi::port_answers, 0x50);
    std::uint64_t rax = 0x1122334455667788;
    CHECK(in(vcpu, 0x1f7, rax));
    CHECK(rax == 0x1122334455667750);
    CHECK_FALSE(in(vcpu, 0x1f7, rax, 2));
    CHECK_FALSE(in(vcpu, 0x1f7, rax, 4));
    steps = true; // the exception behind it is the device model's
    CHECK_FALSE(in(vcpu, 0x1f7, rax));
}

TEST_CASE_METHOD(Guest, "writes wait in their order until there is no room, and no read passes them") {
    note(0x1f2, abi::port_posts);
    note(0xc004, abi::port_posts_long);
    note(0x1f7, abi::port_answers, 0x50);
    std::uint64_t rax = 0;
    CHECK_FALSE(out(vcpu, 0xc004, 1)); // only by the width of the note
    CHECK_FALSE(out(vcpu, 0x1f2, 1, 2));
    CHECK_FALSE(out(vcpu, 0x1f2, 1, 4));
    CHECK(out(vcpu, 0xc004, 0xffffffff'12345678, 4));
    for (unsigned i = 1; i < abi::posted_writes_max; ++i)
        CHECK(out(vcpu, 0x1f2, i));
    CHECK_FALSE(out(vcpu, 0x1f2, 99));
    CHECK(first->posted_written == abi::posted_writes_max);
    CHECK(first->posted_vcpus == 1);
    CHECK((first->posted[0].port == 0xc004 && first->posted[0].width == 4 &&
           first->posted[0].value == 0x12345678));
    CHECK((first->posted[3].port == 0x1f2 && first->posted[3].width == 1 && first->posted[3].value == 3));
    CHECK_FALSE(in(vcpu, 0x1f7, rax));
    CHECK_FALSE(in(other, 0x1f7, rax)); // nor one of another vCPU
    CHECK(out(other, 0x1f2, 5));
    CHECK(first->posted_vcpus == 3);

    first->posted_vcpus = 0;
    first->posted_taken = 1;
    CHECK(in(other, 0x1f7, rax));
    CHECK(out(vcpu, 0x1f2, 100));
    CHECK(first->posted[0].value == 100);
}

TEST_CASE_METHOD(Guest, "whatever the device model writes there, the monitor stays within the page") {
    note(0x1f2, abi::port_posts);
    for (const std::uint32_t written : {0u, 1u, 15u, 16u, 0x7fffffffu, 0xfffffff0u, 0xffffffffu})
        for (const std::uint32_t behind : {0u, 1u, 15u, 16u, 17u, 0x80000000u}) {
            first->posted_written = written;
            first->posted_taken = written - behind;
            CHECK(out(vcpu, 0x1f2, 7) == (behind < abi::posted_writes_max));
        }
}
