// SPDX-License-Identifier: GPL-2.0-or-later
// The debug console of Bochs and QEMU ("isa-debugcon", port 0x402), to which SeaBIOS and OVMF write their
// log. Reading gives 0xe9, by which they know that it is there. What the guest writes comes out line by line.
// State: the line under way. Nothing is missing.
#pragma once

#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/device.hpp"

#include <functional>
#include <string>
#include <string_view>

namespace escalus {

class DebugConsole final : public Device, public BusDevice {
  public:
    /// `line` gets each line without its end, control characters replaced by '?'. A line of more than
    /// `longest_line` bytes comes in pieces.
    using LineSink = std::function<void(std::string_view line)>;
    static constexpr std::size_t longest_line = 512;
    DebugConsole(Bus& ports, LineSink line, std::uint16_t port = 0x402);
    ~DebugConsole() override;

    [[nodiscard]] std::string_view name() const override { return "debug-console"; }
    void reset(ResetKind kind) override; ///< what is left of a line comes out
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;
    void read_repeated(unsigned region, std::uint64_t offset, unsigned width,
                       std::span<std::uint8_t> data) override;
    void write_repeated(unsigned region, std::uint64_t offset, unsigned width,
                        std::span<const std::uint8_t> data) override;

  private:
    void flush();

    Bus& ports_;
    LineSink sink_;
    std::uint16_t port_;
    std::string line_;
};

} // namespace escalus
