// SPDX-License-Identifier: GPL-2.0-or-later
// The part of a vCPU's extended state (XSAVE area) that the instruction emulator may need. It is not in
// abi::VcpuPage, so an engine that can reach it implements this interface; without it instructions that
// move vector registers are reported as unsupported.
#pragma once

#include <cstdint>
#include <span>

namespace escalus {

class VectorRegisters {
  public:
    virtual ~VectorRegisters() = default;
    /// The low value.size() (4, 8, 16 or 32) bytes of XMM/YMM `index` (0..15).
    virtual void read(unsigned index, std::span<std::uint8_t> value) = 0;
    /// Replaces the low value.size() bytes. `zero_upper` clears the rest of the register up to its full
    /// width (VEX encodings); else it is kept (legacy SSE).
    virtual void write(unsigned index, std::span<const std::uint8_t> value, bool zero_upper) = 0;
    /// The protection key rights of user pages.
    [[nodiscard]] virtual std::uint32_t pkru() { return 0; }
};

} // namespace escalus
