// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/guests/modes.hpp"

#include "test/nested/framework/memory.hpp"
#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/log.hpp"
#include "vmm/memory/page_format.hpp"

#include <cstring>

namespace escalus::nested {

constinit GuestMemory guest_memory{};

namespace {

using abi::Segment;
namespace cr0 = vmm::cr0;
namespace cr4 = vmm::cr4;
namespace efer = vmm::efer;

constexpr std::uint64_t mapped_bytes = 4ull << 30;
constexpr unsigned paging_budget = 64;
constexpr std::uint32_t flat = 0xffffffff, limit16 = 0xffff;
constexpr std::uint16_t low_code_segment = low_code >> 4,
                        low_stack_segment = (low_stack_top & ~0xffffull) >> 4,
                        low_data_segment = low_data >> 4;
// The 16-bit handlers are copied behind the code, the vector table lies behind the data.
constexpr std::uint64_t low_handlers = low_code + 0x8000, low_vectors = low_data + 0x8000;
constexpr std::uint16_t tss_limit = 0x67 + 1 + 8192;

constinit vmm::NestedFormat page_format = vmm::amd64_page_format(false);

template <typename T>
std::uint64_t address(const T* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
}

/// APM 2, section 4.7: a segment descriptor.
constexpr std::uint64_t descriptor(std::uint64_t base, std::uint32_t limit, std::uint16_t attributes) {
    const std::uint64_t scaled = (attributes & 1 << 11) != 0 ? limit >> 12 : limit;
    return (scaled & 0xffff) | (base & 0xff'ffff) << 16 | std::uint64_t{attributes & 0xffu} << 40 |
           (scaled >> 16 & 0xf) << 48 | std::uint64_t{attributes >> 8u & 0xfu} << 52 |
           (base >> 24 & 0xff) << 56;
}

Segment flat_segment(std::uint16_t selector, std::uint16_t attributes) {
    return {selector, attributes, flat, 0};
}
Segment real_segment(std::uint16_t selector, std::uint16_t attributes) {
    return {selector, attributes, limit16, std::uint64_t{selector} << 4};
}

void put32(std::uint8_t* table, unsigned offset, std::uint64_t value) {
    const auto low = static_cast<std::uint32_t>(value);
    std::memcpy(table + offset, &low, sizeof low);
}
void put64(std::uint8_t* table, unsigned offset, std::uint64_t value) {
    std::memcpy(table + offset, &value, sizeof value);
}

void fill_gdt() {
    auto* gdt = guest_memory.gdt;
    const auto set = [&](std::uint16_t selector, std::uint64_t base, std::uint32_t limit,
                         std::uint16_t attributes) {
        gdt[selector / 8] = descriptor(base, limit, attributes);
    };
    set(selector::code64, 0, flat, attributes::code64);
    set(selector::data32, 0, flat, attributes::data32);
    set(selector::code32, 0, flat, attributes::code32);
    set(selector::code16, low_code, limit16, attributes::code16);
    set(selector::data16, low_data, limit16, attributes::data16);
    set(selector::user_data, 0, flat, attributes::data32 | attributes::user);
    set(selector::user_code64, 0, flat, attributes::code64 | attributes::user);
    set(selector::user_code32, 0, flat, attributes::code32 | attributes::user);
    // In long mode a TSS descriptor has 16 bytes; all addresses here are below 4 GiB.
    set(selector::tss, address(guest_memory.tss), tss_limit, attributes::busy_tss);
    set(selector::second_tss, address(guest_memory.second_tss), 0x67, attributes::busy_tss & ~2);
}

/// APM 2, section 12.2.5 (long mode) and 12.2.2 (legacy): the stacks of the inner levels.
void fill_tss(bool long_mode) {
    auto* tss = guest_memory.tss;
    const auto kernel_stack = address(guest_memory.kernel_stack) + stack_bytes;
    if (long_mode) {
        put64(tss, 4, kernel_stack);
        put64(tss, 36, address(guest_memory.ist_stack) + stack_bytes);
    } else {
        put32(tss, 4, kernel_stack);
        put32(tss, 8, selector::data32);
    }
    put32(tss, 100, 0x68u << 16); // where the I/O permission bitmap begins
    tss[tss_limit] = 0xff;
}

/// Gates that every CPL may use, so that INT n needs no table of its own.
void fill_idt(bool long_mode) {
    auto* idt = guest_memory.idt;
    const auto handlers = address(long_mode ? guest_handlers64 : guest_handlers32);
    const auto code = long_mode ? selector::code64 : selector::code32;
    for (unsigned vector = 0; vector < vectors; ++vector) {
        const auto entry = handlers + vector * handler_bytes;
        const auto low =
            (entry & 0xffff) | std::uint64_t{code} << 16 | 0xee00ull << 32 | (entry >> 16 & 0xffff) << 48;
        put64(idt, vector * (long_mode ? 16 : 8), low);
        if (long_mode)
            put64(idt, vector * 16 + 8, entry >> 32);
    }
}

/// The interrupt vector table of real mode.
void fill_ivt() {
    std::memcpy(vmm::physical<char>(HostPhys{low_handlers}), guest_handlers16, vectors * handler_bytes);
    auto* table = vmm::physical<std::uint8_t>(HostPhys{low_vectors});
    for (unsigned vector = 0; vector < vectors; ++vector)
        put32(table, vector * 4,
              (low_code_segment << 16) | (low_handlers - low_code + vector * handler_bytes));
}

void fill_page_tables() {
    auto& m = guest_memory;
    m.paging.release();
    if (!m.paging.start(page_format, paging_budget) ||
        !m.paging.map(GuestPhys{0}, HostPhys{0}, mapped_bytes,
                      abi::map_read | abi::map_write | abi::map_execute))
        vmm::panic("no memory for a guest's page tables");
    constexpr std::uint64_t leaf = 0x87; // present, writable, user, large
    for (std::uint64_t i = 0; i < 1024; i += 2)
        m.paged32[i / 2] = (i << 22 | leaf) | ((i + 1) << 22 | leaf) << 32;
    for (std::uint64_t i = 0; i < 4; ++i)
        m.pae[i] = (address(m.pae) + (i + 1) * page_size) | 1;
    for (std::uint64_t i = 0; i < 4 * 512; ++i)
        m.pae[512 + i] = i << 21 | leaf;
}

void clear_memory() {
    auto& m = guest_memory;
    std::memset(m.gdt, 0, page_size);
    std::memset(m.idt, 0, page_size);
    std::memset(m.tss, 0, 3 * page_size);
    std::memset(m.second_tss, 0, page_size);
    std::memset(m.stack, 0, stack_bytes);
    std::memset(m.kernel_stack, 0, stack_bytes);
    std::memset(m.ist_stack, 0, stack_bytes);
    std::memset(m.data, 0, data_bytes);
    std::memset(vmm::physical<char>(HostPhys{low_code}), 0, low_end - low_code);
}

bool has_16_bit_code(Mode mode) {
    return mode == Mode::Real || mode == Mode::Unreal || mode == Mode::Protected16 ||
           mode == Mode::Virtual8086;
}

void set_segments(GuestState& s, const Segment& code, const Segment& stack, const Segment& data) {
    s.cs = code;
    s.ss = stack;
    s.ds = s.es = s.fs = s.gs = data;
}

void set_real_segments(GuestState& s, std::uint16_t code, std::uint16_t data) {
    set_segments(s, real_segment(low_code_segment, code), real_segment(low_stack_segment, data),
                 real_segment(low_data_segment, data));
}

} // namespace

Code assemble(std::initializer_list<unsigned> bytes) {
    static char buffer[64];
    unsigned length = 0;
    for (const unsigned byte : bytes)
        if (length < sizeof buffer - 1)
            buffer[length++] = static_cast<char>(byte);
    buffer[length++] = static_cast<char>(0xf4); // HLT
    return {buffer, buffer + length};
}

bool has_1g_pages() {
    return (vmm::cpuid(0x80000001).edx & 1u << 26) != 0;
}

void allocate_guest_memory() {
    auto& m = guest_memory;
    const auto pages = [](std::uint64_t bytes) {
        return static_cast<std::uint8_t*>(permanent_pages(static_cast<unsigned>(bytes / page_size)));
    };
    m.gdt = reinterpret_cast<std::uint64_t*>(pages(page_size));
    m.idt = pages(page_size);
    m.tss = pages(3 * page_size);
    m.second_tss = pages(page_size);
    m.stack = pages(stack_bytes);
    m.kernel_stack = pages(stack_bytes);
    m.ist_stack = pages(stack_bytes);
    m.data = pages(data_bytes);
    m.paged32 = reinterpret_cast<std::uint64_t*>(pages(page_size));
    m.pae = reinterpret_cast<std::uint64_t*>(pages(5 * page_size));
    page_format.pages_1g = has_1g_pages();
}

GuestState make_guest(Mode mode, Code code) {
    const bool long_mode = mode == Mode::Long || mode == Mode::Compatibility;
    const bool real = mode == Mode::Real || mode == Mode::Unreal;
    auto& m = guest_memory;
    clear_memory();
    fill_gdt();
    fill_tss(long_mode);
    fill_page_tables();
    if (real)
        fill_ivt();
    else
        fill_idt(long_mode);

    GuestState s{};
    s.rflags = vmm::rflags::fixed;
    s.rip = address(code.start);
    s.rsp = address(m.stack) + stack_bytes - 64;
    s.ldtr = {0, attributes::ldt, limit16, 0};
    s.tr = {selector::tss, attributes::busy_tss, tss_limit, address(m.tss)};
    s.gdtr = {address(m.gdt), page_size - 1};
    s.idtr = {address(m.idt), page_size - 1};
    s.cr0 = cr0::et | cr0::ne | (real ? 0 : cr0::pe);
    if (has_16_bit_code(mode)) {
        std::memcpy(vmm::physical<char>(HostPhys{low_code}), code.start, code.bytes());
        s.rip = 0;
        s.rsp = low_stack_top & 0xffff;
    }
    switch (mode) {
    case Mode::Real:
    case Mode::Unreal:
        set_real_segments(s, attributes::code16, attributes::data16);
        s.idtr = {low_vectors, 0x3ff};
        if (mode == Mode::Unreal)
            s.ds = s.es = {0, attributes::data16 | 1 << 11, flat, 0};
        break;
    case Mode::Protected16:
        set_segments(s, {selector::code16, attributes::code16, limit16, low_code},
                     {selector::data16, attributes::data16, limit16, low_stack_top & ~0xffffull},
                     {selector::data16, attributes::data16, limit16, low_data});
        break;
    case Mode::Virtual8086:
        set_real_segments(s, attributes::v8086, attributes::v8086);
        s.rflags |= vmm::rflags::vm | 3 << 12; // IOPL 3
        s.cr3 = address(m.paged32);
        s.cr4 = cr4::pse;
        s.cr0 |= cr0::pg;
        break;
    case Mode::Protected32:
    case Mode::Paged32:
    case Mode::Pae:
        set_segments(s, flat_segment(selector::code32, attributes::code32),
                     flat_segment(selector::data32, attributes::data32),
                     flat_segment(selector::data32, attributes::data32));
        if (mode == Mode::Paged32) {
            s.cr3 = address(m.paged32);
            s.cr4 = cr4::pse;
        } else if (mode == Mode::Pae) {
            s.cr3 = address(m.pae);
            s.cr4 = cr4::pae;
        }
        if (mode != Mode::Protected32)
            s.cr0 |= cr0::pg | cr0::wp;
        break;
    case Mode::Long:
    case Mode::Compatibility:
        set_segments(s,
                     mode == Mode::Long ? flat_segment(selector::code64, attributes::code64)
                                        : flat_segment(selector::code32, attributes::code32),
                     flat_segment(selector::data32, attributes::data32),
                     flat_segment(selector::data32, attributes::data32));
        s.cr0 |= cr0::pg | cr0::wp | cr0::mp;
        s.cr3 = raw(m.paging.root());
        s.cr4 = cr4::pae | cr4::osfxsr | cr4::osxmmexcpt;
        s.efer = efer::lme | efer::lma | efer::nxe | efer::sce;
        break;
    }
    return s;
}

GuestState make_guest(void (*function)()) {
    const auto* start = reinterpret_cast<const char*>(function);
    GuestState s = make_guest(Mode::Long, {start, start});
    // As if called from guest_done.
    s.rsp -= 8;
    *reinterpret_cast<std::uint64_t*>(s.rsp) = address(guest_done);
    return s;
}

} // namespace escalus::nested
