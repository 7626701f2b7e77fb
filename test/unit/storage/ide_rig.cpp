// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/storage/ide_rig.hpp"

#include <catch2/catch.hpp>

namespace escalus::test {

Bytes IdeRig::packet(unsigned base, unsigned unit, std::vector<std::uint8_t> cdb, unsigned limit,
                     std::span<const std::uint8_t> out) {
    cdb.resize(12);
    blocks = 0;
    outb(base + 6, 0xa0 | unit << 4);
    outb(base + 1, 0); // PIO
    outb(base + 4, limit & 0xff);
    outb(base + 5, limit >> 8);
    const auto& line = irq[base == primary ? 0 : 1];
    status(base);
    const auto edges = line.edges;
    command(base, 0xa0);
    // Command phase: CoD set, IO clear, DRQ, and no interrupt.
    REQUIRE((inb(control(base)) & (busy | drq)) == drq);
    REQUIRE((inb(base + 2) & 3) == 1);
    REQUIRE(line.edges == edges);
    outsw(base, cdb);
    Bytes data;
    for (;;) {
        last_status = inb(control(base));
        REQUIRE((last_status & busy) == 0);
        REQUIRE(line.level); // every phase after the command phase interrupts
        REQUIRE(status(base) == last_status);
        REQUIRE(!line.level);
        const unsigned reason = inb(base + 2) & 3;
        if ((last_status & drq) == 0) {
            REQUIRE(reason == 3);
            return data;
        }
        const unsigned bytes = inb(base + 4) | unsigned{inb(base + 5)} << 8;
        REQUIRE(bytes != 0);
        REQUIRE(bytes <= (limit == 0 ? 0xfffe : limit));
        ++blocks;
        if (reason == 2) {
            auto block = insw(base, (bytes + 1) & ~1u);
            data.insert(data.end(), block.begin(), block.begin() + bytes);
        } else {
            REQUIRE(reason == 0);
            REQUIRE(out.size() >= bytes);
            outsw(base, out.first(bytes));
            out = out.subspan(bytes);
        }
    }
}

} // namespace escalus::test
