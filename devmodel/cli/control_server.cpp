// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/control_server.hpp"

#include "devmodel/cli/key_typer.hpp"
#include "devmodel/cli/screen_feed.hpp"
#include "devmodel/config/machine_json.hpp"
#include "devmodel/devices/display/png_writer.hpp"
#include "devmodel/machine/machine.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <optional>
#include <utility>

#include <boost/asio.hpp>
#include <boost/beast/core/detail/base64.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace escalus {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using Socket = asio::local::stream_protocol::socket;

constexpr std::size_t line_max = 64 << 10, sessions_max = 16, typed_max = 16 << 10;

/// A refusal: kind and message.
struct Refusal {
    const char* kind;
    std::string message;
};

json::object refused(const Refusal& refusal) {
    return {{"ok", false}, {"error", refusal.kind}, {"message", refusal.message}};
}
json::object done() {
    return {{"ok", true}};
}

const char* state_name(MachineState state) {
    switch (state) {
    case MachineState::Created:
        return "created";
    case MachineState::Running:
        return "running";
    case MachineState::Paused:
        return "paused";
    case MachineState::PoweredOff:
        return "powered-off";
    case MachineState::Crashed:
        break;
    }
    return "crashed";
}

std::string base64(const std::vector<std::uint8_t>& bytes) {
    namespace codec = boost::beast::detail::base64;
    std::string text(codec::encoded_size(bytes.size()), '\0');
    text.resize(codec::encode(text.data(), bytes.data(), bytes.size()));
    return text;
}

} // namespace

class ControlServer::Impl : public std::enable_shared_from_this<Impl> {
  public:
    Impl(asio::io_context& loop, asio::io_context& pictures, const std::filesystem::path& path,
         Machine& machine, const MachineConfig& config, ControlHooks hooks)
        : loop_{loop},
          pictures_{pictures},
          acceptor_{loop},
          machine_{machine},
          config_{config},
          hooks_{std::move(hooks)},
          typer_{loop, machine.keyboard(), machine.lock()} {
        try {
            ::unlink(path.c_str());
            acceptor_.open();
            acceptor_.bind(asio::local::stream_protocol::endpoint{path.string()});
            if (::chmod(path.c_str(), 0600) != 0)
                throw boost::system::system_error{errno, boost::system::system_category()};
            acceptor_.listen();
        } catch (const boost::system::system_error& error) {
            throw std::runtime_error(fmt::format("the control socket {} cannot be made: {}", path.string(),
                                                 error.code().message()));
        }
    }

    void accept() {
        acceptor_.async_accept([self = shared_from_this()](boost::system::error_code error, Socket socket) {
            if (error == asio::error::operation_aborted)
                return;
            if (!error && self->sessions_.size() < sessions_max) {
                self->sessions_.push_front(std::make_shared<Session>(self, std::move(socket)));
                self->sessions_.front()->read();
            }
            self->accept();
        });
    }

    void close() {
        typer_.stop();
        boost::system::error_code ignored;
        acceptor_.close(ignored);
        for (const auto& session : sessions_) {
            session->stop_feed();
            session->socket.close(ignored);
        }
        sessions_.clear();
    }

  private:
    using Reply = std::function<void(const json::object&)>;

    struct Session : std::enable_shared_from_this<Session> {
        Session(std::shared_ptr<Impl> owner, Socket connected)
            : server{std::move(owner)}, socket{std::move(connected)} {}

        void read() {
            if (const auto end = input.find('\n'); end != std::string::npos)
                return handle(end + 1);
            if (input.size() > line_max)
                return write(refused({"bad-request", "the request is too long"}), true);
            socket.async_wait(Socket::wait_read,
                              [self = shared_from_this()](boost::system::error_code error) {
                                  if (error)
                                      self->end();
                                  else
                                      self->receive();
                              });
        }

