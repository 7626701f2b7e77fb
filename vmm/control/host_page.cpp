// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/control/host_page.hpp"

#include "vmm/cpu/backend.hpp"
#include "vmm/cpu/log.hpp"
#include "vmm/guest/vm.hpp"
#include "vmm/memory/pool.hpp"

#include <cstring>

namespace escalus::vmm {

namespace {
constinit HostPhys address{};
constexpr std::uint64_t log_ring_bytes = 256 << 10;
} // namespace

void start_host_page(HostPhys area, std::uint64_t bytes) {
    address = area;
    std::memset(reinterpret_cast<void*>(raw(area)), 0, bytes);
    auto& page = host_page();
    page.log_address = raw(area) + page_size;
    page.log_bytes = log_ring_bytes;
    log::use_ring(reinterpret_cast<abi::LogRing*>(page.log_address), page.log_bytes);
}

abi::HostPage& host_page() {
    return *reinterpret_cast<abi::HostPage*>(raw(address));
}

HostPhys host_page_address() {
    return address;
}

void complete_host_page(std::uint64_t monitor_bytes) {
    auto& page = host_page();
    page.magic = abi::HostPage::magic_value;
    page.version = abi::version;
    page.backend = static_cast<std::uint32_t>(backend->kind);
    page.host_key = make_key();
    page.pool_bytes = pool_total_bytes();
    page.pool_free_bytes = pool_free_bytes();
    page.monitor_bytes = monitor_bytes;
    page.cpus = cpu_count;
}

} // namespace escalus::vmm
