// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/emulator/emulator.hpp"

#include "devmodel/emulator/emulator_impl.hpp"
#include "devmodel/emulator/executor.hpp"
#include "devmodel/emulator/task_switch.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace escalus {

using namespace emulation;

namespace {
using Outcome = EmulationResult::Outcome;

void inject(abi::VcpuPage& page, const GuestFault& fault) {
    // Real mode pushes no error codes.
    const bool with_code = fault.error_code && (page.cr0 & control::cr0_pe) != 0;
    page.event = {.valid = 1,
                  .type = abi::EventType::Exception,
                  .vector = fault.vector,
                  .has_error_code = with_code ? std::uint8_t{1} : std::uint8_t{0},
                  .error_code = with_code ? *fault.error_code : 0};
    page.rflags |= flag::rf; // in the image that a fault saves
    page.interrupt_shadow = 0;
    page.dirty |= abi::group_general;
    if (fault.cr2) {
        page.cr2 = *fault.cr2;
        page.dirty |= abi::group_control;
    }
}

std::string hexadecimal(std::span<const std::uint8_t> bytes) {
    return fmt::format("{:02x}", fmt::join(bytes, " "));
}
} // namespace

const Instruction* Emulator::Impl::decode(const abi::VcpuPage& page, const CpuMode& mode,
                                          InstructionFetch& code) {
    if (code.bytes().empty())
        code.more();
    for (;;) {
        const Instruction* instruction = nullptr;
        switch (decoder.decode(code_kind(mode), page.rip, code.bytes(), instruction)) {
        case Decoder::Outcome::Ok:
            return instruction;
        case Decoder::Outcome::NeedMore:
            code.more();
            break;
        case Decoder::Outcome::TooLong:
            raise_gp();
        case Decoder::Outcome::Invalid:
            // The CPU took the bytes for an instruction that accesses memory; ours is the ignorance, unless
            // they come from the device memory itself.
            if (page.exit.memory.fetch != 0)
                raise_ud();
            return nullptr;
        }
    }
}

EmulationResult Emulator::Impl::execute(abi::VcpuPage& page, VectorRegisters* vectors) {
    const CpuMode mode{page};
    const bool memory_exit = page.exit_reason == static_cast<std::uint32_t>(abi::ExitReason::Memory);
    const abi::MemoryExit exit = memory_exit ? page.exit.memory : abi::MemoryExit{};
    GuestAccess access{around, page, mode, vectors};
    InstructionFetch code{access, page, mode,
                          std::span{exit.bytes}.first(std::min<std::size_t>(exit.bytes_valid, 15))};
    const Instruction* instruction = nullptr;
    try {
        instruction = decode(page, mode, code);
        if (instruction == nullptr)
            throw NotEmulated{};
        if (memory_exit && exit.page_walk == 0 && exit.fetch == 0 && instruction->memory_operands == 1)
            access.trust_exit(GuestPhys{exit.gpa}, exit.write != 0);
        if (memory_exit)
            quick.learn(page, mode, *instruction);
        Executor{around, page, mode, access, vectors, *instruction}.run();
        return {};
    } catch (const GuestFault& fault) {
        inject(page, fault);
        return {Outcome::Fault, {}};
    } catch (const RetryInstruction&) {
        return {Outcome::Retry, {}};
    } catch (const NotEmulated&) {
        return refuse(page, mode, code.bytes(), instruction);
    }
}

/// What cannot be executed may have changed since the exit: another CPU rewrote the instruction (what stands
/// there now cannot have caused the exit), or the memory map. The CPU then tries again, but not for ever.
EmulationResult Emulator::Impl::refuse(const abi::VcpuPage& page, const CpuMode& mode,
                                       std::span<const std::uint8_t> bytes, const Instruction* instruction) {
    const auto& exit = page.exit.memory;
    if (page.exit_reason == static_cast<std::uint32_t>(abi::ExitReason::Memory) && exit.fetch == 0) {
        const bool other_code =
            exit.bytes_valid == 0 && (instruction == nullptr || instruction->memory_operands == 0);
        const bool now_mapped =
            !around.memory.at(GuestPhys{exit.gpa}, 1, exit.write != 0 ? Access::Write : Access::Read).empty();
        if (other_code || now_mapped) {
            retries = page.rip == retried_rip ? retries + 1 : 1;
            retried_rip = page.rip;
            if (retries <= 8)
                return {Outcome::Retry, {}};
        }
    }
    return {Outcome::Unsupported,
            fmt::format("an instruction that cannot be emulated, at guest-physical {:#x} ({})\n{}", exit.gpa,
                        exit.write != 0 ? "write" : "read", describe(page, mode, bytes))};
}

