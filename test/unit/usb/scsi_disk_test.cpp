// SPDX-License-Identifier: GPL-2.0-or-later
// SCSI commands without a transport.
#include "devmodel/devices/usb/scsi_disk.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using Bytes = std::vector<std::uint8_t>;
using enum ScsiTask::Work;

namespace {
struct Disk : ScsiDisk {
    explicit Disk(std::uint64_t bytes = 100 * 512, bool read_only = false)
        : ScsiDisk{{.vendor = "ESCALUS", .product = "USB DISK", .revision = "1.0", .serial = "0123456789AB"},
                   bytes,
                   read_only} {
        execute({0});
        execute({3, 0, 0, 0, 18});
    }
    ScsiTask execute(const Bytes& command, unsigned lun = 0) { return ScsiDisk::execute(lun, command); }
    /// Key, code.
    std::pair<int, int> sense() {
        const auto data = execute({3, 0, 0, 0, 18}).reply;
        return {data.at(2), data.at(12)};
    }
};
} // namespace

TEST_CASE("SCSI: the first command is told of the reset, but INQUIRY and REQUEST SENSE are not") {
    ScsiDisk disk{{}, 512, false};
    CHECK(disk.execute(0, Bytes{0x12, 0, 0, 0, 36}).work == Reply);
    CHECK(disk.execute(0, Bytes{0}).work == Fail);
    const auto sense = disk.execute(0, Bytes{3, 0, 0, 0, 18}).reply;
    CHECK(sense.at(0) == 0x70);
    CHECK(sense.at(2) == 6);
    CHECK(sense.at(12) == 0x29);
    CHECK(disk.execute(0, Bytes{0}).work == None);
    CHECK(disk.execute(0, Bytes{3, 0, 0, 0, 18}).reply.at(2) == 0);
    disk.reset();
    CHECK(disk.execute(0, Bytes{3, 0, 0, 0, 18}).reply.at(2) == 6);
    CHECK(disk.execute(0, Bytes{0}).work == None);
}

TEST_CASE("SCSI: what the disk says of itself") {
    Disk disk;
    const auto inquiry = disk.execute({0x12, 0, 0, 0, 36}).reply;
    REQUIRE(inquiry.size() == 36);
    CHECK(inquiry[0] == 0);
    CHECK(std::string(inquiry.begin() + 8, inquiry.end()) == "ESCALUS USB DISK        1.0 ");
    CHECK(disk.execute({0x12, 0, 0, 0, 36}, 1).reply.at(0) == 0x7f);
    CHECK(disk.execute({0x12, 0, 0, 0, 5}).reply.size() == 5);
    CHECK(disk.execute({0x12, 1, 0, 0, 255}).reply == Bytes{0, 0, 0, 3, 0, 0x80, 0x83});
    CHECK(disk.execute({0x12, 1, 0x80, 0, 255}).reply.size() == 16);
    CHECK(disk.execute({0x12, 1, 0x83, 0, 255}).reply.at(7) == 20);
    CHECK(disk.execute({0x12, 1, 0x84, 0, 255}).work == Fail);
    CHECK(disk.sense() == std::pair{5, 0x24});
    CHECK(disk.execute({0x12, 0, 1, 0, 255}).work == Fail);
    CHECK(disk.execute({0x25}).reply == Bytes{0, 0, 0, 99, 0, 0, 2, 0});
    CHECK(disk.execute({0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12}).reply ==
          Bytes{0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 2, 0});
    CHECK(disk.execute({0x23, 0, 0, 0, 0, 0, 0, 0, 252}).reply ==
          Bytes{0, 0, 0, 8, 0, 0, 0, 100, 2, 0, 2, 0});
    CHECK(disk.execute({0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16}).reply.size() == 16);
    // More than READ CAPACITY (10) can say.
    Disk large{std::uint64_t{3} << 41};
    CHECK(large.execute({0x25}).reply == Bytes{0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0});
}

