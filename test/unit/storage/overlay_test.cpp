// SPDX-License-Identifier: GPL-2.0-or-later
// The layer over an image that keeps it as it is, and what tells the user of errors.
#include "devmodel/backends/block/file_backend.hpp"
#include "devmodel/backends/block/memory_backend.hpp"
#include "devmodel/backends/block/overlay_backend.hpp"
#include "devmodel/backends/block/reporting_backend.hpp"
#include "test/unit/storage/ide_rig.hpp"

#include <cstdlib>

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr std::size_t image_bytes = 70000 * 512; // more than two leaves

struct Layered {
    explicit Layered(bool deferred = false) {
        image.bytes = pattern(image_bytes);
        expected = image.bytes;
        image.deferred = layer.deferred = deferred;
    }
    void settle() {
        while (image.complete_one() || layer.complete_one()) {
        }
    }
    std::error_code write(std::size_t at, const Bytes& data) {
        std::optional<std::error_code> result;
        overlay.write(at, data, [&](std::error_code error) { result = error; });
        settle();
        REQUIRE(result);
        if (!*result)
            std::ranges::copy(data, expected.begin() + static_cast<std::ptrdiff_t>(at));
        return *result;
    }
    std::pair<std::error_code, Bytes> read(std::size_t at, std::size_t size) {
        Bytes data(size, 0xcc);
        std::optional<std::error_code> result;
        unsigned calls = 0;
        overlay.read(at, data, [&](std::error_code error) {
            result = error;
            ++calls;
        });
        settle();
        REQUIRE(result);
        CHECK(calls == 1);
        return {*result, data};
    }
    Bytes wanted(std::size_t at, std::size_t size) {
        const auto from = expected.begin() + static_cast<std::ptrdiff_t>(at);
        return {from, from + static_cast<std::ptrdiff_t>(size)};
    }

    MemoryBackend& image = *new MemoryBackend(image_bytes, true); // NOLINT(*-owning-memory): the overlay's
    MemoryBackend& layer = *new MemoryBackend(image_bytes);       // NOLINT(*-owning-memory): the same
    OverlayBackend overlay{std::unique_ptr<BlockBackend>{&image}, std::unique_ptr<BlockBackend>{&layer}};
    Bytes expected;
};
} // namespace

TEST_CASE("an overlay reads what was written over what is there") {
    Layered disk{GENERATE(false, true)};
    CHECK_FALSE(disk.overlay.read_only());
    CHECK(disk.overlay.size() == image_bytes);
    CHECK(disk.read(512, 4096).second == disk.wanted(512, 4096));
    CHECK(!disk.write(1024, pattern(512, 0x55)));
    CHECK(!disk.write(4096, pattern(1536, 0x66)));
    // Over the edge of a leaf.
    CHECK(!disk.write(32768 * 512 - 1024, pattern(4096, 0x77)));
    CHECK(disk.read(0, 16384).second == disk.wanted(0, 16384));
    CHECK(disk.read(32768 * 512 - 8192, 16384).second == disk.wanted(32768 * 512 - 8192, 16384));
    CHECK(disk.read(0, image_bytes).second == disk.expected);
    CHECK(disk.image.bytes == pattern(image_bytes));
    CHECK(disk.image.writes == 0);
    // Parts of sectors can be read.
    CHECK(disk.read(1000, 100).second == disk.wanted(1000, 100));
}

TEST_CASE("an overlay: zeroes, discards and flushes") {
    Layered disk{GENERATE(false, true)};
    CHECK(disk.overlay.can_trim());
    std::optional<std::error_code> result;
    const auto done = [&](std::error_code error) { result = error; };
    disk.overlay.write_zeroes(2048, 1024, false, done);
    disk.settle();
    CHECK(!result.value());
    CHECK(disk.read(2048, 1024).second == Bytes(1024, 0));
    CHECK(disk.read(3072, 512).second == disk.wanted(3072, 512));
    disk.overlay.discard(2048, 4096, done);
    disk.settle();
    CHECK(!result.value());
    CHECK(disk.read(3072, 512).second == disk.wanted(3072, 512));
    disk.overlay.flush(done);
    CHECK(!result.value());
    CHECK(disk.layer.flushes == 0);
}

