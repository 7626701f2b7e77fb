// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of invalid states share: a violation, how VM entry refuses it, and tables that several use.
// Each check is made one violation at a time: refused as the manual says, and for the reason that the
// monitor's own checker (vmm/vmx/vmcs_check.cpp) names.
#pragma once

#include "test/nested/framework/local_apic.hpp"
#include "test/nested/vmx/guest.hpp"
#include "vmm/vmx/vmcs_check.hpp"

namespace escalus::nested::vmx {

inline constexpr Group invalid_state{"vmx-invalid-state", "VM entry refuses each invalid state", vendor};

GUEST_CODE(nothing64, 64, "nop");
GUEST_CODE(nothing32, 32, "nop");
GUEST_CODE(nothing16, 16, "nop");

/// How VM entry refuses: VM-instruction errors 7 and 8 (section 30.4), exit reason 33 (section 26.7).
enum class Refusal { Controls = 7, Host = 8, Guest = 33 };

// Sections of the manual.
inline constexpr const char* execution = "SDM 3C, 26.2.1.1";
inline constexpr const char* exiting = "SDM 3C, 26.2.1.2";
inline constexpr const char* entering = "SDM 3C, 26.2.1.3";
inline constexpr const char* host_registers = "SDM 3C, 26.2.2";
inline constexpr const char* host_segments = "SDM 3C, 26.2.3";
inline constexpr const char* host_address_size = "SDM 3C, 26.2.4";
inline constexpr const char* registers = "SDM 3C, 26.3.1.1";
inline constexpr const char* segment_checks = "SDM 3C, 26.3.1.2";
inline constexpr const char* rip_rflags = "SDM 3C, 26.3.1.4";
inline constexpr const char* non_register = "SDM 3C, 26.3.1.5";

struct Mistake {
    const char* name;
    Refusal refusal;
    const char* reason;
    void (*make)();
    const char* manual;
    Mode mode = Mode::Long;
};

/// A fragment that does nothing, for the guest's mode.
Code code_for(Mode mode);
/// Whether `violation` is the rule in `reason`, which begins with its section.
void expect_reason(const char* violation, const char* reason);
void expect_refused(Guest& guest, Refusal refusal, const char* reason);
void check(const Mistake& row);

inline constexpr std::uint64_t not_canonical = 1ull << 60;
inline std::uint64_t beyond() {
    return 1ull << capabilities.physical_bits;
}
void need_secondary_control(std::uint32_t bits);
/// Blocking by STI, MOV SS or an NMI, with interrupts on.
void block(std::uint32_t bits);
inline constexpr std::uint32_t exception = event::hardware_exception;

inline Field rights_of(unsigned segment) {
    return nth(Field::GuestEsRights, segment);
}
inline Field base_of(unsigned segment) {
    return nth(Field::GuestEsBase, segment);
}
inline Field limit_of(unsigned segment) {
    return nth(Field::GuestEsLimit, segment);
}
inline Field selector_of(unsigned segment) {
    return nth(Field::GuestEs, segment);
}

/// Bits of a field, each to be refused when it is set alone.
struct Bit {
    NumberedName name;
    unsigned bit;
};

/// A type that no entry of a PAT may have, and the entry to try it in.
struct Pat {
    NumberedName name;
    unsigned type, entry;
};
inline constexpr Pat pats[] = {{{"type-", 2}, 2, 0},   {{"type-", 3}, 3, 5},     {{"type-", 8}, 8, 7},
                               {{"type-", 16}, 16, 3}, {{"type-", 255}, 255, 6}, {{"type-", 0x86}, 0x86, 1}};
void spoil(Field pat, const Pat& row);

} // namespace escalus::nested::vmx
