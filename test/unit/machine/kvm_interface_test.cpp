// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/kvm_interface.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "test/unit/chipset/apic_fixture.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {

constexpr std::uint64_t area = 0x2340, tsc_hz = 2'500'000'000; // as test::Tsc has it
constexpr std::uint32_t msr_wall = 0x4b564d00, msr_time = 0x4b564d01, msr_end = 0x4b564d04;

struct Fixture {
    explicit Fixture(std::uint32_t features = KvmInterface::features(true), std::uint64_t hz = tsc_hz)
        : kvm{board.board.clock, board.tsc, memory, board[0], [this] { return now; }, {features, hz}} {
        board.enable_all();
    }
    template <typename T>
    T at(std::uint64_t address) {
        return load_le<T>(memory.bytes(), address);
    }
    /// What the guest makes of the area in memory, as arch/x86/include/asm/pvclock.h does.
    std::uint64_t time_at(std::uint64_t tsc) {
        auto delta = tsc - at<std::uint64_t>(area + 8);
        const auto shift = static_cast<std::int8_t>(at<std::uint8_t>(area + 28));
        delta = shift < 0 ? delta >> -shift : delta << shift;
        return at<std::uint64_t>(area + 16) +
               static_cast<std::uint64_t>(static_cast<Wide>(delta) * at<std::uint32_t>(area + 24) >> 32);
    }
    /// And pvclock_tsc_khz().
    std::uint64_t khz() {
        const auto rate = (1'000'000ull << 32) / at<std::uint32_t>(area + 24);
        const auto shift = static_cast<std::int8_t>(at<std::uint8_t>(area + 28));
        return shift < 0 ? rate << -shift : rate >> shift;
    }
    void interrupt(std::uint8_t vector) {
        board.bus.send({.delivery = ApicDelivery::Fixed, .vector = vector, .level = false, .destination = 0});
        board[0].accept(vector);
    }
    bool in_service(std::uint8_t vector) {
        return (board.get(0x100 + vector / 32u * 0x10) >> vector % 32u & 1) != 0;
    }

    test::ApicBoard board;
    FlatMemory memory{0x4000};
    std::int64_t now = 0;
    KvmInterface kvm;
};

} // namespace

