/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU quotas of control groups (config/cpus.c), in trees of files as the kernel shows them: v1, v2
 * and both at once, in a container's namespace or seen from outside.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mpm/config/config.h"
#include "tests/harness.h"
#include "tests/mpm/httpd.h"

static char top[] = "/tmp/test_cpus.XXXXXX";

#define V2 "31 23 0:28 / /cg rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1 "32 30 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
#define OTHERS                                                                                     \
    "24 1 254:1 / / rw - ext4 /dev/vda rw\n33 30 0:30 / /cg/set rw - cgroup x rw,cpuset\n"

static void make_folder(const char *name)
{
    char command[256];

    snprintf(command, sizeof(command), "mkdir -p '%s%s'", top, name);
    assert_ok(system(command));
}

static void put(const char *folder, const char *name, const char *text)
{
    char path[512];
    FILE *file;

    make_folder(folder);
    snprintf(path, sizeof(path), "%s%s/%s", top, folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_ok(fclose(file));
}

/* A new, empty tree in which the process is in these groups. */
static void begin(const char *mounts, const char *groups)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -rf '%s' && mkdir '%s'", top, top);
    assert_ok(system(command));
    put("/proc/self", "mountinfo", mounts);
    put("/proc/self", "cgroup", groups);
}

static int quota(void)
{
    return stm_cpu_quota(top);
}

static void none_without_a_limit(void)
{
    assert_non_null(mkdtemp(top));
    assert_int_equal(quota(), 0); /* no /proc */
    begin(OTHERS, "0::/\n");
    assert_int_equal(quota(), 0);
    begin(OTHERS V2, "0::/\n");
    assert_int_equal(quota(), 0); /* the topmost group has no cpu.max */
    put("/cg", "cpu.max", "max 100000\n");
    assert_int_equal(quota(), 0);
    put("/cg", "cpu.max", "");
    assert_int_equal(quota(), 0);
}

static void the_second_version(void)
{
    begin(OTHERS V2, "0::/\n");
    put("/cg", "cpu.max", "200000 100000\n");
    assert_int_equal(quota(), 2);
    put("/cg", "cpu.max", "150000 100000\n");
    assert_int_equal(quota(), 2); /* rounded up */
    put("/cg", "cpu.max", "5000 100000\n");
    assert_int_equal(quota(), 1);
    put("/cg", "cpu.max", "9223372036854775807 1\n");
    assert_int_equal(quota(), 0); /* no limit in effect */
}

static void groups_above_count(void)
{
    begin(OTHERS V2, "0::/system.slice/httpd.service\n");
    put("/cg/system.slice/httpd.service", "cpu.max", "800000 100000\n");
    assert_int_equal(quota(), 8);
    put("/cg/system.slice", "cpu.max", "300000 100000\n");
    assert_int_equal(quota(), 3);
    put("/cg", "cpu.max", "max 100000\n");
    assert_int_equal(quota(), 3);
    put("", "cpu.max", "100000 100000\n"); /* not below the mount */
    assert_int_equal(quota(), 3);
}

static void the_first_version(void)
{
    begin(OTHERS V1, "9:memory:/else\n2:cpuset:/no\n4:cpu,cpuacct:/docker/c1\n");
    put("/cg/cpu/docker/c1", "cpu.cfs_quota_us", "-1\n");
    put("/cg/cpu/docker/c1", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota(), 0);
    put("/cg/cpu/docker/c1", "cpu.cfs_quota_us", "250000\n");
    assert_int_equal(quota(), 3);
    put("/cg/cpu/docker", "cpu.cfs_quota_us", "50000\n");
    put("/cg/cpu/docker", "cpu.cfs_period_us", "50000\n");
    assert_int_equal(quota(), 1);
}

/* A container that sees only its own part of the tree, under the host's names. */
static void a_mount_of_part_of_the_tree(void)
{
    begin(OTHERS "32 30 0:29 /docker/c1 /cg/cpu ro - cgroup cgroup rw,cpu\n", "4:cpu:/docker/c1\n");
    put("/cg/cpu", "cpu.cfs_quota_us", "400000\n");
    put("/cg/cpu", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota(), 4);
    put("/proc/self", "cgroup", "4:cpu:/docker/c1/inner\n");
    put("/cg/cpu/inner", "cpu.cfs_quota_us", "200000\n");
    put("/cg/cpu/inner", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota(), 2);
    put("/proc/self", "cgroup", "4:cpu:/another/one\n"); /* the mount's top is the best there is */
    assert_int_equal(quota(), 4);
    put("/proc/self", "cgroup", "4:cpu:/docker/c10\n");
    assert_int_equal(quota(), 4);
}

static void both_at_once(void)
{
    begin(OTHERS V2 V1, "4:cpu,cpuacct:/a\n0::/b\n");
    put("/cg/cpu/a", "cpu.cfs_quota_us", "500000\n");
    put("/cg/cpu/a", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota(), 5);
    put("/cg/b", "cpu.max", "200000 100000\n");
    assert_int_equal(quota(), 2);
}

static void what_is_malformed_is_no_quota(void)
{
    begin("garbage\n- \n31 23 0:28 / - cgroup2 x y\n" V2, "::\nx\n0:\n0::/g\n");
    put("/cg/g", "cpu.max", "many few\n");
    assert_int_equal(quota(), 0);
    put("/cg/g", "cpu.max", "100000\n");
    assert_int_equal(quota(), 0);
    put("/cg/g", "cpu.max", "-5 100000\n");
    assert_int_equal(quota(), 0);
    put("/cg/g", "cpu.max", "300000 100000\n");
    assert_int_equal(quota(), 3); /* and the lines before it do not matter */
}

static void affinity_is_the_upper_bound(void)
{
    cpu_set_t before, one;
    int all = stm_cpus(), first = 0;

    assert_ok(sched_getaffinity(0, sizeof(before), &before));
    assert_true(all >= 1 && all <= CPU_COUNT(&before));
    while (!CPU_ISSET((size_t)first, &before))
        first++;
    CPU_ZERO(&one);
    CPU_SET((size_t)first, &one);
    assert_ok(sched_setaffinity(0, sizeof(one), &one));
    assert_int_equal(stm_cpus(), 1);
    assert_ok(sched_setaffinity(0, sizeof(before), &before));
    assert_int_equal(stm_cpus(), all);
}

static void end(void)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -rf '%s'", top);
    assert_ok(system(command));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(none_without_a_limit),
        RAW_TEST(the_second_version),
        RAW_TEST(groups_above_count),
        RAW_TEST(the_first_version),
        RAW_TEST(a_mount_of_part_of_the_tree),
        RAW_TEST(both_at_once),
        RAW_TEST(what_is_malformed_is_no_quota),
        RAW_TEST(affinity_is_the_upper_bound),
        RAW_TEST(end),
    };
    return cmocka_run_group_tests_name("cpus", tests, NULL, NULL);
}
