// SPDX-License-Identifier: GPL-2.0-or-later
// The files of the web page (noVNC), read into memory at start: the process may later be confined to where it
// cannot open files, and a request is a look-up of a name that cannot lead anywhere else.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace escalus {

class WebFiles {
  public:
    struct File {
        std::string type; ///< for Content-Type
        std::string content;
    };

    /// Nothing is served when the folder is not there. Of a folder that is no web page's, at most 32 MiB.
    explicit WebFiles(const std::string& folder);

    [[nodiscard]] bool empty() const { return files_.empty(); }
    /// By request target ("/vnc.html?autoconnect=1"); null when there is no such file.
    [[nodiscard]] const File* find(std::string_view target) const;

  private:
    std::map<std::string, File, std::less<>> files_; // "/app/ui.js"
};

} // namespace escalus
