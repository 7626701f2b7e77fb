// SPDX-License-Identifier: GPL-2.0-or-later
// Registers, ports and events.
#include "devmodel/devices/usb/xhci.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <stdexcept>
#include <utility>

namespace escalus {

using namespace xhci;

namespace {
constexpr unsigned memory_bar = 0, capability_msi = 0x70;
constexpr unsigned reg_release = 0x60, reg_frame_length = 0x61;
constexpr std::size_t most_late_events = 1024;
constexpr unsigned least_segment = 16, most_segment = 4096; // TRBs (6.5)
constexpr GuestTime microframe = ns_per_second / 8000;
constexpr std::uint32_t usb_name = 0x20425355;

std::uint64_t with_low(std::uint64_t old, std::uint32_t value) {
    return (old & 0xffffffff00000000) | value;
}
std::uint64_t with_high(std::uint64_t old, std::uint32_t value) {
    return (old & 0xffffffff) | std::uint64_t{value} << 32;
}
} // namespace

Xhci::Xhci(PciSpaces spaces, GuestMemory& memory, Clock& clock, const PciIdentity& identity)
    : PciFunction{identity, spaces}, memory_{memory}, clock_{clock}, timer_{clock, [this] { work(); }} {
    declare_bar(memory_bar, BarKind::Memory, register_bytes);
    set_config(reg_release, 1, 0x30);
    set_config(reg_frame_length, 1, 0x20);
    declare_msi(capability_msi);
}

void Xhci::attach(unsigned port, std::unique_ptr<UsbDevice> device) {
    if (port >= usb2_ports || ports_[port].device)
        throw std::logic_error{"the USB port is taken, or not for such devices"};
    auto& p = ports_[port];
    p.device = std::move(device);
    p.device->on_ready([this, port] { device_ready(port); });
    plugged(port);
}

std::unique_ptr<UsbDevice> Xhci::detach(unsigned port) {
    auto& p = ports_.at(port);
    auto device = std::move(p.device);
    if (!device)
        return device;
    device->on_ready({});
    p.state &= ~(port_connected | port_enabled | port_link_mask | 0xfu << port_speed_shift);
    p.state |= link_rx_detect << port_link_shift;
    set_port_change(port, port_connect_change);
    return device;
}

/// Power is always on; what is connected waits for a reset.
void Xhci::plugged(unsigned port) {
    auto& p = ports_[port];
    p.state = port_power | link_rx_detect << port_link_shift;
    if (!p.device)
        return;
    p.device->bus_reset();
    const auto speed = p.device->speed() == UsbSpeed::Low ? low_speed : full_speed;
    p.state = port_power | port_connected | link_polling << port_link_shift | speed << port_speed_shift;
    set_port_change(port, port_connect_change);
}

void Xhci::device_ready(unsigned port) {
    auto& p = ports_[port];
    const auto link = (p.state & port_link_mask) >> port_link_shift;
    if (link == link_u3 && p.device->remote_wakeup()) {
        p.state = (p.state & ~port_link_mask) | link_resume << port_link_shift;
        set_port_change(port, port_link_change);
    }
    for (auto& slot : slots_)
        if (slot.enabled && slot.port == port + 1)
            for (auto& endpoint : slot.endpoints)
                endpoint.waiting = true;
    if (running())
        timer_.arm(clock_.now());
}

void Xhci::reset(ResetKind kind) {
    PciFunction::reset(kind);
    reset_controller();
}

void Xhci::reset_controller() {
    timer_.cancel();
    for (auto& slot : slots_)
        slot = {};
    command_ = notifications_ = configure_ = 0;
    status_ = sts_halted;
    contexts_ = 0;
    commands_ = {};
    commands_run_ = false;
    management_ = segments_ = 0;
    moderation_ = 4000; // 5.5.2.2
    segment_table_ = event_dequeue_ = event_ring_ = 0;
    event_size_ = event_index_ = 0;
    event_cycle_ = true;
    late_events_.clear();
    for (unsigned port = 0; port < port_count; ++port)
        plugged(port);
    status_ = sts_halted | (status_ & sts_port_change);
    update_interrupt();
}

void Xhci::config_write(unsigned offset, std::span<const std::uint8_t> data) {
    PciFunction::config_write(offset, data);
    update_interrupt();
}

// --- memory

bool Xhci::load(std::uint64_t address, std::span<std::uint32_t> words) {
    std::array<std::uint8_t, 256> bytes{};
    const auto part = std::span{bytes}.first(words.size() * 4);
    if (!bus_master_enabled() || !memory_.read(GuestPhys{address}, part)) {
        system_error();
        return false;
    }
    for (std::size_t i = 0; i < words.size(); ++i)
        words[i] = load_le<std::uint32_t>(part, 4 * i);
    return true;
}

bool Xhci::store(std::uint64_t address, std::span<const std::uint32_t> words) {
    std::array<std::uint8_t, 256> bytes{};
    const auto part = std::span{bytes}.first(words.size() * 4);
    for (std::size_t i = 0; i < words.size(); ++i)
        store_le(part, 4 * i, words[i]);
    if (bus_master_enabled() && memory_.write(GuestPhys{address}, part))
        return true;
    system_error();
    return false;
}

std::optional<Xhci::Trb> Xhci::load_trb(std::uint64_t address) {
    std::array<std::uint32_t, 4> words{};
    if (!load(address, words))
        return {};
    return Trb{std::uint64_t{words[1]} << 32 | words[0], words[2], words[3]};
}

void Xhci::system_error() {
    status_ |= sts_system_error | sts_halted;
    command_ &= ~cmd_run;
}

// --- events

/// Puts it where the producer is. False when the ring is full (4.9.4).
bool Xhci::put_event(const Trb& event) {
    const auto dequeue = (event_dequeue_ & ~std::uint64_t{0xf}) - event_ring_;
    const auto next = event_index_ + 1 == event_size_ ? 0 : event_index_ + 1;
    if (dequeue / trb_bytes == next)
        return false;
    const std::array<std::uint32_t, 4> words{static_cast<std::uint32_t>(event.parameter),
                                             static_cast<std::uint32_t>(event.parameter >> 32), event.status,
                                             event.control | (event_cycle_ ? trb_cycle : 0)};
    store(event_ring_ + event_index_ * trb_bytes, words);
    event_index_ = next;
    if (next == 0)
        event_cycle_ = !event_cycle_;
    return true;
}

void Xhci::post(Trb event) {
    if (event_size_ == 0 || !running())
        return;
    if (late_events_.empty() && put_event(event))
        return interrupt();
    if (late_events_.size() < most_late_events)
        late_events_.push_back(event);
}

void Xhci::flush_events() {
    bool some = false;
    while (event_size_ != 0 && !late_events_.empty() && put_event(late_events_.front())) {
        late_events_.pop_front();
        some = true;
    }
    if (some)
        interrupt();
}

/// 4.17.2: while software is at the ring (EHB), one interrupt is enough.
void Xhci::interrupt() {
    const bool busy = (event_dequeue_ & dequeue_busy) != 0;
    event_dequeue_ |= dequeue_busy;
    management_ |= management_pending;
    status_ |= sts_event;
    if (!busy && msi_enabled() && (management_ & management_enable) != 0 &&
        (command_ & cmd_interrupts) != 0) {
        management_ &= ~management_pending;
        send_msi();
    }
    update_interrupt();
}

void Xhci::update_interrupt() {
    request_intx(management_ == (management_pending | management_enable) && (command_ & cmd_interrupts) != 0);
}

void Xhci::set_port_change(unsigned port, std::uint32_t change) {
    const bool news = (ports_[port].state & port_changes) == 0;
    ports_[port].state |= change;
    status_ |= sts_port_change;
    if (news)
        post({.parameter = std::uint64_t{port + 1} << 24,
              .status = static_cast<std::uint32_t>(Code::Success) << 24,
              .control = static_cast<std::uint32_t>(TrbType::PortStatusChange) << 10});
}

// --- registers

std::uint32_t Xhci::read_capability(unsigned offset) const {
    switch (offset) {
    case 0x00:
        return 0x0110u << 16 | operational;
    case 0x04:
        return port_count << 24 | 1u << 8 | slot_count;
    case 0x08:
        return 0xf; // isochronous scheduling threshold; one segment of events, no scratchpads
    case 0x10:
        return extended / 4 << 16 | 1; // 64-bit addresses, 32-byte contexts
    case 0x14:
        return doorbells;
    case 0x18:
        return runtime;
    case extended: // 7.2: ports 1 to 4 are USB 2.0 ...
        return 0x02u << 24 | 4u << 8 | 2;
    case extended + 0x10: // ... and the others 3.0
        return 0x03u << 24 | 2;
    case extended + 0x04:
    case extended + 0x14:
        return usb_name;
    case extended + 0x08:
        return usb2_ports << 8 | 1;
    case extended + 0x18:
        return (port_count - usb2_ports) << 8 | (usb2_ports + 1);
    default:
        return 0;
    }
}

std::uint32_t Xhci::read_operational(unsigned offset) const {
    switch (offset) {
    case xhci::reg_command:
        return command_;
    case xhci::reg_status:
        return status_;
    case reg_page_size:
        return 1;
    case reg_notifications:
        return notifications_;
    case reg_command_ring:
        return commands_run_ ? ring_running : 0;
    case reg_contexts:
        return static_cast<std::uint32_t>(contexts_);
    case reg_contexts + 4:
        return static_cast<std::uint32_t>(contexts_ >> 32);
    case reg_configure:
        return configure_;
    default:
        return 0;
    }
}

std::uint32_t Xhci::read_runtime(unsigned offset) const {
    switch (offset) {
    case runtime: // MFINDEX
        return running() ? static_cast<std::uint32_t>(clock_.now() / microframe) & 0x3fff : 0;
    case interrupter + reg_management:
        return management_;
    case interrupter + reg_moderation:
        return moderation_;
    case interrupter + reg_segments:
        return segments_;
    case interrupter + reg_segment_table:
        return static_cast<std::uint32_t>(segment_table_);
    case interrupter + reg_segment_table + 4:
        return static_cast<std::uint32_t>(segment_table_ >> 32);
    case interrupter + reg_event_dequeue:
        return static_cast<std::uint32_t>(event_dequeue_);
    case interrupter + reg_event_dequeue + 4:
        return static_cast<std::uint32_t>(event_dequeue_ >> 32);
    default:
        return 0;
    }
}

std::uint32_t Xhci::read_register(unsigned offset) const {
    if (offset < operational)
        return read_capability(offset);
    if (offset >= port_registers && offset < port_registers + 16 * port_count)
        return offset % 16 == 0 ? ports_[(offset - port_registers) / 16].state : 0;
    if (offset < port_registers)
        return read_operational(offset - operational);
    return read_runtime(offset);
}

void Xhci::write_register(unsigned offset, std::uint32_t value) {
    if (offset >= doorbells) {
        const auto slot = (offset - doorbells) / 4;
        if (slot == 0 && running())
            run_commands();
        else if (slot != 0 && slot <= slot_count && running())
            ring(slot, value & 0xff);
    } else if (offset >= interrupter && offset < interrupter + 0x20) {
        write_interrupter(offset - interrupter, value);
    } else if (offset >= port_registers && offset < port_registers + 16 * port_count) {
        if (offset % 16 == 0)
            write_port((offset - port_registers) / 16, value);
    } else if (offset >= operational && offset < port_registers) {
        write_operational(offset - operational, value);
    }
    update_interrupt();
}

void Xhci::write_operational(unsigned offset, std::uint32_t value) {
    switch (offset) {
    case xhci::reg_command:
        if ((value & cmd_reset) != 0)
            return reset_controller();
        command_ = value & cmd_writable;
        if ((command_ & cmd_run) == 0) {
            status_ |= sts_halted;
            commands_run_ = false;
        } else if ((status_ & sts_halted) != 0) {
            status_ &= ~sts_halted;
            for (unsigned port = 0; port < port_count; ++port) // 4.19.2: what has happened meanwhile
                if ((ports_[port].state & port_changes) != 0) {
                    const auto changes = ports_[port].state & port_changes;
                    ports_[port].state &= ~port_changes;
                    set_port_change(port, changes);
                }
            timer_.arm(clock_.now());
        }
        break;
    case xhci::reg_status:
        status_ &= ~(value & sts_clearable);
        break;
    case reg_notifications:
        notifications_ = value & 0xffff;
        break;
    case reg_command_ring:
        if (commands_run_) {
            if ((value & (ring_stop | ring_abort)) != 0) {
                commands_run_ = false;
                post({.parameter = commands_.at,
                      .status = static_cast<std::uint32_t>(Code::CommandRingStopped) << 24,
                      .control = static_cast<std::uint32_t>(TrbType::CommandCompletion) << 10});
            }
            break;
        }
        commands_ = {with_low(commands_.at, value & ~0x3fu), (value & ring_cycle) != 0};
        break;
    case reg_command_ring + 4:
        if (!commands_run_)
            commands_.at = with_high(commands_.at, value);
        break;
    case reg_contexts:
        contexts_ = with_low(contexts_, value & ~0x3fu);
        break;
    case reg_contexts + 4:
        contexts_ = with_high(contexts_, value);
        break;
    case reg_configure:
        configure_ = value & 0xff;
        break;
    default:
        break;
    }
}

void Xhci::write_interrupter(unsigned offset, std::uint32_t value) {
    switch (offset) {
    case reg_management:
        if ((value & management_pending) != 0)
            management_ &= ~management_pending;
        management_ = (management_ & ~management_enable) | (value & management_enable);
        break;
    case reg_moderation:
        moderation_ = value;
        break;
    case reg_segments:
        segments_ = value & 0xffff;
        break;
    case reg_segment_table:
        segment_table_ = with_low(segment_table_, value & ~0x3fu);
        break;
    case reg_segment_table + 4: { // the ring begins
        segment_table_ = with_high(segment_table_, value);
        event_size_ = event_index_ = 0;
        event_cycle_ = true;
        late_events_.clear();
        std::array<std::uint32_t, 4> entry{};
        if (segments_ == 0 || !load(segment_table_, entry))
            break;
        event_ring_ = std::uint64_t{entry[1]} << 32 | (entry[0] & ~0x3fu);
        if (entry[2] >= least_segment && entry[2] <= most_segment)
            event_size_ = entry[2];
        break;
    }
    case reg_event_dequeue: {
        const auto busy = static_cast<std::uint32_t>(event_dequeue_) & dequeue_busy & ~value;
        event_dequeue_ = with_low(event_dequeue_, (value & ~0xfu) | busy);
        flush_events();
        // What came while software was at the ring is told now (4.17.2).
        const auto behind = ((event_dequeue_ & ~std::uint64_t{0xf}) - event_ring_) / trb_bytes;
        if ((value & dequeue_busy) != 0 && event_size_ != 0 && behind != event_index_)
            interrupt();
        break;
    }
    case reg_event_dequeue + 4:
        event_dequeue_ = with_high(event_dequeue_, value);
        flush_events();
        break;
    default:
        break;
    }
}

void Xhci::write_port(unsigned number, std::uint32_t value) {
    auto& port = ports_[number];
    port.state &= ~(value & port_changes);
    port.state = (port.state & ~port_wakes) | (value & port_wakes);
    if ((value & port_reset) != 0 && port.device) { // 4.3.1: over at once
        port.device->bus_reset();
        port.state = (port.state & ~port_link_mask) | port_enabled | link_u0 << port_link_shift;
        return set_port_change(number, port_reset_change);
    }
    if ((value & port_enabled) != 0 && (port.state & port_enabled) != 0) {
        port.state = (port.state & ~(port_enabled | port_link_mask)) | link_polling << port_link_shift;
        return;
    }
    if ((value & port_link_strobe) == 0 || (port.state & port_enabled) == 0)
        return;
    const auto old = (port.state & port_link_mask) >> port_link_shift;
    const auto link = (value & port_link_mask) >> port_link_shift;
    if (link != link_u0 && link != link_u3 && link != link_resume)
        return;
    port.state = (port.state & ~port_link_mask) | link << port_link_shift;
    if (link == link_u0 && old != link_u0) { // 4.15.2
        set_port_change(number, port_link_change);
        device_ready(number);
    }
}

void Xhci::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        const auto byte = static_cast<unsigned>(offset + i);
        data[i] = static_cast<std::uint8_t>(read_register(byte & ~3u) >> (8 * (byte & 3)));
    }
}

void Xhci::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    // Whole registers, one or two: a narrower write is not defined.
    for (std::size_t i = 0; i + 4 <= data.size() && offset % 4 == 0; i += 4)
        write_register(static_cast<unsigned>(offset + i), load_le<std::uint32_t>(data, i));
}

} // namespace escalus