std::string Emulator::Impl::describe(const abi::VcpuPage& page, const CpuMode& mode,
                                     std::span<const std::uint8_t> bytes) const {
    static constexpr const char* gpr_names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static constexpr const char* segment_names[] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    static constexpr const char* mode_names[] = {"real", "virtual 8086", "protected", "64-bit"};
    std::string text;
    auto out = std::back_inserter(text);
    fmt::format_to(out, "mode {} cpl {} code {} bit\n", mode_names[static_cast<unsigned>(mode.mode)],
                   unsigned{mode.cpl}, 8 * mode.code_bytes);
    fmt::format_to(out, "bytes {}\n", hexadecimal(bytes));
    fmt::format_to(out, "instruction {}\n", decoder.text(code_kind(mode), page.rip, bytes));
    fmt::format_to(out, "rip {:016x} rflags {:016x}\n", page.rip, page.rflags);
    for (unsigned i = 0; i < 16; ++i)
        fmt::format_to(out, "{:>3} {:016x}{}", gpr_names[i], page.gpr[i], i % 4 == 3 ? "\n" : " ");
    for (unsigned i = 0; i < abi::seg_count; ++i) {
        const auto& s = page.segment[i];
        fmt::format_to(out, "{:>4} {:04x} base {:016x} limit {:08x} attributes {:04x}\n", segment_names[i],
                       s.selector, s.base, s.limit, s.attributes);
    }
    fmt::format_to(out, "cr0 {:016x} cr2 {:016x} cr3 {:016x} cr4 {:016x} efer {:016x}\n", page.cr0, page.cr2,
                   page.cr3, page.cr4, page.efer);
    return text;
}

Emulator::Emulator(GuestMemory& memory, Bus& memory_bus, Bus& port_bus, const EmulatorOptions& options)
    : impl_{std::make_unique<Impl>(memory, memory_bus, port_bus, options)} {}

Emulator::~Emulator() = default;

[[gnu::hot]] bool Emulator::emulate_quickly(abi::VcpuPage& page) {
    return page.event.valid == 0 && impl_->quick.run(page);
}

EmulationResult Emulator::emulate(abi::VcpuPage& page, VectorRegisters* vectors) {
    if (page.exit_reason == static_cast<std::uint32_t>(abi::ExitReason::Memory) && page.event.valid != 0)
        return {Outcome::Unsupported,
                fmt::format("the delivery of vector {} touched device memory at guest-physical {:#x}\n{}",
                            page.event.vector, page.exit.memory.gpa, describe(page))};
    return impl_->execute(page, vectors);
}

EmulationResult Emulator::string_io(abi::VcpuPage& page) {
    const auto exit = page.exit.io;
    const std::uint64_t length = page.next_rip - page.rip;
    const bool address_known = exit.address_width == 2 || exit.address_width == 4 || exit.address_width == 8;
    const bool width_known = exit.width == 1 || exit.width == 2 || exit.width == 4;
    const bool segment_known = exit.in != 0 || exit.segment <= abi::seg_gs;
    if (!address_known || !width_known || !segment_known || length == 0 || length > instruction_bytes_max)
        return impl_->execute(page, nullptr);

    Instruction instruction;
    instruction.length = static_cast<std::uint8_t>(length);
    instruction.address_bytes = exit.address_width;
    instruction.repeat = exit.repeat != 0;
    instruction.string = true;
    const CpuMode mode{page};
    GuestAccess access{impl_->around, page, mode, nullptr};
    try {
        Executor{impl_->around, page, mode, access, nullptr, instruction}.run_string_io(
            exit.in != 0, exit.width, exit.segment);
        return {};
    } catch (const GuestFault& fault) {
        inject(page, fault);
        return {Outcome::Fault, {}};
    } catch (const RetryInstruction&) {
        return {Outcome::Retry, {}};
    }
}

EmulationResult Emulator::task_switch(abi::VcpuPage& page) {
    const abi::Event cause = page.event;
    try {
        TaskSwitch{impl_->around, page}.run();
        return {};
    } catch (const GuestFault& fault) {
        const auto delivered = combine_faults(cause, fault);
        if (!delivered)
            return {Outcome::TripleFault, {}};
        inject(page, *delivered);
        return {Outcome::Fault, {}};
    }
}

unsigned Emulator::run_ahead(abi::VcpuPage& page, unsigned most) {
    return impl_->run_ahead(page, most);
}

std::optional<GuestPhys> Emulator::linear_to_physical(const abi::VcpuPage& page, GuestLinear linear) const {
    if ((page.efer & control::efer_lma) != 0 && !is_canonical(raw(linear), page.cr4))
        return std::nullopt;
    const PageWalker walker{impl_->around.memory, impl_->options};
    const auto found = walker.walk(page, raw(linear), {.probe = true}, 0);
    return found.ok ? std::optional{found.gpa} : std::nullopt;
}

std::string Emulator::describe(const abi::VcpuPage& page) const {
    const CpuMode mode{page};
    std::uint64_t linear = page.rip;
    if (!mode.long64())
        linear = (linear + page.segment[abi::seg_cs].base) & 0xffffffff;
    std::array<std::uint8_t, instruction_bytes_max> bytes{};
    std::size_t count = 0;
    for (; count < bytes.size(); ++count) { // only RAM: reading a device may change it
        const auto gpa = linear_to_physical(page, GuestLinear{linear + count});
        const auto ram = gpa ? impl_->around.memory.at(*gpa, 1, Access::Read) : std::span<std::uint8_t>{};
        if (ram.empty())
            break;
        bytes[count] = ram[0];
    }
    return impl_->describe(page, mode, std::span{bytes}.first(count));
}

} // namespace escalus
