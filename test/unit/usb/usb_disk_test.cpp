// SPDX-License-Identifier: GPL-2.0-or-later
// Bulk-only transport by way of the controller.
#include "devmodel/backends/block/memory_backend.hpp"
#include "devmodel/devices/usb/usb_disk.hpp"
#include "test/unit/usb/usb_rig.hpp"

using namespace escalus;
using namespace escalus::test;
using Bytes = std::vector<std::uint8_t>;

namespace {
struct Disk : UsbRig {
    explicit Disk(std::size_t bytes = 1 << 20, bool read_only = false) {
        auto medium = std::make_unique<MemoryBackend>(bytes, read_only);
        backend = medium.get();
        for (std::size_t i = 0; i < bytes; ++i)
            backend->bytes[i] = static_cast<std::uint8_t>(i * 7 + i / 512);
        uhci.attach(0, std::make_unique<UsbDisk>(std::move(medium), "0123456789AB"));
        power_on();
        run();
        enumerate(2);
        CHECK(command({0}, 0, false).second == 1); // the unit attention
        CHECK(command({3, 0, 0, 0, 18}, 18, true).first.at(2) == 6);
    }

    bool bulk_out(const Bytes& data, GuestTime time = 20 * ms) {
        std::vector<Td> chain;
        for (std::size_t i = 0; i < data.size(); i += 64)
            chain.push_back({uhci::pid_out,
                             UsbDisk::bulk_out,
                             {data.begin() + static_cast<std::ptrdiff_t>(i),
                              data.begin() + static_cast<std::ptrdiff_t>(std::min(i + 64, data.size()))}});
        submit(chain);
        clock.advance(time);
        return get(queue + 4) == uhci::link_end;
    }
    Bytes bulk_in(std::size_t size, GuestTime time = 20 * ms) {
        std::vector<Td> chain;
        for (std::size_t i = 0; i < size; i += 64)
            chain.push_back({uhci::pid_in, UsbDisk::bulk_in, Bytes(std::min<std::size_t>(64, size - i))});
        submit(chain);
        clock.advance(time);
        Bytes data;
        for (unsigned i = 0; i < chain.size() && !active(i) && (control(i) & uhci::td_stalled) == 0; ++i) {
            const auto piece = received(i);
            data.insert(data.end(), piece.begin(), piece.end());
        }
        return data;
    }
    static Bytes wrapper(const Bytes& command, std::uint32_t length, bool to_host) {
        Bytes bytes(31);
        store_le(bytes, 0, std::uint32_t{0x43425355});
        store_le(bytes, 4, std::uint32_t{0xcafe});
        store_le(bytes, 8, length);
        bytes[12] = to_host ? 0x80 : 0;
        bytes[14] = static_cast<std::uint8_t>(command.size());
        std::ranges::copy(command, bytes.begin() + 15);
        return bytes;
    }
    /// The status; -1 when there was none.
    int status() {
        const auto bytes = bulk_in(13);
        if (bytes.size() != 13 || load_le<std::uint32_t>(bytes) != 0x53425355)
            return -1;
        CHECK(load_le<std::uint32_t>(bytes, 4) == 0xcafe);
        residue = load_le<std::uint32_t>(bytes, 8);
        return bytes[12];
    }
    std::pair<Bytes, int> command(const Bytes& block, std::uint32_t length, bool to_host,
                                  const Bytes& data = {}) {
        REQUIRE(bulk_out(wrapper(block, length, to_host)));
        Bytes received;
        if (to_host && length != 0)
            received = bulk_in(length);
        else if (length != 0)
            REQUIRE(bulk_out(data));
        const auto ended = status();
        return {received, ended};
    }
    Bytes piece(std::size_t offset, std::size_t size) const {
        const auto at = backend->bytes.begin() + static_cast<std::ptrdiff_t>(offset);
        return {at, at + static_cast<std::ptrdiff_t>(size)};
    }
    MemoryBackend* backend;
    std::uint32_t residue = 0;
};
Bytes read_10(unsigned block, unsigned count) {
    return {0x28,
            0,
            0,
            0,
            static_cast<std::uint8_t>(block >> 8),
            static_cast<std::uint8_t>(block),
            0,
            0,
            static_cast<std::uint8_t>(count)};
}
Bytes write_10(unsigned block, unsigned count, bool stable = false) {
    auto bytes = read_10(block, count);
    bytes[0] = 0x2a;
    bytes[1] = stable ? 8 : 0;
    return bytes;
}
} // namespace

