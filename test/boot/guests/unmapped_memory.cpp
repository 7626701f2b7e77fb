// SPDX-License-Identifier: GPL-2.0-or-later
// Reads and writes addresses where nothing is: reads give all ones, writes are lost, nothing else happens.
#include "test/boot/guests/kernel.hpp"

extern "C" void kernel_main(uint32_t, const MultibootInfo* info) {
    serial_start();
    const uint32_t end_of_memory = 0x100000 + (info->mem_upper << 10);
    uint32_t touched = 0, other = 0;
    // Every 4 MiB of the hole below 4 GiB, up to where the interrupt controllers and the firmware are.
    for (uint32_t address = end_of_memory + 0x400000; address < 0xfe800000; address += 0x400000) {
        at<uint32_t>(address + 4) = 0x12345678;
        at<uint8_t>(address + 9) = 0x55;
        other += at<uint32_t>(address + 4) != 0xffffffff;
        other += at<uint16_t>(address + 2) != 0xffff;
        asm volatile("lock addl $1, %0" : "+m"(at<uint32_t>(address + 16)));
        ++touched;
    }
    say("touched ", touched, " places, ", other, " were not all ones");
    say("unmapped memory, END");
}
