// SPDX-License-Identifier: GPL-2.0-or-later
// What a freestanding C++ compiler may call: memory functions (C17 7.24) and pure-virtual and static-init
// support.
#include <cstddef>
#include <cstdint>

extern "C" {

void* memset(void* to, int value, std::size_t bytes) {
    void* start = to;
    asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
    return start;
}

// Beside the world switch: an exit copies the general registers.
[[gnu::section(".text.switch")]] void* memcpy(void* __restrict to, const void* __restrict from,
                                              std::size_t bytes) {
    void* start = to;
    std::size_t words = bytes / 8;
    bytes %= 8;
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words)::"memory");
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
    return start;
}

void* memmove(void* to, const void* from, std::size_t bytes) {
    auto* t = static_cast<unsigned char*>(to);
    const auto* f = static_cast<const unsigned char*>(from);
    if (t <= f || t >= f + bytes)
        return memcpy(to, from, bytes);
    while (bytes-- != 0)
        t[bytes] = f[bytes];
    return to;
}

int memcmp(const void* a, const void* b, std::size_t bytes) {
    const auto* x = static_cast<const unsigned char*>(a);
    const auto* y = static_cast<const unsigned char*>(b);
    for (; bytes != 0; --bytes, ++x, ++y)
        if (*x != *y)
            return *x - *y;
    return 0;
}

int strcmp(const char* a, const char* b) {
    for (; *a == *b; ++a, ++b)
        if (*a == 0)
            return 0;
    return static_cast<unsigned char>(*a) - static_cast<unsigned char>(*b);
}

std::size_t strlen(const char* text) {
    std::size_t n = 0;
    while (text[n] != 0)
        ++n;
    return n;
}

} // extern "C"
