/* Copyright (c) 2026, Podsmith developers
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * libnvidia-ptxjitcompiler.so.1: a file that can be loaded, for whoever looks it up beside libcuda. It compiles nothing.
 */
