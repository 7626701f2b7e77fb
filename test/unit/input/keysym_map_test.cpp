// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/input/keysym_map.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

TEST_CASE("US characters come from their keys with the right shift") {
    const KeysymMap map;
    CHECK(map.find('a') == KeyPress{0x1e, false, false, true});
    CHECK(map.find('A') == KeyPress{0x1e, true, false, true});
    CHECK(map.find('@') == KeyPress{0x03, true, false, true});
    CHECK(map.find('\\') == KeyPress{0x2b, false, false, true});
    CHECK(map.find('?') == KeyPress{0x35, true, false, true});
    CHECK(map.find(' ')->key == 0x39);
    CHECK_FALSE(map.find(0xe9)); // e acute: not on this keyboard
    CHECK_FALSE(map.find(0x12345678));
}

TEST_CASE("every printable ASCII character can be typed in every layout") {
    for (const auto& name : KeysymMap::names()) {
        const KeysymMap map{name};
        for (std::uint32_t c = 0x20; c < 0x7f; ++c) {
            CAPTURE(name, c);
            CHECK(map.find(c));
        }
    }
}

TEST_CASE("function keys, modifiers and keypad are the same everywhere") {
    for (const auto& name : KeysymMap::names()) {
        const KeysymMap map{name};
        CHECK(map.find(0xff0d) == KeyPress{0x1c, false, false, false});
        CHECK(map.find(0xff8d)->key == 0x9c);
        CHECK(map.find(0xff54)->key == 0xd0);
        CHECK(map.find(0xffe1)->key == 0x2a);
        CHECK(map.find(0xffbe)->key == 0x3b);
        CHECK(map.find(0xffc9)->key == 0x58);
        CHECK(map.find(0xff13)->key == 0xc6);
        CHECK(map.find(0xff61)->key == 0xb7);
        CHECK(map.find(0xfe03)->key == 0xb8);
    }
}

TEST_CASE("German, French and British layouts") {
    const KeysymMap de{"DE"}, fr{"fr"}, uk{"uk"};
    CHECK(de.find('z') == KeyPress{0x15, false, false, true});
    CHECK(de.find('@') == KeyPress{0x10, false, true, true});
    CHECK(de.find('\\') == KeyPress{0x0c, false, true, true});
    CHECK(de.find(0xfc) == KeyPress{0x1a, false, false, true});
    CHECK(de.find(0x20ac) == KeyPress{0x12, false, true, true});
    CHECK(de.find(0x010020ac) == KeyPress{0x12, false, true, true});
    CHECK(de.find(0xfe52)->key == 0x29); // dead circumflex
    CHECK(fr.find('a') == KeyPress{0x10, false, false, true});
    CHECK(fr.find('1') == KeyPress{0x02, true, false, true});
    CHECK(fr.find('|') == KeyPress{0x07, false, true, true});
    CHECK(fr.find(0xe9) == KeyPress{0x03, false, false, true});
    CHECK(uk.find('"') == KeyPress{0x03, true, false, true});
    CHECK(uk.find('#') == KeyPress{0x2b, false, false, true});
    CHECK(uk.find('\\') == KeyPress{0x56, false, false, true});
    CHECK_THROWS_WITH(KeysymMap{"klingon"}, Catch::Contains("klingon") && Catch::Contains("en-us"));
}

TEST_CASE("keys by name, as send-key takes them") {
    using Keys = std::vector<KeyNumber>;
    CHECK(keys_by_name("ctrl-alt-delete") == Keys{0x1d, 0x38, 0xd3});
    CHECK(keys_by_name("ret") == Keys{0x1c});
    CHECK(keys_by_name("F1") == Keys{0x3b});
    CHECK(keys_by_name("a") == Keys{0x1e});
    CHECK(keys_by_name("down") == Keys{0xd0});
    CHECK(keys_by_name("shift-minus") == Keys{0x2a, 0x0c});
    CHECK(keys_by_name("-") == Keys{0x0c});
    CHECK(keys_by_name("ctrl--") == Keys{0x1d, 0x0c});
    CHECK(keys_by_name("0x9d") == Keys{0x9d});
    CHECK_THROWS_WITH(keys_by_name("ctrl-blub"), Catch::Contains("\"blub\" is no key name"));
    CHECK_THROWS_AS(keys_by_name(""), std::invalid_argument);
    CHECK_THROWS_AS(keys_by_name("ctrl-"), std::invalid_argument);
    CHECK_THROWS_AS(keys_by_name("0x100"), std::invalid_argument);
}
