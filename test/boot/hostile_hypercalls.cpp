// SPDX-License-Identifier: GPL-2.0-or-later
// A process without any right calls the monitor: every call, also such as do not exist, with boundary and
// random arguments and wrong keys. Each must be refused, with registers that are not results untouched.
//
// hostile_hypercalls [COUNT [SEED]]; exit codes: 0 all refused, 1 something was granted, 2 no monitor here.
#include "vmm/abi/abi.hpp"

#include <array>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include <cpuid.h>

namespace {

using namespace escalus;

struct Registers {
    std::uint64_t rax, rdi, rsi, rdx, rcx, r8, r9;
};

sigjmp_buf
    no_monitor; // NOLINT(cppcoreguidelines-avoid-non-const-global-variables): a signal handler needs it

void on_signal(int) {
    siglongjmp(no_monitor, 1);
}

bool uses_vmcall() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __cpuid(abi::leaf_version, a, b, c, d);
    return c == static_cast<unsigned>(abi::Backend::Vmx);
}

Registers call(const Registers& in) {
    Registers out = in;
    register std::uint64_t r8 asm("r8") = in.r8;
    register std::uint64_t r9 asm("r9") = in.r9;
    static const bool intel = uses_vmcall();
    if (intel)
        asm volatile("vmcall"
                     : "+a"(out.rax), "+D"(out.rdi), "+S"(out.rsi), "+d"(out.rdx), "+c"(out.rcx), "+r"(r8),
                       "+r"(r9)
                     :
                     : "memory");
    else
        asm volatile("vmmcall"
                     : "+a"(out.rax), "+D"(out.rdi), "+S"(out.rsi), "+d"(out.rdx), "+c"(out.rcx), "+r"(r8),
                       "+r"(r9)
                     :
                     : "memory");
    out.r8 = r8;
    out.r9 = r9;
    return out;
}

class Arguments {
  public:
    explicit Arguments(std::uint64_t seed) : random_{seed} {}

    std::uint64_t value() {
        static constexpr std::array<std::uint64_t, 24> boundaries{
            0,          1,           2,          7,          31,
            32,         63,          64,         4095,       4096,
            4097,       0x1fffff,    0x200000,   0x7fffffff, 0x80000000,
            0xffffffff, 1ull << 32,  1ull << 46, 1ull << 47, 0x7fffffffffffffff,
            1ull << 63, ~0ull << 12, ~0ull - 1,  ~0ull};
        switch (random_() % 4) {
        case 0:
            return random_();
        case 1:
            return random_() & 0xffff;
        case 2:
            return random_() << (random_() % 64);
        default:
            return boundaries[random_() % boundaries.size()];
        }
    }
    std::uint64_t number() { // mostly calls that exist
        return random_() % 8 == 0 ? value()
                                  : random_() % (static_cast<std::uint64_t>(abi::Call::VcpuState) + 2);
    }
    std::uint64_t handle() { // slots that exist, with low generations, are the likeliest to be right
        return random_() % 2 == 0 ? value() : (random_() % 8) << 16 | (random_() % 8);
    }
    Registers next() { return {number(), handle(), value(), value(), value(), value(), value()}; }

  private:
    std::mt19937_64 random_;
};

/// Whether the monitor is there (another hypervisor may answer VMMCALL in its own way).
bool monitor_there() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    __cpuid(abi::leaf_signature, eax, ebx, ecx, edx);
    std::array<char, 12> found{};
    std::memcpy(found.data(), &ebx, 4);
    std::memcpy(found.data() + 4, &ecx, 4);
    std::memcpy(found.data() + 8, &edx, 4);
    return std::memcmp(found.data(), static_cast<const char*>(abi::signature), found.size()) == 0;
}

bool refused(const Registers& in, const Registers& out) {
    const auto status = static_cast<std::int64_t>(out.rax);
    if (in.rax == static_cast<std::uint64_t>(abi::Call::Version))
        return status == 0 && out.rdx == abi::version;
    const bool untouched = out.rdi == in.rdi && out.rsi == in.rsi && out.r8 == in.r8 && out.r9 == in.r9;
    return status < 0 && status >= -15 && untouched;
}

void describe(const Registers& in, const Registers& out) {
    std::printf("granted: call %#lx rdi %#lx rsi %#lx rdx %#lx rcx %#lx r8 %#lx r9 %#lx\n"
                "     -> rax %#lx rdi %#lx rsi %#lx rdx %#lx rcx %#lx r8 %#lx r9 %#lx\n",
                in.rax, in.rdi, in.rsi, in.rdx, in.rcx, in.r8, in.r9, out.rax, out.rdi, out.rsi, out.rdx,
                out.rcx, out.r8, out.r9);
}

} // namespace

int main(int argc, char** argv) {
    const unsigned long count = argc > 1 ? std::strtoul(argv[1], nullptr, 0) : 100000;
    const unsigned long seed = argc > 2 ? std::strtoul(argv[2], nullptr, 0) : std::random_device{}();
    for (const int number : {SIGILL, SIGSEGV, SIGBUS})
        std::signal(number, on_signal);
    if (!monitor_there() || sigsetjmp(no_monitor, 1) != 0) {
        std::puts("no monitor answers hypercalls here");
        return 2;
    }
    std::printf("seed %lu\n", seed);
    Arguments arguments{seed};
    unsigned long granted = 0;
    std::array<unsigned long, 16> statuses{};
    for (unsigned long i = 0; i < count; ++i) {
        const Registers in = arguments.next();
        const Registers out = call(in);
        if (const auto status = -static_cast<std::int64_t>(out.rax); status >= 0 && status < 16)
            ++statuses[static_cast<std::size_t>(status)];
        if (!refused(in, out) && ++granted <= 10)
            describe(in, out);
    }
    for (std::size_t status = 0; status < statuses.size(); ++status)
        if (statuses[status] != 0)
            std::printf("status -%zu: %lu times\n", status, statuses[status]);
    std::printf("%lu calls, %lu granted\n", count, granted);
    return granted == 0 ? 0 : 1;
}
