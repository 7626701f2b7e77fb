// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/commands.hpp"
#include "devmodel/cli/monitor_access.hpp"
#include "devmodel/config/machine_json.hpp"
#include "devmodel/engine/monitor_host.hpp"

#include <algorithm>

#include <boost/json.hpp>
#include <fmt/format.h>

namespace escalus {

void destroy_in_monitor(const VmIdentity& vm) {
    if (!discover_monitor())
        return; // it went with its VMs
    MonitorHost host;
    const auto vms = host.vms();
    if (std::ranges::find(vms, vm.handle, &MonitorHost::VmInfo::handle) != vms.end())
        host.destroy(vm.handle);
}

int run_dmesg(const Invocation&) {
    fmt::print("{}", MonitorHost{}.log());
    return exit_ok;
}

int run_version(const Invocation& invocation) {
    const auto monitor = discover_monitor();
    const char* backend = !monitor ? "" : monitor->backend == abi::Backend::Svm ? "AMD-V" : "VT-x";
    if (invocation.flag("json")) {
        boost::json::object result{{"escalus", ESCALUS_VERSION}, {"abi_version", abi::version}};
        result["monitor"] = nullptr;
        if (monitor)
            result["monitor"] =
                boost::json::object{{"abi_version", monitor->abi_version}, {"backend", backend}};
        fmt::print("{}", pretty(result));
    } else if (monitor) {
        fmt::print("Escalus {}, ABI version {}; monitor underneath: {}, ABI version {}\n", ESCALUS_VERSION,
                   abi::version, backend, monitor->abi_version);
    } else {
        fmt::print("Escalus {}, ABI version {}; no monitor underneath\n", ESCALUS_VERSION, abi::version);
    }
    return exit_ok;
}

} // namespace escalus
