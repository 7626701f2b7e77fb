// SPDX-License-Identifier: GPL-2.0-or-later
// An engine whose guests are scripts: each run() of a vCPU executes the next step, which looks at the page
// and says how the "guest" exits. When the steps are used up, the guest computes until it is kicked; or it
// goes on with a program, a step that is executed again and again.
#pragma once

#include "devmodel/engine/engine.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/guest_clock.hpp"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace escalus {

class ScriptedVcpu final : public EngineVcpu {
  public:
    using Step = std::function<abi::ExitReason(abi::VcpuPage&)>;

    abi::VcpuPage& page() override { return page_; }
    abi::ExitReason run() override {
        // What the monitor does on the way in and out.
        page_.dirty = 0;
        Step step;
        bool queued = false;
        {
            std::unique_lock lock{mutex_};
            ++runs_;
            changed_.notify_all();
            if (steps_.empty() && !program_)
                compute(lock);
            if (kicked_) {
                kicked_ = false;
                return abi::ExitReason::Interrupted;
            }
            if (deadline_has_come())
                return leave(abi::ExitReason::Deadline);
            queued = !steps_.empty();
            if (queued) {
                step = std::move(steps_.front());
                steps_.pop_front();
            } else {
                step = program_;
            }
        }
        page_.valid = abi::group_all;
        const auto reason = leave(step(page_));
        if (queued) {
            const std::lock_guard lock{mutex_};
            ++done_;
            changed_.notify_all();
        }
        return reason;
    }
    void request_exit() override {
        const std::lock_guard lock{mutex_};
        kicked_ = true;
        changed_.notify_all();
    }
    void fetch_state() override {
        page_.valid = abi::group_all;
        const std::lock_guard lock{mutex_};
        ++fetches_;
    }
    [[nodiscard]] const abi::StatPage& statistics() const override { return statistics_; }

    void then(Step step) {
        const std::lock_guard lock{mutex_};
        steps_.push_back(std::move(step));
        ++queued_;
        changed_.notify_all();
    }
    /// Waits until it has executed this one, after those before it. So the step may refer to variables of the
    /// caller, which a step that is still queued when they go out of scope may not.
    void execute(Step step) {
        std::unique_lock lock{mutex_};
        steps_.push_back(std::move(step));
        const auto last = ++queued_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return done_ >= last; });
    }
    /// What it executes when no steps are left. Before the machine starts.
    void for_ever(Step program) { program_ = std::move(program); }
    /// Waits until that many steps were executed; those of the program do not count.
    void wait_for_steps(unsigned count) {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return done_ >= count; });
    }
    [[nodiscard]] unsigned runs() {
        const std::lock_guard lock{mutex_};
        return runs_;
    }
    [[nodiscard]] unsigned fetches() {
        const std::lock_guard lock{mutex_};
        return fetches_;
    }

  private:
    [[nodiscard]] bool deadline_has_come() const {
        return page_.deadline != 0 && host_tsc() >= page_.deadline;
    }
    abi::ExitReason leave(abi::ExitReason reason) {
        page_.exit_reason = static_cast<std::uint32_t>(reason);
        return reason;
    }
    /// The deadline is looked at now and then, as the monitor does when the CPU has no timer for it.
    void compute(std::unique_lock<std::mutex>& lock) {
        const auto called = [&] { return kicked_ || !steps_.empty(); };
        if (page_.deadline == 0)
            return changed_.wait(lock, called);
        while (!deadline_has_come() && !changed_.wait_for(lock, std::chrono::milliseconds{1}, called)) {
        }
    }

    abi::VcpuPage page_{};
    abi::StatPage statistics_{};
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Step> steps_;
    Step program_;
    bool kicked_ = false;
    unsigned queued_ = 0, done_ = 0, runs_ = 0, fetches_ = 0;
};

class ScriptedEngine final : public Engine {
  public:
    explicit ScriptedEngine(unsigned vcpus = 1) {
        for (unsigned i = 0; i < vcpus; ++i)
            vcpus_.push_back(std::make_unique<ScriptedVcpu>());
    }
    [[nodiscard]] EngineInfo info() const override {
        return {"script", "none", 1, 0, 0, 1, scales_tsc, deadline_timer};
    }
    std::unique_ptr<EngineVm> create_vm(std::uint64_t, unsigned) override {
        return std::make_unique<Vm>(*this);
    }
    ScriptedVcpu& vcpu(unsigned index) { return *vcpus_.at(index); }
    /// Where the guest-physical address is. The machine must be there.
    std::uint8_t* memory(std::uint64_t gpa) {
        for (const auto& m : memory_->mappings)
            if (gpa >= raw(m.gpa) && gpa - raw(m.gpa) < m.size)
                return m.region->bytes().subspan(m.offset + gpa - raw(m.gpa)).data();
        return nullptr;
    }

    bool scales_tsc = false, deadline_timer = false;

  private:
    class Vm final : public EngineVm {
      public:
        explicit Vm(ScriptedEngine& engine) : engine_{engine} { engine.memory_ = &memory_; }
        void set_cpuid(std::span<const abi::CpuidEntry>) override {}
        EngineVcpu& vcpu(unsigned index) override { return engine_.vcpu(index); }
        [[nodiscard]] unsigned vcpu_count() const override {
            return static_cast<unsigned>(engine_.vcpus_.size());
        }
        MemoryRegion& allocate(std::string name, std::uint64_t size) override {
            return memory_.allocate(std::move(name), size);
        }
        void map(GuestPhys gpa, MemoryRegion& region, std::uint64_t offset, std::uint64_t size,
                 Access access) override {
            memory_.map(gpa, region, offset, size, access);
        }
        void unmap(GuestPhys gpa, std::uint64_t size) override { memory_.unmap(gpa, size); }
        void harvest_dirty(GuestPhys gpa, std::uint64_t size, std::vector<std::uint64_t>& bitmap) override {
            memory_.harvest_dirty(gpa, size, bitmap);
        }

      private:
        ScriptedEngine& engine_;
        TestMemoryMap memory_;
    };
    std::vector<std::unique_ptr<ScriptedVcpu>> vcpus_;
    TestMemoryMap* memory_ = nullptr; // of the machine
};

} // namespace escalus
