/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many CPUs the server may use, for NumVPs auto: those it may run on, and no more than the CPU
 * quotas of its control groups come to. Called by directives.c.
 *
 * A quota is a limit of time in each period, with cgroup v2 in cpu.max, with v1 in cpu.cfs_quota_us
 * and cpu.cfs_period_us. It counts for a group and all below it, so the groups above ours count as
 * well, as far as they can be seen: in a container the topmost that we see is usually our own.
 */
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mpm/config/config.h"

enum { LINE = 4096 };

/** Where a hierarchy with the cpu controller is mounted, and which of its groups is there. */
typedef struct place {
    char mount[PATH_MAX], root[PATH_MAX];
    bool unified; /* v2 */
} place_t;

/* --- quotas --- */

static bool read_line(const char *folder, const char *name, char *line, size_t size)
{
    char path[2 * PATH_MAX];
    FILE *file;
    bool got;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (!(file = fopen(path, "re")))
        return false;
    got = fgets(line, (int)size, file);
    (void)fclose(file);
    return got;
}

/* Rounded up: a VP that has less than a CPU still serves. 0: no quota. */
static int cpus_of(long long quota, long long period)
{
    long long cpus = quota > 0 && period > 0 ? (quota - 1) / period + 1 : 0;

    return cpus > INT_MAX ? 0 : (int)cpus;
}

static int quota_of(const char *folder, bool unified)
{
    char quota[64], period[64];
    char *rest;

    if (unified) { /* "max 100000" or "150000 100000" */
        if (!read_line(folder, "cpu.max", quota, sizeof(quota)) || strncmp(quota, "max", 3) == 0)
            return 0;
        long long limit = strtoll(quota, &rest, 10);

        return cpus_of(limit, strtoll(rest, NULL, 10));
    }
    if (!read_line(folder, "cpu.cfs_quota_us", quota, sizeof(quota)) ||
        !read_line(folder, "cpu.cfs_period_us", period, sizeof(period)))
        return 0;
    return cpus_of(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

static int smaller(int one, int other)
{
    return one == 0 || (other != 0 && other < one) ? other : one;
}

/* The least of the quotas of the group at `path` below the mount, and of those above it. */
static int least_quota(const place_t *place, const char *path)
{
    char folder[2 * PATH_MAX];
    size_t top = strlen(place->mount);
    int least = 0;

    snprintf(folder, sizeof(folder), "%s%s", place->mount, path);
    for (;;) {
        char *slash = strrchr(folder, '/');

        least = smaller(least, quota_of(folder, place->unified));
        if (!slash || (size_t)(slash - folder) < top)
            return least;
        *slash = '\0';
    }
}

/* --- where the groups are --- */

static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (; list; list = strchr(list, ',')) {
        list += *list == ',';
        if (strncmp(list, word, length) == 0 && strchr(",\n", list[length]))
            return true;
    }
    return false;
}

/* "31 23 0:28 /root /mount options... - type source options" */
static bool parse_mount(char *line, place_t *place)
{
    char *tail = strstr(line, " - "), type[32], options[LINE];

    if (!tail || sscanf(line, "%*s %*s %*s %4095s %4095s", place->root, place->mount) != 2 ||
        sscanf(tail, " - %31s %*s %4095s", type, options) != 2)
        return false;
    place->unified = strcmp(type, "cgroup2") == 0;
    return place->unified || (strcmp(type, "cgroup") == 0 && has_word(options, "cpu"));
}

/* "4:cpu,cpuacct:/group" or "0::/group": whether that is the group in the hierarchy. */
static char *parse_group(char *line, bool unified)
{
    char *controllers = strchr(line, ':'),
         *path = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!path)
        return NULL;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    if (unified ? strncmp(line, "0:", 2) != 0 || controllers[1] != '\0'
                : !has_word(controllers + 1, "cpu"))
        return NULL;
    return path;
}

/* The part of the path that is below the mount: "" if the mount shows another part of the tree, as
 * in a container without a namespace of its own for groups; its top is then the best there is. */
static const char *below(const place_t *place, const char *path)
{
    size_t length = strcmp(place->root, "/") == 0 ? 0 : strlen(place->root);

    if (strncmp(path, place->root, length) != 0 || (path[length] != '/' && path[length] != '\0'))
        return "";
    return strcmp(path + length, "/") == 0 || strstr(path, "/..") ? "" : path + length;
}

static int quota_in(const char *top, const place_t *place)
{
    char name[PATH_MAX], line[LINE];
    FILE *groups;
    int least = 0;

    snprintf(name, sizeof(name), "%s/proc/self/cgroup", top);
    groups = fopen(name, "re");
    while (groups && fgets(line, sizeof(line), groups)) {
        char *path = parse_group(line, place->unified);

        if (path)
            least = smaller(least, least_quota(place, below(place, path)));
    }
    if (groups)
        (void)fclose(groups);
    return least;
}

int stm_cpu_quota(const char *top)
{
    char name[PATH_MAX], line[2 * LINE];
    FILE *mounts;
    int least = 0;

    snprintf(name, sizeof(name), "%s/proc/self/mountinfo", top);
    mounts = fopen(name, "re");
    while (mounts && fgets(line, sizeof(line), mounts)) {
        place_t place;
        char mount[PATH_MAX];

        if (!parse_mount(line, &place))
            continue;
        snprintf(mount, sizeof(mount), "%s", place.mount);
        if (snprintf(place.mount, sizeof(place.mount), "%s%s", top, mount) < PATH_MAX)
            least = smaller(least, quota_in(top, &place));
    }
    if (mounts)
        (void)fclose(mounts);
    return least;
}

static int allowed_cpus(void)
{
    cpu_set_t allowed;
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
        return CPU_COUNT(&allowed);
    return online > 0 ? (int)online : 1;
}

int stm_cpus(void)
{
    return smaller(allowed_cpus(), stm_cpu_quota(""));
}
