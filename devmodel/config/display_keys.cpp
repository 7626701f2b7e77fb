// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/machine_draft.hpp"
#include "devmodel/config/vnc_settings.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include <fmt/format.h>

namespace escalus {

void describe_display(MachineDraft& draft) {
    MachineConfig& machine = draft.machine;
    machine.vnc = vnc_settings(draft.settings);
    if (draft.settings.boolean("nographic").value_or(false))
        machine.vnc.enabled = false;
    static_cast<void>(draft.settings.boolean("stdvga"));
    if (const auto vga = draft.settings.string("vga")) {
        constexpr std::array<std::string_view, 3> others{"cirrus", "qxl", "virtio"};
        if (vga->text == "none")
            machine.vga = VgaKind::None;
        else if (std::ranges::find(others, vga->text) != others.end())
            draft.diagnostics.warning(
                vga->where, fmt::format("there is no {} adapter: the standard VGA is used", vga->text));
        else if (vga->text != "stdvga" && vga->text != "std")
            draft.diagnostics.error(vga->where, fmt::format("vga cannot be '{}'", vga->text),
                                    "write 'stdvga' or 'none'");
    }
    if (const auto size = draft.settings.integer("videoram", 1, 256, "a number of MiB up to 256")) {
        const auto rounded = std::bit_ceil(static_cast<unsigned>(std::max<std::int64_t>(*size, 8)));
        if (rounded != *size)
            draft.diagnostics.note(draft.settings.find("videoram")->where,
                                   fmt::format("the video memory becomes {} MiB", rounded));
        machine.video_memory_mib = rounded;
    }
}

} // namespace escalus
