// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/engine/monitor_engine.hpp"

#include "devmodel/engine/monitor_vm.hpp"

#include <fmt/format.h>

namespace escalus {

MonitorEngine::MonitorEngine() : MonitorEngine{std::make_unique<MonitorHost>()} {}

EngineInfo MonitorEngine::info() const {
    return host_ ? host_->info() : last_info_;
}

std::unique_ptr<EngineVm> MonitorEngine::create_vm(std::uint64_t memory_bytes, unsigned vcpus) {
    if (!host_)
        throw EngineError{"no VM can be created any more: access to the host was given up"};
    if (vcpus == 0 || vcpus > abi::vcpus_max)
        throw EngineError{fmt::format("a guest has 1 to {} vCPUs, not {}", abi::vcpus_max, vcpus)};
    constexpr std::uint64_t mib = 1 << 20;
    const auto memory = (memory_bytes + large_page_size - 1) & ~(large_page_size - 1);
    const auto too_large = [&] {
        const auto now = info();
        return EngineError{fmt::format(
            "the guest needs {} MiB (with its video memory and firmware), and {} MiB of the monitor's pool "
            "of {} MiB are free. Give the guest less memory, end another guest, or boot the monitor with "
            "a larger pool.",
            memory / mib, now.pool_free_bytes / mib, now.pool_bytes / mib)};
    };
    if (memory < memory_bytes || memory > abi::guest_memory_max || memory > info().pool_free_bytes)
        throw too_large();
    const auto key = host_->host_page_.at<const abi::HostPage>()->host_key;
    const auto result = host_->port_->call(abi::Call::VmCreate,
                                           {.rsi = key.low, .rdx = key.high, .rcx = memory, .r8 = vcpus});
    if (result.status == abi::Status::NoMemory)
        throw too_large();
    if (result.status != abi::Status::Ok)
        throw EngineError{fmt::format("the monitor creates no VM: {}", to_string(result.status))};
    auto vm =
        std::make_unique<MonitorVm>(host_->port_, *host_->memory_, result.rdx, HostPhys{result.rcx}, key);
    created_ = {result.rdx, vm->key()};
    return vm;
}

void MonitorEngine::give_up_host_access() {
    if (!host_)
        return;
    last_info_ = host_->info();
    host_.reset();
}

} // namespace escalus
