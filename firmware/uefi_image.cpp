// SPDX-License-Identifier: GPL-2.0-or-later
#include "firmware/uefi_image.hpp"

#include "devmodel/machine/little_endian.hpp"
#include "firmware/find_firmware.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include <fmt/format.h>

namespace escalus {

namespace {
constexpr std::uint64_t image_limit = 16ull << 20, page = 4096;
constexpr std::size_t header_size = 0x48;
constexpr std::size_t offset_guid = 0x10, offset_length = 0x20, offset_signature = 0x28;
// FFF12B8D-7696-4C8B-A985-2747075B4F50
constexpr std::array<std::uint8_t, 16> variables_guid{0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c,
                                                      0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50};
constexpr std::array<std::uint8_t, 4> volume_signature{'_', 'F', 'V', 'H'};

/// OVMF_CODE_4M.fd -> OVMF_VARS_4M.fd; empty when the name says nothing.
std::string variables_beside(std::string path) {
    const auto name = path.rfind('/') + 1; // npos + 1 == 0
    const auto at = path.find("CODE", name);
    if (at == std::string::npos)
        return {};
    return path.replace(at, 4, "VARS");
}
} // namespace

std::uint64_t variable_volume_size(const std::vector<std::uint8_t>& image) {
    const std::span all{image};
    if (all.size() < header_size ||
        !std::ranges::equal(all.subspan(offset_guid, variables_guid.size()), variables_guid) ||
        !std::ranges::equal(all.subspan(offset_signature, volume_signature.size()), volume_signature))
        return 0;
    const auto size = load_le<std::uint64_t>(all, offset_length);
    return size % page == 0 && size <= image.size() ? size : 0;
}

UefiImage load_uefi(const std::string& chosen) {
    const auto path = find_firmware(default_uefi, chosen);
    auto image = load_firmware(path, image_limit);
    const auto fail = [&](const std::string& what) {
        throw std::runtime_error{fmt::format("UEFI firmware {}: {}", path, what)};
    };
    if (const auto in_front = variable_volume_size(image); in_front == image.size()) {
        fail("this is a file of variables; name the code, as OVMF_CODE_4M.fd");
    } else if (in_front != 0) {
        const auto end = image.begin() + static_cast<std::ptrdiff_t>(in_front);
        return {{end, image.end()}, {image.begin(), end}};
    }
    if (image.size() % page != 0)
        fail(fmt::format("{} bytes are not whole pages: this is no UEFI firmware", image.size()));
    const auto beside = variables_beside(path);
    if (beside.empty())
        fail("it has no variables in front, and its name does not have the word CODE, for which VARS would "
             "name the file that has them");
    auto variables = load_firmware(beside, image_limit);
    if (variable_volume_size(variables) != variables.size())
        throw std::runtime_error{
            fmt::format("UEFI firmware {}: it does not begin with variables and end with them", beside)};
    return {std::move(image), std::move(variables)};
}

} // namespace escalus
