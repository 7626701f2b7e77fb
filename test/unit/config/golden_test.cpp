// SPDX-License-Identifier: GPL-2.0-or-later
// Each NAME.cfg in golden/, and each example in configs/, is read as a domain file. NAME.json pins the
// machine (none when the file has an error), NAME.txt what is said about the file (none when nothing is).
//
// After a wanted change: run with ESCALUS_UPDATE_GOLDEN=1 and review the difference.
#include "devmodel/config/machine_description.hpp"
#include "devmodel/config/machine_json.hpp"
#include "devmodel/config/machine_name.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <boost/json.hpp>
#include <catch2/catch.hpp>

namespace fs = std::filesystem;
using namespace escalus;

namespace {

std::string content(const fs::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

void compare(const fs::path& path, const std::string& actual) {
    if (std::getenv("ESCALUS_UPDATE_GOLDEN") != nullptr) { // NOLINT(concurrency-mt-unsafe)
        if (actual.empty())
            fs::remove(path);
        else
            std::ofstream{path, std::ios::binary} << actual;
    }
    INFO(path);
    CHECK(actual == content(path));
}

void check_golden(const fs::path& cfg, const fs::path& golden) {
    INFO(cfg);
    Diagnostics diagnostics;
    const auto entries =
        merge_entries(parse_domain_file(cfg.filename(), content(cfg), diagnostics), diagnostics);
    const auto description = describe_machine(entries, "/vm", name_from_path(cfg.string()), diagnostics);
    compare(fs::path{golden}.replace_extension(".txt"), diagnostics.text());
    compare(fs::path{golden}.replace_extension(".json"),
            diagnostics.has_errors() ? std::string{} : pretty(to_json(description.machine)));
    CHECK(diagnostics.has_errors() == cfg.filename().string().starts_with("error-"));
}

std::vector<fs::path> domain_files(const fs::path& directory) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator{directory})
        if (entry.path().extension() == ".cfg")
            files.push_back(entry.path());
    std::ranges::sort(files);
    return files;
}

const fs::path root = ESCALUS_SOURCE_DIR;
const fs::path golden_directory = root / "test/unit/config/golden";

} // namespace

TEST_CASE("domain files give the machines and messages that are pinned") {
    const auto files = domain_files(golden_directory);
    CHECK(files.size() >= 60);
    for (const fs::path& file : files)
        check_golden(file, file);
}

TEST_CASE("the examples in configs/ give the machines that are pinned, without a word") {
    const auto files = domain_files(root / "configs");
    CHECK(files.size() >= 6);
    for (const fs::path& file : files) {
        const fs::path golden = golden_directory / ("example-" + file.stem().string());
        check_golden(file, golden);
        CHECK(!fs::exists(golden.string() + ".txt"));
    }
}
