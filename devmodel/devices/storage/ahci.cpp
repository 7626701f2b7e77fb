// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/ahci.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <utility>

namespace escalus {

using namespace ahci;

namespace {
constexpr unsigned index_bar = 4, memory_bar = 5;
constexpr std::uint64_t index_bytes = 32, memory_bytes = 0x1000;
constexpr unsigned index_register = 0x10, data_register = 0x14; // in BAR 4
constexpr unsigned capability_msi = 0x80, capability_sata = 0xa8;
constexpr std::uint8_t sata_id = 0x12;

// 64-bit addresses, queueing, AHCI only, 3 Gb/s, command list override, multiple DRQ blocks, 32 slots.
constexpr std::uint32_t capabilities = 1u << 31 | 1u << 30 | 1u << 24 | 2u << 20 | 1u << 18 | 1u << 15 |
                                       (slots - 1) << 8 | (Ahci::port_count - 1);
constexpr std::uint32_t version = 0x00010200;
} // namespace

Ahci::Ahci(PciSpaces spaces, GuestMemory& memory, const PciIdentity& identity)
    : PciFunction{identity, spaces}, ports_{AhciPort{memory, [this] { update_interrupt(); }},
                                            AhciPort{memory, [this] { update_interrupt(); }},
                                            AhciPort{memory, [this] { update_interrupt(); }},
                                            AhciPort{memory, [this] { update_interrupt(); }},
                                            AhciPort{memory, [this] { update_interrupt(); }},
                                            AhciPort{memory, [this] { update_interrupt(); }}} {
    set_config(reg_status, 2, 0x02b0); // medium DEVSEL# timing, fast back-to-back, 66 MHz, capabilities
    declare_bar(index_bar, BarKind::Io, index_bytes);
    declare_bar(memory_bar, BarKind::Memory, memory_bytes);
    set_config(0x90, 1, 0x40); // MAP: AHCI mode
    add_capability(capability_sata, sata_id);
    set_config(capability_sata + 2, 2, 0x0010);                         // revision 1.0
    set_config(capability_sata + 4, 2, index_register / 4 << 4 | 0x8u); // in BAR 4
    declare_msi(capability_msi);
}

void Ahci::attach(unsigned port, std::unique_ptr<IdeDrive> drive) {
    ports_.at(port).attach(std::move(drive));
}

void Ahci::reset(ResetKind kind) {
    PciFunction::reset(kind);
    index_ = 0;
    for (auto& port : ports_)
        port.allow_dma(false);
    reset_controller(true);
}

void Ahci::reset_controller(bool hardware) {
    control_ = ghc_ahci;
    for (auto& port : ports_)
        port.reset(hardware);
    interrupts_ = 0;
    update_interrupt();
}

void Ahci::pause() {
    for (auto& port : ports_)
        port.pause();
}

void Ahci::resume() {
    for (auto& port : ports_)
        port.resume();
}

void Ahci::config_write(unsigned offset, std::span<const std::uint8_t> data) {
    PciFunction::config_write(offset, data);
    for (auto& port : ports_)
        port.allow_dma(bus_master_enabled());
    update_interrupt();
}

// IS.IPS follows what the ports have, and stays until software clears it (3.1.3). A message is sent for each
// of its bits that rises, and again for those that software cleared while their port still interrupts.
void Ahci::update_interrupt() {
    for (unsigned i = 0; i < port_count; ++i)
        if (ports_[i].interrupting())
            interrupts_ |= 1u << i;
    const auto seen = (control_ & ghc_interrupts) != 0 ? interrupts_ : 0;
    const bool news = (seen & ~told_) != 0;
    told_ = seen;
    request_intx(seen != 0);
    if (news && msi_enabled())
        send_msi();
}

std::uint32_t Ahci::read_register(unsigned offset) const {
    if (offset >= ports_base) {
        const auto port = (offset - ports_base) / port_bytes;
        return port < port_count ? ports_[port].read((offset - ports_base) % port_bytes) : 0;
    }
    switch (offset) {
    case reg_cap:
        return capabilities;
    case reg_ghc:
        return control_;
    case reg_is:
        return interrupts_;
    case reg_pi:
        return (1u << port_count) - 1;
    case reg_vs:
        return version;
    default:
        return 0;
    }
}

void Ahci::write_register(unsigned offset, std::uint32_t value) {
    if (offset >= ports_base) {
        const auto port = (offset - ports_base) / port_bytes;
        if (port < port_count)
            ports_[port].write((offset - ports_base) % port_bytes, value);
    } else if (offset == reg_ghc && (value & ghc_reset) != 0) {
        reset_controller(false);
    } else if (offset == reg_ghc) {
        control_ = ghc_ahci | (value & ghc_interrupts);
        update_interrupt();
    } else if (offset == reg_is) {
        interrupts_ &= ~value;
        told_ &= ~value;
        update_interrupt();
    }
}

void Ahci::read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) {
    const auto at = static_cast<unsigned>(offset);
    const auto read_dword = [&](unsigned dword) {
        if (region == memory_bar)
            return read_register(dword);
        return dword == index_register  ? index_
               : dword == data_register ? read_register(index_)
                                        : std::uint32_t{0};
    };
    for (std::size_t i = 0; i < data.size(); ++i) {
        const auto byte = at + static_cast<unsigned>(i);
        data[i] = static_cast<std::uint8_t>(read_dword(byte & ~3u) >> (8 * (byte & 3)));
    }
}

void Ahci::write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) {
    // Whole registers, one or two: a narrower write is not defined.
    for (std::size_t i = 0; i + 4 <= data.size() && offset % 4 == 0; i += 4) {
        const auto at = static_cast<unsigned>(offset + i);
        const auto value = load_le<std::uint32_t>(data, i);
        if (region == memory_bar)
            write_register(at, value);
        else if (at == index_register)
            index_ = value & (memory_bytes - 4);
        else if (at == data_register)
            write_register(index_, value);
    }
}

} // namespace escalus
