// SPDX-License-Identifier: GPL-2.0-or-later
#include "vnc/web_files.hpp"

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

namespace escalus {

namespace fs = std::filesystem;

namespace {
constexpr std::uintmax_t max_bytes = 32u << 20;

std::string type_of(const fs::path& path) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 13> types{
        {{".html", "text/html; charset=utf-8"},
         {".js", "text/javascript; charset=utf-8"},
         {".css", "text/css; charset=utf-8"},
         {".json", "application/json"},
         {".svg", "image/svg+xml"},
         {".png", "image/png"},
         {".ico", "image/x-icon"},
         {".jpg", "image/jpeg"},
         {".ttf", "font/ttf"},
         {".woff", "font/woff"},
         {".woff2", "font/woff2"},
         {".mp3", "audio/mpeg"},
         {".oga", "audio/ogg"}}};
    const auto extension = path.extension().string();
    for (const auto& [suffix, type] : types)
        if (suffix == extension)
            return std::string{type};
    return "application/octet-stream";
}
} // namespace

WebFiles::WebFiles(const std::string& folder) {
    std::error_code error;
    if (folder.empty() || !fs::is_directory(folder, error))
        return;
    std::uintmax_t total = 0;
    // Distributions link parts of the page to other places, one level deep.
    fs::recursive_directory_iterator walk{folder, fs::directory_options::follow_directory_symlink, error};
    for (; !error && walk != fs::recursive_directory_iterator{}; walk.increment(error)) {
        if (walk.depth() > 8)
            walk.disable_recursion_pending();
        std::error_code status;
        const auto size = walk->is_regular_file(status) ? walk->file_size(status) : 0;
        if (status || size == 0)
            continue;
        total += size;
        if (total > max_bytes)
            return;
        std::ifstream in{walk->path(), std::ios::binary};
        std::string content{std::istreambuf_iterator<char>{in}, {}};
        if (in.good() || in.eof())
            files_["/" + fs::path{walk->path()}.lexically_relative(folder).generic_string()] =
                File{type_of(walk->path()), std::move(content)};
    }
}

const WebFiles::File* WebFiles::find(std::string_view target) const {
    const auto it = files_.find(target.substr(0, target.find_first_of("?#")));
    return it == files_.end() ? nullptr : &it->second;
}

} // namespace escalus
