// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/cpu/exceptions.hpp"

#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/log.hpp"

extern "C" const char exception_stubs[];

namespace escalus::vmm {

namespace {

// AMD APM 2, section 4.8.4: a 64-bit interrupt gate.
struct Gate {
    std::uint16_t offset_low, selector, flags, offset_middle;
    std::uint32_t offset_high, reserved;
};
constexpr std::uint64_t stub_bytes = 16;
constinit Gate idt[32] = {};

struct ExceptionFrame {
    std::uint64_t vector, error_code, rip, cs, flags, rsp, ss;
};

} // namespace

void load_exception_table() {
    for (unsigned vector = 0; vector < 32; ++vector) {
        const auto entry = reinterpret_cast<std::uint64_t>(exception_stubs) + vector * stub_bytes;
        idt[vector] = {
            static_cast<std::uint16_t>(entry),       0x08, 0x8e00, static_cast<std::uint16_t>(entry >> 16),
            static_cast<std::uint32_t>(entry >> 32), 0};
    }
    struct [[gnu::packed]] {
        std::uint16_t limit;
        std::uint64_t base;
    } const pointer{sizeof idt - 1, reinterpret_cast<std::uint64_t>(idt)};
    asm volatile("lidt %0" ::"m"(pointer));
}

extern "C" [[noreturn]] void monitor_exception(const ExceptionFrame* frame) {
    panic("exception ", frame->vector, " in the monitor, error code ", hex(frame->error_code), ", rip ",
          hex(frame->rip), ", rsp ", hex(frame->rsp), ", cr2 ", hex(read_cr2()));
}

} // namespace escalus::vmm
