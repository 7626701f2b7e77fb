// SPDX-License-Identifier: GPL-2.0-or-later
// A guest under AMD-V, as checks use it:
//
//     Guest guest([] { asm volatile("cpuid" ::: "eax", "ebx", "ecx", "edx"); });
//     guest.control.intercepts1 |= intercept1::cpuid;
//     REQUIRE_EQ(guest.run(), ExitCode::Cpuid);
//
// There is one VMCB, one set of nested tables and one pair of permission maps; making a Guest resets them
// all. By default nested paging is on, and intercepted are VMRUN, HLT, VMMCALL, SHUTDOWN, INTR with
// V_INTR_MASKING (so that the timer gets a guest that hangs out) and NMI.
#pragma once

#include "test/nested/framework/check.hpp"
#include "test/nested/guests/modes.hpp"
#include "test/nested/svm/vendor.hpp"
#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/per_cpu.hpp"
#include "vmm/svm/vmcb.hpp"

/// The monitor's (vmm/svm/world_switch.S).
extern "C" void svm_enter(escalus::HostPhys vmcb, escalus::vmm::Gprs* registers);

namespace escalus::nested::svm {

using namespace vmm::svm; // NOLINT(google-build-using-namespace): the VMCB's vocabulary
namespace msr = vmm::msr;
namespace cr0 = vmm::cr0;
namespace cr4 = vmm::cr4;
namespace efer = vmm::efer;
namespace rflags = vmm::rflags;

/// CPUID 8000000A, EDX: APM 3, appendix E.4.9.
namespace feature {
inline constexpr std::uint32_t np = 1, lbr = 2, lock = 4, next_rip = 8, tsc_rate = 16, clean_bits = 32,
                               flush_by_asid = 64, decode_assists = 128, pause_filter = 1 << 10,
                               pause_threshold = 1 << 12, virtual_vmload = 1 << 15, virtual_gif = 1 << 16;
}
[[nodiscard]] bool has(std::uint32_t feature_bit);
[[nodiscard]] unsigned physical_bits();
[[nodiscard]] std::uint32_t asid_count();

/// Pages of the IOPM (APM 2, section 15.10.1: 12 KiB) and the MSRPM (15.11: 8 KiB).
inline constexpr unsigned iopm_pages = 3, msrpm_pages = 2;

class Guest {
  public:
    explicit Guest(void (*function)());
    Guest(Mode mode, Code code);
    explicit Guest(Code code) : Guest(Mode::Long, code) {}

    Vmcb& vmcb;
    VmcbControl& control;
    VmcbSave& save;
    vmm::Gprs gprs{}; ///< RAX and RSP are in `save`
    std::uint8_t* iopm;
    std::uint8_t* msrpm;
    vmm::NestedTables& nested;

    /// VMRUN until the next exit; its code. GIF is 1 before and after: what is pending then comes to root
    /// mode.
    ExitCode run();
    /// The same with GIF left at 0, as the hardware leaves it.
    ExitCode run_gif_clear();

    /// Runs on to the end of the guest's code; anything else fails the check.
    void run_to_end();
    /// Runs on into the guest's handler of `vector`.
    void run_to_handler(unsigned vector);
    /// The vector whose handler has just begun (and exited by its HLT), or `vectors`.
    [[nodiscard]] unsigned handler() const;
    /// Whether the guest is at the HLT after its code.
    [[nodiscard]] bool at_end() const;
    /// Where the frame of the handler that has just begun lies.
    [[nodiscard]] const std::uint64_t* frame() const { return reinterpret_cast<std::uint64_t*>(save.rsp); }
    /// Steps over `bytes` of the instruction that exited.
    void skip(unsigned bytes);
    /// Moves a guest in 64-bit mode to CPL 3.
    void to_user();
    [[nodiscard]] std::uint64_t r(abi::GprIndex index) const { return gprs.r[index]; }
    void set(abi::GprIndex index, std::uint64_t value) { gprs.r[index] = value; }

  private:
    void reset(const GuestState& state);
    std::uint64_t end_ = 0;
};

[[nodiscard]] constexpr std::uint64_t injected(std::uint64_t type, std::uint64_t vector) {
    return event::valid | type << event::type_shift | vector;
}
[[nodiscard]] constexpr std::uint64_t injected(std::uint64_t type, std::uint64_t vector,
                                               std::uint32_t error) {
    return injected(type, vector) | event::error_valid | std::uint64_t{error} << event::error_shift;
}
/// Types of EVENTINJ: APM 2, table 15-8.
inline constexpr std::uint64_t event_interrupt = 0, event_nmi = 2, event_exception = 3, event_software = 4;

inline void clgi() {
    asm volatile("clgi" ::: "memory");
}
inline void stgi() {
    asm volatile("stgi" ::: "memory");
}
inline void vmload(const Vmcb& vmcb) {
    asm volatile("vmload %%rax" ::"a"(&vmcb) : "memory");
}
inline void vmsave(Vmcb& vmcb) {
    asm volatile("vmsave %%rax" ::"a"(&vmcb) : "memory");
}

} // namespace escalus::nested::svm
