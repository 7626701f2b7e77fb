// SPDX-License-Identifier: GPL-2.0-or-later
// Images in formats of their own, through qemu-nbd; NBD servers by URI, and what becomes of a disk when its
// server dies.
#include "devmodel/backends/block/nbd_backend.hpp"
#include "devmodel/backends/block/open_image.hpp"
#include "devmodel/config/machine_json.hpp"
#include "test/unit/storage/file_rig.hpp"

#include <csignal>
#include <vector>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace escalus;
using test::Bytes;
using test::Files;
using test::pattern;
namespace fs = std::filesystem;

namespace {
constexpr std::size_t image_bytes = 8 << 20;

void run(const std::string& command) {
    INFO(command);
    REQUIRE(std::system(command.c_str()) == 0); // NOLINT(concurrency-mt-unsafe,cert-env33-c)
}

struct Images : Files {
    /// An image with a pattern in it.
    std::string make(ImageFormat format) {
        const auto raw = file("source.raw", pattern(image_bytes));
        auto path = (directory / fmt::format("image.{}", to_string(format))).string();
        run(fmt::format("qemu-img convert -f raw -O {} '{}' '{}'", to_string(format), raw, path));
        return path;
    }
    std::unique_ptr<BlockBackend> open(const std::string& path, ImageFormat format, bool read_only = false,
                                       bool snapshot = false) {
        return open_image(
            {.path = path, .device = "hda", .read_only = read_only, .format = format, .snapshot = snapshot},
            loop, lock, directory);
    }
    Bytes content(const std::string& path, ImageFormat format) {
        const auto raw = (directory / "back.raw").string();
        run(fmt::format("qemu-img convert -f {} -O raw '{}' '{}'", to_string(format), path, raw));
        std::ifstream in{raw, std::ios::binary};
        return {std::istreambuf_iterator<char>{in}, {}};
    }
    std::error_code discard(BlockBackend& backend, std::uint64_t offset, std::uint64_t bytes) {
        return await([&](auto done) { backend.discard(offset, bytes, done); });
    }
    std::error_code zero(BlockBackend& backend, std::uint64_t offset, std::uint64_t bytes, bool unmap) {
        return await([&](auto done) { backend.write_zeroes(offset, bytes, unmap, done); });
    }
};

/// A server of somebody else's.
class Server {
  public:
    Server(const fs::path& directory, const std::string& image) : socket_{(directory / "theirs").string()} {
        const auto pid_file = (directory / "pid").string();
        // It comes back once the socket is there.
        run(fmt::format("qemu-nbd --fork --persistent --pid-file='{}' --format=raw --socket='{}' '{}'",
                        pid_file, socket_, image));
        std::ifstream{pid_file} >> pid_;
        REQUIRE(pid_ > 1);
    }
    ~Server() { ::kill(pid_, SIGKILL); }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    [[nodiscard]] std::string uri() const { return fmt::format("nbd+unix:///?socket={}", socket_); }
    void signal(int number) const { REQUIRE(::kill(pid_, number) == 0); }

  private:
    std::string socket_;
    pid_t pid_ = 0;
};
} // namespace

TEST_CASE("images of other formats are read, written and kept") {
    const auto format = GENERATE(ImageFormat::Qcow2, ImageFormat::Qcow, ImageFormat::Vmdk, ImageFormat::Vdi,
                                 ImageFormat::Vhd, ImageFormat::Vhdx);
    INFO(to_string(format));
    Images images;
    const auto path = images.make(format);
    auto expected = pattern(image_bytes);
    {
        auto disk = images.open(path, format);
        REQUIRE(disk->size() >= image_bytes); // a VHD has whole cylinders
        Bytes data(300 * 512);
        REQUIRE(!images.read(*disk, 1024, data));
        CHECK(std::equal(data.begin(), data.end(), expected.begin() + 1024));
        const auto written = pattern(300 * 512, 0x5a);
        REQUIRE(!images.write(*disk, 4096, written));
        std::ranges::copy(written, expected.begin() + 4096);
        REQUIRE(!images.read(*disk, 4096, data));
        CHECK(data == written);
        CHECK(!images.flush(*disk));
        CHECK(images.read(*disk, disk->size(), data) == std::errc::invalid_argument);
        if (disk->can_trim()) {
            CHECK(!images.discard(*disk, 1 << 20, 1 << 16));
            CHECK(!images.zero(*disk, 1 << 20, 1 << 16, false));
            std::fill_n(expected.begin() + (1 << 20), 1 << 16, std::uint8_t{0});
        }
    }
    // The server has ended, and the image is whole.
    auto kept = images.content(path, format);
    kept.resize(image_bytes);
    CHECK(kept == expected);
    CHECK(std::distance(fs::directory_iterator{images.directory}, {}) == 3); // no socket is left
}

