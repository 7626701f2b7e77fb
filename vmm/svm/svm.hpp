// SPDX-License-Identifier: GPL-2.0-or-later
// The AMD-V back end. AMD APM 2, chapter 15.
//
// svm.cpp            detection, enabling, starting the control OS
// control_exits.cpp  exits of the control OS
// guest_run.cpp      switching between control OS and guest, injection, windows, TLB
// guest_exits.cpp    exits of guests: one table, every code
// guest_state.cpp    VMCB <-> the page shared with the device model
#pragma once

#include "vmm/cpu/backend.hpp"
#include "vmm/guest/instruction.hpp"
#include "vmm/guest/vm.hpp"
#include "vmm/svm/vmcb.hpp"

namespace escalus::vmm::svm {

/// What this CPU offers beyond the basics (CPUID 8000000A). None is required.
struct Features {
    bool next_rip = false, decode_assists = false, flush_by_asid = false, clean_bits = false;
    bool tsc_ratio = false; ///< APM 2, section 15.30.5
    bool tcg = false;       ///< no feature, but QEMU's emulation: see VirtualInterrupt in guest_run.cpp
    std::uint32_t asids = 2;
    unsigned physical_bits = 36;
    std::uint64_t efer_mask = 0; ///< EFER bits that software may set
};
extern Features features;

/// The control OS's on this CPU.
[[nodiscard]] inline Vmcb& control_vmcb(PerCpu& cpu) {
    return *static_cast<Vmcb*>(cpu.backend);
}
[[nodiscard]] inline Vmcb& vmcb_of(const Vcpu& vcpu) {
    return *static_cast<Vmcb*>(vcpu.backend);
}

/// What became of an interrupt that the CPU may deliver by itself.
enum class Offer : std::uint8_t { None, Waits, Taken };

/// What a vCPU has beside Vcpu's own fields. In its VMCB: every page that an exit touches costs time.
struct GuestState {
    std::uint64_t iret_rip = 0;   ///< where the IRET that will unblock NMIs was seen to begin; 0: not yet
    bool nmi_blocked = false;     ///< from the injection of an NMI to the end of its IRET
    bool nmi_window = false;      ///< the device model waits until an NMI can be taken
    Offer offer = Offer::None;    ///< of the virtual interrupt that stands for an interrupt window
    std::uint8_t shadow_kept = 0; ///< TCG: how many exits in a row came upon the same interrupt shadow
};
static_assert(sizeof(GuestState) <= sizeof(VmcbControl::software));
[[nodiscard]] inline GuestState& state_of(const Vcpu& vcpu) {
    return *reinterpret_cast<GuestState*>(vmcb_of(vcpu).control.software);
}

extern "C" void svm_enter(HostPhys vmcb, Gprs* registers);
[[nodiscard]] inline HostPhys physical_of(const Vmcb& vmcb) {
    return HostPhys{reinterpret_cast<std::uint64_t>(&vmcb)};
}
inline void vmload(const Vmcb& vmcb) {
    asm volatile("vmload %%rax" ::"a"(&vmcb) : "memory");
}
inline void vmsave(Vmcb& vmcb) {
    asm volatile("vmsave %%rax" ::"a"(&vmcb) : "memory");
}

/// Queues an exception for the next entry.
inline void inject_exception(Vmcb& vmcb, std::uint8_t vector) {
    vmcb.control.inject = event::valid | 3u << event::type_shift | vector;
}
inline void inject_exception(Vmcb& vmcb, std::uint8_t vector, std::uint32_t error_code) {
    vmcb.control.inject = event::valid | event::error_valid | 3u << event::type_shift | vector |
                          std::uint64_t{error_code} << event::error_shift;
}
inline constexpr std::uint8_t vector_db = 1, vector_ud = 6, vector_gp = 13, vector_ac = 17, vector_mc = 18;

[[nodiscard]] inline bool in_long_mode(const Vmcb& vmcb) {
    return (vmcb.save.efer & efer::lma) != 0 && (vmcb.save.cs.attributes & 1 << 9) != 0;
}
/// Reads up to `wanted` bytes of the instruction at RIP, as far as its pages are there; the number of bytes.
/// `guest`: null for the control OS.
[[nodiscard]] unsigned read_instruction(const Vmcb& vmcb, Vcpu* guest,
                                        std::uint8_t (&bytes)[instruction_bytes_max], unsigned wanted);
/// Address of the instruction after the one that exited, whose opcode is `opcode_bytes` long without
/// operands.
[[nodiscard]] std::uint64_t next_rip(const Vmcb& vmcb, unsigned opcode_bytes, Vcpu* guest);
/// Steps over the instruction, which also ends an interrupt shadow.
inline void advance(Vmcb& vmcb, std::uint64_t rip) {
    vmcb.save.rip = rip;
    vmcb.control.interrupt_state = 0;
}
/// An interrupt waits until it can be taken: by itself, or for an exit.
[[nodiscard]] inline bool interrupt_window_is_open(const Vmcb& vmcb) {
    return (vmcb.control.cr_writes & intercept_cr8) != 0;
}
/// Nothing waits any longer.
inline void close_interrupt_window(Vmcb& vmcb) {
    vmcb.control.interrupt_control &= ~interrupt_control::irq;
    vmcb.control.intercepts1 &= ~intercept1::vintr;
    vmcb.control.cr_writes &= static_cast<std::uint16_t>(~intercept_cr8);
    vmcb.control.clean = 0;
}
/// The value of a WRMSR, or the registers of a RDMSR.
[[nodiscard]] inline std::uint64_t msr_value(const Vmcb& vmcb, const Gprs& gprs) {
    return (vmcb.save.rax & 0xffff'ffff) | gprs.r[abi::rdx] << 32;
}
inline void set_msr_value(Vmcb& vmcb, Gprs& gprs, std::uint64_t value) {
    vmcb.save.rax = value & 0xffff'ffff;
    gprs.r[abi::rdx] = value >> 32;
}
/// EFER as software sees it, and its new hardware value after a write; false when the write must fault.
[[nodiscard]] bool write_efer(Vmcb& vmcb, std::uint64_t value);

/// Two-bits-a-register permission map: APM 2, section 15.11.
class MsrBitmap {
  public:
    static constexpr std::uint64_t bytes = 2 * page_size;
    void allow_all();
    void intercept_all();
    void set(std::uint32_t msr, bool read, bool write);

  private:
    std::uint8_t bits_[bytes];
};

// control_exits.cpp
[[noreturn]] void run_control(PerCpu& cpu, const ControlStart& start);
// guest_run.cpp
bool create_vcpu(Vcpu& vcpu);
void destroy_vcpu(Vcpu& vcpu);
RunResult run_guest(PerCpu& cpu, Vcpu& vcpu);
void start_guest_maps();
// guest_state.cpp
void import_state(Vcpu& vcpu, std::uint32_t groups);
void export_state(Vcpu& vcpu, std::uint32_t groups);

} // namespace escalus::vmm::svm
