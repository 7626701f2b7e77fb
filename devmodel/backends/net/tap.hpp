// SPDX-License-Identifier: GPL-2.0-or-later
// TAP devices and bridges of the control OS. Everything about them that is Linux's is in tap.cpp.
//
// The device is made, and put on its bridge, before the device model gives root up; it goes away with the
// process. A bridge that is missing is made, without any other port: then guests reach each other and the
// control OS, if it is given an address there.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <memory>

namespace boost::asio {
class io_context;
}

namespace escalus {

struct TapConfig {
    std::string bridge;
    std::string interface; ///< its name in the control OS; empty: vif0, vif1 ...
    MacAddress guest{};    ///< the card's address; the interface's own is made of it
};

/// Throws std::runtime_error with what went wrong and how to mend it. The backend can do checksums and
/// segmentation in both directions.
[[nodiscard]] std::unique_ptr<NetBackend> open_tap(boost::asio::io_context& loop, DeviceLock& device_lock,
                                                   const TapConfig& config);

} // namespace escalus
