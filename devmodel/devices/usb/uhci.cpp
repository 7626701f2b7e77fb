// SPDX-License-Identifier: GPL-2.0-or-later
// Registers, ports and interrupts.
#include "devmodel/devices/usb/uhci.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <stdexcept>
#include <utility>

namespace escalus {

using namespace uhci;

namespace {
constexpr unsigned io_bar = 4;
constexpr unsigned reg_release = 0x60, reg_legacy = 0xc0;
constexpr std::uint8_t release_1_0 = 0x10;
// LEGSUP: enables and the routing to PIRQD#; the trap status bits clear by writing ones, and are never set.
constexpr std::uint16_t legacy_writable = 0x20bf, legacy_pirq = 0x2000;
constexpr std::uint8_t sof_default = 0x40;

constexpr std::uint16_t port_clearable = port_connect_change | port_enable_change;
constexpr std::uint16_t port_writable = port_enabled | port_resume | port_reset | port_suspend;
} // namespace

Uhci::Uhci(PciSpaces spaces, GuestMemory& memory, Clock& clock, const PciIdentity& identity)
    : PciFunction{identity, spaces}, memory_{memory}, clock_{clock}, timer_{clock, [this] {
                                                                                timer_fired();
                                                                            }} {
    set_config(PciFunction::reg_status, 2, 0x0280); // medium DEVSEL# timing, fast back-to-back
    set_writable(PciFunction::reg_command, 2, command_io | command_master);
    set_writable(0x0c, 1, 0); // no cache line size
    set_config(reg_release, 1, release_1_0);
    set_config(reg_legacy, 2, legacy_pirq);
    set_writable(reg_legacy, 2, legacy_writable);
    declare_bar(io_bar, BarKind::Io, register_bytes);
}

void Uhci::attach(unsigned port, std::unique_ptr<UsbDevice> device) {
    auto& p = ports_.at(port);
    if (p.device)
        throw std::logic_error{"the USB port is taken"};
    p.device = std::move(device);
    p.device->on_ready([this, port] { device_ready(port); });
    plugged(p);
}

std::unique_ptr<UsbDevice> Uhci::detach(unsigned port) {
    auto& p = ports_.at(port);
    auto device = std::move(p.device);
    if (!device)
        return device;
    device->on_ready({});
    if ((p.state & port_enabled) != 0)
        p.state |= port_enable_change; // 2.1.7: not when software has disabled it
    p.state &= static_cast<std::uint16_t>(
        ~(port_connected | port_enabled | port_line_plus | port_line_minus | port_low_speed | port_suspend));
    p.state |= port_connect_change;
    if ((command_ & cmd_global_suspend) != 0)
        status_ |= sts_resume;
    update_interrupt();
    return device;
}

/// A port as it is after a reset of the controller, with a connection that software has not seen yet.
void Uhci::plugged(Port& port) {
    port.state = port_always;
    if (!port.device)
        return;
    port.device->bus_reset();
    port.state |= port_connected | port_connect_change;
    port.state |= port.device->speed() == UsbSpeed::Low ? port_low_speed | port_line_minus : port_line_plus;
    if ((command_ & cmd_global_suspend) != 0) {
        status_ |= sts_resume;
        update_interrupt();
    }
}

/// The device has something to say: it is asked in the next frame, or has the bus wake up.
void Uhci::device_ready(unsigned port) {
    auto& p = ports_[port];
    const bool suspended = (p.state & port_suspend) != 0 || (command_ & cmd_global_suspend) != 0;
    if (suspended && p.device->remote_wakeup() && (p.state & port_enabled) != 0) {
        if ((p.state & port_suspend) != 0)
            p.state |= port_resume;
        status_ |= sts_resume;
        update_interrupt();
    }
    wake();
}

void Uhci::reset(ResetKind kind) {
    PciFunction::reset(kind);
    reset_controller();
}

void Uhci::reset_controller() {
    timer_.cancel();
    command_ = 0;
    status_ = sts_halted;
    interrupts_ = 0;
    short_packet_ = complete_ = false;
    frame_list_ = 0;
    sof_modify_ = sof_default;
    first_frame_ = 0;
    idle_ = 0;
    for (auto& port : ports_)
        plugged(port);
    update_interrupt();
}

void Uhci::config_write(unsigned offset, std::span<const std::uint8_t> data) {
    PciFunction::config_write(offset, data);
    update_interrupt();
    wake();
}

// 2.1.2 and 2.1.3; the legacy register gates what reaches the interrupt router.
void Uhci::update_interrupt() {
    const bool transfer =
        (status_ & sts_interrupt) != 0 && ((complete_ && (interrupts_ & int_complete) != 0) ||
                                           (short_packet_ && (interrupts_ & int_short) != 0));
    const bool asserted = transfer || ((status_ & sts_error) != 0 && (interrupts_ & int_error) != 0) ||
                          ((status_ & sts_resume) != 0 && (interrupts_ & int_resume) != 0) ||
                          (status_ & (sts_system_error | sts_process_error)) != 0;
    request_intx(asserted && (config(reg_legacy, 2) & legacy_pirq) != 0);
}

std::uint16_t Uhci::read_register(unsigned offset) {
    switch (offset) {
    case uhci::reg_command:
        return command_;
    case uhci::reg_status:
        catch_up();
        return status_;
    case reg_interrupts:
        return interrupts_;
    case reg_frame:
        catch_up();
        return static_cast<std::uint16_t>((first_frame_ + (running() ? frames_begun() : 0)) & frame_mask);
    case reg_frame_list:
        return static_cast<std::uint16_t>(frame_list_);
    case reg_frame_list + 2:
        return static_cast<std::uint16_t>(frame_list_ >> 16);
    case reg_sof_modify:
        return sof_modify_;
    case reg_port:
    case reg_port + 2:
        return ports_[(offset - reg_port) / 2].state;
    default: // drivers count ports by the bit that is always set in one
        return offset > reg_port ? static_cast<std::uint16_t>(~port_always) : std::uint16_t{0};
    }
}

void Uhci::write_register(unsigned offset, std::uint16_t value, std::uint16_t mask) {
    const auto merged = [&](std::uint16_t old) {
        return static_cast<std::uint16_t>((old & ~mask) | (value & mask));
    };
    switch (offset) {
    case uhci::reg_command:
        write_command(merged(command_) & cmd_writable);
        break;
    case uhci::reg_status: {
        catch_up(); // what is cleared is what has been
        const auto cleared = static_cast<std::uint16_t>(value & mask & ~sts_halted);
        status_ &= static_cast<std::uint16_t>(~cleared);
        if ((cleared & sts_interrupt) != 0)
            short_packet_ = complete_ = false;
        break;
    }
    case reg_interrupts:
        interrupts_ = merged(interrupts_) & 0xf;
        break;
    case reg_frame:
        if (!running()) // 2.1.4
            first_frame_ = merged(first_frame_) & frame_mask;
        break;
    case reg_frame_list:
        frame_list_ =
            (frame_list_ & 0xffff0000) | (merged(static_cast<std::uint16_t>(frame_list_)) & 0xf000u);
        break;
    case reg_frame_list + 2:
        frame_list_ = (frame_list_ & 0xffff) |
                      static_cast<std::uint32_t>(merged(static_cast<std::uint16_t>(frame_list_ >> 16))) << 16;
        break;
    case reg_sof_modify:
        sof_modify_ = merged(sof_modify_) & 0x7f;
        break;
    case reg_port:
    case reg_port + 2:
        write_port(ports_[(offset - reg_port) / 2], value, mask);
        break;
    default:
        break;
    }
    update_interrupt();
    wake();
}

void Uhci::write_command(std::uint16_t value) {
    if ((value & cmd_host_reset) != 0)
        return reset_controller();
    const bool global_reset = (value & ~command_ & cmd_global_reset) != 0;
    if (global_reset)
        reset_controller(); // 2.1.1: the bit stays until software has waited long enough
    const bool run_now = (value & cmd_run) != 0 && !running();
    const bool halt_now = (value & cmd_run) == 0 && running();
    if (halt_now)
        halt();
    command_ = value;
    if (run_now)
        run();
}

void Uhci::write_port(Port& port, std::uint16_t value, std::uint16_t mask) {
    const auto old = port.state;
    auto wanted = static_cast<std::uint16_t>((old & ~mask) | (value & mask));
    if ((old & port_connected) == 0 || (wanted & port_reset) != 0)
        wanted &= static_cast<std::uint16_t>(~port_enabled);
    if ((wanted & port_reset & ~old) != 0 && port.device)
        port.device->bus_reset();
    if ((old & port_resume) != 0 && (wanted & port_resume) == 0)
        wanted &= static_cast<std::uint16_t>(~port_suspend); // the end of resume signalling
    port.state = static_cast<std::uint16_t>((old & ~port_writable) | (wanted & port_writable));
    port.state &= static_cast<std::uint16_t>(~(value & mask & port_clearable));
}

void Uhci::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size();) {
        const auto at = static_cast<unsigned>(offset + i);
        const auto value = read_register(at & ~1u);
        for (unsigned byte = at & 1; byte < 2 && i < data.size(); ++byte)
            data[i++] = static_cast<std::uint8_t>(value >> (8 * byte));
    }
}

void Uhci::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size();) {
        const auto at = static_cast<unsigned>(offset + i);
        std::uint16_t value = 0, mask = 0;
        for (unsigned byte = at & 1; byte < 2 && i < data.size(); ++byte) {
            value |= static_cast<std::uint16_t>(data[i++] << (8 * byte));
            mask |= static_cast<std::uint16_t>(0xff << (8 * byte));
        }
        write_register(at & ~1u, value, mask);
    }
}

} // namespace escalus
