// SPDX-License-Identifier: GPL-2.0-or-later
// Executes one guest instruction that touched device memory, or string port I/O, as the CPU would.
//
// Models: an x86-64 CPU's execution of the integer instructions that compilers and kernels use on device
// memory (Intel SDM volumes 2 and 3A, AMD APM volumes 2 and 3), in every mode from real to 5-level paging,
// with the guest's own segmentation, page tables and faults. State: a cache of decoded instructions, keyed by
// their bytes, which can therefore never be stale, and one of moves that go a shorter way (quick_moves.hpp);
// everything else lives in abi::VcpuPage.
// Missing: data and I/O breakpoints (DR7), far control transfers but for task switches (task_switch.hpp),
// x87, MMX, EVEX and vector arithmetic (moves only), delivery of an event through device memory, supervisor
// protection keys, shadow stacks.
#pragma once

#include "devmodel/emulator/vector_registers.hpp"
#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/guest_memory.hpp"
#include "vmm/abi/abi.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace escalus {

struct EmulationResult {
    enum class Outcome : std::uint8_t {
        Done,        ///< executed (or a part of its repetitions: RIP is still on it); enter the guest
        Fault,       ///< nothing changed; the fault is in page.event (and cr2); enter the guest
        Retry,       ///< nothing changed; memory is not what it was at the exit; enter the guest
        TripleFault, ///< the CPU shuts down
        Unsupported, ///< nothing changed; `text` says all about it; the machine ends the guest
    };
    Outcome outcome = Outcome::Done;
    std::string text{};
};

struct EmulatorOptions {
    unsigned physical_address_bits = 40; ///< MAXPHYADDR: the bits above are reserved in page tables
    bool gigabyte_pages = true;
    const std::uint64_t* memory_generation = nullptr; ///< counts the memory map's changes; null: it has none
};

/// One serves all vCPUs of a machine: its calls come with the device lock held.
class Emulator {
  public:
    /// Repetitions of a string instruction done in one call.
    static constexpr unsigned batch = 4096;

    Emulator(GuestMemory& memory, Bus& memory_bus, Bus& port_bus, const EmulatorOptions& options = {});
    ~Emulator();
    Emulator(const Emulator&) = delete;
    Emulator& operator=(const Emulator&) = delete;

    /// Executes the instruction at CS:RIP. For ExitReason::Memory; the groups general, segments and control
    /// of the page must be valid. Changed groups are marked in page.dirty.
    EmulationResult emulate(abi::VcpuPage& page, VectorRegisters* vectors = nullptr);

    /// After emulate(): goes on with what follows, as long as it is plain code that keeps touching devices,
    /// for at most `most` instructions. Each would be an exit of its own otherwise: a program that draws on
    /// the planes of a VGA writes byte after byte. Only moves, arithmetic, jumps, string instructions, and
    /// access to the VGA's ports where the mode permits it; whatever faults, or is anything else, is left for
    /// the CPU. Returns how many were executed.
    unsigned run_ahead(abi::VcpuPage& page, unsigned most = 256);
    /// Executes the instruction at CS:RIP the short way (quick_moves.hpp), for the same exit. False when it
    /// has to go the long one, emulate(): nothing was done. Of the segments, the main ones must be valid.
    bool emulate_quickly(abi::VcpuPage& page);

    /// Executes INS or OUTS. For ExitReason::Io with exit.io.string set; the same groups must be valid.
    EmulationResult string_io(abi::VcpuPage& page);

    /// Switches to another task. For ExitReason::TaskSwitch; the same groups must be valid.
    EmulationResult task_switch(abi::VcpuPage& page);

    /// Where a linear address lies for a supervisor's read, with no side effect: for dumps and debugging.
    [[nodiscard]] std::optional<GuestPhys> linear_to_physical(const abi::VcpuPage& page,
                                                              GuestLinear linear) const;

    /// Registers, instruction bytes and disassembly at CS:RIP, some lines of text: for crash dumps.
    [[nodiscard]] std::string describe(const abi::VcpuPage& page) const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace escalus
