// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/mc146818.hpp"

#include <algorithm>
#include <chrono>

namespace escalus {

namespace {

enum Register : std::uint8_t {
    seconds = 0,
    alarm_seconds = 1,
    minutes = 2,
    alarm_minutes = 3,
    hours = 4,
    alarm_hours = 5,
    weekday = 6,
    day = 7,
    month = 8,
    year = 9,
    reg_a = 0x0a,
    reg_b = 0x0b,
    reg_c = 0x0c,
    reg_d = 0x0d,
    century = 0x32,
    century_ps2 = 0x37
};
constexpr std::uint16_t port_index = 0x70; // the data port behind it
constexpr std::uint8_t a_uip = 0x80, a_divider = 0x70, a_rate = 0x0f;
constexpr std::uint8_t b_set = 0x80, b_pie = 0x40, b_aie = 0x20, b_uie = 0x10, b_sqwe = 0x08, b_binary = 0x04,
                       b_24_hours = 0x02;
constexpr std::uint8_t c_irqf = 0x80, c_pf = 0x40, c_af = 0x20, c_uf = 0x10;
constexpr std::uint8_t b_enables = b_pie | b_aie | b_uie; // the same bits as the flags in C
constexpr std::uint8_t d_valid_ram = 0x80;
constexpr std::uint8_t do_not_care = 0xc0; // alarm bytes with these bits match anything
constexpr std::int64_t seconds_per_day = 86'400;

constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) {
    return a / b - (a % b < 0 ? 1 : 0);
}

} // namespace

void Mc146818::leave_notes(PortNotes& notes) {
    notes.set(port_index, abi::port_posts);
}

Mc146818::Mc146818(Clock& clock, Bus& ports, IrqLine irq8, const Config& config)
    : clock_{clock},
      irq8_{irq8},
      config_{config},
      timer_{clock, [this] { fire(); }},
      chain_base_{clock.now()},
      advanced_to_{clock.now()} {
    ports.add(port_index, 2, *this, 0);
    bytes_[reg_a] = 0x26; // 32.768 kHz, 1024 Hz: what every PC BIOS leaves there
    bytes_[reg_b] = b_24_hours;
    bytes_[reg_d] = d_valid_ram;
    // The registers hold years 0 to 9999.
    const std::int64_t unix = std::clamp(config.unix_seconds, -62'135'596'800, 253'402'300'799);
    const std::int64_t days = floor_div(unix, seconds_per_day);
    // 1970-01-01 was a Thursday; Sunday counts as 1.
    const auto day_of_week = static_cast<unsigned>(((days + 4) % 7 + 7) % 7 + 1);
    set_date({days, unix - days * seconds_per_day, day_of_week});
}

void Mc146818::set_cmos(std::uint8_t index, std::uint8_t value) {
    if (index > reg_d && index != century && index != century_ps2)
        bytes_.at(index) = value;
}

std::int64_t Mc146818::unix_seconds() {
    advance();
    const Date shown = date();
    return shown.days * seconds_per_day + shown.second_of_day;
}

void Mc146818::reset(ResetKind) {
    // The RESET pin (datasheet, "RESET"): interrupts off, flags clear. The battery keeps the rest.
    advance();
    bytes_[reg_b] &= static_cast<std::uint8_t>(~(b_enables | b_sqwe));
    bytes_[reg_c] = 0;
    index_ = 0;
    nmi_masked_ = true;
    irq8_.lower();
    timer_.cancel();
}

// --- the divider chain

bool Mc146818::chain_runs() const {
    return (bytes_[reg_a] & a_divider) <= 0x20; // 0x60 and 0x70 hold it in reset
}

bool Mc146818::updates_run() const {
    return chain_runs() && (bytes_[reg_b] & b_set) == 0;
}

std::int64_t Mc146818::second_index() const {
    return (clock_.now() - chain_base_) / ns_per_second;
}

std::uint64_t Mc146818::periodic_rate() const {
    const unsigned rate = bytes_[reg_a] & a_rate;
    if (rate == 0 || !chain_runs())
        return 0;
    return rate <= 2 ? 512u >> rate : 65'536u >> rate; // rates 1 and 2 are those of 8 and 9
}

std::uint64_t Mc146818::periods_at(GuestTime time) const {
    return ticks_at(time - chain_base_, periodic_rate());
}

// --- formats of the time registers

std::uint8_t Mc146818::encode(unsigned value) const {
    if ((bytes_[reg_b] & b_binary) != 0)
        return static_cast<std::uint8_t>(value);
    return static_cast<std::uint8_t>(value / 10 % 10 << 4 | value % 10);
}

unsigned Mc146818::decode(std::uint8_t value) const {
    return (bytes_[reg_b] & b_binary) != 0 ? value : (value >> 4) * 10u + (value & 15u);
}

