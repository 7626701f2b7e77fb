// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/piix_ide.hpp"

#include <utility>

namespace escalus {

namespace {
constexpr unsigned reg_idetim = 0x40, reg_sidetim = 0x44; // IDETIM: one word a channel
constexpr std::uint32_t idetim_decode = 0x8000;
constexpr unsigned bus_master_bar = 4, ports_a_channel = 8;
constexpr std::array<std::uint16_t, 2> command_block{0x1f0, 0x170}, control_block{0x3f6, 0x376};
} // namespace

PiixIde::PiixIde(PciSpaces spaces, GuestMemory& memory, IrqLine irq14, IrqLine irq15,
                 const PciIdentity& identity)
    : PciFunction{identity, spaces},
      ports_{spaces.ports},
      channels_{IdeChannel{memory, irq14}, IdeChannel{memory, irq15}} {
    set_config(reg_status, 2, 0x0280); // medium DEVSEL# timing, fast back-to-back
    // The only command bits this function has are I/O and bus master.
    set_writable(reg_command, 2, command_io | command_master);
    set_writable(0x0c, 1, 0); // no cache line size
    set_writable(reg_idetim, 2, 0xf3ff);
    set_writable(reg_idetim + 2, 2, 0xf3ff);
    set_writable(reg_sidetim, 1, 0xff);
    declare_bar(bus_master_bar, BarKind::Io, 2 * ports_a_channel);
}

PiixIde::~PiixIde() {
    for (unsigned channel = 0; channel < channels_.size(); ++channel)
        stop_decoding(channel);
}

void PiixIde::decode_from_reset() {
    for (const unsigned channel : {0u, 1u})
        set_config(reg_idetim + 2 * channel, 2, idetim_decode);
}

void PiixIde::attach(unsigned channel, unsigned unit, std::unique_ptr<IdeDrive> drive) {
    channels_.at(channel).attach(unit, std::move(drive));
}

void PiixIde::reset(ResetKind kind) {
    PciFunction::reset(kind);
    for (auto& channel : channels_)
        channel.reset();
    update_decoding();
}

void PiixIde::pause() {
    for (auto& channel : channels_)
        channel.pause();
}

void PiixIde::resume() {
    for (auto& channel : channels_)
        channel.resume();
}

void PiixIde::config_write(unsigned offset, std::span<const std::uint8_t> data) {
    PciFunction::config_write(offset, data);
    update_decoding();
}

void PiixIde::stop_decoding(unsigned channel) {
    if (std::exchange(command_decoded_[channel], false))
        ports_.remove(command_block[channel]);
    if (std::exchange(control_decoded_[channel], false))
        ports_.remove(control_block[channel]);
}

void PiixIde::update_decoding() {
    const bool io = (config(reg_command, 2) & command_io) != 0;
    for (unsigned i = 0; i < channels_.size(); ++i) {
        channels_[i].allow_dma(bus_master_enabled());
        if (!io || (config(reg_idetim + 2 * i, 2) & idetim_decode) == 0) {
            stop_decoding(i);
            continue;
        }
        // The guest may have moved another function's BAR there. The one there first wins.
        auto decode = [&](bool& decoded, std::uint16_t base, unsigned size, unsigned region) {
            if (decoded || ports_.overlaps(base, size))
                return;
            ports_.add(base, size, channels_[i], region);
            decoded = true;
        };
        decode(command_decoded_[i], command_block[i], 8, IdeChannel::region_command);
        decode(control_decoded_[i], control_block[i], 1, IdeChannel::region_control);
    }
    update_notes();
}

void PiixIde::bar_moved(unsigned, std::optional<std::uint64_t>) {
    update_notes();
}

void PiixIde::update_notes() {
    if (notes_ == nullptr)
        return;
    const auto engines = bar_address(bus_master_bar);
    for (unsigned i = 0; i < channels_.size(); ++i) {
        const auto at = [&](bool decoded, std::uint64_t base) {
            return static_cast<std::uint16_t>(decoded ? base : 0);
        };
        channels_[i].note_ports_at(
            *notes_, {.command = at(command_decoded_[i], command_block[i]),
                      .control = at(control_decoded_[i], control_block[i]),
                      .bus_master = at(engines.has_value(), engines.value_or(0) + i * ports_a_channel)});
    }
}

void PiixIde::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        const auto port = static_cast<unsigned>(offset + i);
        data[i] = channels_[port / ports_a_channel].read_bus_master(port % ports_a_channel);
    }
}

void PiixIde::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        const auto port = static_cast<unsigned>(offset + i);
        channels_[port / ports_a_channel].write_bus_master(port % ports_a_channel, data[i]);
    }
}

} // namespace escalus
