// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/block/nbd_backend.hpp"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <stdexcept>

#include <boost/asio.hpp>
#include <fmt/format.h>
#include <libnbd.h>

namespace escalus {

namespace {
using Stream = boost::asio::posix::stream_descriptor;
constexpr std::uint64_t sector_bytes = 512;
constexpr std::uint64_t most_trimmed = std::uint64_t{1} << 30; // by one request; the protocol has 32 bits

struct CloseHandle {
    void operator()(nbd_handle* handle) const { nbd_close(handle); }
};

std::error_code system_error(int number) {
    return {number != 0 ? number : EIO, std::generic_category()};
}

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
    throw std::runtime_error{fmt::format("{}: {}", name, why)};
}

/// libnbd's words begin with the name of its function.
std::string last_message() {
    const std::string text = nbd_get_error() != nullptr ? nbd_get_error() : "no reason is known";
    const auto colon = text.find(": ");
    return text.starts_with("nbd_") && colon != std::string::npos ? text.substr(colon + 2) : text;
}
} // namespace

struct NbdBackend::State : std::enable_shared_from_this<NbdBackend::State> {
    State(std::string shown, boost::asio::io_context& loop, DeviceLock& device_lock)
        : name{std::move(shown)}, handle{nbd_create()}, socket{loop}, lock{device_lock} {
        if (!handle)
            refuse(name, last_message());
    }
    ~State() {
        if (socket.is_open())
            socket.release(); // libnbd's
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    struct Command {
        std::weak_ptr<State> owner;
        Completion done;
        std::error_code error;
    };
    using CommandPtr = std::unique_ptr<Command>;

    /// `call(callback)` hands libnbd a command. Its callback may come at any time within one of libnbd's
    /// functions, which must not be entered again from there: it only queues what is to be completed.
    template <typename Call>
    void submit(Completion done, Call call) {
        auto command = std::make_unique<Command>();
        command->owner = weak_from_this();
        command->done = std::move(done);
        const nbd_completion_callback callback{.callback =
                                                   [](void* data, int* error) {
                                                       auto* const which = static_cast<Command*>(data);
                                                       which->error = *error != 0 ? system_error(*error)
                                                                                  : std::error_code{};
                                                       return 1; // libnbd may forget it
                                                   },
                                               .user_data = command.get(),
                                               // Called exactly once, after the above or instead of it.
                                               .free =
                                                   [](void* data) {
                                                       CommandPtr which{static_cast<Command*>(data)};
                                                       if (const auto owner = which->owner.lock())
                                                           owner->ended.push_back(std::move(which));
                                                   }};
        command->error = system_error(EIO);   // unless the callback says otherwise
        static_cast<void>(command.release()); // `free` takes it
        call(callback);
        after_call();
    }

    /// Waits for what libnbd waits for, and completes what has ended.
    void after_call() {
        const auto direction = nbd_aio_get_direction(handle.get());
        if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0)
            watch(reading, Stream::wait_read);
        if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0)
            watch(writing, Stream::wait_write);
        if (delivering)
            return;
        delivering = true;
        const auto self = shared_from_this(); // a completion may end the disk
        while (!ended.empty()) {
            const auto command = std::move(ended.front());
            ended.pop_front();
            if (!closed)
                command->done(command->error);
        }
        delivering = false;
    }

    void watch(bool& armed, Stream::wait_type what) {
        if (armed || closed || !socket.is_open())
            return;
        armed = true;
        socket.async_wait(what,
                          [weak = weak_from_this(), &guard = lock, what](boost::system::error_code error) {
                              const std::scoped_lock locked{guard};
                              const auto self = weak.lock();
                              if (!self || self->closed || error == boost::asio::error::operation_aborted)
                                  return;
                              self->ready(what);
                          });
    }

    void ready(Stream::wait_type what) {
        const bool read = what == Stream::wait_read;
        (read ? reading : writing) = false;
        const auto direction = nbd_aio_get_direction(handle.get());
        // Errors show in what becomes of the commands.
        if (read && (direction & LIBNBD_AIO_DIRECTION_READ) != 0)
            static_cast<void>(nbd_aio_notify_read(handle.get()));
        else if (!read && (direction & LIBNBD_AIO_DIRECTION_WRITE) != 0)
            static_cast<void>(nbd_aio_notify_write(handle.get()));
        after_call();
    }

    [[nodiscard]] std::error_code check(std::uint64_t offset, std::uint64_t bytes) const {
        const bool good = offset <= size && bytes <= size - offset;
        return good ? std::error_code{} : std::make_error_code(std::errc::invalid_argument);
    }
    [[nodiscard]] std::error_code check_write(std::uint64_t offset, std::uint64_t bytes) const {
        return read_only ? std::make_error_code(std::errc::read_only_file_system) : check(offset, bytes);
    }

    /// One piece after the other.
    template <typename Call>
    void in_pieces(std::uint64_t offset, std::uint64_t bytes, Completion done, Call call) {
        const auto now = std::min(bytes, most_trimmed);
        submit(
            [this, offset, bytes, now, done = std::move(done), call](std::error_code error) {
                if (error || now == bytes)
                    done(error);
                else
                    in_pieces(offset + now, bytes - now, done, call);
            },
            [&](const nbd_completion_callback& callback) { call(offset, now, callback); });
    }

    std::string name;
    std::unique_ptr<NbdServer> server; // waited for when the connection is closed
    std::unique_ptr<nbd_handle, CloseHandle> handle;
    Stream socket; // its descriptor is the handle's
    DeviceLock& lock;
    std::uint64_t size = 0, server_bytes = 0; // the former in whole sectors
    bool read_only = false, trims = false, zeroes = false, flushes = false;
    bool reading = false, writing = false, delivering = false, closed = false;
    std::deque<CommandPtr> ended;
};

