// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/framework/power.hpp"

#include "vmm/boot/acpi.hpp"
#include "vmm/cpu/instructions.hpp"

#include <cstring>

namespace escalus::nested {

namespace {

constexpr std::uint16_t debug_exit_port = 0xf4;
constinit std::uint16_t pm1a_control = 0, pm1b_control = 0, smi_command = 0;
constinit std::uint8_t acpi_enable = 0;
constinit std::uint16_t s5_type_a = 0, s5_type_b = 0;
constinit bool has_s5 = false;

void out16(std::uint16_t port, std::uint16_t value) {
    asm volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}
std::uint16_t in16(std::uint16_t port) {
    std::uint16_t value = 0;
    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/// An integer of AML at `at`, which is moved behind it: ZeroOp, OneOp or BytePrefix (ACPI 6.5,
/// section 20.2.3).
std::uint16_t read_byte_constant(const std::uint8_t*& at) {
    constexpr std::uint8_t byte_prefix = 0x0a;
    if (*at == byte_prefix)
        ++at;
    return *at++;
}

/// \_S5 is Name(_S5_, Package(){SLP_TYPa, SLP_TYPb, ...}): ACPI 6.5, section 7.4.2.
void find_s5(const std::uint8_t* table, std::uint32_t bytes) {
    constexpr std::uint8_t package_op = 0x12;
    for (std::uint32_t i = 36; i + 9 <= bytes; ++i) {
        if (std::memcmp(table + i, "_S5_", 4) != 0 || table[i + 4] != package_op)
            continue;
        const std::uint8_t* at = table + i + 5;
        at += 1 + (*at >> 6); // PkgLength
        ++at;                 // NumElements
        s5_type_a = read_byte_constant(at);
        s5_type_b = read_byte_constant(at);
        has_s5 = true;
        return;
    }
}

void soft_off() {
    if (!has_s5 || pm1a_control == 0)
        return;
    constexpr std::uint16_t sci_enable = 1, sleep_enable = 1 << 13;
    if ((in16(pm1a_control) & sci_enable) == 0 && smi_command != 0)
        vmm::out8(smi_command, acpi_enable);
    out16(pm1a_control, static_cast<std::uint16_t>(s5_type_a << 10 | sleep_enable));
    if (pm1b_control != 0)
        out16(pm1b_control, static_cast<std::uint16_t>(s5_type_b << 10 | sleep_enable));
}

} // namespace

void start_power(vmm::BootInfo& info) {
    const HostPhys fadt = find_acpi_table(info, "FACP");
    if (raw(fadt) == 0)
        return;
    // ACPI 6.5, table 5.9. The 32-bit fields are filled on every machine that has a PC's I/O ports.
    const auto* bytes = vmm::physical<std::uint8_t>(fadt);
    const auto field = [&](unsigned offset) {
        std::uint32_t value = 0;
        std::memcpy(&value, bytes + offset, sizeof value);
        return value;
    };
    smi_command = static_cast<std::uint16_t>(field(48));
    acpi_enable = bytes[52];
    pm1a_control = static_cast<std::uint16_t>(field(64));
    pm1b_control = static_cast<std::uint16_t>(field(68));
    const HostPhys dsdt{field(40)};
    if (raw(dsdt) != 0)
        find_s5(vmm::physical<std::uint8_t>(dsdt), *vmm::physical<std::uint32_t>(dsdt + 4));
}

void leave(ExitMethod method, ExitCode code) {
    if (method == ExitMethod::Any || method == ExitMethod::Debug)
        vmm::out8(debug_exit_port, static_cast<std::uint8_t>(code));
    if (method == ExitMethod::Any || method == ExitMethod::Acpi)
        soft_off();
    vmm::halt_forever();
}

} // namespace escalus::nested
