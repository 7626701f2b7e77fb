// SPDX-License-Identifier: GPL-2.0-or-later
// Runs the inputs in the folders and files named as arguments through a fuzz target, each once: what
// libFuzzer's own main() does with files, for compilers without libFuzzer.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<std::filesystem::path> inputs(int count, char** names) {
    std::vector<std::filesystem::path> result;
    for (int i = 0; i < count; ++i) {
        if (!std::filesystem::is_directory(names[i]))
            result.emplace_back(names[i]);
        else
            for (const auto& entry : std::filesystem::directory_iterator{names[i]})
                result.push_back(entry.path());
    }
    std::ranges::sort(result);
    return result;
}

} // namespace

int main(int argc, char** argv) {
    const auto paths = inputs(argc - 1, argv + 1);
    for (const auto& path : paths) {
        std::ifstream file{path, std::ios::binary};
        const std::vector<char> content{std::istreambuf_iterator<char>{file}, {}};
        if (file.bad() || !file.is_open()) {
            std::fprintf(stderr, "%s cannot be read\n", path.c_str());
            return 1;
        }
        std::fprintf(stderr, "%s\n", path.c_str()); // the last line tells which one was to blame
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(content.data());
        LLVMFuzzerTestOneInput(bytes, content.size());
    }
    std::printf("%zu inputs\n", paths.size());
    return paths.empty() ? 1 : 0;
}
