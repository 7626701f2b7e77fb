// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/vnc/rfb_client.hpp"
#include "test/unit/vnc/server_fixture.hpp"
#include "vnc/vnc_server.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
using Keys = std::vector<std::pair<int, bool>>;
using Moves = std::vector<Recorder::Move>;

VncOptions with_password(std::string password) {
    VncOptions options;
    options.config.password = std::move(password);
    return options;
}
} // namespace

TEST_CASE("a viewer sees the picture, and what changes in it") {
    ServerFixture f;
    RfbClient viewer{f.server->port()};
    REQUIRE(viewer.handshake() == 0);
    CHECK(viewer.width == 64);
    CHECK(viewer.height == 48);
    CHECK(viewer.name == "Escalus test");
    CHECK(f.viewers() == 1);
    viewer.set_encodings({RfbClient::raw});
    viewer.request(false);
    CHECK(viewer.updates_until(f.display.canvas.pixels));
    viewer.request(true);
    const auto changed = f.draw(5, 6, 0xff8040);
    CHECK(viewer.updates_until(changed));
}

TEST_CASE("the display is left alone while nobody waits for it") {
    ServerFixture f;
    RfbClient viewer{f.server->port()};
    REQUIRE(viewer.handshake() == 0);
    viewer.set_encodings({RfbClient::raw});
    viewer.request(false);
    REQUIRE(viewer.updates_until(f.display.canvas.pixels));
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
    const unsigned before = f.display.refreshes;
    std::this_thread::sleep_for(std::chrono::milliseconds{300});
    CHECK(f.display.refreshes == before);
    viewer.request(true);
    std::this_thread::sleep_for(std::chrono::milliseconds{500});
    const unsigned during = f.display.refreshes - before;
    CHECK(during >= 3);
    CHECK(during <= 17);
}

TEST_CASE("passwords") {
    ServerFixture f{with_password("secret")};
    SECTION("right") {
        RfbClient viewer{f.server->port()};
        CHECK(viewer.handshake("secret") == 0);
        CHECK(viewer.name == "Escalus test");
    }
    SECTION("wrong: refused with a reason, and no picture") {
        RfbClient viewer{f.server->port()};
        CHECK(viewer.handshake("guess") == 1);
        CHECK_FALSE(viewer.reason.empty());
        CHECK_THROWS_AS(viewer.receive(1), RfbEnd);
        CHECK(f.viewers() == 0);
        RfbClient again{f.server->port()};
        CHECK(again.handshake("secret") == 0);
    }
    SECTION("not asked for is not offered") {
        RfbClient viewer{f.server->port()};
        CHECK(viewer.greet() == std::vector<std::uint8_t>{2});
    }
}

TEST_CASE("keys arrive by keysym, with the modifiers they need, and by number") {
    ServerFixture f;
    RfbClient viewer{f.server->port()};
    REQUIRE(viewer.handshake() == 0);
    SECTION("keysyms") {
        viewer.key('a', true);
        viewer.key('a', false);
        viewer.key('A', true);
        viewer.key('A', false);
        viewer.key(0xff0d, true); // Return
        viewer.key(0xff0d, false);
        const Keys wanted{{0x1e, true},  {0x1e, false}, {0x2a, true}, {0x1e, true},
                          {0x2a, false}, {0x1e, false}, {0x1c, true}, {0x1c, false}};
        CHECK(f.eventually([&] { return f.recorder.keys == wanted; }));
    }
    SECTION("Shift that the viewer holds is used") {
        viewer.key(0xffe1, true);
        viewer.key('A', true);
        viewer.key('A', false);
        viewer.key(0xffe1, false);
        const Keys wanted{{0x2a, true}, {0x1e, true}, {0x1e, false}, {0x2a, false}};
        CHECK(f.eventually([&] { return f.recorder.keys == wanted; }));
    }
    SECTION("numbers") {
        viewer.set_encodings({RfbClient::raw, RfbClient::extended_keys});
        CHECK(viewer.update() == std::vector<std::int32_t>{RfbClient::extended_keys});
        viewer.extended_key('q', 0x1e, true); // another layout: the number counts
        viewer.extended_key('q', 0x1e, false);
        viewer.extended_key(0xff52, 0xc8, true); // up
        viewer.extended_key(0xff52, 0xc8, false);
        viewer.extended_key(0, 0x1234, true); // no key
        viewer.extended_key(0, 0, true);
        viewer.key(' ', true);
        const Keys wanted{{0x1e, true}, {0x1e, false}, {0xc8, true}, {0xc8, false}, {0x39, true}};
        CHECK(f.eventually([&] { return f.recorder.keys == wanted; }));
    }
    SECTION("what a viewer holds is released when it goes") {
        {
            RfbClient other{f.server->port()};
            REQUIRE(other.handshake() == 0);
            other.key(0xffe3, true); // Control
            other.pointer(1, 10, 10);
            CHECK(f.eventually([&] { return !f.recorder.moves.empty(); }));
        }
        CHECK(f.eventually([&] { return f.recorder.keys == Keys{{0x1d, true}, {0x1d, false}}; }));
        CHECK(f.eventually([&] { return f.recorder.moves == Moves{{0, 0, 0, 1}, {0, 0, 0, 0}}; }));
        CHECK(f.viewers() == 1);
    }
}

