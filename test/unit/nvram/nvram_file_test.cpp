// SPDX-License-Identifier: GPL-2.0-or-later
// The file of a small non-volatile memory: made, kept, finished after a crash, refused.
#include "devmodel/backends/nvram/nvram_file.hpp"
#include "devmodel/backends/nvram/nvram_journal.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <sys/resource.h>

using namespace escalus;

namespace {
namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

struct Fixture {
    Fixture() {
        std::string name = (fs::temp_directory_path() / "escalus-nvram-XXXXXX").string();
        folder = ::mkdtemp(name.data());
        path = folder / "var" / "guest.fd";
        for (std::size_t i = 0; i < initial.size(); ++i)
            initial[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
    }
    ~Fixture() { fs::remove_all(folder); }
    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;

    std::unique_ptr<NvramFile> open() { return NvramFile::open(path, initial, loop, lock); }
    [[nodiscard]] Bytes file() const {
        std::ifstream in{path, std::ios::binary};
        return {std::istreambuf_iterator<char>{in}, {}};
    }
    void append(const Bytes& bytes) const {
        std::ofstream out{path, std::ios::binary | std::ios::app};
        for (const auto byte : bytes)
            out.put(static_cast<char>(byte));
    }
    std::string refusal() {
        try {
            open();
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return {};
    }

    fs::path folder, path;
    boost::asio::io_context loop;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{loop.get_executor()};
    DeviceLock lock;
    Bytes initial = Bytes(5 * nvram_page + 100);
};

Bytes copy(std::span<const std::uint8_t> bytes) {
    return {bytes.begin(), bytes.end()};
}

} // namespace

TEST_CASE_METHOD(Fixture, "the first start makes the file; what is written is there at the next") {
    {
        const auto nvram = open();
        CHECK((copy(nvram->contents()) == initial));
        CHECK((file() == initial));
        nvram->write(3, Bytes{1, 2, 3});
        nvram->commit();
        nvram->write(nvram_page - 1, Bytes{9, 9}); // over a page's end, while the first is on its way
        nvram->commit();
        nvram->write(initial.size() - 1, Bytes{77}); // never committed: the end does that
    }
    auto wanted = initial;
    wanted[3] = 1, wanted[4] = 2, wanted[5] = 3;
    wanted[nvram_page - 1] = wanted[nvram_page] = 9;
    wanted.back() = 77;
    CHECK((file() == wanted));
    CHECK((copy(open()->contents()) == wanted));
    CHECK((fs::status(path).permissions() & fs::perms::all) ==
          (fs::perms::owner_read | fs::perms::owner_write));
}

TEST_CASE_METHOD(Fixture, "commits come through while the machine runs, one after the other") {
    const auto nvram = open();
    auto wanted = initial;
    for (unsigned i = 0; i < 50; ++i) {
        wanted[i * 400] = static_cast<std::uint8_t>(i);
        nvram->write(i * 400, std::span{wanted}.subspan(i * 400, 1));
        nvram->commit();
    }
    // Each completion starts the next, which has all that came meanwhile: at most two in all.
    CHECK(loop.run_one() == 1);
    CHECK(loop.run_one() == 1);
    CHECK((file() == wanted));
    CHECK(loop.poll() == 0);
}

TEST_CASE_METHOD(Fixture, "a whole record is finished, a torn one dropped") {
    open();
    auto wanted = initial;
    wanted[0] = 0xaa;
    wanted[2 * nvram_page + 5] = 0xbb;
    wanted.back() = 0xcc; // the last page is short
    const auto record = make_nvram_record(wanted, std::vector<std::uint32_t>{0, 2, 5});
    for (std::size_t length = 0; length < record.size(); length += 997) {
        append({record.begin(), record.begin() + static_cast<std::ptrdiff_t>(length)});
        CHECK((copy(open()->contents()) == initial));
        CHECK((file() == initial));
    }
    for (const std::size_t wrong :
         {std::size_t{3}, std::size_t{9}, std::size_t{13}, std::size_t{17}, record.size() - 1}) {
        auto bad = record;
        bad[wrong] ^= 1;
        append(bad);
        CHECK((copy(open()->contents()) == initial));
        CHECK((file() == initial));
    }
    append(record);
    CHECK((copy(open()->contents()) == wanted));
    CHECK((file() == wanted));
}

TEST_CASE_METHOD(Fixture, "a record of pages that the image has not changes nothing") {
    auto image = initial;
    auto record = make_nvram_record(Bytes(20 * nvram_page), std::vector<std::uint32_t>{1, 19});
    CHECK(!apply_nvram_record(record, image));
    CHECK((image == initial));
    CHECK(!apply_nvram_record({}, image));
}

TEST_CASE_METHOD(Fixture, "files that cannot be used are refused with what to do") {
    {
        const auto nvram = open();
        CHECK_THAT(refusal(), Catch::Contains("in use by another machine"));
    }
    fs::resize_file(path, 1000);
    CHECK_THAT(refusal(), Catch::Contains("has 1000 bytes, not") && Catch::Contains("nvram = "));
    CHECK(fs::file_size(path) == 1000);
    fs::remove(path);
    fs::create_directory(path);
    CHECK_THAT(refusal(), Catch::Contains("cannot be opened"));
    path = folder / "var" / "guest.fd" / "x";
    fs::remove(path.parent_path());
    std::ofstream{path.parent_path()} << "a file where a folder should be";
    CHECK_THAT(refusal(), Catch::Contains("cannot be"));
}

TEST_CASE_METHOD(Fixture, "what cannot be written is said, and tried again") {
    auto wanted = initial;
    wanted[1] = 0xee;
    {
        const auto nvram = open();
        rlimit before{};
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
        const rlimit full{initial.size(), before.rlim_max}; // no room for a record
        struct sigaction ignore {
        }, old{};
        ignore.sa_handler = SIG_IGN; // NOLINT
        ::sigaction(SIGXFSZ, &ignore, &old);
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &full) == 0);
        nvram->write(1, std::span{wanted}.subspan(1, 1));
        nvram->commit();
        CHECK(loop.run_one() == 1);
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
        ::sigaction(SIGXFSZ, &old, nullptr);
        CHECK(!nvram->healthy());
        CHECK((file() == initial));
        nvram->commit();
        CHECK(loop.run_one() == 1);
        CHECK(nvram->healthy());
    }
    CHECK((file() == wanted));
}
