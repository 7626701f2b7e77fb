// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/guest/instruction.hpp"

#include <vector>

#include <catch2/catch.hpp>

using namespace escalus::vmm;

namespace {
using Bytes = std::vector<std::uint8_t>;

unsigned length(const Bytes& b, bool long_mode, unsigned opcode) {
    return instruction_length(b.data(), static_cast<unsigned>(b.size()), long_mode, opcode);
}

std::uint64_t registers[16];
Store store(const Bytes& b) {
    for (unsigned i = 0; i < 16; ++i)
        registers[i] = 0x1111'1111'0000'0000 + i;
    return decode_store(b.data(), static_cast<unsigned>(b.size()), registers);
}
} // namespace

TEST_CASE("instruction length counts prefixes") {
    CHECK(length({0x0f, 0xa2}, true, 2) == 2);
    CHECK(length({0x66, 0xf2, 0x0f, 0xa2}, true, 2) == 4);
    CHECK(length({0x48, 0x0f, 0x32}, true, 2) == 3);
    // Outside long mode 0x48 is DEC EAX, an instruction of its own.
    CHECK(length({0x48, 0x0f, 0x32}, false, 2) == 2);
    CHECK(length({0xf4}, false, 1) == 1);
    CHECK(length(Bytes(15, 0x66), true, 2) == 0);
    CHECK(length({}, true, 2) == 0);
}

TEST_CASE("stores to device registers") {
    CHECK(store({0x89, 0x07}).length == 2);                             // mov %eax, (%rdi)
    CHECK(store({0x89, 0x37}).value == 6);                              // mov %esi, (%rdi)
    const auto displaced = store({0x89, 0xb7, 0x00, 0xd3, 0x5f, 0xff}); // mov %esi, -0xa02d00(%rdi)
    CHECK(displaced.length == 6);
    CHECK(displaced.value == 6);
    CHECK(store({0x44, 0x89, 0x07}).value == 8); // mov %r8d, (%rdi)
    CHECK(store({0x87, 0x0a}).length == 2);      // xchg %ecx, (%rdx)
    const auto immediate = store({0xc7, 0x04, 0x25, 0x00, 0x03, 0xe0, 0xfe, 0x78, 0x56, 0x34, 0x12});
    CHECK(immediate.length == 11); // movl $0x12345678, 0xfee00300
    CHECK(immediate.value == 0x12345678);
    CHECK(store({0xc7, 0x40, 0x10, 1, 0, 0, 0}).length == 7); // movl $1, 0x10(%rax)
    CHECK(store({0x65, 0x89, 0x07}).length == 3);             // segment prefix
}

TEST_CASE("what is not a 32-bit store is refused") {
    CHECK(store({0x48, 0x89, 0x07}).length == 0);       // 64 bits
    CHECK(store({0x66, 0x89, 0x07}).length == 0);       // 16 bits
    CHECK(store({0x89, 0xc7}).length == 0);             // register to register
    CHECK(store({0x8b, 0x07}).length == 0);             // a load
    CHECK(store({0xc7, 0x08, 0, 0, 0, 0}).length == 0); // group 11 has only /0
    CHECK(store({0x89}).length == 0);
    CHECK(store({0x89, 0x87, 0x00}).length == 0); // cut off
    CHECK(store({0xc7, 0x07, 0x00, 0x00}).length == 0);
    CHECK(store({0x89, 0x04}).length == 0); // SIB byte missing
}

TEST_CASE("MOV CR8 is decoded in both its forms, and nothing else is") {
    const auto decode = [](const Bytes& b, bool long_mode = true) {
        const auto found = decode_cr8_write(b.data(), static_cast<unsigned>(b.size()), long_mode);
        return std::pair{found.length, found.reg};
    };
    const std::pair none{0u, 0u};
    CHECK(decode({0x44, 0x0f, 0x22, 0xc0}) == std::pair{4u, 0u});
    CHECK(decode({0x44, 0x0f, 0x22, 0xc7, 0x90}) == std::pair{4u, 7u});
    CHECK(decode({0x45, 0x0f, 0x22, 0xc1}) == std::pair{4u, 9u});
    CHECK(decode({0x4c, 0x0f, 0x22, 0x03}) == std::pair{4u, 3u}); // MOD does not matter
    CHECK(decode({0xf0, 0x0f, 0x22, 0xc2}) == std::pair{4u, 2u});
    CHECK(decode({0x66, 0xf0, 0x0f, 0x22, 0xc2}, false) == std::pair{5u, 2u});
    CHECK(decode({0x0f, 0x22, 0xc0}) == none);              // CR0
    CHECK(decode({0x44, 0x0f, 0x22, 0xd8}) == none);        // CR11, which is none
    CHECK(decode({0xf0, 0x44, 0x0f, 0x22, 0xc0}) == none);  // #UD
    CHECK(decode({0x44, 0x0f, 0x20, 0xc0}) == none);        // a read
    CHECK(decode({0x44, 0x0f, 0x22, 0xc0}, false) == none); // INC ESP
    for (Bytes cut{0x44, 0x0f, 0x22}; !cut.empty(); cut.pop_back())
        CHECK(decode(cut) == none);
    CHECK(decode(Bytes(15, 0x66)) == none);
}
