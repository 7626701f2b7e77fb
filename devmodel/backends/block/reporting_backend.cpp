// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/block/reporting_backend.hpp"

#include <utility>

#include <fmt/format.h>

namespace escalus {

ReportingBackend::ReportingBackend(std::unique_ptr<BlockBackend> image, std::string name, bool trim, Log log)
    : name_{std::move(name)}, trim_{trim}, log_{std::move(log)}, image_{std::move(image)} {}

ReportingBackend::~ReportingBackend() = default;

void ReportingBackend::report(const char* what, std::uint64_t offset, std::error_code error) {
    // A driver that asks for what is not there is told so, and that is between the two.
    if (reported_ || error == std::errc::invalid_argument || error == std::errc::read_only_file_system ||
        error == std::errc::operation_not_supported)
        return;
    reported_ = true;
    log_(fmt::format("{} ({}): {} at byte {} failed: {}; the guest is told of this and further errors", name_,
                     image_->description(), what, offset, error.message()));
}

[[gnu::hot]] BlockBackend::Completion ReportingBackend::watched(const char* what, std::uint64_t offset,
                                                                Completion done) {
    return [this, what, offset, done = std::move(done)](std::error_code error) {
        if (error)
            report(what, offset, error);
        done(error);
    };
}

void ReportingBackend::read(std::uint64_t offset, std::span<std::uint8_t> data, Completion done) {
    image_->read(offset, data, watched("a read", offset, std::move(done)));
}

void ReportingBackend::write(std::uint64_t offset, std::span<const std::uint8_t> data, Completion done) {
    image_->write(offset, data, watched("a write", offset, std::move(done)));
}

[[gnu::hot]] void ReportingBackend::write_pieces(std::uint64_t offset,
                                                 std::span<const std::span<std::uint8_t>> pieces,
                                                 Completion done) {
    image_->write_pieces(offset, pieces, watched("a write", offset, std::move(done)));
}

void ReportingBackend::flush(Completion done) {
    image_->flush(watched("a flush", 0, std::move(done)));
}

void ReportingBackend::discard(std::uint64_t offset, std::uint64_t bytes, Completion done) {
    if (can_trim())
        image_->discard(offset, bytes, watched("a discard", offset, std::move(done)));
    else
        BlockBackend::discard(offset, bytes, std::move(done));
}

void ReportingBackend::write_zeroes(std::uint64_t offset, std::uint64_t bytes, bool unmap, Completion done) {
    if (can_trim())
        image_->write_zeroes(offset, bytes, unmap, watched("a write", offset, std::move(done)));
    else
        BlockBackend::write_zeroes(offset, bytes, unmap, std::move(done));
}

} // namespace escalus