NbdBackend::NbdBackend(std::shared_ptr<State> state) : state_{std::move(state)} {}

NbdBackend::~NbdBackend() {
    State& s = *state_;
    s.closed = true;
    // The server hears that this is the end and no accident; it still does what it was asked before.
    if (nbd_aio_is_ready(s.handle.get()) == 1)
        static_cast<void>(nbd_aio_disconnect(s.handle.get(), 0));
    if (s.socket.is_open()) {
        s.socket.cancel();
        s.socket.release();
    }
    s.handle.reset();
    s.ended.clear();
}

std::unique_ptr<NbdBackend> NbdBackend::connect(const std::string& uri, bool read_only,
                                                boost::asio::io_context& loop, DeviceLock& device_lock) {
    auto state = std::make_shared<State>(uri, loop, device_lock);
    auto* const handle = state->handle.get();
    nbd_set_uri_allow_transports(handle, LIBNBD_ALLOW_TRANSPORT_TCP | LIBNBD_ALLOW_TRANSPORT_UNIX);
    nbd_set_uri_allow_tls(handle, LIBNBD_TLS_DISABLE);
    if (nbd_connect_uri(handle, uri.c_str()) != 0)
        refuse(uri, fmt::format("no NBD server can be reached: {}", last_message()));
    return ready(std::move(state), read_only);
}

std::unique_ptr<NbdBackend> NbdBackend::connect(std::unique_ptr<NbdServer> server, bool read_only,
                                                boost::asio::io_context& loop, DeviceLock& device_lock) {
    auto state = std::make_shared<State>(server->image(), loop, device_lock);
    if (nbd_connect_socket(state->handle.get(), server->take_socket()) != 0)
        refuse(server->image(), server->why_silent());
    state->server = std::move(server);
    return ready(std::move(state), read_only);
}

