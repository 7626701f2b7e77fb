// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/diagnostic.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
Position at(std::string text, std::size_t offset, std::size_t length) {
    return {std::make_shared<SourceText>(SourceText{"f.cfg", std::move(text)}), offset, length};
}
} // namespace

TEST_CASE("a diagnostic names file, line and column, and shows the line with a caret") {
    const Position where = at("a = 1\nmemory = -5\nb = 2\n", 15, 2);
    CHECK(where.line() == 2);
    CHECK(where.column() == 10);
    CHECK(to_text({Severity::Error, where, "too little", "write 512"}) == "f.cfg:2:10: error: too little\n"
                                                                          "    memory = -5\n"
                                                                          "             ^~\n"
                                                                          "  help: write 512\n");
}

TEST_CASE("tabs keep the caret below its place") {
    CHECK(to_text({Severity::Warning, at("\tx = 1", 1, 1), "w", ""}) == "f.cfg:1:2: warning: w\n"
                                                                        "    \tx = 1\n"
                                                                        "    \t^\n");
}

TEST_CASE("long lines are cut to a window, and control characters do not reach the terminal") {
    std::string line(500, 'x');
    line.append("\x1b[31m").append(500, 'y');
    const std::string text = to_text({Severity::Note, at(line, 500, 5), "m\x1b", ""});
    CHECK(text.size() < 400);
    CHECK(text.find('\x1b') == std::string::npos);
    CHECK(text.find("^~~~~\n") != std::string::npos);
}

TEST_CASE("a position at the end of the text and one without source can be shown") {
    CHECK(to_text({Severity::Error, at("a =", 3, 1), "m", ""}) == "f.cfg:1:4: error: m\n    a =\n       ^\n");
    CHECK(to_text({Severity::Error, at("", 0, 1), "m", ""}) == "f.cfg:1:1: error: m\n    \n    ^\n");
    CHECK(to_text({Severity::Error, {}, "m", "h"}) == "error: m\n  help: h\n");
}
