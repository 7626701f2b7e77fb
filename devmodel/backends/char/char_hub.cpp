// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/char/char_hub.hpp"

#include "devmodel/backends/char/open_char_backend.hpp"

#include <algorithm>
#include <array>

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <unistd.h>

namespace escalus {

namespace {
constexpr std::size_t piece = 4096; // of one read or write
}

void BoundedBytes::append(std::span<const std::uint8_t> data) {
    if (data.size() > char_buffer_limit)
        data = data.last(char_buffer_limit);
    const auto all = bytes_.size() + data.size();
    if (all > char_buffer_limit)
        bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(all - char_buffer_limit));
    bytes_.insert(bytes_.end(), data.begin(), data.end());
}

std::vector<std::uint8_t> BoundedBytes::take(std::size_t limit) {
    const auto end = bytes_.begin() + static_cast<std::ptrdiff_t>(std::min(limit, bytes_.size()));
    std::vector<std::uint8_t> result{bytes_.begin(), end};
    bytes_.erase(bytes_.begin(), end);
    return result;
}

/// One descriptor pair. Asio's objects are touched on the loop thread only.
class CharHub::Connection final : public std::enable_shared_from_this<Connection> {
  public:
    Connection(const std::shared_ptr<CharHub>& hub, int input, int output)
        : hub_{hub},
          loop_{hub->loop_},
          input_{hub->loop_},
          output_{hub->loop_},
          has_input_{adopt(input_, input)},
          has_output_{adopt(output_, output)} {}

    [[nodiscard]] bool useful() const { return has_input_ || has_output_; }

    void send(std::span<const std::uint8_t> data) {
        if (!has_output_)
            return;
        outgoing_.append(data);
        if (writing_ || write_posted_)
            return;
        write_posted_ = true;
        boost::asio::post(loop_, [self = shared_from_this()] {
            self->with_hub([&](CharHub&) {
                self->write_posted_ = false;
                self->write_next();
            });
        });
    }

    void read_next() {
        if (!has_input_ || reading_)
            return;
        reading_ = true;
        input_.async_read_some(
            boost::asio::buffer(read_buffer_),
            [self = shared_from_this()](const boost::system::error_code& error, std::size_t count) {
                self->with_hub([&](CharHub& hub) {
                    self->reading_ = false;
                    if (error)
                        hub.ended(self);
                    else
                        hub.arrived(std::span{self->read_buffer_}.first(count));
                });
            });
    }

    void close() {
        boost::system::error_code ignored;
        input_.close(ignored);
        output_.close(ignored);
    }

  private:
    static bool adopt(boost::asio::posix::stream_descriptor& descriptor, int fd) {
        if (fd < 0)
            return false;
        boost::system::error_code error;
        descriptor.assign(fd, error); // fails where epoll does
        if (error)
            ::close(fd);
        return !error;
    }

    /// Runs `work` with the lock held, unless the hub is gone.
    template <typename Work>
    void with_hub(Work work) {
        const auto hub = hub_.lock();
        if (!hub || hub->closed_)
            return;
        const std::scoped_lock guard{hub->lock_};
        work(*hub);
    }

    void write_next() {
        if (writing_ || !output_.is_open())
            return;
        if (written_ == write_buffer_.size()) {
            write_buffer_ = outgoing_.take(piece);
            written_ = 0;
        }
        if (write_buffer_.empty())
            return;
        writing_ = true;
        output_.async_write_some(
            boost::asio::buffer(write_buffer_) + written_,
            [self = shared_from_this()](const boost::system::error_code& error, std::size_t count) {
                self->with_hub([&](CharHub& hub) {
                    self->writing_ = false;
                    self->written_ += count;
                    if (error)
                        hub.ended(self);
                    else
                        self->write_next();
                });
            });
    }

    std::weak_ptr<CharHub> hub_;
    boost::asio::io_context& loop_;
    boost::asio::posix::stream_descriptor input_, output_;
    bool has_input_, has_output_;
    BoundedBytes outgoing_;
    std::vector<std::uint8_t> write_buffer_; // on its way to the descriptor
    std::size_t written_ = 0;
    std::array<std::uint8_t, piece> read_buffer_{};
    bool writing_ = false, write_posted_ = false, reading_ = false;
};

CharHub::CharHub(boost::asio::io_context& loop, DeviceLock& device_lock) : loop_{loop}, lock_{device_lock} {}

CharHub::~CharHub() = default;

void CharHub::send(std::span<const std::uint8_t> data) {
    if (connections_.empty())
        backlog_.append(data);
    for (const auto& connection : connections_)
        connection->send(data);
}

void CharHub::attach(int input, int output) {
    const std::scoped_lock guard{lock_};
    auto connection = std::make_shared<Connection>(shared_from_this(), input, output);
    if (!connection->useful())
        return;
    if (const auto waiting = backlog_.take(char_buffer_limit); !waiting.empty())
        connection->send(waiting);
    connections_.push_back(connection);
    if (inbox_.empty())
        connection->read_next();
}

void CharHub::arrived(std::span<const std::uint8_t> data) {
    inbox_.insert(inbox_.end(), data.begin(), data.end());
    deliver();
}

/// Offers what waits. While something is left nobody reads on, so a peer that sends too fast feels it.
void CharHub::deliver() {
    while (!inbox_.empty() && receiver_) {
        const auto taken = std::min(receiver_(inbox_), inbox_.size());
        if (taken == 0)
            return;
        inbox_.erase(inbox_.begin(), inbox_.begin() + static_cast<std::ptrdiff_t>(taken));
    }
    if (!receiver_)
        inbox_.clear(); // nobody listens
    for (const auto& connection : connections_)
        connection->read_next();
}

void CharHub::ready() {
    if (inbox_.empty() || deliver_posted_ || closed_)
        return;
    deliver_posted_ = true;
    boost::asio::post(loop_, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self || self->closed_)
            return;
        const std::scoped_lock guard{self->lock_};
        self->deliver_posted_ = false;
        self->deliver();
    });
}

void CharHub::ended(const std::shared_ptr<Connection>& connection) {
    connection->close();
    std::erase(connections_, connection);
}

void CharHub::close() {
    closed_ = true;
    for (const auto& connection : connections_)
        connection->close();
    connections_.clear();
    receiver_ = {};
}

} // namespace escalus
