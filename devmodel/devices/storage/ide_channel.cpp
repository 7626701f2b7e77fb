// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/ide_channel.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace escalus {

namespace {
constexpr std::uint8_t floating = 0x7f; // pulled up, but for DD7
}

void IdeChannel::attach(unsigned unit, std::unique_ptr<IdeDrive> drive) {
    auto& place = drives_.at(unit);
    if (place)
        throw std::logic_error{"an IDE drive is attached there already"};
    place = std::move(drive);
    place->plug(*this);
}

std::uint8_t IdeChannel::read_absent(unsigned index) const {
    if (selected_unit_ == 0 || !drives_[0])
        return floating;
    return index == ata::reg_device ? device_ : 0;
}

std::uint8_t IdeChannel::read_byte(unsigned region, unsigned index) {
    IdeDrive* drive = selected();
    const unsigned reg = region == region_control ? ata::reg_status : index;
    if (drive == nullptr)
        return read_absent(reg);
    if (reg != ata::reg_status)
        return drive->read_register(reg, (control_ & ata::high_order) != 0);
    if (region == region_command) // the alternate status leaves the interrupt pending
        drive->acknowledge_interrupt();
    return drive->status();
}

void IdeChannel::read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) {
    if (region == region_command && offset == ata::reg_data) {
        read_repeated(region, offset, static_cast<unsigned>(data.size()), data);
        return;
    }
    for (std::size_t i = 0; i < data.size(); ++i)
        data[i] = read_byte(region, static_cast<unsigned>(offset + i));
    note_ports();
}

void IdeChannel::read_repeated(unsigned region, std::uint64_t offset, unsigned width,
                               std::span<std::uint8_t> data) {
    if (region != region_command || offset != ata::reg_data) {
        BusDevice::read_repeated(region, offset, width, data);
        return;
    }
    IdeDrive* drive = selected();
    if (width == 1) {
        // The data port is 16 bits wide: a byte access takes a word and sees its low half.
        for (auto& byte : data) {
            std::array<std::uint8_t, 2> word{floating, 0};
            if (drive != nullptr)
                drive->data_in(word);
            byte = word[0];
        }
        return;
    }
    // A block that ends may uncover the next one at once, so this can cross blocks.
    while (!data.empty()) {
        const std::size_t n = drive != nullptr ? drive->data_in(data) : 0;
        if (n == 0)
            break;
        data = data.subspan(n);
    }
    std::ranges::fill(data, drive != nullptr ? std::uint8_t{0xff} : read_absent(ata::reg_data));
    note_ports();
}

void IdeChannel::write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) {
    if (region == region_command && offset == ata::reg_data) {
        write_repeated(region, offset, static_cast<unsigned>(data.size()), data);
        return;
    }
    for (std::size_t i = 0; i < data.size(); ++i)
        write_byte(region, static_cast<unsigned>(offset + i), data[i]);
    note_ports();
}

void IdeChannel::write_repeated(unsigned region, std::uint64_t offset, unsigned width,
                                std::span<const std::uint8_t> data) {
    if (region != region_command || offset != ata::reg_data) {
        BusDevice::write_repeated(region, offset, width, data);
        return;
    }
    IdeDrive* drive = selected();
    if (drive == nullptr)
        return;
    if (width == 1) {
        for (const auto byte : data)
            drive->data_out(std::array<std::uint8_t, 2>{byte, 0});
        return;
    }
    while (!data.empty()) {
        const auto n = drive->data_out(data);
        if (n == 0)
            break;
        data = data.subspan(n);
    }
    note_ports();
}

void IdeChannel::write_byte(unsigned region, unsigned index, std::uint8_t value) {
    if (region == region_control) {
        write_control(value);
        return;
    }
    control_ = static_cast<std::uint8_t>(control_ & ~ata::high_order); // clause 7.8
    if (index == ata::reg_command) {
        if (value == ata::execute_diagnostic)
            run_diagnostic();
        else if (IdeDrive* drive = selected(); drive != nullptr && (control_ & ata::software_reset) == 0)
            drive->command(value);
        return;
    }
    // Both devices latch every write (clause 7.1).
    for (auto& drive : drives_)
        if (drive)
            drive->write_register(index, value);
    if (index == ata::reg_device)
        select(value);
}

void IdeChannel::select(std::uint8_t device) {
    device_ = device;
    selected_unit_ = (device & ata::device_one) != 0 ? 1 : 0;
    interrupt_changed(); // only the selected device drives INTRQ
}

