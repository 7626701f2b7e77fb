// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/ahci_port.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace escalus {

using namespace ahci;

namespace {
constexpr std::uint8_t packet_command = 0xa0, read_queued = 0x60, write_queued = 0x61, device_reset = 0x08;
constexpr std::size_t packet_bytes = 12, frame_bytes = 20;
constexpr std::uint32_t no_device = 0x7f, no_signature = 0xffffffff;

bool is_queued(std::uint8_t code) {
    return code == read_queued || code == write_queued;
}
} // namespace

// --- The region table --------------------------------------------------------------------------------------

void AhciPrdTable::open(std::uint64_t table, std::uint32_t entries) {
    failed_ = used_up_ = false;
    rewind({.table = table, .entries = entries, .last = entries == 0});
}

bool AhciPrdTable::fetch(Cursor& cursor) const {
    std::array<std::uint8_t, region_bytes> region{};
    if (!memory().read(GuestPhys{cursor.table}, region))
        return false;
    cursor.table += region_bytes;
    cursor.address = load_le<std::uint64_t>(region) & ~std::uint64_t{1};
    cursor.left = (std::uint64_t{load_le<std::uint32_t>(region, 12) & 0x3fffff} | 1) + 1;
    cursor.last = --cursor.entries == 0;
    return true;
}

// --- Plugging, lifecycle -----------------------------------------------------------------------------------

AhciPort::AhciPort(GuestMemory& memory, std::function<void()> changed)
    : memory_{memory}, changed_{std::move(changed)}, regions_{memory} {}

void AhciPort::attach(std::unique_ptr<IdeDrive> drive) {
    if (drive_)
        throw std::logic_error{"a drive is attached to that port already"};
    drive_ = std::move(drive);
    drive_->plug(*this);
}

void AhciPort::reset(bool hardware) {
    forget_commands();
    is_ = ie_ = sctl_ = serr_ = sact_ = ci_ = 0; // first: the drive's answers start nothing
    cmd_ = cmd_spin_up | cmd_power_on;
    if (hardware) { // the addresses survive a reset of the controller alone (10.4.3)
        command_list_ = received_ = 0;
    }
    if (drive_ && hardware) {
        drive_->hardware_reset();
    } else if (drive_) {
        drive_->begin_reset();
        drive_->finish_reset();
    }
    halted_ = false;
    last_slot_ = slots - 1;
    tfd_ = no_device;
    sig_ = no_signature;
    if (drive_)
        reset_link();
}

void AhciPort::allow_dma(bool allowed) {
    if (std::exchange(dma_allowed_, allowed) == allowed || !allowed)
        return;
    if (drive_)
        drive_->dma_started();
    work();
}

void AhciPort::pause() {
    paused_ = true;
    if (drive_)
        drive_->pause();
}

void AhciPort::resume() {
    paused_ = false;
    if (drive_)
        drive_->resume();
    work();
}

bool AhciPort::online() const {
    return drive_ && (sctl_ & 0xf) != sctl_reset && (sctl_ & 0xf) != sctl_offline;
}

// --- Registers ---------------------------------------------------------------------------------------------

std::uint32_t AhciPort::read(unsigned offset) const {
    switch (offset) {
    case port_clb:
        return static_cast<std::uint32_t>(command_list_);
    case port_clbu:
        return static_cast<std::uint32_t>(command_list_ >> 32);
    case port_fb:
        return static_cast<std::uint32_t>(received_);
    case port_fbu:
        return static_cast<std::uint32_t>(received_ >> 32);
    case port_is:
        return is_;
    case port_ie:
        return ie_;
    case port_cmd: {
        auto value = cmd_;
        if (started())
            value |= cmd_running | (running_ == Running::Command ? current_.slot << cmd_slot_shift : 0);
        if ((cmd_ & cmd_fis_receive) != 0)
            value |= cmd_fis_running;
        return value;
    }
    case port_tfd:
        return tfd_;
    case port_sig:
        return sig_;
    case port_ssts:
        return online() ? ssts_up : drive_ && (sctl_ & 0xf) == sctl_reset ? ssts_reset : 0;
    case port_sctl:
        return sctl_;
    case port_serr:
        return serr_;
    case port_sact:
        return sact_;
    case port_ci:
        return ci_;
    default:
        return 0;
    }
}

