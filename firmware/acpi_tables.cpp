// SPDX-License-Identifier: GPL-2.0-or-later
#include "firmware/acpi_tables.hpp"

#include "firmware/byte_writer.hpp"
#include "firmware/dsdt.hpp"
#include "firmware/loader_script.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string_view>

#include <fmt/format.h>

namespace escalus {

namespace {

constexpr std::string_view file_tables = "etc/acpi/tables", file_rsdp = "etc/acpi/rsdp";
constexpr std::size_t header_size = 36, offset_length = 4, offset_checksum = 9;
constexpr unsigned sci_interrupt = 9;
constexpr std::uint16_t port_smi_command = 0xb2; // PIIX4's APM control, with the commands of piix4_pm.hpp
constexpr std::uint8_t acpi_enable_command = 0xf1, acpi_disable_command = 0xf0;
constexpr std::uint16_t port_reset = 0xcf9;
constexpr std::uint8_t reset_value = 0x06;
constexpr std::uint32_t local_apic_base = 0xfee0'0000, io_apic_base = 0xfec0'0000, hpet_base = 0xfed0'0000;

// The low half of the HPET's capabilities: vendor 8086, legacy replacement, 64-bit counter, three timers.
constexpr std::uint32_t hpet_block_id = 0x8086a201;

/// The file of all tables but the RSDP, growing.
class TableFile {
  public:
    explicit TableFile(LoaderScript& script) : script_{script} {}

    /// Appends a table; `body` begins after the header. Gives its offset. Its checksum is computed in the
    /// firmware, after the pointers, so that it need not be known here which fields are pointers.
    std::size_t add(std::string_view signature, std::uint8_t revision, std::span<const std::uint8_t> body) {
        const auto start = begin();
        ByteWriter{bytes}
            .text(signature, 4)
            .u32(header_size + body.size())
            .u8(revision)
            .u8(0) // checksum
            .text("ESCALU", 6)
            .text("ESCALUS ", 8)
            .u32(1)
            .text("ESCA", 4)
            .u32(1)
            .raw(body);
        return start;
    }
    /// Appends a table that has its header already.
    std::size_t add_whole(std::span<const std::uint8_t> table) {
        const auto start = begin();
        ByteWriter{bytes}.raw(table);
        return start;
    }
    /// A field that holds the address of the table at `target`.
    void point(std::size_t field, std::uint8_t width, std::size_t target) {
        for (unsigned i = 0; i < width; ++i)
            bytes.at(field + i) = static_cast<std::uint8_t>(std::uint64_t{target} >> (8 * i));
        script_.add_pointer(file_tables, field, width, file_tables);
    }
    /// The checksum is to be computed. OVMF takes the byte's old value into the sum: it must be 0.
    void seal(std::size_t table) {
        bytes.at(table + offset_checksum) = 0;
        std::size_t length = 0;
        for (unsigned i = 0; i < 4; ++i)
            length |= std::size_t{bytes.at(table + offset_length + i)} << (8 * i);
        script_.add_checksum(file_tables, table + offset_checksum, table, length);
    }

    std::vector<std::uint8_t> bytes;

