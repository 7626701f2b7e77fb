// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/local_apic.hpp"

#include "test/unit/chipset/apic_fixture.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using test::ApicBoard;

namespace {

constexpr unsigned id_reg = 0x20, version_reg = 0x30, tpr = 0x80, ppr = 0xa0, eoi = 0xb0, ldr = 0xd0,
                   dfr = 0xe0, svr = 0xf0, isr = 0x100, tmr = 0x180, irr = 0x200, esr = 0x280, icr = 0x300,
                   icr_high = 0x310, lvt_timer = 0x320, lvt_perf = 0x340, lvt0 = 0x350, lvt1 = 0x360,
                   lvt_error = 0x370, initial = 0x380;

std::uint32_t bit_of(ApicBoard& b, unsigned bitmap, unsigned vector) {
    return b.get(bitmap + vector / 32 * 16) >> vector % 32 & 1;
}

ApicMessage fixed(std::uint8_t vector, std::uint32_t destination = 0, bool level = false) {
    return {.vector = vector, .level = level, .destination = destination};
}

struct EoiLog final : EoiSink {
    void eoi(std::uint8_t vector) override { vectors.push_back(vector); }
    std::vector<std::uint8_t> vectors;
};

} // namespace

TEST_CASE("APIC: state after power-on") {
    ApicBoard b{2};
    REQUIRE(b[0].base_msr() == 0xfee00900);
    REQUIRE(b[1].base_msr() == 0xfee00800);
    REQUIRE(b[0].mmio_base() == 0xfee00000);
    REQUIRE(b.get(id_reg, 1) == 0x01000000);
    REQUIRE(b.get(version_reg) == 0x01050014);
    REQUIRE(b.get(svr) == 0xff);
    REQUIRE(b.get(dfr) == 0xffffffff);
    for (unsigned lvt = lvt_timer; lvt <= lvt_error; lvt += 16)
        REQUIRE(b.get(lvt) == 0x10000);
    for (unsigned offset : {tpr, ppr, ldr, esr, icr, icr_high, initial})
        REQUIRE(b.get(offset) == 0);
}

TEST_CASE("APIC: a vector that the CPU may take by itself") {
    ApicBoard b;
    b.enable_all();
    b.bus.send(fixed(0x61));
    REQUIRE(b[0].requested_interrupt() == 0x61);
    b[0].offer(0x61);
    SECTION("taken: it is in service") {
        b[0].settle_offer(true);
        REQUIRE(bit_of(b, irr, 0x61) == 0);
        REQUIRE(bit_of(b, isr, 0x61) == 1);
        b[0].settle_offer(true); // there is no other
        b.set(eoi, 0);
        REQUIRE(bit_of(b, isr, 0x61) == 0);
    }
    SECTION("not taken: it is requested still") {
        b[0].settle_offer(false);
        REQUIRE(b[0].pending_interrupt() == 0x61);
        REQUIRE(bit_of(b, isr, 0x61) == 0);
    }
    SECTION("taken, and requested anew: both count") {
        b.bus.send(fixed(0x61));
        b[0].settle_offer(true);
        REQUIRE(bit_of(b, irr, 0x61) == 1);
        REQUIRE(bit_of(b, isr, 0x61) == 1);
        b.set(eoi, 0);
        REQUIRE(b[0].pending_interrupt() == 0x61);
    }
    SECTION("INIT comes: it is forgotten") {
        b.bus.send({.delivery = ApicDelivery::Init, .vector = 0, .level = true, .destination = 0});
        b[0].settle_offer(true);
        b.enable_all();
        REQUIRE(bit_of(b, isr, 0x61) == 0);
        REQUIRE_FALSE(b[0].requested_interrupt());
    }
}