        /// Takes what is there, and a descriptor that comes along with it.
        void receive() {
            std::array<char, 4096> bytes{};
            alignas(cmsghdr) std::array<char, CMSG_SPACE(4 * sizeof(int))> ancillary{};
            iovec piece{bytes.data(), bytes.size()};
            msghdr message{};
            message.msg_iov = &piece;
            message.msg_iovlen = 1;
            message.msg_control = ancillary.data();
            message.msg_controllen = ancillary.size();
            const auto count = ::recvmsg(socket.native_handle(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
            if (count < 0 && (errno == EAGAIN || errno == EINTR))
                return read();
            if (count <= 0)
                return end();
            for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
                if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
                    continue;
                for (std::size_t at = 0; at + sizeof(int) <= part->cmsg_len - CMSG_LEN(0);
                     at += sizeof(int)) {
                    int fd = -1;
                    std::memcpy(&fd, CMSG_DATA(part) + at, sizeof fd);
                    passed = Descriptor{fd};
                }
            }
            input.append(bytes.data(), static_cast<std::size_t>(count));
            read();
        }

        void handle(std::size_t length) {
            const std::string line = input.substr(0, length - 1);
            input.erase(0, length);
            server->handle(line, std::exchange(passed, Descriptor{}), *this);
        }
        Reply reply() {
            return [self = shared_from_this()](const json::object& answer) { self->write(answer, false); };
        }

        void write(const json::object& reply, bool last) {
            output = json::serialize(reply) + '\n';
            asio::async_write(
                socket, asio::buffer(output),
                [self = shared_from_this(), last](boost::system::error_code error, std::size_t) {
                    if (error || last)
                        self->end();
                    else
                        self->read();
                });
        }

        /// From here on the connection carries the feed. What the client sends, or its end, ends it.
        void feed_screen(Display& display) {
            socket.async_wait(Socket::wait_read,
                              [self = shared_from_this()](boost::system::error_code) { self->end(); });
            feed = std::make_shared<ScreenFeed>(
                server->loop_, display, server->machine_.lock(),
                [self = shared_from_this()](std::string line, std::function<void()> sent) {
                    self->output = std::move(line) + '\n';
                    asio::async_write(
                        self->socket, asio::buffer(self->output),
                        [self, sent = std::move(sent)](boost::system::error_code error, std::size_t) {
                            if (error)
                                self->end();
                            else
                                sent();
                        });
                });
            output = json::serialize(done()) + '\n';
            asio::async_write(socket, asio::buffer(output),
                              [self = shared_from_this()](boost::system::error_code error, std::size_t) {
                                  if (error)
                                      self->end();
                                  else if (self->feed)
                                      self->feed->look();
                              });
        }
        void stop_feed() {
            if (const auto stopped = std::exchange(feed, nullptr))
                stopped->stop();
        }

        void end() {
            stop_feed();
            boost::system::error_code ignored;
            socket.close(ignored);
            server->sessions_.remove(shared_from_this());
        }

        std::shared_ptr<Impl> server;
        Socket socket;
        std::string input, output;
        std::shared_ptr<ScreenFeed> feed; // of a client that watches the screen
        Descriptor passed;
    };

    void handle(const std::string& line, Descriptor passed, Session& session) {
        const auto reply = session.reply();
        boost::system::error_code error;
        json::parse_options limits;
        limits.max_depth = 8;
        const json::value value = json::parse(line, error, {}, limits);
        const json::object* request = error ? nullptr : value.if_object();
        const json::value* name = request == nullptr ? nullptr : request->if_contains("request");
        if (name == nullptr || !name->is_string())
            return reply(refused({"bad-request", "a request is a JSON object with a string \"request\""}));
        try {
            if (name->get_string() == "watch-screen")
                session.feed_screen(display());
            else if (name->get_string() == "send-key")
                send_key(*request, reply);
            else if (name->get_string() == "screenshot")
                screenshot(reply);
            else if (name->get_string() == "insert-medium")
                reply(insert_medium(*request, std::move(passed)));
            else if (name->get_string() == "eject-medium")
                reply(eject_medium(*request));
            else
                reply(answer(name->get_string()));
        } catch (const Refusal& refusal) {
            reply(refused(refusal));
        } catch (const std::exception& failure) {
            reply(refused({"failed", failure.what()}));
        }
    }

    json::object answer(std::string_view name) {
        struct Handler {
            std::string_view name;
            json::object (Impl::*function)();
        };
        constexpr std::array handlers{
            Handler{"info", &Impl::info},
            Handler{"pause", &Impl::pause},
            Handler{"resume", &Impl::resume},
            Handler{"shutdown", &Impl::shutdown},
            Handler{"reboot", &Impl::reboot},
            Handler{"destroy", &Impl::destroy},
            Handler{"stat", &Impl::stat},
            Handler{"drives", &Impl::drives},
            Handler{"screenshot-text", &Impl::screenshot_text},
        };
        const auto* const handler = std::ranges::find(handlers, name, &Handler::name);
        if (handler == handlers.end())
            throw Refusal{"unknown-request", fmt::format("there is no request '{}'", name)};
        return (this->*handler->function)();
    }

