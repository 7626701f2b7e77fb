// SPDX-License-Identifier: GPL-2.0-or-later
// What checks are written with. A check is one function; the macro in front of it puts it on the suite's
// list:
//
//     constexpr Group group{"svm-intercepts", "instructions are intercepted when asked", svm::vendor};
//     CHECK(group, "cpuid", "APM 2, 15.12") { ... }
//
// A family is one function for many rows of a table, each a check of its own:
//
//     constexpr Row rows[] = {{"cpuid", ...}, {"hlt", ...}};          // Row has a member `name`
//     FAMILY(group, "taken-", rows, "APM 2, 15.9") { ... row ... }    // svm-intercepts/taken-cpuid ...
//
// A row with a member `manual` overrides the family's. A check passes when it returns without a failed
// expectation.
#pragma once

#include "vmm/cpu/log.hpp"

#include <cstdint>
#include <iterator>
#include <type_traits>

namespace escalus::nested {

/// One kind of hardware virtualization.
struct Vendor {
    const char* name;
    /// Whether this CPU is of the vendor's kind and has the feature at all.
    bool (*present)();
    /// Why it cannot be used here though it is there (firmware, missing parts), in words for the user; null
    /// when it can.
    const char* (*missing)();
    /// Enters root mode (SVM: EFER.SVME; VT-x: VMXON); once. Null, or what went wrong.
    const char* (*start)();
    /// Puts all that a check may have changed back.
    void (*reset)();
};

struct Group {
    const char* name;
    const char* title;
    const Vendor& vendor;
};

/// A check's name is `prefix` and `name`; `manual` is the section it rests on.
struct Description {
    const char* prefix;
    const char* name;
    const char* manual;
};

/// What CHECK and FAMILY put into the linker section `nested_checks`.
struct CheckList {
    const Group* group;
    unsigned count;
    Description (*describe)(unsigned index);
    void (*body)(unsigned index);
};

/// An expectation that does not hold is reported and fails the check, which goes on.
#define EXPECT(condition) ::escalus::nested::expect((condition), #condition, __LINE__)
#define EXPECT_EQ(actual, expected)                                                                          \
    ::escalus::nested::expect_equal(::escalus::nested::number(actual), ::escalus::nested::number(expected),  \
                                    #actual, __LINE__)
/// Ends the check when it does not hold.
#define REQUIRE(condition) ::escalus::nested::require((condition), #condition, __LINE__)
#define REQUIRE_EQ(actual, expected) (EXPECT_EQ(actual, expected) ? void() : ::escalus::nested::end_check())

bool expect(bool holds, const char* text, unsigned line);
bool expect_equal(std::uint64_t actual, std::uint64_t expected, const char* text, unsigned line);
void require(bool holds, const char* text, unsigned line);
/// Ends the check at once, as failed if something failed.
[[noreturn]] void end_check();
/// Ends the check: this CPU lacks what it is about.
[[noreturn]] void skip(const char* why);
void count_failure();
[[noreturn]] void end_check_as_failed();

template <typename T>
constexpr std::uint64_t number(T value) {
    return static_cast<std::uint64_t>(value);
}

/// A line of explanation for the report.
template <typename... Parts>
void note(Parts... parts) {
    vmm::log::put("#   ");
    (vmm::log::put(parts), ...);
    vmm::log::put('\n');
}
template <typename... Parts>
[[noreturn]] void fail(Parts... parts) {
    note(parts...);
    end_check_as_failed();
}

// Behind the macros.

template <typename Row>
concept HasManual = requires(const Row& row) {
    row.manual;
};

#define NESTED_JOIN2(a, b) a##b
#define NESTED_JOIN(a, b) NESTED_JOIN2(a, b)
#define NESTED_LIST [[gnu::section("nested_checks"), gnu::used]] static constexpr ::escalus::nested::CheckList

#define CHECK(group, name, manual)                                                                           \
    NESTED_CHECK(group, name, manual, NESTED_JOIN(check_, __LINE__), NESTED_JOIN(list_, __LINE__))
#define NESTED_CHECK(group, name, manual, id, list)                                                          \
    static void id();                                                                                        \
    NESTED_LIST list{&(group), 1,                                                                            \
                     [](unsigned) -> ::escalus::nested::Description {                                        \
                         return {"", name, manual};                                                          \
                     },                                                                                      \
                     [](unsigned) { id(); }};                                                                \
    static void id()

#define FAMILY(group, prefix, rows, manual)                                                                  \
    NESTED_FAMILY(group, prefix, rows, manual, NESTED_JOIN(family_, __LINE__), NESTED_JOIN(list_, __LINE__))
#define NESTED_FAMILY(group, prefix, rows, section, id, list)                                                \
    static void id(const std::remove_reference_t<decltype((rows)[0])>& row);                                 \
    NESTED_LIST list{&(group), static_cast<unsigned>(std::size(rows)),                                       \
                     [](unsigned i) -> ::escalus::nested::Description {                                      \
                         return ::escalus::nested::describe_row(prefix, (rows)[i], section);                 \
                     },                                                                                      \
                     [](unsigned i) { id((rows)[i]); }};                                                     \
    static void id([[maybe_unused]] const std::remove_reference_t<decltype((rows)[0])>& row)

template <typename Row>
Description describe_row(const char* prefix, const Row& row, const char* manual) {
    if constexpr (HasManual<Row>)
        if (row.manual != nullptr)
            return {prefix, row.name, row.manual};
    return {prefix, row.name, manual};
}

/// A name with a number at its end, for rows that are generated: NumberedName{"vector-", 14}.
struct NumberedName {
    char text[40] = {};
    constexpr NumberedName() = default;
    constexpr NumberedName(const char* stem, std::uint64_t value, unsigned base = 10) {
        unsigned at = 0;
        while (stem[at] != 0 && at < 20) {
            text[at] = stem[at];
            ++at;
        }
        std::uint64_t unit = 1;
        while (value / unit >= base)
            unit *= base;
        for (; unit != 0 && at < sizeof text - 1; unit /= base)
            text[at++] = "0123456789abcdef"[value / unit % base];
    }
    constexpr operator const char*() const { return text; } // NOLINT(google-explicit-constructor)
};

} // namespace escalus::nested
