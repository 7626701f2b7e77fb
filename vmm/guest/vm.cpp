// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/guest/vm.hpp"

#include "vmm/control/host_page.hpp"
#include "vmm/cpu/backend.hpp"
#include "vmm/cpu/log.hpp"
#include "vmm/cpu/spinlock.hpp"
#include "vmm/memory/page_allocator.hpp"
#include "vmm/memory/pool.hpp"

#include <cstring>

namespace escalus::vmm {

namespace {

[[gnu::section(".bss.hot")]] constinit Vm slots[abi::vms_max];
constinit SpinLock lock; // creation and destruction

constexpr std::uint64_t slot_bits = 16;
/// Zeroing is done in pieces, so that the control OS is never kept from its interrupts for long.
constexpr std::uint64_t scrub_step = 2 * large_page_size;

void release(Vm& vm) {
    for (auto*& vcpu : vm.vcpus) {
        if (vcpu == nullptr)
            continue;
        backend->destroy_vcpu(*vcpu);
        free_object(vcpu, fpu_area_bytes());
        vcpu = nullptr;
    }
    vm.tables.release();
    for (std::uint32_t i = 0; i < vm.extent_count; ++i)
        give_to_pool(vm.extents[i]);
    if (vm.area.bytes != 0)
        give_to_pool(vm.area);
    vm.area = {};
    vm.extent_count = 0;
    vm.vcpu_count = 0;
    vm.key = {};
    vm.memory_bytes = vm.scrubbed_bytes = 0;
}

bool add_vcpu(Vm& vm, unsigned index) {
    auto* vcpu = allocate_object<Vcpu>(fpu_area_bytes());
    if (vcpu == nullptr)
        return false;
    vm.vcpus[index] = vcpu;
    vcpu->vm = &vm;
    vcpu->index = index;
    const auto page = vm.area.address + (abi::vm_area_vcpus + 2 * index) * page_size;
    vcpu->page = reinterpret_cast<abi::VcpuPage*>(page);
    vcpu->statistics = reinterpret_cast<abi::StatPage*>(page + page_size);
    vcpu->cpuid = &vm.cpuid_page();
    vcpu->posted_vcpus = &vm.vcpus[0]->page->posted_vcpus;
    vcpu->statistics->backend = static_cast<std::uint64_t>(backend->kind);
    reset_fpu_area(vcpu->fpu());
    return backend->create_vcpu(*vcpu);
}

bool build(Vm& vm, std::uint64_t bytes, std::uint64_t vcpus) {
    std::uint32_t count = 0;
    if (!take_from_pool(large_page_size, &vm.area, count, 1))
        return false;
    std::memset(reinterpret_cast<void*>(vm.area.address), 0, abi::vm_area_bytes(vcpus));
    if (!take_from_pool(bytes, vm.extents, vm.extent_count, abi::extents_max))
        return false;
    // A table for each 2 MiB, as when all of it is mapped by small pages, and some for holes and scattered
    // devices.
    if (!vm.tables.start(*backend->nested_format(), bytes / large_page_size + 64))
        return false;
    for (; vm.vcpu_count < vcpus; ++vm.vcpu_count)
        if (!add_vcpu(vm, vm.vcpu_count))
            return false;
    return true;
}

void describe(const Vm& vm) {
    auto& page = *reinterpret_cast<abi::VmPage*>(vm.area.address);
    page.handle = vm.handle;
    page.key = vm.key;
    page.area_bytes = abi::vm_area_bytes(vm.vcpu_count);
    page.vcpus = vm.vcpu_count;
    page.extents = vm.extent_count;
    for (std::uint32_t i = 0; i < vm.extent_count; ++i)
        page.extent[i] = vm.extents[i];
}

void show_in_host_page(unsigned slot) {
    const Vm& vm = slots[slot];
    host_page().vms[slot] = {vm.handle, vm.memory_bytes, vm.vcpu_count, vm.area.address};
    host_page().pool_free_bytes = pool_free_bytes();
}

} // namespace

[[gnu::hot]] Vm* find_vm(std::uint64_t handle) {
    const auto slot = handle & ((1u << slot_bits) - 1);
    if (handle == 0 || slot >= abi::vms_max || slots[slot].handle != handle)
        return nullptr;
    return &slots[slot];
}

[[gnu::cold]] CallResult create_vm(std::uint64_t bytes, std::uint64_t vcpus) {
    if (bytes == 0 || bytes % large_page_size != 0 || bytes > abi::guest_memory_max || vcpus == 0 ||
        vcpus > abi::vcpus_max)
        return {.status = abi::Status::BadArgument};
    const LockGuard guard{lock};
    for (unsigned slot = 0; slot < abi::vms_max; ++slot) {
        Vm& vm = slots[slot];
        if (vm.handle != 0)
            continue;
        if (!build(vm, bytes, vcpus)) {
            release(vm);
            return {.status = abi::Status::NoMemory};
        }
        vm.key = make_key();
        vm.memory_bytes = bytes;
        vm.gate = 0;
        const auto handle = ++vm.generation << slot_bits | slot;
        __atomic_store_n(&vm.handle, handle, __ATOMIC_RELEASE);
        describe(vm);
        show_in_host_page(slot);
        log::info("VM ", hex(handle), " created: ", bytes >> 20, " MiB, ", vcpus, " vCPUs");
        return {.value0 = handle, .value1 = vm.area.address};
    }
    return {.status = abi::Status::NoSlot};
}

[[gnu::cold]] CallResult scrub_vm(Vm& vm) {
    const LockGuard guard{lock};
    auto skip = vm.scrubbed_bytes;
    for (std::uint32_t i = 0; i < vm.extent_count; ++i) {
        const abi::Extent& extent = vm.extents[i];
        if (skip >= extent.bytes) {
            skip -= extent.bytes;
            continue;
        }
        const auto step = extent.bytes - skip < scrub_step ? extent.bytes - skip : scrub_step;
        std::memset(reinterpret_cast<void*>(extent.address + skip), 0, step);
        vm.scrubbed_bytes += step;
        break;
    }
    return {.value0 = vm.memory_bytes - vm.scrubbed_bytes};
}

[[gnu::cold]] CallResult destroy_vm(Vm& vm) {
    const LockGuard guard{lock};
    std::int32_t nobody = 0;
    if (!__atomic_compare_exchange_n(&vm.gate, &nobody, -1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return {.status = abi::Status::Busy};
    log::info("VM ", hex(vm.handle), " destroyed");
    __atomic_store_n(&vm.handle, 0, __ATOMIC_RELEASE);
    release(vm);
    show_in_host_page(static_cast<unsigned>(&vm - slots));
    return {};
}

abi::Key make_key() {
    // RDRAND where there is one (AMD APM 3; it may fail now and then), always stirred with the time stamp
    // counter.
    static constinit std::uint64_t state = 0x9e3779b97f4a7c15;
    const bool has_rdrand = (cpuid(1).ecx & 1u << 30) != 0;
    auto word = [&] {
        std::uint64_t value = 0;
        bool ok = false;
        for (unsigned i = 0; has_rdrand && !ok && i < 16; ++i)
            asm volatile("rdrand %0" : "=r"(value), "=@ccc"(ok));
        // splitmix64
        state += 0x9e3779b97f4a7c15 + read_tsc();
        std::uint64_t z = state;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return value ^ z ^ (z >> 31);
    };
    abi::Key key;
    key.low = word();
    key.high = word();
    return key;
}

} // namespace escalus::vmm
