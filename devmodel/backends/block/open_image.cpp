// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/block/open_image.hpp"

#include "devmodel/backends/block/file_backend.hpp"
#include "devmodel/backends/block/nbd_backend.hpp"
#include "devmodel/backends/block/overlay_backend.hpp"
#include "devmodel/backends/block/reporting_backend.hpp"
#include "devmodel/config/machine_json.hpp"

#include <cstdio>

#include <fmt/format.h>

namespace escalus {

namespace {
std::unique_ptr<BlockBackend> open_base(const DiskConfig& disk, boost::asio::io_context& loop,
                                        DeviceLock& device_lock, const std::string& runtime_directory) {
    const bool read_only = disk.read_only || disk.snapshot || disk.kind == DiskKind::CdRom;
    if (disk.is_nbd())
        return NbdBackend::connect(disk.path, read_only, loop, device_lock);
    if (disk.format == ImageFormat::Raw)
        return FileBackend::open(disk.path, read_only, device_lock);
    auto server = std::make_unique<NbdServer>(disk.path, std::string{to_string(disk.format)}, read_only,
                                              fmt::format("{}/{}.nbd", runtime_directory, disk.device));
    return NbdBackend::connect(std::move(server), read_only, loop, device_lock);
}

std::unique_ptr<BlockBackend> reporting(std::unique_ptr<BlockBackend> image, const std::string& device,
                                        bool discard) {
    return std::make_unique<ReportingBackend>(std::move(image), device, discard, [](const std::string& line) {
        fmt::print(stderr, "escalus: {}\n", line);
    });
}
} // namespace

std::unique_ptr<BlockBackend> open_image(const DiskConfig& disk, boost::asio::io_context& loop,
                                         DeviceLock& device_lock, const std::string& runtime_directory) {
    auto image = open_base(disk, loop, device_lock, runtime_directory);
    if (disk.snapshot && !disk.read_only) {
        const auto size = image->size();
        image = std::make_unique<OverlayBackend>(std::move(image), FileBackend::temporary(size, device_lock));
    }
    return reporting(std::move(image), disk.device, disk.discard);
}

std::unique_ptr<BlockBackend> adopt_image(Descriptor image, const std::string& path,
                                          const std::string& device, DeviceLock& device_lock) {
    return reporting(FileBackend::adopt(std::move(image), path, device_lock), device, false);
}

} // namespace escalus
