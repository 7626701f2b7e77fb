// SPDX-License-Identifier: GPL-2.0-or-later
// The control socket end to end: the real client against the real server, on a machine that is a fake.
#include "devmodel/backends/host/loop_thread.hpp"
#include "devmodel/cli/control_client.hpp"
#include "devmodel/cli/control_server.hpp"
#include "test/unit/cli/fake_machine.hpp"
#include "test/unit/cli/temporary_run.hpp"

#include <array>
#include <optional>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace escalus;
namespace json = boost::json;

namespace {

class Guest {
  public:
    Guest() {
        config_.name = "guest";
        config_.memory_bytes = 64 << 20;
        config_.serial.resize(2);
        ControlHooks hooks;
        hooks.id = 3;
        hooks.vnc_address = "127.0.0.1:5907";
        hooks.start = [this] { machine.start({}); };
        hooks.destroy = [this] {
            machine.asked.emplace_back("destroy");
            loop_.stop();
        };
        server_.emplace(loop_, pictures_loop_, run_.path / "control", machine, config_, std::move(hooks));
        thread_ = std::thread{[this] { loop_.run(); }};
    }
    ~Guest() {
        pictures_.stop();
        loop_.stop();
        finish();
        server_.reset();
    }
    /// Until the loop was stopped.
    void finish() {
        if (thread_.joinable())
            thread_.join();
    }
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;

    [[nodiscard]] FoundGuest found() const { return {"guest", run_.path, true}; }
    json::object ask(std::string_view request, json::object arguments = {}) {
        return ControlClient{found()}.request(request, std::move(arguments));
    }
    void make_pictures() { pictures_.start("pictures"); }
    [[nodiscard]] int connect() const { return connect_unix(run_.path / "control"); }

    FakeMachine machine;