TEST_CASE("APIC: an end of interrupt that waits until the next exit") {
    ApicBoard b;
    b.enable_all();
    REQUIRE_FALSE(b[0].end_can_wait()); // none is in service
    b.bus.send(fixed(0x61));
    REQUIRE_FALSE(b[0].end_can_wait());
    b[0].accept(0x61);
    SECTION("ended unseen") {
        REQUIRE(b[0].end_can_wait());
        b[0].let_end_wait();
        b[0].settle_end(true);
        REQUIRE(bit_of(b, isr, 0x61) == 0);
        b[0].accept(0x62);
        b[0].settle_end(true); // there is no other
        REQUIRE(bit_of(b, isr, 0x62) == 1);
    }
    SECTION("not ended") {
        b[0].let_end_wait();
        b[0].settle_end(false);
        REQUIRE(bit_of(b, isr, 0x61) == 1);
    }
    SECTION("a request that would have to wait is signalled: nothing may be in service any more") {
        const auto kicks = b.cpu[0]->kicks;
        b.bus.send(fixed(0x41));
        REQUIRE(b.cpu[0]->kicks == kicks); // the end is a write to the register, which finds it
        REQUIRE_FALSE(b[0].end_can_wait());
        b.set(eoi, 0);
        b[0].accept(0x41);
        b[0].let_end_wait();
        b.bus.send(fixed(0x31));
        REQUIRE(b.cpu[0]->kicks == kicks + 1);
        b[0].settle_end(true);
        REQUIRE(b[0].pending_interrupt() == 0x31);
    }
    SECTION("level-triggered: somebody waits for the end") {
        b.set(eoi, 0);
        auto message = fixed(0x71);
        message.level = true;
        b.bus.send(message);
        b[0].accept(0x71);
        REQUIRE_FALSE(b[0].end_can_wait());
    }
    SECTION("of an interrupt that the CPU takes by itself") {
        b.set(eoi, 0);
        b.bus.send(fixed(0x62));
        b[0].offer(0x62);
        REQUIRE(b[0].end_can_wait());
        b[0].let_end_wait();
        b[0].settle_offer(true);
        b[0].settle_end(true);
        REQUIRE(bit_of(b, isr, 0x62) == 0);
        REQUIRE_FALSE(b[0].requested_interrupt());
    }
    SECTION("while one is on offer: which of both ended could not be told") {
        b.bus.send(fixed(0x71));
        b[0].offer(0x71);
        REQUIRE_FALSE(b[0].end_can_wait());
    }
    SECTION("INIT comes: it is forgotten") {
        b[0].let_end_wait();
        b.bus.send({.delivery = ApicDelivery::Init, .vector = 0, .level = true, .destination = 0});
        b.enable_all();
        b.bus.send(fixed(0x62));
        b[0].accept(0x62);
        b[0].settle_end(true);
        REQUIRE(bit_of(b, isr, 0x62) == 1);
    }
}

TEST_CASE("APIC: request, accept, end") {
    ApicBoard b;
    b.enable_all();
    b.bus.send(fixed(0x61));
    REQUIRE(b.cpu[0]->kicks == 1);
    REQUIRE(bit_of(b, irr, 0x61) == 1);
    REQUIRE(b[0].pending_interrupt() == 0x61);
    b[0].accept(0x61);
    REQUIRE(bit_of(b, irr, 0x61) == 0);
    REQUIRE(bit_of(b, isr, 0x61) == 1);
    REQUIRE(b.get(ppr) == 0x60);
    b.bus.send(fixed(0x62)); // same class: waits
    REQUIRE_FALSE(b[0].pending_interrupt());
    REQUIRE(b.cpu[0]->kicks == 1);
    b.bus.send(fixed(0x71));
    REQUIRE(b[0].pending_interrupt() == 0x71);
    b[0].accept(0x71);
    b.set(eoi, 0);
    REQUIRE(bit_of(b, isr, 0x71) == 0);
    REQUIRE(bit_of(b, isr, 0x61) == 1);
    b.set(eoi, 0);
    REQUIRE(b[0].pending_interrupt() == 0x62);
    b.set(eoi, 0); // with nothing in service: harmless
}

TEST_CASE("APIC: every vector from 16 up, and the highest goes first") {
    ApicBoard b;
    b.enable_all();
    for (unsigned vector = 16; vector < 256; ++vector)
        b.bus.send(fixed(static_cast<std::uint8_t>(vector)));
    for (unsigned vector = 256; vector-- > 16;) {
        REQUIRE(b[0].pending_interrupt() == vector);
        b[0].accept(static_cast<std::uint8_t>(vector));
        b.set(eoi, 0);
    }
    REQUIRE_FALSE(b[0].pending_interrupt());
}

