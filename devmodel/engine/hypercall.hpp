// SPDX-License-Identifier: GPL-2.0-or-later
// The one instruction through which a device model speaks to the monitor (convention: vmm/abi/abi.hpp).
//
// Everything above goes through HypercallPort, so that it is tested without a monitor.
#pragma once

#include "devmodel/engine/near_memory.hpp"
#include "vmm/abi/abi.hpp"

#include <cstdint>

namespace escalus {

struct HypercallArguments {
    std::uint64_t rdi = 0, rsi = 0, rdx = 0, rcx = 0, r8 = 0, r9 = 0;
};
struct HypercallResult {
    abi::Status status = abi::Status::Ok;
    std::uint64_t rdx = 0, rcx = 0;
};

class HypercallPort {
  public:
    virtual ~HypercallPort() = default;
    virtual HypercallResult call(abi::Call call, const HypercallArguments& arguments) = 0;
};

/// VcpuRun changes vector and x87 registers as a function's call may (docs/ABI.md).
#define ESCALUS_CALL_CLOBBERS                                                                                \
    "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)",      \
        "st(6)", "st(7)"

/// The instruction itself. Only for a CPU that runs under the monitor: elsewhere it raises #UD, so look at
/// CPUID (MonitorHost does) before constructing one.
class HardwareHypercalls final : public HypercallPort, public NearMemory {
  public:
    explicit HardwareHypercalls(abi::Backend backend) : backend_{backend} {}

    HypercallResult call(abi::Call call, const HypercallArguments& a) override {
        auto rax = static_cast<std::uint64_t>(call);
        std::uint64_t rdx = a.rdx, rcx = a.rcx;
        // The kernel may preempt the thread with RIP on the instruction, which is then executed again: the
        // arguments stay in their registers until the result replaces them, so that is harmless.
        register std::uint64_t r8 asm("r8") = a.r8;
        register std::uint64_t r9 asm("r9") = a.r9;
        if (backend_ == abi::Backend::Svm)
            asm volatile("vmmcall"
                         : "+a"(rax), "+d"(rdx), "+c"(rcx)
                         : "D"(a.rdi), "S"(a.rsi), "r"(r8), "r"(r9)
                         : ESCALUS_CALL_CLOBBERS);
        else
            asm volatile("vmcall"
                         : "+a"(rax), "+d"(rdx), "+c"(rcx)
                         : "D"(a.rdi), "S"(a.rsi), "r"(r8), "r"(r9)
                         : ESCALUS_CALL_CLOBBERS);
        return {static_cast<abi::Status>(static_cast<std::int64_t>(rax)), rdx, rcx};
    }

  private:
    abi::Backend backend_;
};
#undef ESCALUS_CALL_CLOBBERS

/// For messages: "the pool is used up".
[[nodiscard]] const char* to_string(abi::Status status);

} // namespace escalus
