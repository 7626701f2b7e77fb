// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/irq_line.hpp"

#include <utility>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
struct Sink final : IrqSink {
    std::vector<std::pair<unsigned, bool>> seen;
    void set_irq(unsigned input, bool level) override { seen.emplace_back(input, level); }
};
} // namespace

TEST_CASE("only changes reach the sink") {
    Sink sink;
    IrqLine line{sink, 5};
    line.lower();
    line.raise();
    line.raise();
    line.lower();
    CHECK(sink.seen == std::vector<std::pair<unsigned, bool>>{{5, true}, {5, false}});
    line.pulse();
    CHECK(sink.seen.size() == 4);
    CHECK_FALSE(line.level());
    IrqLine{}.raise(); // connected to nothing
}

TEST_CASE("a fan-out reaches every sink by its own input") {
    Sink pic, apic;
    IrqFanOut both;
    both.connect(pic, 0);
    both.connect(apic, 2);
    IrqLine{both, 0}.raise();
    CHECK(pic.seen == std::vector<std::pair<unsigned, bool>>{{0, true}});
    CHECK(apic.seen == std::vector<std::pair<unsigned, bool>>{{2, true}});
}
