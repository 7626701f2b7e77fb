// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/png_writer.hpp"

#include <stdexcept>

#include <png.h>

namespace escalus {

std::vector<std::uint8_t> encode_png(const Picture& picture) {
    if (picture.width == 0 || picture.height == 0 ||
        picture.pixels.size() != std::size_t{picture.width} * picture.height)
        throw std::invalid_argument{"a picture without pixels cannot be written as PNG"};

    std::vector<std::uint8_t> rgb;
    rgb.reserve(picture.pixels.size() * 3);
    for (const auto pixel : picture.pixels) {
        rgb.push_back(static_cast<std::uint8_t>(pixel >> 16));
        rgb.push_back(static_cast<std::uint8_t>(pixel >> 8));
        rgb.push_back(static_cast<std::uint8_t>(pixel));
    }
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = picture.width;
    image.height = picture.height;
    image.format = PNG_FORMAT_RGB;

    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    std::vector<std::uint8_t> file(size);
    if (png_image_write_to_memory(&image, file.data(), &size, 0, rgb.data(), 0, nullptr) == 0)
        throw std::runtime_error{std::string{"cannot write a PNG: "} +
                                 static_cast<const char*>(image.message)};
    file.resize(size);
    return file;
}

} // namespace escalus
