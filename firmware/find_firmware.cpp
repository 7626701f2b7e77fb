// SPDX-License-Identifier: GPL-2.0-or-later
#include "firmware/find_firmware.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <system_error>

namespace escalus {

namespace {
namespace fs = std::filesystem;

bool is_file(const fs::path& path) {
    std::error_code ignored;
    return fs::is_regular_file(path, ignored);
}
} // namespace

std::vector<std::string> firmware_directories() {
    std::vector<std::string> directories;
    if (const char* chosen = std::getenv("ESCALUS_FIRMWARE"); chosen != nullptr && *chosen != '\0')
        directories.emplace_back(chosen);
    directories.emplace_back("/usr/share/seabios");
    directories.emplace_back("/usr/lib/ipxe/qemu");
    directories.emplace_back("/usr/share/OVMF");
    directories.emplace_back(ESCALUS_FIRMWARE_DIRECTORY);
    return directories;
}

std::string find_firmware(const std::string& name, const std::string& chosen) {
    const fs::path wanted = chosen.empty() ? name : chosen;
    if (wanted.has_parent_path()) { // a path is meant as it is
        if (is_file(wanted))
            return wanted.string();
        throw std::runtime_error{
            fmt::format("firmware file {} does not exist or is not a file", wanted.string())};
    }
    const auto directories = firmware_directories();
    for (const auto& directory : directories)
        if (const auto path = fs::path{directory} / wanted; is_file(path))
            return path.string();
    const auto* package = wanted.extension() == ".rom"          ? "ipxe-qemu"
                          : wanted.string().starts_with("OVMF") ? "ovmf"
                                                                : "seabios";
    throw std::runtime_error{
        fmt::format("firmware file {} not found in {}: install Debian's package {} (apt install {}), or "
                    "name a directory that has it in ESCALUS_FIRMWARE",
                    wanted.string(), fmt::join(directories, ", "), package, package)};
}

std::vector<std::uint8_t> load_firmware(const std::string& path, std::uint64_t limit) {
    std::error_code error;
    const auto size = fs::file_size(path, error);
    if (error)
        throw std::runtime_error{fmt::format("firmware file {}: {}", path, error.message())};
    if (size == 0 || size > limit)
        throw std::runtime_error{
            fmt::format("firmware file {} has {} bytes; from 1 to {} can be used", path, size, limit)};
    std::vector<std::uint8_t> bytes(size);
    std::ifstream file{path, std::ios::binary};
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): streams read char
    file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
    if (!file)
        throw std::runtime_error{fmt::format("firmware file {} cannot be read", path)};
    return bytes;
}

} // namespace escalus
