// SPDX-License-Identifier: GPL-2.0-or-later
// The split virtqueue against drivers that keep the rules and drivers that do not.
#include "test/unit/virtio/virtio_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
struct Queue {
    explicit Queue(bool event_index = false) {
        REQUIRE(queue.set_entries(DriverQueue::entries));
        queue.descriptors = driver.descriptors;
        queue.available = driver.available;
        queue.used = driver.used;
        queue.enable(event_index);
    }
    FlatMemory memory{1 << 20};
    DriverQueue driver{memory, 0x1000, 0x2000, 0x3000};
    Virtqueue queue{memory, 256};
};
} // namespace

TEST_CASE("virtqueue: chains come in order, and go back") {
    Queue q;
    CHECK_FALSE(q.queue.take());
    CHECK(q.queue.ask_for_notification());
    for (unsigned round = 0; round < 20; ++round) { // the indices wrap around the ring
        q.driver.add(2, {{0x5000, 16}, {0x6000, 100, true}, {0x7000, 1, true}});
        q.driver.add(0, {{0x8000, 5}});
        CHECK_FALSE(q.queue.ask_for_notification());
        auto first = q.queue.take();
        REQUIRE(first);
        CHECK(first->head == 2);
        CHECK(first->readable.size() == 16);
        CHECK(first->writable.size() == 101);
        CHECK(raw(*first->writable.address_of(100)) == 0x7000);
        CHECK(first->writable.drop_back(1));
        CHECK_FALSE(first->writable.address_of(100));
        CHECK(first->readable.drop_front(10));
        CHECK(raw(*first->readable.address_of(0)) == 0x500a);
        CHECK_FALSE(first->readable.drop_front(7));
        auto second = q.queue.take();
        REQUIRE(second);
        CHECK(second->head == 0);
        CHECK_FALSE(q.queue.take());
        q.queue.give_back(0, 7);
        CHECK(q.queue.wants_interrupt());
        CHECK_FALSE(q.queue.wants_interrupt());
        q.queue.give_back(2, 9);
        CHECK(q.driver.reap() == std::pair{0u, 7u});
        CHECK(q.driver.reap() == std::pair{2u, 9u});
        CHECK(q.driver.used_index() == 2 * round + 2);
        store_le<std::uint16_t>(q.memory.bytes(), q.driver.available, 1); // no interrupts, please
        CHECK_FALSE(q.queue.wants_interrupt());
        store_le<std::uint16_t>(q.memory.bytes(), q.driver.available, 0);
    }
}

TEST_CASE("virtqueue: indirect tables") {
    Queue q;
    q.driver.link(0, {{0x5000, 16}, {0x6000, 32, true}, {0x7000, 8, true}}, 0x9000);
    q.driver.put_descriptor(q.driver.descriptors, 3, {0x9000, 48}, 4, 0);
    q.driver.offer(3);
    const auto chain = q.queue.take();
    REQUIRE(chain);
    CHECK(chain->readable.size() == 16);
    CHECK(chain->writable.size() == 40);
}

TEST_CASE("virtqueue: event indices") {
    Queue q{true};
    const auto event = q.driver.available + 4 + 2 * DriverQueue::entries;
    store_le<std::uint16_t>(q.memory.bytes(), event, 1); // tell when the second comes back
    q.driver.add(0, {{0x5000, 16}});
    q.driver.add(1, {{0x5000, 16}});
    REQUIRE(q.queue.take());
    REQUIRE(q.queue.take());
    CHECK(q.queue.ask_for_notification());
    CHECK(load_le<std::uint16_t>(q.memory.bytes(), q.driver.used + 4 + 8 * DriverQueue::entries) == 2);
    q.queue.give_back(0, 0);
    CHECK_FALSE(q.queue.wants_interrupt());
    q.queue.give_back(1, 0);
    CHECK(q.queue.wants_interrupt());
}

TEST_CASE("virtqueue: what breaks it") {
    Queue q;
    auto m = q.memory.bytes();
    SECTION("a loop") {
        q.driver.put_descriptor(q.driver.descriptors, 0, {0x5000, 16}, 1, 1);
        q.driver.put_descriptor(q.driver.descriptors, 1, {0x5000, 16}, 1, 0);
        q.driver.offer(0);
    }
    SECTION("a head beyond the table") {
        q.driver.offer(DriverQueue::entries);
    }
    SECTION("a link beyond the table") {
        q.driver.put_descriptor(q.driver.descriptors, 0, {0x5000, 16}, 1, 99);
        q.driver.offer(0);
    }
    SECTION("writable before readable") {
        q.driver.add(0, {{0x5000, 16, true}, {0x6000, 16}});
    }
    SECTION("more offered than there are") {
        store_le<std::uint16_t>(m, q.driver.available + 2, DriverQueue::entries + 1);
    }
    SECTION("an indirect table in an indirect table") {
        q.driver.put_descriptor(0x9000, 0, {0x9000, 16}, 4, 0);
        q.driver.put_descriptor(q.driver.descriptors, 0, {0x9000, 16}, 4, 0);
        q.driver.offer(0);
    }
    SECTION("an indirect table that goes on") {
        q.driver.put_descriptor(q.driver.descriptors, 0, {0x9000, 16}, 4 | 1, 1);
        q.driver.offer(0);
    }
    SECTION("an indirect table of an odd size, or none") {
        q.driver.put_descriptor(q.driver.descriptors, 0, {0x9000, GENERATE(0u, 8u, 24u, 0xfffffff0u)}, 4, 0);
        q.driver.offer(0);
    }
    SECTION("an indirect table that is not memory") {
        q.driver.put_descriptor(q.driver.descriptors, 0, {0xffffffffffffff00, 16}, 4, 0);
        q.driver.offer(0);
    }
    SECTION("a loop in an indirect table") {
        q.driver.put_descriptor(0x9000, 0, {0x5000, 16}, 1, 0);
        q.driver.put_descriptor(q.driver.descriptors, 0, {0x9000, 32}, 4, 0);
        q.driver.offer(0);
    }
    CHECK_FALSE(q.queue.take());
    CHECK(q.queue.broken());
    CHECK(q.queue.ask_for_notification());
    q.queue.give_back(0, 0);
    CHECK_FALSE(q.queue.wants_interrupt());
    q.queue.reset();
    CHECK_FALSE(q.queue.broken());
}

TEST_CASE("virtqueue: rings that are not memory, or not aligned") {
    FlatMemory memory{1 << 20};
    Virtqueue queue{memory, 8};
    queue.descriptors = 0x1000;
    queue.available = GENERATE(0x2000u, 0x2001u, 0xfffff000u);
    queue.used = queue.available == 0x2000 ? 0xfffffffc : 0x3000;
    queue.enable(true);
    CHECK_FALSE(queue.take());
    queue.ask_for_notification();
    queue.give_back(0, 0);
    CHECK_FALSE(queue.wants_interrupt());
    CHECK(queue.broken());
    CHECK_FALSE(queue.set_entries(3));
    CHECK_FALSE(queue.set_entries(16));
    CHECK_FALSE(queue.set_entries(0));
}
