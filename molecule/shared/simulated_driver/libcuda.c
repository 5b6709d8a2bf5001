/* Copyright (c) 2026, Podsmith developers
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * libcuda.so.1: the driver's own, or with COMPAT_VERSION defined the one of a cuda-compat package. Then COMPAT_CUDA is
 * its level and COMPAT_NOTE the text of its ELF note, which decides for which drivers and GPUs it works. A copy of the
 * driver's own under the name of another version is the library of that version.
 */
#define _GNU_SOURCE /* dladdr */
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>

#include "host.h"

typedef int CUresult;
typedef int CUdevice;

enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_DEVICE_UNAVAILABLE = 46,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_OPERATING_SYSTEM = 304,
    CUDA_ERROR_NOT_FOUND = 500,
    CUDA_ERROR_SYSTEM_NOT_READY = 802,
    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
    CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE = 804,
    CUDA_ERROR_UNKNOWN = 999,
};

#ifndef COMPAT_NOTE
#define COMPAT_NOTE "{\"format\":1}"
#endif
#define NOTE_NAME "NVIDIA Corporation"
#define PADDED(size) (((size) + 3) / 4 * 4)

static const struct {
    uint32_t name_size, size, type;
    char name[PADDED(sizeof NOTE_NAME)];
    char text[PADDED(sizeof COMPAT_NOTE)];
} note __attribute__((used, aligned(4), section(".note.cuda.fwd_compatibility"))) = {
    sizeof NOTE_NAME, sizeof COMPAT_NOTE - 1, 1, NOTE_NAME, COMPAT_NOTE,
};

static struct host host;
static bool is_ready;
static int visible[MAX_GPUS]; /* indices into host.gpus, as CUDA_VISIBLE_DEVICES orders them */
static int visible_count;

/* Whether CUDA has something to show of a GPU: one in MIG mode without a slice is none to it. */
static bool is_shown(int index)
{
    return !host.gpus[index].is_mig || host.slices > 0;
}

/* The GPU that a word of CUDA_VISIBLE_DEVICES means, an index among those shown or the begin of one's UUID, or -1;
 * *end is what follows the word. */
static int find_named(const char *word, const int *shown, int count, char **end)
{
    int found = -1;

    if (strncmp(word, "GPU-", 4) != 0) {
        long index = strtol(word, end, 0);

        if (*end == word || index < 0 || index >= count)
            return -1;
        *end += strspn(*end, " ");
        return shown[index];
    }
    *end = (char *)word + strcspn(word, ",");
    for (int place = 0; place < count; place++) {
        char uuid[UUID_SIZE];

        uuid_of(shown[place], uuid);
        if (strncmp(uuid, word, (size_t)(*end - word)) != 0)
            continue;
        if (found >= 0)
            return -1;
        found = shown[place];
    }
    return found;
}