TEST_CASE("APIC: the task priority, by register and by CR8") {
    ApicBoard b;
    b.enable_all();
    b.set(tpr, 0x65);
    REQUIRE(b[0].cr8() == 6);
    REQUIRE(b.get(ppr) == 0x65);
    b.bus.send(fixed(0x6f));
    REQUIRE(b.cpu[0]->kicks == 1); // the guest may have lowered CR8 unseen
    REQUIRE_FALSE(b[0].pending_interrupt());
    REQUIRE(b[0].requested_interrupt() == 0x6f); // for the interrupt window
    b[0].set_cr8(6);                             // no change: the low bits stay
    REQUIRE(b.get(tpr) == 0x65);
    b[0].set_cr8(5);
    REQUIRE(b.get(tpr) == 0x50);
    REQUIRE(b[0].pending_interrupt() == 0x6f);
    b[0].set_cr8(15);
    b.bus.send(fixed(0xff));
    REQUIRE_FALSE(b[0].pending_interrupt());
}

TEST_CASE("APIC: PPR takes the in-service class without its low bits") {
    ApicBoard b;
    b.enable_all();
    b.bus.send(fixed(0x5c));
    b[0].accept(0x5c);
    REQUIRE(b.get(ppr) == 0x50);
    b.set(tpr, 0x57);
    REQUIRE(b.get(ppr) == 0x57);
    b.set(tpr, 0x4f);
    REQUIRE(b.get(ppr) == 0x50);
}

TEST_CASE("APIC: EOI of level interrupts reaches the I/O APICs, unless suppressed") {
    ApicBoard b;
    EoiLog log;
    b.bus.attach(log);
    b.enable_all();
    b.bus.send(fixed(0x40, 0, true));
    REQUIRE(bit_of(b, tmr, 0x40) == 1);
    b[0].accept(0x40);
    b.set(eoi, 0);
    REQUIRE(log.vectors == std::vector<std::uint8_t>{0x40});
    b.bus.send(fixed(0x40));
    REQUIRE(bit_of(b, tmr, 0x40) == 0);
    b[0].accept(0x40);
    b.set(eoi, 0);
    REQUIRE(log.vectors.size() == 1);
    b.set(svr, 0x11ff);
    b.bus.send(fixed(0x40, 0, true));
    b[0].accept(0x40);
    b.set(eoi, 0);
    REQUIRE(log.vectors.size() == 1);
}

TEST_CASE("APIC: software disable masks the LVT, refuses new interrupts, keeps old ones") {
    ApicBoard b;
    b.enable_all();
    b.set(lvt_timer, 0x30);
    b.bus.send(fixed(0x50));
    b.set(svr, 0xff);
    REQUIRE(b.get(lvt_timer) == 0x10030);
    b.set(lvt_timer, 0x30);
    REQUIRE(b.get(lvt_timer) == 0x10030); // cannot be unmasked
    REQUIRE_FALSE(b.bus.send(fixed(0x51)));
    REQUIRE(b[0].pending_interrupt() == 0x50);
    b.bus.send({.delivery = ApicDelivery::Nmi});
    REQUIRE(b.cpu[0]->nmis == 1);
    b.set(svr, 0x1ff);
    REQUIRE(b.get(lvt_timer) == 0x10030); // enabling does not unmask
}

TEST_CASE("APIC: virtual wire mode: LINT0 as ExtINT, LINT1 as NMI") {
    ApicBoard b;
    b.enable_all();
    b[0].set_irq(LocalApic::lint0, true);
    REQUIRE_FALSE(b[0].pic_interrupt_pending());
    b.set(lvt0, 0x8700); // as SeaBIOS
    REQUIRE(b[0].pic_interrupt_pending());
    REQUIRE(b.cpu[0]->kicks >= 1);
    b[0].pic_interrupt_taken();
    b[0].set_irq(LocalApic::lint0, false);
    REQUIRE_FALSE(b[0].pic_interrupt_pending());
    const unsigned kicks = b.cpu[0]->kicks;
    b[0].set_irq(LocalApic::lint0, true);
    REQUIRE(b.cpu[0]->kicks == kicks + 1);
    b.set(lvt0, 0x18700);
    REQUIRE_FALSE(b[0].pic_interrupt_pending());
    b.set(lvt1, 0x400);
    b[0].set_irq(LocalApic::lint1, true);
    b[0].set_irq(LocalApic::lint1, true);
    REQUIRE(b.cpu[0]->nmis == 1);
}

