// SPDX-License-Identifier: GPL-2.0-or-later
// Guest code. A guest in 64-bit mode may be any C++ function, since guests see the suite's memory at its own
// address. Anything else is a fragment of assembly, assembled here for the width that it runs in:
//
//     GUEST_CODE(read_port, 16, "in $0x80, %al");
//
// A fragment ends in HLT, and so does the return from a function: that is how a guest says that it is done.
#pragma once

#include <initializer_list>

namespace escalus::nested {

struct Code {
    const char* start;
    const char* end;
    [[nodiscard]] constexpr unsigned long bytes() const { return static_cast<unsigned long>(end - start); }
};

#define GUEST_CODE(name, bits, text)                                                                         \
    extern "C" const char name##_start[], name##_end[];                                                      \
    asm(".pushsection .text.guests, \"ax\"\n.code" #bits "\n.balign 16\n" #name "_start:\n" text             \
        "\nhlt\n" #name "_end:\n.code64\n.popsection");                                                      \
    [[maybe_unused]] static constexpr ::escalus::nested::Code name {                                         \
        name##_start, name##_end                                                                             \
    }

/// A fragment for 64-bit mode out of bytes, where rows of a table differ by the encoding only; there is one
/// at a time.
[[nodiscard]] Code assemble(std::initializer_list<unsigned> bytes);

/// A label that a fragment defines.
#define GUEST_LABEL(name) extern "C" const char(name)[]

/// Where the return from a guest function leads: HLT.
extern "C" const char guest_done[];

// Entry points of the guests' interrupt tables, 16 bytes a vector: HLT, then the return from the handler. The
// frame is on the stack when the HLT exits.
extern "C" const char guest_handlers16[], guest_handlers32[], guest_handlers64[];
inline constexpr unsigned handler_bytes = 16, vectors = 256;

} // namespace escalus::nested
