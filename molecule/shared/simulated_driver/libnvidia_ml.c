/* Copyright (c) 2026, Podsmith developers
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * libnvidia-ml.so.1: what nvidia-smi, NVIDIA's Python bindings and this collection ask NVML for.
 */
#include <dlfcn.h>

#include "host.h"

typedef int nvmlReturn_t;
typedef struct gpu *nvmlDevice_t;

enum {
    NVML_SUCCESS = 0,
    NVML_ERROR_UNINITIALIZED = 1,
    NVML_ERROR_INVALID_ARGUMENT = 2,
    NVML_ERROR_NOT_SUPPORTED = 3,
    NVML_ERROR_NOT_FOUND = 6,
    NVML_ERROR_INSUFFICIENT_SIZE = 7,
    NVML_ERROR_DRIVER_NOT_LOADED = 9,
    NVML_ERROR_LIBRARY_NOT_FOUND = 12,
    NVML_ERROR_FUNCTION_NOT_FOUND = 13,
    NVML_ERROR_GPU_IS_LOST = 15,
    NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18,
};

typedef struct {
    char legacy_bus_id[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} nvmlPciInfo_t;

typedef struct {
    unsigned long long total, free, used; /* bytes */
} nvmlMemory_t;

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used; /* bytes */
} nvmlMemory_v2_t;

typedef struct {
    unsigned gpu, memory; /* per cent */
} nvmlUtilization_t;

static struct host host;
static bool is_ready;

EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    host = read_host();
    if (host.fault == FAULT_HANG)
        hang_forever();
    if (!has_driver(&host))
        return NVML_ERROR_DRIVER_NOT_LOADED;
    if (host.fault == FAULT_MISMATCH)
        return NVML_ERROR_LIB_RM_VERSION_MISMATCH;
    is_ready = true;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

EXPORT nvmlReturn_t nvmlInit(void)
{
    return nvmlInitWithFlags(0);
}

EXPORT nvmlReturn_t nvmlShutdown(void)
{
    nvmlReturn_t code = is_ready ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;

    is_ready = false;
    return code;
}

EXPORT const char *nvmlErrorString(nvmlReturn_t code)
{
    switch (code) {
    case NVML_SUCCESS:
        return "Success";
    case NVML_ERROR_UNINITIALIZED:
        return "Uninitialized";
    case NVML_ERROR_INVALID_ARGUMENT:
        return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED:
        return "Not Supported";
    case NVML_ERROR_NOT_FOUND:
        return "Not Found";
    case NVML_ERROR_INSUFFICIENT_SIZE:
        return "Insufficient Size";
    case NVML_ERROR_DRIVER_NOT_LOADED:
        return "Driver Not Loaded";
    case NVML_ERROR_LIBRARY_NOT_FOUND:
        return "NVML Shared Library Not Found";
    case NVML_ERROR_FUNCTION_NOT_FOUND:
        return "Function Not Found";
    case NVML_ERROR_GPU_IS_LOST:
        return "GPU is lost";
    case NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return "Driver/library version mismatch";
    default:
        return "Unknown Error";
    }
}

static nvmlReturn_t copy_text(const char *text, char *buffer, unsigned size)
{
    if (strlen(text) >= size)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    memcpy(buffer, text, strlen(text) + 1);
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned size)
{
    return is_ready ? copy_text(host.driver, version, size) : NVML_ERROR_UNINITIALIZED;
}

/* The CUDA major and the library's version; needs no nvmlInit, for nvidia-smi names it where the versions differ. */
EXPORT nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned size)
{
    struct host now = read_host();
    char text[VERSION_SIZE + 16];

    snprintf(text, sizeof text, "%d.%s", now.cuda / 1000, now.library);
    return copy_text(text, version, size);
}

/* NVML does not know the CUDA level: it asks the libcuda that the loader finds first, be it a compatibility library. */
EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    union {
        void *address;
        int (*function)(int *);
    } get_version;
    void *libcuda = is_ready ? dlopen("libcuda.so.1", RTLD_LAZY) : NULL;

    if (!is_ready)
        return NVML_ERROR_UNINITIALIZED;
    if (!libcuda)
        return NVML_ERROR_LIBRARY_NOT_FOUND;
    get_version.address = dlsym(libcuda, "cuDriverGetVersion");
    return get_version.address && get_version.function(version) == 0 ? NVML_SUCCESS : NVML_ERROR_FUNCTION_NOT_FOUND;
}

EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version)
{
    return nvmlSystemGetCudaDriverVersion_v2(version);
}

EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count)
{
    if (!is_ready)
        return NVML_ERROR_UNINITIALIZED;
    *count = (unsigned)host.gpu_count;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetCount(unsigned *count)
{
    return nvmlDeviceGetCount_v2(count);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device)
{
    if (!is_ready)
        return NVML_ERROR_UNINITIALIZED;
    if (index >= (unsigned)host.gpu_count)
        return NVML_ERROR_INVALID_ARGUMENT;
    *device = &host.gpus[index];
    return host.fault == FAULT_LOST ? NVML_ERROR_GPU_IS_LOST : NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t *device)
{
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

static int index_of(nvmlDevice_t device)
{
    return (int)(device - host.gpus);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *wanted, nvmlDevice_t *device)
{
    char uuid[UUID_SIZE];

    for (int index = 0; index < host.gpu_count; index++) {
        uuid_of(index, uuid);
        if (strcmp(uuid, wanted) == 0)
            return nvmlDeviceGetHandleByIndex_v2((unsigned)index, device);
    }
    return is_ready ? NVML_ERROR_NOT_FOUND : NVML_ERROR_UNINITIALIZED;
}

EXPORT nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned *index)
{
    *index = (unsigned)index_of(device);
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned *minor)
{
    return nvmlDeviceGetIndex(device, minor);
}

EXPORT nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned size)
{
    return copy_text(device->name, name, size);
}

EXPORT nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *buffer, unsigned size)
{
    char uuid[UUID_SIZE];

    uuid_of(index_of(device), uuid);
    return copy_text(uuid, buffer, size);
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    int slot = pci_slot(index_of(device));

    memset(pci, 0, sizeof *pci);
    pci->device = (unsigned)slot;
    snprintf(pci->legacy_bus_id, sizeof pci->legacy_bus_id, "0000:00:%02X.0", (unsigned)slot);
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:00:%02X.0", (unsigned)slot);
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetBrand(nvmlDevice_t device, unsigned *brand)
{
    *brand = (unsigned)device->brand;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    *major = device->major;
    *minor = device->minor;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    memory->total = memory->free = device->memory_mib << 20;
    memory->used = 0;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
    memory->total = memory->free = device->memory_mib << 20;
    memory->used = memory->reserved = 0;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, unsigned *current, unsigned *pending)
{
    if (ecc_of(device) == ECC_NONE)
        return NVML_ERROR_NOT_SUPPORTED;
    *current = *pending = ecc_of(device) == ECC_ON;
    return NVML_SUCCESS;
}

/* Data-centre cards of the capabilities x.0 from 8.0 on, and 10.3, can be partitioned. */
EXPORT nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current, unsigned *pending)
{
    if (!device->is_mig && (ecc_of(device) != ECC_ON || device->major < 8 || (device->minor && device->major != 10)))
        return NVML_ERROR_NOT_SUPPORTED;
    *current = *pending = device->is_mig;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlDevice_t device, unsigned *mode)
{
    *mode = ecc_of(device) == ECC_ON;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t device, unsigned *mode)
{
    (void)device;
    *mode = (unsigned)host.compute_mode;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetVirtualizationMode(nvmlDevice_t device, unsigned *mode)
{
    (void)device;
    *mode = host.is_virtual ? 2 : 0; /* a vGPU in a virtual machine, or bare metal */
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetPerformanceState(nvmlDevice_t device, unsigned *state)
{
    (void)device;
    *state = 0;
    return NVML_SUCCESS;
}

/* An idle card, in the figures of the recorded one. */
EXPORT nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned sensor, unsigned *celsius)
{
    (void)device;
    *celsius = 39;
    return sensor == 0 ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

EXPORT nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned *milliwatt)
{
    (void)device;
    *milliwatt = 122000;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned *milliwatt)
{
    (void)device;
    *milliwatt = 700000;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, unsigned type, unsigned *mhz)
{
    static const unsigned clocks[] = {525, 525, 3201, 765}; /* graphics, SM, memory, video */

    (void)device;
    if (type >= sizeof clocks / sizeof *clocks)
        return NVML_ERROR_INVALID_ARGUMENT;
    *mhz = clocks[type];
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
    if (device->is_mig)
        return NVML_ERROR_NOT_SUPPORTED;
    utilization->gpu = utilization->memory = 0;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetFanSpeed(nvmlDevice_t device, unsigned *percent)
{
    (void)device;
    (void)percent;
    return NVML_ERROR_NOT_SUPPORTED;
}