void IdeChannel::write_control(std::uint8_t value) {
    const bool was_reset = (control_ & ata::software_reset) != 0;
    const bool is_reset = (value & ata::software_reset) != 0;
    control_ = value;
    if (was_reset != is_reset) {
        for (auto& drive : drives_) {
            if (!drive)
                continue;
            if (is_reset)
                drive->begin_reset();
            else
                drive->finish_reset();
        }
        select(0);
    }
    interrupt_changed();
}

void IdeChannel::run_diagnostic() {
    IdeDrive* answering = drives_[0] ? drives_[0].get() : drives_[1].get();
    if (answering == nullptr || (control_ & ata::software_reset) != 0)
        return;
    for (auto& drive : drives_) {
        if (drive) {
            drive->begin_reset();
            drive->finish_reset();
        }
    }
    select(0);
    answering->finish_diagnostic();
}

void IdeChannel::interrupt_changed() {
    const IdeDrive* drive = selected();
    const bool level = drive != nullptr && drive->interrupt_pending() && (control_ & ata::no_interrupt) == 0;
    if (level && !irq_.level())
        bus_master_.interrupt();
    irq_.set(level);
}

std::uint8_t IdeChannel::read_bus_master(unsigned offset) {
    note_ports(); // a transfer may have ended since the last access
    return bus_master_.read(offset);
}

void IdeChannel::write_bus_master(unsigned offset, std::uint8_t value) {
    if (bus_master_.write(offset, value) && dma_allowed_)
        for (auto& drive : drives_)
            if (drive)
                drive->dma_started();
    note_ports();
}

void IdeChannel::allow_dma(bool allowed) {
    if (std::exchange(dma_allowed_, allowed) == allowed || !allowed)
        return;
    for (auto& drive : drives_)
        if (drive)
            drive->dma_started();
}

void IdeChannel::reset() {
    control_ = 0;
    bus_master_.reset();
    for (auto& drive : drives_)
        if (drive)
            drive->hardware_reset();
    select(0);
    note_ports();
}

// --- Accesses that need no exit ----------------------------------------------------------------------------

void IdeChannel::note_ports_at(PortNotes& notes, const Place& place) {
    if (notes_ == &notes && place_ == place)
        return;
    if (std::exchange(noted_, {}).quiet)
        set_notes(); // takes them back
    notes_ = &notes;
    place_ = place;
    note_ports();
}

// Between commands all registers are the guest's: the command block only latches, and a status stays as it
// is. With an interrupt pending, a read of the status ends it, and a choice of device may move it.
void IdeChannel::note_ports() {
    if (notes_ == nullptr)
        return;
    Noted now{.quiet = !bus_master_.active() && (control_ & ata::software_reset) == 0};
    for (const auto& drive : drives_) {
        if (drive) {
            now.quiet = now.quiet && drive->idle();
            now.pending = now.pending || drive->interrupt_pending();
        }
    }
    if (now.quiet) {
        const IdeDrive* drive = selected();
        now.status = drive != nullptr ? drive->status() : read_absent(ata::reg_status);
        now.engine_command = bus_master_.read(BusMaster::offset_command);
        now.engine_status = bus_master_.read(BusMaster::offset_status);
    } else {
        now.pending = false; // there are none, whatever it is
    }
    if (std::exchange(noted_, now) != now)
        set_notes();
}

void IdeChannel::set_notes() const {
    const auto note = [this](std::uint16_t base, unsigned offset, std::uint32_t flags,
                             std::uint8_t answer = 0) {
        if (base != 0)
            notes_->set(static_cast<std::uint16_t>(base + offset), noted_.quiet ? flags : 0, answer);
    };
    constexpr std::uint32_t posts = abi::port_posts, answers = abi::port_answers;
    const bool pending = noted_.pending;
    for (unsigned reg = ata::reg_feature; reg <= ata::reg_device; ++reg)
        note(place_.command, reg, pending ? 0 : posts);
    note(place_.command, ata::reg_status, pending ? 0 : answers, noted_.status);
    note(place_.control, 0, answers, noted_.status);
    note(place_.bus_master, BusMaster::offset_command, answers, noted_.engine_command);
    note(place_.bus_master, BusMaster::offset_status, pending ? answers : posts | answers,
         noted_.engine_status);
    note(place_.bus_master, BusMaster::offset_table, abi::port_posts_long);
}

void IdeChannel::pause() {
    for (auto& drive : drives_)
        if (drive)
            drive->pause();
}

void IdeChannel::resume() {
    for (auto& drive : drives_)
        if (drive)
            drive->resume();
}

} // namespace escalus
