// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's page tables: linear to guest-physical, as the CPU's page walker does it.
//
// Models: no paging, 32-bit paging with PSE and PSE-36, PAE, 4-level and 5-level paging, with R/W, U/S, WP,
// NX, SMEP, SMAP, protection keys for user pages, reserved bits, accessed and dirty bits, and the page
// fault's error code (Intel SDM volume 3A chapter 4, AMD APM volume 2 chapter 5). Keeps no state. Missing:
// supervisor protection keys, shadow-stack pages; PAE's PDPTEs are read at each walk, as AMD-V does.
#pragma once

#include "devmodel/emulator/emulator.hpp"

#include <array>
#include <cstdint>

namespace escalus::emulation {

struct WalkAccess {
    bool write = false;
    bool fetch = false;
    bool user = false; ///< CPL 3
    /// Accesses the CPU makes by itself (descriptors): EFLAGS.AC does not lift SMAP.
    bool implicit = false;
    /// Only look: no accessed and dirty bits, no permissions.
    bool probe = false;
};

/// Either an address or the error code of the #PF.
struct Translation {
    bool ok = false;
    GuestPhys gpa{};
    std::uint32_t error_code = 0;
};

/// The entries that a walk that found its page went through, as it left them.
struct WalkTrace {
    static constexpr unsigned most = 5;
    struct Step {
        GuestPhys at{};
        std::uint64_t value = 0;
    };
    unsigned count = 0, entry_bytes = 8;
    std::array<Step, most> step{};
};

namespace page_fault {
inline constexpr std::uint32_t present = 1, write = 2, user = 4, reserved = 8, fetch = 16, key = 32;
}

class PageWalker {
  public:
    PageWalker(GuestMemory& memory, const EmulatorOptions& options) : memory_{memory}, options_{options} {}

    [[nodiscard]] Translation walk(const abi::VcpuPage& page, std::uint64_t linear, WalkAccess access,
                                   std::uint32_t pkru, WalkTrace* trace = nullptr) const;

  private:
    struct Path;

    [[nodiscard]] Translation walk_once(const abi::VcpuPage& page, std::uint64_t linear, WalkAccess access,
                                        std::uint32_t pkru, WalkTrace* trace, bool& raced) const;
    [[nodiscard]] std::uint64_t reserved_bits(const abi::VcpuPage& page, const Path& path, unsigned level,
                                              bool leaf) const;
    bool set_bits(GuestPhys entry, unsigned bytes, std::uint64_t seen, std::uint64_t bits) const;

    GuestMemory& memory_;
    const EmulatorOptions& options_;
};

} // namespace escalus::emulation
