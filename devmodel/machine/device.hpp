// SPDX-License-Identifier: GPL-2.0-or-later
// The lifecycle that every device model has. Written once, here; each call comes with the device lock held.
//
//   construct -> reset(PowerOn) -> start -> { pause -> resume | reset(System) }* -> destroy
//
// start:  the machine is whole and the vCPUs are about to run.
// pause:  vCPUs are out of guest mode and guest time stands still. After the call the device starts no new
// backend
//         work. Work already under way may complete while paused, and must then not be lost.
// resume: the reverse of pause.
// reset:  bring every register to its power-on value, lower interrupt lines, cancel timers, abandon
// transfers. A
//         completion of an abandoned transfer that arrives later must be ignored.
#pragma once

#include <string_view>

namespace escalus {

enum class ResetKind {
    PowerOn, ///< cold: everything
    System,  ///< warm: what the chipset's reset line reaches (CMOS memory and disks' contents stay)
};

class Device {
  public:
    Device() = default;
    virtual ~Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    [[nodiscard]] virtual std::string_view name() const = 0;
    virtual void reset(ResetKind kind) = 0;
    virtual void start() {}
    virtual void pause() {}
    virtual void resume() {}
};

} // namespace escalus
