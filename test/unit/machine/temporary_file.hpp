// SPDX-License-Identifier: GPL-2.0-or-later
// A file with given content that goes when the test ends.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include <unistd.h>

namespace escalus {

class TemporaryFile {
  public:
    explicit TemporaryFile(std::span<const std::uint8_t> content) {
        const int fd = mkstemp(path_.data());
        if (fd < 0 || write(fd, content.data(), content.size()) != static_cast<ssize_t>(content.size()))
            std::abort();
        close(fd);
    }
    ~TemporaryFile() { unlink(path_.c_str()); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_ = "/tmp/escalus-test-XXXXXX";
};

} // namespace escalus
