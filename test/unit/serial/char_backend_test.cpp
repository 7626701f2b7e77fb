// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/char/open_char_backend.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

using namespace escalus;
using namespace std::chrono_literals;

namespace {
struct Directory {
    Directory() {
        std::string pattern = (std::filesystem::temp_directory_path() / "escalus-char-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path = pattern;
    }
    ~Directory() { std::filesystem::remove_all(path); }
    [[nodiscard]] std::string operator/(const char* name) const { return (path / name).string(); }
    std::filesystem::path path;
};

struct Rig {
    std::unique_ptr<CharBackend> open(SerialKind kind, const std::string& path) {
        auto backend = open_char_backend(loop, lock, {kind, path}, "");
        backend->on_receive([this](std::span<const std::uint8_t> bytes) {
            const auto count = std::min(room, bytes.size());
            received.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
            room -= count;
            return count;
        });
        return backend;
    }
    void send(CharBackend& backend, std::string_view text) {
        const std::scoped_lock guard{lock};
        const std::vector<std::uint8_t> bytes(text.begin(), text.end());
        backend.send(bytes);
    }
    /// Runs the loop until `done`, or gives up after five seconds.
    template <typename Done>
    void run_until(Done done) {
        const auto end = std::chrono::steady_clock::now() + 5s;
        while (!done() && std::chrono::steady_clock::now() < end)
            loop.run_one_for(20ms);
        CHECK(done());
    }
    boost::asio::io_context loop;
    DeviceLock lock;
    std::string received;
    std::size_t room = 1'000'000;
};

int connect_to(const std::string& path) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const void* generic = &address;
    REQUIRE(::connect(fd, static_cast<const sockaddr*>(generic), sizeof address) == 0);
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}
void read_into(int fd, std::string& text) {
    std::array<char, 4096> buffer{};
    for (ssize_t n = 0; (n = ::read(fd, buffer.data(), buffer.size())) > 0;)
        text.append(buffer.data(), static_cast<std::size_t>(n));
}
std::string contents(const std::string& path) {
    std::ifstream file{path};
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}
} // namespace

TEST_CASE("clients of the unix socket come and go, and the first gets what was printed before") {
    Directory directory;
    Rig rig;
    const auto path = directory / "serial0";
    auto backend = rig.open(SerialKind::Unix, path);
    CHECK(backend->description() == path);
    struct stat there {};
    REQUIRE(::stat(path.c_str(), &there) == 0);
    CHECK((there.st_mode & 0777) == 0600);

    rig.send(*backend, "boot ");
    std::string a_text, b_text;
    const int a = connect_to(path);
    rig.run_until([&] { return read_into(a, a_text), a_text == "boot "; });
    const int b = connect_to(path);
    rig.run_until([&] {
        rig.send(*backend, "x"); // until b is there
        read_into(a, a_text);
        read_into(b, b_text);
        return !b_text.empty();
    });
    CHECK(::write(a, "from a", 6) == 6);
    rig.run_until([&] { return rig.received == "from a"; });
    ::close(a);
    rig.run_until([&] {
        rig.send(*backend, "y"); // a reset connection must not hurt (no SIGPIPE)
        read_into(b, b_text);
        return b_text.size() > 3;
    });
    CHECK(::write(b, " from b", 7) == 7);
    rig.run_until([&] { return rig.received == "from a from b"; });
    ::close(b);
    rig.run_until([&] {
        rig.loop.poll();
        return true;
    });
    const int c = connect_to(path);
    CHECK(::write(c, " from c", 7) == 7);
    rig.run_until([&] { return rig.received == "from a from b from c"; });
    backend.reset();
    CHECK_FALSE(std::filesystem::exists(path));
    rig.loop.run_for(10ms); // completions that were under way do nothing
    ::close(c);
}

