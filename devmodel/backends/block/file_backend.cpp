// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/block/file_backend.hpp"

#include "devmodel/backends/block/image_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace escalus {

namespace {
constexpr std::uint64_t sector_bytes = 512;
constexpr std::size_t most_pieces = 1024; // IOV_MAX

std::error_code system_error(int number) {
    return {number, std::system_category()};
}

bool unsupported(const std::error_code& error) {
    return error.value() == EOPNOTSUPP || error.value() == ENOSYS || error.value() == EINVAL;
}

// fallocate works on files and on block devices.
std::error_code punch(int fd, std::uint64_t offset, std::uint64_t bytes, int mode) {
    while (::fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(bytes)) != 0)
        if (errno != EINTR)
            return system_error(errno);
    return {};
}

// pread/pwrite of all bytes.
std::error_code read_all(int fd, std::uint64_t offset, std::span<std::uint8_t> data) {
    while (!data.empty()) {
        const auto n = ::pread(fd, data.data(), data.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return system_error(errno);
        if (n == 0) // the file has shrunk under us
            return std::make_error_code(std::errc::io_error);
        data = data.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return {};
}

// The pieces without their first `bytes` bytes.
std::span<iovec> without(std::span<iovec> pieces, std::size_t bytes) {
    while (!pieces.empty() && bytes >= pieces.front().iov_len) {
        bytes -= pieces.front().iov_len;
        pieces = pieces.subspan(1);
    }
    if (bytes != 0)
        pieces.front() = {static_cast<std::uint8_t*>(pieces.front().iov_base) + bytes, // NOLINT
                          pieces.front().iov_len - bytes};
    return pieces;
}

std::error_code write_all(int fd, std::uint64_t offset, std::span<iovec> pieces) {
    while (!(pieces = without(pieces, 0)).empty()) {
        const auto n =
            ::pwritev(fd, pieces.data(), static_cast<int>(pieces.size()), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? system_error(errno) : std::make_error_code(std::errc::no_space_on_device);
        pieces = without(pieces, static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return {};
}

// iovec has no const; the kernel only reads from it.
iovec piece_of(std::span<const std::uint8_t> data) {
    return {const_cast<std::uint8_t*>(data.data()), data.size()}; // NOLINT
}

std::error_code write_all(int fd, std::uint64_t offset, std::span<const std::uint8_t> data) {
    auto piece = piece_of(data);
    return write_all(fd, offset, std::span{&piece, 1});
}

/// fstat() that works in the sandbox: the C library makes it from newfstatat, which takes paths as well and
/// is refused there.
bool look_at(int fd, struct stat& info) {
    return ::syscall(SYS_fstat, fd, &info) == 0;
}

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
    throw std::runtime_error{fmt::format("{}: {}", path, why)};
}
} // namespace

struct FileBackend::State {
    State(std::string image_path, Descriptor descriptor, DeviceLock& device_lock)
        : path{std::move(image_path)}, fd{std::move(descriptor)}, lock{device_lock} {}

    // Runs `work` on the worker, then `done` with the device lock held, unless the backend has been destroyed
    // in between. The worker never waits for the lock: who has it may be destroying this.
    template <typename Work>
    void submit(Work work, Completion done) {
        ++pending;
        lock.expect_work();
        boost::asio::post(worker, [this, work = std::move(work), done = std::move(done)]() mutable {
            const auto error = work();
            lock.run_held([this, error, done = std::move(done), alive = std::weak_ptr{token}] {
                if (alive.expired())
                    return;
                if (--pending == 0)
                    lock.expect_no_work();
                done(error);
            });
        });
    }

    // The part of a request that the file has; the rest, up to the padded size, is zero.
    [[nodiscard]] std::size_t there(std::uint64_t offset, std::size_t bytes) const {
        return offset >= file_bytes
                   ? 0
                   : static_cast<std::size_t>(std::min<std::uint64_t>(bytes, file_bytes - offset));
    }
    [[nodiscard]] bool in_range(std::uint64_t offset, std::size_t bytes) const {
        return offset <= size && bytes <= size - offset;
    }
    bool read_at_hand(std::uint64_t offset, std::span<iovec> pieces, std::size_t bytes);
    bool write_at_hand(std::uint64_t offset, std::span<const iovec> pieces, std::size_t bytes);

    std::string path;
    Descriptor fd;
    DeviceLock& lock;
    std::uint64_t file_bytes = 0;
    std::uint64_t size = 0; // file_bytes, padded to whole sectors
    bool read_only = false;
    bool in_memory = false;   // tmpfs: a plain read never waits for a device
    bool inline_reads = true; // the file system knows RWF_NOWAIT
    bool inline_writes = true;
    std::error_code flush_error; // what the first flush that failed said; the worker's
    unsigned pending = 0;        // requests handed to the worker that have not completed
    std::shared_ptr<int> token = std::make_shared<int>(0);
    boost::asio::thread_pool worker{1}; // last: joined before anything it uses goes
};

// Only without waiting, and only when nothing is under way that it must not overtake.
[[gnu::hot]] bool FileBackend::State::read_at_hand(std::uint64_t offset, std::span<iovec> pieces,
                                                   std::size_t bytes) {
    if (pending != 0 || !inline_reads || bytes != there(offset, bytes))
        return false;
    const auto n = ::preadv2(fd.get(), pieces.data(), static_cast<int>(pieces.size()),
                             static_cast<off_t>(offset), in_memory ? 0 : RWF_NOWAIT);
    if (n < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS))
        inline_reads = false;
    return n == static_cast<ssize_t>(bytes);
}

[[gnu::hot]] bool FileBackend::State::write_at_hand(std::uint64_t offset, std::span<const iovec> pieces,
                                                    std::size_t bytes) {
    if (pending != 0 || !inline_writes)
        return false;
    const auto n = ::pwritev2(fd.get(), pieces.data(), static_cast<int>(pieces.size()),
                              static_cast<off_t>(offset), in_memory ? 0 : RWF_NOWAIT);
    if (n < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS))
        inline_writes = false;
    return n == static_cast<ssize_t>(bytes); // a part of it is written again, as a whole
}

std::unique_ptr<FileBackend> FileBackend::open(const std::string& path, bool read_only,
                                               DeviceLock& device_lock) {
    return adopt(open_image_file(path, read_only), path, device_lock);
}

// Does what the sandbox lets it do: the descriptor may come from a process that has more rights.
std::unique_ptr<FileBackend> FileBackend::adopt(Descriptor image, const std::string& path,
                                                DeviceLock& device_lock) {
    struct stat info {};
    const int mode = ::fcntl(image.get(), F_GETFL);
    if (mode < 0 || !look_at(image.get(), info))
        refuse(path, std::strerror(errno));
    if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode))
        refuse(path, "is neither a regular file nor a block device");
    if ((mode & O_ACCMODE) == O_WRONLY)
        refuse(path, "was not opened for reading");
    const auto end = ::lseek(image.get(), 0, SEEK_END);
    if (end < 0)
        refuse(path, fmt::format("its size cannot be found: {}", std::strerror(errno)));
    if (end == 0)
        refuse(path, "is empty");

    auto state = std::make_unique<State>(path, std::move(image), device_lock);
    state->read_only = (mode & O_ACCMODE) == O_RDONLY;
    state->file_bytes = static_cast<std::uint64_t>(end);
    struct statfs system {};
    state->in_memory = S_ISREG(info.st_mode) && ::fstatfs(state->fd.get(), &system) == 0 &&
                       (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC);
    if (state->file_bytes % sector_bytes != 0 && !state->read_only)
        refuse(path,
               fmt::format("its size, {} bytes, is not a multiple of {}", state->file_bytes, sector_bytes));
    state->size = (state->file_bytes + sector_bytes - 1) / sector_bytes * sector_bytes;
    return std::unique_ptr<FileBackend>{new FileBackend{std::move(state)}};
}