TEST_CASE("USB disk: descriptors, units, capacity") {
    Disk disk;
    const auto configuration = disk.control_in({0x80, 6, 0, 2, 0, 0, 255, 0});
    REQUIRE(configuration);
    CHECK(configuration->size() == 32);
    CHECK((*configuration)[14] == 8);
    CHECK((*configuration)[15] == 6);
    CHECK((*configuration)[16] == 0x50);
    CHECK(disk.control_in({0xa1, 0xfe, 0, 0, 0, 0, 1, 0}) == Bytes{0});
    CHECK(disk.command({0x12, 0, 0, 0, 36}, 36, true).first.size() == 36);
    CHECK(disk.command({0x25}, 8, true) == std::pair{Bytes{0, 0, 7, 0xff, 0, 0, 2, 0}, 0});
    CHECK(disk.residue == 0);
}

TEST_CASE("USB disk: reads and writes") {
    Disk disk;
    CHECK(disk.command(read_10(5, 8), 4096, true) == std::pair{disk.piece(5 * 512, 4096), 0});
    Bytes data(8192);
    for (std::size_t i = 0; i < data.size(); ++i)
        data[i] = static_cast<std::uint8_t>(i * 3 + i / 256);
    CHECK(disk.command(write_10(100, 16), 8192, false, data).second == 0);
    CHECK(disk.piece(100 * 512, 8192) == data);
    CHECK(disk.backend->flushes == 0);
    CHECK(disk.command(write_10(200, 16, true), 8192, false, data).second == 0);
    CHECK(disk.backend->flushes == 1);
    CHECK(disk.command({0x35}, 0, false).second == 0);
    CHECK(disk.backend->flushes == 2);
    CHECK(disk.command(read_10(100, 16), 8192, true) == std::pair{data, 0});
}

TEST_CASE("USB disk: more than a chunk, by way of memory that is used again") {
    Disk disk;
    REQUIRE(disk.bulk_out(Disk::wrapper(read_10(0, 250), 250 * 512, true)));
    Bytes all;
    for (unsigned i = 0; i < 250; i += 10) {
        const auto piece = disk.bulk_in(5120);
        all.insert(all.end(), piece.begin(), piece.end());
    }
    CHECK(all == disk.piece(0, 250 * 512));
    CHECK(disk.status() == 0);
    CHECK(disk.backend->reads == 2);
    Bytes data(250 * 512, 0xa5);
    REQUIRE(disk.bulk_out(Disk::wrapper(write_10(300, 250), 250 * 512, false)));
    for (unsigned i = 0; i < 250; i += 10)
        REQUIRE(disk.bulk_out(Bytes(5120, 0xa5)));
    CHECK(disk.status() == 0);
    CHECK(disk.piece(300 * 512, 250 * 512) == data);
    CHECK(disk.backend->writes == 2);
}

TEST_CASE("USB disk: while the image works the answer is NAK, and it is asked again as soon as it has done") {
    Disk disk;
    disk.backend->deferred = true;
    REQUIRE(disk.bulk_out(Disk::wrapper(read_10(1, 1), 512, true)));
    CHECK(disk.backend->waiting() == 1);
    CHECK(disk.bulk_in(512, 2000 * UsbRig::ms).empty());
    CHECK((disk.control(0) & uhci::td_nak) != 0);
    disk.backend->complete_one();
    disk.clock.advance(UsbRig::ms);
    CHECK(disk.received(7) == disk.piece(1024 - 64, 64));
    CHECK(disk.status() == 0);

    REQUIRE(disk.bulk_out(Disk::wrapper(write_10(1, 1, true), 512, false)));
    REQUIRE(disk.bulk_out(Bytes(512, 0x11)));
    CHECK(disk.status() == -1);
    disk.backend->complete_one();
    disk.clock.advance(2 * UsbRig::ms);
    CHECK(disk.active(0)); // the flush
    disk.backend->complete_one();
    disk.clock.advance(2 * UsbRig::ms);
    CHECK(disk.received(0).size() == 13);
}

TEST_CASE("USB disk: an image that fails gives a failed command and sense data") {
    Disk disk;
    disk.backend->bad_offset = 3 * 512;
    const auto [data, ended] = disk.command(read_10(3, 1), 512, true);
    CHECK(data == Bytes(512));
    CHECK(ended == 1);
    CHECK(disk.residue == 512);
    CHECK(disk.command({3, 0, 0, 0, 18}, 18, true).first.at(2) == 3);
    CHECK(disk.command(write_10(3, 1), 512, false, Bytes(512)).second == 1);
    CHECK(disk.command({3, 0, 0, 0, 18}, 18, true).first.at(12) == 0x0c);
    disk.backend->fail_flush = true;
    CHECK(disk.command({0x35}, 0, false).second == 1);
    CHECK(disk.command(read_10(4, 1), 512, true).second == 0);
}

