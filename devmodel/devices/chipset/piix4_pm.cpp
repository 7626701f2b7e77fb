// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/piix4_pm.hpp"

#include "devmodel/devices/chipset/acpi_pm_timer.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
enum Region : unsigned { region_pm = 16, region_smbus, region_apm }; // below are BAR numbers

constexpr unsigned reg_devactb = 0x58, reg_pmba = 0x40, reg_pmregmisc = 0x80, reg_smbba = 0x90,
                   reg_smbhstcfg = 0xd2;
constexpr std::uint32_t apmc_enable = 1u << 25;
constexpr std::uint64_t pm_size = 64, smbus_size = 16;
constexpr std::uint16_t port_apm = 0xb2;

// The power management block (datasheet 7.2), by offset.
constexpr unsigned pm_status = 0x00, pm_enable = 0x02, pm_control = 0x04, pm_timer = 0x08, gpe_status = 0x0c,
                   gpe_enable = 0x0e;
constexpr std::uint16_t status_timer = 1u << 0, status_power_button = 1u << 8, status_wake = 1u << 15;
constexpr std::uint16_t status_bits = 0x8531; // TMROF, BM, GBL, PWRBTN, RTC, RSM
constexpr std::uint16_t enable_bits = 0x0521; // TMROF, GBL, PWRBTN, RTC: the same places as in the status
constexpr std::uint16_t control_sci = 1u << 0, control_sleep = 1u << 13, control_bits = 0x1c03;
constexpr std::uint16_t gpe_bits = 0x0f01;

// The SMBus host block (7.3).
constexpr unsigned smb_status = 0, smb_slave_status = 1, smb_control = 2;
constexpr std::uint8_t smb_error = 0x04, smb_failed = 0x10, smb_start = 0x40, smb_kill = 0x02;

constexpr std::uint16_t low_half(std::uint32_t value) {
    return static_cast<std::uint16_t>(value);
}
} // namespace

Piix4Pm::Piix4Pm(PciSpaces spaces, Clock& clock, AcpiPmTimer& timer, Wiring wiring)
    : PciFunction{PciIdentity{.vendor = 0x8086,
                              .device = 0x7113,
                              .class_code = 0x068000,
                              .revision = 3,
                              .subsystem_vendor = 0x1af4,
                              .subsystem = 0x1100,
                              .interrupt_pin = 1},
                  spaces},
      ports_{spaces.ports},
      pm_timer_{timer},
      wiring_{std::move(wiring)},
      overflow_{clock, [this] { update_sci(); }} {
    set_writable(reg_command, 2, command_io | 0x0100);
    set_config(reg_status, 2, 0x0280);
    set_config(reg_pmba, 4, 1);
    set_writable(reg_pmba, 4, 0xffc0);
    for (unsigned reg = 0x44; reg < 0x80; ++reg) // CNTA, CNTB, GPICTL, DEVRES, DEVACT: plain registers
        set_writable(reg, 1, 0xff);
    set_writable(reg_pmregmisc, 1, 0x01);
    set_config(reg_smbba, 4, 1);
    set_writable(reg_smbba, 4, 0xfff0);
    set_writable(reg_smbhstcfg, 1, 0x0f);
    set_writable(0xd3, 3, 0xffffff); // SMBus slave command and shadow addresses
    // Firmware takes APMC_EN for "SMM has been set up" and then leaves SMM alone, which guests do not have.
    set_config(reg_devactb, 4, apmc_enable);
    ports_.add(port_apm, 2, *this, region_apm);
}

Piix4Pm::~Piix4Pm() {
    ports_.remove(port_apm);
    move_block(pm_base_, 0, pm_size, region_pm);
    move_block(smbus_base_, 0, smbus_size, region_smbus);
}

void Piix4Pm::move_block(std::uint64_t& where, std::uint64_t wanted, std::uint64_t size, unsigned region) {
    if (where == wanted)
        return;
    if (where != 0)
        ports_.remove(where);
    // The guest may choose ports that another device has: that one wins.
    where = wanted != 0 && !ports_.overlaps(wanted, size) ? wanted : 0;
    if (where != 0)
        ports_.add(where, size, *this, region);
}

void Piix4Pm::place_blocks() {
    const bool pm_enabled = (config(reg_pmregmisc, 1) & 1) != 0;
    move_block(pm_base_, pm_enabled ? config(reg_pmba, 4) & 0xffc0 : 0, pm_size, region_pm);
    const bool smbus_enabled =
        (config(reg_smbhstcfg, 1) & 1) != 0 && (config(reg_command, 2) & command_io) != 0;
    move_block(smbus_base_, smbus_enabled ? config(reg_smbba, 4) & 0xfff0 : 0, smbus_size, region_smbus);
}

void Piix4Pm::reset(ResetKind kind) {
    PciFunction::reset(kind);
    status_ = enable_ = control_ = gpe_status_ = gpe_enable_ = 0;
    apm_command_ = apm_status_ = 0;
    pm_registers_.fill(0);
    smbus_registers_.fill(0);
    seen_toggles_ = pm_timer_.msb_toggles();
    place_blocks();
    update_sci();
}

void Piix4Pm::config_write(unsigned offset, std::span<const std::uint8_t> data) {
    PciFunction::config_write(offset, data);
    place_blocks();
}

void Piix4Pm::note_timer_overflow() {
    if (const auto toggles = pm_timer_.msb_toggles(); toggles != seen_toggles_) {
        seen_toggles_ = toggles;
        status_ |= status_timer;
    }
}