std::uint8_t Mc146818::encode_hour(unsigned hour) const {
    if ((bytes_[reg_b] & b_24_hours) != 0)
        return encode(hour);
    const unsigned twelve = hour % 12 == 0 ? 12 : hour % 12;
    return static_cast<std::uint8_t>(encode(twelve) | (hour % 24 >= 12 ? 0x80 : 0));
}

unsigned Mc146818::decode_hour(std::uint8_t value) const {
    if ((bytes_[reg_b] & b_24_hours) != 0)
        return decode(value);
    return decode(value & 0x7f) % 12 + ((value & 0x80) != 0 ? 12 : 0);
}

/// What the registers show. They may hold anything, such as 31 February while the guest sets the clock; that
/// is carried over, not refused.
Mc146818::Date Mc146818::date() const {
    using namespace std::chrono;
    const unsigned month_number = std::clamp(decode(bytes_[month]), 1u, 12u);
    const int year_number = static_cast<int>(decode(bytes_[century]) * 100 + decode(bytes_[year]));
    const sys_days first{std::chrono::year{year_number} / std::chrono::month{month_number} / 1};
    Date result;
    result.days = first.time_since_epoch().count() + static_cast<int>(decode(bytes_[day])) - 1;
    result.second_of_day =
        decode_hour(bytes_[hours]) * 3600 + decode(bytes_[minutes]) * 60 + decode(bytes_[seconds]);
    result.weekday = bytes_[weekday];
    return result;
}

void Mc146818::set_date(const Date& date) {
    using namespace std::chrono;
    const year_month_day civil{sys_days{std::chrono::days{date.days}}};
    const auto year_number = static_cast<unsigned>(static_cast<int>(civil.year()));
    const auto of_day = static_cast<unsigned>(date.second_of_day);
    bytes_[seconds] = encode(of_day % 60);
    bytes_[minutes] = encode(of_day / 60 % 60);
    bytes_[hours] = encode_hour(of_day / 3600);
    bytes_[weekday] = static_cast<std::uint8_t>(date.weekday);
    bytes_[day] = encode(static_cast<unsigned>(civil.day()));
    bytes_[month] = encode(static_cast<unsigned>(civil.month()));
    bytes_[year] = encode(year_number % 100);
    bytes_[century] = bytes_[century_ps2] = encode(year_number / 100 % 100);
}

/// The chip wants all its time bytes rewritten after a change of format. Some guests do not do that, so the
/// bytes are converted.
void Mc146818::set_format(std::uint8_t b) {
    constexpr std::array plain{seconds, alarm_seconds, minutes, alarm_minutes, day, month, year, century};
    constexpr std::array with_half{hours, alarm_hours};
    const auto is_wildcard = [this](Register r) {
        return (r == alarm_seconds || r == alarm_minutes || r == alarm_hours) &&
               (bytes_[r] & do_not_care) == do_not_care;
    };
    std::array<unsigned, plain.size()> values{};
    std::array<unsigned, with_half.size()> hour_values{};
    std::ranges::transform(plain, values.begin(), [this](Register r) { return decode(bytes_[r]); });
    std::ranges::transform(with_half, hour_values.begin(),
                           [this](Register r) { return decode_hour(bytes_[r]); });
    bytes_[reg_b] = b;
    for (std::size_t i = 0; i < plain.size(); ++i)
        if (!is_wildcard(plain.at(i)))
            bytes_[plain.at(i)] = encode(values.at(i));
    for (std::size_t i = 0; i < with_half.size(); ++i)
        if (!is_wildcard(with_half.at(i)))
            bytes_[with_half.at(i)] = encode_hour(hour_values.at(i));
    bytes_[century_ps2] = bytes_[century];
}

/// Seconds until the alarm matches next, after `second_of_day`; nothing when it never does.
std::optional<std::int64_t> Mc146818::seconds_to_alarm(std::int64_t second_of_day) const {
    const auto matches = [](std::uint8_t byte, unsigned wanted, std::int64_t value) {
        return (byte & do_not_care) == do_not_care || wanted == static_cast<std::uint64_t>(value);
    };
    const unsigned hour = decode_hour(bytes_[alarm_hours]);
    const unsigned minute = decode(bytes_[alarm_minutes]);
    const unsigned second = decode(bytes_[alarm_seconds]);
    for (std::int64_t t = second_of_day + 1; t <= second_of_day + seconds_per_day;) {
        const std::int64_t of_day = t % seconds_per_day;
        if (!matches(bytes_[alarm_hours], hour, of_day / 3600))
            t += 3600 - of_day % 3600;
        else if (!matches(bytes_[alarm_minutes], minute, of_day / 60 % 60))
            t += 60 - of_day % 60;
        else if (!matches(bytes_[alarm_seconds], second, of_day % 60))
            ++t;
        else
            return t - second_of_day;
    }
    return std::nullopt;
}

// --- time and interrupts

