// SPDX-License-Identifier: GPL-2.0-or-later
// TAP devices on a bridge, in a network namespace that the test has for itself. Needs root; says so
// otherwise.
#include "devmodel/backends/net/tap.hpp"
#include "test/unit/net/frames.hpp"
#include "test/unit/net/test_card.hpp"

#include <functional>
#include <thread>

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace escalus;
using namespace escalus::test;

namespace {
/// A thread may have a network of its own, and it ends with the thread.
void in_own_network(const std::function<void()>& body) {
    bool done = false;
    std::thread{[&] {
        if (::unshare(CLONE_NEWNET) == 0 && ::access("/dev/net/tun", R_OK | W_OK) == 0) {
            body();
            done = true;
        }
    }}.join();
    if (!done)
        WARN("not looked at: this needs root and /dev/net/tun");
}

void remove_interface(const char* name) {
    struct {
        nlmsghdr header;
        ifinfomsg body;
    } request{};
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = RTM_DELLINK;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    request.body.ifi_index = static_cast<int>(::if_nametoindex(name));
    const int fd = ::socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    REQUIRE(::send(fd, &request, sizeof request, 0) == sizeof request);
    std::array<char, 256> answer{};
    CHECK(::recv(fd, answer.data(), answer.size(), 0) > 0);
    ::close(fd);
}

struct Guest {
    Guest(Loop& a_loop, const TapConfig& config) : loop{a_loop}, net{open_tap(loop.io, loop.lock, config)} {
        card.call(loop.lock, [&] { net->connect(&card); });
    }
    ~Guest() {
        card.call(loop.lock, [&] { net->connect(nullptr); });
    }
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;
    void send(const Frame& frame, const NetOffload& offload = {}) {
        card.call(loop.lock, [&] { net->send(frame, offload); });
    }
    /// How many came that begin as this one; the kernel has some of its own to say.
    [[nodiscard]] std::size_t got(const Frame& frame) const {
        return static_cast<std::size_t>(std::ranges::count_if(card.received, [&](const Frame& one) {
            return one.size() >= 34 && std::equal(one.begin(), one.begin() + 16, frame.begin());
        }));
    }
    Loop& loop;
    TestCard card;
    std::unique_ptr<NetBackend> net;
};
} // namespace

TEST_CASE("tap: two guests on a bridge that was made for them") {
    in_own_network([] {
        Loop loop;
        Guest a{loop, {"testbr0", "web0", {0, 0x16, 0x3e, 0, 0, 1}}};
        Guest b{loop, {"testbr0", "", {0, 0x16, 0x3e, 0, 0, 2}}};
        CHECK(a.net->description() == "tap web0 on testbr0");
        CHECK(b.net->description() == "tap vif0 on testbr0");
        auto tcp = tcp_frame(false, 3000);
        tcp.frame[0] = tcp.frame[6] = 0x02; // to another guest, and from one
        tcp.frame[7] = 0x77;

        // The other takes whole segments, and then none: they are cut for it, and summed.
        b.card.call(loop.lock, [&] { b.net->accept_offloads(true, true, true); });
        a.send(tcp.frame, tcp.segmented(1000));
        loop.run_until([&] { return b.got(tcp.frame) == 1; });
        const auto whole = std::ranges::find(b.card.received, tcp.frame);
        REQUIRE(whole != b.card.received.end());
        const auto& offload = b.card.offloads[static_cast<std::size_t>(whole - b.card.received.begin())];
        CHECK(offload.segmentation == NetOffload::Segmentation::Tcp4);
        CHECK(offload.segment_bytes == 1000);
        CHECK(offload.needs_checksum);

        b.card.call(loop.lock, [&] { b.net->accept_offloads(false, false, false); });
        b.card.received.clear();
        b.card.offloads.clear();
        const Frame first(tcp.frame.begin(), tcp.frame.begin() + 12);
        a.send(tcp.frame, tcp.segmented(1000));
        const auto segments = [&] {
            std::vector<Frame> found;
            for (const auto& frame : b.card.received)
                if (frame.size() > 100 && std::equal(first.begin(), first.end(), frame.begin()))
                    found.push_back(frame);
            return found;
        };
        loop.run_until([&] { return segments().size() == 3; });
        for (const auto& frame : segments())
            CHECK(tcp_checksum_is_good(frame, false));

        // The same name again, and something that is no bridge.
        CHECK_THROWS_WITH(open_tap(loop.io, loop.lock, {"testbr0", "web0", {}}),
                          Catch::Contains("web0") && Catch::Contains("vifname"));
        CHECK_THROWS_WITH(open_tap(loop.io, loop.lock, {"lo", "", {}}), Catch::Contains("lo"));

        remove_interface("web0");
        loop.run_until([&] { return !a.card.link.empty(); });
        CHECK(a.card.link == std::vector{false});
        a.send(tcp.frame);
        CHECK(b.net->link_up());
    });
}