TEST_CASE("a device without room stops the reading, and nothing is lost") {
    Directory directory;
    Rig rig;
    auto backend = rig.open(SerialKind::Unix, directory / "s");
    rig.room = 3;
    const int fd = connect_to(directory / "s");
    CHECK(::write(fd, "0123456789", 10) == 10);
    rig.run_until([&] { return rig.received == "012"; });
    rig.loop.run_for(20ms);
    CHECK(rig.received == "012");
    rig.room = 5;
    {
        const std::scoped_lock guard{rig.lock};
        backend->ready();
        backend->ready();
        CHECK(rig.received == "012"); // never from within the call
    }
    rig.run_until([&] { return rig.received == "01234567"; });
    rig.room = 100;
    {
        const std::scoped_lock guard{rig.lock};
        backend->ready();
    }
    rig.run_until([&] { return rig.received == "0123456789"; });
    CHECK(::write(fd, "ab", 2) == 2);
    rig.run_until([&] { return rig.received == "0123456789ab"; });
    ::close(fd);
}

TEST_CASE("what nobody takes is kept up to the limit, the newest of it") {
    Directory directory;
    Rig rig;
    auto backend = rig.open(SerialKind::Unix, directory / "s");
    for (int i = 0; i < 300; ++i)
        rig.send(*backend, std::string(1000, static_cast<char>('a' + i % 26)));
    rig.send(*backend, "END");
    const int fd = connect_to(directory / "s");
    std::string text;
    rig.run_until([&] { return read_into(fd, text), text.ends_with("END"); });
    CHECK(text.size() == char_buffer_limit);
    ::close(fd);
}

TEST_CASE("a socket file is replaced only when it is one and nobody listens") {
    Directory directory;
    Rig rig;
    const auto path = directory / "s";
    auto first = rig.open(SerialKind::Unix, path);
    CHECK_THROWS_WITH(rig.open(SerialKind::Unix, path), Catch::Contains(path));
    first.reset();
    std::ofstream{path} << "precious";
    CHECK_THROWS_WITH(rig.open(SerialKind::Unix, path), Catch::Contains("not a socket"));
    CHECK(contents(path) == "precious");
    CHECK_THROWS_WITH(rig.open(SerialKind::Unix, directory / "no/such/dir"), Catch::Contains("no/such/dir"));
    CHECK_THROWS_WITH(rig.open(SerialKind::Unix, "/" + std::string(200, 'x')), Catch::Contains("too long"));
}

TEST_CASE("a file gets everything, at the latest when the machine ends") {
    Directory directory;
    Rig rig;
    const auto path = directory / "log";
    std::ofstream{path} << "an older log";
    auto backend = rig.open(SerialKind::File, path);
    std::string all;
    for (int i = 0; i < 10'000; ++i) {
        rig.send(*backend, "line\n");
        all += "line\n";
    }
    rig.send(*backend, "end");
    rig.run_until([&] { return contents(path) == all + "end"; });
    rig.send(*backend, "!");
    backend.reset();
    CHECK(contents(path) == all + "end!");
    rig.loop.run_for(10ms);
    CHECK_THROWS_WITH(rig.open(SerialKind::File, directory / "no/log"), Catch::Contains("no/log"));
}

TEST_CASE("a file that is a FIFO or /dev/null does not block") {
    Directory directory;
    Rig rig;
    const auto path = directory / "fifo";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    auto backend = rig.open(SerialKind::File, path);
    for (int i = 0; i < 300; ++i)
        rig.send(*backend, std::string(1000, 'x'));
    rig.loop.run_for(20ms);
    auto null = rig.open(SerialKind::File, "/dev/null");
    rig.send(*null, "gone");
    rig.loop.run_for(5ms);
}

TEST_CASE("the slave of a pseudo-terminal may be opened again and again") {
    Rig rig;
    auto backend = rig.open(SerialKind::Pty, "");
    const auto path = backend->description();
    CHECK(path.starts_with("/dev/pts/"));
    for (int round = 0; round < 3; ++round) {
        const int fd = ::open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK);
        REQUIRE(fd >= 0);
        rig.send(*backend, "login:\r\n");
        std::string text;
        rig.run_until([&] { return read_into(fd, text), text.ends_with("login:\r\n"); });
        rig.received.clear();
        CHECK(::write(fd, "root\r\003", 6) == 6); // raw: no echo, no signal, no translation
        rig.run_until([&] { return rig.received == "root\r\003"; });
        ::close(fd);
    }
}

TEST_CASE("no serial port, no backend") {
    Rig rig;
    CHECK(open_char_backend(rig.loop, rig.lock, {SerialKind::None, ""}, "") == nullptr);
}