    void expect_state(MachineState state, const char* otherwise) const {
        if (machine_.state() != state)
            throw Refusal{"wrong-state", fmt::format("the guest {} {}", config_.name, otherwise)};
    }

    json::object info() {
        json::array serial;
        for (unsigned port = 0; port < config_.serial.size(); ++port)
            serial.emplace_back(machine_.serial_path(port));
        json::object reply = done();
        reply["name"] = config_.name;
        reply["id"] = hooks_.id;
        reply["uuid"] = config_.uuid;
        reply["state"] = state_name(machine_.state());
        reply["memory_mib"] = config_.memory_bytes >> 20;
        reply["vcpus"] = config_.vcpus;
        reply["cpu_seconds"] = machine_.cpu_seconds();
        reply["vnc"] = hooks_.vnc_address;
        reply["web"] = hooks_.web_address;
        reply["serial"] = std::move(serial);
        return reply;
    }

    json::object pause() {
        expect_state(MachineState::Running, "does not run");
        machine_.pause();
        return done();
    }
    json::object resume() {
        if (machine_.state() == MachineState::Created) {
            hooks_.start();
            return done();
        }
        expect_state(MachineState::Paused, "is not paused");
        machine_.resume();
        return done();
    }
    json::object shutdown() {
        expect_state(MachineState::Running, "does not run");
        if (!config_.acpi)
            throw Refusal{"wrong-state", fmt::format("the guest {} has no ACPI power button; end it with "
                                                     "escalus destroy {}",
                                                     config_.name, config_.name)};
        machine_.press_power_button();
        return done();
    }
    json::object reboot() {
        expect_state(MachineState::Running, "does not run");
        machine_.reset();
        return done();
    }
    json::object destroy() {
        asio::post(loop_, [end = hooks_.destroy] { end(); }); // after the reply is on its way
        return done();
    }

    json::object stat() {
        json::array exits;
        for (const Machine::ExitCount& exit : machine_.exit_statistics())
            exits.push_back(json::object{{"name", exit.name}, {"count", exit.count}});
        json::array vcpus;
        for (const Machine::VcpuCount& vcpu : machine_.vcpu_statistics())
            vcpus.push_back(json::object{{"cpu_seconds", vcpu.cpu_seconds},
                                         {"entries", vcpu.entries},
                                         {"exits_to_device_model", vcpu.exits_to_device_model},
                                         {"host_interrupts", vcpu.host_interrupts}});
        json::object reply = info();
        reply["per_vcpu"] = std::move(vcpus);
        reply["exits"] = std::move(exits);
        return reply;
    }

    json::object drives() {
        json::array list;
        for (const auto& drive : machine_.removable_drives())
            list.push_back(json::object{
                {"device", drive.device},
                {"kind", to_string(drive.kind)},
                {"medium", drive.medium.empty() ? json::value(nullptr) : json::value(drive.medium)}});
        json::object reply = done();
        reply["drives"] = std::move(list);
        return reply;
    }

    /// The drive that a request names, or the first of its kind.
    std::string drive_of(const json::object& request) {
        const auto* kind = request.if_contains("kind");
        const auto* device = request.if_contains("device");
        if (kind == nullptr || !kind->is_string() || (device != nullptr && !device->is_string()))
            throw Refusal{"bad-request", "\"kind\" is \"cdrom\" or \"floppy\", \"device\" a string"};
        const std::string_view wanted = kind->get_string();
        std::string known;
        for (const auto& drive : machine_.removable_drives()) {
            if (to_string(drive.kind) != wanted)
                continue;
            if (device == nullptr || std::string_view{device->get_string()} == drive.device)
                return drive.device;
            known += (known.empty() ? "" : ", ") + drive.device;
        }
        const std::string_view what = wanted == "floppy" ? "floppy drive" : "CD-ROM drive";
        if (known.empty())
            throw Refusal{"failed",
                          fmt::format("the guest {} has no {}; its domain file can give it one: '{}'",
                                      config_.name, what, wanted == "floppy" ? ",,fda" : ",,hdc,cdrom")};
        throw Refusal{"failed", fmt::format("the guest {} has no {} {}; it has {}", config_.name, what,
                                            std::string_view{device->get_string()}, known)};
    }

    static bool force_of(const json::object& request) {
        const auto* force = request.if_contains("force");
        return force != nullptr && force->is_bool() && force->get_bool();
    }

