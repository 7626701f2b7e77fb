// SPDX-License-Identifier: GPL-2.0-or-later
// Boost.Asio and Beast, compiled once for the whole tree: as headers alone they would be compiled again for
// every object that includes them.
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
