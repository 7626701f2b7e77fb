// SPDX-License-Identifier: GPL-2.0-or-later
// What the monitor says of itself (VESA Enhanced EDID 1.4, one block): the modes it can show. Its preferred
// one is 1280x800, where the video memory is large enough; its largest 2560x1600. Timings are those of VESA's
// Coordinated Video Timings 1.2 with reduced blanking.
//
// Read by OVMF's QemuVideoDxe and by Linux' bochs-drm from the adapter's BAR2, by SeaBIOS' VGA BIOS for
// VBE/DDC.
#pragma once

#include <array>
#include <cstdint>

namespace escalus {

using Edid = std::array<std::uint8_t, 128>;

/// Modes that do not fit into the memory at 32 bits a pixel are left out.
[[nodiscard]] Edid make_edid(std::uint64_t video_memory_bytes);

} // namespace escalus