std::unique_ptr<FileBackend> FileBackend::temporary(std::uint64_t size, DeviceLock& device_lock) {
    const char* const chosen = std::getenv("TMPDIR"); // NOLINT(concurrency-mt-unsafe)
    const std::string directory = chosen != nullptr && *chosen != '\0' ? chosen : "/var/tmp";
    Descriptor fd{::open(directory.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600)};
    if (fd.get() < 0 || ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
        refuse(directory,
               fmt::format("no temporary file for a snapshot can be made: {} (TMPDIR may name another "
                           "directory)",
                           std::strerror(errno)));
    auto state = std::make_unique<State>(directory, std::move(fd), device_lock);
    state->file_bytes = state->size = size;
    return std::unique_ptr<FileBackend>{new FileBackend{std::move(state)}};
}

FileBackend::FileBackend(std::unique_ptr<State> state) : state_{std::move(state)} {}

FileBackend::~FileBackend() {
    state_->worker.join();
}

std::uint64_t FileBackend::size() const {
    return state_->size;
}
bool FileBackend::read_only() const {
    return state_->read_only;
}
std::string FileBackend::description() const {
    return state_->path;
}

void FileBackend::read(std::uint64_t offset, std::span<std::uint8_t> data, Completion done) {
    State& s = *state_;
    if (!s.in_range(offset, data.size())) {
        done(std::make_error_code(std::errc::invalid_argument));
        return;
    }
    const auto there = s.there(offset, data.size());
    std::ranges::fill(data.subspan(there), std::uint8_t{0});
    data = data.first(there);
    iovec piece{data.data(), data.size()};
    if (data.empty() || s.read_at_hand(offset, {&piece, 1}, data.size())) {
        done({});
        return;
    }
    s.submit([fd = s.fd.get(), offset, data] { return read_all(fd, offset, data); }, std::move(done));
}

[[gnu::hot]] bool FileBackend::try_read(std::uint64_t offset,
                                        std::span<const std::span<std::uint8_t>> pieces) {
    if (pieces.size() > most_pieces)
        return false;
    std::array<iovec, most_pieces> vector; // NOLINT(cppcoreguidelines-pro-type-member-init): filled below
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        vector[i] = {pieces[i].data(), pieces[i].size()};
        bytes += pieces[i].size();
    }
    return state_->in_range(offset, bytes) &&
           state_->read_at_hand(offset, std::span{vector}.first(pieces.size()), bytes);
}

