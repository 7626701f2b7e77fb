// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/net/slirp_poll.hpp"

#include <array>
#include <cerrno>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <sys/epoll.h>
#include <system_error>

namespace escalus {

namespace {
constexpr std::array<std::pair<int, std::uint32_t>, 5> names{{{SLIRP_POLL_IN, EPOLLIN},
                                                              {SLIRP_POLL_OUT, EPOLLOUT},
                                                              {SLIRP_POLL_PRI, EPOLLPRI},
                                                              {SLIRP_POLL_ERR, EPOLLERR},
                                                              {SLIRP_POLL_HUP, EPOLLHUP}}};

std::uint32_t to_epoll(int events) {
    std::uint32_t result = 0;
    for (const auto& [ours, theirs] : names)
        result |= (events & ours) != 0 ? theirs : 0;
    return result;
}
int from_epoll(std::uint32_t events) {
    int result = 0;
    for (const auto& [ours, theirs] : names)
        result |= (events & theirs) != 0 ? ours : 0;
    return result;
}

int make_set() {
    const int set = ::epoll_create1(EPOLL_CLOEXEC);
    if (set < 0)
        throw std::system_error{errno, std::generic_category(), "epoll_create1"};
    return set;
}
} // namespace

struct SlirpPoll::Wait {
    explicit Wait(boost::asio::io_context& loop) : set{loop, make_set()} {}
    boost::asio::posix::stream_descriptor set;
    bool waiting = false;
};

SlirpPoll::SlirpPoll(boost::asio::io_context& loop) : wait_{std::make_shared<Wait>(loop)} {}

SlirpPoll::~SlirpPoll() = default;

void SlirpPoll::close() {
    boost::system::error_code ignored;
    wait_->set.cancel(ignored);
}

void SlirpPoll::begin() {
    for (auto& [descriptor, socket] : sockets_) {
        socket.wanted = 0;
        socket.index = -1;
    }
    count_ = 0;
}

int SlirpPoll::add(int descriptor, int events) {
    auto& socket = sockets_[descriptor];
    socket.wanted = events;
    socket.index = count_;
    return count_++;
}

void SlirpPoll::end() {
    ready_.assign(static_cast<std::size_t>(count_), 0);
    for (auto it = sockets_.begin(); it != sockets_.end();) {
        tell_kernel(it->first, it->second);
        it = it->second.known == 0 ? sockets_.erase(it) : std::next(it);
    }
}

void SlirpPoll::tell_kernel(int descriptor, Socket& socket) {
    if (socket.wanted == socket.known)
        return;
    epoll_event event{};
    event.events = to_epoll(socket.wanted);
    event.data.fd = descriptor;
    // One that is not wanted at all must leave: its errors would be reported for ever.
    const int what = socket.wanted == 0 ? EPOLL_CTL_DEL : socket.known == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    const int set = wait_->set.native_handle();
    if (::epoll_ctl(set, what, descriptor, &event) != 0 && errno == ENOENT && what == EPOLL_CTL_MOD)
        ::epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event); // the number has been closed and used again
    socket.known = socket.wanted;
}

void SlirpPoll::forget(int descriptor) {
    const auto it = sockets_.find(descriptor);
    if (it == sockets_.end())
        return;
    it->second.wanted = 0;
    tell_kernel(descriptor, it->second);
    sockets_.erase(it);
}

void SlirpPoll::wait(std::function<void()> ready) {
    if (std::exchange(wait_->waiting, true))
        return;
    wait_->set.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [keep = wait_, ready = std::move(ready)](const boost::system::error_code& error) {
                              if (!error)
                                  ready();
                          });
}

void SlirpPoll::take_events() {
    wait_->waiting = false;
    std::array<epoll_event, 64> events{};
    const int n = ::epoll_wait(wait_->set.native_handle(), events.data(), events.size(), 0);
    for (int i = 0; i < n; ++i) {
        const auto& event = events.at(static_cast<std::size_t>(i));
        if (const auto it = sockets_.find(event.data.fd); it != sockets_.end() && it->second.index >= 0)
            ready_[static_cast<std::size_t>(it->second.index)] = from_epoll(event.events);
    }
}

int SlirpPoll::events_of(int index) const {
    return index >= 0 && index < count_ ? ready_[static_cast<std::size_t>(index)] : 0;
}

void SlirpPoll::clear_events() {
    ready_.assign(ready_.size(), 0);
}

} // namespace escalus
