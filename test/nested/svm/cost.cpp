// SPDX-License-Identifier: GPL-2.0-or-later
// What an exit and the entry after it take here at least: a guest that executes nothing but CPUID, and a root
// mode that does nothing but step over it. It is a lower bound for any hypervisor on this CPU or emulator, in
// TSC cycles; no manual promises a number, so what is checked is that the guest takes each exit, in long
// rows. Whoever hands the exit on to another guest, as to a control OS, has to change the state that VMRUN
// leaves alone as well, by two VMSAVEs and two VMLOADs.
#include "test/nested/framework/memory.hpp"
#include "test/nested/svm/guest.hpp"

#include <algorithm>

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-cost", "what an exit takes at least, in TSC cycles", vendor};

constexpr unsigned batches = 30, batch = 100, cpuid_bytes = 2;

GUEST_CODE(ask_for_ever_64, 64, "1: cpuid; cpuid; cpuid; cpuid; jmp 1b");
GUEST_CODE(ask_for_ever_32, 32, "1: cpuid; cpuid; cpuid; cpuid; jmp 1b");

struct Row {
    const char* name;
    Mode mode;
    Code code;
    bool whole_state = false;
};
// Root mode is 64-bit with paging: a guest without paging differs from it in more control registers.
constexpr Row rows[] = {{"cpuid-64-bit", Mode::Long, ask_for_ever_64},
                        {"cpuid-64-bit-whole-state", Mode::Long, ask_for_ever_64, true},
                        {"cpuid-without-paging", Mode::Protected32, ask_for_ever_32}};

FAMILY(group, "", rows, "APM 2, 15.5.1, 15.6, 15.9") {
    Guest guest(row.mode, row.code);
    guest.control.intercepts1 |= intercept1::cpuid;
    REQUIRE_EQ(guest.run(), ExitCode::Cpuid);
    guest.control.tlb_control = static_cast<std::uint8_t>(TlbControl::Nothing);
    Vmcb& own = *reinterpret_cast<Vmcb*>(guest_memory.data);
    vmsave(own);
    vmsave(guest.vmcb); // the same for both
    clgi();             // as the hardware leaves it after an exit
    std::uint64_t least = ~0ull;
    for (unsigned i = 0; i < batches; ++i) {
        const auto begin = vmm::read_tsc();
        for (unsigned exits = 0; exits < batch;) {
            if (exit_code_of(guest.control) == ExitCode::Cpuid) {
                guest.save.rip += cpuid_bytes;
                ++exits;
            } else if (exit_code_of(guest.control) == ExitCode::Intr) {
                stgi(); // the suite's timer
                clgi();
            } else {
                fail("an exit with code ", vmm::hex(guest.control.exit_code)); // reset() sets GIF again
            }
            if (row.whole_state) {
                vmsave(own);
                vmload(guest.vmcb);
            }
            svm_enter(HostPhys{reinterpret_cast<std::uint64_t>(&guest.vmcb)}, &guest.gprs);
            if (row.whole_state) {
                vmsave(guest.vmcb);
                vmload(own);
            }
        }
        least = std::min(least, (vmm::read_tsc() - begin) / batch);
    }
    stgi();
    note(row.name, ": at least ", least, " cycles an exit");
}

} // namespace

} // namespace escalus::nested::svm
