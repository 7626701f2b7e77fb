// SPDX-License-Identifier: GPL-2.0-or-later
// Code of guests that both vendors' checks run: instructions that may be intercepted.
#pragma once

#include "test/nested/guests/code.hpp"

namespace escalus::nested {

GUEST_CODE(do_sidt, 64, "sidt -64(%rsp)");
GUEST_CODE(do_sgdt, 64, "sgdt -64(%rsp)");
GUEST_CODE(do_sldt, 64, "sldt %ecx");
GUEST_CODE(do_str, 64, "str %ecx");
GUEST_CODE(do_lidt, 64, "lidt (%rdi)");
GUEST_CODE(do_lgdt, 64, "lgdt (%rdi)");
GUEST_CODE(do_lldt, 64, "lldt %cx");
GUEST_CODE(do_ltr, 64, "ltr %cx");
GUEST_CODE(do_rdtsc, 64, "rdtsc");
GUEST_CODE(do_rdpmc, 64, "rdpmc");
GUEST_CODE(do_cpuid, 64, "cpuid");
GUEST_CODE(do_rsm, 64, "rsm");
GUEST_CODE(do_invd, 64, "invd");
GUEST_CODE(do_pause, 64, "pause");
GUEST_CODE(do_hlt, 64, "hlt");
GUEST_CODE(do_invlpg, 64, "invlpg (%rdi)");
GUEST_CODE(do_rdtscp, 64, "rdtscp");
GUEST_CODE(do_wbinvd, 64, "wbinvd");
GUEST_CODE(do_monitor, 64, "monitor %rax, %ecx, %edx");
GUEST_CODE(do_mwait, 64, "mwait %eax, %ecx");
GUEST_CODE(do_xsetbv, 64, "xsetbv");

} // namespace escalus::nested
