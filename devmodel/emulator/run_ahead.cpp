// SPDX-License-Identifier: GPL-2.0-or-later
// Executing on after an instruction that touched a device, to spare the exits of those that follow.
//
// Nothing here may do what the CPU would not: only instructions whose whole effect the executor has, never
// one with a single step or breakpoint armed, and at a fault the guest is entered, where the CPU raises it.
// Interrupts wait for the end, which is what bounds the number.
#include "devmodel/emulator/emulator_impl.hpp"
#include "devmodel/emulator/executor.hpp"

#include <array>

namespace escalus {

using namespace emulation;

namespace {

// So many instructions in a row without an access to a device: the program does something else now.
constexpr unsigned idle_limit = 24;
constexpr std::uint64_t vga_ports = 0x3c0, vga_ports_end = 0x3e0;
constexpr std::uint64_t breakpoints_armed = 0xff;

bool plain(const Instruction& instruction) {
    if (instruction.lock || instruction.far_branch || !instruction.legacy_or_vex || instruction.vex)
        return false;
    for (const auto& operand : instruction.operand)
        if (operand.kind == Operand::Kind::Vector || operand.kind == Operand::Kind::Segment)
            return false;
    switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_XCHG: // of registers: with memory it locks
        return instruction.mnemonic != ZYDIS_MNEMONIC_XCHG || instruction.memory_operands == 0;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_SBB:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_NOT:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
    case ZYDIS_MNEMONIC_JMP:
        return true;
    default:
        return instruction.mnemonic == ZYDIS_MNEMONIC_JB || instruction.mnemonic == ZYDIS_MNEMONIC_JBE ||
               instruction.mnemonic == ZYDIS_MNEMONIC_JL || instruction.mnemonic == ZYDIS_MNEMONIC_JLE ||
               instruction.mnemonic == ZYDIS_MNEMONIC_JNB || instruction.mnemonic == ZYDIS_MNEMONIC_JNBE ||
               instruction.mnemonic == ZYDIS_MNEMONIC_JNL || instruction.mnemonic == ZYDIS_MNEMONIC_JNLE ||
               instruction.mnemonic == ZYDIS_MNEMONIC_JNS || instruction.mnemonic == ZYDIS_MNEMONIC_JNZ ||
               instruction.mnemonic == ZYDIS_MNEMONIC_JS || instruction.mnemonic == ZYDIS_MNEMONIC_JZ;
    }
}

/// The CPU lets this through without looking into a task state segment.
bool ports_permitted(const abi::VcpuPage& page, const CpuMode& mode) {
    if (mode.mode == Mode::Real)
        return true;
    return mode.mode != Mode::Virtual8086 && mode.cpl <= (page.rflags & flag::iopl) >> 12;
}

/// IN or OUT at the VGA's ports; false when it is neither.
bool vga_port(abi::VcpuPage& page, const CpuMode& mode, const Instruction& instruction,
              Surroundings& around) {
    const bool out = instruction.mnemonic == ZYDIS_MNEMONIC_OUT;
    if ((!out && instruction.mnemonic != ZYDIS_MNEMONIC_IN) || !ports_permitted(page, mode))
        return false;
    const auto& where = instruction.operand[out ? 0 : 1];
    const std::size_t width = instruction.operand[out ? 1 : 0].bytes;
    if (where.kind == Operand::Kind::Immediate || (width != 1 && width != 2))
        return false;
    const auto port = page.gpr[abi::rdx] & 0xffff;
    if (port < vga_ports || port + width > vga_ports_end)
        return false;
    std::array<std::uint8_t, 2> data{static_cast<std::uint8_t>(page.gpr[abi::rax]),
                                     static_cast<std::uint8_t>(page.gpr[abi::rax] >> 8)};
    if (out) {
        around.port_bus.write(port, std::span<const std::uint8_t>{data}.first(width));
        ++around.device_accesses;
    } else { // a program that waits for the retrace gets no further by it
        around.port_bus.read(port, std::span{data}.first(width));
        set_register(page, abi::rax, static_cast<unsigned>(width), data[0] | unsigned{data[1]} << 8);
    }
    const auto next = page.rip + instruction.length;
    page.rip = mode.long64() ? next : next & (mode.code_bytes == 2 ? 0xffff : 0xffffffff);
    page.rflags &= ~flag::rf;
    page.dirty |= abi::group_general;
    return true;
}

} // namespace

bool Emulator::Impl::step_ahead(abi::VcpuPage& page, const CpuMode& mode) {
    GuestAccess access{around, page, mode, nullptr};
    InstructionFetch code{access, page, mode, {}};
    try {
        const auto* instruction = decode(page, mode, code);
        if (instruction == nullptr)
            return false;
        if (vga_port(page, mode, *instruction, around))
            return true;
        if (!plain(*instruction))
            return false;
        Executor{around, page, mode, access, nullptr, *instruction}.run();
        return true;
    } catch (const GuestFault&) {
        return false;
    } catch (const RetryInstruction&) {
        return false;
    } catch (const NotEmulated&) {
        return false;
    }
}

unsigned Emulator::Impl::run_ahead(abi::VcpuPage& page, unsigned most) {
    if (page.event.valid != 0 || page.interrupt_shadow != 0 || (page.rflags & flag::tf) != 0 ||
        (page.dr7 & breakpoints_armed) != 0 || (page.cr4 & control::cr4_pke) != 0)
        return 0;
    const CpuMode mode{page}; // nothing below changes it
    unsigned done = 0, idle = 0;
    while (done < most && idle < idle_limit) {
        const auto before = around.device_accesses, rip = page.rip;
        if (!step_ahead(page, mode))
            break;
        ++done;
        if (page.rip == rip) // a string instruction has done its share
            break;
        idle = around.device_accesses == before ? idle + 1 : 0;
    }
    return done;
}

} // namespace escalus
