// SPDX-License-Identifier: GPL-2.0-or-later
// A monitor for unit tests: a memfd stands for physical memory, and the calls are answered from C++.
#pragma once

#include "devmodel/engine/hypercall.hpp"
#include "devmodel/engine/monitor_host.hpp"
#include "devmodel/engine/physical_memory.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

namespace escalus {

class FakeMonitor {
  public:
    static constexpr std::uint64_t host_page = 0x1000, log_ring = 0x2000, vm_area = 0x10000;
    static constexpr std::uint64_t pool = 0x40'0000, pool_bytes = 32ull << 20;
    static constexpr abi::Key host_key{0x1122, 0x3344}, vm_key{0x55, 0x66};
    static constexpr std::uint64_t handle = 0x10001;

    struct Seen {
        abi::Call call;
        HypercallArguments arguments;
    };

    FakeMonitor() : fd_{memfd_create("physical", MFD_CLOEXEC)} {
        if (ftruncate(fd_, pool + pool_bytes) != 0)
            std::abort();
        memory_ = PhysicalMemory{dup(fd_)}.map(HostPhys{0}, pool + pool_bytes, true);
        auto& page = host();
        page.magic = abi::HostPage::magic_value;
        page.version = abi::version;
        page.backend = static_cast<std::uint32_t>(abi::Backend::Svm);
        page.host_key = host_key;
        page.pool_bytes = pool_bytes;
        page.pool_free_bytes = pool_bytes;
        page.cpus = 2;
        page.log_address = log_ring;
        page.log_bytes = sizeof(abi::LogRing) + 64;
    }
    ~FakeMonitor() { close(fd_); }
    FakeMonitor(const FakeMonitor&) = delete;
    FakeMonitor& operator=(const FakeMonitor&) = delete;

    abi::HostPage& host() { return *memory_.at<abi::HostPage>(host_page); }
    abi::LogRing& log() { return *memory_.at<abi::LogRing>(log_ring); }
    void write_log(const std::string& text) {
        auto* ring = memory_.at<char>(log_ring + sizeof(abi::LogRing));
        for (const char c : text)
            ring[log().written++ % 64] = c;
    }
    std::span<std::uint8_t> physical(std::uint64_t address, std::uint64_t size) {
        return memory_.bytes().subspan(address, size);
    }
    abi::VcpuPage& vcpu_page(unsigned index) {
        return *memory_.at<abi::VcpuPage>(vm_area + (abi::vm_area_vcpus + 2 * index) * page_size);
    }

    std::unique_ptr<MonitorHost> open() {
        return std::make_unique<MonitorHost>(
            MonitorDiscovery{
                .abi_version = abi::version, .backend = abi::Backend::Svm, .host_page = HostPhys{host_page}},
            std::make_shared<Port>(*this), std::make_unique<PhysicalMemory>(dup(fd_)));
    }

    /// Calls that came, in order (vcpu_run left out).
    std::vector<Seen> seen() {
        const std::lock_guard lock{mutex_};
        return seen_;
    }
    void forget() {
        const std::lock_guard lock{mutex_};
        seen_.clear();
    }
    /// What a vCPU does in guest mode.
    std::function<void(abi::VcpuPage&)> guest = [](abi::VcpuPage& page) {
        page.exit_reason = static_cast<std::uint32_t>(abi::ExitReason::Halt);
    };
    abi::Status create_status = abi::Status::Ok;
    std::vector<abi::Extent> extents{{pool, 4ull << 20}, {pool + (8ull << 20), 8ull << 20}};
    std::atomic<unsigned> in_guest_mode = 0, refusals = 0;
    /// A change of the memory map is being made; and what happens meanwhile.
    std::atomic<bool> changing = false;
    std::function<void()> during_change;
    std::uint64_t unscrubbed = 3; ///< calls of VmScrub that are needed

  private:
    class Port final : public HypercallPort {
      public:
        explicit Port(FakeMonitor& monitor) : monitor_{monitor} {}
        HypercallResult call(abi::Call call, const HypercallArguments& a) override {
            return monitor_.call(call, a);
        }

      private:
        FakeMonitor& monitor_;
    };

    HypercallResult call(abi::Call call, const HypercallArguments& a) {
        const abi::Key key{a.rsi, a.rdx};
        if (call == abi::Call::VcpuRun) {
            if (key != vm_key || a.rdi != handle)
                return {abi::Status::BadKey};
            ++in_guest_mode;
            if (changing) { // as the monitor's gate
                --in_guest_mode;
                ++refusals;
                return {abi::Status::Busy};
            }
            guest(vcpu_page(static_cast<unsigned>(a.rcx)));
            --in_guest_mode;
            return {};
        }
        const std::lock_guard lock{mutex_};
        if (call == abi::Call::VmScrub) {
            if (key != vm_key)
                return {abi::Status::BadKey};
            if (unscrubbed != 0)
                --unscrubbed;
            return {abi::Status::Ok, unscrubbed};
        }
        seen_.push_back({call, a});
        switch (call) {
        case abi::Call::VmCreate:
            return create(key, a);
        case abi::Call::VmDestroy:
            if (a.rdi != handle)
                return {abi::Status::BadHandle};
            return {key == vm_key || key == host_key ? abi::Status::Ok : abi::Status::BadKey};
        case abi::Call::VmMap:
        case abi::Call::VmUnmap:
        case abi::Call::VmDirty:
            if (key != vm_key)
                return {abi::Status::BadKey};
            if (call == abi::Call::VmMap && unscrubbed != 0)
                return {abi::Status::NotReady};
            changing = true;
            if (in_guest_mode != 0) {
                changing = false;
                return {abi::Status::Busy};
            }
            if (during_change)
                during_change();
            if (call == abi::Call::VmDirty)
                std::ranges::fill(physical(vm_area + abi::vm_area_dirty * page_size, page_size), 0xa5);
            changing = false;
            return {};
        default:
            return {key == vm_key ? abi::Status::Ok : abi::Status::BadKey};
        }
    }
    HypercallResult create(const abi::Key& key, const HypercallArguments& a) {
        if (key != host_key)
            return {abi::Status::BadKey};
        if (create_status != abi::Status::Ok)
            return {create_status};
        auto& page = *memory_.at<abi::VmPage>(vm_area);
        page = {};
        page.handle = handle;
        page.key = vm_key;
        page.vcpus = static_cast<std::uint32_t>(a.r8);
        page.area_bytes = abi::vm_area_bytes(a.r8);
        page.extents = static_cast<std::uint32_t>(extents.size());
        std::ranges::copy(extents, page.extent);
        host().vms[1] = {handle, a.rcx, a.r8, vm_area};
        return {abi::Status::Ok, handle, vm_area};
    }

    int fd_;
    Mapping memory_;
    std::mutex mutex_;
    std::vector<Seen> seen_;
};

} // namespace escalus
