// SPDX-License-Identifier: GPL-2.0-or-later
// The user network as a guest sees it, frame by frame: ARP, DHCP, TFTP, TCP both ways.
#include "devmodel/backends/net/user_net.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "test/unit/net/frames.hpp"
#include "test/unit/net/test_card.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr MacAddress own{0x00, 0x16, 0x3e, 0x11, 0x22, 0x33};
using Ip = std::array<std::uint8_t, 4>;
constexpr Ip mine{10, 0, 2, 15}, gateway{10, 0, 2, 2}, everyone{255, 255, 255, 255}, nobody{0, 0, 0, 0};

/// A listening or connecting TCP socket of the control OS, on the loopback.
struct HostSocket {
    HostSocket() : fd{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)} {}
    explicit HostSocket(int accepted) : fd{accepted} {}
    ~HostSocket() { ::close(fd); }
    HostSocket(const HostSocket&) = delete;
    HostSocket& operator=(const HostSocket&) = delete;
    static sockaddr_in loopback(std::uint16_t port) {
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_port = htons(port);
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return a;
    }
    std::uint16_t listen() const {
        auto a = loopback(0);
        socklen_t size = sizeof a;
        auto* generic = reinterpret_cast<sockaddr*>(&a); // NOLINT(*-reinterpret-cast)
        REQUIRE(::bind(fd, generic, size) == 0);
        REQUIRE(::listen(fd, 1) == 0);
        REQUIRE(::getsockname(fd, generic, &size) == 0);
        return ntohs(a.sin_port);
    }
    int fd;
};

struct Guest : Loop {
    explicit Guest(const UserNetConfig& config = {}) : net{io, lock, clock, config} {
        card.call(lock, [&] { net.connect(&card); });
    }
    ~Guest() {
        card.call(lock, [&] { net.connect(nullptr); });
    }
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;

    void send(const Frame& frame, const NetOffload& offload = {}) {
        card.call(lock, [&] { net.send(frame, offload); });
    }
    static Frame ip(unsigned protocol, const Ip& from, const Ip& to, const Frame& body) {
        Frame f(14 + 20);
        std::ranges::fill_n(f.begin(), 6, std::uint8_t{0xff});
        std::ranges::copy(own, f.begin() + 6);
        put16(f, 12, 0x0800);
        f[14] = 0x45;
        put16(f, 16, 20 + body.size());
        f[22] = 64;
        f[23] = static_cast<std::uint8_t>(protocol);
        std::ranges::copy(from, f.begin() + 26);
        std::ranges::copy(to, f.begin() + 30);
        put16(f, 24, ~plain_sum(std::span{f}.subspan(14, 20)));
        f.insert(f.end(), body.begin(), body.end());
        return f;
    }
    static Frame udp(const Ip& from, unsigned from_port, const Ip& to, unsigned to_port, const Frame& body) {
        Frame f(8);
        put16(f, 0, from_port);
        put16(f, 2, to_port);
        put16(f, 4, 8 + body.size());
        f.insert(f.end(), body.begin(), body.end());
        return ip(17, from, to, f);
    }
    /// A TCP segment whose checksum is left to the card.
    void tcp(const Ip& to, unsigned from_port, unsigned to_port, unsigned flags, const Frame& body = {}) {
        Frame f(20);
        put16(f, 0, from_port);
        put16(f, 2, to_port);
        put16(f, 4, sequence >> 16);
        put16(f, 6, sequence & 0xffff);
        put16(f, 8, acknowledged >> 16);
        put16(f, 10, acknowledged & 0xffff);
        f[12] = 0x50;
        f[13] = static_cast<std::uint8_t>(flags);
        put16(f, 14, 0xffff);
        f.insert(f.end(), body.begin(), body.end());
        unsigned pseudo = plain_sum(mine, 6 + static_cast<unsigned>(f.size()));
        pseudo = plain_sum(to, pseudo);
        put16(f, 16, pseudo);
        send(ip(6, mine, to, f), {.needs_checksum = true,
                                  .segmentation = body.size() > 1460 ? NetOffload::Segmentation::Tcp4
                                                                     : NetOffload::Segmentation::None,
                                  .segment_bytes = 1460,
                                  .checksum_start = 34,
                                  .checksum_offset = 16});
        sequence += static_cast<unsigned>(body.size()) + ((flags & 3) != 0 ? 1u : 0u);
    }
    /// The first frame that has come and fits, after waiting for it; ARP requests are answered meanwhile.
    template <typename Fits>
    Frame wait_for(Fits fits) {
        Frame found;
        run_until([&] {
            for (const auto& frame : std::exchange(card.received, {})) {
                if (frame.size() >= 42 && get16(frame, 12) == 0x0806 && frame[21] == 1)
                    send(arp(2, std::span{frame}.subspan(28, 4)));
                else if (found.empty() && fits(frame))
                    found = frame;
            }
            clock.advance(20'000'000); // libslirp's timers
            return !found.empty();
        });
        return found;
    }
    Frame wait_tcp(unsigned port) {
        return wait_for([&](const Frame& f) {
            return f.size() >= 54 && get16(f, 12) == 0x0800 && f[23] == 6 && get16(f, 36) == port;
        });
    }
    static Frame arp(unsigned operation, std::span<const std::uint8_t> target) {
        Frame f(42);
        std::ranges::fill_n(f.begin(), 6, std::uint8_t{0xff});
        std::ranges::copy(own, f.begin() + 6);
        put16(f, 12, 0x0806);
        put16(f, 14, 1);
        put16(f, 16, 0x0800);
        f[18] = 6;
        f[19] = 4;
        put16(f, 20, operation);
        std::ranges::copy(own, f.begin() + 22);
        std::ranges::copy(mine, f.begin() + 28);
        std::ranges::copy(target, f.begin() + 38);
        return f;
    }
    ManualClock clock;
    TestCard card;
    UserNet net;
    unsigned sequence = 1000, acknowledged = 0;
};

