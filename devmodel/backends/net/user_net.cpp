// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/net/user_net.hpp"

#include "devmodel/backends/net/finish_frame.hpp"
#include "devmodel/backends/net/slirp_poll.hpp"

#include <deque>
#include <limits>
#include <stdexcept>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>

namespace escalus {

namespace {
constexpr std::size_t queue_bytes = 512 * 1024; // then sockets wait, and twice that is never exceeded

in_addr address(std::uint32_t value) {
    return {htonl(value)};
}
constexpr std::uint32_t network = 0x0a000200, gateway = network + 2, name_server = network + 3,
                        first_lease = network + 15, netmask = 0xffffff00;

in_addr parse_address(const std::string& text, std::uint32_t otherwise) {
    in_addr result = address(otherwise);
    if (!text.empty() && inet_pton(AF_INET, text.c_str(), &result) != 1)
        throw std::runtime_error{fmt::format("user network: '{}' is not an IPv4 address", text)};
    return result;
}
} // namespace

// Outlives the backend while the loop has completions of it under way.
struct UserNet::State : std::enable_shared_from_this<State> {
    State(boost::asio::io_context& io, DeviceLock& device_lock, Clock& guest_clock)
        : loop{io}, lock{device_lock}, clock{guest_clock}, poll{io}, alarm{guest_clock, [this] { work(); }} {}

    void open(const UserNetConfig& config) {
        SlirpConfig c{};
        c.version = 1;
        c.restricted = config.restricted ? 1 : 0;
        c.in_enabled = true;
        c.vnetwork = address(network);
        c.vnetmask = address(netmask);
        c.vhost = address(gateway);
        c.vdhcp_start = address(first_lease);
        c.vnameserver = address(name_server);
        c.tftp_path = config.tftp_folder.empty() ? nullptr : config.tftp_folder.c_str();
        c.bootfile = config.boot_file.empty() ? nullptr : config.boot_file.c_str();
        slirp = slirp_new(&c, &callbacks(), this);
        if (slirp == nullptr)
            throw std::runtime_error{"user network: libslirp does not start"};
        for (const auto& f : config.forwards)
            if (slirp_add_hostfwd(slirp, f.udp ? 1 : 0, parse_address(f.host_address, INADDR_ANY),
                                  f.host_port, parse_address(f.guest_address, first_lease),
                                  f.guest_port) != 0)
                throw std::runtime_error{
                    fmt::format("user network: {} port {} of the control OS cannot be forwarded: {}",
                                f.udp ? "UDP" : "TCP", f.host_port, std::generic_category().message(errno))};
    }
    void close() {
        closed = true;
        card = nullptr;
        alarm.cancel();
        poll.close();
        if (slirp != nullptr)
            slirp_cleanup(std::exchange(slirp, nullptr));
    }

    // --- What libslirp asks for

    static State& self(void* opaque) { return *static_cast<State*>(opaque); }
    static const SlirpCb& callbacks() {
        static const SlirpCb table = [] {
            SlirpCb t{};
            t.send_packet = [](const void* data, size_t size, void* opaque) {
                self(opaque).enqueue({static_cast<const std::uint8_t*>(data), size});
                return static_cast<ssize_t>(size);
            };
            t.guest_error = [](const char*, void*) {}; // a guest could fill the log
            t.clock_get_ns = [](void* opaque) -> std::int64_t { return self(opaque).clock.now(); };
            t.timer_new = [](SlirpTimerCb expired, void* data, void* opaque) -> void* {
                return new Timer{self(opaque).clock, [=] { expired(data); }}; // NOLINT(*-owning-memory)
            };
            t.timer_free = [](void* timer, void*) { delete static_cast<Timer*>(timer); }; // NOLINT
            t.timer_mod = [](void* timer, std::int64_t ms, void*) {
                static_cast<Timer*>(timer)->arm(ms * 1'000'000);
            };
            t.register_poll_fd = [](int, void*) {};
            t.unregister_poll_fd = [](int fd, void* opaque) { self(opaque).poll.forget(fd); };
            t.notify = [](void*) {}; // refresh() follows each call into libslirp anyway
            return t;
        }();
        return table;
    }
    void enqueue(std::span<const std::uint8_t> frame) {
        if (queued + frame.size() > 2 * queue_bytes)
            return; // TCP sends it again
        queued += frame.size();
        queue.emplace_back(frame.begin(), frame.end());
    }

