// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/nvram/nvram_file.hpp"

#include "devmodel/backends/host/descriptor.hpp"
#include "devmodel/backends/nvram/nvram_journal.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace escalus {

namespace {
namespace fs = std::filesystem;

std::error_code last_error() {
    return {errno, std::system_category()};
}

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
    throw std::runtime_error{fmt::format("the file of the firmware's variables, {}, {}", path, why)};
}

std::error_code write_all(int fd, std::uint64_t offset, std::span<const std::uint8_t> data) {
    while (!data.empty()) {
        const auto n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? last_error() : std::make_error_code(std::errc::no_space_on_device);
        data = data.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return {};
}

std::error_code read_all(int fd, std::span<std::uint8_t> data) {
    for (std::uint64_t offset = 0; offset < data.size();) {
        const auto n = ::pread(fd, data.data() + offset, data.size() - offset, static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? last_error() : std::make_error_code(std::errc::io_error);
        offset += static_cast<std::uint64_t>(n);
    }
    return {};
}

std::error_code sync(int fd) {
    return ::fdatasync(fd) == 0 ? std::error_code{} : last_error();
}
std::error_code cut(int fd, std::uint64_t size) {
    return ::ftruncate(fd, static_cast<off_t>(size)) == 0 ? std::error_code{} : last_error();
}

/// What the first start does: the whole file appears at once, or not at all.
void make_file(const std::string& path, std::span<const std::uint8_t> initial) {
    std::error_code error;
    if (const auto folder = fs::path{path}.parent_path(); !folder.empty())
        fs::create_directories(folder, error);
    if (error)
        refuse(path, fmt::format("cannot be made: its folder: {}", error.message()));
    const auto partial = path + ".new";
    const Descriptor fd{::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (fd.get() < 0)
        refuse(path, fmt::format("cannot be made: {}", last_error().message()));
    error = write_all(fd.get(), 0, initial);
    if (!error)
        error = sync(fd.get());
    if (!error && ::rename(partial.c_str(), path.c_str()) != 0)
        error = last_error();
    if (error) {
        ::unlink(partial.c_str());
        refuse(path, fmt::format("cannot be made: {}", error.message()));
    }
}

void lock_file(const std::string& path, int fd) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET; // length 0: to the end, whatever that becomes
    if (::fcntl(fd, F_OFD_SETLK, &lock) != 0 && (errno == EACCES || errno == EAGAIN))
        refuse(path, "is in use by another machine: each needs one of its own (nvram = '/PATH')");
}

/// Puts a record behind the image, its pages into the image, and cuts it off again.
std::error_code store(int fd, std::uint64_t image_bytes, std::span<const std::uint8_t> record,
                      std::span<const std::uint8_t> image, std::span<const std::uint32_t> pages) {
    auto error = write_all(fd, image_bytes, record);
    if (!error)
        error = sync(fd);
    if (error) {
        cut(fd, image_bytes); // a record that is not whole is dropped anyway
        return error;
    }
    for (const auto page : pages)
        if (!error) {
            const auto begin = page * nvram_page;
            error = write_all(fd, begin, image.subspan(begin, std::min(nvram_page, image.size() - begin)));
        }
    if (!error)
        error = sync(fd);
    // The record stays when its pages did not all get to their places.
    return error ? error : cut(fd, image_bytes);
}
} // namespace

struct NvramFile::State {
    State(std::string file, Descriptor descriptor, boost::asio::io_context& io, DeviceLock& device_lock)
        : path{std::move(file)}, fd{std::move(descriptor)}, loop{io}, lock{device_lock} {}

    void read_image(std::size_t size);
    [[nodiscard]] std::vector<std::uint32_t> take_dirty() {
        std::vector<std::uint32_t> pages;
        for (std::uint32_t page = 0; page < dirty.size(); ++page)
            if (std::exchange(dirty[page], std::uint8_t{0}) != 0)
                pages.push_back(page);
        return pages;
    }
    void finished(std::error_code error) {
        for (const auto page : in_flight)
            dirty[page] |= error ? 1 : 0;
        in_flight.clear();
        if (error && healthy)
            fmt::print(stderr, "{}: the firmware's variables cannot be kept: {}\n", path, error.message());
        healthy = !error;
    }
    void start();

    std::string path;
    Descriptor fd;
    boost::asio::io_context& loop;
    DeviceLock& lock;
    std::vector<std::uint8_t> image;
    std::vector<std::uint8_t> dirty; // by page: 0 or 1
    bool healthy = true;
    std::vector<std::uint32_t> in_flight; // pages that the worker has
    std::error_code result;               // the worker's, for the destructor
    bool again = false;                   // commit() came while the worker was at it
    std::shared_ptr<int> token = std::make_shared<int>(0);
    boost::asio::thread_pool worker{1}; // last: joined before anything it uses goes
};

void NvramFile::State::read_image(std::size_t size) {
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0)
        refuse(path, last_error().message());
    if (!S_ISREG(info.st_mode))
        refuse(path, "is not a regular file");
    const auto there = static_cast<std::size_t>(info.st_size);
    constexpr std::size_t record_limit = 64u << 20;
    if (there < size || there > size + record_limit)
        refuse(path, fmt::format("has {} bytes, not {}: it is another firmware's; move it away to start "
                                 "with fresh variables, or name another with nvram = '/PATH'",
                                 there, size));
    std::vector<std::uint8_t> all(there);
    if (const auto error = read_all(fd.get(), all))
        refuse(path, fmt::format("cannot be read: {}", error.message()));
    const auto record = std::span{all}.subspan(size);
    image.assign(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(size));
    dirty.assign((size + nvram_page - 1) / nvram_page, 0);
    if (record.empty())
        return;
    std::error_code error;
    if (apply_nvram_record(record, image)) {
        error = write_all(fd.get(), 0, image);
        if (!error)
            error = sync(fd.get());
    }
    if (!error)
        error = cut(fd.get(), size);
    if (error)
        refuse(path, fmt::format("cannot be brought up to date: {}", error.message()));
}

