// SPDX-License-Identifier: GPL-2.0-or-later
// Several processors: a machine whose guests send each other interrupts, halt, and arm their timers, as fast
// as the loops of the vCPUs' threads go. A wake-up that is lost stops it for ever.
#include "test/unit/machine/machine_fixture.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <random>

#include <catch2/catch.hpp>

using namespace escalus;
using abi::ExitReason;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t flag_if = 1 << 9;
constexpr std::uint32_t msr_base = 0x1b, msr_eoi = 0x80b, msr_svr = 0x80f, msr_icr = 0x830,
                        msr_lvt_timer = 0x832, msr_initial_count = 0x838, msr_divide = 0x83e,
                        msr_kvm_end_of_interrupt = 0x4b564d04;
constexpr std::uint64_t end_of_interrupt_areas = 0x10000;        // a page for each processor
constexpr std::uint8_t vector_timer = 0x30, vector_token = 0x40; // and up, one for each token

/// Tokens go from processor to processor: each is an interrupt with a vector of its own, sent on to somebody
/// by whoever received it. A processor without one halts. Now and then one arms its timer and waits for that.
/// Those with odd numbers end their interrupts in memory, where they may (KVM's interface).
class TokenGame {
  public:
    TokenGame(ScriptedEngine& engine, unsigned processors, unsigned tokens, std::uint64_t hops)
        : engine_{engine}, players_(processors), wanted_{hops} {
        for (unsigned i = 0; i < processors; ++i) {
            players_[i].random.seed(i);
            players_[i].number = i;
            engine.vcpu(i).for_ever([this, i](abi::VcpuPage& page) { return step(players_[i], page); });
        }
        for (unsigned token = 0; token < tokens; ++token)
            players_[0].tokens.push_back(static_cast<std::uint8_t>(vector_token + token));
    }

    [[nodiscard]] std::uint64_t hops() const { return hops_; }
    [[nodiscard]] std::uint64_t timers() const { return timers_; }
    [[nodiscard]] bool over() const { return hops_ >= wanted_; }
    [[nodiscard]] bool wrong() const { return wrong_; }
    /// Interrupts that ended without an exit.
    [[nodiscard]] std::uint64_t ended_in_memory() const { return ended_in_memory_; }

  private:
    struct Player {
        unsigned number = 0;
        std::mt19937 random;
        std::deque<std::uint8_t> tokens;
        unsigned setup = 0;
        bool in_handler = false;
        bool timer_armed = false;
    };

    static ExitReason wrmsr(abi::VcpuPage& page, std::uint32_t index, std::uint64_t value) {
        page.exit.msr = {.index = index, .reserved = 0, .value = value};
        page.next_rip = page.rip;
        return ExitReason::MsrWrite;
    }

    ExitReason step(Player& me, abi::VcpuPage& page) {
        const auto players = static_cast<unsigned>(players_.size());
        switch (me.setup) {
        case 0:
            ++me.setup;
            return wrmsr(page, msr_base, 0xfee00000 | 0xc00 | (me.number == 0 ? 0x100 : 0));
        case 1:
            ++me.setup;
            return wrmsr(page, msr_svr, 0x1ff);
        case 2:
            ++me.setup;
            return wrmsr(page, msr_divide, 0xb);
        case 3:
            ++me.setup;
            return wrmsr(page, msr_lvt_timer, vector_timer);
        case 4: // the first one starts the next, that one its next, and so on
            ++me.setup;
            return me.number + 1 < players ? wrmsr(page, msr_icr, std::uint64_t{me.number + 1} << 32 | 0x4500)
                                           : ExitReason::Interrupted;
        case 5:
            ++me.setup;
            return me.number + 1 < players
                       ? wrmsr(page, msr_icr, std::uint64_t{me.number + 1} << 32 | 0x4600 | 0x10)
                       : ExitReason::Interrupted;
        case 6:
            ++me.setup;
            return me.number % 2 == 1 ? wrmsr(page, msr_kvm_end_of_interrupt, end_area(me) | 1)
                                      : ExitReason::Interrupted;
        case 7:
            ++me.setup;
            ++ready_;
            break;
        default:
            break;
        }
        if (ready_ < players && me.number == 0) // an APIC that is not enabled yet takes no token
            return ExitReason::Interrupted;
        if (page.event.valid != 0)
            return take_interrupt(me, page);
        if (me.in_handler) { // EOI was written: IRET
            me.in_handler = false;
            page.rflags |= flag_if;
            page.dirty |= abi::group_general;
        }
        if (page.request_interrupt_window != 0 && (page.rflags & flag_if) != 0)
            return ExitReason::InterruptWindow;
        return play(me, page);
    }

