/* Copyright (c) 2026, Podsmith developers
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nvidia-smi: the table, --query-gpu and -L. Like the real one it asks whatever libnvidia-ml.so.1 the loader finds, and
 * its exit status is NVML's code.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <time.h>

#include "host.h"

enum {
    SUCCESS = 0,
    INVALID_ARGUMENT = 2,
    NO_DEVICES = 6,
    LIBRARY_NOT_FOUND = 12,
    GPU_IS_LOST = 15,
    VERSION_MISMATCH = 18,
    UNKNOWN_OPTION = 255,
};
enum { CELL_SIZE = 128, NEW_LABELS = 610 };

static void *nvml;

/* Calls a function of NVML by name; every argument is a pointer or fits a register, as all of NVML's here do. */
static int call(const char *function, void *first, void *second, void *third)
{
    union {
        void *address;
        int (*function)(void *, void *, void *);
    } symbol;

    symbol.address = dlsym(nvml, function);
    return symbol.address ? symbol.function(first, second, third) : INVALID_ARGUMENT;
}

static int get_text(const char *function, void *device, char *text)
{
    return call(function, device, text, (void *)(size_t)CELL_SIZE);
}

static int get_number(const char *function, void *device, unsigned *number)
{
    return call(function, device, number, NULL);
}

struct field {
    const char *name, *alias, *unit;
    void (*write)(void *device, char *cell);
};

static void write_cell(char *cell, int code, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    if (code == SUCCESS)
        vsnprintf(cell, CELL_SIZE, format, values);
    else
        snprintf(cell, CELL_SIZE, "[N/A]");
    va_end(values);
}

static void write_index(void *device, char *cell)
{
    unsigned index = 0;
    int code = get_number("nvmlDeviceGetIndex", device, &index);

    write_cell(cell, code, "%u", index);
}

static void write_count(void *device, char *cell)
{
    unsigned count = 0;
    int code = call("nvmlDeviceGetCount_v2", &count, NULL, NULL);

    (void)device;
    write_cell(cell, code, "%u", count);
}

static void write_name(void *device, char *cell)
{
    if (get_text("nvmlDeviceGetName", device, cell) != SUCCESS)
        write_cell(cell, INVALID_ARGUMENT, "");
}

static void write_uuid(void *device, char *cell)
{
    if (get_text("nvmlDeviceGetUUID", device, cell) != SUCCESS)
        write_cell(cell, INVALID_ARGUMENT, "");
}

static void write_driver(void *device, char *cell)
{
    (void)device;
    if (call("nvmlSystemGetDriverVersion", cell, (void *)(size_t)CELL_SIZE, NULL) != SUCCESS)
        write_cell(cell, INVALID_ARGUMENT, "");
}

static void write_bus_id(void *device, char *cell)
{
    struct {
        char legacy_bus_id[16];
        unsigned numbers[5];
        char bus_id[32];
    } pci = {0};
    int code = call("nvmlDeviceGetPciInfo_v3", device, &pci, NULL);

    write_cell(cell, code, "%s", pci.bus_id);
}

static int get_memory(void *device, unsigned long long mib[3])
{
    int code = call("nvmlDeviceGetMemoryInfo", device, mib, NULL);

    for (int part = 0; part < 3; part++)
        mib[part] >>= 20;
    return code;
}

static void write_memory_total(void *device, char *cell)
{
    unsigned long long mib[3] = {0};
    int code = get_memory(device, mib);

    write_cell(cell, code, "%llu", mib[0]);
}

static void write_memory_free(void *device, char *cell)
{
    unsigned long long mib[3] = {0};
    int code = get_memory(device, mib);

    write_cell(cell, code, "%llu", mib[1]);
}

static void write_memory_used(void *device, char *cell)
{
    unsigned long long mib[3] = {0};
    int code = get_memory(device, mib);

    write_cell(cell, code, "%llu", mib[2]);
}

static void write_mode(const char *function, void *device, char *cell)
{
    unsigned current = 0, pending = 0;
    int code = call(function, device, &current, &pending);

    write_cell(cell, code, current ? "Enabled" : "Disabled");
}

static void write_ecc(void *device, char *cell)
{
    write_mode("nvmlDeviceGetEccMode", device, cell);
}

