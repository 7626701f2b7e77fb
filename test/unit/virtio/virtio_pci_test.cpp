// SPDX-License-Identifier: GPL-2.0-or-later
// The PCI transport: capabilities, negotiation, both interfaces, interrupts.
#include "test/unit/virtio/virtio_rig.hpp"

#include <map>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

TEST_CASE("virtio: identity and capabilities") {
    VirtioRig rig;
    CHECK(rig.config_get(0, 4) == 0x10011af4);
    CHECK(rig.config_get(0x2c, 4) == 0x00021af4);
    CHECK(rig.config_get(8, 1) == 0);
    std::map<unsigned, unsigned> structures; // by type
    unsigned msix = 0;
    for (auto at = rig.config_get(0x34, 1); at != 0; at = rig.config_get(at + 1, 1)) {
        REQUIRE(at >= 0x40);
        if (rig.config_get(at, 1) == 9)
            structures[rig.config_get(at + 3, 1)] = at;
        else if (rig.config_get(at, 1) == 0x11)
            msix = at;
    }
    REQUIRE(structures.size() == 5);
    CHECK(rig.config_get(structures[1] + 4, 1) == 4);
    CHECK(rig.config_get(structures[1] + 8, 4) == 0);
    CHECK(rig.config_get(structures[2] + 8, 4) == 0x3000);
    CHECK(rig.config_get(structures[2] + 16, 4) == 4);
    REQUIRE(msix != 0);
    CHECK(rig.config_get(msix + 2, 2) == 2); // two queues and the configuration
    CHECK(rig.config_get(msix + 4, 4) == 1);
    CHECK(rig.config_get(msix + 8, 4) == 0x801);
    // The window onto BAR 4: number of queues.
    rig.config_put(structures[5] + 4, 1, 4);
    rig.config_put(structures[5] + 8, 4, 18);
    rig.config_put(structures[5] + 12, 4, 2);
    CHECK(rig.config_get(structures[5] + 16, 2) == 2);
    rig.config_put(structures[5] + 8, 4, 22);
    rig.config_put(structures[5] + 16, 2, 1);
    CHECK(rig.common(22, 2) == 1);
    rig.config_put(structures[5] + 8, 4, 0xfffffffe); // beyond
    CHECK(rig.config_get(structures[5] + 16, 2) == 0);
}

TEST_CASE("virtio: negotiation") {
    VirtioRig rig;
    rig.common(0, 4, 0);
    const auto low = rig.common(4, 4);
    rig.common(0, 4, 1);
    CHECK(rig.common(4, 4) == 1); // VERSION_1
    rig.common(0, 4, 2);
    CHECK(rig.common(4, 4) == 0);
    CHECK((low & (VirtioRig::event_index | VirtioRig::flush_feature | VirtioRig::discard_feature)) ==
          (VirtioRig::event_index | VirtioRig::flush_feature | VirtioRig::discard_feature));
    CHECK_FALSE(rig.start_modern(VirtioRig::flush_feature)); // without VERSION_1
    CHECK_FALSE(rig.start_modern(VirtioRig::version_1 | 1ull << 40));
    CHECK(rig.start_modern(VirtioRig::version_1 | VirtioRig::flush_feature));
    CHECK(rig.common(20, 1) == 15);
    rig.common(8, 4, 0);
    rig.common(12, 4, 0); // too late
    CHECK(rig.common(12, 4) == VirtioRig::flush_feature);
    CHECK(rig.common(18, 2) == 2);
    rig.common(22, 2, 0);
    CHECK(rig.common(24, 2) == 8);
    CHECK(rig.common(28, 2) == 1);
    rig.common(32, 4, 0x5000); // not while it is enabled
    CHECK(rig.common(32, 8) == VirtioRig::ring);
    rig.common(22, 2, 7); // there is none
    CHECK(rig.common(24, 2) == 0);
    rig.common(28, 2, 1);
    rig.common(32, 4, 1);
    rig.common(26, 2, 0);
    CHECK(rig.common(26, 2) == 0xffff);
    rig.common(16, 2, 3); // vectors are 0 to 2
    CHECK(rig.common(16, 2) == 0xffff);
    rig.common(20, 1, 0);
    CHECK(rig.common(20, 1) == 0);
    rig.common(22, 2, 0);
    CHECK(rig.common(28, 2) == 0);
    CHECK(rig.common(24, 2) == 512);
}