    ExitReason take_interrupt(Player& me, abi::VcpuPage& page) {
        const auto vector = page.event.vector;
        if (page.event.type != abi::EventType::Interrupt || (page.rflags & flag_if) == 0 || me.in_handler)
            wrong_ = true; // nothing may come while interrupts are off
        page.event = {};
        page.rflags &= ~flag_if;
        me.in_handler = true;
        if (vector == vector_timer) {
            wrong_ = wrong_ || !me.timer_armed;
            me.timer_armed = false;
            ++timers_;
        } else {
            me.tokens.push_back(vector);
            ++hops_;
        }
        if (me.number % 2 == 1 && end_in_memory(me)) {
            me.in_handler = false;
            return play(me, page);
        }
        return wrmsr(page, msr_eoi, 0);
    }

    static std::uint64_t end_area(const Player& me) { return end_of_interrupt_areas + me.number * 0x1000; }
    bool end_in_memory(const Player& me) {
        auto* area = engine_.memory(end_area(me));
        if ((*area & 1) == 0)
            return false;
        *area &= 0xfe;
        ++ended_in_memory_;
        return true;
    }

    ExitReason play(Player& me, abi::VcpuPage& page) {
        page.rflags |= flag_if;
        if (!me.timer_armed && me.random() % 64 == 0) {
            me.timer_armed = true;
            return wrmsr(page, msr_initial_count, 1000 + me.random() % 100'000);
        }
        // A token waits now and then until the timer has fired, so that both wake-ups are needed.
        if (!me.tokens.empty() && (!me.timer_armed || me.random() % 4 != 0)) {
            const auto token = me.tokens.front();
            me.tokens.pop_front();
            const auto to = me.random() % players_.size();
            return wrmsr(page, msr_icr, std::uint64_t{to} << 32 | 0x4000 | token);
        }
        page.next_rip = page.rip;
        return ExitReason::Halt;
    }

    ScriptedEngine& engine_;
    std::vector<Player> players_;
    std::uint64_t wanted_;
    std::atomic<std::uint64_t> hops_ = 0, timers_ = 0, ended_in_memory_ = 0;
    std::atomic<unsigned> ready_ = 0;
    std::atomic<bool> wrong_ = false;
};

/// Until it is over, or nothing has moved for a long time.
bool ends(const TokenGame& game) {
    auto last = game.hops();
    for (auto since = std::chrono::steady_clock::now(); !game.over();) {
        std::this_thread::sleep_for(5ms);
        const auto now = std::chrono::steady_clock::now();
        if (game.hops() != last) {
            last = game.hops();
            since = now;
        } else if (now - since > 20s) {
            return false;
        }
    }
    return true;
}

struct FourProcessors : MachineFixture {
    FourProcessors() : MachineFixture{4} {}
};
struct MostProcessors : MachineFixture {
    MostProcessors() : MachineFixture{abi::vcpus_max} {}
};

ScriptedVcpu::Step enable_x2apic() {
    return write_msr(msr_base, 0xfee00000 | 0xd00);
}

/// The first processor starts all others, each of which executes what it has been given.
void start_others(ScriptedVcpu& first) {
    first.then(enable_x2apic());
    first.then(write_msr(msr_svr, 0x1ff));
    first.then(write_msr(msr_icr, 0xc4500));
    first.then(write_msr(msr_icr, 0xc4600 | 0x10));
}

} // namespace

