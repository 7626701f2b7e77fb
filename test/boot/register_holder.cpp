// SPDX-License-Identifier: GPL-2.0-or-later
// Holds values in the general, x87, SSE and AVX registers of a process of the control OS while guests run,
// and a watchpoint in its debug registers, and checks that all of them stay.
//   register_holder MILLISECONDS: exit code 0 and "N rounds, M traps, 0 lost" when nothing was lost
#include <array>
#include <bit>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr unsigned registers = 16, vector_bytes = 32;
constexpr unsigned spins = 200'000; // between loading and looking: many time slices of a guest, in all rounds
constexpr unsigned watched_writes = 50;
using Vectors = std::array<std::array<std::uint8_t, vector_bytes>, registers>;

volatile std::uint64_t watched = 0;

#define EACH_REGISTER(DO)                                                                                    \
    DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15)
#define LOAD_YMM(n) "vmovdqu 32*" #n "(%[in]), %%ymm" #n "\n"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", 32*" #n "(%[out])\n"
#define LOAD_XMM(n) "movdqu 32*" #n "(%[in]), %%xmm" #n "\n"
#define STORE_XMM(n) "movdqu %%xmm" #n ", 32*" #n "(%[out])\n"
#define SPIN                                                                                                 \
    "mov $0x5a5aa5a51234567, %%r8\n mov %%r8, %%r9\n not %%r9\n mov %%r8, %%r10\n mov %%r9, %%r11\n"         \
    "mov %[spins], %%ecx\n 1: dec %%ecx\n jnz 1b\n"                                                          \
    "xor %%r9, %%r8\n inc %%r8\n xor %%r11, %%r10\n inc %%r10\n or %%r10, %%r8\n mov %%r8, %[general]\n"
#define CLOBBERS                                                                                             \
    "rcx", "r8", "r9", "r10", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",       \
        "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

/// Loads everything, spins, stores everything; what the general registers lost (0 when nothing).
std::uint64_t hold(const Vectors& in, Vectors& out, bool avx) {
    std::uint64_t general = 0;
    if (avx)
        asm volatile(EACH_REGISTER(LOAD_YMM) SPIN EACH_REGISTER(STORE_YMM) "vzeroupper\n"
                     : [general] "=m"(general)
                     : [in] "r"(in.data()), [out] "r"(out.data()), [spins] "i"(spins)
                     : CLOBBERS);
    else
        asm volatile(EACH_REGISTER(LOAD_XMM) SPIN EACH_REGISTER(STORE_XMM)
                     : [general] "=m"(general)
                     : [in] "r"(in.data()), [out] "r"(out.data()), [spins] "i"(spins)
                     : CLOBBERS);
    return general;
}

/// The x87 unit: a value stays on its stack over the spin.
bool x87_holds() {
    const double before = 1234.0625;
    double after = 0;
    asm volatile("fldl %[before]\n mov %[spins], %%ecx\n 1: dec %%ecx\n jnz 1b\n fstpl %[after]"
                 : [after] "=m"(after)
                 : [before] "m"(before), [spins] "i"(spins)
                 : "rcx", "memory");
    return std::bit_cast<std::uint64_t>(before) == std::bit_cast<std::uint64_t>(after);
}

unsigned bytes_lost(const Vectors& expected, const Vectors& found, bool avx) {
    unsigned lost = 0;
    for (unsigned n = 0; n < registers; ++n)
        for (unsigned i = 0; i < (avx ? vector_bytes : vector_bytes / 2); ++i)
            lost += expected[n][i] != found[n][i];
    return lost;
}

std::size_t debug_register(unsigned n) {
    return offsetof(user, u_debugreg) + n * sizeof(user::u_debugreg[0]);
}

/// A traced child writes to a watched variable; how many writes were not trapped, or registers not kept.
unsigned watchpoint_lost(unsigned& traps) {
    constexpr std::uint64_t watch_writes_of_8_bytes = 0x90001; // DR7: L0, R/W0 = write, LEN0 = 8 bytes
    const pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        for (unsigned i = 0; i < watched_writes; ++i) {
            for (unsigned n = 0; n < spins / 4; ++n)
                asm volatile("");
            watched = i;
        }
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    const auto address = reinterpret_cast<std::uintptr_t>(&watched);
    const std::array<std::uint64_t, 4> addresses{address, 0x1111'1110, 0x2222'2220, 0x3333'3330};
    for (unsigned n = 0; n < addresses.size(); ++n)
        if (ptrace(PTRACE_POKEUSER, child, debug_register(n), addresses[n]) != 0)
            std::perror("debug register");
    if (ptrace(PTRACE_POKEUSER, child, debug_register(7), watch_writes_of_8_bytes) != 0)
        std::perror("DR7");
    unsigned seen = 0, lost = 0;
    for (;;) {
        ptrace(PTRACE_CONT, child, nullptr, nullptr);
        waitpid(child, &status, 0);
        if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
            break;
        ++seen;
        for (unsigned n = 0; n < addresses.size(); ++n)
            lost += static_cast<std::uint64_t>(ptrace(PTRACE_PEEKUSER, child, debug_register(n), nullptr)) !=
                    addresses[n];
    }
    traps += seen;
    return lost + (seen > watched_writes ? seen - watched_writes : watched_writes - seen) +
           (WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1);
}

} // namespace

int main(int argc, char** argv) {
    const auto time = std::chrono::milliseconds{argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1000};
    const bool avx = __builtin_cpu_supports("avx") != 0;
    Vectors expected{}, found{};
    unsigned rounds = 0, lost = 0, traps = 0;
    for (const auto end = std::chrono::steady_clock::now() + time; std::chrono::steady_clock::now() < end;
         ++rounds) {
        for (unsigned n = 0; n < registers; ++n)
            for (unsigned i = 0; i < vector_bytes; ++i)
                expected[n][i] = static_cast<std::uint8_t>(0x11 * n + i + rounds);
        found = {};
        // ~x ^ x is all ones: adding one gives 0.
        lost += hold(expected, found, avx) != 0;
        lost += bytes_lost(expected, found, avx);
        lost += x87_holds() ? 0 : 1;
    }
    lost += watchpoint_lost(traps);
    std::printf("%u rounds with %s, %u traps, %u lost\n", rounds, avx ? "AVX" : "SSE", traps, lost);
    return lost == 0 ? 0 : 1;
}
