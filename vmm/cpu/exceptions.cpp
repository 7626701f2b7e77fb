// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/cpu/exceptions.hpp"

#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/log.hpp"

extern "C" const char exception_stubs[];

namespace escalus::vmm {

namespace {

constexpr std::uint64_t stub_bytes = 16;
constinit Gate idt[32] = {};
using NmiHandler = void (*)(std::uint64_t&);
constinit NmiHandler nmi_handler = nullptr;

struct ExceptionFrame {
    std::uint64_t vector, error_code, rip, cs, flags, rsp, ss;
};

} // namespace

void load_exception_table() {
    for (unsigned vector = 0; vector < 32; ++vector)
        idt[vector] = gate_to(reinterpret_cast<std::uint64_t>(exception_stubs) + vector * stub_bytes);
    load_idt(idt, 32);
}

std::uint64_t exception_table_address() {
    return reinterpret_cast<std::uint64_t>(idt);
}

void set_nmi_handler(void (*handler)(std::uint64_t& rip)) {
    nmi_handler = handler;
}

extern "C" void monitor_nmi(ExceptionFrame* frame) {
    if (nmi_handler == nullptr)
        panic("NMI in the monitor at rip ", hex(frame->rip));
    nmi_handler(frame->rip);
}

extern "C" [[noreturn]] void monitor_exception(const ExceptionFrame* frame) {
    panic("exception ", frame->vector, " in the monitor, error code ", hex(frame->error_code), ", rip ",
          hex(frame->rip), ", rsp ", hex(frame->rsp), ", cr2 ", hex(read_cr2()));
}

} // namespace escalus::vmm