    json::object insert_medium(const json::object& request, Descriptor image) {
        const auto* path = request.if_contains("path");
        if (path == nullptr || !path->is_string() || !image)
            throw Refusal{"bad-request", "\"path\" is a string, and the open image comes with the request"};
        json::object reply = done();
        const std::string device = drive_of(request);
        machine_.insert_medium(device, std::move(image), std::string{path->get_string()}, force_of(request));
        reply["device"] = device;
        return reply;
    }
    json::object eject_medium(const json::object& request) {
        json::object reply = done();
        const std::string device = drive_of(request);
        machine_.eject_medium(device, force_of(request));
        reply["device"] = device;
        return reply;
    }

    Display& display() {
        Display* display = machine_.display();
        if (display == nullptr)
            throw Refusal{"no-display", fmt::format("the guest {} has no display", config_.name)};
        return *display;
    }

    void screenshot(Reply reply) {
        asio::post(pictures_, [this, &screen = display(), reply = std::move(reply)]() mutable {
            json::object answer;
            try {
                answer = picture_of(screen);
            } catch (const std::exception& failure) {
                answer = refused({"failed", failure.what()});
            }
            asio::post(loop_, [reply = std::move(reply), answer = std::move(answer)] { reply(answer); });
        });
    }

    json::object picture_of(Display& screen) {
        Picture picture;
        {
            const std::scoped_lock guard{machine_.lock()};
            picture = screen.snapshot();
        }
        json::object reply = done();
        reply["width"] = picture.width;
        reply["height"] = picture.height;
        reply["png"] = base64(encode_png(picture));
        return reply;
    }

    json::object screenshot_text() {
        TextScreen screen;
        {
            Display& shown = display();
            const std::scoped_lock guard{machine_.lock()};
            screen = shown.text();
        }
        if (screen.columns == 0)
            throw Refusal{
                "no-display",
                fmt::format("the guest {} shows graphics; take the picture without --text", config_.name)};
        json::array lines;
        for (const std::string& line : screen.lines)
            lines.emplace_back(line);
        json::object reply = done();
        reply["columns"] = screen.columns;
        reply["rows"] = screen.rows;
        reply["lines"] = std::move(lines);
        reply["cursor"] = screen.cursor_visible ? json::value{screen.cursor_column, screen.cursor_row}
                                                : json::value(nullptr);
        return reply;
    }

    void send_key(const json::object& request, const Reply& reply) {
        constexpr int pace_default = 40, pace_most = 10'000;
        expect_state(MachineState::Running, "does not run");
        std::vector<KeyEvent> events;
        const auto add = [&](const std::vector<KeyEvent>& more) {
            events.insert(events.end(), more.begin(), more.end());
        };
        std::int64_t pace = pace_default;
        const Refusal wrong_types{"bad-request",
                                  "\"keys\" is a list of strings, \"text\" a string, \"pace\" a number"};
        const auto string_of = [&](const json::value& value) -> std::string_view {
            if (!value.is_string())
                throw wrong_types;
            return value.get_string();
        };
        try {
            if (const auto* keys = request.if_contains("keys")) {
                if (!keys->is_array())
                    throw wrong_types;
                for (const json::value& chord : keys->get_array())
                    add(events_of_chord(string_of(chord)));
            }
            if (const auto* text = request.if_contains("text"))
                add(events_of_text(string_of(*text), config_.vnc.keymap));
        } catch (const std::invalid_argument& error) {
            throw Refusal{"bad-request", error.what()};
        }
        if (const auto* given = request.if_contains("pace")) {
            if (!given->is_int64())
                throw wrong_types;
            pace = std::clamp<std::int64_t>(given->get_int64(), 0, pace_most);
        }
        if (events.size() > typed_max)
            throw Refusal{"bad-request", "that is too much to type at once"};
        typer_.type(events, std::chrono::milliseconds{pace}, [reply] { reply(done()); });
    }

    asio::io_context &loop_, &pictures_;
    asio::local::stream_protocol::acceptor acceptor_;
    Machine& machine_;
    const MachineConfig& config_;
    ControlHooks hooks_;
    KeyTyper typer_;
    std::list<std::shared_ptr<Session>> sessions_;
};

ControlServer::ControlServer(boost::asio::io_context& loop, boost::asio::io_context& pictures,
                             const std::filesystem::path& path, Machine& machine, const MachineConfig& config,
                             ControlHooks hooks)
    : impl_{std::make_shared<Impl>(loop, pictures, path, machine, config, std::move(hooks))} {
    impl_->accept();
}

ControlServer::~ControlServer() {
    impl_->close();
}

} // namespace escalus