TEST_CASE_METHOD(FourProcessors, "no wake-up is lost among interrupts, HLT and timers") {
    TokenGame game{engine, 4, 5, 300'000}; // a million exits and more
    start();
    CHECK(ends(game));
    CHECK_FALSE(game.wrong());
    CHECK(game.timers() > 100);
    CHECK(game.ended_in_memory() > 1000);
    machine->stop();
}

// As many as four idle processors of a Linux with 250 ticks a second see in an hour. Hidden: `./lab test
// --long`.
TEST_CASE_METHOD(FourProcessors, "no wake-up is lost in an hour's worth of them", "[.hour]") {
    constexpr std::uint64_t an_hour = 4 * 250 * 3600;
    TokenGame game{engine, 4, 5, an_hour};
    start();
    CHECK(ends(game));
    CHECK_FALSE(game.wrong());
    machine->stop();
}

TEST_CASE_METHOD(MostProcessors, "nor among as many processors as there can be") {
    TokenGame game{engine, abi::vcpus_max, 8, 20'000};
    start();
    CHECK(ends(game));
    CHECK_FALSE(game.wrong());
    machine->stop();
}

TEST_CASE_METHOD(FourProcessors,
                 "processors can be started after a pause, and before, between and after INIT and SIPI") {
    auto& first = engine.vcpu(0);
    const auto pause_and_resume = [&] {
        machine->pause();
        REQUIRE(machine->state() == MachineState::Paused);
        machine->resume();
    };
    start();
    pause_and_resume(); // the others wait for SIPI
    first.execute(enable_x2apic());
    first.execute(write_msr(msr_svr, 0x1ff));
    pause_and_resume();
    first.execute(write_msr(msr_icr, 0xc4500));
    pause_and_resume();
    for (unsigned i = 1; i < 4; ++i)
        CHECK(engine.vcpu(i).runs() == 0);
    first.execute(write_msr(msr_icr, 0xc4600 | 0x10));
    const auto check_running = [&] {
        for (unsigned i = 1; i < 4; ++i) {
            std::uint64_t base = 0;
            engine.vcpu(i).execute(look([&](abi::VcpuPage& page) { base = page.segment[abi::seg_cs].base; }));
            CHECK(base == 0x10000);
        }
    };
    pause_and_resume(); // SIPI may be on its way still
    check_running();
    machine->pause();
    std::array<unsigned, 4> runs{};
    for (unsigned i = 0; i < 4; ++i)
        runs.at(i) = engine.vcpu(i).runs();
    std::this_thread::sleep_for(5ms);
    for (unsigned i = 0; i < 4; ++i)
        CHECK(engine.vcpu(i).runs() == runs.at(i));
    machine->resume();
    check_running();
}

TEST_CASE_METHOD(FourProcessors, "pause and resume lose no interrupt on its way") {
    TokenGame game{engine, 4, 3, 12'000};
    start();
    for (unsigned i = 0; i < 40; ++i) {
        std::this_thread::sleep_for(2ms);
        machine->pause();
        REQUIRE(machine->state() == MachineState::Paused);
        const auto hops = game.hops();
        std::this_thread::sleep_for(1ms);
        CHECK(game.hops() == hops); // all four are out
        machine->resume();
    }
    CHECK(ends(game));
    CHECK_FALSE(game.wrong());
    machine->stop();
}

TEST_CASE_METHOD(FourProcessors, "a machine stops in the middle of everything") {
    TokenGame game{engine, 4, 5, ~0ull};
    start();
    while (game.hops() < 1000)
        std::this_thread::sleep_for(1ms);
    machine->stop();
    const auto hops = game.hops();
    std::this_thread::sleep_for(5ms);
    CHECK(game.hops() == hops);
    CHECK(machine->state() == MachineState::PoweredOff);
}

TEST_CASE_METHOD(FourProcessors, "all TSCs are equal after start, pause and reset") {
    const auto check_equal = [&] {
        start_others(engine.vcpu(0));
        std::array<std::uint64_t, 4> offsets{};
        for (unsigned i = 0; i < 4; ++i)
            engine.vcpu(i).execute(
                look([&offsets, i](abi::VcpuPage& page) { offsets.at(i) = page.msrs.tsc_offset; }));
        CHECK(offsets[0] != 0);
        for (unsigned i = 1; i < 4; ++i)
            CHECK(offsets.at(i) == offsets[0]);
        return offsets[0];
    };
    start();
    const auto first = check_equal();
    machine->pause();
    machine->resume();
    const auto second = check_equal();
    CHECK(second < first); // time stood still meanwhile
    machine->reset();
    CHECK(check_equal() < second); // it begins anew
}

TEST_CASE_METHOD(FourProcessors, "a reset by one processor stops the others, which wait for SIPI again") {
    for (unsigned i = 1; i < 4; ++i)
        engine.vcpu(i).then(look([](abi::VcpuPage& page) { page.rip = 0x100 + page.rip; }));
    start_others(engine.vcpu(0));
    start();
    for (unsigned i = 1; i < 4; ++i)
        engine.vcpu(i).wait_for_steps(1);
    std::uint64_t rip = 0;
    const auto read_rip = look([&](abi::VcpuPage& page) { rip = page.rip; });
    engine.vcpu(0).execute(read_rip);
    CHECK(rip != 0xfff0);
    // The last processor resets the machine; the first is then at the reset vector, and alone.
    engine.vcpu(3).execute(out(0xcf9, 0x06));
    do
        engine.vcpu(0).execute(read_rip);
    while (rip != 0xfff0); // the reset may not have reached it yet
    std::array<unsigned, 4> runs{};
    for (unsigned i = 1; i < 4; ++i)
        runs.at(i) = engine.vcpu(i).runs();
    std::this_thread::sleep_for(10ms);
    for (unsigned i = 1; i < 4; ++i)
        CHECK(engine.vcpu(i).runs() == runs.at(i)); // wait for SIPI
    CHECK(machine->state() == MachineState::Running);
    engine.vcpu(0).then(enable_x2apic());
    engine.vcpu(0).then(write_msr(msr_svr, 0x1ff));
    engine.vcpu(0).then(write_msr(msr_icr, 2ull << 32 | 0x4500));
    engine.vcpu(0).then(write_msr(msr_icr, 2ull << 32 | 0x4600 | 0x33));
    std::uint64_t base = 0;
    engine.vcpu(2).execute(look([&](abi::VcpuPage& page) { base = page.segment[abi::seg_cs].base; }));
    CHECK(base == 0x33000);
}

TEST_CASE_METHOD(FourProcessors, "a triple fault of one processor resets the machine") {
    engine.vcpu(2).then([](abi::VcpuPage&) { return ExitReason::Shutdown; });
    start_others(engine.vcpu(0));
    start();
    engine.vcpu(2).wait_for_steps(1);
    std::uint64_t rip = 0;
    do
        engine.vcpu(0).execute(look([&](abi::VcpuPage& page) { rip = page.rip; }));
    while (rip != 0xfff0);
    CHECK(machine->state() == MachineState::Running);
}
