// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/boot/acpi.hpp"

#include "vmm/cpu/log.hpp"

#include <cstring>

namespace escalus::vmm {

namespace {

struct [[gnu::packed]] Rsdp {
    char signature[8];
    std::uint8_t checksum;
    char oem[6];
    std::uint8_t revision;
    std::uint32_t rsdt;
    std::uint32_t length;
    std::uint64_t xsdt;
};
struct [[gnu::packed]] TableHeader {
    char signature[4];
    std::uint32_t length;
    std::uint8_t revision, checksum;
    char oem[26];
};

bool sums_to_zero(HostPhys at, std::uint64_t bytes) {
    std::uint8_t sum = 0;
    for (std::uint64_t i = 0; i < bytes; ++i)
        sum = static_cast<std::uint8_t>(sum + physical<std::uint8_t>(at)[i]);
    return sum == 0;
}

bool is_rsdp(HostPhys at) {
    return std::memcmp(physical<char>(at), "RSD PTR ", 8) == 0 && sums_to_zero(at, 20);
}

// ACPI 6.5, section 5.2.5.1: the first KiB of the EBDA, then the BIOS area.
HostPhys search_rsdp() {
    // Read through an asm barrier: the compiler takes small constant addresses for null pointer arithmetic.
    std::uint64_t ebda_pointer = 0x40e;
    asm("" : "+r"(ebda_pointer));
    const std::uint64_t ebda = std::uint64_t{*reinterpret_cast<std::uint16_t*>(ebda_pointer)} << 4;
    if (ebda >= 0x400)
        for (std::uint64_t a = ebda; a < ebda + 1024; a += 16)
            if (is_rsdp(HostPhys{a}))
                return HostPhys{a};
    for (std::uint64_t a = 0xe0000; a < 0x100000; a += 16)
        if (is_rsdp(HostPhys{a}))
            return HostPhys{a};
    return HostPhys{0};
}

const TableHeader* find_table(const Rsdp& rsdp, const char* signature) {
    const bool wide = rsdp.revision >= 2 && rsdp.xsdt != 0;
    const HostPhys root{wide ? rsdp.xsdt : rsdp.rsdt};
    const auto* header = physical<TableHeader>(root);
    const unsigned entry = wide ? 8 : 4;
    for (std::uint32_t offset = sizeof(TableHeader) + 0; offset + entry <= header->length; offset += entry) {
        const HostPhys table{wide ? *physical<std::uint64_t>(root + offset)
                                  : *physical<std::uint32_t>(root + offset)};
        if (std::memcmp(physical<char>(table), signature, 4) == 0)
            return physical<TableHeader>(table);
    }
    return nullptr;
}

} // namespace

HostPhys find_acpi_table(BootInfo& info, const char* signature) {
    if (raw(info.rsdp) == 0)
        info.rsdp = search_rsdp();
    if (raw(info.rsdp) == 0)
        return HostPhys{};
    return HostPhys{reinterpret_cast<std::uint64_t>(find_table(*physical<Rsdp>(info.rsdp), signature))};
}

void find_cpus(BootInfo& info, ApicIdList& ids) {
    const HostPhys base = find_acpi_table(info, "APIC");
    if (raw(info.rsdp) == 0) {
        log::warning("no ACPI tables; one CPU is used");
        return;
    }
    if (raw(base) == 0) {
        log::warning("ACPI has no MADT; one CPU is used");
        return;
    }
    const auto length = physical<TableHeader>(base)->length;
    for (std::uint32_t offset = 44; offset + 2 <= length;) {
        const auto* entry = physical<std::uint8_t>(base + offset);
        if (entry[1] < 2)
            break;
        const auto word = [&](unsigned at) { return *physical<std::uint32_t>(base + offset + at); };
        bool fits = true;
        if (entry[0] == 0 && (word(4) & 1) != 0) // processor local APIC
            fits = ids.push_back(entry[3]);
        else if (entry[0] == 9 && (word(8) & 1) != 0) // processor local x2APIC
            fits = ids.push_back(word(4));
        if (!fits)
            log::warning("more CPUs than the monitor supports: ", cpus_max);
        offset += entry[1];
    }
}

} // namespace escalus::vmm