/* Reads CUDA_VISIBLE_DEVICES: the first word that is wrong ends the list; a GPU named twice is an error. */
static CUresult find_visible(void)
{
    const char *wish = getenv("CUDA_VISIBLE_DEVICES");
    int shown[MAX_GPUS], count = 0;

    for (int index = 0; index < host.gpu_count && count < host.shown; index++)
        if (is_shown(index))
            shown[count++] = index;
    visible_count = 0;
    for (int place = 0; !wish && place < count; place++)
        visible[visible_count++] = shown[place];
    while (wish && *wish) {
        char *end = NULL;
        int index = find_named(wish, shown, count, &end);

        if (index < 0 || (*end && *end != ','))
            break;
        for (int known = 0; known < visible_count; known++)
            if (visible[known] == index)
                return CUDA_ERROR_INVALID_DEVICE;
        visible[visible_count++] = index;
        wish = *end ? end + 1 : end;
    }
    return visible_count ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

#ifdef COMPAT_VERSION
/* Whether a list of the note has the number; a list that the note lacks refuses nothing. */
static bool is_listed(const char *key, int number)
{
    const char *list = strstr(note.text, key);

    if (!list)
        return true;
    for (list = strchr(list, '[') + 1; *list != ']'; list += *list == ',') {
        char *end = NULL;

        if (strtol(list, &end, 10) == number)
            return true;
        if (end == list)
            return false;
        list = end;
    }
    return false;
}

/* A library newer than the kernel driver works where its note lists the driver's branch and the GPUs, an equal one
 * everywhere, an older one nowhere. */
static CUresult check_driver(void)
{
    int order = compare_versions(COMPAT_VERSION, host.driver);

    if (host.is_wsl2)
        return CUDA_ERROR_NO_DEVICE;
    if (order < 0 || (order > 0 && !is_listed("\"driver\"", atoi(host.driver))))
        return CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
    return CUDA_SUCCESS;
}

static CUresult check_gpus(void)
{
    if (compare_versions(COMPAT_VERSION, host.driver) > 0)
        for (int index = 0; index < visible_count; index++)
            if (!is_listed("\"device\"", host.gpus[visible[index]].brand))
                return CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE;
    return CUDA_SUCCESS;
}
#else
/* The version in the name of the file that this library was loaded from; empty where the name has none. */
static void read_own_version(char version[VERSION_SIZE])
{
    Dl_info info;
    char *path = dladdr(&host, &info) && info.dli_fname ? realpath(info.dli_fname, NULL) : NULL;
    const char *name = path ? strrchr(path, '/') : NULL;

    if (!name || sscanf(name, "/libcuda.so.%31[0-9.]", version) != 1 || atoi(version) < 100) /* 1, or WSL2's 1.1 */
        version[0] = '\0';
    free(path);
}

static CUresult check_driver(void)
{
    char own[VERSION_SIZE];

    read_own_version(own);
    if (host.fault == FAULT_MISMATCH || (own[0] && compare_versions(own, host.library) != 0))
        return CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
    return CUDA_SUCCESS;
}

static CUresult check_gpus(void)
{
    return CUDA_SUCCESS;
}
#endif

/* What the host's file says that CUDA answers, be it nothing. */
static CUresult answer(void)
{
    if (host.cuinit == ANSWER_HANG)
        hang_forever();
    if (host.cuinit == ANSWER_CRASH)
        raise(SIGSEGV);
    return host.cuinit;
}

EXPORT CUresult cuInit(unsigned flags)
{
    CUresult code = CUDA_SUCCESS;

    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    host = read_host();
    if (host.fault == FAULT_HANG)
        hang_forever();
    if (!has_driver(&host))
        return CUDA_ERROR_NO_DEVICE;
    code = check_driver();
    if (code == CUDA_SUCCESS)
        code = answer();
    if (code == CUDA_SUCCESS)
        code = find_visible();
    if (code == CUDA_SUCCESS)
        code = check_gpus();
    if (code == CUDA_SUCCESS && host.fault == FAULT_LOST)
        code = CUDA_ERROR_UNKNOWN;
    is_ready = code == CUDA_SUCCESS;
    return code;
}

EXPORT CUresult cuDriverGetVersion(int *version)
{
    if (!version)
        return CUDA_ERROR_INVALID_VALUE;
#ifdef COMPAT_CUDA
    *version = parse_cuda(COMPAT_CUDA);
#else
    *version = read_host().cuda;
#endif
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetCount(int *count)
{
    if (!is_ready)
        return CUDA_ERROR_NOT_INITIALIZED;
    *count = visible_count;
    return CUDA_SUCCESS;
}

static CUresult find_gpu(CUdevice device, const struct gpu **gpu)
{
    if (!is_ready)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (device < 0 || device >= visible_count)
        return CUDA_ERROR_INVALID_DEVICE;
    *gpu = &host.gpus[visible[device]];
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    const struct gpu *gpu = NULL;

    *device = ordinal;
    return find_gpu(ordinal, &gpu);
}

EXPORT CUresult cuDeviceGetName(char *name, int size, CUdevice device)
{
    const struct gpu *gpu = NULL;
    CUresult code = find_gpu(device, &gpu);

    if (code == CUDA_SUCCESS)
        snprintf(name, (size_t)size, "%s", gpu->name);
    return code;
}

EXPORT CUresult cuDeviceGetUuid_v2(unsigned char uuid[16], CUdevice device)
{
    const struct gpu *gpu = NULL;
    CUresult code = find_gpu(device, &gpu);

    if (code == CUDA_SUCCESS) {
        memset(uuid, 0, 16);
        uuid[15] = (unsigned char)visible[device];
    }
    return code;
}

EXPORT CUresult cuDeviceGetUuid(unsigned char uuid[16], CUdevice device)
{
    return cuDeviceGetUuid_v2(uuid, device);
}

/* Of the more than hundred attributes, those without which a device cannot even be listed; the rest is 0. */
EXPORT CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device)
{
    enum { WARP_SIZE = 10, PCI_BUS_ID = 33, PCI_DEVICE_ID = 34, CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76 };
    const struct gpu *gpu = NULL;
    CUresult code = find_gpu(device, &gpu);

    if (code != CUDA_SUCCESS)
        return code;
    switch (attribute) {
    case WARP_SIZE:
        *value = 32;
        break;
    case PCI_DEVICE_ID:
        *value = pci_slot(visible[device]);
        break;
    case CAPABILITY_MAJOR:
        *value = gpu->major;
        break;
    case CAPABILITY_MINOR:
        *value = gpu->minor;
        break;
    case PCI_BUS_ID:
    default:
        *value = 0;
    }
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    const struct gpu *gpu = NULL;
    CUresult code = find_gpu(device, &gpu);

    if (code == CUDA_SUCCESS)
        *bytes = (size_t)gpu->memory_mib << 20;
    return code;
}

static const struct {
    CUresult code;
    const char *name, *text;
} errors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_DEVICE_UNAVAILABLE, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_OPERATING_SYSTEM, "CUDA_ERROR_OPERATING_SYSTEM", "OS call failed or operation not supported on this OS"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_SYSTEM_NOT_READY, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
     "system has unsupported display driver / cuda driver combination"},
    {CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
     "forward compatibility was attempted on non supported HW"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

static CUresult describe(CUresult code, bool is_name, const char **answer)
{
    *answer = NULL;
    for (size_t index = 0; index < sizeof errors / sizeof *errors; index++)
        if (errors[index].code == code)
            *answer = is_name ? errors[index].name : errors[index].text;
    return *answer ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuGetErrorName(CUresult code, const char **name)
{
    return describe(code, true, name);
}

EXPORT CUresult cuGetErrorString(CUresult code, const char **text)
{
    return describe(code, false, text);
}

/* NVIDIA's private tables, on which libcudart insists once the driver is new enough: there the simulation ends. */
EXPORT CUresult cuGetExportTable(const void **table, const void *uuid)
{
    (void)uuid;
    *table = NULL;
    return CUDA_ERROR_NOT_FOUND;
}

EXPORT CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status);

EXPORT CUresult cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags)
{
    return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}