std::string text_of(const Frame& frame, std::size_t at) {
    return {frame.begin() + static_cast<std::ptrdiff_t>(at), frame.end()};
}
} // namespace

TEST_CASE("user network: the gateway answers ARP, never from within a call") {
    Guest guest;
    guest.send(Guest::arp(1, gateway));
    const auto answer = guest.wait_for([](const Frame& f) { return get16(f, 12) == 0x0806 && f[21] == 2; });
    CHECK(Frame(answer.begin() + 28, answer.begin() + 32) == Frame{10, 0, 2, 2});
    CHECK(guest.card.offloads.back().checksum_is_good);
}

TEST_CASE("user network: DHCP gives out an address and the boot file") {
    Guest guest{{.tftp_folder = "/tmp", .boot_file = "boot/here.kpxe"}};
    Frame discover(240);
    discover[0] = discover[1] = 1;
    discover[2] = 6;
    std::ranges::copy(own, discover.begin() + 28);
    const Frame options{0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255};
    discover.resize(300);
    std::ranges::copy(options, discover.begin() + 236);
    guest.send(Guest::udp(nobody, 68, everyone, 67, discover));
    const auto offer = guest.wait_for([](const Frame& f) { return f.size() > 300 && get16(f, 36) == 68; });
    CHECK(Frame(offer.begin() + 42 + 16, offer.begin() + 42 + 20) == Frame{10, 0, 2, 15});
    const auto file = text_of(offer, 42 + 108);
    CHECK(file.substr(0, file.find('\0')) == "boot/here.kpxe");
}

TEST_CASE("user network: TFTP serves a folder, and nothing above it") {
    const auto folder = std::filesystem::temp_directory_path() / fmt::format("escalus-tftp-{}", ::getpid());
    std::filesystem::create_directory(folder);
    std::ofstream{folder / "hello"} << "from the folder";
    Guest guest{{.tftp_folder = folder.string()}};
    const auto ask = [&](std::string_view name) {
        Frame request{0, 1};
        request.insert(request.end(), name.begin(), name.end());
        request.push_back(0);
        for (const char c : {'o', 'c', 't', 'e', 't', '\0'})
            request.push_back(static_cast<std::uint8_t>(c));
        guest.send(Guest::arp(1, gateway));
        guest.send(Guest::udp(mine, 2000, gateway, 69, request));
        return guest.wait_for(
            [](const Frame& f) { return f.size() > 44 && get16(f, 12) == 0x0800 && get16(f, 36) == 2000; });
    };
    const auto data = ask("hello");
    CHECK(get16(data, 42) == 3);
    CHECK(text_of(data, 46) == "from the folder");
    CHECK(get16(ask("../../etc/passwd"), 42) == 5); // an error
    std::filesystem::remove_all(folder);
}

