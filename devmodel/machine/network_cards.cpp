// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/network_cards.hpp"

#include "devmodel/backends/net/pcap_dump.hpp"
#include "devmodel/backends/net/rate_limit.hpp"
#include "devmodel/backends/net/tap.hpp"
#include "devmodel/backends/net/user_net.hpp"
#include "devmodel/devices/net/e1000.hpp"
#include "devmodel/devices/net/ne2000.hpp"
#include "devmodel/devices/net/pcnet.hpp"
#include "devmodel/devices/net/rtl8139.hpp"
#include "devmodel/devices/virtio/virtio_net.hpp"
#include "devmodel/devices/virtio/virtio_pci.hpp"
#include "firmware/find_firmware.hpp"

namespace escalus {

namespace {

constexpr std::uint64_t rom_limit = 1 << 20;

std::unique_ptr<NetBackend> open_backend(const NetworkConfig& config, boost::asio::io_context& loop,
                                         DeviceLock& device_lock, Clock& clock) {
    std::unique_ptr<NetBackend> backend;
    if (config.kind == NetworkKind::User)
        backend = std::make_unique<UserNet>(loop, device_lock, clock, config.user);
    else
        backend = open_tap(loop, device_lock, {config.bridge, config.interface, config.mac});
    if (config.rate_bytes != 0)
        backend = std::make_unique<RateLimit>(std::move(backend), clock, config.rate_bytes,
                                              GuestTime{config.rate_interval_us} * 1000);
    if (!config.dump.empty())
        backend = std::make_unique<PcapDump>(std::move(backend), config.dump);
    return backend;
}

/// iPXE's images, of Debian's ipxe-qemu.
const char* rom_name(NetworkModel model) {
    switch (model) {
    case NetworkModel::Virtio:
        return "pxe-virtio.rom";
    case NetworkModel::Rtl8139:
        return "pxe-rtl8139.rom";
    case NetworkModel::E1000:
        return "pxe-e1000.rom";
    case NetworkModel::Ne2k:
        return "pxe-ne2k_pci.rom";
    case NetworkModel::Pcnet:
        break;
    }
    return "pxe-pcnet.rom";
}

std::unique_ptr<PciFunction> make_card(const NetworkConfig& config, NetBackend& backend, Clock& clock,
                                       PciSpaces spaces, GuestMemory& memory) {
    const CardWiring wiring{memory, clock, backend, config.mac};
    switch (config.model) {
    case NetworkModel::Virtio:
        return std::make_unique<VirtioPci>(spaces, memory,
                                           std::make_unique<VirtioNet>(clock, backend, config.mac));
    case NetworkModel::Rtl8139:
        return std::make_unique<Rtl8139>(spaces, wiring);
    case NetworkModel::E1000:
        return std::make_unique<E1000>(spaces, wiring);
    case NetworkModel::Ne2k:
        return std::make_unique<Ne2000>(spaces, wiring);
    case NetworkModel::Pcnet:
        break;
    }
    return std::make_unique<Pcnet>(spaces, wiring);
}

} // namespace

NetworkCard make_network_card(const NetworkConfig& config, bool with_rom, NetworkSide network,
                              DeviceLock& device_lock, Clock& clock, PciSpaces spaces, GuestMemory& memory) {
    NetworkCard result;
    result.backend = open_backend(config, network.loop, device_lock, network.clock);
    // An NE2000 has each frame on the wire for as long as it takes: its timers must not wait.
    auto& timers = config.model == NetworkModel::Ne2k ? clock : network.clock;
    result.card = make_card(config, *result.backend, timers, spaces, memory);
    if (with_rom)
        result.card->set_rom(load_firmware(find_firmware(rom_name(config.model)), rom_limit));
    return result;
}

} // namespace escalus