TEST_CASE("APIC: disabled by MSR, or not there: INTR and NMI reach the processor") {
    ApicBoard b;
    SECTION("disabled") {
        REQUIRE(b[0].write_msr(0x1b, 0xfee00100));
        REQUIRE_FALSE(b[0].mmio_base());
        REQUIRE(b.get(svr) == 0xffffffff);
        b[0].set_irq(LocalApic::lint0, true);
        REQUIRE(b[0].pic_interrupt_pending());
        b[0].set_irq(LocalApic::lint1, true);
        REQUIRE(b.cpu[0]->nmis == 1);
        REQUIRE_FALSE(b.bus.send(fixed(0x40)));
        REQUIRE(b[0].write_msr(0x1b, 0xfee00900)); // registers as after power-on
        REQUIRE(b.get(svr) == 0xff);
    }
    SECTION("absent") {
        ManualClock clock;
        ApicBus bus;
        test::Cpu cpu;
        LocalApic none{clock, nullptr, bus, cpu, {.present = false}};
        REQUIRE_FALSE(none.read_msr(0x1b));
        REQUIRE_FALSE(none.write_msr(0x1b, 0xfee00900));
        REQUIRE_FALSE(none.mmio_base());
        none.set_irq(LocalApic::lint0, true);
        REQUIRE(none.pic_interrupt_pending());
        REQUIRE(cpu.kicks == 1);
    }
}

TEST_CASE("APIC: LINT0 fixed, edge and level") {
    ApicBoard b;
    b.enable_all();
    b.set(lvt0, 0x45);
    b[0].set_irq(LocalApic::lint0, true);
    REQUIRE(b[0].pending_interrupt() == 0x45);
    b[0].accept(0x45);
    b.set(eoi, 0);
    REQUIRE_FALSE(b[0].pending_interrupt());
    b.set(lvt0, 0x8046); // level, and the wire is high
    REQUIRE(b[0].pending_interrupt() == 0x46);
    REQUIRE(b.get(lvt0) == 0xc046); // remote IRR
    b[0].accept(0x46);
    b.set(eoi, 0);
    REQUIRE(b[0].pending_interrupt() == 0x46); // still high
    b[0].set_irq(LocalApic::lint0, false);
    b[0].accept(0x46);
    b.set(eoi, 0);
    REQUIRE_FALSE(b[0].pending_interrupt());
    REQUIRE(b.get(lvt0) == 0x8046);
}

TEST_CASE("APIC: an ExtINT message needs one INTA cycle") {
    ApicBoard b;
    b.enable_all();
    b.bus.send({.delivery = ApicDelivery::ExtInt});
    REQUIRE(b[0].pic_interrupt_pending());
    b[0].pic_interrupt_taken();
    REQUIRE_FALSE(b[0].pic_interrupt_pending());
}

TEST_CASE("APIC: performance counter entry masks itself") {
    ApicBoard b;
    b.enable_all();
    b.set(lvt_perf, 0x400);
    b[0].raise_performance_counter();
    b[0].raise_performance_counter();
    REQUIRE(b.cpu[0]->nmis == 1);
    REQUIRE(b.get(lvt_perf) == 0x10400);
}

TEST_CASE("APIC: errors") {
    ApicBoard b;
    b.enable_all();
    b.set(lvt_error, 0xfe);
    SECTION("illegal vector received") {
        b.bus.send(fixed(0x0f));
        REQUIRE(b[0].pending_interrupt() == 0xfe);
        REQUIRE(b.get(esr) == 0); // shown by a write only
        b.set(esr, 0);
        REQUIRE(b.get(esr) == 0x40);
        b.set(esr, 0);
        REQUIRE(b.get(esr) == 0);
    }
    SECTION("illegal vector sent") {
        b.set(icr, 0x4000 | 5);
        b.set(esr, 0);
        REQUIRE(b.get(esr) == 0x20);
    }
    SECTION("illegal register") {
        static_cast<void>(b.get(0x3f0));
        b.set(0x90 + 0x50, 0); // DFR is legal
        b.set(esr, 0);
        REQUIRE(b.get(esr) == 0x80);
        b.set(0x500, 1);
        b.set(esr, 0);
        REQUIRE(b.get(esr) == 0x80);
    }
    SECTION("the error entry's own vector is illegal") {
        b.set(lvt_error, 0x02);
        static_cast<void>(b.get(0));
        b.set(esr, 0);
        REQUIRE(b.get(esr) == 0xc0);
    }
}

