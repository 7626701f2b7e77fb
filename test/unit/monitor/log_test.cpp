// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/cpu/log.hpp"

#include <array>
#include <cstdint>
#include <string>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::vmm;

namespace {

constexpr std::uint64_t text_bytes = 65536;
alignas(8) constinit std::array<unsigned char, sizeof(abi::LogRing) + text_bytes> memory{};

/// What the log gets while this exists.
class Written {
  public:
    Written() {
        [[maybe_unused]] static const bool once = (log::use_ring(&ring(), memory.size()), true);
        begin_ = ring().written;
    }
    [[nodiscard]] std::string text() const {
        std::string result;
        for (auto i = begin_; i < ring().written; ++i)
            result += ring().text[i % text_bytes]; // NOLINT(*-bounds-*)
        return result;
    }

  private:
    static abi::LogRing& ring() {
        return *reinterpret_cast<abi::LogRing*>(memory.data()); // NOLINT(*-reinterpret-cast)
    }
    std::uint64_t begin_ = 0;
};

} // namespace

TEST_CASE("a line of the log has its level's mark and all its parts") {
    const Written written;
    log::info("one ", 1, " of ", hex(std::uint64_t{0xabc}), ", ", -7);
    log::debug("not at this level");
    log::error("bad");
    CHECK(written.text() == "escalus: one 1 of 0xabc, -7\nescalus: error: bad\n");
}

TEST_CASE("a warning that comes again and again does not fill the log") {
    const Written written;
    for (unsigned i = 0; i < 1000; ++i)
        log::warning("again, at ", 5);
    log::warning("another");
    log::warning("again, at ", 5);
    log::info("again");
    log::info("again");
    std::string expected = "escalus: warning: again, at 5\n";
    for (unsigned count = 2; count <= 512; count *= 2)
        expected += "escalus: warning: again, at 5 (" + std::to_string(count) + " times)\n";
    expected += "escalus: warning: another\nescalus: warning: again, at 5\nescalus: again\nescalus: again\n";
    CHECK(written.text() == expected);
}

TEST_CASE("a line that is too long is cut") {
    const Written written;
    const std::string text(5000, 'x');
    log::info(text.c_str());
    CHECK(written.text() == "escalus: " + std::string(1000 - 9, 'x') + "\n");
}

TEST_CASE("what is put without a line is written as it comes") {
    const Written written;
    log::put("half ");
    CHECK(written.text() == "half ");
    log::put(7);
    CHECK(written.text() == "half 7");
}
