// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/char/char_backends.hpp"
#include "devmodel/backends/char/char_hub.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <boost/asio/post.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace escalus {

namespace {

/// A regular file takes everything at once (the page cache does), but not byte by byte: what a guest prints
/// is gathered and written on the loop, or here when much has come together.
class RegularFile final : public CharBackend {
  public:
    RegularFile(boost::asio::io_context& loop, DeviceLock& device_lock, int fd, std::string path)
        : loop_{loop}, state_{std::make_shared<State>(device_lock, fd)}, path_{std::move(path)} {}
    ~RegularFile() override {
        state_->flush();
        state_->closed = true;
        ::close(state_->fd);
    }
    RegularFile(const RegularFile&) = delete;
    RegularFile& operator=(const RegularFile&) = delete;

    void send(std::span<const std::uint8_t> data) override {
        state_->gathered.insert(state_->gathered.end(), data.begin(), data.end());
        if (state_->gathered.size() >= enough) {
            state_->flush();
        } else if (!state_->flush_posted) {
            state_->flush_posted = true;
            boost::asio::post(loop_, [state = state_] {
                if (state->closed)
                    return;
                const std::scoped_lock guard{state->lock};
                state->flush_posted = false;
                state->flush();
            });
        }
    }
    void on_receive(Receiver) override {}
    void ready() override {}
    [[nodiscard]] std::string description() const override { return path_; }

  private:
    static constexpr std::size_t enough = 4096;
    struct State {
        State(DeviceLock& device_lock, int file) : lock{device_lock}, fd{file} {}
        void flush() {
            for (std::size_t done = 0; done < gathered.size();) {
                const auto count = ::write(fd, gathered.data() + done, gathered.size() - done);
                if (count < 0 && errno == EINTR)
                    continue;
                if (count <= 0)
                    break; // a full disk loses the log, not the guest
                done += static_cast<std::size_t>(count);
            }
            gathered.clear();
        }
        DeviceLock& lock;
        int fd;
        std::vector<std::uint8_t> gathered;
        bool flush_posted = false, closed = false;
    };

    boost::asio::io_context& loop_;
    std::shared_ptr<State> state_;
    std::string path_;
};

class OtherFile final : public HubBackend {
  public:
    OtherFile(boost::asio::io_context& loop, DeviceLock& device_lock, int fd, const std::string& path)
        : HubBackend{loop, device_lock, path} {
        hub()->attach(-1, fd);
    }
};

} // namespace

std::unique_ptr<CharBackend> make_file_char(boost::asio::io_context& loop, DeviceLock& device_lock,
                                            const std::string& path) {
    // Opened for reading, too: a FIFO without a reader could not be opened for writing alone without waiting.
    struct stat there {};
    const bool fifo = ::stat(path.c_str(), &there) == 0 && S_ISFIFO(there.st_mode);
    const int mode = fifo ? O_RDWR : O_WRONLY | O_CREAT | O_TRUNC;
    const int fd = ::open(path.c_str(), mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);
    if (fd < 0 || ::fstat(fd, &there) != 0)
        throw std::runtime_error{fmt::format("serial: cannot open {}: {}", path, std::strerror(errno))};
    if (S_ISREG(there.st_mode))
        return std::make_unique<RegularFile>(loop, device_lock, fd, path);
    return std::make_unique<OtherFile>(loop, device_lock, fd, path);
}

} // namespace escalus