TEST_CASE("an overlay: errors and bad ranges") {
    Layered disk{GENERATE(false, true)};
    disk.layer.bad_offset = 8192;
    CHECK(disk.write(8192, pattern(512)));
    disk.layer.bad_offset.reset();
    CHECK(disk.read(8192, 512).second == disk.wanted(8192, 512)); // it has not been written
    disk.image.bad_offset = 100 * 512;
    CHECK(!disk.write(99 * 512, pattern(512)));
    CHECK(disk.read(99 * 512, 1024).first);
    CHECK(!disk.write(100 * 512, pattern(512)));
    CHECK(!disk.read(99 * 512, 1024).first);
    CHECK(disk.read(image_bytes, 512).first == std::errc::invalid_argument);
    CHECK(disk.write(image_bytes - 512, pattern(1024)) == std::errc::invalid_argument);
    CHECK(disk.write(100, pattern(512)) == std::errc::invalid_argument);
    CHECK(!disk.read(0, 0).first);
}

TEST_CASE("an overlay reads in one go what is in one place") {
    Layered disk;
    Bytes data(1024);
    const std::array pieces{std::span{data}};
    CHECK(disk.overlay.try_read(0, pieces));
    CHECK(data == disk.wanted(0, 1024));
    CHECK(!disk.write(512, pattern(1024, 0x11)));
    CHECK_FALSE(disk.overlay.try_read(0, pieces));
    CHECK(disk.overlay.try_read(512, pieces));
    CHECK(data == disk.wanted(512, 1024));
    CHECK_FALSE(disk.overlay.try_read(image_bytes, pieces));
}

TEST_CASE("an overlay needs a layer that it can write") {
    CHECK_THROWS(OverlayBackend{std::make_unique<MemoryBackend>(1024), std::make_unique<MemoryBackend>(512)});
    CHECK_THROWS(
        OverlayBackend{std::make_unique<MemoryBackend>(512), std::make_unique<MemoryBackend>(512, true)});
}

TEST_CASE("an image's first error is told once") {
    std::vector<std::string> lines;
    auto owned = std::make_unique<MemoryBackend>(8192);
    auto& image = *owned;
    ReportingBackend disk{std::move(owned), "hda", true,
                          [&](const std::string& line) { lines.push_back(line); }};
    std::error_code result;
    const auto done = [&](std::error_code error) { result = error; };
    Bytes data(512);
    disk.read(8192, data, done); // the driver's own mistake
    CHECK(result == std::errc::invalid_argument);
    CHECK(lines.empty());
    image.bad_offset = 1024;
    disk.write(1024, data, done);
    CHECK(result == std::errc::io_error);
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find("hda (memory): a write at byte 1024 failed") == 0);
    disk.read(1024, data, done);
    CHECK(result == std::errc::io_error);
    image.fail_flush = true;
    disk.flush(done);
    CHECK(result == std::errc::io_error);
    CHECK(lines.size() == 1);
}

TEST_CASE("errors of a snapshot are told with the folder it is in") {
    DeviceLock lock;
    const char* const chosen = std::getenv("TMPDIR"); // NOLINT(concurrency-mt-unsafe)
    const std::string folder = chosen != nullptr && *chosen != '\0' ? chosen : "/var/tmp";
    const OverlayBackend overlay{std::make_unique<MemoryBackend>(8192, true),
                                 FileBackend::temporary(8192, lock)};
    CHECK(overlay.description() == "memory, its snapshot in " + folder);
}

TEST_CASE("discard is held back where it is not wanted") {
    ReportingBackend disk{std::make_unique<MemoryBackend>(8192), "hda", false, [](const std::string&) {}};
    std::error_code result;
    CHECK_FALSE(disk.can_trim());
    disk.discard(0, 512, [&](std::error_code error) { result = error; });
    CHECK(result == std::errc::operation_not_supported);
    disk.write_zeroes(0, 512, true, [&](std::error_code error) { result = error; });
    CHECK(result == std::errc::operation_not_supported);
}
