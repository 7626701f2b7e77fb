// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/system_ports.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
// The ports are their own region numbers.
constexpr unsigned port_control = 0x92, port_post = 0x80, port_delay = 0xed;
constexpr std::uint8_t fast_reset = 1, a20_bit = 2;
} // namespace

SystemPorts::SystemPorts(Bus& ports, A20Gate& a20, std::function<void()> reset)
    : ports_{ports}, a20_{a20}, request_reset_{std::move(reset)} {
    for (const unsigned port : {port_control, port_post, port_delay})
        ports_.add(port, 1, *this, port);
}

SystemPorts::~SystemPorts() {
    for (const unsigned port : {port_control, port_post, port_delay})
        ports_.remove(port);
}

void SystemPorts::reset(ResetKind) {
    control_ = post_code_ = delay_ = 0;
    a20_.set(true);
}

void SystemPorts::read(unsigned region, std::uint64_t, std::span<std::uint8_t> data) {
    std::ranges::fill(data, std::uint8_t{0xff});
    if (region == port_control)
        data[0] = static_cast<std::uint8_t>(control_ | (a20_.enabled() ? a20_bit : 0));
    else
        data[0] = region == port_post ? post_code_ : delay_;
}

void SystemPorts::write(unsigned region, std::uint64_t, std::span<const std::uint8_t> data) {
    if (region == port_post) {
        post_code_ = data[0];
    } else if (region == port_delay) {
        delay_ = data[0];
    } else {
        const bool reset_edge = (data[0] & ~control_ & fast_reset) != 0;
        control_ = data[0] & static_cast<std::uint8_t>(~a20_bit);
        a20_.set((data[0] & a20_bit) != 0);
        if (reset_edge && request_reset_)
            request_reset_();
    }
}

} // namespace escalus