TEST_CASE("the pointer arrives as motion, buttons and wheel") {
    ServerFixture f;
    RfbClient viewer{f.server->port()};
    REQUIRE(viewer.handshake() == 0);
    viewer.pointer(0, 30, 20);
    viewer.pointer(0, 33, 18);
    viewer.pointer(1, 33, 18);
    viewer.pointer(4, 33, 18);
    viewer.pointer(2, 33, 18);
    viewer.pointer(8, 33, 18);
    viewer.pointer(0, 33, 18);
    viewer.pointer(16, 33, 18);
    viewer.pointer(0, 0, 18);  // the left edge: pushed a screen further
    viewer.pointer(0, 0, 47);  // the bottom
    viewer.pointer(0, 2, 900); // beyond it: clamped, and no second push
    const Moves wanted{{0, 0, 0, 0},
                       {3, -2, 0, 0},
                       {0, 0, 0, PointerSink::left},
                       {0, 0, 0, PointerSink::right},
                       {0, 0, 0, PointerSink::middle},
                       {0, 0, -1, 0},
                       {0, 0, 0, 0},
                       {0, 0, 1, 0},
                       {-33 - 64, 0, 0, 0},
                       {0, 29 + 48, 0, 0},
                       {2, 0, 0, 0}};
    CHECK(f.eventually([&] { return f.recorder.moves.size() == wanted.size(); }));
    CHECK(f.recorder.moves == wanted);
}

TEST_CASE("a tablet gets positions, scaled to its range") {
    ServerFixture f;
    f.recorder.tablet = true;
    RfbClient viewer{f.server->port()};
    REQUIRE(viewer.handshake() == 0);
    viewer.pointer(0, 0, 0);
    viewer.pointer(1, 63, 47);
    viewer.pointer(9, 900, 900);
    viewer.pointer(0, 32, 24);
    const Moves wanted{{0, 0, 0, 0},
                       {32767, 32767, 0, PointerSink::left},
                       {32767, 32767, -1, PointerSink::left},
                       {32767 * 32 / 63, 32767 * 24 / 47, 0, 0}};
    CHECK(f.eventually([&] { return f.recorder.places.size() == wanted.size(); }));
    CHECK(f.recorder.places == wanted);
    CHECK(f.recorder.moves.empty());
}

TEST_CASE("a change of size reaches viewers that understand it") {
    ServerFixture f;
    for (const auto encoding : {RfbClient::new_size, RfbClient::extended_size}) {
        f.resize(64, 48);
        RfbClient viewer{f.server->port()};
        REQUIRE(viewer.handshake() == 0);
        viewer.set_encodings({RfbClient::raw, encoding});
        viewer.request(false);
        REQUIRE(viewer.updates_until(f.display.canvas.pixels));
        viewer.request(true);
        f.resize(100, 31);
        while (viewer.width != 100)
            viewer.update();
        CHECK(viewer.height == 31);
        viewer.request(false);
        CHECK(viewer.updates_until(f.display.canvas.pixels));
    }
    // One that does not goes on with the part it knows.
    f.resize(64, 48);
    RfbClient old{f.server->port()};
    REQUIRE(old.handshake() == 0);
    old.request(false);
    old.update();
    f.resize(200, 200);
    old.request(true);
    CHECK(old.update() == std::vector<std::int32_t>{RfbClient::raw});
    CHECK(old.pixels[1] == f.display.canvas.pixels[1]);
}