TEST_CASE("virtio: a queue that the driver breaks") {
    VirtioRig rig;
    REQUIRE(rig.start_modern(VirtioRig::version_1));
    auto q = rig.queue();
    q.offer(200);
    rig.notify();
    CHECK((rig.common(20, 1) & 0x40) != 0);
    CHECK(rig.irq.level);
    CHECK(rig.get(rig.memory_bus, VirtioRig::modern + 0x1000, 1) == 2);
    CHECK_FALSE(rig.irq.level);
    CHECK(rig.get(rig.memory_bus, VirtioRig::modern + 0x1000, 1) == 0);
    rig.notify(1); // not enabled
    rig.notify(77);
    std::ranges::fill(rig.memory.bytes().subspan(VirtioRig::ring, 0x1000), std::uint8_t{0});
    REQUIRE(rig.start_modern(VirtioRig::version_1));
    CHECK(rig.common(20, 1) == 15);
}

TEST_CASE("virtio: the legacy interface") {
    VirtioRig rig;
    CHECK((rig.legacy(0, 4) & VirtioRig::flush_feature) != 0);
    rig.legacy(18, 1, 3);
    rig.legacy(4, 4, VirtioRig::flush_feature | 1);
    CHECK(rig.legacy(4, 4) == VirtioRig::flush_feature);
    CHECK(rig.legacy(12, 2) == 256); // some drivers have room for no larger one
    rig.legacy(8, 4, VirtioRig::ring / 4096);
    CHECK(rig.legacy(8, 4) == VirtioRig::ring / 4096);
    rig.legacy(18, 1, 7);
    CHECK(rig.legacy(20, 8) == 4096); // the capacity
    CHECK(rig.legacy(32, 4) == 254);  // pieces a request
    // A read of one sector; rings as the legacy layout has them.
    rig.put_header(0, 5);
    auto m = rig.memory.bytes();
    DriverQueue q{rig.memory, VirtioRig::ring, VirtioRig::ring + 4096, VirtioRig::ring + 8192};
    q.link(0, {{VirtioRig::header, 16}, {VirtioRig::target, 512, true}, {VirtioRig::status, 1, true}},
           q.descriptors);
    store_le<std::uint16_t>(m, q.available + 4, 0);
    store_le<std::uint16_t>(m, q.available + 2, 1);
    rig.legacy(16, 2, 0);
    CHECK(q.used_index() == 1);
    CHECK(q.reap() == std::pair{0u, 513u});
    CHECK(rig.guest_bytes(VirtioRig::target, 512) == rig.image(5 * 512, 512));
    CHECK(rig.irq.level);
    CHECK(rig.legacy(19, 1) == 1);
    CHECK_FALSE(rig.irq.level);
    rig.legacy(8, 4, 0);
    CHECK(rig.legacy(8, 4) == 0);
    rig.legacy(14, 2, 9);
    CHECK(rig.legacy(12, 2) == 0);
    rig.legacy(18, 1, 0);
    CHECK(rig.legacy(18, 1) == 0);
    // With MSI-X enabled the device's configuration moves by four bytes.
    rig.config_put(0x42, 2, 0x8000);
    CHECK(rig.legacy(24, 8) == 4096);
    rig.legacy(20, 2, 1);
    CHECK(rig.legacy(20, 2) == 1);
    rig.legacy(14, 2, 0);
    rig.legacy(22, 2, 2);
    CHECK(rig.legacy(22, 2) == 2);
}

TEST_CASE("virtio: message-signalled interrupts") {
    VirtioRig rig;
    for (unsigned i = 0; i < 3; ++i) {
        rig.put(rig.memory_bus, VirtioRig::msix + 16 * i, 4, 0xfee00000);
        rig.put(rig.memory_bus, VirtioRig::msix + 16 * i + 8, 4, 0x40 + i);
        rig.put(rig.memory_bus, VirtioRig::msix + 16 * i + 12, 4, 0);
    }
    rig.config_put(0x42, 2, 0x8000);
    REQUIRE(rig.start_modern(VirtioRig::version_1, 2));
    auto q = rig.queue(1);
    rig.put_header(0, 1);
    q.add(0, {{VirtioRig::header, 16}, {VirtioRig::target, 512, true}, {VirtioRig::status, 1, true}});
    rig.notify(1);
    REQUIRE(rig.messages.size() == 1);
    CHECK(rig.messages[0].second == 0x42);
    CHECK_FALSE(rig.irq.level);
    rig.config_put(4, 2, 3); // no bus mastering: nothing is taken, nothing is sent
    q.add(3, {{VirtioRig::header, 16}, {VirtioRig::target, 512, true}, {VirtioRig::status, 1, true}});
    rig.notify(1);
    CHECK(q.used_index() == 1);
    rig.config_put(4, 2, 7);
    CHECK(q.used_index() == 2);
    CHECK(rig.messages.size() == 2);
}