  private:
    std::size_t begin() { // every table on a 64-byte boundary, which the FACS demands
        bytes.resize((bytes.size() + 63) / 64 * 64);
        return bytes.size();
    }
    LoaderScript& script_;
};

/// Puts a value in place of a DSDT name's (see dsdt.asl).
void set_name(std::vector<std::uint8_t>& aml, std::string_view name, std::uint32_t value) {
    std::array<std::uint8_t, 6> pattern{0x08, 0, 0, 0, 0, 0x0c}; // NameOp, the name, DWordPrefix
    std::ranges::copy(name, pattern.begin() + 1);
    const auto found = std::search(aml.begin(), aml.end(), pattern.begin(), pattern.end());
    if (aml.end() - found < 10)
        throw std::logic_error{fmt::format("the DSDT has no name {}", name)};
    for (unsigned i = 0; i < 4; ++i)
        *(found + 6 + i) = static_cast<std::uint8_t>(value >> (8 * i));
}

std::vector<std::uint8_t> make_dsdt(const AcpiConfig& config) {
    const auto compiled = dsdt_aml();
    std::vector<std::uint8_t> aml{compiled.begin(), compiled.end()};
    set_name(aml, "ESPB", config.pci_window_base);
    set_name(aml, "ESPM", config.pm_base);
    set_name(aml, "ESCM", config.serial_ports);
    set_name(aml, "ESHP", config.hpet ? 1 : 0);
    set_name(aml, "ESFD", config.floppy_drives);
    return aml;
}

/// Processor objects (ACPI 3.0, 18.5.93) in \_PR: the place that ACPI 1.0 systems look at.
std::vector<std::uint8_t> make_processors(unsigned vcpus) {
    static constexpr std::string_view digits = "0123456789ABCDEF";
    std::vector<std::uint8_t> objects;
    ByteWriter out{objects};
    for (unsigned i = 0; i < vcpus; ++i) {
        const std::array<char, 4> name{'C', 'P', digits[i >> 4 & 0xf], digits[i & 0xf]};
        out.u16(0x835b).u8(0x0b).text({name.data(), name.size()}, 4).u8(i).u32(0).u8(0); // no P_BLK
    }
    // ScopeOp PkgLength NameString: the length counts itself, in up to three bytes (18.2.4).
    std::vector<std::uint8_t> aml;
    const auto content = 5 + objects.size();
    ByteWriter scope{aml};
    scope.u8(0x10);
    if (content + 1 < 0x40)
        scope.u8(content + 1);
    else if (const auto length = content + 2; length < 0x1000)
        scope.u8(0x40 | (length & 0xf)).u8(length >> 4);
    else
        scope.u8(0x80 | ((length + 1) & 0xf)).u8((length + 1) >> 4).u8((length + 1) >> 12);
    scope.text("\\_PR_", 5).raw(objects);
    return aml;
}

std::vector<std::uint8_t> make_facs() {
    std::vector<std::uint8_t> table;
    ByteWriter{table}.text("FACS", 4).u32(64).zeroes(24).u8(1).zeroes(31);
    return table;
}

/// The body of the FADT, ACPI 3.0 table 5.9. The pointers (FACS, DSDT) are put in later.
std::vector<std::uint8_t> make_fadt(const AcpiConfig& config) {
    constexpr std::uint32_t wbinvd = 1u << 0, proc_c1 = 1u << 2, no_sleep_button = 1u << 5,
                            no_rtc_wake = 1u << 6, reset_register = 1u << 10;
    constexpr std::uint16_t boot_legacy_devices = 1u << 0, boot_8042 = 1u << 1;
    const std::uint16_t event = config.pm_base, control = event + 4, timer = event + 8, gpe = event + 0xc;

    std::vector<std::uint8_t> body;
    ByteWriter out{body};
    const auto address = [&out](std::uint64_t port, unsigned bits) { // a generic address in I/O space
        if (port == 0)
            out.zeroes(12);
        else
            out.u8(1).u8(bits).u8(0).u8(0).u64(port);
    };
    out.u32(0)
        .u32(0)                  // FACS, DSDT
        .u8(config.apic ? 1 : 0) // interrupt model, for ACPI 1.0
        .u8(1)                   // a desktop
        .u16(sci_interrupt)
        .u32(port_smi_command)
        .u8(acpi_enable_command)
        .u8(acpi_disable_command)
        .u8(0)
        .u8(0) // S4BIOS, processor performance control
        .u32(event)
        .u32(0)
        .u32(control)
        .u32(0)
        .u32(0)
        .u32(timer)
        .u32(gpe)
        .u32(0)
        .u8(4)
        .u8(2)
        .u8(0)
        .u8(4)
        .u8(4)
        .u8(0) // lengths: PM1 event, PM1 control, PM2, timer, GPE0, GPE1
        .u8(0)
        .u8(0) // GPE1 base, C-state notification
        .u16(0xfff)
        .u16(0xfff) // C2 and C3: too slow to use, that is, not there
        .u16(0)
        .u16(0)
        .u8(0)
        .u8(0) // flushing, duty cycle
        .u8(0)
        .u8(0)
        .u8(0x32) // RTC: no day or month alarm, century in CMOS 0x32
        .u16(boot_legacy_devices | boot_8042)
        .u8(0)
        .u32(wbinvd | proc_c1 | no_sleep_button | no_rtc_wake | reset_register);
    address(port_reset, 8);
    out.u8(reset_value).zeroes(3).u64(0).u64(0); // X_FACS (the 32-bit one serves), X_DSDT
    address(event, 32);
    address(0, 0);
    address(control, 16);
    address(0, 0);
    address(0, 0);
    address(timer, 32);
    address(gpe, 32);
    address(0, 0);
    return body;
}

std::vector<std::uint8_t> make_madt(unsigned vcpus) {
    constexpr std::uint16_t level_active_high = 0x0d;
    std::vector<std::uint8_t> body;
    ByteWriter out{body};
    out.u32(local_apic_base).u32(1); // the 8259s are there, too
    for (unsigned i = 0; i < vcpus; ++i)
        out.u8(0).u8(8).u8(i).u8(i).u32(1); // local APIC: processor, ID, enabled
    out.u8(1).u8(12).u8(0).u8(0).u32(io_apic_base).u32(0);
    const auto override_isa = [&out](unsigned irq, unsigned input, std::uint16_t flags) {
        out.u8(2).u8(10).u8(0).u8(irq).u32(input).u16(flags);
    };
    override_isa(0, 2, 0); // the 8254 is on input 2, since input 0 has the 8259s
    for (const unsigned irq : {5u, sci_interrupt, 10u, 11u}) // PCI's links and the SCI
        override_isa(irq, irq, level_active_high);
    out.u8(4).u8(6).u8(0xff).u16(0).u8(1); // NMI at LINT1 of every processor
    return body;
}

std::vector<std::uint8_t> make_hpet() {
    std::vector<std::uint8_t> body;
    ByteWriter{body}.u32(hpet_block_id).u8(0).u8(0).u8(0).u8(0).u64(hpet_base).u8(0).u16(100).u8(0);
    return body;
}

/// Windows ACPI Emulated Devices Table: one read of the PM timer suffices. (Not claimed: that RTC interrupts
/// need no acknowledgement.)
std::vector<std::uint8_t> make_waet() {
    std::vector<std::uint8_t> body;
    ByteWriter{body}.u32(1u << 1);
    return body;
}

} // namespace

AcpiFiles build_acpi(const AcpiConfig& config) {
    if (config.vcpus == 0 || config.vcpus > 255)
        throw std::invalid_argument{fmt::format("ACPI: {} processors cannot be described", config.vcpus)};
    LoaderScript script;
    script.allocate(file_rsdp, 16, LoaderScript::Zone::FSegment);
    script.allocate(file_tables, 64, LoaderScript::Zone::High);

    TableFile tables{script};
    const auto facs = tables.add_whole(make_facs());
    const auto dsdt = tables.add_whole(make_dsdt(config));
    tables.seal(dsdt);

    std::vector<std::size_t> listed;
    const auto fadt = tables.add("FACP", 3, make_fadt(config));
    tables.point(fadt + 36, 4, facs);
    tables.point(fadt + 40, 4, dsdt);
    tables.point(fadt + 140, 8, dsdt);
    listed.push_back(fadt);
    listed.push_back(tables.add("SSDT", 1, make_processors(config.vcpus)));
    if (config.apic)
        listed.push_back(tables.add("APIC", 1, make_madt(config.vcpus)));
    if (config.hpet)
        listed.push_back(tables.add("HPET", 1, make_hpet()));
    listed.push_back(tables.add("WAET", 1, make_waet()));
    for (const auto table : listed)
        tables.seal(table);

    const auto rsdt = tables.add("RSDT", 1, std::vector<std::uint8_t>(4 * listed.size()));
    const auto xsdt = tables.add("XSDT", 1, std::vector<std::uint8_t>(8 * listed.size()));
    for (std::size_t i = 0; i < listed.size(); ++i) {
        tables.point(rsdt + header_size + 4 * i, 4, listed[i]);
        tables.point(xsdt + header_size + 8 * i, 8, listed[i]);
    }
    tables.seal(rsdt);
    tables.seal(xsdt);

    AcpiFiles files;
    ByteWriter{files.rsdp}
        .text("RSD PTR ", 8)
        .u8(0)
        .text("ESCALU", 6)
        .u8(2)
        .u32(rsdt)
        .u32(36)
        .u64(xsdt)
        .u8(0)
        .zeroes(3);
    script.add_pointer(file_rsdp, 16, 4, file_tables);
    script.add_pointer(file_rsdp, 24, 8, file_tables);
    script.add_checksum(file_rsdp, 8, 0, 20);
    script.add_checksum(file_rsdp, 32, 0, 36);

    files.tables = std::move(tables.bytes);
    files.loader = script.take();
    return files;
}

} // namespace escalus