void AhciPort::write(unsigned offset, std::uint32_t value) {
    const auto low = [&](std::uint64_t& address, std::uint32_t mask) {
        address = (address & ~std::uint64_t{0xffffffff}) | (value & mask);
    };
    const auto high = [&](std::uint64_t& address) {
        address = (address & 0xffffffff) | std::uint64_t{value} << 32;
    };
    switch (offset) {
    case port_clb:
        low(command_list_, 0xfffffc00);
        break;
    case port_clbu:
        high(command_list_);
        break;
    case port_fb:
        low(received_, 0xffffff00);
        break;
    case port_fbu:
        high(received_);
        break;
    case port_is:
        is_ &= ~(value & ~is_connect); // that one follows PxSERR.DIAG.X
        changed_();
        break;
    case port_ie:
        ie_ = value & is_known;
        changed_();
        break;
    case port_cmd:
        write_command(value);
        break;
    case port_sctl:
        write_control(value);
        break;
    case port_serr:
        serr_ &= ~value;
        if ((serr_ & serr_exchanged) == 0)
            is_ &= ~is_connect;
        changed_();
        break;
    case port_sact:
        if (started())
            sact_ |= value;
        break;
    case port_ci:
        if (started())
            ci_ |= value;
        work();
        break;
    default:
        break;
    }
}

void AhciPort::write_command(std::uint32_t value) {
    constexpr auto changeable = cmd_start | cmd_fis_receive | cmd_led | cmd_atapi;
    const bool was_started = started();
    cmd_ = (cmd_ & ~changeable) | (value & changeable);
    if (was_started && !started())
        stop();
    if ((value & cmd_clear_busy) != 0 && !started())
        tfd_ &= ~std::uint32_t{ata::busy | ata::data_request};
    work();
}

void AhciPort::write_control(std::uint32_t value) {
    const auto before = sctl_ & 0xf;
    sctl_ = value & 0xfff;
    const auto after = sctl_ & 0xf;
    if (before == after || !drive_)
        return;
    if (after == sctl_reset || after == sctl_offline) {
        forget_commands();
        drive_->begin_reset();
        tfd_ = no_device;
    } else if (before == sctl_reset || before == sctl_offline) {
        drive_->finish_reset();
        reset_link();
    }
}

// The device has been found: it sends its signature (10.4.2).
void AhciPort::reset_link() {
    serr_ |= serr_exchanged;
    is_ |= is_connect;
    send_registers(false);
}

void AhciPort::forget_commands() {
    if (running_ != Running::Nothing && drive_)
        drive_->give_up();
    running_ = Running::Nothing;
    queue_.clear();
}

// PxCMD.ST was cleared. A command under way leaves the task file busy, which is how software knows that it
// has to reset the device (10.3.1).
void AhciPort::stop() {
    forget_commands();
    ci_ = sact_ = 0;
    halted_ = false;
    last_slot_ = slots - 1;
}

// --- Which command runs ------------------------------------------------------------------------------------

bool AhciPort::able() const {
    return started() && !halted_ && !paused_ && dma_allowed_ && online();
}

void AhciPort::work() {
    again_ = true;
    if (working_)
        return;
    working_ = true;
    while (std::exchange(again_, false))
        while (work_once()) {
        }
    working_ = false;
}

/// True when there may be more to do.
bool AhciPort::work_once() {
    look_at_drive();
    if (!able())
        return false;
    if (running_ == Running::Command)
        return false;
    if (const auto slot = next_slot())
        return issue(*slot);
    if (running_ == Running::Nothing && !queue_.empty()) {
        const auto command = queue_.front();
        queue_.pop_front();
        begin(command, Running::Queued);
        return true;
    }
    return false;
}

std::optional<unsigned> AhciPort::next_slot() {
    const bool busy = running_ == Running::Queued || !queue_.empty();
    for (unsigned i = 1; i <= slots; ++i) { // the one after the last comes first (5.3.2.3)
        const auto slot = (last_slot_ + i) % slots;
        const auto bit = 1u << slot;
        // Software sets PxSACT for queued commands before PxCI: others wait for the end of the queue.
        if ((ci_ & bit) != 0 && (!busy || (sact_ & bit) != 0))
            return slot;
    }
    return {};
}

