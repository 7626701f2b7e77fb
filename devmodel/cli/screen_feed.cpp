// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/screen_feed.hpp"

#include <chrono>
#include <utility>

#include <boost/json.hpp>
#include <fmt/format.h>

namespace escalus {

namespace {
namespace json = boost::json;
constexpr auto period = std::chrono::milliseconds{33};

std::string hexadecimal(const std::vector<std::uint8_t>& bytes) {
    std::string text;
    text.reserve(2 * bytes.size());
    for (const auto byte : bytes)
        fmt::format_to(std::back_inserter(text), "{:02x}", byte);
    return text;
}

/// Where the cursor is; none is the same everywhere.
std::pair<int, int> cursor_of(const TextScreen& screen) {
    return screen.cursor_visible
               ? std::pair{static_cast<int>(screen.cursor_column), static_cast<int>(screen.cursor_row)}
               : std::pair{-1, -1};
}
} // namespace

std::optional<std::string> screen_changes(const std::optional<TextScreen>& before, const TextScreen& now) {
    const bool all = !before || before->columns != now.columns || before->rows != now.rows;
    json::array rows;
    for (unsigned row = 0; row < now.rows; ++row)
        if (all || before->lines[row] != now.lines[row] || before->attributes[row] != now.attributes[row])
            rows.push_back(json::array{row, now.lines[row], hexadecimal(now.attributes[row])});
    if (!all && rows.empty() && cursor_of(*before) == cursor_of(now))
        return {};
    json::object change;
    change["screen"] = json::array{now.columns, now.rows};
    change["cursor"] = now.cursor_visible ? json::value(json::array{now.cursor_column, now.cursor_row})
                                          : json::value(nullptr);
    change["rows"] = std::move(rows);
    return json::serialize(change);
}

void ScreenFeed::look() {
    if (!send_)
        return;
    TextScreen now;
    {
        const std::scoped_lock guard{lock_};
        now = display_.text();
    }
    auto change = screen_changes(sent_, now);
    if (!change)
        return wait();
    sent_ = std::move(now);
    send_(std::move(*change), [self = shared_from_this()] { self->wait(); });
}

void ScreenFeed::wait() {
    if (!send_)
        return;
    timer_.expires_after(period);
    timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
        if (!error)
            self->look();
    });
}

void ScreenFeed::stop() {
    send_ = {};
    timer_.cancel();
}

} // namespace escalus