  private:
    TemporaryRun run_;
    MachineConfig config_;
    boost::asio::io_context loop_, pictures_loop_;
    std::optional<ControlServer> server_;
    std::thread thread_;
    LoopThread pictures_{pictures_loop_};
};

void send_all(int fd, std::string_view bytes) {
    REQUIRE(fd >= 0);
    while (!bytes.empty()) {
        const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count <= 0)
            break;
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
}

/// Sends raw bytes and returns all that comes back until the line, or the connection, ends.
std::string converse(int fd, std::string_view bytes) {
    send_all(fd, bytes);
    std::string reply;
    char byte = 0;
    pollfd poll{fd, POLLIN, 0};
    while (::poll(&poll, 1, 10'000) == 1 && ::recv(fd, &byte, 1, 0) == 1 && byte != '\n')
        reply += byte;
    return reply;
}

} // namespace

TEST_CASE("info says what list, vnc and console need") {
    Guest guest;
    const json::object info = guest.ask("info");
    CHECK(info.at("name").as_string() == "guest");
    CHECK(info.at("id").to_number<int>() == 3);
    CHECK(info.at("state").as_string() == "running");
    CHECK(info.at("memory_mib").to_number<int>() == 64);
    CHECK(info.at("cpu_seconds").to_number<double>() == 1.5);
    CHECK(info.at("vnc").as_string() == "127.0.0.1:5907");
    CHECK(info.at("serial").as_array().at(0).as_string() == "/run/fake/serial0");
}

TEST_CASE("the lifecycle is asked of the machine, where its state allows") {
    Guest guest;
    CHECK_THROWS_WITH(guest.ask("resume"), Catch::Contains("is not paused"));
    guest.ask("pause");
    CHECK_THROWS_WITH(guest.ask("pause"), Catch::Contains("does not run"));
    CHECK_THROWS_AS(guest.ask("shutdown"), ControlError);
    CHECK_THROWS_AS(guest.ask("send-key", {{"keys", {"a"}}}), ControlError);
    guest.ask("resume");
    guest.ask("shutdown");
    guest.ask("reboot");
    guest.machine.state_now = MachineState::Created;
    guest.ask("resume");
    guest.ask("destroy");
    guest.finish();
    CHECK(guest.machine.asked ==
          std::vector<std::string>{"pause", "resume", "power button", "reset", "start", "destroy"});
}

TEST_CASE("the loop does other things while a picture is made") {
    Guest guest;
    const int fd = guest.connect();
    send_all(fd, "{\"request\": \"screenshot\"}\n");
    CHECK(guest.ask("info").at("ok") == true);
    pollfd poll{fd, POLLIN, 0};
    CHECK(::poll(&poll, 1, 0) == 0); // nobody makes pictures yet
    guest.make_pictures();
    CHECK(converse(fd, "").starts_with("{\"ok\":true,\"width\":2"));
    ::close(fd);
}

TEST_CASE("a picture that is never made does not keep the server") {
    Guest guest;
    const int fd = guest.connect();
    send_all(fd, "{\"request\": \"screenshot\"}\n");
    CHECK(guest.ask("info").at("ok") == true);
    ::close(fd);
}

TEST_CASE("the screen as text and as a picture") {
    Guest guest;
    const json::object text = guest.ask("screenshot-text");
    CHECK(text.at("lines") == json::value{"grub", ">   "});
    CHECK(text.at("cursor") == json::value{1, 1});
    guest.make_pictures();
    const json::object picture = guest.ask("screenshot");
    CHECK(picture.at("width").to_number<int>() == 2);
    CHECK(picture.at("png").as_string().starts_with("iVBORw0KGgo")); // the PNG signature
    guest.machine.text_mode = false;
    CHECK_THROWS_WITH(guest.ask("screenshot-text"), Catch::Contains("shows graphics"));
    guest.machine.has_display = false;
    CHECK_THROWS_WITH(guest.ask("screenshot"), Catch::Contains("has no display"));
}

TEST_CASE("keys and text are typed before the reply comes") {
    Guest guest;
    guest.ask("send-key", {{"keys", {"ret"}}, {"text", "a"}, {"pace", 1}});
    CHECK(guest.machine.keys ==
          std::vector<std::pair<KeyNumber, bool>>{{0x1c, true}, {0x1c, false}, {0x1e, true}, {0x1e, false}});
    CHECK_THROWS_WITH(guest.ask("send-key", {{"keys", {"nosuch"}}}), Catch::Contains("nosuch"));
    CHECK_THROWS_WITH(guest.ask("send-key", {{"keys", "a"}}), Catch::Contains("list of strings"));
    CHECK_THROWS_WITH(guest.ask("send-key", {{"text", std::string(20000, 'a')}}),
                      Catch::Contains("too much"));
}

TEST_CASE("who watches the screen is told when it changes, and nothing else") {
    Guest guest;
    const int fd = guest.connect();
    CHECK(converse(fd, "{\"request\": \"watch-screen\"}\n") == R"({"ok":true})");
    CHECK(converse(fd, "") ==
          R"({"screen":[4,2],"cursor":[1,1],"rows":[[0,"grub","07070707"],[1,">   ","07070707"]]})");
    const auto silent = [&] {
        pollfd poll{fd, POLLIN, 0};
        return ::poll(&poll, 1, 200) == 0;
    };
    CHECK(silent());
    {
        const std::scoped_lock guard{guest.machine.lock()};
        guest.machine.prompt = ">ls ";
    }
    CHECK(converse(fd, "") == R"({"screen":[4,2],"cursor":[1,1],"rows":[[1,">ls ","07070707"]]})");
    CHECK(silent());
    {
        const std::scoped_lock guard{guest.machine.lock()};
        guest.machine.text_mode = false;
    }
    CHECK(converse(fd, "") == R"({"screen":[0,0],"cursor":null,"rows":[]})");
    // Others go on, also when this one says what it should not, or just goes.
    CHECK_NOTHROW(guest.ask("info"));
    CHECK(converse(fd, "what?\n").empty());
    ::close(fd);
    const int gone = guest.connect();
    CHECK(converse(gone, "{\"request\": \"watch-screen\"}\n") == R"({"ok":true})");
    ::close(gone);
    CHECK_NOTHROW(guest.ask("info"));
    guest.machine.has_display = false;
    CHECK_THROWS_WITH(guest.ask("watch-screen"), Catch::Contains("has no display"));
}

TEST_CASE("exit statistics") {
    Guest guest;
    const json::object stat = guest.ask("stat");
    CHECK(stat.at("exits").as_array().size() == 2);
    REQUIRE(stat.at("per_vcpu").as_array().size() == 2);
    CHECK(stat.at("per_vcpu").as_array()[1].at("entries").to_number<unsigned>() == 4);
    CHECK(stat.at("exits").as_array()[0].at("name").as_string() == "io");
}

TEST_CASE("media: the image's descriptor comes with the request") {
    Guest guest;
    const Descriptor image{::memfd_create("image", MFD_CLOEXEC)};
    REQUIRE(::write(image.get(), "content", 7) == 7);
    const auto insert = [&](json::object arguments) {
        arguments["path"] = "/new.iso";
        return ControlClient{guest.found()}.request_with(image.get(), "insert-medium", std::move(arguments));
    };
    CHECK(insert({{"kind", "cdrom"}}).at("device").as_string() == "hdc"); // the first one
    CHECK(insert({{"kind", "floppy"}, {"device", "fda"}}).at("device").as_string() == "fda");
    CHECK(insert({{"kind", "cdrom"}, {"device", "hdd"}, {"force", true}}).at("device").as_string() == "hdd");
    CHECK(guest.ask("eject-medium", {{"kind", "cdrom"}}).at("device").as_string() == "hdc");
    CHECK(guest.ask("eject-medium", {{"kind", "floppy"}, {"force", true}}).at("device").as_string() == "fda");
    CHECK(guest.machine.asked == std::vector<std::string>{"hdc /new.iso content", "fda /new.iso content",
                                                          "hdd /new.iso content", "eject hdc",
                                                          "eject fda by force"});
    CHECK(guest.ask("drives").at("drives").as_array().at(1) ==
          json::value{{"device", "hdc"}, {"kind", "cdrom"}, {"medium", "/old.iso"}});

    CHECK_THROWS_WITH(insert({{"kind", "cdrom"}, {"device", "hdd"}}), Catch::Contains("hdd is locked"));
    CHECK_THROWS_WITH(insert({{"kind", "cdrom"}, {"device", "hda"}}), Catch::Contains("it has hdc, hdd"));
    CHECK_THROWS_WITH(insert({{"kind", "tape"}}), Catch::Contains("has no CD-ROM drive"));
    CHECK_THROWS_WITH(insert({{"kind", 5}}), Catch::Contains("\"kind\""));
    // Without a descriptor, and with one that belonged to the request before.
    CHECK_THROWS_WITH(guest.ask("insert-medium", {{"kind", "cdrom"}, {"path", "/x"}}),
                      Catch::Contains("open image"));
    ControlClient client{guest.found()};
    client.request_with(image.get(), "info", {});
    CHECK_THROWS_WITH(client.request("insert-medium", {{"kind", "cdrom"}, {"path", "/x"}}),
                      Catch::Contains("open image"));
    CHECK(guest.machine.asked.size() == 5);
}

TEST_CASE("no descriptor that a client passes stays open") {
    Guest guest;
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    const Descriptor reader{ends[0]};
    {
        const Descriptor writer{ends[1]};
        ControlClient{guest.found()}.request_with(writer.get(), "info", {});
    }
    char byte = 0;
    CHECK(::read(reader.get(), &byte, 1) == 0); // nobody has the other end any more
}

TEST_CASE("malformed requests are refused with a kind, and the server goes on") {
    Guest guest;
    const int fd = guest.connect();
    for (const char* bad : {"", "nonsense", "[]", "{}", "{\"request\": 5}", "{\"request\": \"info\"",
                            "\x01\xff", "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]"}) {
        INFO(bad);
        CHECK(converse(fd, std::string{bad} + "\n").find("\"bad-request\"") != std::string::npos);
    }
    CHECK(converse(fd, "{\"request\": \"nosuch\"}\n").find("\"unknown-request\"") != std::string::npos);
    CHECK(converse(fd, "{\"request\": \"info\"}\n").find("\"ok\":true") != std::string::npos);
    ::close(fd);

    const int endless = guest.connect();
    CHECK(converse(endless, std::string(1 << 20, 'x')).find("too long") != std::string::npos);
    ::close(endless);
    const int half = guest.connect();
    CHECK(::send(half, "{\"req", 6, MSG_NOSIGNAL) == 6);
    ::close(half);
    CHECK_NOTHROW(guest.ask("info"));
}

TEST_CASE("several clients are served, and too many do not harm") {
    Guest guest;
    std::vector<int> clients(40);
    for (int& client : clients)
        client = guest.connect();
    CHECK(converse(clients[0], "{\"request\": \"info\"}\n").find("\"ok\":true") != std::string::npos);
    CHECK(converse(clients[5], "{\"request\": \"info\"}\n").find("\"ok\":true") != std::string::npos);
    for (const int fd : clients)
        ::close(fd);
}

TEST_CASE("the socket is its owner's only") {
    Guest guest;
    struct stat status {};
    REQUIRE(stat((guest.found().path / "control").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("a guest that cannot be reached is named") {
    const TemporaryRun run;
    CHECK_THROWS_WITH((ControlClient{{"gone", run.path, true}}),
                      Catch::Contains("the guest gone cannot be reached"));
}