static void write_mig(void *device, char *cell)
{
    write_mode("nvmlDeviceGetMigMode", device, cell);
}

static void write_persistence(void *device, char *cell)
{
    write_mode("nvmlDeviceGetPersistenceMode", device, cell);
}

static void write_capability(void *device, char *cell)
{
    int major = 0, minor = 0;
    int code = call("nvmlDeviceGetCudaComputeCapability", device, &major, &minor);

    write_cell(cell, code, "%d.%d", major, minor);
}

static void write_temperature(void *device, char *cell)
{
    unsigned celsius = 0;
    int code = call("nvmlDeviceGetTemperature", device, NULL, &celsius);

    write_cell(cell, code, "%u", celsius);
}

static void write_power_draw(void *device, char *cell)
{
    unsigned milliwatt = 0;
    int code = get_number("nvmlDeviceGetPowerUsage", device, &milliwatt);

    write_cell(cell, code, "%.2f", milliwatt / 1000.0);
}

static void write_power_limit(void *device, char *cell)
{
    unsigned milliwatt = 0;
    int code = get_number("nvmlDeviceGetEnforcedPowerLimit", device, &milliwatt);

    write_cell(cell, code, "%.2f", milliwatt / 1000.0);
}

static void write_sm_clock(void *device, char *cell)
{
    unsigned mhz = 0;
    int code = call("nvmlDeviceGetClockInfo", device, (void *)1, &mhz);

    write_cell(cell, code, "%u", mhz);
}

static void write_utilization(void *device, char *cell)
{
    unsigned per_cent[2] = {0};
    int code = call("nvmlDeviceGetUtilizationRates", device, per_cent, NULL);

    write_cell(cell, code, "%u", per_cent[0]);
}

static void write_pstate(void *device, char *cell)
{
    unsigned state = 0;
    int code = get_number("nvmlDeviceGetPerformanceState", device, &state);

    write_cell(cell, code, "P%u", state);
}

static const struct field fields[] = {
    {"index", "index", "", write_index},
    {"count", "count", "", write_count},
    {"name", "gpu_name", "", write_name},
    {"uuid", "gpu_uuid", "", write_uuid},
    {"driver_version", "driver_version", "", write_driver},
    {"pci.bus_id", "gpu_bus_id", "", write_bus_id},
    {"memory.total", "memory.total", "MiB", write_memory_total},
    {"memory.free", "memory.free", "MiB", write_memory_free},
    {"memory.used", "memory.used", "MiB", write_memory_used},
    {"ecc.mode.current", "ecc.mode.current", "", write_ecc},
    {"mig.mode.current", "mig.mode.current", "", write_mig},
    {"persistence_mode", "persistence_mode", "", write_persistence},
    {"compute_cap", "compute_cap", "", write_capability},
    {"temperature.gpu", "temperature.gpu", "", write_temperature},
    {"power.draw", "power.draw", "W", write_power_draw},
    {"power.limit", "power.limit", "W", write_power_limit},
    {"clocks.current.sm", "clocks.sm", "MHz", write_sm_clock},
    {"utilization.gpu", "utilization.gpu", "%", write_utilization},
    {"pstate", "pstate", "", write_pstate},
};

static const struct field *find_field(const char *name)
{
    for (size_t index = 0; index < sizeof fields / sizeof *fields; index++)
        if (strcmp(fields[index].name, name) == 0 || strcmp(fields[index].alias, name) == 0)
            return &fields[index];
    return NULL;
}

/* Gets the handle of every GPU; a lost one ends the program with its code. */
static int get_devices(void *devices[MAX_GPUS], unsigned *count)
{
    int code = call("nvmlDeviceGetCount_v2", count, NULL, NULL);

    for (unsigned index = 0; code == SUCCESS && index < *count; index++) {
        code = call("nvmlDeviceGetHandleByIndex_v2", (void *)(size_t)index, &devices[index], NULL);
        if (code == GPU_IS_LOST)
            printf("Unable to determine the device handle for GPU0000:00:%02X.0: GPU is lost.  "
                   "Reboot the system to recover this GPU\n", (unsigned)pci_slot((int)index));
    }
    return code;
}