void Piix4Pm::update_sci() {
    note_timer_overflow();
    const bool event = (status_ & enable_ & enable_bits) != 0 || (gpe_status_ & gpe_enable_) != 0;
    wiring_.sci.set(event && acpi_enabled());
    // The timer's overflow needs watching only while it would interrupt; else reading the status notices it.
    if ((enable_ & status_timer) != 0 && (status_ & status_timer) == 0 && acpi_enabled())
        overflow_.arm(pm_timer_.next_msb_toggle());
    else
        overflow_.cancel();
}

void Piix4Pm::press_power_button() {
    status_ |= status_power_button;
    update_sci();
}

void Piix4Pm::read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) {
    std::ranges::fill(data, std::uint8_t{0xff});
    std::uint32_t dword = 0;
    for (std::size_t i = 0; i < data.size(); ++i) {
        const auto at = static_cast<unsigned>(offset + i);
        if (region == region_pm) {
            if (i == 0 || at % 4 == 0)
                dword = read_pm(at / 4 * 4);
            data[i] = static_cast<std::uint8_t>(dword >> (8 * (at % 4)));
        } else if (region == region_smbus) {
            data[i] = read_smbus(at);
        } else {
            data[i] = at == 0 ? apm_command_ : apm_status_;
        }
    }
}

void Piix4Pm::write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        const auto at = static_cast<unsigned>(offset + i);
        if (region == region_smbus) {
            write_smbus(at, data[i]);
        } else if (region == region_apm) {
            write_apm(at, data[i]);
        } else if (at % 2 == 0 && i + 1 < data.size()) {
            write_pm(at, static_cast<std::uint16_t>(data[i] | data[i + 1] << 8), 0xffff);
            ++i;
        } else {
            const unsigned shift = at % 2 * 8;
            write_pm(at & ~1u, static_cast<std::uint16_t>(data[i] << shift),
                     static_cast<std::uint16_t>(0xff << shift));
        }
    }
}

std::uint32_t Piix4Pm::read_pm(unsigned dword) {
    switch (dword) {
    case pm_status:
        note_timer_overflow();
        return status_ | std::uint32_t{enable_} << 16;
    case pm_control:
        return control_;
    case pm_timer:
        return pm_timer_.value();
    case gpe_status:
        return gpe_status_ | std::uint32_t{gpe_enable_} << 16;
    default: {
        std::uint32_t value = 0;
        for (unsigned i = 0; i < 4; ++i)
            value |= std::uint32_t{pm_registers_[dword + i]} << (8 * i);
        return value;
    }
    }
}

void Piix4Pm::write_pm(unsigned word, std::uint16_t value, std::uint16_t mask) {
    const auto merged = [&](std::uint16_t old) { return low_half((old & ~mask) | (value & mask)); };
    const auto written = low_half(value & mask);
    switch (word) {
    case pm_status: // write one to clear
        note_timer_overflow();
        status_ = low_half(status_ & ~(written & status_bits));
        break;
    case pm_enable:
        enable_ = merged(enable_) & enable_bits;
        break;
    case pm_control:
        write_control(merged(control_));
        break;
    case gpe_status:
        gpe_status_ = low_half(gpe_status_ & ~written);
        break;
    case gpe_enable:
        gpe_enable_ = merged(gpe_enable_) & gpe_bits;
        break;
    case pm_control + 2:
    case pm_timer:
    case pm_timer + 2:
        break; // reserved, read-only
    default:
        for (unsigned i = 0; i < 2; ++i)
            if ((mask >> (8 * i) & 0xff) != 0)
                pm_registers_[word + i] = static_cast<std::uint8_t>(value >> (8 * i));
        break;
    }
    update_sci();
}

void Piix4Pm::write_control(std::uint16_t value) {
    control_ = value & control_bits;
    if ((value & control_sleep) == 0) // SUS_EN reads as 0
        return;
    const unsigned suspend_type = (value >> 10) & 7;
    if (suspend_type == 0) { // soft off
        if (wiring_.power_off)
            wiring_.power_off();
    } else {
        status_ |= status_wake; // states that the tables do not offer: awake again at once
    }
}

std::uint8_t Piix4Pm::read_smbus(unsigned offset) const {
    return smbus_registers_[offset];
}

void Piix4Pm::write_smbus(unsigned offset, std::uint8_t value) {
    auto& reg = smbus_registers_[offset];
    if (offset == smb_status || offset == smb_slave_status) { // write one to clear
        reg = static_cast<std::uint8_t>(reg & ~value);
        return;
    }
    reg = value;
    if (offset != smb_control)
        return;
    // No slave acknowledges: every transaction is over at once, with a device error.
    auto& status = smbus_registers_[smb_status];
    if ((value & smb_kill) != 0)
        status |= smb_failed;
    else if ((value & smb_start) != 0)
        status |= smb_error;
    reg = static_cast<std::uint8_t>(value & ~smb_start); // START reads as 0
}

void Piix4Pm::write_apm(unsigned offset, std::uint8_t value) {
    if (offset == 1) {
        apm_status_ = value;
        return;
    }
    apm_command_ = value;
    // On a board the SMI handler obeys these commands; guests have no SMM, so the chip does.
    if (value == acpi_enable_command)
        control_ |= control_sci;
    else if (value == acpi_disable_command)
        control_ = low_half(control_ & ~control_sci);
    update_sci();
}

} // namespace escalus