EXPORT CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status)
{
    static const struct {
        const char *name;
        void *function;
    } functions[] = {
        {"cuInit", (void *)cuInit},
        {"cuDriverGetVersion", (void *)cuDriverGetVersion},
        {"cuDeviceGetCount", (void *)cuDeviceGetCount},
        {"cuDeviceGet", (void *)cuDeviceGet},
        {"cuDeviceGetName", (void *)cuDeviceGetName},
        {"cuDeviceGetUuid", (void *)cuDeviceGetUuid_v2},
        {"cuDeviceGetAttribute", (void *)cuDeviceGetAttribute},
        {"cuDeviceTotalMem", (void *)cuDeviceTotalMem_v2},
        {"cuGetErrorName", (void *)cuGetErrorName},
        {"cuGetErrorString", (void *)cuGetErrorString},
        {"cuGetExportTable", (void *)cuGetExportTable},
        {"cuGetProcAddress", (void *)cuGetProcAddress_v2},
    };
    enum { FOUND = 0, NOT_FOUND = 1 };

    (void)version;
    (void)flags;
    *function = NULL;
    for (size_t index = 0; index < sizeof functions / sizeof *functions; index++)
        if (strcmp(functions[index].name, symbol) == 0)
            *function = functions[index].function;
    if (status)
        *status = *function ? FOUND : NOT_FOUND;
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
