// SPDX-License-Identifier: GPL-2.0-or-later
// Image files: opening, refusing, reading, writing, locking, and going away.
#include "devmodel/machine/device_lock.hpp"
#include "test/unit/storage/file_rig.hpp"

#include <sys/wait.h>
#include <unistd.h>

using namespace escalus;
using test::Bytes;
using test::Files;
using test::pattern;

namespace {
namespace fs = std::filesystem;

std::string refusal(Files& files, const std::string& path, bool read_only) {
    try {
        files.open(path, read_only);
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "";
}
} // namespace

TEST_CASE("images that cannot be used are refused with the reason") {
    Files files;
    const auto missing = (files.directory / "missing.iso").string();
    CHECK_THAT(refusal(files, missing, true), Catch::Contains(missing) && Catch::Contains("No such file"));
    CHECK_THAT(refusal(files, files.directory, true), Catch::Contains("is a directory"));
    CHECK_THAT(refusal(files, files.directory, false), Catch::Contains("is a directory"));
    CHECK_THAT(refusal(files, files.file("empty", {}), true), Catch::Contains("is empty"));
    CHECK_THAT(refusal(files, files.file("odd", Bytes(1000)), false),
               Catch::Contains("1000 bytes, is not a multiple"));
    CHECK_THAT(refusal(files, "/dev/null", true),
               Catch::Contains("neither a regular file nor a block device"));
    const auto closed = files.file("closed", Bytes(512));
    fs::permissions(closed, fs::perms::owner_read);
    if (::geteuid() != 0) {
        CHECK_THAT(refusal(files, closed, false), Catch::Contains("cannot be opened for writing"));
        fs::permissions(closed, fs::perms::none);
        CHECK_THAT(refusal(files, closed, true), Catch::Contains("Permission denied"));
    }
}

TEST_CASE("a read-only image is padded to whole sectors") {
    Files files;
    const auto bytes = pattern(1000);
    const auto backend = files.open(files.file("odd.iso", bytes), true);
    CHECK(backend->size() == 1024);
    Bytes data(1024, 0xee);
    CHECK_FALSE(files.read(*backend, 0, data));
    CHECK(std::equal(bytes.begin(), bytes.end(), data.begin()));
    CHECK(std::all_of(data.begin() + 1000, data.end(), [](auto b) { return b == 0; }));
    CHECK(files.write(*backend, 0, bytes) == std::errc::read_only_file_system);
    CHECK_FALSE(files.flush(*backend));
}

TEST_CASE("reads and writes reach the file") {
    Files files;
    const auto path = files.file("disk.img", pattern(1 << 20));
    auto backend = files.open(path, false);
    const auto data = pattern(300 * 512, 0x42);
    CHECK_FALSE(files.write(*backend, 512 * 7, data));
    CHECK_FALSE(files.flush(*backend));
    Bytes back(data.size());
    CHECK_FALSE(files.read(*backend, 512 * 7, back));
    CHECK(back == data);
    // Straight reads, when the page cache has the data and the file system lets us know.
    Bytes a(700), b(324);
    const std::array pieces{std::span{a}, std::span{b}};
    if (backend->try_read(512 * 7, pieces)) {
        CHECK(std::equal(a.begin(), a.end(), data.begin()));
        CHECK(std::equal(b.begin(), b.end(), data.begin() + 700));
    }
    CHECK(files.read(*backend, (1 << 20) - 512, std::span{back}.first(1024)) == std::errc::invalid_argument);
    CHECK(files.read(*backend, ~std::uint64_t{0}, std::span{back}.first(512)) == std::errc::invalid_argument);
    CHECK(files.write(*backend, 1 << 20, std::span{back}.first(512)) == std::errc::invalid_argument);
    CHECK_FALSE(backend->try_read((1 << 20) - 512, pieces));
    backend.reset();
    std::ifstream in{path, std::ios::binary};
    Bytes all(1 << 20);
    in.read(reinterpret_cast<char*>(all.data()), 1 << 20); // NOLINT
    CHECK(std::equal(data.begin(), data.end(), all.begin() + 512 * 7));
    CHECK(fs::file_size(path) == 1 << 20);
}

TEST_CASE("requests under way keep their order") {
    Files files;
    const auto path = files.file("disk.img", Bytes(1 << 20));
    const auto backend = files.open(path, false);
    std::vector<unsigned> order;
    std::vector<Bytes> data;
    Bytes back(512);
    bool done = false;
    for (unsigned i = 0; i < 20; ++i)
        data.push_back(pattern(512, i + 1));
    {
        const std::scoped_lock held{files.lock};
        backend->flush([&](std::error_code) { order.push_back(100); }); // goes to the worker, so all queue up
        for (unsigned i = 0; i < 20; ++i)
            backend->write(0, data[i], [&, i](std::error_code) { order.push_back(i); });
        backend->read(0, back, [&](std::error_code) { done = true; });
    }
    files.wait(done);
    REQUIRE(order.size() == 21);
    CHECK(order.front() == 100);
    CHECK(std::is_sorted(order.begin() + 1, order.end()));
    CHECK(back == data.back()); // the read did not overtake the writes
}

TEST_CASE("one writer, or any number of readers") {
    Files files;
    const auto path = files.file("disk.img", Bytes(4096));
    {
        const auto writer = files.open(path, false);
        CHECK_THAT(refusal(files, path, false), Catch::Contains("in use"));
        CHECK_THAT(refusal(files, path, true), Catch::Contains("in use"));
    }
    const auto reader = files.open(path, true), another = files.open(path, true);
    CHECK_THAT(refusal(files, path, false), Catch::Contains("in use"));
}

TEST_CASE("a backend that goes away takes its completions along, and loses no write") {
    Files files;
    const auto path = files.file("disk.img", Bytes(1 << 20));
    const auto data = pattern(512, 9);
    bool called = false;
    {
        const std::scoped_lock held{files.lock};
        auto backend = files.open(path, false);
        backend->flush([&](std::error_code) { called = true; });
        backend->write(512, data, [&](std::error_code) { called = true; });
    }
    CHECK_FALSE(called);
    const auto again = files.open(path, true);
    Bytes back(512);
    CHECK_FALSE(files.read(*again, 512, back));
    CHECK(back == data);
}

TEST_CASE("acknowledged writes survive the sudden death of the process") {
    Files files;
    const auto path = files.file("disk.img", Bytes(1 << 20));
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const auto backend = files.open(path, false);
        const auto data = pattern(65536, 0x66);
        bool done = false;
        backend->write(4096, data, [&](std::error_code) { done = true; });
        files.wait(done);
        ::raise(SIGKILL);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    const auto backend = files.open(path, false); // the lock went with it
    Bytes back(65536);
    CHECK_FALSE(files.read(*backend, 4096, back));
    CHECK(back == pattern(65536, 0x66));
}

TEST_CASE("several pieces are written as one") {
    Files files;
    const auto path = files.file("disk.img", Bytes(8192));
    const auto backend = files.open(path, false);
    auto first = pattern(512, 1), second = pattern(2048, 2), third = pattern(512, 3);
    const std::array<std::span<std::uint8_t>, 3> pieces{first, second, third};
    const auto write = [&](std::uint64_t offset) {
        return files.await([&](auto done) { backend->write_pieces(offset, pieces, done); });
    };
    CHECK_FALSE(write(1024));
    CHECK(write(8192 - 3072 + 512) == std::errc::invalid_argument);
    Bytes back(8192);
    CHECK_FALSE(files.read(*backend, 0, back));
    Bytes wanted(8192);
    std::ranges::copy(third,
                      std::ranges::copy(second, std::ranges::copy(first, wanted.begin() + 1024).out).out);
    CHECK(back == wanted);
    const std::vector<std::span<std::uint8_t>> many(backend->most_write_pieces() + 1, first);
    CHECK(files.await([&](auto done) { backend->write_pieces(0, many, done); }) ==
          std::errc::invalid_argument);
    const auto reader = files.open(files.file("other.img", Bytes(8192)), true);
    CHECK(files.await([&](auto done) { reader->write_pieces(0, pieces, done); }) ==
          std::errc::read_only_file_system);
}

TEST_CASE("what the worker has to do is expected, what is at hand is not") {
    Files files;
    const auto backend = files.open(files.file("disk.img", Bytes(8192)), false);
    Bytes back(512);
    CHECK_FALSE(files.read(*backend, 0, back));
    (void)files.lock.take_expectation(); // the page cache may not have had it
    CHECK_FALSE(files.read(*backend, 0, back));
    CHECK_FALSE(files.lock.take_expectation());
    bool last = false;
    {
        const std::lock_guard held{files.lock};
        backend->flush([](std::error_code) {});
        CHECK(files.lock.take_expectation());
        backend->flush([&](std::error_code) { last = true; });
    }
    files.wait(last);
    CHECK_FALSE(files.lock.take_expectation());
}

TEST_CASE("an image that shrinks gives errors, not garbage") {
    Files files;
    const auto path = files.file("disk.img", Bytes(8192));
    const auto backend = files.open(path, false);
    fs::resize_file(path, 4096);
    Bytes back(512);
    CHECK(files.read(*backend, 6144, back) == std::errc::io_error);
}

TEST_CASE("a temporary file has no name, and holds what is written") {
    Files files;
    const auto backend = FileBackend::temporary(1 << 20, files.lock);
    CHECK(backend->size() == 1 << 20);
    CHECK_FALSE(backend->read_only());
    Bytes data(512, 0xff);
    CHECK(!files.read(*backend, 512, data));
    CHECK(data == Bytes(512, 0));
    CHECK(!files.write(*backend, 1024, pattern(512)));
    CHECK(!files.read(*backend, 1024, data));
    CHECK(data == pattern(512));
}
