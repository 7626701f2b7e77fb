// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/engine/monitor_host.hpp"

#include <algorithm>
#include <cstring>

#include <cpuid.h>
#include <fmt/format.h>

namespace escalus {

const char* to_string(abi::Status status) {
    switch (status) {
    case abi::Status::Ok:
        return "no error";
    case abi::Status::UnknownCall:
        return "the monitor does not know this call";
    case abi::Status::BadHandle:
        return "no such VM";
    case abi::Status::BadKey:
        return "wrong key";
    case abi::Status::BadArgument:
        return "argument refused";
    case abi::Status::NoMemory:
        return "the pool, or the VM's share of page tables, is used up";
    case abi::Status::NoSlot:
        return "the monitor has no room for another VM";
    case abi::Status::Busy:
        return "a vCPU is in guest mode";
    case abi::Status::NotReady:
        return "the VM's memory is not scrubbed yet";
    }
    return "an error that this version does not know";
}

std::array<std::uint32_t, 4> host_cpuid(std::uint32_t leaf, std::uint32_t index) {
    std::array<std::uint32_t, 4> r{};
    __cpuid_count(leaf, index, r[0], r[1], r[2], r[3]);
    return r;
}

std::optional<MonitorDiscovery> discover_monitor(const CpuidFunction& cpuid) {
    const auto id = cpuid(abi::leaf_signature, 0);
    char text[12];
    for (unsigned i = 0; i < 3; ++i)
        std::memcpy(text + 4 * i, &id[i + 1], 4);
    // The CPU's answer to an unknown leaf is that of its highest one, which cannot spell our signature.
    if (std::memcmp(text, abi::signature, sizeof text) != 0 || id[0] < abi::leaf_host_page)
        return {};
    const auto version = cpuid(abi::leaf_version, 0);
    const auto page = cpuid(abi::leaf_host_page, 0);
    return MonitorDiscovery{version[0], version[1], static_cast<abi::Backend>(version[2]),
                            HostPhys{page[0] | std::uint64_t{page[1]} << 32}};
}

MonitorDiscovery require_monitor(const CpuidFunction& cpuid) {
    const auto found = discover_monitor(cpuid);
    if (!found)
        throw EngineError{"there is no Escalus monitor underneath this system. Start one in an emulator with "
                          "./lab boot, or boot this machine through the monitor as docs/INSTALL.md says."};
    if (found->abi_version != abi::version)
        throw EngineError{fmt::format(
            "the monitor speaks version {} of the interface, this program version {}. Install both "
            "from one build and boot again.",
            found->abi_version, abi::version)};
    return *found;
}

MonitorHost::MonitorHost() {
    const auto discovery = require_monitor();
    port_.reset(new HardwareHypercalls{discovery.backend}); // where its `new` says
    memory_ = std::make_unique<PhysicalMemory>();
    open(discovery);
}

MonitorHost::MonitorHost(const MonitorDiscovery& discovery, std::shared_ptr<HypercallPort> port,
                         std::unique_ptr<PhysicalMemory> memory)
    : port_{std::move(port)}, memory_{std::move(memory)} {
    open(discovery);
}

void MonitorHost::open(const MonitorDiscovery& discovery) {
    features_ = discovery.features;
    host_page_ = memory_->map(discovery.host_page, page_size, false);
    const auto* page = host_page_.at<const abi::HostPage>();
    if (page->magic != abi::HostPage::magic_value || page->version != abi::version)
        throw EngineError{fmt::format("what should be the monitor's host page, at {:#x}, is something else",
                                      raw(discovery.host_page))};
    if (page->log_bytes > sizeof(abi::LogRing))
        log_ = memory_->map(HostPhys{page->log_address}, page->log_bytes, false);
}

EngineInfo MonitorHost::info() const {
    const auto* page = host_page_.at<const abi::HostPage>();
    const auto backend = static_cast<abi::Backend>(page->backend);
    return {"monitor",
            backend == abi::Backend::Svm ? "AMD-V" : "VT-x",
            page->version,
            page->pool_bytes,
            page->pool_free_bytes,
            static_cast<unsigned>(page->cpus),
            (features_ & abi::feature_tsc_ratio) != 0,
            (features_ & abi::feature_deadline_timer) != 0};
}

std::vector<MonitorHost::VmInfo> MonitorHost::vms() const {
    std::vector<VmInfo> result;
    for (const auto& vm : host_page_.at<const abi::HostPage>()->vms)
        if (vm.handle != 0)
            result.push_back({vm.handle, vm.memory_bytes, static_cast<unsigned>(vm.vcpus)});
    return result;
}

std::optional<abi::StatPage> MonitorHost::statistics(std::uint64_t handle, unsigned vcpu) const {
    for (const auto& vm : host_page_.at<const abi::HostPage>()->vms) {
        if (vm.handle != handle || handle == 0 || vcpu >= vm.vcpus)
            continue;
        const auto offset = (abi::vm_area_vcpus + 2 * vcpu + 1) * page_size;
        const auto mapping = memory_->map(HostPhys{vm.vm_page + offset}, page_size, false);
        return *mapping.at<const abi::StatPage>();
    }
    return {};
}

std::string MonitorHost::log(std::uint64_t* position) const {
    const auto ring = log_.bytes();
    if (ring.empty())
        return {};
    const auto* header = log_.at<const abi::LogRing>();
    const auto text = ring.subspan(sizeof(abi::LogRing),
                                   host_page_.at<const abi::HostPage>()->log_bytes - sizeof(abi::LogRing));
    const auto end = __atomic_load_n(&header->written, __ATOMIC_ACQUIRE);
    const auto oldest = end > text.size() ? end - text.size() : 0;
    const auto begin = position != nullptr ? std::clamp(*position, oldest, end) : oldest;
    std::string result;
    for (auto n = begin; n < end; ++n)
        result.push_back(static_cast<char>(text[n % text.size()]));
    // The oldest line has usually lost its beginning.
    if (begin == oldest && oldest != 0)
        result.erase(0, std::min(result.find('\n'), result.size() - 1) + 1);
    if (position != nullptr)
        *position = end;
    return result;
}

void MonitorHost::destroy(std::uint64_t handle) {
    const auto key = host_page_.at<const abi::HostPage>()->host_key;
    const auto result = port_->call(abi::Call::VmDestroy, {.rdi = handle, .rsi = key.low, .rdx = key.high});
    if (result.status != abi::Status::Ok)
        throw EngineError{fmt::format("cannot destroy VM {:#x}: {}", handle, to_string(result.status))};
}

} // namespace escalus
