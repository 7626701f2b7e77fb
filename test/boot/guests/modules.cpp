// SPDX-License-Identifier: GPL-2.0-or-later
// Prints what a Multiboot loader handed over: command line, memory, each module's string, size and checksum.
#include "test/boot/guests/kernel.hpp"

extern "C" void kernel_main(uint32_t magic, const MultibootInfo* info) {
    serial_start();
    say("magic ", magic == multiboot_magic ? "right" : "wrong");
    say("command line: ", reinterpret_cast<const char*>(info->command_line));
    say("memory: ", info->mem_lower, " KiB low, ", info->mem_upper, " KiB high");
    uint32_t usable = 0;
    for (uint32_t offset = 0; offset < info->map_length;) {
        const uint32_t entry = info->map + offset;
        if (at<uint32_t>(entry + 20) == 1)
            usable += at<uint32_t>(entry + 12) >> 10;
        offset += at<uint32_t>(entry) + 4;
    }
    say("memory map: ", usable, " KiB usable");
    const auto* modules = reinterpret_cast<const MultibootModule*>(info->modules);
    for (uint32_t i = 0; i < info->modules_count; ++i) {
        uint32_t sum = 0;
        for (uint32_t byte = modules[i].start; byte < modules[i].end; ++byte)
            sum = (sum << 1 | sum >> 31) ^ at<uint8_t>(byte);
        print("module ");
        print_decimal(i);
        print(": ");
        print_decimal(modules[i].end - modules[i].start);
        print(" bytes, checksum ");
        print_hex(sum);
        say(", string: ", reinterpret_cast<const char*>(modules[i].string));
    }
    say("modules: ", info->modules_count, ", END");
}
