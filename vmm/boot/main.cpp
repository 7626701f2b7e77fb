// SPDX-License-Identifier: GPL-2.0-or-later
// The boot CPU's way from the loader to the control OS.
#include "vmm/boot/acpi.hpp"
#include "vmm/boot/boot_info.hpp"
#include "vmm/boot/command_line.hpp"
#include "vmm/boot/linux.hpp"
#include "vmm/boot/memory_layout.hpp"
#include "vmm/control/control_memory.hpp"
#include "vmm/control/host_page.hpp"
#include "vmm/cpu/apic.hpp"
#include "vmm/cpu/backend.hpp"
#include "vmm/cpu/exceptions.hpp"
#include "vmm/cpu/fpu.hpp"
#include "vmm/cpu/hardware_options.hpp"
#include "vmm/cpu/log.hpp"
#include "vmm/memory/identity_map.hpp"
#include "vmm/memory/page_allocator.hpp"
#include "vmm/memory/pool.hpp"

#include <cstring>
#include <initializer_list>

extern "C" char image_start[], image_end[];
extern "C" [[noreturn]] void start_natively(std::uint64_t rip, std::uint64_t rsi, std::uint64_t cr3,
                                            std::uint64_t gdt_base);

namespace escalus::vmm {

[[gnu::section(".hot.data")]] constinit const Backend* backend = nullptr;

namespace {

constinit BootInfo info;
constinit MemoryLayout layout;
constinit MemoryList taken;

HostPhys address_of(const char* symbol) {
    return HostPhys{reinterpret_cast<std::uint64_t>(symbol)};
}

void complain(const char* word, unsigned length, const char* why) {
    char text[64] = {};
    std::memcpy(text, word, length < sizeof text - 1 ? length : sizeof text - 1);
    log::warning("command line: ", static_cast<const char*>(text), ": ", why);
}

Options read_options() {
    // Twice: where complaints go is itself an option.
    const Options options = parse_options(info.command_line, [](const char*, unsigned, const char*) {});
    log::set_console(options.console);
    log::set_level(options.log_level);
    static_cast<void>(parse_options(info.command_line, complain));
    return options;
}

// Null, having said why, when this machine has no virtualization that can be used: on the screen, if the log
// goes nowhere else.
const Backend* choose_backend(const Options& options) {
    const auto show_errors = [&] {
        if (options.console == Console::None && raw(info.framebuffer.base) == 0)
            log::set_console(Console::Vga);
    };
    for (const Backend* candidate : {&svm_backend, &vmx_backend})
        if (candidate->offered()) {
            const char* why = candidate->missing();
            if (why == nullptr)
                return candidate;
            show_errors();
            log::error(candidate->name, " cannot be used: ", why);
            return nullptr;
        }
    show_errors();
    log::error("this CPU has neither AMD-V (SVM) nor Intel VT-x (VMX)");
    return nullptr;
}

/// What the loader left in memory, and must stay until the control OS has it.
void note_taken() {
    taken.push_back({HostPhys{0}, 0x10000, MemoryType::Reserved}); // the BIOS's and the trampoline's
    taken.push_back(
        {address_of(image_start), static_cast<std::uint64_t>(image_end - image_start), MemoryType::Reserved});
    for (const auto& module : info.modules)
        taken.push_back({module.base, module.bytes, MemoryType::Reserved});
    if (info.efi.memory_map_bytes != 0)
        taken.push_back({info.efi.memory_map, info.efi.memory_map_bytes, MemoryType::Reserved});
    if (raw(info.rsdp) != 0)
        taken.push_back({info.rsdp, 64, MemoryType::Reserved});
}

// A machine that cannot run guests is still worth booting.
[[noreturn]] void start_without_monitor() {
    log::error("the control OS starts without the monitor; no guests can run");
    const ControlStart start = load_linux(info, info.memory, taken);
    start_natively(start.rip, start.rsi, start.cr3, start.gdt_base);
}

HostPhys top_of_memory() {
    HostPhys top{};
    for (const auto& range : info.memory)
        if (range.type == MemoryType::Usable && range.end() > top)
            top = range.end();
    return top;
}

void place_memory(const Options& options) {
    const auto total = usable_bytes(info.memory);
    const auto wanted = options.pool_in_percent ? total / 100 * options.pool : options.pool << 20;
    if (!plan_memory(info.memory, taken, wanted, layout))
        panic("not enough memory: ", total >> 20, " MiB usable");
    if (layout.pool_clamped)
        log::warning("the pool is smaller than asked for: ", layout.pool_bytes >> 20, " of ", wanted >> 20,
                     " MiB");
}

// The boot stack stays as it is below: `start` lies there.
[[noreturn]] void run_control_on_own_stack(PerCpu& cpu, const ControlStart& start) {
    asm volatile("mov %0, %%rsp\n\tcall *%1"
                 :
                 : "r"(cpu.stack_top()), "r"(backend->run_control), "D"(&cpu), "S"(&start)
                 : "memory");
    halt_forever();
}

// What the control OS is told of the machine's memory.
MemoryList control_memory_map() {
    MemoryList memory = info.memory;
    bool ok = reserve(memory, address_of(image_start), static_cast<std::uint64_t>(image_end - image_start)) &&
              reserve(memory, layout.private_memory.base, layout.private_memory.bytes) &&
              reserve(memory, layout.shared_area.base, layout.shared_area.bytes);
    for (const auto& range : layout.pool)
        ok = ok && reserve(memory, range.base, range.bytes);
    if (!ok)
        panic("the memory map has too many entries");
    return memory;
}

} // namespace

extern "C" [[noreturn]] void boot_main(std::uint32_t magic, HostPhys information) {
    load_exception_table();
    read_multiboot(magic, information, info);
    const Options options = read_options();
    log::info("Escalus monitor, ABI ", abi::version);
    ApicIdList ids;
    find_cpus(info, ids);
    note_taken();
    hardware_options_off = options.hardware_off;
    backend = choose_backend(options);
    if (backend == nullptr)
        start_without_monitor();
    place_memory(options);

    const auto image_bytes = static_cast<std::uint64_t>(image_end - image_start);
    // Memory beyond the identity map cannot be used yet; extending it takes pages, which must come from
    // within.
    if (layout.private_memory.end() > identity_limit() && (cpuid(0x80000001).edx & 1u << 26) == 0)
        panic("this CPU has no 1 GiB pages, and the monitor's memory lies above 4 GiB");
    extend_identity_map(top_of_memory());
    start_page_allocator(layout.private_memory.base, layout.private_memory.bytes);
    start_host_page(layout.shared_area.base, layout.shared_area.bytes);
    start_pool(layout);
    start_fpu();

    auto* cpu = allocate_object<PerCpu>(fpu_area_bytes());
    if (cpu == nullptr)
        panic("no memory for the boot CPU");
    cpu->apic_id = apic::id();
    cpu->set_state(StartState::Running);
    cpus[0] = cpu;
    backend->enable(*cpu);
    start_control_memory({address_of(image_start), image_bytes, layout.private_memory.base,
                          layout.private_memory.bytes, layout.shared_area.base, layout.shared_area.bytes},
                         top_of_memory());
    start_cpus(ids.begin(), static_cast<unsigned>(ids.size()));

    const MemoryList memory = control_memory_map();
    MemoryList occupied = taken;
    occupied.push_back(layout.private_memory);
    occupied.push_back(layout.shared_area);
    for (const auto& range : layout.pool)
        occupied.push_back(range);
    const ControlStart start = load_linux(info, memory, occupied);
    complete_host_page(image_bytes + layout.shared_area.bytes + pages_in_use() * page_size);
    log::info("pool: ", layout.pool_bytes >> 20, " MiB; monitor: ", host_page().monitor_bytes >> 10, " KiB");
    // The control OS owns the console from here on.
    log::set_console(Console::None);
    run_control_on_own_stack(*cpu, start);
}

} // namespace escalus::vmm
