// SPDX-License-Identifier: GPL-2.0-or-later
// The media that issue reports are made of: missing, unreadable, empty, a directory, not bootable.
#include "devmodel/config/machine_description.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;
using namespace escalus;

namespace {

class Files {
  public:
    Files() {
        std::string name = (fs::temp_directory_path() / "escalus-files-XXXXXX").string();
        REQUIRE(mkdtemp(name.data()) != nullptr);
        directory_ = name;
    }
    ~Files() { fs::remove_all(directory_); }
    Files(const Files&) = delete;
    Files& operator=(const Files&) = delete;

    std::string make(const std::string& name, const std::string& content = "", std::size_t offset = 0) {
        const auto path = directory_ / name;
        std::ofstream file{path, std::ios::binary};
        file.seekp(static_cast<std::streamoff>(offset));
        file << content;
        return path;
    }
    [[nodiscard]] std::string path(const std::string& name) const { return directory_ / name; }
    [[nodiscard]] const fs::path& directory() const { return directory_; }

  private:
    fs::path directory_;
};

std::string complaints(const std::string& domain_file) {
    Diagnostics diagnostics;
    const auto entries = merge_entries(parse_domain_file("t.cfg", domain_file, diagnostics), diagnostics);
    const auto description = describe_machine(entries, "/", "t", diagnostics);
    REQUIRE(diagnostics.all().empty());
    check_files(description, diagnostics);
    CHECK(diagnostics.has_errors() == !diagnostics.all().empty());
    return diagnostics.text();
}

const std::string el_torito{"\0CD001\1EL TORITO SPECIFICATION", 30};
const std::string boot_signature = "\x55\xaa";

} // namespace

TEST_CASE("a file that opens but gives read errors is said to, not taken for one that cannot be booted") {
    // A process's memory opens as a regular file; nothing can be mapped, and so read, at address 0.
    const auto said = complaints("disk = [ '/proc/self/mem,,hda,r' ]");
    CHECK_THAT(said, Catch::Contains("cannot be read: Input/output error"));
    CHECK_THAT(said, !Catch::Contains("bootable"));
}

TEST_CASE("media that cannot be used are named with what is wrong and where they are written") {
    Files files;
    const auto cd = [](const std::string& path) { return "disk = [ '" + path + ",,hdc,cdrom' ]"; };
    const std::string missing = complaints(cd(files.path("no.iso")));
    CHECK(missing.find("t.cfg:1:11: error: the CD-ROM medium '" + files.path("no.iso") +
                       "' does not exist") != std::string::npos);
    CHECK(missing.find("\n              ^~~") != std::string::npos);
    CHECK(complaints(cd(files.directory())).find("is a directory") != std::string::npos);
    CHECK(complaints(cd(files.make("empty.iso"))).find("is empty") != std::string::npos);
    CHECK(complaints(cd("/dev/null")).find("is neither a file nor a block device") != std::string::npos);
    CHECK(complaints(cd(files.make("text.iso", std::string(40000, 'x')))).find("no El Torito") !=
          std::string::npos);
    CHECK(complaints(cd(files.make("boot.iso", el_torito, 17 * 2048))).empty());
}

TEST_CASE("unreadable and read-only files are said to be so") {
    if (geteuid() == 0)
        return; // root can read and write everything
    Files files;
    const std::string image = files.make("a.img", boot_signature, 510);
    chmod(image.c_str(), 0444);
    CHECK(complaints("disk = [ '" + image + ",raw,hda,w' ]").find("cannot be written") != std::string::npos);
    CHECK(complaints("disk = [ '" + image + ",raw,hda,r' ]").empty());
    chmod(image.c_str(), 0);
    CHECK(complaints("disk = [ '" + image + ",raw,hda,r' ]").find("cannot be read") != std::string::npos);
}

TEST_CASE("one bootable medium is enough, and a kernel or firmware needs none") {
    Files files;
    const std::string blank = files.make("blank.img", "x", 100000),
                      iso = files.make("b.iso", el_torito, 34816);
    const std::string disk = "'" + blank + ",raw,hda,w'";
    CHECK(complaints("disk = [ " + disk + " ]").find("no boot sector") != std::string::npos);
    CHECK(complaints("disk = [ " + disk + ", '" + iso + ",,hdc,cdrom' ]").empty());
    CHECK(complaints("disk = [ " + disk + " ]; kernel = '" + blank + "'").empty());
    CHECK(complaints("firmware = '" + blank + "'").empty());
    CHECK(complaints("memory = 64").find("nothing to boot from") != std::string::npos);
    CHECK(complaints("disk = [ ',,hdc,cdrom' ]").find("nothing to boot from") != std::string::npos);
}

TEST_CASE("a floppy disk's image has the size of one, and can be booted") {
    Files files;
    std::string disk(1440 * 1024, '\0');
    CHECK(complaints("fda = '" + files.make("blank.img", disk) + "'").find("has no boot sector") !=
          std::string::npos);
    disk.replace(510, 2, boot_signature);
    CHECK(complaints("fda = '" + files.make("boot.img", disk) + "'").empty());
    CHECK(complaints("disk = [ '" + files.path("boot.img") + ",raw,fdb,r' ]").empty());
    const auto odd = complaints("fda = '" + files.make("odd.img", disk + "x") + "'");
    CHECK(odd.find("is no image of a floppy disk: it has 1474561 bytes") != std::string::npos);
    CHECK(odd.find("1440, 1680") != std::string::npos);
}

TEST_CASE("kernels, RAM disks, modules and firmware files are looked at") {
    Files files;
    const std::string kernel = files.make("kernel", "x");
    CHECK(complaints("kernel = '" + files.path("no") + "'").find("the kernel '") != std::string::npos);
    CHECK(complaints("kernel = '" + kernel + "'; ramdisk = [ '" + kernel + " a b', '" + files.path("m") +
                     " c' ]")
              .find("the RAM disk '" + files.path("m") + "' does not exist") != std::string::npos);
    CHECK(complaints("kernel = '" + kernel + "'; vga_bios = '/nowhere/vgabios.bin'")
              .find("the firmware file '/nowhere/vgabios.bin' does not exist") != std::string::npos);
}

TEST_CASE("a machine that boots from the network needs no medium, and the folder it names must be one") {
    Files files;
    const auto blank = files.make("blank", "no boot sector");
    const std::string vif = "vif = [ 'type=user,tftp=" + files.directory().string() + "' ]\n";
    CHECK(complaints(vif + "boot = 'n'").empty());
    CHECK(complaints(vif + "boot = 'cn'\ndisk = [ '" + blank + ",raw,hda,rw' ]").empty());
    CHECK(complaints(vif + "boot = 'c'").find("nothing to boot from") != std::string::npos);
    CHECK(complaints("boot = 'n'\nvif = [ 'type=user,tftp=" + blank + "' ]").find("is no folder") !=
          std::string::npos);
    CHECK(complaints("boot = 'n'\nvif = [ 'type=user,tftp=/does/not/exist' ]").find("does not exist") !=
          std::string::npos);
}
