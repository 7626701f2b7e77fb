// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/net/pcap_dump.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <array>
#include <cerrno>
#include <ctime>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/uio.h>
#include <system_error>
#include <unistd.h>

namespace escalus {

namespace {
constexpr std::uint32_t magic = 0xa1b2c3d4, link_ethernet = 1;
} // namespace

PcapDump::PcapDump(std::unique_ptr<NetBackend> inner, const std::string& path)
    : inner_{std::move(inner)},
      path_{path},
      file_{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)} {
    std::array<std::uint8_t, 24> header{};
    store_le<std::uint32_t>(header, 0, magic);
    store_le<std::uint16_t>(header, 4, 2); // version 2.4
    store_le<std::uint16_t>(header, 6, 4);
    store_le<std::uint32_t>(header, 16, longest_frame_bytes);
    store_le<std::uint32_t>(header, 20, link_ethernet);
    if (file_ < 0 || ::write(file_, header.data(), header.size()) != static_cast<ssize_t>(header.size()))
        throw std::runtime_error{fmt::format("{}: the packet dump cannot be written: {}", path,
                                             std::generic_category().message(errno))};
}

PcapDump::~PcapDump() {
    if (file_ >= 0)
        ::close(file_);
}

void PcapDump::connect(NetCard* card) {
    card_ = card;
    inner_->connect(card != nullptr ? this : nullptr);
}

void PcapDump::send(std::span<const std::uint8_t> frame, const NetOffload& offload) {
    record(frame);
    inner_->send(frame, offload);
}

void PcapDump::receive(std::span<const std::uint8_t> frame, const NetOffload& offload) {
    record(frame);
    if (card_ != nullptr)
        card_->receive(frame, offload);
}

void PcapDump::link_changed(bool up) {
    if (card_ != nullptr)
        card_->link_changed(up);
}

void PcapDump::record(std::span<const std::uint8_t> frame) {
    if (file_ < 0)
        return;
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    std::array<std::uint8_t, 16> header{};
    store_le(header, 0, static_cast<std::uint32_t>(now.tv_sec));
    store_le(header, 4, static_cast<std::uint32_t>(now.tv_nsec / 1000));
    store_le(header, 8, static_cast<std::uint32_t>(frame.size()));
    store_le(header, 12, static_cast<std::uint32_t>(frame.size()));
    // NOLINTNEXTLINE(*-const-cast): the kernel's interface has no const
    const std::array<iovec, 2> parts{iovec{header.data(), header.size()},
                                     iovec{const_cast<std::uint8_t*>(frame.data()), frame.size()}};
    const auto n = ::writev(file_, parts.data(), parts.size());
    if (n == static_cast<ssize_t>(header.size() + frame.size()))
        return;
    fmt::print(stderr, "network: {}: {}: no more packets are dumped\n", path_,
               n < 0 ? std::generic_category().message(errno) : "the file system is full");
    ::close(std::exchange(file_, -1));
}

} // namespace escalus
