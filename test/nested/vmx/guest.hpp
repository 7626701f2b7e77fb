// SPDX-License-Identifier: GPL-2.0-or-later
// A guest under VT-x, as checks use it:
//
//     Guest guest([] { asm volatile("cpuid" ::: "eax", "ebx", "ecx", "edx"); });
//     REQUIRE_EQ(guest.run(), ExitReason::Cpuid);
//     EXPECT_EQ(read(Field::ExitInstructionLength), 2);
//
// There is one VMCS, which is always the current one (read() and write() are of its fields), one set of
// extended page tables and one of each bitmap; making a Guest resets them all. By default EPT, unrestricted
// guest and both bitmaps (all zeros) are on where the CPU has them, and what exits beside the unconditional
// is HLT, external interrupts (so that the timer gets a guest that hangs out) and NMIs.
//
// Section numbers are those of the SDM 3C of 2016 to 2020: chapter 24 is "Virtual-machine control
// structures", 25 non-root operation, 26 VM entries, 27 VM exits, 28.2 EPT, 28.3 cached translations, 29 APIC
// virtualization, 30 the VMX instructions.
#pragma once

#include "test/nested/framework/check.hpp"
#include "test/nested/guests/modes.hpp"
#include "test/nested/vmx/vendor.hpp"
#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/per_cpu.hpp"
#include "vmm/vmx/capabilities.hpp"
#include "vmm/vmx/vmcs.hpp"

namespace escalus::nested::vmx {

using namespace vmm::vmx; // NOLINT(google-build-using-namespace): the VMCS's vocabulary
namespace msr = vmm::msr;
namespace cr0 = vmm::cr0;
namespace cr4 = vmm::cr4;
namespace efer = vmm::efer;
namespace rflags = vmm::rflags;

/// Fields that the monitor has no use for: SDM 3D, appendix B.
namespace field {
inline constexpr Field preemption_timer{0x482e}, cr3_target_0{0x6008};
}

/// Whether a control may be 1 on this CPU.
[[nodiscard]] bool has_pin(std::uint32_t bits);
[[nodiscard]] bool has_primary(std::uint32_t bits);
[[nodiscard]] bool has_secondary(std::uint32_t bits);
[[nodiscard]] bool has_exit(std::uint32_t bits);
[[nodiscard]] bool has_entry(std::uint32_t bits);
/// IA32_VMX_EPT_VPID_CAP.
[[nodiscard]] bool has_ept(std::uint64_t bits);
/// Ends the check when a control cannot be 1; sets it otherwise.
void need_pin(std::uint32_t bits);
void need_primary(std::uint32_t bits);
void need_secondary(std::uint32_t bits);
void need_exit(std::uint32_t bits);
void need_entry(std::uint32_t bits);

/// What became of VMLAUNCH or VMRESUME.
struct Entered {
    unsigned error =
        0; ///< of VMfailValid: section 30.4; 0 when guest mode was entered or the entry failed late
    std::uint32_t reason = 0; ///< field of the VMCS, with bit 31 for an entry that failed late
};

class Guest {
  public:
    explicit Guest(void (*function)());
    Guest(Mode mode, Code code);
    explicit Guest(Code code) : Guest(Mode::Long, code) {}

    vmm::Gprs gprs{};           ///< RSP is in the VMCS
    std::uint8_t* io_bitmaps;   ///< A, then B
    std::uint8_t* msr_bitmap;   ///< reads low, high, then writes low, high
    std::uint8_t* virtual_apic; ///< not in use by default
    vmm::NestedTables& nested;

    /// Enters the guest until its next exit; the basic reason. An entry that fails ends the check. Interrupts
    /// are open before and after: what is pending then comes to root mode.
    ExitReason run();
    /// The same with interrupts left masked, and NMIs blocked after the exit of one, as the hardware leaves
    /// them.
    ExitReason run_masked();
    /// Enters it, with whatever result.
    Entered enter();

