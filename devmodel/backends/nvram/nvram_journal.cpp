// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/nvram/nvram_journal.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <algorithm>
#include <array>

#include <boost/crc.hpp>

namespace escalus {

namespace {
constexpr std::array<std::uint8_t, 8> magic{'E', 'S', 'C', 'N', 'V', 'R', 'J', '1'};
constexpr std::size_t header_size = 16, entry_size = 4 + nvram_page;

std::uint32_t checksum(std::span<const std::uint8_t> bytes) {
    boost::crc_32_type crc;
    crc.process_bytes(bytes.data(), bytes.size());
    return crc.checksum();
}

/// The bytes of a page that the image has.
template <typename Byte>
std::span<Byte> page_of(std::span<Byte> image, std::size_t number) {
    const auto begin = number * nvram_page;
    return image.subspan(begin, std::min(nvram_page, image.size() - begin));
}
} // namespace

std::vector<std::uint8_t> make_nvram_record(std::span<const std::uint8_t> image,
                                            std::span<const std::uint32_t> pages) {
    std::vector<std::uint8_t> record(header_size + pages.size() * entry_size);
    const std::span all{record};
    for (std::size_t i = 0; i < pages.size(); ++i) {
        const auto entry = all.subspan(header_size + i * entry_size, entry_size);
        store_le<std::uint32_t>(entry, 0, pages[i]);
        std::ranges::copy(page_of(image, pages[i]), entry.subspan(4).begin());
    }
    std::ranges::copy(magic, record.begin());
    store_le<std::uint32_t>(all, 8, static_cast<std::uint32_t>(pages.size()));
    store_le<std::uint32_t>(all, 12, checksum(all.subspan(header_size)));
    return record;
}

std::optional<std::vector<std::uint32_t>> apply_nvram_record(std::span<const std::uint8_t> record,
                                                             std::span<std::uint8_t> image) {
    if (record.size() < header_size || !std::ranges::equal(record.first(magic.size()), magic))
        return {};
    const std::size_t count = load_le<std::uint32_t>(record, 8),
                      all = (image.size() + nvram_page - 1) / nvram_page;
    if (count > all || record.size() < header_size + count * entry_size)
        return {};
    const auto body = record.subspan(header_size, count * entry_size);
    if (checksum(body) != load_le<std::uint32_t>(record, 12))
        return {};
    std::vector<std::uint32_t> pages;
    for (std::size_t i = 0; i < count; ++i)
        if (pages.push_back(load_le<std::uint32_t>(body, i * entry_size)); pages.back() >= all)
            return {};
    for (std::size_t i = 0; i < count; ++i) {
        const auto to = page_of(image, pages[i]);
        std::ranges::copy(body.subspan(i * entry_size + 4, to.size()), to.begin());
    }
    return pages;
}

} // namespace escalus
