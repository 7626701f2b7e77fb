// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/pci_setup.hpp"

#include <array>
#include <set>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {

class Card final : public PciFunction {
  public:
    Card(PciSpaces spaces, std::uint8_t pin, bool multifunction)
        : PciFunction{{.vendor = 0x1234, .device = 1, .interrupt_pin = pin, .multifunction = multifunction},
                      spaces} {
        declare_bar(0, BarKind::Io, 0x20);
        declare_bar(1, BarKind::Memory, 0x10000);
        declare_bar(3, BarKind::PrefetchableMemory, 16 << 20);
        reset(ResetKind::PowerOn);
    }
    [[nodiscard]] std::string_view name() const override { return "card"; }
    void read(unsigned, std::uint64_t, std::span<std::uint8_t>) override {}
    void write(unsigned, std::uint64_t, std::span<const std::uint8_t>) override {}
    using PciFunction::bar_address;
    using PciFunction::config;
};

} // namespace

TEST_CASE("every BAR gets a place of its own, aligned and decoded") {
    Bus ports{"port", 0x10000}, memory{"memory", 1ull << 32};
    PciBus pci;
    Card a{{ports, memory}, 1, true}, b{{ports, memory}, 2, false}, c{{ports, memory}, 0, false};
    pci.plug(3, 0, a);
    pci.plug(3, 2, b);
    pci.plug(4, 0, c);
    assign_pci_resources(pci, {});
    std::set<std::uint64_t> places;
    for (const auto* card : {&a, &b, &c})
        for (const unsigned bar : {0u, 1u, 3u}) {
            REQUIRE(card->bar_address(bar));
            places.insert(*card->bar_address(bar));
        }
    CHECK(places.size() == 9);
    CHECK(*a.bar_address(0) >= 0xc000);
    CHECK(*a.bar_address(3) % (16 << 20) == 0);
    CHECK(*a.bar_address(1) >= 0xe0000000);
    CHECK(a.config(0x3c, 1) == 11); // device 3, INTA: wire 2
    CHECK(b.config(0x3c, 1) == 11);
    CHECK(c.config(0x3c, 1) == 0);
    CHECK((c.config(PciFunction::reg_command, 2) & 3) == 3);
}

TEST_CASE("each interrupt pin is listed once, with where it arrives") {
    Bus ports{"port", 0x10000}, memory{"memory", 1ull << 32};
    PciBus pci;
    Card a{{ports, memory}, 1, true}, b{{ports, memory}, 1, false}, c{{ports, memory}, 2, false},
        d{{ports, memory}, 0, false};
    pci.plug(3, 0, a);
    pci.plug(3, 1, b);
    pci.plug(3, 3, c);
    pci.plug(5, 0, d);
    const auto found = pci_interrupts(pci);
    REQUIRE(found.size() == 2);
    CHECK((found[0].device == 3 && found[0].pin == 1 && found[0].input == 11));
    CHECK((found[1].device == 3 && found[1].pin == 2 && found[1].input == 11));
}

TEST_CASE("what does not fit is left out") {
    Bus ports{"port", 0x10000}, memory{"memory", 1ull << 32};
    PciBus pci;
    Card card{{ports, memory}, 1, false};
    pci.plug(3, 0, card);
    assign_pci_resources(pci, {.memory_base = 0xe0000000, .memory_end = 0xe0100000});
    CHECK(card.bar_address(1));
    CHECK_FALSE(card.bar_address(3));
}