TEST_CASE_METHOD(Fixture, "KVM's clock: the time that the machine has, from the TSC that the guest has") {
    REQUIRE(kvm.write_msr(msr_time, area | 1));
    CHECK(kvm.read_msr(msr_time) == (area | 1));
    CHECK(at<std::uint32_t>(area) % 2 == 0);
    CHECK(at<std::uint32_t>(area) != 0);
    CHECK(at<std::uint8_t>(area + 29) == 1); // the same on all CPUs
    CHECK(khz() == 2'500'000);
    for (const GuestTime time : {GuestTime{0}, GuestTime{1000000}, ns_per_second, 3600 * ns_per_second}) {
        INFO(time);
        const auto shown = static_cast<GuestTime>(time_at(board.tsc.tsc_at(time)));
        CHECK(std::abs(shown - time) <= 1 + time / 1'000'000'000);
    }
}

TEST_CASE("KVM's clock tells every rate") {
    for (const std::uint64_t hz : {25'000'000ull, 999'999'000ull, 1'000'000'000ull, 1'000'001'000ull,
                                   2'000'000'000ull, 3'712'345'000ull, 10'000'000'000ull}) {
        Fixture f{KvmInterface::features(true), hz};
        REQUIRE(f.kvm.write_msr(msr_time, area | 1));
        INFO(hz);
        CHECK(std::abs(static_cast<std::int64_t>(f.khz() - hz / 1000)) <= 1);
    }
}

TEST_CASE_METHOD(Fixture, "KVM's clock follows a TSC that the guest sets") {
    REQUIRE(kvm.write_msr(msr_time, area | 1));
    const auto version = at<std::uint32_t>(area);
    board.tsc.offset = 0 - 123'456'789ull;
    kvm.tsc_changed();
    CHECK(at<std::uint32_t>(area) == version + 2);
    CHECK(std::abs(static_cast<GuestTime>(time_at(board.tsc.tsc_at(ns_per_second))) - ns_per_second) <= 1);
    SECTION("not once it is switched off, nor after a reset") {
        if (GENERATE(true, false))
            REQUIRE(kvm.write_msr(msr_time, 0));
        else
            kvm.reset();
        kvm.tsc_changed();
        CHECK(at<std::uint32_t>(area) == version + 2);
    }
}

TEST_CASE_METHOD(Fixture, "KVM's wall clock says when the machine's time began") {
    board.board.clock.advance(5 * ns_per_second);
    now = 1'795'000'000ll * ns_per_second + 123;
    store_le(memory.bytes(), area, std::uint32_t{7}); // an odd version would never end
    REQUIRE(kvm.write_msr(msr_wall, area));
    CHECK(at<std::uint32_t>(area) % 2 == 0);
    CHECK(at<std::uint32_t>(area + 4) == 1'795'000'000u - 5);
    CHECK(at<std::uint32_t>(area + 8) == 123);
}

TEST_CASE_METHOD(Fixture, "KVM's end of interrupt: noted in memory, seen at the next exit") {
    REQUIRE(kvm.write_msr(msr_end, area | 1));
    kvm.before_entry();
    CHECK(at<std::uint32_t>(area) == 0); // nothing is in service
    interrupt(0x61);
    kvm.before_entry();
    REQUIRE(at<std::uint32_t>(area) == 1);
    SECTION("an exit before the end") {
        kvm.after_exit();
        CHECK(at<std::uint32_t>(area) == 0);
        CHECK(in_service(0x61));
        kvm.before_entry();
        CHECK(at<std::uint32_t>(area) == 1);
    }
    SECTION("the end") {
        store_le(memory.bytes(), area, std::uint32_t{0});
        kvm.after_exit();
        CHECK_FALSE(in_service(0x61));
        kvm.before_entry();
        CHECK(at<std::uint32_t>(area) == 0);
    }
    SECTION("another request waits for the end: the guest has to say it") {
        kvm.after_exit();
        board.bus.send({.delivery = ApicDelivery::Fixed, .vector = 0x51, .level = false, .destination = 0});
        kvm.before_entry();
        CHECK(at<std::uint32_t>(area) == 0);
    }
    SECTION("switched off") {
        kvm.after_exit();
        REQUIRE(kvm.write_msr(msr_end, area));
        kvm.before_entry();
        CHECK(at<std::uint32_t>(area) == 0);
    }
}

TEST_CASE_METHOD(Fixture, "KVM's interface: addresses that are no memory") {
    const std::uint64_t nowhere = GENERATE(0x3ffcull, 0x4000ull, 0xffff'ffff'ffff'fffcull, 0xfee0'0000ull);
    CHECK(kvm.write_msr(msr_wall, nowhere));
    CHECK(kvm.write_msr(msr_time, nowhere | 1));
    CHECK(kvm.write_msr(msr_end, (nowhere == 0x3ffc ? 0x4000 : nowhere) | 1));
    interrupt(0x61);
    kvm.before_entry();
    kvm.after_exit();
    CHECK(in_service(0x61));
    for (const auto byte : memory.bytes())
        REQUIRE(byte == 0);
}

TEST_CASE("KVM's interface: what is not offered is #GP, and so are reserved bits") {
    Fixture all;
    CHECK_FALSE(all.kvm.write_msr(msr_time, area | 2));
    CHECK_FALSE(all.kvm.write_msr(msr_end, area | 3));
    Fixture none{0};
    Fixture no_apic{KvmInterface::features(false)};
    for (const auto msr : {msr_wall, msr_time, msr_end}) {
        CHECK(KvmInterface::owns_msr(msr));
        CHECK_FALSE(none.kvm.write_msr(msr, area));
        CHECK_FALSE(none.kvm.read_msr(msr));
        CHECK(no_apic.kvm.write_msr(msr, area) == (msr != msr_end));
    }
    CHECK_FALSE(KvmInterface::owns_msr(0x4b564d02));
}
