// SPDX-License-Identifier: GPL-2.0-or-later
// The grammar where golden files cannot show it; those pin the messages.
#include "devmodel/config/domain_file.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
std::vector<Entry> parse(std::string text) {
    Diagnostics diagnostics;
    auto entries = parse_domain_file("t.cfg", std::move(text), diagnostics);
    INFO(diagnostics.text());
    CHECK(!diagnostics.has_errors());
    return entries;
}
Value value_of(std::string text) {
    const auto entries = parse("k = " + std::move(text));
    REQUIRE(entries.size() == 1);
    return entries[0].value;
}
std::size_t errors_in(std::string text) {
    Diagnostics diagnostics;
    static_cast<void>(parse_domain_file("t.cfg", std::move(text), diagnostics));
    return diagnostics.all().size();
}
} // namespace

TEST_CASE("nothing, blanks and comments are domain files") {
    CHECK(parse("").empty());
    CHECK(parse("\n\n;;\n  # only this").empty());
    CHECK(parse("\xef\xbb\xbf"
                "a = 1")
              .size() == 1);
}

TEST_CASE("numbers in all bases") {
    CHECK(value_of("10").number == 10);
    CHECK(value_of("0x1F").number == 31);
    CHECK(value_of("010").number == 8);
    CHECK(value_of("0o10").number == 8);
    CHECK(value_of("0").number == 0);
    CHECK(value_of("-7").number == -7);
    CHECK(value_of("9223372036854775807").number == INT64_MAX);
    CHECK(value_of("True").number == 1);
    CHECK(value_of("None").kind == Value::Kind::None);
    CHECK(errors_in("a = 9223372036854775808") == 1);
    CHECK(errors_in("a = 0x") == 1);
    CHECK(errors_in("a = --1") == 1);
}

TEST_CASE("strings and their escapes") {
    CHECK(value_of(R"('a"b')").text == "a\"b");
    CHECK(value_of(R"("a'b")").text == "a'b");
    CHECK(value_of(R"('\a\b\f\n\r\t\v\'\"\\')").text == "\a\b\f\n\r\t\v'\"\\");
    CHECK(value_of(R"('\x41\1012')").text == "AA2");
    CHECK(value_of(R"(r'a\nb')").text == "a\\nb");
    CHECK(value_of("'''a\n'b'''").text == "a\n'b");
    CHECK(value_of("''").text.empty());
    CHECK(value_of("'a' \"b\" + 'c'").text == "abc");
    CHECK(errors_in("a = 'b\n'") != 0);
    CHECK(errors_in("a = '''b") == 1);
    CHECK(errors_in("a = 'b\\") == 1);
}

TEST_CASE("lists nest, end in commas and spread over lines, to a bound") {
    const Value list = value_of("[\n1,\n['a', ], # c\n]");
    REQUIRE(list.items.size() == 2);
    CHECK(list.items[1].items.at(0).text == "a");
    CHECK(value_of("[]").items.empty());
    CHECK(errors_in("a = [,]") == 1);
    CHECK(errors_in("a = " + std::string(100000, '[')) == 1);
}

TEST_CASE("after an error the parser goes on with the next assignment, and gives up at last") {
    Diagnostics diagnostics;
    const auto entries = parse_domain_file("t.cfg", "a = *\nb = 2\n(\nc = 3\n", diagnostics);
    CHECK(diagnostics.all().size() == 2);
    REQUIRE(entries.size() == 2);
    CHECK(entries[1].key == "c");
    std::string bad;
    for (int i = 0; i < 1000; ++i)
        bad += "a = *\n";
    CHECK(errors_in(bad) == 10);
}

TEST_CASE("a medium in place of a domain file is told from text") {
    Diagnostics diagnostics;
    static_cast<void>(parse_domain_file("t.iso", std::string(4096, '\0'), diagnostics));
    REQUIRE(diagnostics.all().size() == 1);
    CHECK(diagnostics.all()[0].help.find("--cdrom") != std::string::npos);
}

TEST_CASE("command-line assignments need no quotes") {
    Diagnostics diagnostics;
    const auto one = [&](std::string_view text) {
        const auto entries = parse_override(text, diagnostics);
        REQUIRE(entries.size() == 1);
        return entries[0];
    };
    CHECK(one("memory=512").value.number == 512);
    CHECK(one("name=my-vm").value.text == "my-vm");
    CHECK(one("name='x'").value.text == "x");
    CHECK(one("extra=a=b c").value.text == "a=b c");
    CHECK(one("extra+= more").append);
    CHECK(one("disk=['/a,raw,hda,w']").value.items.size() == 1);
    CHECK(one("vncpasswd=").value.text.empty());
    CHECK(!diagnostics.has_errors());
    CHECK(parse_override("memory", diagnostics).empty());
    CHECK(parse_override("=5", diagnostics).empty());
    CHECK(diagnostics.all().size() == 2);
}

TEST_CASE("merging: the last assignment holds, += adds, from the command line too") {
    Diagnostics diagnostics;
    auto entries = parse_domain_file("t.cfg", "a = 1\nl = [ 'x' ]\n", diagnostics);
    for (const char* argument : {"a=2", "l+=['y']", "a=3", "new+=['z']"})
        for (Entry& entry : parse_override(argument, diagnostics))
            entries.push_back(std::move(entry));
    const auto merged = merge_entries(std::move(entries), diagnostics);
    CHECK(diagnostics.all().empty()); // replacing a file's value on the command line is no surprise
    REQUIRE(merged.size() == 3);
    CHECK(merged[0].value.number == 3);
    CHECK(merged[1].value.items.size() == 2);
    CHECK(merged[2].value.items.size() == 1);
}
