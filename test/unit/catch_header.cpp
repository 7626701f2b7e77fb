// SPDX-License-Identifier: GPL-2.0-or-later
// Nothing: the target that compiles Catch2's header once, for all unit tests, has to have a source.