TEST_CASE("USB disk: the thirteen cases of who expects how much") {
    Disk disk;
    const auto before = disk.backend->bytes;
    CHECK(disk.command({0}, 0, false).second == 0);                  // 1: Hn = Dn
    CHECK(disk.command(read_10(0, 1), 0, false).second == 2);        // 2: Hn < Di
    CHECK(disk.command(write_10(0, 1), 0, false).second == 2);       // 3: Hn < Do
    CHECK(disk.command({0}, 100, true) == std::pair{Bytes(100), 0}); // 4: Hi > Dn
    CHECK(disk.residue == 100);
    const auto [more, passed] = disk.command(read_10(0, 1), 600, true); // 5: Hi > Di
    CHECK(passed == 0);
    CHECK(disk.residue == 88);
    CHECK(Bytes(more.begin(), more.begin() + 512) == disk.piece(0, 512));
    CHECK(disk.command(read_10(0, 1), 512, true).second == 0);    // 6: Hi = Di
    CHECK(disk.command(read_10(0, 2), 512, true).second == 2);    // 7: Hi < Di
    CHECK(disk.command(write_10(0, 1), 512, true).second == 2);   // 8: Hi <> Do
    CHECK(disk.command({0}, 100, false, Bytes(100)).second == 0); // 9: Ho > Dn
    CHECK(disk.residue == 100);
    CHECK(disk.command(read_10(0, 1), 512, false, Bytes(512)).second == 2);  // 10: Ho <> Di
    CHECK(disk.command(write_10(0, 2), 512, false, Bytes(512)).second == 2); // 13: Ho < Do
    CHECK(disk.backend->bytes == before);
    CHECK(disk.command(write_10(9, 1), 600, false, Bytes(600, 7)).second == 0); // 11: Ho > Do
    CHECK(disk.residue == 88);
    CHECK(disk.piece(9 * 512, 512) == Bytes(512, 7));
    CHECK(disk.piece(10 * 512, 512) == Bytes(before.begin() + 5120, before.begin() + 5632));
    CHECK(disk.command({0x12, 0, 0, 0, 255}, 20, true).second == 0); // a reply is cut
}

TEST_CASE("USB disk: a bad wrapper needs reset recovery") {
    Disk disk;
    auto bad = Disk::wrapper({0}, 0, false);
    SECTION("its signature") {
        bad[0] ^= 1;
    }
    SECTION("its length") {
        bad.pop_back();
    }
    REQUIRE(disk.bulk_out(bad));
    CHECK_FALSE(disk.bulk_out(Disk::wrapper({0}, 0, false)));
    CHECK(disk.status() == -1);
    // Clearing the halts alone does not help.
    CHECK(disk.control_out({2, 1, 0, 0, 0x81, 0, 0, 0}));
    CHECK(disk.status() == -1);
    CHECK((disk.control(0) & uhci::td_stalled) != 0);
    CHECK(disk.control_out({0x21, 0xff, 0, 0, 0, 0, 0, 0}));
    CHECK(disk.control_out({2, 1, 0, 0, 0x81, 0, 0, 0}));
    CHECK(disk.control_out({2, 1, 0, 0, 2, 0, 0, 0}));
    CHECK(disk.command({0}, 0, false).second == 0);
}

TEST_CASE("USB disk: a completion that comes after a reset is ignored, and their number is bounded") {
    Disk disk;
    disk.backend->deferred = true;
    REQUIRE(disk.bulk_out(Disk::wrapper(read_10(1, 1), 512, true)));
    CHECK(disk.control_out({0x21, 0xff, 0, 0, 0, 0, 0, 0}));
    REQUIRE(disk.bulk_out(Disk::wrapper(read_10(2, 1), 512, true)));
    disk.backend->complete_one();
    CHECK(disk.bulk_in(512).empty());
    disk.backend->complete_one();
    disk.clock.advance(UsbRig::ms);
    CHECK(disk.received(0) == disk.piece(1024, 64));
    CHECK(disk.status() == 0);
    unsigned taken = 0;
    while (taken < 100 && disk.bulk_out(Disk::wrapper(read_10(1, 1), 512, true), 3 * UsbRig::ms)) {
        ++taken;
        CHECK(disk.control_out({0x21, 0xff, 0, 0, 0, 0, 0, 0}));
    }
    CHECK(taken == 8);
    disk.backend->complete_all();
    disk.backend->deferred = false;
    CHECK(disk.control_out({0x21, 0xff, 0, 0, 0, 0, 0, 0}));
    CHECK(disk.command({0}, 0, false).second == 0);
    // And one that comes when the disk has gone.
    disk.backend->deferred = true;
    REQUIRE(disk.bulk_out(Disk::wrapper(read_10(1, 1), 512, true)));
    disk.uhci.reset(ResetKind::System);
    disk.backend->complete_all();
}