/// Brings time registers and flags up to now.
void Mc146818::advance() {
    const GuestTime now = clock_.now();
    if (periodic_rate() != 0 && periods_at(now) != periods_at(advanced_to_))
        bytes_[reg_c] |= c_pf;
    const std::int64_t second = second_index();
    const std::int64_t passed = second - shown_second_;
    if (updates_run() && passed > 0) {
        Date shown = date();
        const auto alarm = seconds_to_alarm(shown.second_of_day);
        bytes_[reg_c] |= c_uf;
        if (alarm && *alarm <= passed)
            bytes_[reg_c] |= c_af;
        shown.second_of_day += passed;
        const std::int64_t days_passed = shown.second_of_day / seconds_per_day;
        shown.days += days_passed;
        shown.second_of_day %= seconds_per_day;
        if (days_passed != 0)
            shown.weekday = static_cast<unsigned>((shown.weekday + 6 + days_passed % 7) % 7 + 1);
        set_date(shown);
    }
    shown_second_ = second;
    advanced_to_ = now;
}

/// IRQF and the line follow flags and enables.
void Mc146818::settle_interrupt() {
    if ((bytes_[reg_c] & bytes_[reg_b] & b_enables) != 0)
        bytes_[reg_c] |= c_irqf;
    else
        bytes_[reg_c] &= static_cast<std::uint8_t>(~c_irqf);
    irq8_.set((bytes_[reg_c] & c_irqf) != 0);
}

/// Arms the timer for the next event that would raise the line.
void Mc146818::arm() {
    const std::uint8_t b = bytes_[reg_b];
    const bool line_waits = (bytes_[reg_c] & c_irqf) != 0 && config_.interrupts_need_register_c;
    GuestTime next = INT64_MAX;
    if (!line_waits) {
        const std::uint64_t rate = periodic_rate();
        if ((b & b_pie) != 0 && rate != 0)
            next = chain_base_ + time_of_tick(periods_at(clock_.now()) + 1, rate);
        if ((b & b_uie) != 0 && updates_run())
            next = std::min(next, chain_base_ + (shown_second_ + 1) * ns_per_second);
        if ((b & b_aie) != 0 && updates_run())
            if (const auto alarm = seconds_to_alarm(date().second_of_day))
                next = std::min(next, chain_base_ + (shown_second_ + *alarm) * ns_per_second);
    }
    if (next == INT64_MAX)
        timer_.cancel();
    else
        timer_.arm(next);
}

void Mc146818::fire() {
    if (!config_.interrupts_need_register_c) {
        bytes_[reg_c] = 0; // as if the guest had read it
        irq8_.lower();
    }
    advance();
    settle_interrupt();
    arm();
}

// --- ports

void Mc146818::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i)
        data[i] = offset + i == 0 ? 0xff : read_register(index_); // port 0x70 is write-only
}

void Mc146818::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        if (offset + i == 0) {
            index_ = data[i] & 0x7f;
            nmi_masked_ = (data[i] & 0x80) != 0;
        } else {
            write_register(index_, data[i]);
        }
    }
}

std::uint8_t Mc146818::read_register(std::uint8_t index) {
    if (index > reg_d && index != century && index != century_ps2)
        return bytes_.at(index);
    advance();
    switch (index) {
    case reg_a: {
        const bool uip =
            updates_run() && (clock_.now() - chain_base_) % ns_per_second >= ns_per_second - uip_lead;
        return static_cast<std::uint8_t>(bytes_[reg_a] | (uip ? a_uip : 0));
    }
    case reg_c: {
        settle_interrupt();
        const std::uint8_t flags = bytes_[reg_c];
        bytes_[reg_c] = 0;
        settle_interrupt();
        arm();
        return flags;
    }
    default:
        return bytes_.at(index);
    }
}

void Mc146818::write_register(std::uint8_t index, std::uint8_t value) {
    advance();
    switch (index) {
    case reg_a:
        write_a(value);
        break;
    case reg_b:
        write_b(value);
        break;
    case reg_c:
    case reg_d:
        break; // read-only
    case century:
    case century_ps2:
        bytes_[century] = bytes_[century_ps2] = value;
        break;
    case seconds:
        bytes_[seconds] = value & 0x7f;
        break;
    default:
        bytes_.at(index) = value;
    }
    if (index <= reg_b) {
        settle_interrupt();
        arm();
    }
}

void Mc146818::write_a(std::uint8_t value) {
    const bool ran = chain_runs();
    bytes_[reg_a] = value & static_cast<std::uint8_t>(~a_uip);
    if (!ran && chain_runs()) {
        // The first update comes half a second after the divider is released (datasheet, "Divider Control").
        chain_base_ = clock_.now() - ns_per_second / 2;
        shown_second_ = 0;
    }
}

void Mc146818::write_b(std::uint8_t value) {
    const std::uint8_t old = bytes_[reg_b];
    if ((value & b_set) != 0)
        value &= static_cast<std::uint8_t>(~b_uie); // SET clears UIE
    if (((old ^ value) & (b_binary | b_24_hours)) != 0)
        set_format(value);
    else
        bytes_[reg_b] = value;
}

} // namespace escalus
