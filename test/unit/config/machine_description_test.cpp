// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/bare_medium.hpp"
#include "devmodel/config/machine_description.hpp"
#include "devmodel/config/machine_name.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
MachineDescription describe(const std::vector<Entry>& entries) {
    Diagnostics diagnostics;
    auto result = describe_machine(entries, "/here", "fallback", diagnostics);
    INFO(diagnostics.text());
    CHECK(diagnostics.all().empty());
    return result;
}
} // namespace

TEST_CASE("a bare ISO is a machine that boots from its CD-ROM drive") {
    const auto description = describe(entries_for_medium("isos/Debian 12,x.iso", 100 << 20));
    const MachineConfig& machine = description.machine;
    CHECK(machine.name == "Debian-12-x");
    CHECK(machine.boot == "d");
    CHECK(machine.memory_bytes == 1024ull << 20);
    REQUIRE(machine.disks.size() == 1);
    CHECK(machine.disks[0].path == "/here/isos/Debian 12,x.iso");
    CHECK(machine.disks[0].kind == DiskKind::CdRom);
    CHECK(machine.disks[0].read_only);
    CHECK(machine.vnc.enabled);
    CHECK(machine.vnc.listen == "127.0.0.1");
    REQUIRE(machine.serial.size() == 1);
    CHECK(machine.serial[0].kind == SerialKind::Unix);
    REQUIRE(description.files.size() == 1);
    CHECK(!description.files[0].writable);
}

TEST_CASE("a bare disk image is a machine that boots from its disk") {
    const auto description = describe(entries_for_medium("/images/netbsd.IMG", 100 << 20));
    REQUIRE(description.machine.disks.size() == 1);
    CHECK(description.machine.disks[0].device == "hda");
    CHECK(description.machine.boot == "c");
    CHECK(description.files.at(0).writable);
}

TEST_CASE("a bare image of a floppy disk's size is a machine that boots from its drive A") {
    for (const unsigned kib : {160, 180, 320, 360, 720, 1200, 1440, 1680, 1722, 2880}) {
        const auto description = describe(entries_for_medium("/images/dos.img", kib * 1024));
        REQUIRE(description.machine.disks.size() == 1);
        CHECK(description.machine.disks[0].device == "fda");
        CHECK(description.machine.disks[0].kind == DiskKind::Floppy);
        CHECK(description.machine.disks[0].controller == DiskController::Floppy);
        CHECK_FALSE(description.machine.disks[0].read_only);
        CHECK(description.machine.boot == "a");
    }
    for (const unsigned bytes : {0u, 512u, 1440 * 1024 - 512u, 1440 * 1024 + 512u, 4096 * 1024u})
        CHECK(describe(entries_for_medium("/images/dos.img", bytes)).machine.disks.at(0).device == "hda");
    CHECK(describe(entries_for_medium("/isos/small.iso", 1440 * 1024)).machine.disks.at(0).device == "hdc");
}

TEST_CASE("overrides come after a bare medium") {
    Diagnostics diagnostics;
    auto entries = entries_for_medium("/isos/a.iso", 100 << 20);
    for (const char* argument : {"name=other", "memory=64", "boot=dc"})
        for (Entry& entry : parse_override(argument, diagnostics))
            entries.push_back(std::move(entry));
    const auto description = describe(merge_entries(std::move(entries), diagnostics));
    CHECK(description.machine.name == "other");
    CHECK(description.machine.memory_bytes == 64ull << 20);
    CHECK(description.machine.boot == "dc");
    CHECK(diagnostics.all().empty());
}

TEST_CASE("the UUID follows from the name and stays the same") {
    const auto a = describe({}), b = describe({});
    CHECK(a.machine.name == "fallback");
    CHECK(a.machine.uuid == b.machine.uuid);
    CHECK(a.machine.uuid.size() == 36);
    CHECK(describe(entries_for_medium("/x.iso", 100 << 20)).machine.uuid != a.machine.uuid);
}

TEST_CASE("names are made from paths and checked") {
    CHECK(name_from_path("/isos/grub.rescue.iso") == "grub.rescue");
    CHECK(name_from_path("--x") == "x");
    CHECK(name_from_path("") == "machine");
    CHECK(name_from_path("/a/.hidden") == "hidden");
    CHECK(why_bad_name("fine-1.2_x+y").empty());
    for (const std::string bad : {"", "..", ".x", "-x", "a/b", "a b", "a\n"}) {
        INFO(bad);
        CHECK(!why_bad_name(bad).empty());
        CHECK(why_bad_name(name_from_path(bad)).empty());
    }
    CHECK(!why_bad_name(std::string(65, 'a')).empty());
}