    // --- Work on the loop, with the lock held

    void ready() {
        poll.take_events();
        work();
    }
    void work() {
        slirp_pollfds_poll(
            slirp, 0, [](int index, void* opaque) { return self(opaque).poll.events_of(index); }, this);
        poll.clear_events();
        deliver();
        refresh();
    }
    void deliver() {
        while (!queue.empty() && card != nullptr && card->can_receive()) {
            const auto frame = std::move(queue.front());
            queue.pop_front();
            queued -= frame.size();
            card->receive(frame, {.checksum_is_good = true});
        }
        if (card != nullptr)
            card->end_of_frames();
    }

    /// Asks libslirp what to wait for.
    void refresh() {
        auto timeout = std::numeric_limits<std::uint32_t>::max();
        poll.begin();
        slirp_pollfds_fill(
            slirp, &timeout,
            [](int fd, int events, void* opaque) { return self(opaque).poll.add(fd, events); }, this);
        poll.end();
        if (timeout == std::numeric_limits<std::uint32_t>::max())
            alarm.cancel();
        else
            alarm.arm(clock.now() + GuestTime{timeout} * 1'000'000);
        if (queued < queue_bytes)
            poll.wait([this_ = shared_from_this()] {
                if (this_->closed)
                    return;
                const std::lock_guard guard{this_->lock};
                this_->ready();
            });
    }

    /// What libslirp said during a call of the card's comes later.
    void deliver_later() {
        if (queue.empty() || std::exchange(delivery_posted, true))
            return;
        boost::asio::post(loop, [this_ = shared_from_this()] {
            if (this_->closed)
                return;
            const std::lock_guard guard{this_->lock};
            this_->delivery_posted = false;
            this_->deliver();
            this_->refresh();
        });
    }

    boost::asio::io_context& loop;
    DeviceLock& lock;
    Clock& clock;
    SlirpPoll poll;
    Timer alarm;
    Slirp* slirp = nullptr;
    NetCard* card = nullptr;
    std::deque<std::vector<std::uint8_t>> queue; ///< for the card
    std::size_t queued = 0;                      ///< bytes
    FrameFinisher finisher;
    bool delivery_posted = false, closed = false;
};

UserNet::UserNet(boost::asio::io_context& loop, DeviceLock& device_lock, Clock& clock,
                 const UserNetConfig& config)
    : state_{std::make_shared<State>(loop, device_lock, clock)} {
    try {
        state_->open(config);
        state_->refresh(); // forwarded ports are listened to
    } catch (...) {
        state_->close();
        throw;
    }
}

UserNet::~UserNet() {
    state_->close();
}

void UserNet::connect(NetCard* card) {
    state_->card = card;
}

void UserNet::send(std::span<const std::uint8_t> frame, const NetOffload& offload) {
    // A large segment need not be cut: it becomes a stream again. But its headers must be whole.
    auto whole = offload;
    if (whole.segmentation != NetOffload::Segmentation::None)
        whole.segment_bytes = std::numeric_limits<std::uint16_t>::max();
    if (auto& finisher = state_->finisher; finisher.begin(frame, whole))
        while (!finisher.done()) {
            const auto finished = finisher.next();
            slirp_input(state_->slirp, finished.data(), static_cast<int>(finished.size()));
        }
    state_->refresh();
    state_->deliver_later();
}

void UserNet::card_ready() {
    state_->deliver_later();
}

} // namespace escalus