TEST_CASE("one request for a large picture is answered whole, in slices") {
    ServerFixture f{{}, 1920, 1080};
    RfbClient viewer{f.server->port()};
    REQUIRE(viewer.handshake() == 0);
    viewer.set_encodings({RfbClient::raw});
    viewer.request(false);
    CHECK(viewer.updates_until(f.display.canvas.pixels));
}

TEST_CASE("viewers at once; a slow one and a halting one hold nobody up") {
    ServerFixture f{{}, 1280, 1024};
    RfbClient slow{f.server->port(), 4096};
    REQUIRE(slow.handshake() == 0);
    slow.set_encodings({RfbClient::raw});
    slow.request(false); // five megabytes, of which it reads nothing
    RfbClient halting{f.server->port()};
    REQUIRE(halting.handshake() == 0);
    halting.send(Message{}.u8(4).u8(1)); // a quarter of a key event
    TestSocket silent{f.server->port()};

    RfbClient quick{f.server->port()};
    REQUIRE(quick.handshake() == 0);
    CHECK(f.viewers() == 3);
    quick.set_encodings({RfbClient::raw});
    quick.request(false);
    REQUIRE(quick.updates_until(f.display.canvas.pixels));
    for (unsigned i = 0; i < 10; ++i) {
        quick.request(true);
        const auto wanted = f.draw(i, i, 0x123456);
        const auto start = std::chrono::steady_clock::now();
        CHECK(quick.updates_until(wanted));
        CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds{2});
    }
    quick.key(' ', true);
    CHECK(f.eventually([&] { return f.recorder.keys == Keys{{0x39, true}}; }));

    // The slow one gets all of it once it reads, the newest of each pixel.
    slow.request(true);
    CHECK(slow.updates_until(f.display.canvas.pixels));
    halting.send(Message{}.u16(0).u32('a'));
    CHECK(f.eventually([&] { return f.recorder.keys.size() == 2; }));
}

TEST_CASE("what is buffered for viewers that do not read is bounded, whatever they ask for") {
    ServerFixture f{{}, 1280, 1024};
    std::vector<std::unique_ptr<RfbClient>> deaf;
    for (unsigned i = 0; i < 3; ++i) {
        deaf.push_back(std::make_unique<RfbClient>(f.server->port(), 4096));
        REQUIRE(deaf.back()->handshake() == 0);
        deaf.back()->set_encodings({RfbClient::raw});
    }
    RfbClient quick{f.server->port()};
    REQUIRE(quick.handshake() == 0);
    quick.set_encodings({RfbClient::raw});
    quick.request(false);
    REQUIRE(quick.updates_until(f.display.canvas.pixels));
    std::size_t most = 0;
    for (unsigned i = 0; i < 60; ++i) { // of five megabytes each, if they were all made
        for (auto& viewer : deaf)
            viewer->request(false);
        quick.request(true);
        CHECK(quick.updates_until(f.draw(i, i, 0x654321)));
        most = std::max(most, f.buffered());
    }
    // For each what may queue, 256 KiB, and one slice, which is at most 1 MiB.
    CHECK(most > 3 * 256 * 1024 / 2);
    CHECK(most < 3 * (256 + 1024) * 1024);
}

