// SPDX-License-Identifier: GPL-2.0-or-later
// The memory accesses of one instruction: segment:offset to linear to physical, then RAM or a device.
//
// Models: segment limits and rights, canonical checks, alignment checks, and their faults (Intel SDM volume
// 3A chapters 3, 5 and 6), over the page walker. An instance lives for one instruction, and so does what it
// remembers of the page tables. Resolving and accessing are separate steps, so that an instruction can raise
// all its faults before it changes anything.
#pragma once

#include "devmodel/emulator/cpu_state.hpp"
#include "devmodel/emulator/page_walk.hpp"
#include "devmodel/emulator/vector_registers.hpp"
#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/guest_memory.hpp"

#include <array>
#include <cstdint>
#include <span>

namespace escalus::emulation {

enum class Use : std::uint8_t { Read, Write, Fetch }; ///< read-modify-write is Write

/// What the emulator works on.
struct Surroundings {
    GuestMemory& memory;
    Bus& memory_bus;
    Bus& port_bus;
    const EmulatorOptions& options;
    mutable std::uint64_t device_accesses = 0; ///< counted by GuestAccess
};

/// A resolved operand: one physical range, or two when it crosses a page.
struct Place {
    GuestPhys first{}, second{};
    unsigned size = 0;
    unsigned first_size = 0; ///< bytes in the first range
};

class GuestAccess {
  public:
    GuestAccess(const Surroundings& around, const abi::VcpuPage& page, const CpuMode& mode,
                VectorRegisters* vectors)
        : around_{around},
          page_{page},
          mode_{mode},
          walker_{around.memory, around.options},
          pkru_{vectors != nullptr && (page.cr4 & control::cr4_pke) != 0 ? vectors->pkru() : 0} {}

    /// The CPU already translated the address of the access that exited: taken for the first operand
    /// resolved, if it fits. Only for instructions with a single memory operand.
    void trust_exit(GuestPhys gpa, bool write) { hint_ = {true, write, gpa}; }

    /// Segmentation only. `size` up to 64; `alignment` is what EFLAGS.AC checks, 0 or 1 for nothing.
    [[nodiscard]] std::uint64_t linear(unsigned segment, std::uint64_t offset, unsigned size, Use use,
                                       unsigned alignment) const;
    [[nodiscard]] GuestPhys translate(std::uint64_t linear, Use use);
    [[nodiscard]] Place resolve_linear(std::uint64_t linear, unsigned size, Use use);
    [[nodiscard]] Place resolve(unsigned segment, std::uint64_t offset, unsigned size, Use use) {
        return resolve_linear(linear(segment, offset, size, use, size), size, use);
    }
    /// The same for vector operands, which are aligned by rules of their own.
    [[nodiscard]] Place resolve_vector(unsigned segment, std::uint64_t offset, unsigned size, Use use,
                                       bool aligned);

    void read(const Place& place, std::span<std::uint8_t> data);
    void write(const Place& place, std::span<const std::uint8_t> data);
    [[nodiscard]] std::uint64_t load(const Place& place);
    void store(const Place& place, std::uint64_t value);
    /// A locked store after a load of `seen`: on RAM one atomic step; throws RetryInstruction when another
    /// CPU came between.
    void store_locked(const Place& place, std::uint64_t seen, std::uint64_t value);

    void read_physical(GuestPhys gpa, std::span<std::uint8_t> data);
    void write_physical(GuestPhys gpa, std::span<const std::uint8_t> data);

  private:
    [[nodiscard]] bool take_hint(std::uint64_t linear, unsigned size, Use use);
    void check_limit(const abi::Segment& s, bool stack, std::uint64_t offset, unsigned size, Use use) const;

    const Surroundings& around_;
    const abi::VcpuPage& page_;
    const CpuMode& mode_;
    PageWalker walker_;
    std::uint32_t pkru_;
    struct {
        bool valid = false, write = false;
        GuestPhys gpa{};
    } hint_;
    struct Remembered {
        bool valid = false, write = false;
        std::uint64_t page = 0;
        GuestPhys frame{};
    };
    std::array<Remembered, 4> remembered_{};
    unsigned next_remembered_ = 0;
};

} // namespace escalus::emulation
