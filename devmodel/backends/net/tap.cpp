// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/net/tap.hpp"

#include "devmodel/backends/host/descriptor.hpp"
#include "devmodel/backends/net/descriptor_net.hpp"
#include "devmodel/backends/net/vnet_header.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace escalus {

namespace {

[[noreturn]] void fail(const std::string& what, const char* help = "") {
    const auto why = std::generic_category().message(errno);
    throw std::runtime_error{fmt::format("network: {}: {}{}", what, why, help)};
}

ifreq request_for(const std::string& interface) {
    ifreq request{};
    if (interface.size() >= sizeof request.ifr_name)
        throw std::runtime_error{fmt::format("network: '{}' is too long for the name of an interface ({} "
                                             "characters at most)",
                                             interface, sizeof request.ifr_name - 1)};
    std::ranges::copy(interface, request.ifr_name);
    return request;
}

/// Interfaces are set up through any socket.
class Interfaces {
  public:
    Interfaces() : socket_{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)} {
        if (socket_.get() < 0)
            fail("a socket");
    }

    void bring_up(const std::string& name) {
        auto request = request_for(name);
        if (::ioctl(socket_.get(), SIOCGIFFLAGS, &request) != 0)
            fail(name);
        request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
        if (::ioctl(socket_.get(), SIOCSIFFLAGS, &request) != 0)
            fail(fmt::format("{} cannot be brought up", name));
    }
    void set_address(const std::string& name, const MacAddress& mac) {
        auto request = request_for(name);
        request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
        std::ranges::copy(mac, request.ifr_hwaddr.sa_data);
        if (::ioctl(socket_.get(), SIOCSIFHWADDR, &request) != 0)
            fail(fmt::format("{} cannot be given an address", name));
    }
    void ensure_bridge(const std::string& name) {
        auto request = request_for(name);
        if (::ioctl(socket_.get(), SIOCGIFINDEX, &request) == 0)
            return;
        if (::ioctl(socket_.get(), SIOCBRADDBR, name.c_str()) != 0)
            fail(fmt::format("there is no bridge {}, and it cannot be made", name),
                 errno == ENOPKG || errno == ENOSYS || errno == EINVAL
                     ? " (the control OS's kernel needs its module bridge)"
                     : "");
        bring_up(name);
        fmt::print(stderr, "network: the bridge {} was made: nothing of the control OS is on it yet\n", name);
    }
    void join(const std::string& bridge, const std::string& name) {
        auto request = request_for(name);
        if (::ioctl(socket_.get(), SIOCGIFINDEX, &request) != 0)
            fail(name);
        const int index = request.ifr_ifindex;
        request = request_for(bridge);
        request.ifr_ifindex = index;
        if (::ioctl(socket_.get(), SIOCBRADDIF, &request) != 0)
            fail(fmt::format("{} cannot join {}", name, bridge),
                 errno == EOPNOTSUPP || errno == EINVAL ? " (is it a bridge?)" : "");
    }

  private:
    Descriptor socket_;
};

int open_device(std::string& name) {
    Descriptor device{::open("/dev/net/tun", O_RDWR | O_CLOEXEC)};
    if (device.get() < 0)
        fail("/dev/net/tun",
             errno == ENOENT || errno == ENODEV ? " (the control OS's kernel needs its module tun)" : "");
    auto request = request_for(name.empty() ? "vif%d" : name);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (::ioctl(device.get(), TUNSETIFF, &request) != 0)
        fail(fmt::format("the interface {} cannot be made", name.empty() ? "vif0" : name),
             errno == EBUSY ? " (another guest has it: give it another vifname)" : "");
    name = request.ifr_name;
    int bytes = VnetHeader::bytes;
    if (::ioctl(device.get(), TUNSETVNETHDRSZ, &bytes) != 0)
        fail(fmt::format("{}: the size of the header", name));
    return device.release();
}

} // namespace

std::unique_ptr<NetBackend> open_tap(boost::asio::io_context& loop, DeviceLock& device_lock,
                                     const TapConfig& config) {
    Interfaces interfaces;
    std::string name = config.interface;
    Descriptor device{open_device(name)};
    // High, so that the bridge does not take it as its own address.
    auto mac = config.guest;
    mac[0] = 0xfe;
    interfaces.set_address(name, mac);
    interfaces.ensure_bridge(config.bridge);
    interfaces.join(config.bridge, name);
    interfaces.bring_up(name);
    const int fd = device.release();
    constexpr unsigned long all = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    ::ioctl(fd, TUNSETOFFLOAD, all); // of no harm when it fails
    return std::make_unique<DescriptorNet>(
        loop, device_lock, fd, DescriptorNetOptions{fmt::format("tap {} on {}", name, config.bridge), true});
}

} // namespace escalus
