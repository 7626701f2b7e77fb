// SPDX-License-Identifier: GPL-2.0-or-later
#include "firmware/mp_table.hpp"

#include "firmware/loader_script.hpp"

#include <stdexcept>
#include <string_view>

#include <fmt/format.h>

namespace escalus {

namespace {

constexpr std::string_view file_table = "etc/mptable";
constexpr std::uint32_t local_apic_base = 0xfee0'0000, io_apic_base = 0xfec0'0000;
constexpr unsigned local_apic_version = 0x14, io_apic_version = 0x20, io_apic_id = 0, every_apic = 0xff;
constexpr unsigned pointer_bytes = 16, pointer_address = 4, pointer_checksum = 10, header_bytes = 44,
                   header_checksum = 7;
constexpr unsigned sci_interrupt = 9;

enum Entry : unsigned { processor, bus, io_apic, io_interrupt, local_interrupt };
enum Bus : unsigned { bus_pci, bus_isa };
enum Type : unsigned { vectored = 0, nmi = 1, external = 3 };
constexpr unsigned as_the_bus = 0, level_active_high = 0x0d;

class Entries {
  public:
    void add_processor(unsigned id, const MpTableConfig& config) {
        constexpr unsigned enabled = 1, bootstrap = 2;
        constexpr std::uint32_t features = 0x381; // those that are named in table 4-6: FPU, MCE, CX8, APIC
        begin(processor).u8(id).u8(local_apic_version).u8(enabled | (id == 0 ? bootstrap : 0));
        ByteWriter{bytes}.u32(config.cpu_signature).u32(features).zeroes(8);
    }
    void add_bus(unsigned id, std::string_view name) { begin(bus).u8(id).text(name, 6, ' '); }
    void add_io_apic() { begin(io_apic).u8(io_apic_id).u8(io_apic_version).u8(1).u32(io_apic_base); }
    void add_interrupt(unsigned from, unsigned line, unsigned input, unsigned flags) {
        add_source(io_interrupt, vectored, flags, from, line, io_apic_id, input);
    }
    void add_local(Type type, unsigned apic, unsigned input) {
        add_source(local_interrupt, type, as_the_bus, bus_isa, 0, apic, input);
    }

    std::vector<std::uint8_t> bytes;
    unsigned count = 0;

  private:
    ByteWriter begin(Entry kind) {
        ++count;
        ByteWriter out{bytes};
        out.u8(kind);
        return out;
    }
    void add_source(Entry kind, Type type, unsigned flags, unsigned from, unsigned line, unsigned apic,
                    unsigned input) {
        begin(kind).u8(type).u16(flags).u8(from).u8(line).u8(apic).u8(input);
    }
};

/// Sections 4.3.1 to 4.3.5: the entries, sorted by their kind.
Entries make_entries(const MpTableConfig& config) {
    Entries entries;
    for (unsigned id = 0; id < config.vcpus; ++id)
        entries.add_processor(id, config);
    entries.add_bus(bus_pci, "PCI");
    entries.add_bus(bus_isa, "ISA");
    entries.add_io_apic();
    for (const auto& pci : config.pci_interrupts)
        entries.add_interrupt(bus_pci, pci.device << 2 | (pci.pin - 1), pci.input, level_active_high);
    // The 8254 is on input 2, since input 0 has the 8259s; PCI has 5, 10 and 11 (the MADT says the same).
    entries.add_interrupt(bus_isa, 0, 2, as_the_bus);
    for (const unsigned irq : {1u, 3u, 4u, 6u, 7u, 8u, 12u, 13u, 14u, 15u})
        entries.add_interrupt(bus_isa, irq, irq, as_the_bus);
    entries.add_interrupt(bus_isa, sci_interrupt, sci_interrupt, level_active_high);
    entries.add_local(external, 0, 0);
    entries.add_local(nmi, every_apic, 1);
    return entries;
}

} // namespace

MpTableFiles build_mp_table(const MpTableConfig& config) {
    if (config.vcpus == 0 || config.vcpus >= every_apic)
        throw std::invalid_argument{fmt::format("MP table: {} processors cannot be described", config.vcpus)};
    const auto entries = make_entries(config);
    std::vector<std::uint8_t> table;
    ByteWriter{table}
        .text("PCMP", 4)
        .u16(header_bytes + entries.bytes.size())
        .u8(4) // revision 1.4
        .u8(0) // checksum
        .text("ESCALUS", 8, ' ')
        .text("PC", 12, ' ')
        .u32(0)
        .u16(0) // no OEM table
        .u16(entries.count)
        .u32(local_apic_base)
        .u32(0) // no extended table
        .raw(entries.bytes);
    table[header_checksum] = zero_sum(table);

    MpTableFiles files;
    ByteWriter{files.table}
        .text("_MP_", 4)
        .u32(pointer_bytes) // from the file's start: the loader adds where that is
        .u8(1)              // paragraphs
        .u8(4)
        .u8(0)     // checksum
        .zeroes(5) // a table; no IMCR: virtual wire mode
        .raw(table);
    LoaderScript script;
    script.allocate(file_table, pointer_bytes, LoaderScript::Zone::FSegment);
    script.add_pointer(file_table, pointer_address, 4, file_table);
    script.add_checksum(file_table, pointer_checksum, 0, pointer_bytes);
    files.loader = script.take();
    return files;
}

} // namespace escalus