std::unique_ptr<NbdBackend> NbdBackend::ready(std::shared_ptr<State> state, bool read_only) {
    State& s = *state;
    auto* const handle = s.handle.get();
    const auto bytes = nbd_get_size(handle);
    if (bytes <= 0)
        refuse(s.name, bytes == 0 ? "is empty" : last_message());
    s.server_bytes = static_cast<std::uint64_t>(bytes);
    s.size = (s.server_bytes + sector_bytes - 1) / sector_bytes * sector_bytes;
    s.read_only = read_only;
    if (!read_only && nbd_is_read_only(handle) != 0)
        refuse(s.name, "the NBD server offers it read-only (it can be given with 'r' instead of 'w')");
    if (!read_only && s.size != s.server_bytes)
        refuse(s.name, fmt::format("its size, {} bytes, is not a multiple of {}", bytes, sector_bytes));
    if (nbd_get_block_size(handle, LIBNBD_SIZE_MINIMUM) > static_cast<std::int64_t>(sector_bytes))
        refuse(s.name, fmt::format("the NBD server wants blocks larger than {} bytes", sector_bytes));
    s.trims = nbd_can_trim(handle) == 1;
    s.zeroes = nbd_can_zero(handle) == 1;
    s.flushes = nbd_can_flush(handle) == 1;
    s.socket.assign(nbd_aio_get_fd(handle));
    s.after_call();
    return std::unique_ptr<NbdBackend>{new NbdBackend{std::move(state)}};
}

std::uint64_t NbdBackend::size() const {
    return state_->size;
}
bool NbdBackend::read_only() const {
    return state_->read_only;
}
std::string NbdBackend::description() const {
    return state_->name;
}
bool NbdBackend::can_trim() const {
    return !state_->read_only && state_->trims && state_->zeroes;
}

void NbdBackend::read(std::uint64_t offset, std::span<std::uint8_t> data, Completion done) {
    State& s = *state_;
    if (const auto error = s.check(offset, data.size())) {
        done(error);
        return;
    }
    const auto there = static_cast<std::size_t>(
        std::min<std::uint64_t>(data.size(), s.server_bytes - std::min(s.server_bytes, offset)));
    std::ranges::fill(data.subspan(there), std::uint8_t{0});
    data = data.first(there);
    if (data.empty())
        done({});
    else
        s.submit(std::move(done), [&](const nbd_completion_callback& callback) {
            nbd_aio_pread(s.handle.get(), data.data(), data.size(), offset, callback, 0);
        });
}

void NbdBackend::write(std::uint64_t offset, std::span<const std::uint8_t> data, Completion done) {
    State& s = *state_;
    if (const auto error = s.check_write(offset, data.size()); error || data.empty())
        done(error);
    else
        s.submit(std::move(done), [&](const nbd_completion_callback& callback) {
            nbd_aio_pwrite(s.handle.get(), data.data(), data.size(), offset, callback, 0);
        });
}

void NbdBackend::flush(Completion done) {
    State& s = *state_;
    // A server that has no flush keeps what it acknowledges; but one that is gone keeps nothing.
    if (s.read_only)
        done({});
    else if (!s.flushes)
        done(nbd_aio_is_dead(s.handle.get()) == 0 ? std::error_code{} : system_error(EIO));
    else
        s.submit(std::move(done), [&](const nbd_completion_callback& callback) {
            nbd_aio_flush(s.handle.get(), callback, 0);
        });
}

void NbdBackend::discard(std::uint64_t offset, std::uint64_t bytes, Completion done) {
    State& s = *state_;
    if (const auto error = s.check_write(offset, bytes); error || bytes == 0)
        done(error);
    else
        s.in_pieces(offset, bytes, std::move(done),
                    [&s](std::uint64_t at, std::uint64_t n, const nbd_completion_callback& callback) {
                        nbd_aio_trim(s.handle.get(), n, at, callback, 0);
                    });
}

void NbdBackend::write_zeroes(std::uint64_t offset, std::uint64_t bytes, bool unmap, Completion done) {
    State& s = *state_;
    if (const auto error = s.check_write(offset, bytes); error || bytes == 0)
        done(error);
    else
        s.in_pieces(offset, bytes, std::move(done),
                    [&s, unmap](std::uint64_t at, std::uint64_t n, const nbd_completion_callback& callback) {
                        const std::uint32_t flags = unmap ? 0u : unsigned{LIBNBD_CMD_FLAG_NO_HOLE};
                        nbd_aio_zero(s.handle.get(), n, at, callback, flags);
                    });
}

} // namespace escalus
