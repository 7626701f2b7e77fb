// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/net/descriptor_net.hpp"

#include "devmodel/backends/net/finish_frame.hpp"
#include "devmodel/backends/net/vnet_header.hpp"

#include <array>
#include <cerrno>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <system_error>

namespace escalus {

namespace {
namespace asio = boost::asio;
constexpr unsigned frames_at_once = 64; // then others have their turn on the loop

bool is_transient(int error) {
    // ENOBUFS, EIO (the interface is down) and the like: the frame is lost, the next one may not be.
    return error != EBADFD && error != EBADF && error != EPIPE && error != ECONNRESET && error != ENOTCONN;
}
} // namespace

// Outlives the backend while the loop has completions of it under way.
struct DescriptorNet::State : std::enable_shared_from_this<State> {
    State(asio::io_context& io, DeviceLock& device_lock, int fd, DescriptorNetOptions given)
        : loop{io}, lock{device_lock}, stream{io, fd}, options{std::move(given)} {
        stream.non_blocking(true);
    }

    void wait() {
        waiting = true;
        stream.async_wait(asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](const boost::system::error_code& error) {
                              if (self->closed || error == asio::error::operation_aborted)
                                  return;
                              const std::lock_guard guard{self->lock};
                              self->waiting = false;
                              self->read_frames();
                          });
    }

    void read_frames() {
        const bool more = hand_over_frames();
        if (card != nullptr)
            card->end_of_frames();
        if (more && up)
            go_on();
    }

    /// With what is left of the last frame, or with the next one.
    void go_on() {
        if (finisher.done())
            wait();
        else
            listen();
    }

    /// False when the card takes no more until card_ready().
    bool hand_over_frames() {
        for (unsigned i = 0; i < frames_at_once; ++i) {
            if (card == nullptr || !up || !card->can_receive())
                return false;
            if (!finisher.done())
                card->receive(finisher.next(), {.checksum_is_good = true});
            else if (!read_frame())
                break;
        }
        return true;
    }

    /// False when there is none.
    bool read_frame() {
        const auto n = ::read(stream.native_handle(), buffer.data(), buffer.size());
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR && !is_transient(errno))
                fail(errno);
            return false;
        }
        if (n == 0) {
            fail(0);
            return false;
        }
        auto frame = std::span<const std::uint8_t>{buffer}.first(static_cast<std::size_t>(n));
        NetOffload offload;
        if (options.vnet_header) {
            if (frame.size() < VnetHeader::bytes)
                return true;
            const auto decoded = VnetHeader::decode(frame);
            if (!decoded)
                return true;
            offload = *decoded;
            frame = frame.subspan(VnetHeader::bytes);
        }
        if (takes(offload))
            card->receive(frame, offload);
        else
            (void)finisher.begin(frame, offload, 1); // what cannot be finished is lost
        return true;
    }

    [[nodiscard]] bool takes(const NetOffload& offload) const {
        using enum NetOffload::Segmentation;
        return (!offload.needs_checksum || takes_unsummed) && (offload.segmentation != Tcp4 || takes_tcp4) &&
               (offload.segmentation != Tcp6 || takes_tcp6);
    }

    void send(std::span<const std::uint8_t> frame, const NetOffload& offload) {
        if (options.vnet_header) {
            std::array<std::uint8_t, VnetHeader::bytes> header{};
            VnetHeader::encode(header, offload);
            write(header, frame);
            return;
        }
        if (outgoing.begin(frame, offload))
            while (!outgoing.done())
                write({}, outgoing.next());
    }

    void write(std::span<const std::uint8_t> header, std::span<const std::uint8_t> frame) {
        // NOLINTBEGIN(*-const-cast): the kernel's interface has no const
        std::array<iovec, 2> parts{iovec{const_cast<std::uint8_t*>(header.data()), header.size()},
                                   iovec{const_cast<std::uint8_t*>(frame.data()), frame.size()}};
        // NOLINTEND(*-const-cast)
        const auto first = header.empty() ? parts.data() + 1 : parts.data();
        const auto count = static_cast<std::size_t>(parts.data() + parts.size() - first);
        ssize_t n = 0;
        if (options.vnet_header) { // a TAP device is no socket
            n = ::writev(stream.native_handle(), first, static_cast<int>(count));
        } else {
            msghdr message{};
            message.msg_iov = first;
            message.msg_iovlen = count;
            n = ::sendmsg(stream.native_handle(), &message, MSG_NOSIGNAL);
            if (n < 0 && errno == ENOTSOCK)
                n = ::writev(stream.native_handle(), first, static_cast<int>(count));
        }
        if (n < 0 && !is_transient(errno))
            fail(errno);
    }

    /// The card hears of it on the loop: this may be a call of its own.
    void fail(int error) {
        if (!std::exchange(up, false))
            return;
        fmt::print(stderr, "network: {}: {}: the link is down\n", options.description,
                   error == 0 ? "the other side closed" : std::generic_category().message(error));
        asio::post(loop, [self = shared_from_this()] {
            if (self->closed)
                return;
            const std::lock_guard guard{self->lock};
            boost::system::error_code ignored;
            self->stream.cancel(ignored);
            if (self->card != nullptr)
                self->card->link_changed(false);
        });
    }

    void listen() {
        if (std::exchange(listen_posted, true))
            return;
        asio::post(loop, [self = shared_from_this()] {
            if (self->closed)
                return;
            const std::lock_guard guard{self->lock};
            self->listen_posted = false;
            if (self->waiting || !self->up || self->card == nullptr)
                return;
            if (self->finisher.done())
                self->wait();
            else
                self->read_frames();
        });
    }

    asio::io_context& loop;
    DeviceLock& lock;
    asio::posix::stream_descriptor stream;
    DescriptorNetOptions options;
    NetCard* card = nullptr;
    bool waiting = false, listen_posted = false, up = true, closed = false;
    std::vector<std::uint8_t> buffer = std::vector<std::uint8_t>(VnetHeader::bytes + longest_frame_bytes);
    FrameFinisher finisher; // of what is in the buffer
    FrameFinisher outgoing;
    bool takes_unsummed = false, takes_tcp4 = false, takes_tcp6 = false;
};

DescriptorNet::DescriptorNet(asio::io_context& loop, DeviceLock& device_lock, int descriptor,
                             DescriptorNetOptions options)
    : state_{std::make_shared<State>(loop, device_lock, descriptor, std::move(options))} {}

DescriptorNet::~DescriptorNet() {
    state_->card = nullptr;
    state_->closed = true;
    boost::system::error_code ignored;
    state_->stream.close(ignored);
}

std::string DescriptorNet::description() const {
    return state_->options.description;
}

void DescriptorNet::connect(NetCard* card) {
    state_->card = card;
    state_->finisher.drop();
    if (card != nullptr)
        state_->listen();
}

bool DescriptorNet::link_up() const {
    return state_->up;
}

void DescriptorNet::send(std::span<const std::uint8_t> frame, const NetOffload& offload) {
    if (state_->up)
        state_->send(frame, offload);
}

void DescriptorNet::card_ready() {
    if (!state_->waiting)
        state_->listen();
}

void DescriptorNet::accept_offloads(bool checksum, bool tcp4, bool tcp6) {
    state_->takes_unsummed = checksum;
    state_->takes_tcp4 = checksum && tcp4;
    state_->takes_tcp6 = checksum && tcp6;
}

std::pair<int, int> net_socket_pair() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
        throw std::system_error{errno, std::generic_category(), "a pair of sockets"};
    return {ends[0], ends[1]};
}

} // namespace escalus