TEST_CASE("APIC: access widths and alignment") {
    ApicBoard b{2};
    std::array<std::uint8_t, 8> wide{};
    b[1].read_mmio(id_reg, wide);
    REQUIRE(wide == std::array<std::uint8_t, 8>{0, 0, 0, 1, 0, 0, 0, 0});
    std::array<std::uint8_t, 1> byte{};
    b[1].read_mmio(id_reg + 3, byte);
    REQUIRE(byte[0] == 1);
    b[1].read_mmio(id_reg + 4, byte);
    REQUIRE(byte[0] == 0);
    b[1].write_mmio(tpr, std::array<std::uint8_t, 1>{0x80}); // undefined: dropped
    REQUIRE(b.get(tpr, 1) == 0);
    b[1].write_mmio(tpr + 4, std::array<std::uint8_t, 4>{0x80});
    REQUIRE(b.get(tpr, 1) == 0);
    b[1].write_mmio(tpr, std::array<std::uint8_t, 8>{0x80});
    REQUIRE(b.get(tpr, 1) == 0x80);
    for (unsigned offset = 0; offset < 0x1000; ++offset) { // nothing here may crash
        std::array<std::uint8_t, 8> bytes{};
        const std::size_t size = std::min<std::size_t>(8, 0x1000 - offset);
        b[1].read_mmio(offset, std::span{bytes}.first(size));
        b[1].write_mmio(offset, std::span{bytes}.first(size));
    }
}

TEST_CASE("APIC: read-only registers") {
    ApicBoard b;
    b.enable_all();
    for (unsigned offset : {id_reg, version_reg, ppr, isr, tmr, irr, 0x390u})
        b.set(offset, 0x12345678);
    REQUIRE(b.get(id_reg) == 0);
    REQUIRE(b.get(version_reg) == 0x01050014);
    REQUIRE(b.get(irr) == 0);
    b.set(esr, 0);
    REQUIRE(b.get(esr) == 0);
    b.set(dfr, 0);
    REQUIRE(b.get(dfr) == 0x0fffffff);
    b.set(ldr, 0xffffffff);
    REQUIRE(b.get(ldr) == 0xff000000);
    b.set(svr, 0xffffffff);
    REQUIRE(b.get(svr) == 0x13ff);
}

TEST_CASE("IA32_APIC_BASE: the transitions of SDM 11.12.5") {
    ApicBoard b;
    constexpr std::uint64_t base = 0xfee00100, en = 0x800, x2 = 0x400;
    REQUIRE_FALSE(b[0].write_msr(0x1b, base | x2)); // invalid state
    REQUIRE_FALSE(b[0].write_msr(0x1b, base | en | 1));
    REQUIRE_FALSE(b[0].write_msr(0x1b, base | en | 0x200));
    REQUIRE_FALSE(b[0].write_msr(0x1b, base | en | 1ull << 40));
    REQUIRE(b[0].write_msr(0x1b, 0x12345000 | 0x100 | en));
    REQUIRE(b[0].mmio_base() == 0x12345000);
    REQUIRE(b[0].write_msr(0x1b, base | en | x2));
    REQUIRE_FALSE(b[0].mmio_base());
    REQUIRE_FALSE(b[0].write_msr(0x1b, base | en));      // x2APIC -> xAPIC
    REQUIRE(b[0].write_msr(0x1b, base));                 // x2APIC -> disabled
    REQUIRE_FALSE(b[0].write_msr(0x1b, base | en | x2)); // disabled -> x2APIC
    REQUIRE(b[0].write_msr(0x1b, base | en));
    REQUIRE(b[0].read_msr(0x1b) == (base | en));

    ApicBoard old{1, false};
    REQUIRE_FALSE(old[0].write_msr(0x1b, base | en | x2)); // not offered
}

