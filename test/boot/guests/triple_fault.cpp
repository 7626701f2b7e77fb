// SPDX-License-Identifier: GPL-2.0-or-later
// An exception without any gate to take it: the processor shuts down (AMD APM volume 2, 8.2.9).
#include "test/boot/guests/kernel.hpp"

extern "C" void kernel_main(uint32_t, const MultibootInfo*) {
    serial_start();
    tables_start();
    say("triple fault now");
    asm volatile("ud2");
    say("alive after a triple fault");
}