    /// Runs on to the end of the guest's code; anything else fails the check.
    void run_to_end();
    /// Runs on into the guest's handler of `vector`.
    void run_to_handler(unsigned vector);
    /// The vector whose handler has just begun (and exited by its HLT), or `vectors`.
    [[nodiscard]] unsigned handler() const;
    /// Whether the guest is at the HLT after its code.
    [[nodiscard]] bool at_end() const;
    /// Where the frame of the handler that has just begun lies.
    [[nodiscard]] static const std::uint64_t* frame() {
        return reinterpret_cast<std::uint64_t*>(read(Field::GuestRsp));
    }
    /// Steps over the instruction that exited.
    static void skip();
    /// Moves a guest in 64-bit mode to CPL 3.
    static void to_user();
    [[nodiscard]] std::uint64_t r(abi::GprIndex index) const { return gprs.r[index]; }
    void set(abi::GprIndex index, std::uint64_t value) { gprs.r[index] = value; }

  private:
    void reset(const GuestState& state);
    std::uint64_t end_ = 0;
    bool launched_ = false;
};

[[nodiscard]] inline std::uint64_t qualification() {
    return read(Field::ExitQualification);
}
[[nodiscard]] inline std::uint64_t rip() {
    return read(Field::GuestRip);
}

/// For the event fields: tables 24-16 to 24-19.
[[nodiscard]] constexpr std::uint32_t event_of(std::uint32_t type, std::uint32_t vector) {
    return event::valid | type << event::type_shift | vector;
}
inline void inject(std::uint32_t type, std::uint32_t vector) {
    write(Field::EntryEvent, event_of(type, vector));
}
inline void inject(std::uint32_t type, std::uint32_t vector, std::uint32_t error) {
    write(Field::EntryEvent, event_of(type, vector) | event::error_valid);
    write(Field::EntryErrorCode, error);
}

// The VMX instructions, and what they say: SDM 3C, section 30.2.
enum class Said { Success, FailInvalid, FailValid };
template <typename Instruction>
[[nodiscard]] Said outcome_of(Instruction&& instruction) {
    bool carry = false, zero = false;
    instruction(carry, zero);
    return carry ? Said::FailInvalid : zero ? Said::FailValid : Said::Success;
}
#define ESCALUS_VMX_ON_MEMORY(name)                                                                          \
    [[nodiscard]] inline Said name(std::uint64_t address) {                                                  \
        return outcome_of([&](bool& carry, bool& zero) {                                                     \
            asm volatile(#name " %2" : "=@ccc"(carry), "=@ccz"(zero) : "m"(address) : "memory");             \
        });                                                                                                  \
    }
ESCALUS_VMX_ON_MEMORY(vmxon)
ESCALUS_VMX_ON_MEMORY(vmptrld)
ESCALUS_VMX_ON_MEMORY(vmclear)
#undef ESCALUS_VMX_ON_MEMORY
[[nodiscard]] inline Said vmwrite(std::uint64_t encoding, std::uint64_t value) {
    return outcome_of([&](bool& carry, bool& zero) {
        asm volatile("vmwrite %2, %3" : "=@ccc"(carry), "=@ccz"(zero) : "r"(value), "r"(encoding) : "memory");
    });
}
[[nodiscard]] inline Said vmread(std::uint64_t encoding, std::uint64_t& value) {
    return outcome_of([&](bool& carry, bool& zero) {
        asm volatile("vmread %3, %2" : "=@ccc"(carry), "=@ccz"(zero), "=r"(value) : "r"(encoding));
    });
}
struct InvalidateDescriptor {
    std::uint64_t first, second;
};
[[nodiscard]] inline Said invept(std::uint64_t type, InvalidateDescriptor descriptor) {
    return outcome_of([&](bool& carry, bool& zero) {
        asm volatile("invept %2, %3" : "=@ccc"(carry), "=@ccz"(zero) : "m"(descriptor), "r"(type) : "memory");
    });
}
[[nodiscard]] inline Said invvpid(std::uint64_t type, InvalidateDescriptor descriptor) {
    return outcome_of([&](bool& carry, bool& zero) {
        asm volatile("invvpid %2, %3"
                     : "=@ccc"(carry), "=@ccz"(zero)
                     : "m"(descriptor), "r"(type)
                     : "memory");
    });
}
/// Makes what changed in the extended page tables seen.
void flush_nested();
/// The VMCS that Guest uses.
[[nodiscard]] std::uint64_t guest_vmcs();
/// A spare page with the VMCS revision in it.
[[nodiscard]] std::uint64_t spare_vmcs();

} // namespace escalus::nested::vmx