bool AhciPort::issue(unsigned slot) {
    last_slot_ = slot;
    Command command;
    command.slot = slot;
    command.header = command_list_ + std::uint64_t{slot} * header_bytes;
    std::array<std::uint8_t, 16> header{};
    std::array<std::uint8_t, frame_bytes> frame{};
    bool readable = memory_.read(GuestPhys{command.header}, header);
    command.flags = load_le<std::uint32_t>(header);
    command.regions = command.flags >> 16;
    command.table = load_le<std::uint64_t>(header, 8) & ~std::uint64_t{0x7f};
    readable = readable && memory_.read(GuestPhys{command.table}, frame);
    if (!readable) {
        fatal(is_bus_fatal);
        return false;
    }
    if (frame[0] != fis_h2d || (command.flags & header_length) < 2) {
        // No drive answers a frame like that: the command never ends.
        halted_ = true;
        return false;
    }
    command.code = frame[2];
    auto& r = command.registers;
    r.feature = {frame[3], frame[11]};
    r.lba_low = {frame[4], frame[8]};
    r.lba_mid = {frame[5], frame[9]};
    r.lba_high = {frame[6], frame[10]};
    r.device = frame[7];
    r.count = {frame[12], frame[13]};
    if ((frame[1] & fis_command) == 0)
        control(command, frame[15]);
    else if (is_queued(command.code))
        queue(command);
    else if (running_ != Running::Nothing || !queue_.empty())
        fatal(is_task_file); // not queued, though PxSACT says so
    else
        begin(command, Running::Command);
    return true;
}

// A frame that writes the device control register: software reset (10.4.1).
void AhciPort::control(const Command& command, std::uint8_t value) {
    if ((value & ata::software_reset) != 0) {
        forget_commands();
        drive_->begin_reset();
        tfd_ = ata::busy;
        if ((command.flags & header_clear_busy) != 0) {
            ci_ &= ~(1u << command.slot);
            tfd_ = 0;
        } else {
            halted_ = true; // nothing will end this command
        }
        return;
    }
    ci_ &= ~(1u << command.slot);
    if ((drive_->status() & ata::busy) != 0 && running_ == Running::Nothing) {
        drive_->finish_reset();
        send_registers(false);
    }
}

void AhciPort::queue(const Command& command) {
    const unsigned tag = command.registers.count.current >> 3;
    const bool there = (running_ == Running::Queued && current_.slot == tag) ||
                       std::ranges::any_of(queue_, [&](const Command& c) { return c.slot == tag; });
    if (tag != command.slot || there) { // the tag is the slot (5.6.4.1)
        tfd_ = ata::ready | ata::seek_complete | ata::error_bit | std::uint32_t{ata::aborted} << 8;
        fatal(is_task_file);
        return;
    }
    ci_ &= ~(1u << command.slot);
    queue_.push_back(command);
    // The drive takes it with a register frame that says "not busy", and without an interrupt.
    constexpr std::uint8_t taken = ata::ready | ata::seek_complete;
    receive(received_d2h, std::array<std::uint8_t, frame_bytes>{fis_d2h, 0, taken});
    tfd_ = taken;
}

void AhciPort::begin(const Command& command, Running kind) {
    current_ = command;
    running_ = kind;
    ended_by_pio_ = false;
    regions_.open(command.table + table_regions, command.regions);
    if (kind == Running::Command)
        tfd_ = ata::busy;
    drive_->load_registers(command.registers);
    if (command.code == ata::execute_diagnostic)
        diagnose();
    else
        drive_->command(command.code);
    if (command.code == packet_command)
        hand_over_packet();
}

void AhciPort::diagnose() {
    drive_->begin_reset();
    drive_->finish_reset();
    drive_->finish_diagnostic();
}

void AhciPort::hand_over_packet() {
    if ((drive_->status() & ata::data_request) == 0 || (current_.flags & header_atapi) == 0)
        return;
    std::array<std::uint8_t, packet_bytes> packet{};
    if (!memory_.read(GuestPhys{current_.table + table_packet}, packet)) {
        fatal(is_bus_fatal);
        return;
    }
    drive_->data_out(packet);
}

// --- Ends of commands --------------------------------------------------------------------------------------

void AhciPort::interrupt_changed() {
    work();
}

DmaStream* AhciPort::dma() {
    return dma_allowed_ && running_ != Running::Nothing && !halted_ ? &regions_ : nullptr;
}

void AhciPort::look_at_drive() {
    if (running_ == Running::Nothing || halted_)
        return;
    const auto status = drive_->status();
    if (regions_.failed()) {
        fatal(is_bus_fatal);
    } else if ((status & ata::data_request) != 0 && regions_.used_up()) {
        fatal(is_overflow); // more data than regions: the drive waits until it is reset (6.1.5)
    } else if ((status & (ata::busy | ata::data_request)) == 0) {
        drive_->acknowledge_interrupt();
        if (running_ == Running::Command)
            end_command();
        else
            end_queued();
    }
}