static int refuse_none(unsigned count)
{
    if (count == 0)
        puts("No devices were found");
    return count ? SUCCESS : NO_DEVICES;
}

static int list_devices(void)
{
    void *devices[MAX_GPUS];
    unsigned count = 0;
    int code = get_devices(devices, &count);

    if (code == SUCCESS && count == 0)
        puts("No devices found."); /* and no failure: so the real one */
    for (unsigned index = 0; code == SUCCESS && index < count; index++) {
        char name[CELL_SIZE], uuid[CELL_SIZE];

        write_name(devices[index], name);
        write_uuid(devices[index], uuid);
        printf("GPU %u: %s (UUID: %s)\n", index, name, uuid);
    }
    return code;
}

static int query_devices(char *names, const char *format)
{
    const struct field *wanted[32];
    void *devices[MAX_GPUS];
    unsigned count = 0;
    size_t width = 0;
    bool has_units = !strstr(format, "nounits");
    int code = SUCCESS;

    for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
        const struct field *field = find_field(name + strspn(name, " "));

        if (!field || width == sizeof wanted / sizeof *wanted) {
            printf("Field \"%s\" is not a valid field to query.\n\n", name);
            return INVALID_ARGUMENT;
        }
        wanted[width++] = field;
    }
    code = get_devices(devices, &count);
    if (code == SUCCESS)
        code = refuse_none(count);
    if (code != SUCCESS)
        return code;
    for (size_t column = 0; !strstr(format, "noheader") && column < width; column++) {
        const struct field *field = wanted[column];

        printf("%s%s", column ? ", " : "", field->name);
        printf(*field->unit ? " [%s]%s" : "%s%s", field->unit, column + 1 < width ? "" : "\n");
    }
    for (unsigned row = 0; row < count; row++)
        for (size_t column = 0; column < width; column++) {
            char cell[CELL_SIZE];
            const char *unit = wanted[column]->unit;

            wanted[column]->write(devices[row], cell);
            printf("%s%s%s%s%s", column ? ", " : "", cell, has_units && *unit && *cell != '[' ? " " : "",
                   has_units && *cell != '[' ? unit : "", column + 1 < width ? "" : "\n");
        }
    return SUCCESS;
}

#define RULE "+-----------------------------------------+------------------------+----------------------+"
#define LINE "+-----------------------------------------------------------------------------------------+"

static void print_heading(void)
{
    char now[64], driver[CELL_SIZE], cuda[CELL_SIZE];
    int version = 0;
    time_t seconds = time(NULL);

    write_driver(NULL, driver);
    if (call("nvmlSystemGetCudaDriverVersion_v2", &version, NULL, NULL) == SUCCESS)
        snprintf(cuda, sizeof cuda, "%d.%d", version / 1000, version % 1000 / 10);
    else
        snprintf(cuda, sizeof cuda, "N/A");
    strftime(now, sizeof now, "%a %b %e %H:%M:%S %Y", localtime(&seconds));
    printf("%s       \n%s\n", now, LINE);
    if (atoi(driver) < NEW_LABELS)
        printf("| NVIDIA-SMI %-22s Driver Version: %-14s CUDA Version: %-9s|\n", driver, driver, cuda);
    else
        printf("| NVIDIA-SMI %-22s KMD Version: %-13s CUDA UMD Version: %-9s|\n", driver, driver, cuda);
    puts(RULE);
    puts("| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |");
    puts("| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |");
    puts("|                                         |                        |               MIG M. |");
    puts("|=========================================+========================+======================|");
}

/* A cell of the table: "[N/A]" loses its brackets, and the unit follows a value only. */
static void write_table_cell(void (*write)(void *, char *), void *device, const char *unit, char *cell)
{
    write(device, cell);
    if (*cell == '[')
        snprintf(cell, CELL_SIZE, "N/A");
    else
        snprintf(cell + strlen(cell), CELL_SIZE - strlen(cell), "%s", unit);
}

