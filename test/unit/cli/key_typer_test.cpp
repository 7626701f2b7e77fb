// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/key_typer.hpp"
#include "test/unit/cli/fake_machine.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace std::chrono_literals;

TEST_CASE("a chord is pressed in order and released in reverse") {
    CHECK(events_of_chord("ctrl-alt-delete") ==
          std::vector<KeyEvent>{
              {0x1d, true}, {0x38, true}, {0xd3, true}, {0xd3, false}, {0x38, false}, {0x1d, false}});
    CHECK_THROWS_WITH(events_of_chord("ctrl-nosuch"), Catch::Contains("nosuch"));
}

TEST_CASE("text becomes keys of the layout, with the modifiers it needs") {
    CHECK(events_of_text("aA\n", "en-us") == std::vector<KeyEvent>{{0x1e, true},
                                                                   {0x1e, false},
                                                                   {0x2a, true},
                                                                   {0x1e, true},
                                                                   {0x1e, false},
                                                                   {0x2a, false},
                                                                   {0x1c, true},
                                                                   {0x1c, false}});
    // z and y are swapped on German keyboards; ü is a key of its own there, and none on American ones.
    CHECK(events_of_text("z", "de").at(0).key == 0x15);
    CHECK(events_of_text("ü", "de").at(0).key == 0x1a);
    CHECK_THROWS_WITH(events_of_text("ü", "en-us"), Catch::Contains("U+00FC"));
    CHECK_THROWS_WITH(events_of_text("a\xff", "en-us"), Catch::Contains("UTF-8"));
    CHECK_THROWS(events_of_text("\xe2\x82", "en-us"));
}

TEST_CASE("keys are typed at the pace given, one text after the other") {
    boost::asio::io_context loop;
    FakeMachine machine;
    KeyTyper typer{loop, machine.keyboard(), machine.lock()};
    std::string finished;
    typer.type(events_of_chord("a"), 1ms, [&] { finished += '1'; });
    typer.type(events_of_chord("b"), 1ms, [&] { finished += '2'; });
    typer.type({}, 1ms, [&] { finished += '0'; });
    CHECK(machine.keys.size() == 1);
    loop.run();
    CHECK(finished == "012");
    CHECK(machine.keys ==
          std::vector<std::pair<KeyNumber, bool>>{{0x1e, true}, {0x1e, false}, {0x30, true}, {0x30, false}});
}
