// SPDX-License-Identifier: GPL-2.0-or-later
// Any bytes as a domain file: lexer, parser, every key's checks, messages and JSON.
//
//   domain_file_fuzz -max_len=4096 CORPUS test/unit/config/golden
#include "devmodel/config/machine_description.hpp"
#include "devmodel/config/machine_json.hpp"
#include "devmodel/config/machine_name.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include <boost/json.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace escalus;
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes as text
    const std::string text{reinterpret_cast<const char*>(data), size};
    Diagnostics diagnostics;
    auto entries = parse_domain_file("fuzz.cfg", text, diagnostics);
    for (Entry& entry : parse_override(text, diagnostics))
        entries.push_back(std::move(entry));
    const auto description =
        describe_machine(merge_entries(std::move(entries), diagnostics), "/", "fuzz", diagnostics);
    static_cast<void>(diagnostics.text());
    // A machine without errors keeps its promises.
    if (!diagnostics.has_errors()) {
        const MachineConfig& machine = description.machine;
        if (!why_bad_name(machine.name).empty() || machine.vcpus == 0 || machine.memory_bytes == 0 ||
            machine.disks.size() > 4 || machine.serial.size() > 4)
            std::abort();
        static_cast<void>(pretty(to_json(machine)));
    }
    return 0;
}
