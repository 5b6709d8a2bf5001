/* Copyright (c) 2026, Podsmith developers
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the simulated host is: /etc/simulated-driver.conf, or the file that $SIMULATED_DRIVER_CONF names. One word and
 * its value a line, "#" starts a comment. No file: a machine without driver. A line that is not understood ends the
 * process: a test that runs on another host than it says proves nothing.
 */
#ifndef SIMULATED_DRIVER_HOST_H
#define SIMULATED_DRIVER_HOST_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { MAX_GPUS = 16, VERSION_SIZE = 32, NAME_SIZE = 96, UUID_SIZE = 64 };

enum fault { FAULT_NONE, FAULT_HANG, FAULT_MISMATCH, FAULT_LOST, FAULT_ABSENT };

enum { ANSWER_HANG = -1, ANSWER_CRASH = -2 }; /* of cuInit; a CUresult otherwise */

struct gpu {
    int major, minor; /* compute capability */
    int brand;        /* nvmlBrandType_t */
    unsigned long long memory_mib;
    bool is_mig;
    char name[NAME_SIZE];
};

struct host {
    char driver[VERSION_SIZE];  /* of the kernel driver; empty: there is none */
    char library[VERSION_SIZE]; /* of the libraries beside it */
    int cuda;                   /* 12080 is 12.8, as the CUDA API counts */
    bool is_wsl2;
    enum fault fault;
    int cuinit; /* what cuInit answers where nothing else is wrong */
    int shown;  /* GPUs that CUDA shows at most; NVML counts all */
    int slices; /* of each GPU in MIG mode */
    bool is_virtual;  /* each GPU is a vGPU */
    int compute_mode; /* nvmlComputeMode_t of each GPU */
    int gpu_count;
    struct gpu gpus[MAX_GPUS];
};

/* Compares driver versions number by number: 570.26 is older than 570.124.06. */
static inline int compare_versions(const char *one, const char *other)
{
    int left[3] = {0}, right[3] = {0};

    sscanf(one, "%d.%d.%d", &left[0], &left[1], &left[2]);
    sscanf(other, "%d.%d.%d", &right[0], &right[1], &right[2]);
    for (int part = 0; part < 3; part++)
        if (left[part] != right[part])
            return left[part] < right[part] ? -1 : 1;
    return 0;
}

static inline int parse_cuda(const char *text)
{
    int major = 0, minor = 0;

    return sscanf(text, "%d.%d", &major, &minor) == 2 ? major * 1000 + minor * 10 : 0;
}

static inline bool parse_choice(const char *value, const char *const *choices, int *choice)
{
    for (*choice = 0; choices[*choice]; ++*choice)
        if (strcmp(value, choices[*choice]) == 0)
            return true;
    return false;
}

static inline bool parse_count(const char *value, int *count)
{
    char *end = NULL;
    long number = strtol(value, &end, 10);

    *count = (int)number;
    return end != value && !*end && number >= 0 && number < 10000;
}

static inline bool parse_answer(const char *value, int *answer)
{
    static const char *const words[] = {"hang", "crash", NULL};
    int choice = 0;

    if (!parse_choice(value, words, &choice))
        return parse_count(value, answer);
    *answer = choice == 0 ? ANSWER_HANG : ANSWER_CRASH;
    return true;
}

static inline bool parse_gpu(const char *value, struct gpu *gpu)
{
    int mig = 0, start = 0;
    int found = sscanf(value, "%d.%d %d %llu %d %n", &gpu->major, &gpu->minor, &gpu->brand, &gpu->memory_mib, &mig,
                       &start);

    gpu->is_mig = mig == 1;
    snprintf(gpu->name, sizeof gpu->name, "%s", value + start);
    return found == 5 && (mig == 0 || mig == 1) && gpu->name[0];
}