TEST_CASE("user network: the guest connects out, in large segments, and hears the answer") {
    const HostSocket listener;
    const auto port = listener.listen();
    Guest guest;
    guest.tcp(gateway, 4000, port, 0x02);
    auto answer = guest.wait_tcp(4000);
    REQUIRE(answer[47] == 0x12); // SYN ACK
    CHECK(tcp_checksum_is_good(answer, false));
    guest.acknowledged = get16(answer, 38) << 16 | get16(answer, 40);
    ++guest.acknowledged;
    const HostSocket accepted{::accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK)};
    REQUIRE(accepted.fd >= 0);

    Frame large(20'000);
    for (std::size_t i = 0; i < large.size(); ++i)
        large[i] = static_cast<std::uint8_t>(i * 31 + i / 256);
    guest.tcp(gateway, 4000, port, 0x18, large);
    Frame got;
    guest.run_until([&] {
        Frame part(65536);
        const auto n = ::read(accepted.fd, part.data(), part.size());
        if (n > 0)
            got.insert(got.end(), part.begin(), part.begin() + n);
        guest.clock.advance(1'000'000);
        return got.size() == large.size();
    });
    CHECK(got == large);

    REQUIRE(::write(accepted.fd, "answer", 6) == 6);
    answer =
        guest.wait_for([](const Frame& f) { return f.size() >= 60 && f[23] == 6 && get16(f, 16) == 46; });
    CHECK(text_of(answer, 54).substr(0, 6) == "answer");
}

TEST_CASE("user network: a card without room gets its frames later, and sockets wait meanwhile") {
    const HostSocket listener;
    const auto port = listener.listen();
    Guest guest;
    guest.tcp(gateway, 4000, port, 0x02);
    auto answer = guest.wait_tcp(4000);
    guest.acknowledged = (get16(answer, 38) << 16 | get16(answer, 40)) + 1;
    const HostSocket accepted{::accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK)};
    guest.tcp(gateway, 4000, port, 0x10);
    guest.settle();
    guest.card.received.clear();
    guest.card.room = 0;
    REQUIRE(::write(accepted.fd, "later", 5) == 5);
    for (unsigned i = 0; i < 10; ++i) {
        guest.settle();
        guest.clock.advance(1'000'000);
    }
    CHECK(guest.card.received.empty());
    guest.card.room = 1000;
    guest.card.call(guest.lock, [&] { guest.net.card_ready(); });
    answer = guest.wait_for([](const Frame& f) { return f.size() >= 59 && f[23] == 6 && f[47] & 8; });
    CHECK(text_of(answer, 54).substr(0, 5) == "later");
}

TEST_CASE("user network: a forwarded port leads to the guest") {
    std::uint16_t port = 0;
    {
        const HostSocket probe;
        port = probe.listen();
    }
    Guest guest{{.forwards = {{.host_address = "127.0.0.1", .host_port = port, .guest_port = 22}}}};
    const HostSocket client;
    const auto to = HostSocket::loopback(port);
    const auto* address = reinterpret_cast<const sockaddr*>(&to); // NOLINT(*-reinterpret-cast)
    CHECK((::connect(client.fd, address, sizeof to) == 0 || errno == EINPROGRESS));
    const auto syn = guest.wait_tcp(22);
    CHECK(syn[47] == 0x02);
    CHECK(Frame(syn.begin() + 30, syn.begin() + 34) == Frame{10, 0, 2, 15});

    UserNetConfig taken{.forwards = {{.host_address = "127.0.0.1", .host_port = port, .guest_port = 22}}};
    CHECK_THROWS_WITH((UserNet{guest.io, guest.lock, guest.clock, taken}),
                      Catch::Contains(std::to_string(port)) && Catch::Contains("in use"));
    taken.forwards[0].host_address = "nonsense";
    CHECK_THROWS_WITH((UserNet{guest.io, guest.lock, guest.clock, taken}), Catch::Contains("nonsense"));
}

TEST_CASE("user network: a restricted one lets nothing out") {
    const HostSocket listener;
    const auto port = listener.listen();
    Guest guest{{.restricted = true}};
    guest.tcp(gateway, 4000, port, 0x02);
    for (unsigned i = 0; i < 50; ++i) {
        guest.settle();
        guest.clock.advance(20'000'000);
    }
    CHECK(::accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK) < 0);
}

TEST_CASE("user network: frames of any content harm nobody") {
    Guest guest{{.restricted = true}};
    std::uint32_t state = 12345;
    for (unsigned i = 0; i < 3000; ++i) {
        Frame frame(state % 1600);
        for (auto& byte : frame)
            byte = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
        if (frame.size() > 40 && i % 2 == 0) {
            put16(frame, 12, i % 3 == 0 ? 0x0806 : 0x0800);
            frame[14] = 0x45;
            frame[23] = i % 5 == 0 ? 6 : 17;
        }
        guest.send(frame,
                   {.needs_checksum = i % 7 == 0, .checksum_start = static_cast<std::uint16_t>(i % 256)});
        state = state * 1664525 + 1013904223;
        guest.settle();
    }
    guest.clock.advance(10 * ns_per_second);
}
