// SPDX-License-Identifier: GPL-2.0-or-later
// A runtime root of a test's own, in the place of /run/escalus.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace escalus {

class TemporaryRun {
  public:
    TemporaryRun() {
        std::string name = (std::filesystem::temp_directory_path() / "escalus-run-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr)
            throw std::runtime_error("no temporary directory");
        path = name;
        setenv("ESCALUS_RUN", name.c_str(), 1); // NOLINT(concurrency-mt-unsafe)
    }
    ~TemporaryRun() {
        unsetenv("ESCALUS_RUN"); // NOLINT(concurrency-mt-unsafe)
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    TemporaryRun(const TemporaryRun&) = delete;
    TemporaryRun& operator=(const TemporaryRun&) = delete;

    std::filesystem::path path;
};

} // namespace escalus