static void print_device(unsigned index, void *device)
{
    char name[CELL_SIZE], bus_id[CELL_SIZE], persistence[CELL_SIZE], ecc[CELL_SIZE], mig[CELL_SIZE];
    char used[CELL_SIZE], total[CELL_SIZE], busy[CELL_SIZE], temperature[CELL_SIZE], state[CELL_SIZE];
    char draw[CELL_SIZE], limit[CELL_SIZE];
    unsigned milliwatt = 0;

    write_name(device, name);
    if (strlen(name) > 27)
        strcpy(name + 24, "...");
    write_bus_id(device, bus_id);
    write_persistence(device, persistence);
    write_table_cell(write_ecc, device, "", ecc);
    write_table_cell(write_mig, device, "", mig);
    write_table_cell(write_memory_used, device, "MiB", used);
    write_table_cell(write_memory_total, device, "MiB", total);
    write_table_cell(write_utilization, device, "%", busy);
    write_table_cell(write_temperature, device, "C", temperature);
    write_table_cell(write_pstate, device, "", state);
    get_number("nvmlDeviceGetPowerUsage", device, &milliwatt);
    snprintf(draw, sizeof draw, "%uW", milliwatt / 1000);
    get_number("nvmlDeviceGetEnforcedPowerLimit", device, &milliwatt);
    snprintf(limit, sizeof limit, "%uW", milliwatt / 1000);
    printf("|%4u  %-27s    %-3s | %18s Off | %20s |\n", index, name, strcmp(persistence, "Enabled") ? "Off" : "On",
           bus_id, strcmp(ecc, "Enabled") == 0 ? "0" : strcmp(ecc, "Disabled") == 0 ? "Off" : ecc);
    printf("| N/A %5s    %-2s %15s / %5s | %10s / %9s | %7s      Default |\n", temperature, state, draw, limit, used,
           total, busy);
    printf("| %39s | %22s | %20s |\n%s\n", "", "", mig, RULE);
}

static int print_table(void)
{
    void *devices[MAX_GPUS];
    unsigned count = 0;
    int code = get_devices(devices, &count);

    if (code == SUCCESS)
        code = refuse_none(count);
    if (code != SUCCESS)
        return code;
    print_heading();
    for (unsigned index = 0; index < count; index++)
        print_device(index, devices[index]);
    printf("\n%s\n", LINE);
    puts("| Processes:                                                                              |");
    puts("|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |");
    puts("|        ID   ID                                                               Usage      |");
    puts("|=========================================================================================|");
    puts("|  No running processes found                                                             |");
    puts(LINE);
    return SUCCESS;
}

static void explain_failure(int code)
{
    char version[CELL_SIZE] = "";

    if (code == VERSION_MISMATCH) {
        int branch = 0, build = 0;

        call("nvmlSystemGetNVMLVersion", version, (void *)(size_t)sizeof version, NULL);
        sscanf(version, "%*d.%d.%d", &branch, &build);
        puts("Failed to initialize NVML: Driver/library version mismatch");
        printf("NVML library version: %d.%d\n", branch, build);
    } else {
        puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
             "NVIDIA driver is installed and running.\n");
    }
}

int main(int argc, char **argv)
{
    char *query = NULL;
    const char *format = "";
    bool is_list = false;
    int code = SUCCESS;

    for (int index = 1; index < argc; index++) {
        if (strncmp(argv[index], "--query-gpu=", 12) == 0) {
            query = argv[index] + 12;
        } else if (strncmp(argv[index], "--format=csv", 12) == 0) {
            format = argv[index] + 12;
        } else if (strcmp(argv[index], "-L") == 0 || strcmp(argv[index], "--list-gpus") == 0) {
            is_list = true;
        } else {
            printf("ERROR: Option %s is not recognized. Please run 'nvidia-smi -h'.\n\n", argv[index]);
            return UNKNOWN_OPTION;
        }
    }
    nvml = dlopen("libnvidia-ml.so.1", RTLD_LAZY);
    if (!nvml) {
        puts("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA "
             "Display Driver is properly installed and present in your system.\nPlease also try adding directory that "
             "contains libnvidia-ml.so to your system PATH.");
        return LIBRARY_NOT_FOUND;
    }
    code = call("nvmlInit_v2", NULL, NULL, NULL);
    if (code != SUCCESS)
        explain_failure(code);
    else if (is_list)
        code = list_devices();
    else if (query)
        code = query_devices(query, format);
    else
        code = print_table();
    return code;
}
