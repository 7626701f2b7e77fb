// SPDX-License-Identifier: GPL-2.0-or-later
// The model-specific registers that the monitor leaves to the device model: those that have a meaning for the
// machine (MTRRs, machine check), and those that systems read or write at boot and must find (AMD's HWCR and
// northbridge configuration, Intel's platform information). What is in neither list is #GP, as on hardware.
//
// Intel SDM volume 4; AMD APM volume 2 appendix A, and the BKDG of family 10h. State: MTRRs, machine check
// controls, kept values. The APIC's MSRs are LocalApic's; TSC, EFER and system call MSRs are in the VcpuPage.
// Missing: MTRRs have no effect on memory types, which nested paging takes from the host and the guest's PAT.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>

namespace escalus {

class Msrs {
  public:
    static constexpr unsigned variable_mtrrs = 8, machine_check_banks = 6;

    struct Config {
        bool amd = true;
        unsigned physical_address_bits = 40;
        std::uint64_t tsc_hz = 0;
    };
    explicit Msrs(const Config& config);

    /// No value, and false, mean #GP(0).
    [[nodiscard]] std::optional<std::uint64_t> read(std::uint32_t index) const;
    [[nodiscard]] bool write(std::uint32_t index, std::uint64_t value);
    void reset();
    /// What firmware does: everything that is no device is write-back. For kernels started without firmware.
    void set_default_memory_type_write_back();

  private:
    /// A register that keeps what is written, in the bits that exist.
    struct Kept {
        std::uint64_t reset = 0;
        std::uint64_t writable = 0; ///< other bits: a write that changes them is ignored or refused
        bool refuse = false;        ///< #GP on a write that changes other bits
        std::uint64_t value = 0;
    };
    void keep(std::uint32_t index, std::uint64_t reset, std::uint64_t writable, bool refuse = false);
    [[nodiscard]] bool valid_mtrr(std::uint32_t index, std::uint64_t value) const;

    Config config_;
    std::map<std::uint32_t, Kept> kept_;
};

} // namespace escalus
