// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/cpu/exceptions.hpp"

#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/log.hpp"

extern "C" const char exception_stubs[];

namespace escalus::vmm {

namespace {

constexpr std::uint64_t stub_bytes = 16;
constinit Gate idt[32] = {};

struct ExceptionFrame {
    std::uint64_t vector, error_code, rip, cs, flags, rsp, ss;
};

} // namespace

void load_exception_table() {
    for (unsigned vector = 0; vector < 32; ++vector)
        idt[vector] = gate_to(reinterpret_cast<std::uint64_t>(exception_stubs) + vector * stub_bytes);
    load_idt(idt, 32);
}

extern "C" [[noreturn]] void monitor_exception(const ExceptionFrame* frame) {
    panic("exception ", frame->vector, " in the monitor, error code ", hex(frame->error_code), ", rip ",
          hex(frame->rip), ", rsp ", hex(frame->rsp), ", cr2 ", hex(read_cr2()));
}

} // namespace escalus::vmm
