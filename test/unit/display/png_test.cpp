// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/png_writer.hpp"

#include <catch2/catch.hpp>
#include <png.h>

using namespace escalus;

TEST_CASE("a picture survives the way through a PNG file") {
    Picture picture{3, 2, {0xff0000, 0x00ff00, 0x0000ff, 0x123456, 0x000000, 0xffffff}};
    const auto file = encode_png(picture);
    CHECK(encode_png(picture) == file);

    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    REQUIRE(png_image_begin_read_from_memory(&image, file.data(), file.size()) != 0);
    CHECK(image.width == 3);
    CHECK(image.height == 2);
    image.format = PNG_FORMAT_BGRA; // little-endian 0xAARRGGBB
    std::vector<std::uint32_t> pixels(6);
    REQUIRE(png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr) != 0);
    for (std::size_t i = 0; i < 6; ++i)
        CHECK((pixels[i] & 0xffffff) == picture.pixels[i]);
}

TEST_CASE("an impossible picture is refused") {
    CHECK_THROWS_AS(encode_png({}), std::invalid_argument);
    CHECK_THROWS_AS(encode_png({2, 2, {0, 0, 0}}), std::invalid_argument);
}
