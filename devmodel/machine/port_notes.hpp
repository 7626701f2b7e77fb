// SPDX-License-Identifier: GPL-2.0-or-later
// What devices tell the engine about their ports, so that the guest need not leave guest mode for each
// access: a write that only latches a value waits until the next exit, and a read that changes nothing is
// answered by the engine (abi::port_note). Without an engine it does nothing.
//
// A device may leave a note only as long as nothing but an exit of the guest's can change what the note says:
// while a command is under way, it takes its notes back.
#pragma once

#include "devmodel/machine/bus.hpp"
#include "vmm/abi/abi.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace escalus {

class PortNotes {
  public:
    /// The pages of all vCPUs, in order, before any of them runs. They outlive the notes' use.
    void attach(std::vector<abi::VcpuPage*> vcpus);

    // With the device lock held.
    /// `flags` of abi::PortNoteFlags; 0 takes the note back. Where another port's note stands in the place,
    /// the port has none: the engine then comes with each access.
    void set(std::uint16_t port, std::uint32_t flags, std::uint8_t answer = 0);
    /// Not 0 while writes wait. To be looked at after each exit, before anything else is done about it.
    [[nodiscard]] const std::uint32_t& waiting() const { return vcpus_.front()->posted_vcpus; }
    /// Carries out the writes that wait: each vCPU's in their order.
    void carry_out(Bus& ports);

  private:
    std::vector<abi::VcpuPage*> vcpus_;
    std::array<std::uint32_t, abi::port_notes_max> notes_{};
};

} // namespace escalus