void AhciPort::end_command() {
    running_ = Running::Nothing;
    const bool failed = (drive_->status() & ata::error_bit) != 0;
    if (!ended_by_pio_ || failed)
        send_registers(current_.code != device_reset);
    if (failed) {
        fatal(is_task_file);
        return;
    }
    write_byte_count();
    ci_ &= ~(1u << current_.slot);
    changed_();
}

void AhciPort::end_queued() {
    running_ = Running::Nothing;
    const bool failed = (drive_->status() & ata::error_bit) != 0;
    if (failed)
        queue_.clear(); // the drive aborts the others (Serial ATA 2.6, 13.6.3.3)
    send_device_bits(failed ? 0 : 1u << current_.slot);
    if (failed)
        fatal(is_task_file);
}

void AhciPort::fatal(std::uint32_t cause) {
    halted_ = true;
    raise(cause);
    changed_();
}

// --- Frames ------------------------------------------------------------------------------------------------

void AhciPort::raise(std::uint32_t cause) {
    is_ |= cause;
}

void AhciPort::receive(std::uint32_t offset, std::span<const std::uint8_t> frame) {
    if ((cmd_ & cmd_fis_receive) == 0)
        return;
    if (!memory_.write(GuestPhys{received_ + offset}, frame))
        raise(is_bus_fatal);
}

// PRDBC of the command header (4.2.2).
void AhciPort::write_byte_count() {
    std::array<std::uint8_t, 4> count{};
    store_le(count, 0, static_cast<std::uint32_t>(regions_.moved()));
    if (!memory_.write(GuestPhys{current_.header + 4}, count))
        raise(is_bus_fatal);
}

void AhciPort::put_registers(std::span<std::uint8_t> frame) const {
    const auto& r = drive_->registers();
    frame[2] = drive_->status();
    frame[3] = r.error;
    frame[4] = r.lba_low.current;
    frame[5] = r.lba_mid.current;
    frame[6] = r.lba_high.current;
    frame[7] = r.device;
    frame[8] = r.lba_low.previous;
    frame[9] = r.lba_mid.previous;
    frame[10] = r.lba_high.previous;
    frame[12] = r.count.current;
    frame[13] = r.count.previous;
}

void AhciPort::take_status() {
    tfd_ = drive_->status() | std::uint32_t{drive_->registers().error} << 8;
}

void AhciPort::send_registers(bool interrupt) {
    std::array<std::uint8_t, frame_bytes> frame{fis_d2h, interrupt ? fis_interrupt : std::uint8_t{0}};
    put_registers(frame);
    receive(received_d2h, frame);
    take_status();
    const auto& r = drive_->registers();
    if (!interrupt) // after a reset
        sig_ = std::uint32_t{r.lba_high.current} << 24 | std::uint32_t{r.lba_mid.current} << 16 |
               std::uint32_t{r.lba_low.current} << 8 | r.count.current;
    else
        raise(is_d2h);
    changed_();
}

void AhciPort::send_device_bits(std::uint32_t finished) {
    constexpr std::uint8_t status_bits = 0x77; // BSY and DRQ are not in this frame
    std::array<std::uint8_t, 8> frame{fis_device_bits, fis_interrupt};
    frame[2] = drive_->status() & status_bits;
    frame[3] = drive_->registers().error;
    store_le<std::uint32_t>(frame, 4, finished);
    receive(received_device_bits, frame);
    sact_ &= ~finished;
    take_status();
    raise(is_device_bits);
    changed_();
}

void AhciPort::pio_moved(bool to_guest, std::size_t bytes, bool last) {
    const bool packet = current_.code == packet_command;
    std::array<std::uint8_t, frame_bytes> frame{fis_pio_setup};
    put_registers(frame);
    frame[1] = static_cast<std::uint8_t>((to_guest ? fis_to_host : 0) | (to_guest ? fis_interrupt : 0));
    frame[2] = ata::ready | ata::seek_complete | ata::data_request;
    ended_by_pio_ = to_guest && last && !packet;
    frame[15] = ata::ready | ata::seek_complete | (ended_by_pio_ ? 0 : ata::busy); // E_STATUS
    store_le<std::uint16_t>(frame, 16, static_cast<std::uint16_t>(bytes));
    receive(received_pio_setup, frame);
    if (to_guest)
        raise(is_pio_setup);
    if (ended_by_pio_)
        tfd_ = frame[15];
}

} // namespace escalus