void FileBackend::write(std::uint64_t offset, std::span<const std::uint8_t> data, Completion done) {
    State& s = *state_;
    if (s.read_only) {
        done(std::make_error_code(std::errc::read_only_file_system));
        return;
    }
    if (!s.in_range(offset, data.size())) {
        done(std::make_error_code(std::errc::invalid_argument));
        return;
    }
    const auto piece = piece_of(data);
    if (s.write_at_hand(offset, {&piece, 1}, data.size())) {
        done({});
        return;
    }
    s.submit([fd = s.fd.get(), offset, data] { return write_all(fd, offset, data); }, std::move(done));
}

std::size_t FileBackend::most_write_pieces() const {
    return most_pieces;
}

[[gnu::hot]] void FileBackend::write_pieces(std::uint64_t offset,
                                            std::span<const std::span<std::uint8_t>> pieces,
                                            Completion done) {
    State& s = *state_;
    if (s.read_only) {
        done(std::make_error_code(std::errc::read_only_file_system));
        return;
    }
    std::vector<iovec> vector;
    vector.reserve(pieces.size());
    std::size_t bytes = 0;
    for (const auto& piece : pieces) {
        vector.push_back({piece.data(), piece.size()});
        bytes += piece.size();
    }
    if (pieces.size() > most_pieces || !s.in_range(offset, bytes)) {
        done(std::make_error_code(std::errc::invalid_argument));
        return;
    }
    if (s.write_at_hand(offset, vector, bytes)) {
        done({});
        return;
    }
    s.submit([fd = s.fd.get(), offset,
              vector = std::move(vector)]() mutable { return write_all(fd, offset, std::span{vector}); },
             std::move(done));
}

template <typename Work>
void FileBackend::trim(std::uint64_t offset, std::uint64_t bytes, Work work, Completion done) {
    State& s = *state_;
    if (s.read_only)
        done(std::make_error_code(std::errc::read_only_file_system));
    else if (offset > s.size || bytes > s.size - offset)
        done(std::make_error_code(std::errc::invalid_argument));
    else if (bytes == 0)
        done({});
    else
        s.submit(std::move(work), std::move(done));
}

void FileBackend::discard(std::uint64_t offset, std::uint64_t bytes, Completion done) {
    trim(
        offset, bytes,
        [fd = state_->fd.get(), offset, bytes] {
            const auto error = punch(fd, offset, bytes, FALLOC_FL_PUNCH_HOLE);
            return unsupported(error) ? std::error_code{} : error; // it is a hint
        },
        std::move(done));
}

void FileBackend::write_zeroes(std::uint64_t offset, std::uint64_t bytes, bool unmap, Completion done) {
    trim(
        offset, bytes,
        [fd = state_->fd.get(), offset, bytes, unmap] {
            auto error = punch(fd, offset, bytes, unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
            if (!unsupported(error))
                return error;
            const std::vector<std::uint8_t> zeros(std::min<std::uint64_t>(bytes, 1 << 20));
            error = {};
            for (std::uint64_t at = 0; at < bytes && !error; at += zeros.size())
                error = write_all(fd, offset + at,
                                  std::span{zeros}.first(std::min<std::uint64_t>(zeros.size(), bytes - at)));
            return error;
        },
        std::move(done));
}

void FileBackend::flush(Completion done) {
    State& s = *state_;
    if (s.read_only) {
        done({});
        return;
    }
    s.submit(
        [&s] {
            if (!s.flush_error && ::fdatasync(s.fd.get()) != 0)
                s.flush_error = system_error(errno);
            return s.flush_error;
        },
        std::move(done));
}

} // namespace escalus
