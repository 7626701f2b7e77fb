// SPDX-License-Identifier: GPL-2.0-or-later
// What is behind Emulator: emulator.cpp executes the instruction that exited, run_ahead.cpp those after it.
#pragma once

#include "devmodel/emulator/decoder.hpp"
#include "devmodel/emulator/emulator.hpp"
#include "devmodel/emulator/guest_access.hpp"
#include "devmodel/emulator/instruction_fetch.hpp"
#include "devmodel/emulator/quick_moves.hpp"

#include <algorithm>
#include <span>
#include <string>

namespace escalus {

struct Emulator::Impl {
    Impl(GuestMemory& memory, Bus& memory_bus, Bus& port_bus, const EmulatorOptions& wanted)
        : options{wanted}, around{memory, memory_bus, port_bus, options} {
        options.physical_address_bits = std::clamp(options.physical_address_bits, 36u, 52u);
    }

    const emulation::Instruction* decode(const abi::VcpuPage& page, const emulation::CpuMode& mode,
                                         emulation::InstructionFetch& code);
    EmulationResult execute(abi::VcpuPage& page, VectorRegisters* vectors);
    unsigned run_ahead(abi::VcpuPage& page, unsigned most);
    bool step_ahead(abi::VcpuPage& page, const emulation::CpuMode& mode);
    EmulationResult refuse(const abi::VcpuPage& page, const emulation::CpuMode& mode,
                           std::span<const std::uint8_t> bytes, const emulation::Instruction* instruction);
    [[nodiscard]] std::string describe(const abi::VcpuPage& page, const emulation::CpuMode& mode,
                                       std::span<const std::uint8_t> bytes) const;

    EmulatorOptions options;
    emulation::Surroundings around;
    emulation::Decoder decoder;
    emulation::QuickMoves quick{around};
    std::uint64_t retried_rip = 0;
    unsigned retries = 0;
};

} // namespace escalus
