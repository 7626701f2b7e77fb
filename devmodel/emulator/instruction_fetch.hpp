// SPDX-License-Identifier: GPL-2.0-or-later
// The bytes at CS:RIP, page by page: the second page is only touched when the first does not hold the whole
// instruction, so that it cannot fault for an instruction that does not reach it.
#pragma once

#include "devmodel/emulator/decoder.hpp"
#include "devmodel/emulator/guest_access.hpp"

#include <array>
#include <cstdint>
#include <span>

namespace escalus::emulation {

class InstructionFetch {
  public:
    /// `given` are the first bytes where the hardware already fetched them.
    InstructionFetch(GuestAccess& access, const abi::VcpuPage& page, const CpuMode& mode,
                     std::span<const std::uint8_t> given);

    [[nodiscard]] std::span<const std::uint8_t> bytes() const { return std::span{bytes_}.first(count_); }
    /// Fetches up to the next page boundary. Throws GuestFault.
    void more();

  private:
    GuestAccess& access_;
    const abi::VcpuPage& page_;
    const CpuMode& mode_;
    std::array<std::uint8_t, instruction_bytes_max> bytes_{};
    std::size_t count_ = 0;
};

} // namespace escalus::emulation
