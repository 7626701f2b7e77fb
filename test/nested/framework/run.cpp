// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/framework/run.hpp"

#include "test/nested/framework/guarded.hpp"
#include "test/nested/framework/interrupts.hpp"
#include "test/nested/framework/local_apic.hpp"

// The linker's names for the ends of the section.
extern "C" const escalus::nested::CheckList __start_nested_checks[], __stop_nested_checks[]; // NOLINT

namespace escalus::nested {

namespace log = vmm::log;

const CheckList* const lists_begin = __start_nested_checks;
const CheckList* const lists_end = __stop_nested_checks;

namespace {

constinit unsigned failures = 0;
constinit const char* skip_reason = nullptr;
constinit Guard* check_guard = nullptr;

/// Compares a selection with the parts of a name put together.
bool matches(Selection selection, std::initializer_list<const char*> parts) {
    unsigned at = 0;
    for (const char* part : parts)
        for (; *part != 0; ++part, ++at)
            if (at >= selection.length || selection.text[at] != *part)
                return false;
    return at == selection.length;
}

/// Whether a comma-separated list has the check's full name.
bool lists(Selection names, const CheckList& list, const Description& check) {
    for (unsigned start = 0; start < names.length;) {
        unsigned end = start;
        while (end < names.length && names.text[end] != ',')
            ++end;
        if (matches({names.text + start, end - start}, {list.group->name, "/", check.prefix, check.name}))
            return true;
        start = end + 1;
    }
    return false;
}

bool selects(Selection selection, const CheckList& list, const Description& check) {
    return selection.length == 0 || matches(selection, {list.group->name}) ||
           matches(selection, {list.group->name, "/", check.prefix, check.name});
}

template <typename Visit>
void for_each_selected(const Vendor& vendor, Selection selection, Visit visit) {
    for (const CheckList* list = lists_begin; list != lists_end; ++list) {
        if (&list->group->vendor != &vendor)
            continue;
        for (unsigned i = 0; i < list->count; ++i)
            if (const Description check = list->describe(i); selects(selection, *list, check))
                visit(*list, check, i);
    }
}

Outcome run_one(const CheckList& list, unsigned index, unsigned timeout_ms) {
    list.group->vendor.reset();
    forget_interrupts();
    failures = 0;
    local_apic::arm_timer(timeout_ms);
    const Outcome outcome = guarded([&] {
        check_guard = nested_guard;
        list.body(index);
    });
    local_apic::arm_timer(0);
    check_guard = nullptr;
    if (outcome == Outcome::TimedOut)
        note("not done after ", timeout_ms, " ms");
    return outcome == Outcome::Returned && failures != 0 ? Outcome::Failed : outcome;
}

} // namespace

void leave_check(Outcome outcome) {
    if (check_guard == nullptr)
        vmm::panic("nothing to leave");
    nested_guard = check_guard;
    leave_guarded(outcome);
}

void count_failure() {
    ++failures;
}
void end_check() {
    leave_check(failures != 0 ? Outcome::Failed : Outcome::Returned);
}
void end_check_as_failed() {
    leave_check(Outcome::Failed);
}
void skip(const char* why) {
    skip_reason = why;
    leave_check(Outcome::Skipped);
}

bool expect(bool holds, const char* text, unsigned line) {
    if (!holds) {
        note("line ", line, ": ", text, ": does not hold");
        ++failures;
    }
    return holds;
}

bool expect_equal(std::uint64_t actual, std::uint64_t expected, const char* text, unsigned line) {
    if (actual != expected) {
        note("line ", line, ": ", text, " is ", vmm::hex(actual), ", expected ", vmm::hex(expected));
        ++failures;
    }
    return actual == expected;
}

void require(bool holds, const char* text, unsigned line) {
    if (!expect(holds, text, line))
        end_check_as_failed();
}

unsigned count_selected(const Vendor& vendor, Selection selection) {
    unsigned count = 0;
    for_each_selected(vendor, selection, [&](const CheckList&, const Description&, unsigned) { ++count; });
    return count;
}

Totals run_selected(const Vendor& vendor, const Plan& plan) {
    Totals totals;
    log::put("TAP version 13\n1..");
    log::put(count_selected(vendor, plan.run));
    log::put('\n');
    unsigned number = 0;
    for_each_selected(vendor, plan.run, [&](const CheckList& list, const Description& check, unsigned index) {
        const bool left_out = lists(plan.without, list, check);
        if (left_out)
            skip_reason = "left out by without=";
        const Outcome outcome = left_out ? Outcome::Skipped : run_one(list, index, plan.timeout_ms);
        const bool skipped = outcome == Outcome::Skipped;
        const bool ok = skipped || outcome == Outcome::Returned;
        ++(skipped ? totals.skipped : ok ? totals.passed : totals.failed);
        log::put(ok ? "ok " : "not ok ");
        log::put(++number);
        for (const char* part :
             {" - ", list.group->name, "/", check.prefix, check.name, " (", check.manual, ")"})
            log::put(part);
        if (skipped)
            for (const char* part : {" # SKIP ", skip_reason})
                log::put(part);
        log::put('\n');
    });
    vendor.reset();
    log::put("# ");
    log::put(totals.passed);
    log::put(" passed, ");
    log::put(totals.failed);
    log::put(" failed, ");
    log::put(totals.skipped);
    log::put(" skipped\n");
    return totals;
}

} // namespace escalus::nested