TEST_CASE("a snapshot of an image of another format leaves it alone") {
    Images images;
    const auto path = images.make(ImageFormat::Qcow2);
    {
        auto disk = images.open(path, ImageFormat::Qcow2, false, true);
        CHECK_FALSE(disk->read_only());
        REQUIRE(!images.write(*disk, 4096, pattern(4096, 0x33)));
        Bytes data(4096);
        REQUIRE(!images.read(*disk, 4096, data));
        CHECK(data == pattern(4096, 0x33));
    }
    CHECK(images.content(path, ImageFormat::Qcow2) == pattern(image_bytes));
}

TEST_CASE("an image that is read-only") {
    Images images;
    auto disk = images.open(images.make(ImageFormat::Qcow2), ImageFormat::Qcow2, true);
    CHECK(disk->read_only());
    CHECK(images.write(*disk, 0, pattern(512)) == std::errc::read_only_file_system);
    CHECK(!images.flush(*disk));
    Bytes data(512);
    CHECK(!images.read(*disk, 512, data));
}

TEST_CASE("an image that is not what it is said to be") {
    Images images;
    const auto raw = images.file("raw.img", pattern(image_bytes));
    CHECK_THROWS_WITH(images.open(raw, ImageFormat::Qcow2),
                      Catch::Contains(raw) && Catch::Contains("could not open it as qcow2"));
    CHECK(images.content(raw, ImageFormat::Raw) == pattern(image_bytes));
}

TEST_CASE("several requests at once, and no harm in going away with some under way") {
    Images images;
    auto disk = images.open(images.make(ImageFormat::Qcow2), ImageFormat::Qcow2);
    constexpr std::size_t count = 40, bytes = 128 << 10;
    std::vector<Bytes> buffers(count, Bytes(bytes));
    unsigned ended = 0;
    {
        const std::scoped_lock held{images.lock};
        for (std::size_t i = 0; i < count; ++i)
            disk->read(i * bytes, buffers[i], [&](std::error_code error) {
                CHECK(!error);
                ++ended;
            });
    }
    while (ended != count)
        images.loop.run_one();
    const auto expected = pattern(image_bytes);
    for (std::size_t i = 0; i < count; ++i)
        CHECK(std::equal(buffers[i].begin(), buffers[i].end(),
                         expected.begin() + static_cast<std::ptrdiff_t>(i * bytes)));
    {
        const std::scoped_lock held{images.lock};
        for (auto& buffer : buffers)
            disk->read(0, buffer, [](std::error_code) { FAIL("it came after the disk had gone"); });
        disk.reset();
    }
    images.loop.poll();
}

TEST_CASE("a server by URI, and its death") {
    Images images;
    const auto served = pattern(image_bytes);
    Server server{images.directory, images.file("served", served)};
    auto disk = images.open(server.uri(), ImageFormat::Raw);
    CHECK(disk->size() == image_bytes);
    Bytes data(4096);
    REQUIRE(!images.read(*disk, 8192, data));
    CHECK(std::equal(data.begin(), data.end(), served.begin() + 8192));
    REQUIRE(!images.write(*disk, 0, pattern(512, 0x99)));
    REQUIRE(!images.flush(*disk));
    // Stopped, it does not answer; killed, it never will.
    server.signal(SIGSTOP);
    std::vector<std::error_code> results;
    const auto late = pattern(512);
    {
        const std::scoped_lock held{images.lock};
        const auto note = [&](std::error_code error) { results.push_back(error); };
        disk->read(0, data, note);
        disk->write(0, late, note);
        disk->flush(note);
    }
    CHECK(results.empty());
    server.signal(SIGKILL);
    while (results.size() != 3)
        images.loop.run_one();
    for (const auto error : results)
        CHECK(error);
    CHECK(images.read(*disk, 0, data));
    CHECK(images.write(*disk, 0, data));
    CHECK(images.flush(*disk));
    // What had been acknowledged is there.
    std::ifstream in{images.directory / "served", std::ios::binary};
    Bytes start(512);
    in.read(reinterpret_cast<char*>(start.data()), 512); // NOLINT(*-reinterpret-cast)
    CHECK(start == pattern(512, 0x99));
}

TEST_CASE("a server that is not there") {
    Images images;
    const auto uri = fmt::format("nbd+unix:///?socket={}/nobody", images.directory.string());
    CHECK_THROWS_WITH(images.open(uri, ImageFormat::Raw),
                      Catch::Contains(uri) && Catch::Contains("no NBD server"));
}
