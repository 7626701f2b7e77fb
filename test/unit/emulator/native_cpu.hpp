// SPDX-License-Identifier: GPL-2.0-or-later
// Executes one instruction on the CPU that runs the tests: what the emulator must agree with.
//
// Code, registers and data lie at fixed addresses below 2 GiB, so that the stub can load and save every
// register, RSP included, with absolute addressing. A divide error skips to the end of the stub.
#pragma once

#include <csignal>
#include <cstdint>
#include <span>

namespace escalus::test {

class NativeCpu {
  public:
    struct Registers {
        std::uint64_t gpr[16];
        std::uint64_t rflags;
        std::uint64_t saved_rsp;
    };
    static constexpr std::uint64_t data_address = 0x20000000, data_size = 0x2000;

    NativeCpu();
    ~NativeCpu();
    NativeCpu(const NativeCpu&) = delete;
    NativeCpu& operator=(const NativeCpu&) = delete;

    /// Returns false when the instruction raised #DE.
    bool run(std::span<const std::uint8_t> instruction);

    Registers& registers() { return *registers_; }
    std::span<std::uint8_t> data() { return {data_, data_size}; }

  private:
    static constexpr std::uint64_t code_address = 0x20010000, register_address = 0x20020000;
    static void on_signal(int, siginfo_t*, void* context);

    Registers* registers_;
    std::uint8_t* code_;
    std::uint8_t* data_;
    struct sigaction old_action_ {};
    stack_t old_stack_{};
};

} // namespace escalus::test
