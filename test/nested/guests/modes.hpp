// SPDX-License-Identifier: GPL-2.0-or-later
// The processor modes that guests run in, as register state that neither vendor's format shows. Descriptor
// tables, page tables, stacks and handlers are made anew for each guest.
#pragma once

#include "test/nested/guests/code.hpp"
#include "vmm/abi/abi.hpp"
#include "vmm/memory/nested_tables.hpp"

#include <cstdint>

namespace escalus::nested {

enum class Mode {
    Real,        ///< 16-bit
    Unreal,      ///< real mode with 4 GiB data segments
    Protected16, ///< no paging
    Protected32, ///< no paging
    Paged32,     ///< two levels, 4 MiB pages
    Pae,         ///< three levels, 2 MiB pages
    Long,        ///< 64-bit
    Compatibility,
    Virtual8086 ///< under Paged32
};

/// Attributes as abi::Segment has them: type 3:0, S 4, DPL 6:5, P 7, AVL 8, L 9, D/B 10, G 11.
namespace attributes {
inline constexpr std::uint16_t code64 = 0xa9b, code32 = 0xc9b, data32 = 0xc93, code16 = 0x09b, data16 = 0x093,
                               user = 0x060, v8086 = 0x0f3, busy_tss = 0x08b, ldt = 0x082;
}
/// The guests' GDT.
namespace selector {
inline constexpr std::uint16_t code64 = 0x08, data32 = 0x10, code32 = 0x18, code16 = 0x20, data16 = 0x28,
                               user_data = 0x30 | 3, user_code64 = 0x38 | 3, user_code32 = 0x40 | 3,
                               tss = 0x48, second_tss = 0x58, task_gate = 0x68, call_gate = 0x70,
                               spare = 0x80;
}

struct GuestState {
    abi::Segment es, cs, ss, ds, fs, gs, ldtr, tr;
    abi::TableRegister gdtr, idtr;
    std::uint64_t cr0, cr3, cr4, efer, rip, rsp, rflags;
};

/// What a guest finds in memory, at the same place for every guest.
struct GuestMemory {
    std::uint64_t* gdt;
    std::uint8_t* idt;          ///< or interrupt vector table
    std::uint8_t* tss;          ///< then an I/O permission bitmap of all zeros
    std::uint8_t* second_tss;   ///< for task switches
    std::uint8_t* stack;        ///< of GuestState::rsp
    std::uint8_t* kernel_stack; ///< entered from CPL 3
    std::uint8_t* ist_stack;    ///< IST1
    std::uint8_t* data;         ///< a few pages for a check's own use, zeroed
    vmm::NestedTables paging;   ///< of Long and Compatibility: identity, user, writable, executable
    std::uint64_t* paged32;     ///< page directory
    std::uint64_t* pae;         ///< page-directory-pointer table, then its four page directories
};
inline constexpr std::uint64_t stack_bytes = 8192, data_bytes = 8 * 4096;
extern GuestMemory guest_memory;

/// Once.
void allocate_guest_memory();
/// Fills the tables for a guest of this mode and tells its registers: about to execute `code`.
GuestState make_guest(Mode mode, Code code);
/// The same for a function in 64-bit mode.
GuestState make_guest(void (*function)());

[[nodiscard]] bool has_1g_pages();

} // namespace escalus::nested
