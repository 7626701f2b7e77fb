// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/machine_draft.hpp"

#include <fmt/format.h>

namespace escalus {

namespace {
constexpr unsigned serial_ports_max = 4;

SerialConfig serial_port(MachineDraft& draft, const Text& port) {
    const std::string_view text = port.text;
    const auto after = [&](std::string_view prefix) { return text.substr(prefix.size()); };
    if (text == "pty")
        return {SerialKind::Pty, {}};
    if (text == "stdio" || text == "mon:stdio")
        return {SerialKind::Stdio, {}};
    if (text == "null" || text == "none" || text.empty())
        return {SerialKind::None, {}};
    if (text == "unix" || text == "vc") // a console in a window of its own, in QEMU's words
        return {SerialKind::Unix, {}};
    if (text.starts_with("file:") && !after("file:").empty())
        return {SerialKind::File, draft.absolute(after("file:"))};
    if (text.starts_with("unix:")) {
        const auto path = after("unix:");
        return {SerialKind::Unix,
                draft.absolute(path.substr(0, path.find(',')))}; // ",server,nowait" is always so
    }
    draft.diagnostics.error(port.where, fmt::format("a serial port cannot be '{}'", text),
                            "write 'pty', 'unix:PATH', 'file:PATH', 'stdio' or 'null'");
    return {};
}
} // namespace

void describe_serial(MachineDraft& draft) {
    MachineConfig& machine = draft.machine;
    const auto ports = draft.settings.strings("serial");
    if (!ports) {
        machine.serial.push_back({SerialKind::Unix, {}});
        return;
    }
    unsigned stdio = 0;
    for (const Text& port : *ports) {
        machine.serial.push_back(serial_port(draft, port));
        if (machine.serial.back().kind == SerialKind::Stdio && ++stdio == 2)
            draft.diagnostics.error(port.where, "only one serial port can be 'stdio'",
                                    "write 'pty' for the other");
    }
    if (machine.serial.size() > serial_ports_max)
        draft.diagnostics.error((*ports)[serial_ports_max].where, "a machine has four serial ports at most",
                                "take some out of the list");
}

} // namespace escalus
