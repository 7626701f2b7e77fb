// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/engine/monitor_vm.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <tuple>

#include <fmt/format.h>
#include <unistd.h>

namespace escalus {

namespace {

/// Changes that may refuse a vCPU one after the other before something must be wrong.
constexpr unsigned refusals_max = 10'000;

int kick_signal() {
    return SIGRTMIN;
}

/// With one CPU a vCPU is not in guest mode while anybody else runs, and looks at exit_now before it enters
/// again: no signal is needed. Asked for the first time before the sandbox, which closes /sys.
bool signals_needed() {
    static const bool needed = sysconf(_SC_NPROCESSORS_CONF) > 1;
    return needed;
}

/// The kick's only purpose is that the kernel takes the CPU from the guest; the handler has nothing to do.
void install_kick_handler() {
    if (!signals_needed())
        return;
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(kick_signal(), &action, nullptr);
}

void store(std::uint32_t& shared, std::uint32_t value) {
    __atomic_store_n(&shared, value, __ATOMIC_SEQ_CST);
}

void check_pages(GuestPhys gpa, std::uint64_t size) {
    if (((raw(gpa) | size) & page_mask) != 0 || size == 0 || size > abi::gpa_limit ||
        raw(gpa) > abi::gpa_limit - size)
        throw std::invalid_argument{
            fmt::format("guest-physical range {:#x}+{:#x} is not whole pages below {:#x}", raw(gpa), size,
                        abi::gpa_limit)};
}

} // namespace

[[gnu::hot]] abi::ExitReason MonitorVcpu::run() {
    if (!thread_known_) [[unlikely]] {
        thread_ = pthread_self();
        thread_known_ = true;
    }
    gate_.enter(inside_);
    auto result = port_.call(abi::Call::VcpuRun, arguments_);
    // Busy: another thread changes the memory map at this moment.
    for (unsigned i = 0; result.status == abi::Status::Busy && i < refusals_max; ++i)
        [[unlikely]] {
            gate_.wait_for_change(inside_);
            result = port_.call(abi::Call::VcpuRun, arguments_);
        }
    // Whoever asked for the exit asked for this one: the caller looks at what is pending before it runs
    // again.
    store(page_.exit_now, 0);
    gate_.leave(inside_);
    if (result.status != abi::Status::Ok) [[unlikely]]
        throw EngineError{fmt::format("vCPU {} cannot run: {}", index_, to_string(result.status))};
    return static_cast<abi::ExitReason>(page_.exit_reason);
}

void MonitorVcpu::request_exit() {
    store(page_.exit_now, 1);
    if (inside_.load() && signals_needed() && pthread_equal(thread_, pthread_self()) == 0)
        pthread_kill(thread_, kick_signal());
}

void MonitorVcpu::fetch_state() {
    const auto result = port_.call(abi::Call::VcpuState, arguments_);
    if (result.status != abi::Status::Ok)
        throw EngineError{fmt::format("vCPU {} gives no state: {}", index_, to_string(result.status))};
}

MonitorVm::MonitorVm(std::shared_ptr<HypercallPort> port, const PhysicalMemory& memory, std::uint64_t handle,
                     HostPhys vm_page, abi::Key host_key)
    : port_{std::move(port)}, handle_{handle}, key_{host_key} {
    try {
        attach(memory, vm_page);
    } catch (...) {
        destroy();
        throw;
    }
}

void MonitorVm::attach(const PhysicalMemory& memory, HostPhys vm_page) {
    {
        const auto first = memory.map(vm_page, page_size, false);
        area_ = memory.map(vm_page, first.at<const abi::VmPage>()->area_bytes, true);
    }
    const auto& page = *area_.at<const abi::VmPage>();
    key_ = page.key;
    scrub();
    allocator_ = RegionAllocator{std::span{page.extent}.first(std::min(page.extents, abi::extents_max))};
    memory_ = Mapping::reserve(allocator_.total());
    std::uint64_t offset = 0;
    for (const auto& piece : allocator_.pieces(0, allocator_.total())) {
        memory.map_into(memory_, offset, piece.address, piece.size);
        offset += piece.size;
    }
    for (unsigned i = 0; i < page.vcpus; ++i) {
        const auto vcpu_page = (abi::vm_area_vcpus + 2 * i) * page_size;
        const HypercallArguments arguments{.rdi = handle_, .rsi = key_.low, .rdx = key_.high, .rcx = i};
        vcpus_.push_back(std::make_unique<MonitorVcpu>(*port_, arguments, gate_, i,
                                                       *area_.at<abi::VcpuPage>(vcpu_page),
                                                       *area_.at<abi::StatPage>(vcpu_page + page_size)));
    }
    install_kick_handler();
}

// The memory still holds what its last user left, and cannot be mapped before it is zeroed. Piece by piece,
// so that the machine stays responsive.
void MonitorVm::scrub() {
    for (;;) {
        const auto result = call(abi::Call::VmScrub, 0);
        if (result.status != abi::Status::Ok)
            throw EngineError{
                fmt::format("the VM's memory cannot be scrubbed: {}", to_string(result.status))};
        if (result.rdx == 0)
            return;
    }
}

MonitorVm::~MonitorVm() {
    destroy();
}

void MonitorVm::destroy() noexcept {
    call(abi::Call::VmDestroy, 0);
}

HypercallResult MonitorVm::call(abi::Call call, std::uint64_t rcx, std::uint64_t r8, std::uint64_t r9) {
    return port_->call(call,
                       {.rdi = handle_, .rsi = key_.low, .rdx = key_.high, .rcx = rcx, .r8 = r8, .r9 = r9});
}

void MonitorVm::call_outside(abi::Call what_call, const char* what, std::uint64_t rcx, std::uint64_t r8,
                             std::uint64_t r9) {
    const auto change = [&] { return call(what_call, rcx, r8, r9); };
    auto result = gate_.try_open(change);
    if (result.status == abi::Status::Busy)
        result = gate_.while_closed(
            [&] {
                for (auto& vcpu : vcpus_)
                    if (vcpu->inside())
                        vcpu->request_exit();
            },
            [&] { return std::ranges::none_of(vcpus_, [](const auto& v) { return v->inside(); }); }, change);
    if (result.status != abi::Status::Ok)
        throw EngineError{
            fmt::format("cannot {} at {:#x}: {}", what, rcx & ~page_mask, to_string(result.status))};
}

void MonitorVm::set_cpuid(std::span<const abi::CpuidEntry> entries) {
    if (entries.size() > abi::cpuid_entries_max)
        throw EngineError{
            fmt::format("{} CPUID entries, at most {} fit", entries.size(), abi::cpuid_entries_max)};
    auto& page = *area_.at<abi::CpuidPage>(abi::vm_area_cpuid * page_size);
    store(page.count, 0);
    std::ranges::copy(entries, page.entries);
    // The monitor searches by halves.
    std::ranges::stable_sort(std::span{page.entries}.first(entries.size()), {}, [](const abi::CpuidEntry& e) {
        return std::tuple{e.function, e.index, e.vcpu};
    });
    store(page.count, static_cast<std::uint32_t>(entries.size()));
}

MemoryRegion& MonitorVm::allocate(std::string name, std::uint64_t size) {
    const auto offset = allocator_.allocate(size);
    if (!offset)
        throw std::bad_alloc{};
    const auto whole = (size + page_mask) & ~page_mask;
    regions_.push_back(
        std::make_unique<Region>(std::move(name), *offset, memory_.bytes().subspan(*offset, whole)));
    return *regions_.back();
}

void MonitorVm::map(GuestPhys gpa, MemoryRegion& region, std::uint64_t offset, std::uint64_t size,
                    Access access) {
    check_pages(gpa, size);
    const auto found = std::ranges::find_if(regions_, [&](const auto& r) { return r.get() == &region; });
    if (found == regions_.end())
        throw std::invalid_argument{"the region is not this VM's"};
    const auto bytes = (*found)->bytes().size();
    if ((offset & page_mask) != 0 || size > bytes || offset > bytes - size)
        throw std::invalid_argument{
            fmt::format("{:#x}+{:#x} is not in region {}", offset, size, (*found)->name())};
    const auto flags = static_cast<std::uint64_t>(access) & abi::map_flags_mask;
    for (const auto& piece : allocator_.pieces((*found)->offset() + offset, size)) {
        call_outside(abi::Call::VmMap, "map guest memory", raw(gpa) | flags, raw(piece.address), piece.size);
        gpa += piece.size;
    }
}

void MonitorVm::unmap(GuestPhys gpa, std::uint64_t size) {
    check_pages(gpa, size);
    call_outside(abi::Call::VmUnmap, "unmap guest memory", raw(gpa), size);
}

void MonitorVm::harvest_dirty(GuestPhys gpa, std::uint64_t size, std::vector<std::uint64_t>& bitmap) {
    check_pages(gpa, size);
    const auto pages = size / page_size;
    bitmap.assign((pages + 63) / 64, 0);
    const auto dirty = area_.bytes().subspan(abi::vm_area_dirty * page_size, page_size);
    for (std::uint64_t done = 0; done < pages;) {
        const auto part = std::min(pages - done, abi::dirty_pages_max);
        call_outside(abi::Call::VmDirty, "read dirty pages", raw(gpa) + done * page_size, part * page_size);
        const auto first = done / 64; // dirty_pages_max is a multiple of 64
        const auto words = (part + 63) / 64;
        std::memcpy(&bitmap[first], dirty.data(), words * 8);
        if (part % 64 != 0)
            bitmap[first + words - 1] &= ~0ull >> (64 - part % 64);
        done += part;
    }
}

} // namespace escalus
