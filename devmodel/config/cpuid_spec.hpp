// SPDX-License-Identifier: GPL-2.0-or-later
// The `cpuid` key in both of its syntaxes: libxl's "host,tm=0,family=6" and xend's
// [ "1:ecx=xxxx...,edx=xxxx...", "7,0:ebx=..." ].
//
// Missing: of libxl's keys those that change the topology (localapicid, proccount, procpkg, nc, apicidsize),
// which Escalus derives from `vcpus`; they are an error.
#pragma once

#include "devmodel/config/domain_file.hpp"
#include "devmodel/config/machine_config.hpp"

#include <vector>

namespace escalus {

[[nodiscard]] std::vector<CpuidOverride> parse_cpuid(const Value& value, Diagnostics& diagnostics);

} // namespace escalus
