// SPDX-License-Identifier: GPL-2.0-or-later
#include "native_cpu.hpp"

#include <initializer_list>
#include <stdexcept>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

namespace escalus::test {

namespace {
volatile sig_atomic_t divide_error;
std::uint64_t resume_at;
std::vector<std::uint8_t> signal_stack(64 << 10);

void* map_fixed(std::uint64_t address, std::size_t size, int protection) {
    void* at = mmap(reinterpret_cast<void*>(address), size, protection,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (at != reinterpret_cast<void*>(address))
        throw std::runtime_error{"cannot map memory at a fixed address"};
    return at;
}

class Assembler {
  public:
    explicit Assembler(std::uint8_t* at) : at_{at} {}
    void bytes(std::span<const std::uint8_t> data) {
        for (auto b : data)
            *at_++ = b;
    }
    void bytes(std::initializer_list<std::uint8_t> data) { bytes(std::span{data.begin(), data.size()}); }
    /// MOV between a 64-bit register and an absolute address.
    void move(std::uint8_t opcode, unsigned reg, std::uint64_t address) {
        bytes({static_cast<std::uint8_t>(reg >= 8 ? 0x4c : 0x48), opcode,
               static_cast<std::uint8_t>((reg & 7) << 3 | 4), 0x25});
        absolute(address);
    }
    void absolute(std::uint64_t address) {
        for (unsigned i = 0; i < 4; ++i)
            *at_++ = static_cast<std::uint8_t>(address >> (8 * i));
    }
    [[nodiscard]] std::uint64_t here() const { return reinterpret_cast<std::uint64_t>(at_); }

  private:
    std::uint8_t* at_;
};
} // namespace

void NativeCpu::on_signal(int, siginfo_t*, void* context) {
    divide_error = 1;
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(resume_at);
}

NativeCpu::NativeCpu()
    : registers_{static_cast<Registers*>(map_fixed(register_address, 4096, PROT_READ | PROT_WRITE))},
      code_{static_cast<std::uint8_t*>(map_fixed(code_address, 4096, PROT_READ | PROT_WRITE | PROT_EXEC))},
      data_{static_cast<std::uint8_t*>(map_fixed(data_address, data_size, PROT_READ | PROT_WRITE))} {
    // RSP belongs to the test, so the handler needs a stack of its own.
    const stack_t stack{.ss_sp = signal_stack.data(), .ss_flags = 0, .ss_size = signal_stack.size()};
    sigaltstack(&stack, &old_stack_);
    struct sigaction action {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGFPE, &action, &old_action_);
}

NativeCpu::~NativeCpu() {
    sigaction(SIGFPE, &old_action_, nullptr);
    sigaltstack(&old_stack_, nullptr);
    munmap(data_, data_size);
    munmap(code_, 4096);
    munmap(registers_, 4096);
}

bool NativeCpu::run(std::span<const std::uint8_t> instruction) {
    constexpr std::uint8_t load = 0x8b, store = 0x89;
    constexpr unsigned rsp = 4;
    const auto slot = [](unsigned reg) { return register_address + 8 * reg; };
    constexpr std::uint64_t flags_slot = register_address + offsetof(Registers, rflags);
    constexpr std::uint64_t rsp_slot = register_address + offsetof(Registers, saved_rsp);

    Assembler out{code_};
    out.bytes({0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57}); // push rbx rbp r12..r15
    out.move(store, rsp, rsp_slot);
    out.bytes({0xff, 0x34, 0x25}); // push [flags]
    out.absolute(flags_slot);
    out.bytes({0x9d}); // popfq
    for (unsigned reg = 0; reg < 16; ++reg)
        out.move(load, reg, slot(reg));
    out.bytes(instruction);
    resume_at = out.here();
    for (unsigned reg = 0; reg < 16; ++reg)
        out.move(store, reg, slot(reg));
    out.move(load, rsp, rsp_slot);
    out.bytes({0x9c, 0x8f, 0x04, 0x25}); // pushfq; pop [flags]
    out.absolute(flags_slot);
    out.bytes({0xfc, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3}); // cld; pop...; ret

    divide_error = 0;
    reinterpret_cast<void (*)()>(code_)();
    return divide_error == 0;
}

} // namespace escalus::test
