/* Copyright (c) 2026, Podsmith developers
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The stub of a toolkit's lib64/stubs, which programs are linked against where there is no driver: no call does more
 * than refuse.
 */
#define EXPORT __attribute__((visibility("default")))

enum { CUDA_ERROR_STUB_LIBRARY = 34 };

EXPORT int cuInit(unsigned flags)
{
    (void)flags;
    return CUDA_ERROR_STUB_LIBRARY;
}

EXPORT int cuDriverGetVersion(int *version)
{
    (void)version;
    return CUDA_ERROR_STUB_LIBRARY;
}

EXPORT int cuDeviceGetCount(int *count)
{
    (void)count;
    return CUDA_ERROR_STUB_LIBRARY;
}

EXPORT int cuGetErrorName(int code, const char **name)
{
    (void)code;
    (void)name;
    return CUDA_ERROR_STUB_LIBRARY;
}