TEST_CASE("SCSI: mode pages tell of the cache and of write protection") {
    Disk disk, protected_disk{512, true};
    CHECK(disk.execute({0x1a, 0, 0x3f, 0, 4}).reply == Bytes{23, 0, 0, 0});
    const auto page = disk.execute({0x1a, 0, 8, 0, 192}).reply;
    CHECK(page.size() == 24);
    CHECK(page.at(4) == 8);
    CHECK(page.at(6) == 4);
    CHECK(disk.execute({0x1a, 0, 0x48, 0, 192}).reply.at(6) == 0);
    CHECK(disk.execute({0x5a, 0, 8, 0, 0, 0, 0, 0, 255}).reply.size() == 28);
    CHECK(disk.execute({0x1a, 0, 5, 0, 192}).work == Fail);
    CHECK(disk.execute({0x1a, 0, 0xc8, 0, 192}).work == Fail);
    CHECK(protected_disk.execute({0x1a, 0, 0x3f, 0, 4}).reply.at(2) == 0x80);
    CHECK(protected_disk.execute({0x2a, 0, 0, 0, 0, 0, 0, 0, 1}).work == Fail);
    CHECK(protected_disk.sense() == std::pair{7, 0x27});
}

TEST_CASE("SCSI: reads and writes of every length of command") {
    Disk disk;
    const auto is = [](const ScsiTask& task, ScsiTask::Work work, std::uint64_t block, std::uint64_t blocks) {
        return task.work == work && task.offset == block * 512 && task.bytes == blocks * 512;
    };
    CHECK(is(disk.execute({0x28, 0, 0, 0, 0, 10, 0, 0, 3}), Read, 10, 3));
    CHECK(is(disk.execute({0x2a, 0, 0, 0, 0, 97, 0, 0, 3}), Write, 97, 3));
    CHECK(is(disk.execute({0x08, 0, 0, 10, 2}), Read, 10, 2));
    CHECK(is(disk.execute({0x0a, 0, 0, 10, 2}), Write, 10, 2));
    CHECK(is(disk.execute({0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 9}), Read, 1, 9));
    CHECK(is(disk.execute({0xaa, 8, 0, 0, 0, 1, 0, 0, 0, 9}), Write, 1, 9));
    CHECK(is(disk.execute({0x88, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 6}), Read, 5, 6));
    CHECK(disk.execute({0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 6}).flush);
    CHECK(disk.execute({0x28, 0, 0, 0, 0, 100, 0, 0, 0}).work == None);
    CHECK(disk.execute({0x2f, 0, 0, 0, 0, 0, 0, 0, 100}).work == None);
    CHECK(disk.execute({0x35}).work == Flush);
    for (const Bytes& beyond :
         {Bytes{0x28, 0, 0, 0, 0, 98, 0, 0, 3}, Bytes{0x28, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
          Bytes{0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
          Bytes{0x2f, 0, 0, 0, 0, 0, 0, 0, 101}, Bytes{0x08, 0, 0, 0, 0}}) {
        CHECK(disk.execute(beyond).work == Fail);
        CHECK(disk.sense() == std::pair{5, 0x21});
    }
}

TEST_CASE("SCSI: the lock, unknown commands, other units, an image that fails") {
    Disk disk;
    CHECK(disk.execute({0x1e, 0, 0, 0, 1}).work == None);
    CHECK(disk.locked());
    CHECK(disk.execute({0x1e}).work == None);
    CHECK_FALSE(disk.locked());
    CHECK(disk.execute({0x1b, 0, 0, 0, 1}).work == None);
    CHECK(disk.execute({0xff}).work == Fail);
    CHECK(disk.sense() == std::pair{5, 0x20});
    CHECK(disk.execute({0}, 3).work == Fail);
    CHECK(disk.sense() == std::pair{5, 0x25});
    disk.medium_failed(false);
    CHECK(disk.sense() == std::pair{3, 0x11});
    disk.medium_failed(true);
    CHECK(disk.sense() == std::pair{3, 0x0c});
    CHECK(disk.execute({}).work == None); // nothing is all zeros
}
