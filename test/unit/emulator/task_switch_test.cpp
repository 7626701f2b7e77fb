// SPDX-License-Identifier: GPL-2.0-or-later
// Hardware task switches, against Intel SDM volume 3A, chapter 7.
#include "devmodel/emulator/task_switch.hpp"
#include "fixture.hpp"

#include <catch2/catch.hpp>

namespace escalus::test {

namespace {
using namespace emulation;
using abi::TaskSource;

constexpr std::uint64_t gdt = 0x1000, ldt = 0x1800, tss_a = 0x2000, tss_b = 0x3000, tss_c = 0x4000;
constexpr std::uint16_t code0 = 0x08, data0 = 0x10, code3 = 0x1b, data3 = 0x23, task_a = 0x28, task_b = 0x30,
                        task_c = 0x38, ldt0 = 0x40, conforming = 0x48, absent = 0x50, local_data = 0x04;
constexpr std::uint8_t access_code = 0x9a, access_data = 0x92, tss32 = 0x89, busy32 = 0x8b, tss16 = 0x81,
                       busy16 = 0x83;
constexpr std::uint32_t vector_df = 8, vector_ts = 10, vector_np = 11;

/// Three tasks: A, which runs, B beside it, and C of 16 bits.
struct Tasks : Pc {
    Tasks() {
        protected_mode(32);
        descriptor(gdt, code0, 0, 0xfffff, access_code, 0xc);
        descriptor(gdt, data0, 0, 0xfffff, access_data, 0xc);
        descriptor(gdt, code3, 0, 0xfffff, access_code | 0x60, 0xc);
        descriptor(gdt, data3, 0, 0xfffff, access_data | 0x60, 0xc);
        descriptor(gdt, task_a, tss_a, 0x67, busy32, 0);
        descriptor(gdt, task_b, tss_b, 0x67, tss32, 0);
        descriptor(gdt, task_c, tss_c, 0x2b, tss16, 0);
        descriptor(gdt, ldt0, ldt, 0x0f, 0x82, 0);
        descriptor(gdt, conforming, 0, 0xfffff, access_code | 4, 0xc);
        descriptor(gdt, absent, 0, 0xfffff, 0x12, 0xc);
        descriptor(ldt, local_data, 0x5000, 0xfff, access_data, 0x4);
        page.gdtr = {gdt, 0x57};
        page.segment[abi::seg_tr] = {task_a, busy32, 0x67, tss_a};
        for (unsigned i = 0; i <= abi::seg_gs; ++i)
            page.segment[i].selector = i == abi::seg_cs ? code0 : data0;
        page.segment[abi::seg_cs].selector = code0;
        for (unsigned i = 0; i < 8; ++i)
            page.gpr[i] = 0x11110000 + i;
        page.rip = 0x7c00;
        page.next_rip = 0x7c07;
        page.rflags = 0x202;
        // Task B is to run at 0x9000 with its own registers.
        put(tss_b + 32, 0x9000);
        put(tss_b + 36, 0x206);
        for (std::uint32_t i = 0; i < 8; ++i)
            put(tss_b + 40 + 4 * i, 0x22220000 + 16 * i);
        for (std::uint32_t i = 0; i < 6; ++i)
            put(tss_b + 72 + 4 * i, i == abi::seg_cs ? code0 : data0);
        put(tss_c + 14, 0x8000, 2);
        put(tss_c + 16, 0x0202, 2);
        for (std::uint32_t i = 0; i < 8; ++i)
            put(tss_c + 18 + 2 * i, 0x3330 + i, 2);
        for (std::uint32_t i = 0; i < 4; ++i)
            put(tss_c + 34 + 2 * i, i == abi::seg_cs ? code0 : data0, 2);
    }
    void descriptor(std::uint64_t table, std::uint16_t selector, std::uint64_t base, std::uint64_t limit,
                    std::uint64_t access, std::uint64_t flags) {
        set_entry(table + (selector & 0xfff8u), (limit & 0xffff) | (base & 0xffffff) << 16 | access << 40 |
                                                    (limit >> 16 & 15) << 48 | flags << 52 |
                                                    base >> 24 << 56);
    }
    void put(std::uint64_t at, std::uint32_t value, unsigned bytes = 4) {
        std::memcpy(&memory.bytes[at], &value, bytes);
    }
    [[nodiscard]] std::uint32_t get(std::uint64_t at, unsigned bytes = 4) const {
        std::uint32_t value = 0;
        std::memcpy(&value, &memory.bytes[at], bytes);
        return value;
    }
    [[nodiscard]] std::uint8_t access(std::uint16_t selector, std::uint64_t table = gdt) const {
        return memory.bytes[table + (selector & 0xfff8u) + 5];
    }
    EmulationResult go(TaskSource source, std::uint16_t selector) {
        page.exit_reason = static_cast<std::uint32_t>(abi::ExitReason::TaskSwitch);
        page.exit.task = {selector, source};
        page.dirty = 0;
        return emulator.task_switch(page);
    }
    void delivers(abi::EventType type, std::uint8_t vector, bool has_code = false, std::uint32_t error = 0) {
        page.event = {1, type, vector, has_code, error};
        page.next_rip = page.rip;
    }
    [[nodiscard]] std::uint16_t selector(unsigned segment) const { return page.segment[segment].selector; }
    /// After a fault that finds nothing changed.
    void check_untouched() const {
        CHECK(page.rip == 0x7c00);
        CHECK(selector(abi::seg_tr) == task_a);
        CHECK(page.gpr[0] == 0x11110000);
        CHECK((page.cr0 & control::cr0_ts) == 0);
        CHECK(access(task_a) == busy32);
        CHECK(access(task_b) == tss32);
    }
};
} // namespace

TEST_CASE("JMP to a TSS", "[emulator][task]") {
    Tasks pc;
    pc.put(tss_a + 72, 0xdead0000); // what lies above a selector stays
    pc.page.dr7 = 0x7ff;
    REQUIRE(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Done);
    // The old task is saved as it goes on after the JMP.
    CHECK(pc.get(tss_a + 32) == 0x7c07);
    CHECK(pc.get(tss_a + 36) == 0x202);
    for (std::uint32_t i = 0; i < 8; ++i)
        CHECK(pc.get(tss_a + 40 + 4 * i) == 0x11110000 + i);
    CHECK(pc.get(tss_a + 72) == (0xdead0000 | data0));
    CHECK(pc.get(tss_a + 76, 2) == code0);
    CHECK(pc.access(task_a) == tss32);
    // The new one runs.
    CHECK(pc.page.rip == 0x9000);
    CHECK(pc.page.rflags == 0x206);
    for (std::uint32_t i = 0; i < 8; ++i)
        CHECK(pc.page.gpr[i] == 0x22220000 + 16 * i);
    CHECK(pc.access(task_b) == busy32);
    CHECK(pc.selector(abi::seg_tr) == task_b);
    CHECK(pc.page.segment[abi::seg_tr].base == tss_b);
    CHECK(pc.page.segment[abi::seg_tr].attributes == busy32);
    CHECK(pc.page.segment[abi::seg_cs].attributes == 0xc9b);
    CHECK(pc.page.segment[abi::seg_cs].limit == 0xffffffff);
    CHECK(pc.page.segment[abi::seg_ldtr].attributes == 0);
    CHECK(pc.access(code0) == (access_code | 1)); // accessed
    CHECK((pc.page.cr0 & control::cr0_ts) != 0);
    CHECK((pc.page.dr7 & 0x155) == 0);
    CHECK((pc.page.dr7 & 0x2aa) == 0x2aa);
    CHECK(pc.get(tss_b) == 0); // no link
    CHECK(pc.page.dirty == (abi::group_general | abi::group_segments | abi::group_control));
    CHECK(pc.page.event.valid == 0);
}

TEST_CASE("CALL nests, and IRET comes back", "[emulator][task]") {
    Tasks pc;
    REQUIRE(pc.go(TaskSource::Call, task_b).outcome == Outcome::Done);
    CHECK(pc.get(tss_b, 2) == task_a);
    CHECK((pc.page.rflags & flag::nt) != 0);
    CHECK(pc.access(task_a) == busy32);
    CHECK(pc.access(task_b) == busy32);
    pc.page.rip = 0x9010;
    pc.page.next_rip = 0x9011;
    pc.page.gpr[abi::rbx] = 0x777;
    REQUIRE(pc.go(TaskSource::Iret, task_a).outcome == Outcome::Done);
    CHECK(pc.page.rip == 0x7c07);
    CHECK(pc.page.gpr[abi::rbx] == 0x11110003);
    CHECK((pc.page.rflags & flag::nt) == 0);
    CHECK(pc.access(task_a) == busy32);
    CHECK(pc.access(task_b) == tss32);
    CHECK(pc.get(tss_b + 32) == 0x9011);
    CHECK(pc.get(tss_b + 52) == 0x777);
    CHECK((pc.get(tss_b + 36) & flag::nt) == 0); // saved without NT
}

TEST_CASE("a task gate delivers an exception with its error code on the new stack", "[emulator][task]") {
    Tasks pc;
    pc.put(tss_b + 56, 0x6000); // ESP
    pc.delivers(abi::EventType::Exception, vector_df, true, 0);
    pc.put(0x5ffc, 0x5a5a5a5a);
    REQUIRE(pc.go(TaskSource::Gate, task_b).outcome == Outcome::Done);
    CHECK(pc.page.gpr[abi::rsp] == 0x5ffc);
    CHECK(pc.get(0x5ffc) == 0);
    CHECK(pc.get(tss_a + 32) == 0x7c00); // on the instruction
    CHECK(pc.get(tss_b, 2) == task_a);
    CHECK((pc.page.rflags & flag::nt) != 0);
    CHECK(pc.page.event.valid == 0); // it is delivered
}

TEST_CASE("a task gate delivers interrupts and INT n without one", "[emulator][task]") {
    Tasks pc;
    pc.put(tss_b + 56, 0x6000);
    SECTION("an interrupt") {
        pc.delivers(abi::EventType::Interrupt, 0x30);
    }
    SECTION("an NMI") {
        pc.delivers(abi::EventType::Nmi, 2);
    }
    SECTION("INT n goes on after itself") {
        pc.page.next_rip = 0x7c02;
    }
    const auto saved = pc.page.next_rip;
    REQUIRE(pc.go(TaskSource::Gate, task_b).outcome == Outcome::Done);
    CHECK(pc.page.gpr[abi::rsp] == 0x6000);
    CHECK(pc.get(tss_a + 32) == saved);
    CHECK(pc.page.event.valid == 0);
}

TEST_CASE("16-bit tasks", "[emulator][task]") {
    Tasks pc;
    REQUIRE(pc.go(TaskSource::Call, task_c).outcome == Outcome::Done);
    CHECK(pc.access(task_c) == busy16);
    CHECK(pc.page.rip == 0x8000);
    CHECK(pc.page.rflags == (0x202 | flag::nt));
    CHECK((pc.page.gpr[abi::rdi] & 0xffff) == 0x3337);
    CHECK(pc.selector(abi::seg_ss) == data0);
    CHECK(pc.selector(abi::seg_fs) == 0);
    CHECK(pc.page.segment[abi::seg_gs].attributes == 0);
    CHECK(pc.get(tss_c, 2) == task_a);
    pc.page.next_rip = 0x12348001;
    pc.put(tss_c + 44, 0x5a5a, 2); // beyond what a task of 16 bits has
    REQUIRE(pc.go(TaskSource::Iret, task_a).outcome == Outcome::Done);
    CHECK(pc.get(tss_c + 14, 2) == 0x8001);
    CHECK(pc.get(tss_c + 18 + 14, 2) == 0x3337);
    CHECK(pc.get(tss_c + 44, 2) == 0x5a5a);
    CHECK(pc.access(task_c) == tss16);
    CHECK(pc.page.gpr[abi::rax] == 0x11110000);
}

TEST_CASE("a user task with an LDT", "[emulator][task]") {
    Tasks pc;
    pc.put(tss_b + 96, ldt0);
    pc.put(tss_b + 76, code3);
    pc.put(tss_b + 80, data3);
    for (const unsigned offset : {72, 84, 88})
        pc.put(tss_b + offset, data3);
    pc.descriptor(ldt, local_data, 0x5000, 0xfff, access_data | 0x60, 0x4);
    pc.put(tss_b + 92, local_data | 3);
    REQUIRE(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Done);
    CHECK(pc.page.segment[abi::seg_ldtr].base == ldt);
    CHECK(pc.page.segment[abi::seg_gs].base == 0x5000);
    CHECK(pc.access(local_data, ldt) == (access_data | 0x61));
    CHECK((pc.page.segment[abi::seg_ss].attributes >> 5 & 3) == 3);
    CHECK((pc.page.segment[abi::seg_cs].attributes >> 5 & 3) == 3);
}

TEST_CASE("a virtual-8086 task", "[emulator][task]") {
    Tasks pc;
    pc.put(tss_b + 36, 0x23202);
    for (std::uint32_t i = 0; i < 6; ++i)
        pc.put(tss_b + 72 + 4 * i, 0x1000 * i + 0x1234);
    REQUIRE(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Done);
    CHECK((pc.page.rflags & flag::vm) != 0);
    for (std::uint32_t i = 0; i < 6; ++i) {
        CHECK(pc.page.segment[i].base == (0x1000 * i + 0x1234) * 16);
        CHECK(pc.page.segment[i].attributes == 0xf3);
        CHECK(pc.page.segment[i].limit == 0xffff);
    }
}

TEST_CASE("with paging CR3 is loaded, and the old tables find both TSSs", "[emulator][task]") {
    Tasks pc;
    constexpr std::uint32_t directory = 0x180000, other = 0x182000, tables = 0x181000;
    for (std::uint32_t i = 0; i < 0x100; ++i)
        pc.put(tables + 4 * i, i << 12 | 3);
    pc.put(directory, tables | 3);
    pc.put(other, tables | 3);
    pc.page.cr3 = directory;
    pc.page.cr0 |= control::cr0_pg | control::cr0_wp;
    pc.put(tss_b + 28, other);
    SECTION("loaded") {
        REQUIRE(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Done);
        CHECK(pc.page.cr3 == other);
    }
    SECTION("a task of 16 bits keeps it") {
        REQUIRE(pc.go(TaskSource::Jump, task_c).outcome == Outcome::Done);
        CHECK(pc.page.cr3 == directory);
    }
    SECTION("the new TSS is not there") {
        pc.put(tables + 4 * (tss_b >> 12), 0);
        REQUIRE(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Fault);
        CHECK(pc.raised(vector::pf, 0));
        CHECK(pc.page.cr2 == tss_b);
        pc.check_untouched();
    }
    SECTION("the old TSS cannot be written") {
        pc.put(tables + 4 * (tss_a >> 12), static_cast<std::uint32_t>(tss_a) | 1);
        REQUIRE(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Fault);
        CHECK(pc.raised(vector::pf, 3)); // a supervisor's write to a page that is there
        pc.check_untouched();
    }
    SECTION("the new address space has no GDT: a fault of the new task") {
        pc.put(other, 0);
        REQUIRE(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Fault);
        CHECK(pc.raised(vector::pf, 0));
        CHECK(pc.page.cr2 == gdt + code0);
        CHECK(pc.page.rip == 0x9000);
        CHECK(pc.selector(abi::seg_tr) == task_b);
    }
}

TEST_CASE("PAE's page directory pointers are checked", "[emulator][task]") {
    Tasks pc;
    constexpr std::uint32_t pointers = 0x180000, directory = 0x181000, other = 0x182000;
    pc.set_entry(pointers, directory | 1);
    pc.set_entry(directory, 0x83); // 2 MiB
    pc.set_entry(other, directory | 1);
    pc.set_entry(other + 8, directory | 3); // bit 1 is reserved
    pc.page.cr3 = pointers;
    pc.page.cr4 = control::cr4_pae;
    pc.page.cr0 |= control::cr0_pg;
    pc.put(tss_b + 28, other);
    REQUIRE(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Fault);
    CHECK(pc.raised(vector::gp, 0));
    CHECK(pc.page.rip == 0x9000);
    pc.set_entry(other + 8, 0);
    Tasks again;
    again.memory.bytes = pc.memory.bytes;
    again.page.cr3 = pointers;
    again.page.cr4 = control::cr4_pae;
    again.page.cr0 |= control::cr0_pg;
    again.descriptor(gdt, task_a, tss_a, 0x67, busy32, 0);
    again.descriptor(gdt, task_b, tss_b, 0x67, tss32, 0);
    CHECK(again.go(TaskSource::Jump, task_b).outcome == Outcome::Done);
    CHECK(again.page.cr3 == other);
}

TEST_CASE("the debug trap flag of a task", "[emulator][task]") {
    Tasks pc;
    pc.put(tss_b + 100, 1, 2);
    REQUIRE(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Done);
    CHECK(pc.raised(vector::db));
    CHECK((pc.page.dr6 & 0x8000) != 0);
    CHECK(pc.page.rip == 0x9000);
}

TEST_CASE("faults before the commit point leave the old task as it was", "[emulator][task]") {
    Tasks pc;
    struct Row {
        const char* what;
        TaskSource source;
        std::uint16_t selector;
        std::uint8_t vector;
    };
    const Row rows[] = {
        {"null", TaskSource::Jump, 0x0000, vector::gp},
        {"null by IRET", TaskSource::Iret, 0x0003, vector_ts},
        {"in the LDT", TaskSource::Call, task_b | 4, vector::gp},
        {"beyond the GDT", TaskSource::Gate, 0x58, vector::gp},
        {"no TSS", TaskSource::Jump, data0, vector::gp},
        {"busy", TaskSource::Call, task_a, vector::gp},
        {"not busy, by IRET", TaskSource::Iret, task_b, vector_ts},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        pc.page.event = {};
        CHECK(pc.go(row.source, row.selector).outcome == Outcome::Fault);
        CHECK(pc.raised(row.vector, row.selector & 0xfffc));
        pc.check_untouched();
    }
    pc.page.event = {};
    SECTION("not present") {
        pc.descriptor(gdt, task_b, tss_b, 0x67, 0x09, 0);
        CHECK(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Fault);
        CHECK(pc.raised(vector_np, task_b));
    }
    SECTION("too small") {
        pc.descriptor(gdt, task_b, tss_b, 0x66, tss32, 0);
        CHECK(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Fault);
        CHECK(pc.raised(vector_ts, task_b));
    }
    SECTION("an old TSS that is too small") {
        pc.page.segment[abi::seg_tr].limit = 0x5f;
        CHECK(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Fault);
        CHECK(pc.raised(vector_ts, task_a));
    }
    SECTION("by an external event, which the error code tells") {
        pc.delivers(abi::EventType::Interrupt, 0x30);
        CHECK(pc.go(TaskSource::Gate, data0).outcome == Outcome::Fault);
        CHECK(pc.raised(vector::gp, data0 | 1));
    }
    SECTION("by an exception that such a fault makes a double one") {
        pc.delivers(abi::EventType::Exception, vector::gp, true, 0);
        CHECK(pc.go(TaskSource::Gate, data0).outcome == Outcome::Fault);
        CHECK(pc.raised(vector_df, 0));
    }
    SECTION("by a double fault: the CPU shuts down") {
        pc.delivers(abi::EventType::Exception, vector_df, true, 0);
        CHECK(pc.go(TaskSource::Gate, data0).outcome == Outcome::TripleFault);
    }
}

TEST_CASE("faults after the commit point are the new task's", "[emulator][task]") {
    struct Row {
        const char* what;
        unsigned offset; ///< in the new TSS
        std::uint16_t selector;
        std::uint32_t vector;
    };
    const Row rows[] = {
        {"LDT in the LDT", 96, ldt0 | 4, vector_ts},
        {"LDT that is none", 96, data0, vector_ts},
        {"CS null", 76, 0, vector_ts},
        {"CS that is data", 76, data0, vector_ts},
        {"CS of another level", 76, code0 | 3, vector_ts},
        {"CS beyond the GDT", 76, 0x100, vector_ts},
        {"SS null", 80, 0, vector_ts},
        {"SS that is code", 80, code0, vector_ts},
        {"SS of another level", 80, data3, vector_ts},
        {"SS absent", 80, absent, vector::ss},
        {"DS absent", 84, absent, vector_np},
        {"ES a TSS", 72, task_a, vector_ts},
        {"FS in no LDT", 88, local_data, vector_ts},
        {"GS beyond the GDT", 92, 0x200, vector_ts},
    };
    for (const auto& row : rows) {
        INFO(row.what);
        Tasks pc;
        pc.put(tss_b + row.offset, row.selector);
        CHECK(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Fault);
        CHECK(pc.raised(static_cast<std::uint8_t>(row.vector), row.selector & 0xfffc));
        CHECK(pc.page.rip == 0x9000);
        CHECK(pc.selector(abi::seg_tr) == task_b);
        CHECK(pc.access(task_b) == busy32);
        CHECK(pc.access(task_a) == tss32);
        // VM entry takes what is there.
        CHECK((pc.page.segment[abi::seg_cs].attributes & 0x98) == 0x98);
        CHECK((pc.page.segment[abi::seg_ss].attributes >> 5 & 3) == (pc.selector(abi::seg_cs) & 3));
    }
    SECTION("a conforming code segment runs at the selector's level") {
        Tasks pc;
        pc.put(tss_b + 76, conforming | 3);
        pc.put(tss_b + 80, data3);
        for (const unsigned offset : {72, 84, 88, 92})
            pc.put(tss_b + offset, 0);
        CHECK(pc.go(TaskSource::Jump, task_b).outcome == Outcome::Done);
        CHECK((pc.page.segment[abi::seg_ss].attributes >> 5 & 3) == 3);
    }
    SECTION("no room for the error code") {
        Tasks pc;
        pc.descriptor(gdt, data0, 0, 0x0fff, access_data, 0x4);
        pc.put(tss_b + 56, 0x4000);
        pc.delivers(abi::EventType::Exception, vector::ac, true, 0);
        CHECK(pc.go(TaskSource::Gate, task_b).outcome == Outcome::Fault);
        CHECK(pc.raised(vector::ss, 0));
        CHECK(pc.page.rip == 0x9000);
    }
}

TEST_CASE("what two faults make of each other", "[emulator][task]") {
    const auto combined = [](std::uint8_t first, std::uint8_t second) -> unsigned {
        const abi::Event event{1, abi::EventType::Exception, first, 0, 0};
        const auto result = combine_faults(event, {.vector = second});
        return result ? result->vector : 0xff;
    };
    CHECK(combined(3, 13) == 13);
    CHECK(combined(13, 13) == 8);
    CHECK(combined(13, 14) == 14);
    CHECK(combined(14, 13) == 8);
    CHECK(combined(14, 14) == 8);
    CHECK(combined(17, 14) == 14);
    CHECK(combined(8, 11) == 0xff);
    CHECK(combined(8, 14) == 0xff);
    const abi::Event interrupt{1, abi::EventType::Interrupt, 13, 0, 0};
    CHECK(combine_faults(interrupt, {.vector = 13})->vector == 13);
}

} // namespace escalus::test
