// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/host/descriptor.hpp"
#include "devmodel/config/image_signature.hpp"
#include "devmodel/config/machine_description.hpp"
#include "devmodel/config/machine_json.hpp"
#include "devmodel/devices/storage/floppy_format.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <span>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace escalus {
namespace {

std::string_view what(FileUse::Kind kind) {
    switch (kind) {
    case FileUse::Kind::Disk:
        return "disk";
    case FileUse::Kind::CdRom:
        return "CD-ROM medium";
    case FileUse::Kind::Floppy:
        return "floppy disk";
    case FileUse::Kind::Kernel:
        return "kernel";
    case FileUse::Kind::Ramdisk:
        return "RAM disk";
    case FileUse::Kind::Folder:
        return "folder";
    case FileUse::Kind::Firmware:
        break;
    }
    return "firmware file";
}

bool read_at(int fd, off_t offset, std::span<char> data) {
    return ::pread(fd, data.data(), data.size(), offset) == static_cast<ssize_t>(data.size());
}

/// What reading the first byte says: 0, or an error of errno.h.
int first_read_error(int fd) {
    std::array<char, 1> byte{};
    return ::pread(fd, byte.data(), byte.size(), 0) < 0 ? errno : 0;
}

/// A boot sector's signature, as SeaBIOS demands it.
bool has_boot_sector(int fd) {
    std::array<char, 2> signature{};
    return read_at(fd, 510, signature) && signature[0] == '\x55' && signature[1] == '\xaa';
}

/// El Torito 1.0, figure 7: the boot record volume descriptor in sector 17.
bool has_el_torito(int fd) {
    constexpr std::string_view identifier{"\0CD001\1EL TORITO SPECIFICATION", 30};
    std::array<char, identifier.size()> sector{};
    return read_at(fd, 17 * 2048, sector) && std::string_view{sector.data(), sector.size()} == identifier;
}

class FileChecker {
  public:
    explicit FileChecker(Diagnostics& diagnostics) : diagnostics_{&diagnostics} {}

    /// True when the file can be used; says otherwise why not.
    bool usable(const FileUse& use) {
        struct stat status {};
        const auto complain = [&](std::string_view problem, std::string help) {
            diagnostics_->error(use.where, fmt::format("the {} '{}' {}", what(use.kind), use.path, problem),
                                std::move(help));
            return false;
        };
        if (::stat(use.path.c_str(), &status) != 0) {
            if (errno == ENOENT || errno == ENOTDIR)
                return complain("does not exist", "check the path; relative ones count from the current "
                                                  "directory");
            return complain(fmt::format("cannot be looked at: {}", std::generic_category().message(errno)),
                            {});
        }
        if (use.kind == FileUse::Kind::Folder)
            return S_ISDIR(status.st_mode) || complain("is no folder", "name the folder, not a file in it");
        if (S_ISDIR(status.st_mode))
            return complain("is a directory", "name a file in it");
        if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
            return complain("is neither a file nor a block device", {});
        const Descriptor file{::open(use.path.c_str(), (use.writable ? O_RDWR : O_RDONLY) | O_CLOEXEC)};
        if (file.get() < 0) {
            const std::string why = std::generic_category().message(errno);
            if (use.writable && (errno == EACCES || errno == EROFS || errno == EPERM))
                return complain(fmt::format("cannot be written: {}", why),
                                "make it writable, or give it to the guest read only: ',r' at the end");
            return complain(fmt::format("cannot be read: {}", why), {});
        }
        const auto size = ::lseek(file.get(), 0, SEEK_END);
        if (size == 0)
            return complain("is empty", use.kind == FileUse::Kind::Disk
                                            ? fmt::format("make it, for example: truncate -s 8G {}", use.path)
                                            : std::string{});
        if (const int error = first_read_error(file.get()); error != 0)
            return complain(fmt::format("cannot be read: {}", std::generic_category().message(error)),
                            "its storage may be damaged, or no longer be there");
        const bool disk = use.kind == FileUse::Kind::Disk || use.kind == FileUse::Kind::Floppy;
        if (disk && !of_its_format(use, file.get()))
            return false;
        if (use.kind == FileUse::Kind::Floppy && use.format == ImageFormat::Raw &&
            !floppy_format(static_cast<std::uint64_t>(size)))
            return complain(fmt::format("is no image of a floppy disk: it has {} bytes", size),
                            fmt::format("floppy disks have {}", floppy_sizes(FloppyDriveType::None)));
        bootable_ |= use.format != ImageFormat::Raw; // what is in it, its format hides
        bootable_ |= use.kind == FileUse::Kind::Kernel || use.kind == FileUse::Kind::Firmware;
        bootable_ |= disk && has_boot_sector(file.get());
        bootable_ |= use.kind == FileUse::Kind::CdRom && has_el_torito(file.get());
        return true;
    }

    [[nodiscard]] bool bootable() const { return bootable_; }

  private:
    /// The format is what the domain file says. A raw image that looks like another is a slip, or was made to
    /// look so by a guest: that is worth a word, and no more.
    bool of_its_format(const FileUse& use, int file) {
        const auto seen = format_by_signature(file);
        if (use.format == ImageFormat::Raw) {
            if (seen)
                diagnostics_->warning(
                    use.where,
                    fmt::format("'{}' looks like a {} image, and is taken as raw", use.path,
                                to_string(*seen)),
                    fmt::format("if it is one, say so: '{},{},hda,rw'", use.path, to_string(*seen)));
            return true;
        }
        if (seen == use.format)
            return true;
        diagnostics_->error(use.where, fmt::format("'{}' is not a {} image", use.path, to_string(use.format)),
                            seen ? fmt::format("it looks like {}", to_string(*seen))
                                 : "leave the format away if the image is raw");
        return false;
    }

    Diagnostics* diagnostics_;
    bool bootable_ = false; // something that can be booted was seen
};

} // namespace

void check_files(const MachineDescription& description, Diagnostics& diagnostics) {
    FileChecker checker{diagnostics};
    bool all_usable = true;
    for (const FileUse& use : description.files)
        all_usable &= checker.usable(use);
    const auto& machine = description.machine;
    const bool from_network =
        (machine.boot.find('n') != std::string::npos && !machine.networks.empty()) ||
        std::ranges::any_of(machine.disks, [](const DiskConfig& disk) { return disk.is_nbd(); });
    if (!all_usable || checker.bootable() || from_network)
        return;
    const auto medium = std::ranges::find_if(description.files, [](const FileUse& use) {
        return use.kind == FileUse::Kind::Disk || use.kind == FileUse::Kind::CdRom ||
               use.kind == FileUse::Kind::Floppy;
    });
    if (medium == description.files.end())
        diagnostics.error({}, "the machine has nothing to boot from",
                          "give it a medium: disk = [ '/isos/some.iso,,hdc,cdrom' ], or a kernel");
    else if (medium->kind == FileUse::Kind::CdRom)
        diagnostics.error(medium->where,
                          fmt::format("'{}' is not bootable: it has no El Torito boot record", medium->path),
                          "give the image of a bootable CD or DVD, or a bootable disk");
    else
        diagnostics.error(medium->where,
                          fmt::format("'{}' is not bootable: it has no boot sector", medium->path),
                          "to install a system onto it, add its CD: '/isos/some.iso,,hdc,cdrom'");
}

} // namespace escalus
