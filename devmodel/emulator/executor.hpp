// SPDX-License-Identifier: GPL-2.0-or-later
// Executes one decoded instruction on the vCPU's state.
//
// Each instruction first resolves all its operands, which raises its faults, and only then changes registers,
// memory or devices: a GuestFault leaves nothing half done. String instructions are done by iterations, as on
// hardware: those before the fault stay done. The families are in execute_*.cpp.
#pragma once

#include "devmodel/emulator/alu.hpp"
#include "devmodel/emulator/cpu_state.hpp"
#include "devmodel/emulator/decoder.hpp"
#include "devmodel/emulator/guest_access.hpp"

#include <cstdint>

namespace escalus::emulation {

class Executor {
  public:
    Executor(const Surroundings& around, abi::VcpuPage& page, const CpuMode& mode, GuestAccess& access,
             VectorRegisters* vectors, const Instruction& instruction)
        : around_{around},
          page_{page},
          mode_{mode},
          access_{access},
          vectors_{vectors},
          in_{instruction},
          next_rip_{advanced(page.rip + instruction.length)} {}

    /// Executes the instruction and moves RIP (unless repetitions remain). Throws GuestFault,
    /// RetryInstruction or NotEmulated.
    void run();
    /// INS and OUTS alone, without looking at the mnemonic's operands (`segment` is that of OUTS's source).
    void run_string_io(bool in, unsigned width, unsigned segment);

  private:
    /// An operand to be written: resolved, and its old value where that is needed.
    struct Target {
        const Operand& operand;
        Place place{};
        std::uint64_t old = 0;
    };
    /// One of the addresses that string instructions step through.
    struct Pointer {
        unsigned reg;
        unsigned segment;
        Use use;
    };

    // execute.cpp: dispatch and operands
    void dispatch();
    bool dispatch_conditional();
    void finish(bool complete);
    [[nodiscard]] std::uint64_t advanced(std::uint64_t rip) const {
        return mode_.long64() ? rip : rip & 0xffffffff;
    }
    [[nodiscard]] std::uint64_t address(const Operand& operand, std::uint64_t popped = 0) const;
    [[nodiscard]] Place resolve(const Operand& operand, Use use, std::uint64_t popped = 0) {
        return access_.resolve(operand.segment, address(operand, popped), operand.bytes, use);
    }
    [[nodiscard]] std::uint64_t get(const Operand& operand);
    [[nodiscard]] Target target(const Operand& operand, bool load, std::uint64_t popped = 0);
    void put(const Target& target, std::uint64_t value);
    void put_locked(const Target& target, std::uint64_t value);
    [[nodiscard]] std::uint64_t accumulator(unsigned bytes) const {
        return page_.gpr[abi::rax] & mask_of(bytes);
    }

    // execute_integer.cpp
    enum class Alu { Add, Or, Adc, Sbb, And, Sub, Xor, Cmp, Test };
    enum class Unary { Inc, Dec, Neg, Not };
    enum class Bit { Test, Set, Reset, Complement };
    enum class Count { Population, Leading, Trailing };
    void alu_operation(Alu operation);
    void unary(Unary operation);
    void shift(alu::Shift kind);
    void double_shift(bool left);
    void multiply(bool is_signed);
    void divide(bool is_signed);
    void bit_operation(Bit operation);
    void bit_scan(bool reverse);
    void bit_count(Count what);

    // execute_move.cpp
    void move();
    void move_extended(bool is_signed);
    void move_swapped();
    void exchange();
    void exchange_add();
    void compare_exchange();
    void compare_exchange_pair(unsigned half_bytes);
    void translate_byte();
    void cache_line();
    void vector_move(bool aligned);
    void vector_half(bool high);
    void check_vector_enabled() const;

    // execute_stack.cpp
    [[nodiscard]] std::uint64_t stack_pointer(std::int64_t moved) const {
        return (page_.gpr[abi::rsp] + static_cast<std::uint64_t>(moved)) & mask_of(mode_.stack_bytes);
    }
    void set_stack_pointer(std::uint64_t value) { set_register(page_, abi::rsp, mode_.stack_bytes, value); }
    [[nodiscard]] Place stack_place(std::uint64_t sp, unsigned bytes, Use use) {
        return access_.resolve(abi::seg_ss, sp, bytes, use);
    }
    void push();
    void pop();
    void push_value(std::uint64_t value, unsigned bytes);
    void push_all();
    void pop_all();
    void push_flags();
    void pop_flags();
    void enter();
    void leave();
    void branch(std::uint64_t destination);
    [[nodiscard]] std::uint64_t branch_target(std::uint64_t destination) const;
    [[nodiscard]] std::uint64_t relative_or_indirect();
    void call();
    void near_return();

    // execute_string.cpp
    enum class String { Movs, Stos, Lods, Cmps, Scas, Ins, Outs };
    void string(String what, unsigned width);
    [[nodiscard]] unsigned source_segment() const;
    [[nodiscard]] std::uint64_t run_length(const Pointer& pointer, unsigned width,
                                           std::uint64_t wanted) const;
    [[nodiscard]] Place element(const Pointer& pointer, unsigned width);
    void step(const Pointer& pointer, unsigned width, std::uint64_t elements);
    [[nodiscard]] std::uint64_t iterate(String what, unsigned width, std::uint64_t wanted);
    void compare_element(String what, unsigned width);
    [[nodiscard]] std::uint64_t transfer(bool in, unsigned width, std::uint64_t wanted);
    void string_loop(String what, unsigned width);

    // execute_system.cpp
    void load_segment(unsigned segment, std::uint16_t selector);
    void check_segment_load() const;
    void load_far_pointer(unsigned segment);
    void store_table(const abi::TableRegister& table);
    void load_table(abi::TableRegister& table);
    void store_machine_status();
    void load_machine_status();

    const Surroundings& around_;
    abi::VcpuPage& page_;
    const CpuMode& mode_;
    GuestAccess& access_;
    VectorRegisters* vectors_;
    const Instruction& in_;
    std::uint64_t next_rip_;
    unsigned outs_segment_ = abi::seg_ds;
    bool shadow_ = false; ///< the instruction was MOV SS or POP SS
};

} // namespace escalus::emulation