TEST_CASE("viewers come and go at any time, in any state") {
    ServerFixture f{{}, 640, 480};
    RfbClient stays{f.server->port()};
    REQUIRE(stays.handshake() == 0);
    stays.set_encodings({RfbClient::raw});
    stays.request(false);
    REQUIRE(stays.updates_until(f.display.canvas.pixels));
    // Each state, with either window, twice. (The server gives each viewer a quarter of a second to speak
    // first, as a browser does.)
    for (unsigned i = 0; i < 24; ++i) {
        const bool small_window = i / 6 % 2 == 0;
        RfbClient passing{f.server->port(), small_window ? 4096 : 0};
        switch (i % 6) {
        case 0: // gone before a word
            break;
        case 1:
            passing.greet();
            break;
        case 2:
            REQUIRE(passing.handshake() == 0);
            break;
        case 3: // in the middle of an update
            REQUIRE(passing.handshake() == 0);
            passing.request(false);
            passing.receive(100);
            break;
        case 4: // with a key and a button held
            REQUIRE(passing.handshake() == 0);
            passing.key('a', true);
            passing.pointer(1, 5, 5);
            break;
        default: // while the size changes
            REQUIRE(passing.handshake() == 0);
            passing.set_encodings({RfbClient::raw, RfbClient::new_size});
            passing.request(true);
            passing.send(Message{}.u8(3));
        }
        stays.request(true);
        CHECK(stays.updates_until(f.draw(i, 0, 0x00ff00 + i)));
    }
    CHECK(f.eventually([&] { // nothing is held that nobody holds
        return f.recorder.keys.size() >= 8 && !f.recorder.keys.back().second && !f.recorder.moves.empty() &&
               f.recorder.moves.back().buttons == 0;
    }));
    while (f.viewers() != 1)
        std::this_thread::yield();
    CHECK(f.buffered() < 1024 * 1024);
}

TEST_CASE("the pointer does not drift: what it moves adds up, and edges line it up again") {
    ServerFixture f{{}, 640, 480};
    RfbClient viewer{f.server->port()};
    REQUIRE(viewer.handshake() == 0);
    viewer.pointer(0, 320, 240);
    // Ways through the middle of the picture, however many steps they take.
    unsigned sent = 1, x = 320, y = 240, seed = 1;
    for (; sent < 500; ++sent) {
        seed = seed * 1103515245 + 12345;
        x = 20 + (seed >> 8) % 600;
        y = 20 + (seed >> 20) % 440;
        viewer.pointer(0, x, y);
    }
    const auto sum = [&](auto member) {
        int total = 0;
        for (const auto& move : f.recorder.moves)
            total += move.*member;
        return total;
    };
    REQUIRE(f.eventually([&] { return f.recorder.moves.size() == sent; }));
    CHECK(sum(&Recorder::Move::dx) == static_cast<int>(x) - 320);
    CHECK(sum(&Recorder::Move::dy) == static_cast<int>(y) - 240);
    // Into a corner: at least the whole screen, so that the guest's pointer is there too, wherever it was.
    f.eventually([&] { return f.recorder.moves.clear(), true; });
    viewer.pointer(0, 0, 0);
    REQUIRE(f.eventually([&] { return f.recorder.moves.size() == 1; }));
    CHECK(f.recorder.moves[0].dx <= -640);
    CHECK(f.recorder.moves[0].dy <= -480);
}

TEST_CASE("what is no message ends that connection only") {
    ServerFixture f;
    RfbClient good{f.server->port()};
    REQUIRE(good.handshake() == 0);
    for (const unsigned type : {1u, 7u, 77u, 255u}) {
        RfbClient bad{f.server->port()};
        REQUIRE(bad.handshake() == 0);
        bad.send(Message{}.u8(type).u8(99).u32(0xffffffff).u32(0xffffffff));
        CHECK_THROWS_AS(bad.receive(1), RfbEnd);
    }
    RfbClient pasting{f.server->port()};
    REQUIRE(pasting.handshake() == 0);
    pasting.send(Message{}.u8(6).u8(0).u16(0).u32(200000));
    pasting.send_bytes(std::vector<std::uint8_t>(200000, 'x'));
    pasting.key(' ', true);
    CHECK(f.eventually([&] { return f.recorder.keys == Keys{{0x39, true}}; }));
    TestSocket garbage{f.server->port()};
    garbage.send("RFB is not spoken here, whatever it may look like");
    good.request(false);
    CHECK(good.updates_until(f.display.canvas.pixels));
    CHECK(f.eventually([] { return true; }));
    CHECK(f.viewers() == 2);
}

