// SPDX-License-Identifier: GPL-2.0-or-later
// Another CPU of the machine, which sends interrupt commands to this one: what this CPU cannot do itself
// while a guest waits for them. It is started anew for each round of commands and halts after it. Intel SDM
// 3A, section 8.4 ("Multiple-processor initialization") and 10.6 ("Issuing interprocessor interrupts").
#pragma once

#include <cstdint>

namespace escalus::nested::second_cpu {

enum class Delivery : std::uint32_t { Fixed = 0, Nmi = 4 << 8, Init = 5 << 8, StartUp = 6 << 8 };

struct Command {
    Delivery delivery;
    std::uint8_t vector;
};

/// Whether there is one. It is looked for once.
[[nodiscard]] bool present();
/// It will send this to this CPU, a moment from now; and `second` after a further moment.
void sends(Command command);
void sends(Command first, Command second);
/// Waits until all is sent, or the check's time is over.
void wait_until_sent();

} // namespace escalus::nested::second_cpu
