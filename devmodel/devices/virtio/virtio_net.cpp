// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/virtio/virtio_net.hpp"

#include "devmodel/backends/net/vnet_header.hpp"

#include <algorithm>

namespace escalus {

namespace {
// Features (5.1.3).
constexpr std::uint64_t checksum = 1 << 0, guest_checksum = 1 << 1, switch_offloads = 1 << 2,
                        has_mac = 1 << 5, guest_tcp4 = 1 << 7, guest_tcp6 = 1 << 8, guest_ecn = 1 << 9,
                        host_tcp4 = 1 << 11, host_tcp6 = 1 << 12, host_ecn = 1 << 13, mergeable = 1 << 15,
                        has_status = 1 << 16, has_control = 1 << 17, control_receive = 1 << 18,
                        control_vlan = 1 << 19, control_receive_more = 1 << 20, control_mac = 1 << 23;
constexpr std::uint64_t guest_offloads = guest_checksum | guest_tcp4 | guest_tcp6 | guest_ecn;

// Configuration (5.1.4).
constexpr unsigned config_mac = 0, config_status = 6, config_bytes = 8;
constexpr std::uint16_t status_link_up = 1;

// Commands (5.1.6.5).
enum Class : std::uint8_t { class_receive = 0, class_mac = 1, class_vlan = 2, class_offloads = 5 };
constexpr std::uint8_t command_done = 0, command_failed = 1;
constexpr std::size_t most_command_bytes = 16 * 1024;

constexpr unsigned most_at_once = 256;          // frames or commands; then others have their turn
constexpr GuestTime look_again_after = 150'000; // ns; what QEMU's card waits that sends by a timer

constexpr std::size_t count_at = VnetHeader::bytes, header_with_count = VnetHeader::bytes + 2;
} // namespace

VirtioNet::VirtioNet(Clock& clock, NetBackend& backend, const MacAddress& mac)
    : clock_{clock},
      backend_{backend},
      filter_{mac},
      later_{clock, [this] { transmit(); }},
      link_up_{backend.link_up()} {
    backend_.connect(this);
}

VirtioNet::~VirtioNet() {
    backend_.connect(nullptr);
}

std::uint64_t VirtioNet::features() const {
    return checksum | switch_offloads | has_mac | guest_offloads | host_tcp4 | host_tcp6 | host_ecn |
           mergeable | has_status | has_control | control_receive | control_vlan | control_receive_more |
           control_mac;
}

void VirtioNet::read_config(unsigned offset, std::span<std::uint8_t> data) {
    std::array<std::uint8_t, config_bytes> config{};
    std::ranges::copy(filter_.mac(), config.begin() + config_mac);
    store_le(config, config_status, link_up_ ? status_link_up : std::uint16_t{0});
    for (std::size_t i = 0; i < data.size(); ++i)
        data[i] = offset + i < config.size() ? config[offset + i] : std::uint8_t{0};
}

void VirtioNet::write_config(unsigned offset, std::span<const std::uint8_t> data) {
    if (negotiated(virtio::feature_version_1)) // the control queue sets it
        return;
    auto mac = filter_.mac();
    for (std::size_t i = 0; i < data.size() && offset + i < mac.size(); ++i)
        mac.at(offset + i) = data[i];
    filter_.set_mac(mac);
}

std::size_t VirtioNet::header_bytes() {
    return negotiated(mergeable | virtio::feature_version_1) ? header_with_count : VnetHeader::bytes;
}

// --- Life --------------------------------------------------------------------------------------------------

void VirtioNet::reset() {
    spare_.clear();
    spare_bytes_ = 0;
    longest_ = ethernet_frame_bytes;
    later_.cancel();
    filter_.reset();
    backend_.accept_offloads(false, false, false);
}

void VirtioNet::driver_ready() {
    apply_offloads(host().features());
    if (negotiated(control_vlan))
        filter_.filter_vlans();
}

void VirtioNet::apply_offloads(std::uint64_t wanted) {
    // Segmentation is not to be had without checksums (5.1.3.1).
    const bool sums = (wanted & guest_checksum) != 0;
    const bool tcp4 = sums && (wanted & guest_tcp4) != 0, tcp6 = sums && (wanted & guest_tcp6) != 0;
    longest_ = tcp4 || tcp6 ? longest_frame_bytes : ethernet_frame_bytes;
    backend_.accept_offloads(sums, tcp4, tcp6);
}

void VirtioNet::pause() {
    paused_ = true;
}

void VirtioNet::resume() {
    paused_ = false;
    backend_.card_ready();
    transmit();
    serve_control();
}

void VirtioNet::link_changed(bool up) {
    if (link_up_ == up)
        return;
    link_up_ = up;
    if (negotiated(has_status))
        host().config_changed();
}

void VirtioNet::notified(unsigned queue) {
    switch (queue) {
    case receive_queue:
        backend_.card_ready();
        break;
    case transmit_queue:
        transmit();
        break;
    default:
        serve_control();
    }
}

// --- Receiving ---------------------------------------------------------------------------------------------

/// Takes buffers until they have room for `bytes`.
bool VirtioNet::gather(std::uint64_t bytes) {
    auto& queue = host().queue(receive_queue);
    while (spare_bytes_ < bytes) {
        if (spare_.size() == queue.entries()) // all there are; or the same ones again and again
            return false;
        auto chain = queue.take();
        if (!chain) {
            if (!queue.ask_for_notification())
                continue;
            host().queue_changed(receive_queue); // in case it broke
            return false;
        }
        spare_bytes_ += chain->writable.size();
        spare_.push_back(std::move(*chain));
    }
    return true;
}

bool VirtioNet::can_receive() {
    if (!working())
        return false;
    // A driver with a small ring shall not wait for ever for what it could never take.
    return gather(header_with_count + longest_) ||
           (!spare_.empty() && 2 * spare_.size() >= host().queue(receive_queue).entries());
}

void VirtioNet::receive(std::span<const std::uint8_t> frame, const NetOffload& offload) {
    if (!working() || !filter_.passes(frame))
        return;
    if (offload.unfinished() && !negotiated(guest_checksum))
        return; // on its way since before a reset
    const auto header_size = header_bytes();
    const bool merge = negotiated(mergeable);
    auto& queue = host().queue(receive_queue);
    if (!gather(header_size + frame.size()) && spare_.empty())
        return;
    if ((merge ? spare_bytes_ : spare_.front().writable.size()) < header_size + frame.size())
        return; // does not fit, and is lost

    std::array<std::uint8_t, header_with_count> header{};
    auto told = offload;
    told.checksum_is_good &= negotiated(guest_checksum); // else the flags must be zero (5.1.6.4.1)
    VnetHeader::encode(header, told);
    std::uint16_t count = 0;
    for (std::uint64_t room = 0; room < header_size + frame.size(); ++count)
        room += spare_[count].writable.size();
    store_le(header, count_at, count);
    for (std::uint16_t i = 0; i < count; ++i) {
        const VirtqueueChain chain = std::move(spare_.front());
        spare_.pop_front();
        spare_bytes_ -= chain.writable.size();
        std::uint64_t at = 0;
        if (i == 0) {
            at = std::min<std::uint64_t>(header_size, chain.writable.size());
            chain.writable.write(host().memory(), 0, std::span{header}.first(at));
        }
        const auto n = std::min<std::uint64_t>(chain.writable.size() - at, frame.size());
        chain.writable.write(host().memory(), at, frame.first(n));
        frame = frame.subspan(n);
        queue.give_back(chain.head, static_cast<std::uint32_t>(at + n));
    }
}

// --- Sending -----------------------------------------------------------------------------------------------

void VirtioNet::transmit() {
    if (!working())
        return;
    auto& queue = host().queue(transmit_queue);
    queue.mute_notifications();
    // A guest that adds frames faster than they are sent shall not keep this thread for ever.
    bool sent = false;
    for (unsigned budget = most_at_once;; --budget) {
        auto chain = budget != 0 ? queue.take() : std::nullopt;
        if (chain) {
            transmit_one(*chain);
            queue.give_back(chain->head, 0);
            sent = true;
        } else if (sent) {
            later_.arm(budget == 0 ? 0 : clock_.now() + look_again_after); // who sends much has more by then
            break;
        } else if (queue.ask_for_notification()) {
            break;
        }
    }
    host().queue_changed(transmit_queue);
}

void VirtioNet::transmit_one(const VirtqueueChain& chain) {
    const auto header_size = header_bytes();
    const auto& from = chain.readable;
    if (from.size() <= header_size || from.size() - header_size > longest_frame_bytes)
        return;
    std::array<std::uint8_t, VnetHeader::bytes> header{};
    frame_.resize(from.size() - header_size);
    // A copy of its own: the guest may change the buffer at any time.
    if (!from.read(host().memory(), 0, header) || !from.read(host().memory(), header_size, frame_))
        return;
    const auto decoded = VnetHeader::decode(header);
    if (!decoded)
        return;
    auto offload = *decoded;
    offload.checksum_is_good = false; // the flag means nothing in this direction
    offload.needs_checksum &= negotiated(checksum);
    if (!negotiated(host_tcp4 | host_tcp6))
        offload.segmentation = NetOffload::Segmentation::None;
    if (link_up_)
        backend_.send(frame_, offload);
}

// --- Commands ----------------------------------------------------------------------------------------------

void VirtioNet::serve_control() {
    if (!working())
        return;
    auto& queue = host().queue(control_queue);
    for (unsigned budget = most_at_once; budget != 0; --budget) {
        auto chain = queue.take();
        if (!chain) {
            if (queue.ask_for_notification())
                break;
            continue;
        }
        const auto end = chain->writable.size();
        std::vector<std::uint8_t> command(
            std::min<std::uint64_t>(chain->readable.size(), most_command_bytes));
        const bool done = chain->readable.size() <= most_command_bytes && end != 0 &&
                          chain->readable.read(host().memory(), 0, command) && execute(command);
        if (end != 0) {
            const std::uint8_t answer = done ? command_done : command_failed;
            chain->writable.write(host().memory(), end - 1, {&answer, 1});
        }
        queue.give_back(chain->head, end != 0 ? 1 : 0);
    }
    host().queue_changed(control_queue);
}

bool VirtioNet::execute(std::span<const std::uint8_t> command) {
    if (command.size() < 2)
        return false;
    const auto code = command[1];
    const auto data = command.subspan(2);
    switch (command[0]) {
    case class_receive:
        return negotiated(control_receive) && filter_.receive_mode(code, data);
    case class_mac:
        return negotiated(control_receive | control_mac) && filter_.address(code, data);
    case class_vlan:
        return negotiated(control_vlan) && filter_.vlan(code, data);
    case class_offloads: {
        if (!negotiated(switch_offloads) || code != 0 || data.size() != 8)
            return false;
        const auto wanted = load_le<std::uint64_t>(data);
        if ((wanted & ~(host().features() & guest_offloads)) != 0)
            return false;
        apply_offloads(wanted);
        return true;
    }
    default:
        return false;
    }
}

} // namespace escalus