TEST_CASE("x2APIC: MSRs") {
    ApicBoard b{18};
    LocalApic& a = b[17];
    REQUIRE_FALSE(a.read_msr(0x802)); // not in xAPIC mode
    REQUIRE_FALSE(a.write_msr(0x808, 0));
    REQUIRE(a.write_msr(0x1b, 0xfee00c00));
    REQUIRE(a.read_msr(0x802) == 17);
    REQUIRE(a.read_msr(0x803) == 0x01050014);
    REQUIRE(a.read_msr(0x80d) == (1u << 16 | 1u << 1)); // cluster 1, member 1
    REQUIRE(a.write_msr(0x80f, 0x1ff));
    SECTION("what is not there") {
        for (std::uint32_t index :
             {0x800u, 0x809u, 0x80bu, 0x80cu, 0x80eu, 0x82fu, 0x831u, 0x83fu, 0x840u, 0x8ffu})
            REQUIRE_FALSE(a.read_msr(index));
        for (std::uint32_t index :
             {0x802u, 0x803u, 0x80au, 0x80du, 0x80eu, 0x810u, 0x820u, 0x831u, 0x839u, 0x8ffu})
            REQUIRE_FALSE(a.write_msr(index, 0));
    }
    SECTION("reserved bits") {
        REQUIRE_FALSE(a.write_msr(0x808, 0x100));
        REQUIRE_FALSE(a.write_msr(0x80b, 1));
        REQUIRE_FALSE(a.write_msr(0x80f, 0x400));
        REQUIRE_FALSE(a.write_msr(0x828, 1));
        REQUIRE_FALSE(a.write_msr(0x830, 1 << 12));
        REQUIRE_FALSE(a.write_msr(0x832, 1 << 19));
        REQUIRE_FALSE(a.write_msr(0x838, 1ull << 32));
        REQUIRE_FALSE(a.write_msr(0x83e, 4));
        REQUIRE_FALSE(a.write_msr(0x83f, 0x100));
        REQUIRE(a.write_msr(0x808, 0xff));
        REQUIRE(a.write_msr(0x80b, 0));
        REQUIRE(a.write_msr(0x832, 0x20040));
        REQUIRE(a.read_msr(0x832) == 0x20040);
    }
    SECTION("self IPI, EOI") {
        REQUIRE(a.write_msr(0x83f, 0x88));
        REQUIRE(a.pending_interrupt() == 0x88);
        a.accept(0x88);
        REQUIRE(a.read_msr(0x814) == 1u << 8);
        REQUIRE(a.write_msr(0x80b, 0));
        REQUIRE(a.read_msr(0x814) == 0);
    }
    SECTION("the ICR is one register with a 32-bit destination") {
        REQUIRE(b[16].write_msr(0x1b, 0xfee00c00));
        REQUIRE(b[16].write_msr(0x80f, 0x1ff));
        REQUIRE(a.write_msr(0x830, 16ull << 32 | 0x55));
        REQUIRE(a.read_msr(0x830) == (16ull << 32 | 0x55));
        REQUIRE(b[16].pending_interrupt() == 0x55);
        REQUIRE(a.write_msr(0x830, 0x1'0003ull << 32 | 0x856)); // logical: members 0 and 1 of cluster 1
        REQUIRE(b[16].pending_interrupt() == 0x56);
        REQUIRE(a.pending_interrupt() == 0x56);
    }
}

TEST_CASE("APIC: IPIs by destination and shorthand") {
    ApicBoard b{4};
    b.enable_all();
    const auto requested = [&] {
        unsigned mask = 0;
        for (unsigned i = 0; i < 4; ++i)
            mask |= b[i].pending_interrupt() ? 1u << i : 0;
        for (unsigned i = 0; i < 4; ++i)
            while (const auto vector = b[i].pending_interrupt()) {
                b[i].accept(*vector);
                b.set(eoi, 0, i);
            }
        return mask;
    };
    const auto send = [&](std::uint32_t destination, std::uint32_t low) {
        b.set(icr_high, destination << 24);
        b.set(icr, low);
        return requested();
    };
    REQUIRE(send(2, 0x4040) == 0b0100);
    REQUIRE(send(9, 0x4040) == 0);
    REQUIRE(send(0xff, 0x4040) == 0b1111);
    REQUIRE(send(0, 0x44040) == 0b0001); // self
    REQUIRE(send(0, 0x84040) == 0b1111); // all
    REQUIRE(send(0, 0xc4040) == 0b1110); // others
    REQUIRE((b.get(icr) & 0x1000) == 0); // delivered

    for (unsigned i = 0; i < 4; ++i)
        b.set(ldr, 1u << (24 + i), i);
    REQUIRE(send(0b1010, 0x4840) == 0b1010); // flat logical
    for (unsigned i = 0; i < 4; ++i) {
        b.set(dfr, 0x0fffffff, i);
        b.set(ldr, (i / 2 << 4 | 1u << i % 2) << 24, i);
    }
    REQUIRE(send(0x13, 0x4840) == 0b1100); // cluster 1, both members
    REQUIRE(send(0x01, 0x4840) == 0b0001);
    REQUIRE(send(0xff, 0x4840) == 0b1111);
}

TEST_CASE("APIC: lowest priority goes to the least busy, and round among equals") {
    ApicBoard b{3};
    b.enable_all();
    for (unsigned i = 0; i < 3; ++i)
        b.set(ldr, 1u << (24 + i), i);
    const ApicMessage message{
        .delivery = ApicDelivery::LowestPriority, .vector = 0x40, .logical = true, .destination = 7};
    std::array<unsigned, 3> taken{};
    for (unsigned n = 0; n < 30; ++n) {
        REQUIRE(b.bus.send(message));
        for (unsigned i = 0; i < 3; ++i)
            if (b[i].pending_interrupt()) {
                ++taken.at(i);
                b[i].accept(0x40);
                b.set(eoi, 0, i);
            }
    }
    REQUIRE(taken == std::array<unsigned, 3>{10, 10, 10});
    b.set(tpr, 0x20, 0);
    b.set(tpr, 0x10, 1);
    b.set(tpr, 0x30, 2);
    for (unsigned n = 0; n < 4; ++n) {
        REQUIRE(b.bus.send(message));
        REQUIRE(b[1].pending_interrupt() == 0x40);
        b[1].accept(0x40);
        b.set(eoi, 0, 1);
    }
    b.set(svr, 0xff, 1); // disabled ones take no part
    REQUIRE(b.bus.send(message));
    REQUIRE(b[0].pending_interrupt() == 0x40);
}

TEST_CASE("APIC: starting a processor by INIT and SIPI") {
    ApicBoard b{2};
    b.enable_all();
    b.set(tpr, 0x70, 1);
    b.bus.send(fixed(0x55, 1));
    b.set(icr_high, 1u << 24);
    b.set(icr, 0xc500); // INIT, assert, level
    REQUIRE(b.cpu[1]->inits == 1);
    REQUIRE(b.get(svr, 1) == 0xff);
    REQUIRE(b.get(tpr, 1) == 0);
    REQUIRE_FALSE(b[1].pending_interrupt());
    REQUIRE(b.get(id_reg, 1) == 0x01000000);
    b.set(icr, 0x8500); // de-assert
    REQUIRE(b.cpu[1]->inits == 1);
    b.set(icr, 0x4698);
    b.set(icr, 0x4698);
    REQUIRE(b.cpu[1]->startups == std::vector<std::uint8_t>{0x98, 0x98});
    b.set(icr, 0x4400);
    b.set(icr, 0x4200);
    REQUIRE(b.cpu[1]->nmis == 1);
    REQUIRE(b.cpu[1]->smis == 1);
    b.set(icr, 0x4700); // ExtINT is reserved here
    REQUIRE_FALSE(b[1].pic_interrupt_pending());
    b.set(icr, 0x44500); // INIT to self is not valid
    REQUIRE(b.cpu[0]->inits == 0);
}

TEST_CASE("APIC: INIT keeps x2APIC mode, a system reset does not") {
    ApicBoard b{2};
    REQUIRE(b[1].write_msr(0x1b, 0xfee00c00));
    b.bus.send({.delivery = ApicDelivery::Init, .destination = 1});
    REQUIRE(b[1].base_msr() == 0xfee00c00);
    b[1].reset(ResetKind::System);
    REQUIRE(b[1].base_msr() == 0xfee00800);
}
