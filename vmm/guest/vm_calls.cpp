// SPDX-License-Identifier: GPL-2.0-or-later
// The hypercalls that act on an existing VM.
#include "vmm/cpu/backend.hpp"
#include "vmm/guest/vm.hpp"

namespace escalus::vmm {

namespace {

/// How a VM's gate is passed. A destroyed slot's gate stays at -1, so what is read behind it is alive.
enum class Passage {
    Exclusive, ///< all vCPUs stay out of guest mode
    Shared     ///< the VM and its mappings stay as they are
};

template <Passage passage>
class Gate {
  public:
    explicit Gate(Vm& vm) : vm_{vm} {
        auto seen = passage == Passage::Exclusive ? 0 : __atomic_load_n(&vm.gate, __ATOMIC_RELAXED);
        while (seen >= 0 && !open_) {
            const auto next = passage == Passage::Exclusive ? -1 : seen + 1;
            open_ =
                __atomic_compare_exchange_n(&vm.gate, &seen, next, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
            if (passage == Passage::Exclusive)
                break;
        }
    }
    ~Gate() {
        if (open_)
            __atomic_fetch_add(&vm_.gate, passage == Passage::Exclusive ? 1 : -1, __ATOMIC_RELEASE);
    }
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;
    /// False when the gate is closed: somebody is in guest mode, or changes the mappings, or the VM is gone.
    explicit operator bool() const { return open_; }

  private:
    Vm& vm_;
    bool open_ = false;
};
using ExclusiveGate = Gate<Passage::Exclusive>;
using SharedGate = Gate<Passage::Shared>;

bool is_guest_range(std::uint64_t gpa, std::uint64_t bytes) {
    return ((gpa | bytes) & page_mask) == 0 && bytes != 0 && gpa < abi::gpa_limit &&
           bytes <= abi::gpa_limit - gpa;
}

bool owns(const Vm& vm, HostPhys host, std::uint64_t bytes) {
    for (std::uint32_t i = 0; i < vm.extent_count; ++i) {
        const abi::Extent& e = vm.extents[i];
        if (raw(host) >= e.address && raw(host) - e.address < e.bytes &&
            bytes <= e.bytes - (raw(host) - e.address))
            return true;
    }
    return false;
}

void flush_translations(Vm& vm) {
    for (std::uint32_t i = 0; i < vm.vcpu_count; ++i)
        vm.vcpus[i]->flush = true;
}

} // namespace

[[gnu::cold]] CallResult map_memory(Vm& vm, std::uint64_t gpa_and_flags, HostPhys host, std::uint64_t bytes) {
    const auto flags = gpa_and_flags & abi::map_flags_mask;
    const auto gpa = gpa_and_flags & ~abi::map_flags_mask;
    if (!is_guest_range(gpa, bytes) || (raw(host) & page_mask) != 0 || (flags & abi::map_read) == 0)
        return {.status = abi::Status::BadArgument};
    const ExclusiveGate gate{vm};
    if (!gate)
        return {.status = abi::Status::Busy};
    if (!owns(vm, host, bytes))
        return {.status = abi::Status::BadArgument};
    if (vm.scrubbed_bytes != vm.memory_bytes)
        return {.status = abi::Status::NotReady};
    flush_translations(vm);
    return {.status =
                vm.tables.map(GuestPhys{gpa}, host, bytes, flags) ? abi::Status::Ok : abi::Status::NoMemory};
}

[[gnu::cold]] CallResult unmap_memory(Vm& vm, GuestPhys gpa, std::uint64_t bytes) {
    if (!is_guest_range(raw(gpa), bytes))
        return {.status = abi::Status::BadArgument};
    const ExclusiveGate gate{vm};
    if (!gate)
        return {.status = abi::Status::Busy};
    flush_translations(vm);
    return {.status = vm.tables.unmap(gpa, bytes) ? abi::Status::Ok : abi::Status::NoMemory};
}

[[gnu::cold]] CallResult harvest_dirty(Vm& vm, GuestPhys gpa, std::uint64_t bytes) {
    if (!is_guest_range(raw(gpa), bytes) || bytes > abi::dirty_pages_max * page_size)
        return {.status = abi::Status::BadArgument};
    const ExclusiveGate gate{vm};
    if (!gate)
        return {.status = abi::Status::Busy};
    flush_translations(vm);
    const auto pages = bytes / page_size;
    std::uint64_t* bitmap = vm.dirty_page();
    for (std::uint64_t i = 0; i < (pages + 63) / 64; ++i)
        bitmap[i] = 0;
    return {.status = vm.tables.harvest_dirty(gpa, pages, bitmap) ? abi::Status::Ok : abi::Status::NoMemory};
}

[[gnu::hot]] CallResult run_vcpu(PerCpu& cpu, Vm& vm, std::uint64_t index) {
    const SharedGate gate{vm};
    if (!gate) // mappings are being changed on another CPU, or the VM is being destroyed: come again
        return {.status = abi::Status::Busy};
    if (index >= vm.vcpu_count)
        return {.status = abi::Status::BadArgument};
    Vcpu& vcpu = *vm.vcpus[index];
    if (__atomic_exchange_n(&vcpu.running, true, __ATOMIC_ACQUIRE))
        return {.status = abi::Status::Busy};
    const bool repeat = backend->run_vcpu(cpu, vcpu) == RunResult::Control;
    __atomic_store_n(&vcpu.running, false, __ATOMIC_RELEASE);
    return {.repeat = repeat};
}

[[gnu::cold]] CallResult fetch_vcpu_state(Vm& vm, std::uint64_t index) {
    const SharedGate gate{vm};
    if (!gate)
        return {.status = abi::Status::Busy};
    if (index >= vm.vcpu_count)
        return {.status = abi::Status::BadArgument};
    Vcpu& vcpu = *vm.vcpus[index];
    if (__atomic_exchange_n(&vcpu.running, true, __ATOMIC_ACQUIRE))
        return {.status = abi::Status::Busy};
    // What the device model has changed is newer than what is here.
    backend->export_state(vcpu, abi::group_all & ~__atomic_load_n(&vcpu.page->dirty, __ATOMIC_ACQUIRE));
    vcpu.page->valid = abi::group_all;
    __atomic_store_n(&vcpu.running, false, __ATOMIC_RELEASE);
    return {};
}

} // namespace escalus::vmm
