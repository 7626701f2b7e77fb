// SPDX-License-Identifier: GPL-2.0-or-later
// Dispatch by mnemonic, operand access, and what every instruction ends with.
#include "devmodel/emulator/executor.hpp"

namespace escalus::emulation {

void Executor::run() {
    if (!in_.legacy_or_vex)
        throw NotEmulated{};
    dispatch();
}

void Executor::run_string_io(bool in, unsigned width, unsigned segment) {
    outs_segment_ = segment;
    string_loop(in ? String::Ins : String::Outs, width);
}

/// RIP, RF, the interrupt shadow and the single-step trap, after an instruction or an iteration of one.
void Executor::finish(bool complete) {
    const bool single_step = (page_.rflags & flag::tf) != 0 && !shadow_;
    page_.dirty |= abi::group_general;
    page_.interrupt_shadow = shadow_ ? 1 : 0;
    if (complete) {
        page_.rip = next_rip_;
        page_.rflags &= ~flag::rf;
    } else {
        page_.rflags |= flag::rf; // as in the image that an interrupt between iterations saves
    }
    if (single_step) {
        page_.dr6 |= 1u << 14; // BS
        page_.dirty |= abi::group_other;
        page_.event = {.valid = 1,
                       .type = abi::EventType::Exception,
                       .vector = vector::db,
                       .has_error_code = 0,
                       .error_code = 0};
    }
}

std::uint64_t Executor::address(const Operand& operand, std::uint64_t popped) const {
    auto sum = static_cast<std::uint64_t>(operand.value);
    if (operand.base == Operand::rip)
        sum += page_.rip + in_.length;
    else if (operand.base != Operand::no_register)
        sum += page_.gpr[operand.base] + (operand.base == abi::rsp ? popped : 0);
    if (operand.index != Operand::no_register)
        sum += page_.gpr[operand.index] * (operand.scale != 0 ? operand.scale : 1);
    return sum & mask_of(in_.address_bytes);
}

std::uint64_t Executor::get(const Operand& operand) {
    switch (operand.kind) {
    case Operand::Kind::Register:
        return page_.gpr[operand.index] & mask_of(operand.bytes);
    case Operand::Kind::HighByte:
        return page_.gpr[operand.index] >> 8 & 0xff;
    case Operand::Kind::Immediate:
        return static_cast<std::uint64_t>(operand.value);
    case Operand::Kind::Segment:
        return page_.segment[operand.index].selector;
    case Operand::Kind::Memory:
        if (operand.bytes > 8)
            throw NotEmulated{};
        return access_.load(resolve(operand, Use::Read));
    default:
        throw NotEmulated{};
    }
}

Executor::Target Executor::target(const Operand& operand, bool load, std::uint64_t popped) {
    Target result{.operand = operand};
    if (operand.kind == Operand::Kind::Memory) {
        if (operand.bytes > 8)
            throw NotEmulated{};
        result.place = resolve(operand, Use::Write, popped);
        if (load)
            result.old = access_.load(result.place);
    } else if (operand.kind == Operand::Kind::Register || operand.kind == Operand::Kind::HighByte) {
        result.old = get(operand);
    } else {
        throw NotEmulated{};
    }
    return result;
}

void Executor::put(const Target& target, std::uint64_t value) {
    switch (target.operand.kind) {
    case Operand::Kind::Register:
        set_register(page_, target.operand.index, target.operand.bytes, value);
        break;
    case Operand::Kind::HighByte: {
        auto& gpr = page_.gpr[target.operand.index];
        gpr = (gpr & ~0xff00ull) | (value & 0xff) << 8;
        break;
    }
    default:
        if (in_.lock)
            access_.store_locked(target.place, target.old, value);
        else
            access_.store(target.place, value);
        break;
    }
}

void Executor::put_locked(const Target& target, std::uint64_t value) {
    if (target.operand.kind == Operand::Kind::Memory)
        access_.store_locked(target.place, target.old, value);
    else
        put(target, value);
}

void Executor::dispatch() {
    using alu::Shift;
    switch (in_.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVNTI:
        move();
        break;
    case ZYDIS_MNEMONIC_MOVZX:
        move_extended(false);
        break;
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
        move_extended(true);
        break;
    case ZYDIS_MNEMONIC_MOVBE:
        move_swapped();
        break;
    case ZYDIS_MNEMONIC_XCHG:
        exchange();
        break;
    case ZYDIS_MNEMONIC_XADD:
        exchange_add();
        break;
    case ZYDIS_MNEMONIC_CMPXCHG:
        compare_exchange();
        break;
    case ZYDIS_MNEMONIC_CMPXCHG8B:
        compare_exchange_pair(4);
        break;
    case ZYDIS_MNEMONIC_CMPXCHG16B:
        compare_exchange_pair(8);
        break;
    case ZYDIS_MNEMONIC_XLAT:
        translate_byte();
        break;

    case ZYDIS_MNEMONIC_ADD:
        alu_operation(Alu::Add);
        break;
    case ZYDIS_MNEMONIC_OR:
        alu_operation(Alu::Or);
        break;
    case ZYDIS_MNEMONIC_ADC:
        alu_operation(Alu::Adc);
        break;
    case ZYDIS_MNEMONIC_SBB:
        alu_operation(Alu::Sbb);
        break;
    case ZYDIS_MNEMONIC_AND:
        alu_operation(Alu::And);
        break;
    case ZYDIS_MNEMONIC_SUB:
        alu_operation(Alu::Sub);
        break;
    case ZYDIS_MNEMONIC_XOR:
        alu_operation(Alu::Xor);
        break;
    case ZYDIS_MNEMONIC_CMP:
        alu_operation(Alu::Cmp);
        break;
    case ZYDIS_MNEMONIC_TEST:
        alu_operation(Alu::Test);
        break;
    case ZYDIS_MNEMONIC_INC:
        unary(Unary::Inc);
        break;
    case ZYDIS_MNEMONIC_DEC:
        unary(Unary::Dec);
        break;
    case ZYDIS_MNEMONIC_NEG:
        unary(Unary::Neg);
        break;
    case ZYDIS_MNEMONIC_NOT:
        unary(Unary::Not);
        break;
    case ZYDIS_MNEMONIC_SHL:
        shift(Shift::Shl);
        break;
    case ZYDIS_MNEMONIC_SHR:
        shift(Shift::Shr);
        break;
    case ZYDIS_MNEMONIC_SAR:
        shift(Shift::Sar);
        break;
    case ZYDIS_MNEMONIC_ROL:
        shift(Shift::Rol);
        break;
    case ZYDIS_MNEMONIC_ROR:
        shift(Shift::Ror);
        break;
    case ZYDIS_MNEMONIC_RCL:
        shift(Shift::Rcl);
        break;
    case ZYDIS_MNEMONIC_RCR:
        shift(Shift::Rcr);
        break;
    case ZYDIS_MNEMONIC_SHLD:
        double_shift(true);
        break;
    case ZYDIS_MNEMONIC_SHRD:
        double_shift(false);
        break;
    case ZYDIS_MNEMONIC_MUL:
        multiply(false);
        break;
    case ZYDIS_MNEMONIC_IMUL:
        multiply(true);
        break;
    case ZYDIS_MNEMONIC_DIV:
        divide(false);
        break;
    case ZYDIS_MNEMONIC_IDIV:
        divide(true);
        break;
    case ZYDIS_MNEMONIC_BT:
        bit_operation(Bit::Test);
        break;
    case ZYDIS_MNEMONIC_BTS:
        bit_operation(Bit::Set);
        break;
    case ZYDIS_MNEMONIC_BTR:
        bit_operation(Bit::Reset);
        break;
    case ZYDIS_MNEMONIC_BTC:
        bit_operation(Bit::Complement);
        break;
    case ZYDIS_MNEMONIC_BSF:
        bit_scan(false);
        break;
    case ZYDIS_MNEMONIC_BSR:
        bit_scan(true);
        break;
    case ZYDIS_MNEMONIC_POPCNT:
        bit_count(Count::Population);
        break;
    case ZYDIS_MNEMONIC_LZCNT:
        bit_count(Count::Leading);
        break;
    case ZYDIS_MNEMONIC_TZCNT:
        bit_count(Count::Trailing);
        break;

    case ZYDIS_MNEMONIC_MOVSB:
        return string(String::Movs, 1);
    case ZYDIS_MNEMONIC_MOVSW:
        return string(String::Movs, 2);
    case ZYDIS_MNEMONIC_MOVSD: // also the SSE2 move
        if (in_.string)
            return string(String::Movs, 4);
        vector_move(false);
        break;
    case ZYDIS_MNEMONIC_MOVSQ:
        return string(String::Movs, 8);
    case ZYDIS_MNEMONIC_STOSB:
        return string(String::Stos, 1);
    case ZYDIS_MNEMONIC_STOSW:
        return string(String::Stos, 2);
    case ZYDIS_MNEMONIC_STOSD:
        return string(String::Stos, 4);
    case ZYDIS_MNEMONIC_STOSQ:
        return string(String::Stos, 8);
    case ZYDIS_MNEMONIC_LODSB:
        return string(String::Lods, 1);
    case ZYDIS_MNEMONIC_LODSW:
        return string(String::Lods, 2);
    case ZYDIS_MNEMONIC_LODSD:
        return string(String::Lods, 4);
    case ZYDIS_MNEMONIC_LODSQ:
        return string(String::Lods, 8);
    case ZYDIS_MNEMONIC_CMPSB:
        return string(String::Cmps, 1);
    case ZYDIS_MNEMONIC_CMPSW:
        return string(String::Cmps, 2);
    case ZYDIS_MNEMONIC_CMPSD: // also an SSE2 comparison
        if (!in_.string)
            throw NotEmulated{};
        return string(String::Cmps, 4);
    case ZYDIS_MNEMONIC_CMPSQ:
        return string(String::Cmps, 8);
    case ZYDIS_MNEMONIC_SCASB:
        return string(String::Scas, 1);
    case ZYDIS_MNEMONIC_SCASW:
        return string(String::Scas, 2);
    case ZYDIS_MNEMONIC_SCASD:
        return string(String::Scas, 4);
    case ZYDIS_MNEMONIC_SCASQ:
        return string(String::Scas, 8);
    case ZYDIS_MNEMONIC_INSB:
        return string(String::Ins, 1);
    case ZYDIS_MNEMONIC_INSW:
        return string(String::Ins, 2);
    case ZYDIS_MNEMONIC_INSD:
        return string(String::Ins, 4);
    case ZYDIS_MNEMONIC_OUTSB:
        return string(String::Outs, 1);
    case ZYDIS_MNEMONIC_OUTSW:
        return string(String::Outs, 2);
    case ZYDIS_MNEMONIC_OUTSD:
        return string(String::Outs, 4);

    case ZYDIS_MNEMONIC_PUSH:
        push();
        break;
    case ZYDIS_MNEMONIC_POP:
        pop();
        break;
    case ZYDIS_MNEMONIC_PUSHA:
    case ZYDIS_MNEMONIC_PUSHAD:
        push_all();
        break;
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD:
        pop_all();
        break;
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
        push_flags();
        break;
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
        return pop_flags();
    case ZYDIS_MNEMONIC_ENTER:
        enter();
        break;
    case ZYDIS_MNEMONIC_LEAVE:
        leave();
        break;
    case ZYDIS_MNEMONIC_CALL:
        call();
        break;
    case ZYDIS_MNEMONIC_RET:
        near_return();
        break;
    case ZYDIS_MNEMONIC_JMP:
        branch(relative_or_indirect());
        break;

    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLFLUSHOPT:
    case ZYDIS_MNEMONIC_CLWB:
    case ZYDIS_MNEMONIC_CLDEMOTE:
        cache_line();
        break;
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
        break;

    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVNTDQ:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_MOVNTDQA:
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVNTDQ:
    case ZYDIS_MNEMONIC_VMOVNTPS:
    case ZYDIS_MNEMONIC_VMOVNTPD:
    case ZYDIS_MNEMONIC_VMOVNTDQA:
        vector_move(true);
        break;
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ:
    case ZYDIS_MNEMONIC_MOVSS:
    case ZYDIS_MNEMONIC_VMOVUPS:
    case ZYDIS_MNEMONIC_VMOVUPD:
    case ZYDIS_MNEMONIC_VMOVDQU:
    case ZYDIS_MNEMONIC_VLDDQU:
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VMOVQ:
    case ZYDIS_MNEMONIC_VMOVSS:
    case ZYDIS_MNEMONIC_VMOVSD:
        vector_move(false);
        break;
    case ZYDIS_MNEMONIC_MOVLPS:
    case ZYDIS_MNEMONIC_MOVLPD:
        vector_half(false);
        break;
    case ZYDIS_MNEMONIC_MOVHPS:
    case ZYDIS_MNEMONIC_MOVHPD:
        vector_half(true);
        break;

    case ZYDIS_MNEMONIC_LES:
        load_far_pointer(abi::seg_es);
        break;
    case ZYDIS_MNEMONIC_LDS:
        load_far_pointer(abi::seg_ds);
        break;
    case ZYDIS_MNEMONIC_LSS:
        load_far_pointer(abi::seg_ss);
        break;
    case ZYDIS_MNEMONIC_LFS:
        load_far_pointer(abi::seg_fs);
        break;
    case ZYDIS_MNEMONIC_LGS:
        load_far_pointer(abi::seg_gs);
        break;
    case ZYDIS_MNEMONIC_SGDT:
        store_table(page_.gdtr);
        break;
    case ZYDIS_MNEMONIC_SIDT:
        store_table(page_.idtr);
        break;
    case ZYDIS_MNEMONIC_LGDT:
        load_table(page_.gdtr);
        break;
    case ZYDIS_MNEMONIC_LIDT:
        load_table(page_.idtr);
        break;
    case ZYDIS_MNEMONIC_SMSW:
        store_machine_status();
        break;
    case ZYDIS_MNEMONIC_LMSW:
        load_machine_status();
        break;

    default:
        if (!dispatch_conditional())
            throw NotEmulated{};
        break;
    }
    finish(true);
}

/// SETcc, CMOVcc, Jcc: by condition code.
bool Executor::dispatch_conditional() {
    static constexpr ZydisMnemonic set[] = {
        ZYDIS_MNEMONIC_SETO, ZYDIS_MNEMONIC_SETNO, ZYDIS_MNEMONIC_SETB,  ZYDIS_MNEMONIC_SETNB,
        ZYDIS_MNEMONIC_SETZ, ZYDIS_MNEMONIC_SETNZ, ZYDIS_MNEMONIC_SETBE, ZYDIS_MNEMONIC_SETNBE,
        ZYDIS_MNEMONIC_SETS, ZYDIS_MNEMONIC_SETNS, ZYDIS_MNEMONIC_SETP,  ZYDIS_MNEMONIC_SETNP,
        ZYDIS_MNEMONIC_SETL, ZYDIS_MNEMONIC_SETNL, ZYDIS_MNEMONIC_SETLE, ZYDIS_MNEMONIC_SETNLE};
    static constexpr ZydisMnemonic move[] = {
        ZYDIS_MNEMONIC_CMOVO, ZYDIS_MNEMONIC_CMOVNO, ZYDIS_MNEMONIC_CMOVB,  ZYDIS_MNEMONIC_CMOVNB,
        ZYDIS_MNEMONIC_CMOVZ, ZYDIS_MNEMONIC_CMOVNZ, ZYDIS_MNEMONIC_CMOVBE, ZYDIS_MNEMONIC_CMOVNBE,
        ZYDIS_MNEMONIC_CMOVS, ZYDIS_MNEMONIC_CMOVNS, ZYDIS_MNEMONIC_CMOVP,  ZYDIS_MNEMONIC_CMOVNP,
        ZYDIS_MNEMONIC_CMOVL, ZYDIS_MNEMONIC_CMOVNL, ZYDIS_MNEMONIC_CMOVLE, ZYDIS_MNEMONIC_CMOVNLE};
    static constexpr ZydisMnemonic jump[] = {
        ZYDIS_MNEMONIC_JO, ZYDIS_MNEMONIC_JNO, ZYDIS_MNEMONIC_JB,  ZYDIS_MNEMONIC_JNB,
        ZYDIS_MNEMONIC_JZ, ZYDIS_MNEMONIC_JNZ, ZYDIS_MNEMONIC_JBE, ZYDIS_MNEMONIC_JNBE,
        ZYDIS_MNEMONIC_JS, ZYDIS_MNEMONIC_JNS, ZYDIS_MNEMONIC_JP,  ZYDIS_MNEMONIC_JNP,
        ZYDIS_MNEMONIC_JL, ZYDIS_MNEMONIC_JNL, ZYDIS_MNEMONIC_JLE, ZYDIS_MNEMONIC_JNLE};
    for (unsigned code = 0; code < 16; ++code) {
        const bool holds = alu::condition(code, page_.rflags);
        if (in_.mnemonic == set[code]) {
            put(target(in_.operand[0], false), holds ? 1 : 0);
            return true;
        }
        if (in_.mnemonic == move[code]) {
            const std::uint64_t value = get(in_.operand[1]);
            const Target to = target(in_.operand[0], false);
            put(to, holds ? value : to.old); // a 32-bit one clears the upper half either way
            return true;
        }
        if (in_.mnemonic == jump[code]) {
            if (holds)
                branch(relative_or_indirect());
            return true;
        }
    }
    return false;
}

} // namespace escalus::emulation
