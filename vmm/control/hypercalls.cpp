// SPDX-License-Identifier: GPL-2.0-or-later
// Who may call what: docs/ABI.md. Any process of the control OS can execute the instruction, so every
// argument is checked here or in the call itself, and nothing changes before all checks have passed.
#include "vmm/control/hypercalls.hpp"

#include "vmm/control/host_page.hpp"
#include "vmm/guest/vm.hpp"

namespace escalus::vmm {

namespace {

struct Arguments {
    std::uint64_t call, handle;
    abi::Key key;
    std::uint64_t a, b, c;
};

// In constant time: the answer's delay must not tell how much of a guess was right.
[[gnu::hot]] bool same(const abi::Key& x, const abi::Key& y) {
    return ((x.low ^ y.low) | (x.high ^ y.high)) == 0;
}

[[gnu::hot]] CallResult dispatch(PerCpu& cpu, const Arguments& in) {
    const auto call = static_cast<abi::Call>(in.call);
    // The hot path first.
    Vm* vm = find_vm(in.handle);
    if (call == abi::Call::VcpuRun && vm != nullptr && same(in.key, vm->key))
        return run_vcpu(cpu, *vm, in.a);

    switch (call) {
    case abi::Call::Version:
        return {.value0 = abi::version};
    case abi::Call::VmCreate:
        if (in.handle != 0)
            return {.status = abi::Status::BadHandle};
        if (!same(in.key, host_page().host_key))
            return {.status = abi::Status::BadKey};
        return create_vm(in.a, in.b);
    case abi::Call::VmDestroy:
    case abi::Call::VmScrub:
    case abi::Call::VmMap:
    case abi::Call::VmUnmap:
    case abi::Call::VmDirty:
    case abi::Call::VcpuRun:
    case abi::Call::VcpuState:
        break;
    default:
        return {.status = abi::Status::UnknownCall};
    }
    if (vm == nullptr)
        return {.status = abi::Status::BadHandle};
    const bool root = call == abi::Call::VmDestroy && same(in.key, host_page().host_key);
    if (!root && !same(in.key, vm->key))
        return {.status = abi::Status::BadKey};
    switch (call) {
    case abi::Call::VmDestroy:
        return destroy_vm(*vm);
    case abi::Call::VmScrub:
        return scrub_vm(*vm);
    case abi::Call::VmMap:
        return map_memory(*vm, in.a, HostPhys{in.b}, in.c);
    case abi::Call::VmUnmap:
        return unmap_memory(*vm, GuestPhys{in.a}, in.b);
    case abi::Call::VmDirty:
        return harvest_dirty(*vm, GuestPhys{in.a}, in.b);
    default:
        return fetch_vcpu_state(*vm, in.a);
    }
}

} // namespace

[[gnu::hot]] bool hypercall(PerCpu& cpu) {
    auto& r = cpu.control.r;
    const CallResult result = dispatch(
        cpu, {r[abi::rax], r[abi::rdi], {r[abi::rsi], r[abi::rdx]}, r[abi::rcx], r[abi::r8], r[abi::r9]});
    if (result.repeat)
        return false;
    r[abi::rax] = static_cast<std::uint64_t>(result.status);
    r[abi::rdx] = result.value0;
    r[abi::rcx] = result.value1;
    return true;
}

} // namespace escalus::vmm