TEST_CASE("the web page and its WebSocket, on the same port") {
    const auto root = std::filesystem::temp_directory_path() / "escalus-unit-vnc-web";
    std::filesystem::create_directories(root / "app");
    std::ofstream{root / "vnc.html"} << "<html>console</html>";
    std::ofstream{root / "app" / "ui.js"} << "script";
    VncOptions options;
    options.web_root = root.string();
    ServerFixture f{options};
    std::filesystem::remove_all(root);
    const auto host = f.server->address();
    CHECK(f.server->web_address() == "http://" + host + "/vnc.html");

    const auto get = [&](const std::string& target) {
        TestSocket s{f.server->port()};
        s.send("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
        std::string answer;
        try {
            for (;;)
                answer += static_cast<char>(s.receive(1)[0]);
        } catch (const RfbEnd&) {
        }
        return answer;
    };
    const auto page = get("/vnc.html?autoconnect=true");
    CHECK(page.starts_with("HTTP/1.1 200 "));
    CHECK(page.find("Content-Type: text/html") != std::string::npos);
    CHECK(page.ends_with("<html>console</html>"));
    CHECK(get("/app/ui.js").ends_with("script"));
    CHECK(get("/").find("Location: /vnc.html") != std::string::npos);
    CHECK(get("/../../../etc/passwd").starts_with("HTTP/1.1 404 "));
    CHECK(get("/nothing").starts_with("HTTP/1.1 404 "));

    WebRfbClient viewer{f.server->port()};
    const auto answer = viewer.upgrade(host, "http://" + host);
    CHECK(answer.starts_with("HTTP/1.1 101 "));
    CHECK(answer.find("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") != std::string::npos); // RFC 6455, section 1.3
    REQUIRE(viewer.handshake() == 0);
    CHECK(viewer.name == "Escalus test");
    viewer.set_encodings({RfbClient::raw});
    viewer.request(false);
    CHECK(viewer.updates_until(f.display.canvas.pixels));
    viewer.key(' ', true);
    CHECK(f.eventually([&] { return f.recorder.keys == Keys{{0x39, true}}; }));
    CHECK(f.viewers() == 1);

    WebRfbClient stranger{f.server->port()};
    CHECK(stranger.upgrade(host, "http://elsewhere.example").starts_with("HTTP/1.1 403 "));
}

TEST_CASE("without the page's files there is no web page") {
    VncOptions options;
    options.web_root = "/nonexistent";
    ServerFixture f{options};
    CHECK(f.server->web_address().empty());
}

TEST_CASE("ports: a taken one is an error that says so, or is passed over") {
    ServerFixture f;
    VncOptions options;
    options.port = f.server->port();
    CHECK_THROWS_AS(ServerFixture{options}, VncPortTaken);
    try {
        const ServerFixture other{options};
    } catch (const VncError& error) {
        CHECK_THAT(error.what(), Catch::Contains(f.server->address()));
    }
    boost::asio::io_context loop;
    options = {};
    options.config.display = 3000; // port 8900
    const VncServer first{loop, f.display, f.recorder, f.recorder, f.lock, options};
    const VncServer second{loop, f.display, f.recorder, f.recorder, f.lock, options};
    CHECK(second.port() > first.port());
    options.config.find_unused = false;
    options.config.display = first.port() - 5900u;
    CHECK_THROWS_AS((VncServer{loop, f.display, f.recorder, f.recorder, f.lock, options}), VncPortTaken);
    options.config.display = 100000;
    CHECK_THROWS_AS((VncServer{loop, f.display, f.recorder, f.recorder, f.lock, options}), VncError);
    options = {};
    options.config.listen = "256.1.1.1.invalid";
    CHECK_THROWS_AS((VncServer{loop, f.display, f.recorder, f.recorder, f.lock, options}), VncError);
    options.config.listen = "203.0.113.1"; // not an address of this machine
    CHECK_THROWS_AS((VncServer{loop, f.display, f.recorder, f.recorder, f.lock, options}), VncError);
}