void NvramFile::State::start() {
    in_flight = take_dirty();
    if (in_flight.empty())
        return;
    boost::asio::post(worker, [this, pages = in_flight, copy = image] {
        const auto error = store(fd.get(), copy.size(), make_nvram_record(copy, pages), copy, pages);
        result = error;
        boost::asio::post(loop, [this, error, alive = std::weak_ptr{token}, &device_lock = lock] {
            const std::scoped_lock guard{device_lock};
            if (alive.expired())
                return;
            finished(error);
            if (std::exchange(again, false))
                start();
        });
    });
}

std::unique_ptr<NvramFile> NvramFile::open(const std::string& path, std::span<const std::uint8_t> initial,
                                           boost::asio::io_context& loop, DeviceLock& device_lock) {
    constexpr int flags = O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = ::open(path.c_str(), flags);
    if (fd < 0 && errno == ENOENT) {
        make_file(path, initial);
        fd = ::open(path.c_str(), flags);
    }
    if (fd < 0)
        refuse(path, fmt::format("cannot be opened: {}", last_error().message()));
    auto state = std::make_unique<State>(path, Descriptor{fd}, loop, device_lock);
    lock_file(path, fd);
    state->read_image(initial.size());
    return std::unique_ptr<NvramFile>{new NvramFile{std::move(state)}};
}

NvramFile::NvramFile(std::unique_ptr<State> state) : state_{std::move(state)} {}

NvramFile::~NvramFile() {
    State& s = *state_;
    s.worker.join();
    if (!s.in_flight.empty())
        s.finished(s.result); // its completion will not come any more
    if (const auto pages = s.take_dirty(); !pages.empty())
        s.finished(store(s.fd.get(), s.image.size(), make_nvram_record(s.image, pages), s.image, pages));
}

std::span<const std::uint8_t> NvramFile::contents() const {
    return state_->image;
}
bool NvramFile::healthy() const {
    return state_->healthy;
}

void NvramFile::write(std::uint64_t offset, std::span<const std::uint8_t> data) {
    State& s = *state_;
    std::ranges::copy(data, s.image.begin() + static_cast<std::ptrdiff_t>(offset));
    for (auto page = offset / nvram_page; page * nvram_page < offset + data.size(); ++page)
        s.dirty.at(page) = 1;
}

void NvramFile::commit() {
    State& s = *state_;
    if (s.in_flight.empty())
        s.start();
    else
        s.again = true;
}

} // namespace escalus
