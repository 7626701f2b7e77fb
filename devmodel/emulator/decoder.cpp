// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/emulator/decoder.hpp"

#include <algorithm>

namespace escalus::emulation {

namespace {
std::uint8_t segment_index(ZydisRegister segment) {
    switch (segment) {
    case ZYDIS_REGISTER_ES:
        return abi::seg_es;
    case ZYDIS_REGISTER_CS:
        return abi::seg_cs;
    case ZYDIS_REGISTER_SS:
        return abi::seg_ss;
    case ZYDIS_REGISTER_FS:
        return abi::seg_fs;
    case ZYDIS_REGISTER_GS:
        return abi::seg_gs;
    default:
        return abi::seg_ds;
    }
}

std::uint8_t general_index(ZydisRegister reg) {
    if (reg == ZYDIS_REGISTER_NONE)
        return Operand::no_register;
    if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
        return Operand::rip;
    // "Long mode" only names the family of registers asked for: the numbers are the same in every mode.
    const auto full = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    if (full < ZYDIS_REGISTER_RAX || full > ZYDIS_REGISTER_R15)
        return Operand::no_register;
    return static_cast<std::uint8_t>(full - ZYDIS_REGISTER_RAX);
}

Operand register_operand(ZydisRegister reg) {
    Operand result;
    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
        if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
            result.kind = Operand::Kind::HighByte;
            result.index = static_cast<std::uint8_t>(reg - ZYDIS_REGISTER_AH);
            return result;
        }
        [[fallthrough]];
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        result.kind = Operand::Kind::Register;
        result.index = general_index(reg);
        return result;
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
        result.kind = Operand::Kind::Vector;
        result.index = static_cast<std::uint8_t>(ZydisRegisterGetId(reg));
        return result;
    case ZYDIS_REGCLASS_SEGMENT:
        result.kind = Operand::Kind::Segment;
        result.index = segment_index(reg);
        return result;
    default:
        result.kind = Operand::Kind::Other;
        return result;
    }
}

Operand compact(const ZydisDecodedOperand& from) {
    Operand result;
    switch (from.type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
        result = register_operand(from.reg.value);
        break;
    case ZYDIS_OPERAND_TYPE_MEMORY:
        result.kind = from.mem.type == ZYDIS_MEMOP_TYPE_MEM ? Operand::Kind::Memory : Operand::Kind::Other;
        result.segment = segment_index(from.mem.segment);
        result.base = general_index(from.mem.base);
        result.index = general_index(from.mem.index);
        result.scale = from.mem.scale;
        result.value = from.mem.disp.has_displacement ? from.mem.disp.value : 0;
        break;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        result.kind = Operand::Kind::Immediate;
        result.value = from.imm.value.s;
        break;
    default:
        result.kind = Operand::Kind::Other;
        break;
    }
    result.bytes = static_cast<std::uint8_t>(std::min(from.size / 8, 255));
    return result;
}

Instruction compact(const ZydisDecodedInstruction& from, const ZydisDecodedOperand* operands) {
    Instruction result;
    result.mnemonic = from.mnemonic;
    result.length = from.length;
    result.operand_bytes = static_cast<std::uint8_t>(from.operand_width / 8);
    result.address_bytes = static_cast<std::uint8_t>(from.address_width / 8);
    result.lock = (from.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
    result.vex = from.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    result.legacy_or_vex = result.vex || from.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    result.visible_operands = from.operand_count_visible;
    result.far_branch = from.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
    result.string =
        from.meta.category == ZYDIS_CATEGORY_STRINGOP || from.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
    if (result.string) {
        // The attributes are blind to F2 on MOVS, STOS, LODS, INS and OUTS, where CPUs take it as REP.
        for (unsigned i = 0; i < from.raw.prefix_count; ++i) {
            const auto prefix = from.raw.prefixes[i].value;
            if (prefix == 0xf2 || prefix == 0xf3) {
                result.repeat = prefix == 0xf3;
                result.repeat_while_not_equal = prefix == 0xf2;
            }
        }
    }
    for (unsigned i = 0; i < from.operand_count; ++i) {
        if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY && operands[i].mem.type == ZYDIS_MEMOP_TYPE_MEM)
            ++result.memory_operands;
        if (i < result.operand.size())
            result.operand[i] = compact(operands[i]);
    }
    return result;
}

void make_decoder(ZydisDecoder& decoder, ZydisMachineMode mode, ZydisStackWidth width) {
    ZydisDecoderInit(&decoder, mode, width);
}
} // namespace

CodeKind code_kind(const CpuMode& mode) {
    if (mode.long64())
        return CodeKind::Long64;
    if (mode.code_bytes == 4)
        return CodeKind::Protected32;
    return mode.real_like() ? CodeKind::Real16 : CodeKind::Protected16;
}

Decoder::Decoder() : cache_{std::make_unique<std::array<Entry, entries>>()} {
    make_decoder(decoders_[0], ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16);
    make_decoder(decoders_[1], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    make_decoder(decoders_[2], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    make_decoder(decoders_[3], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

Decoder::Outcome Decoder::decode(CodeKind kind, std::uint64_t rip, std::span<const std::uint8_t> bytes,
                                 const Instruction*& instruction) {
    auto& entry = (*cache_)[(rip ^ rip >> 8 ^ rip >> 16) % entries];
    if (const std::size_t length = entry.instruction.length;
        length != 0 && entry.kind == kind && length <= bytes.size() &&
        std::ranges::equal(bytes.first(length), std::span{entry.bytes}.first(length))) {
        instruction = &entry.instruction;
        return Outcome::Ok;
    }
    ZydisDecodedInstruction decoded;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    const auto status = ZydisDecoderDecodeFull(&decoders_[static_cast<std::size_t>(kind)], bytes.data(),
                                               bytes.size(), &decoded, operands);
    if (status == ZYDIS_STATUS_NO_MORE_DATA)
        return bytes.size() < instruction_bytes_max ? Outcome::NeedMore : Outcome::TooLong;
    if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
        return Outcome::TooLong;
    if (!ZYAN_SUCCESS(status))
        return Outcome::Invalid;
    entry.kind = kind;
    std::ranges::copy(bytes.first(decoded.length), entry.bytes.begin());
    entry.instruction = compact(decoded, operands);
    instruction = &entry.instruction;
    return Outcome::Ok;
}

std::string Decoder::text(CodeKind kind, std::uint64_t rip, std::span<const std::uint8_t> bytes) const {
    ZydisDecodedInstruction decoded;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders_[static_cast<std::size_t>(kind)], bytes.data(),
                                             bytes.size(), &decoded, operands)))
        return "(not an instruction)";
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    char line[160] = {};
    ZydisFormatterFormatInstruction(&formatter, &decoded, operands, decoded.operand_count_visible, line,
                                    sizeof line, rip, nullptr);
    return line;
}

} // namespace escalus::emulation
