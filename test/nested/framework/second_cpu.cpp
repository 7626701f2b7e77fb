// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/framework/second_cpu.hpp"

#include "test/nested/framework/memory.hpp"
#include "vmm/cpu/apic.hpp"
#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/pit.hpp"

#include <cstring>

extern "C" const char second_cpu_start[], second_cpu_end[], second_cpu_mailbox[], second_cpu_base[],
    second_cpu_gdt[], second_cpu_gdt_pointer[], second_cpu_entry[], second_cpu_protected[];

namespace escalus::nested::second_cpu {

namespace {

constexpr std::uint64_t page = low_trampoline;
constexpr std::uint32_t level_assert = 1 << 14, all_but_self = 3 << 18;
constexpr std::uint32_t moment = 20'000; // turns of a PAUSE loop

/// As second_cpu.S has it.
struct Mailbox {
    std::uint32_t turns, count, destination, first, second, done;
};

std::uint64_t in_page(const char* label) {
    return page + static_cast<std::uint64_t>(label - second_cpu_start);
}
volatile Mailbox& mailbox() {
    return *reinterpret_cast<volatile Mailbox*>(in_page(second_cpu_mailbox));
}
void put(const char* label, std::uint64_t offset, std::uint64_t value) {
    const auto word = static_cast<std::uint32_t>(value);
    std::memcpy(reinterpret_cast<void*>(in_page(label) + offset), &word, sizeof word);
}
std::uint32_t low_word(Command command) {
    return static_cast<std::uint32_t>(command.delivery) | level_assert | command.vector;
}

void start(std::uint32_t count, Command first, Command second) {
    std::memcpy(reinterpret_cast<void*>(page), second_cpu_start,
                static_cast<std::size_t>(second_cpu_end - second_cpu_start));
    put(second_cpu_gdt_pointer, 2, in_page(second_cpu_gdt));
    put(second_cpu_entry, 0, in_page(second_cpu_protected));
    put(second_cpu_base, 0, page);
    volatile Mailbox& box = mailbox();
    box.turns = moment;
    box.count = count;
    box.destination = vmm::apic::id();
    box.first = low_word(first);
    box.second = low_word(second);
    box.done = 0;
    vmm::apic::send({static_cast<std::uint32_t>(Delivery::Init) | level_assert | all_but_self, 0});
    vmm::wait_microseconds(10'000);
    vmm::apic::send({static_cast<std::uint32_t>(Delivery::StartUp) | level_assert | all_but_self |
                         static_cast<std::uint32_t>(page >> 12),
                     0});
}

bool look_for_it() {
    start(0, {}, {});
    for (unsigned i = 0; i < 100 && mailbox().done == 0; ++i)
        vmm::wait_microseconds(1000);
    return mailbox().done != 0;
}

} // namespace

bool present() {
    static const bool found = look_for_it();
    return found;
}

void sends(Command command) {
    start(1, command, {});
}
void sends(Command first, Command second) {
    start(2, first, second);
}

void wait_until_sent() {
    while (mailbox().done == 0)
        vmm::pause();
}

} // namespace escalus::nested::second_cpu
