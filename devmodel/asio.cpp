// SPDX-License-Identifier: GPL-2.0-or-later
// Boost.Asio and Beast, compiled once for the whole tree: as headers alone they would be in every object that
// includes them, which takes a build some minutes more.
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
