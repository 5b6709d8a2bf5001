/* Copyright (c) 2026, Podsmith developers
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * libnvidia-ptxjitcompiler.so.1: a library to be found and loaded beside libcuda. It compiles nothing.
 */
