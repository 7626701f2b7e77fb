// SPDX-License-Identifier: GPL-2.0-or-later
// What a guest does to its disk while `./lab bench` measures it: whole mebibytes one after the other, and
// single blocks of 4 KiB here and there, each written and read, past the page cache (O_DIRECT). Before each
// phase and after the last it is quiet for a while, so that exits can be counted from outside.
//   disk-load DEVICE           prints `load PHASE done SECONDS s BYTES bytes` for each phase
//   disk-load DEVICE cached    the same through the page cache, without rests, as a device model asks for it
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

constexpr std::size_t mebibyte = 1 << 20, block = 4096;
constexpr std::size_t sequential = 48, passes = 12, random_blocks = 5000; // requests a phase: 576 and 5000
constexpr unsigned quiet_seconds = 5;

[[noreturn]] void fail(const char* what) {
    std::printf("load failed: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

class Disk {
  public:
    Disk(const char* path, bool cached) : fd_{open(path, O_RDWR | O_CLOEXEC | (cached ? 0 : O_DIRECT))} {
        if (fd_ < 0 || buffer_ == MAP_FAILED || madvise(buffer_, mebibyte, MADV_NOHUGEPAGE) != 0)
            fail(path);
        scatter();
    }
    ~Disk() {
        munmap(buffer_, mebibyte);
        close(fd_);
    }
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;

    void access(bool write, std::size_t bytes, std::size_t offset) {
        const auto at = static_cast<off_t>(offset);
        const auto done = write ? pwrite(fd_, buffer_, bytes, at) : pread(fd_, buffer_, bytes, at);
        if (done != static_cast<ssize_t>(bytes))
            fail(write ? "writing" : "reading");
    }
    void flush() {
        if (fsync(fd_) != 0)
            fail("flushing");
    }

  private:
    /// Its pages do not lie one behind the other in physical memory, as those of a page cache that has been
    /// in use: how many requests a driver makes of a mebibyte goes by that, and should not go by chance. The
    /// kernel gives a page when it is first touched, mostly the one after the last.
    void scatter() {
        constexpr std::size_t pages = mebibyte / block, step = 101; // odd: comes to each page once
        for (std::size_t i = 0; i < pages; ++i)
            std::memset(static_cast<char*>(buffer_) + i * step % pages * block, 0x5a, block);
    }

    int fd_;
    void* buffer_ = mmap(nullptr, mebibyte, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
};

void quiet() {
    std::fflush(stdout);
    sleep(quiet_seconds);
}

template <typename Work>
void phase(const char* name, bool rest, std::size_t bytes, Work work) {
    if (rest)
        quiet();
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    std::printf("load %s done %.4f s %zu bytes\n", name, passed.count(), bytes);
}

} // namespace

int main(int argc, char** argv) {
    const bool cached = argc == 3 && argv[2] == std::string_view{"cached"};
    if (argc != 2 && !cached) {
        std::fputs("usage: disk-load DEVICE [cached]\n", stderr);
        return 2;
    }
    Disk disk{argv[1], cached};
    for (const bool write : {true, false}) {
        phase(write ? "sequential-write" : "sequential-read", !cached, passes * sequential * mebibyte, [&] {
            for (std::size_t i = 0; i < passes * sequential; ++i)
                disk.access(write, mebibyte, i % sequential * mebibyte);
            disk.flush();
        });
        phase(write ? "random-write" : "random-read", !cached, random_blocks * block, [&] {
            std::mt19937 any{1}; // the same places each time
            for (std::size_t i = 0; i < random_blocks; ++i)
                disk.access(write, block, any() % (sequential * mebibyte / block) * block);
            disk.flush();
        });
    }
    if (!cached)
        quiet();
    std::puts("load: END");
    return 0;
}