static inline bool parse_word(struct host *host, const char *word, const char *value)
{
    static const char *const faults[] = {"none", "hang", "mismatch", "lost", "absent", NULL};
    static const char *const flavors[] = {"open", "proprietary", NULL};
    static const char *const machines[] = {"container", "bare_metal", NULL}; /* of interest to files alone */
    static const char *const answers[] = {"no", "yes", NULL};
    static const char *const modes[] = {"default", "exclusive_thread", "prohibited", "exclusive_process", NULL};
    int choice = 0;
    bool is_known = true;

    if (strcmp(word, "driver") == 0)
        snprintf(host->driver, sizeof host->driver, "%s", value);
    else if (strcmp(word, "library") == 0)
        snprintf(host->library, sizeof host->library, "%s", value);
    else if (strcmp(word, "cuda") == 0)
        is_known = (host->cuda = parse_cuda(value)) > 0;
    else if (strcmp(word, "flavor") == 0)
        is_known = parse_choice(value, flavors, &choice);
    else if (strcmp(word, "wsl2") == 0)
        host->is_wsl2 = (is_known = parse_choice(value, answers, &choice)) && choice == 1;
    else if (strcmp(word, "virtual") == 0)
        host->is_virtual = (is_known = parse_choice(value, answers, &choice)) && choice == 1;
    else if (strcmp(word, "compute_mode") == 0)
        host->compute_mode = (is_known = parse_choice(value, modes, &choice)) ? choice : 0;
    else if (strcmp(word, "machine") == 0)
        is_known = parse_choice(value, machines, &choice);
    else if (strcmp(word, "cuinit") == 0)
        is_known = parse_answer(value, &host->cuinit);
    else if (strcmp(word, "shown") == 0)
        is_known = parse_count(value, &host->shown);
    else if (strcmp(word, "slices") == 0)
        is_known = parse_count(value, &host->slices);
    else if (strcmp(word, "folder") == 0 || strcmp(word, "xid") == 0)
        is_known = value[0] != '\0'; /* of interest to files alone */
    else if (strcmp(word, "fault") == 0)
        host->fault = (is_known = parse_choice(value, faults, &choice)) ? (enum fault)choice : FAULT_NONE;
    else if (strcmp(word, "gpu") == 0)
        is_known = host->gpu_count < MAX_GPUS && parse_gpu(value, &host->gpus[host->gpu_count++]);
    else
        is_known = false;
    return is_known;
}

static inline struct host read_host(void)
{
    const char *path = getenv("SIMULATED_DRIVER_CONF");
    struct host host = {.shown = MAX_GPUS, .slices = 1};
    char line[256];
    FILE *file = fopen(path ? path : "/etc/simulated-driver.conf", "r");

    while (file && fgets(line, sizeof line, file)) {
        char word[16] = "";
        int start = 0;

        line[strcspn(line, "#\n")] = '\0';
        for (size_t length = strlen(line); length && strchr(" \t", line[length - 1]);)
            line[--length] = '\0';
        if (sscanf(line, "%15s %n", word, &start) == 1 && !parse_word(&host, word, line + start)) {
            fprintf(stderr, "simulated driver: not understood: %s\n", line);
            _exit(70);
        }
    }
    if (file)
        fclose(file);
    if (host.fault != FAULT_MISMATCH || !host.library[0])
        snprintf(host.library, sizeof host.library, "%s", host.driver);
    return host;
}

/* Whether a process finds a kernel driver behind the device nodes. */
static inline bool has_driver(const struct host *host)
{
    return host->driver[0] && host->fault != FAULT_ABSENT;
}

/* The device on PCI bus 0 of domain 0, the first as on the recorded host: 0000:00:06.0. */
static inline int pci_slot(int index)
{
    return 6 + index;
}

static inline void uuid_of(int index, char uuid[UUID_SIZE])
{
    snprintf(uuid, UUID_SIZE, "GPU-00000000-0000-0000-0000-%012x", (unsigned)index);
}

static inline void hang_forever(void)
{
    for (;;)
        pause();
}

/* Data-centre cards have ECC switched on, workstation cards have it switched off, all others lack it. */
enum ecc { ECC_NONE, ECC_OFF, ECC_ON };

static inline enum ecc ecc_of(const struct gpu *gpu)
{
    switch (gpu->brand) {
    case 2:
    case 14:
        return ECC_ON;
    case 1:
    case 12:
    case 13:
        return ECC_OFF;
    default:
        return ECC_NONE;
    }
}

#endif
