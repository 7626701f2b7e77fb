// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/guest/instruction.hpp"

namespace escalus::vmm {

namespace {

constexpr bool is_legacy_prefix(std::uint8_t byte) {
    switch (byte) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:
    case 0x66:
    case 0x67:
    case 0xf0:
    case 0xf2:
    case 0xf3:
        return true;
    default:
        return false;
    }
}

constexpr bool is_rex(std::uint8_t byte) {
    return (byte & 0xf0) == 0x40;
}

} // namespace

[[gnu::hot]] unsigned instruction_length(const std::uint8_t* bytes, unsigned available, bool long_mode,
                                         unsigned opcode_bytes) {
    for (unsigned i = 0; i < available; ++i)
        if (!is_legacy_prefix(bytes[i]) && !(long_mode && is_rex(bytes[i])))
            return i + opcode_bytes;
    return 0;
}

Store decode_store(const std::uint8_t* bytes, unsigned available, const std::uint64_t (&gpr)[16]) {
    unsigned at = 0;
    std::uint8_t rex = 0;
    // Only prefixes that leave a 32-bit store a 32-bit store: segments, address size (the address is known
    // already).
    while (at < available && is_legacy_prefix(bytes[at]) && bytes[at] != 0x66 && bytes[at] < 0xf0)
        ++at;
    if (at < available && is_rex(bytes[at]))
        rex = bytes[at++];
    if (at + 2 > available || (rex & 8) != 0)
        return {};
    const std::uint8_t opcode = bytes[at++];
    if (opcode != 0x89 && opcode != 0xc7 && opcode != 0x87)
        return {};
    const std::uint8_t modrm = bytes[at++];
    const unsigned mode = modrm >> 6, rm = modrm & 7;
    if (mode == 3 || (opcode == 0xc7 && (modrm & 0x38) != 0))
        return {};
    unsigned displacement = mode == 1 ? 1 : mode == 2 ? 4 : 0;
    if (rm == 4) {
        if (at >= available)
            return {};
        if (mode == 0 && (bytes[at] & 7) == 5)
            displacement = 4;
        ++at;
    } else if (mode == 0 && rm == 5) {
        displacement = 4;
    }
    at += displacement;
    if (opcode != 0xc7) {
        if (at > available)
            return {};
        const unsigned reg = (modrm >> 3 & 7u) | ((rex & 4u) << 1);
        return {at, static_cast<std::uint32_t>(gpr[reg])};
    }
    if (at + 4 > available)
        return {};
    std::uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i)
        value |= std::uint32_t{bytes[at + i]} << (8 * i);
    return {at + 4, value};
}

Cr8Write decode_cr8_write(const std::uint8_t* bytes, unsigned available, bool long_mode) {
    constexpr std::uint8_t lock = 0xf0, rex_r = 4, rex_b = 1;
    unsigned at = 0;
    std::uint8_t rex = 0;
    bool locked = false;
    for (; at < available && is_legacy_prefix(bytes[at]); ++at)
        locked |= bytes[at] == lock;
    if (long_mode && at < available && is_rex(bytes[at]))
        rex = bytes[at++];
    if (at + 3 > available || bytes[at] != 0x0f || bytes[at + 1] != 0x22)
        return {};
    // MOD is not looked at: it is always a register.
    const std::uint8_t modrm = bytes[at + 2];
    const bool is_cr8 = (modrm & 0x38) == 0 && ((rex & rex_r) != 0) != locked;
    if (!is_cr8)
        return {};
    return {at + 3, (modrm & 7u) | ((rex & rex_b) != 0 ? 8u : 0u)};
}

} // namespace escalus::vmm
