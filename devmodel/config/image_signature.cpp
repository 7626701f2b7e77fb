// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/image_signature.hpp"

#include <array>
#include <string>
#include <string_view>

#include <unistd.h>

namespace escalus {

namespace {
using namespace std::string_view_literals;

struct Signature {
    off_t offset;
    std::string_view bytes;
    ImageFormat format;
};
constexpr std::array signatures{
    Signature{0, "QFI\xfb\0\0\0\1"sv, ImageFormat::Qcow},
    Signature{0, "QFI\xfb\0\0\0\2"sv, ImageFormat::Qcow2},
    Signature{0, "QFI\xfb\0\0\0\3"sv, ImageFormat::Qcow2},
    Signature{0, "KDMV"sv, ImageFormat::Vmdk},
    Signature{0, "COWD"sv, ImageFormat::Vmdk},
    Signature{0, "# Disk DescriptorFile"sv, ImageFormat::Vmdk},
    Signature{0, "conectix"sv, ImageFormat::Vhd},
    Signature{0, "vhdxfile"sv, ImageFormat::Vhdx},
    Signature{0, "QED\0"sv, ImageFormat::Qed},
    Signature{0, "WithoutFreeSpace"sv, ImageFormat::Parallels},
    Signature{0, "WithouFreSpacExt"sv, ImageFormat::Parallels},
    Signature{64, "\x7f\x10\xda\xbe"sv, ImageFormat::Vdi},
};

bool is_at(int file, off_t offset, std::string_view bytes) {
    std::string there(bytes.size(), '\0');
    return offset >= 0 &&
           ::pread(file, there.data(), there.size(), offset) == static_cast<ssize_t>(there.size()) &&
           there == bytes;
}
} // namespace

std::optional<ImageFormat> format_by_signature(int file) {
    for (const Signature& signature : signatures)
        if (is_at(file, signature.offset, signature.bytes))
            return signature.format;
    constexpr off_t footer_bytes = 512; // of a VHD of fixed size, which has nothing at its start
    if (is_at(file, ::lseek(file, 0, SEEK_END) - footer_bytes, "conectix"))
        return ImageFormat::Vhd;
    return {};
}

} // namespace escalus
