/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of libapr's allocators: which mappings they replace, that they are reused, what happens to
 * their memory, and what happens at the end of the space, at the end of a VP, and on another kernel
 * thread.
 */
#include "tests/stiol/stiol_vp.h"

#define BLOCK ((size_t)8192)

/* Not inlined: the table is constant, and a compiler may remember what was in it before STIOL. */
static __attribute__((noinline)) char *map(size_t length)
{
    char *address = table_threads.mmap(NULL, length, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(address != MAP_FAILED);
    return address;
}

static __attribute__((noinline)) void unmap(void *address, size_t length)
{
    CHECK(table_threads.munmap(address, length) == 0);
}

static bool is_mapped(void *address)
{
    return msync(address, BLOCK, MS_ASYNC) == 0;
}

static void last_freed_is_first_taken(void)
{
    char *first = map(BLOCK), *second = map(BLOCK);

    CHECK(first != second);
    strcpy(first, "first");
    strcpy(second + BLOCK - 10, "second");
    unmap(first, BLOCK);
    unmap(second, BLOCK);
    CHECK(map(BLOCK) == second && strcmp(second + BLOCK - 10, "second") == 0);
    CHECK(map(BLOCK) == first && strcmp(first, "first") == 0);
    CHECK(counters().memory.calls == 6);
}

/* Another size, other objects' calls, files, read-only memory: the real calls. */
static void others_are_mapped(void)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    char *large = map(2 * BLOCK);
    char *file = table_threads.mmap(NULL, BLOCK, PROT_READ, MAP_PRIVATE, fd, 0);
    char *shared =
        table_threads.mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(file != MAP_FAILED && memcmp(file, "\177ELF", 4) == 0 && shared != MAP_FAILED);
    unmap(large, 2 * BLOCK);
    unmap(file, BLOCK);
    unmap(shared, BLOCK);
    CHECK(!is_mapped(large) && !is_mapped(file) && !is_mapped(shared));
    CHECK(table_any.mmap == stiol__elsewhere_mmap && table_any.munmap == munmap);
    close(fd);
}

enum { KEPT = 4 };

/* Of many free blocks, the last ones keep their memory; that of the others is given back. */
static void surplus_memory_goes_back(void)
{
    stiol_config_t config = test_config;
    char *blocks[3 * KEPT];

    config.max_free = KEPT * (long)BLOCK;
    CHECK(st_init() == 0 && stiol_start(&config) == 0);
    for (int i = 0; i < 3 * KEPT; i++)
        strcpy(blocks[i] = map(BLOCK), "x");
    for (int i = 0; i < 3 * KEPT; i++)
        unmap(blocks[i], BLOCK);
    for (int i = 3 * KEPT - 1; i >= 0; i--) {
        CHECK(map(BLOCK) == blocks[i]);
        CHECK(blocks[i][0] == (i < 2 * KEPT ? '\0' : 'x'));
    }
    stop_vp();
}

static void none_are_kept_if_told_so(void)
{
    stiol_config_t config = test_config;
    char *block;

    config.max_free = -1;
    CHECK(st_init() == 0 && stiol_start(&config) == 0);
    block = map(BLOCK);
    unmap(block, BLOCK);
    CHECK(!is_mapped(block));
    stop_vp();
}

static void *free_it(void *block)
{
    unmap(block, BLOCK);
    return NULL;
}

static void *map_one(void *place)
{
    *(char **)place = map(BLOCK);
    return NULL;
}

/* A kernel thread that is no VP gets real mappings; a block that it frees belongs to the VP
 * again. */
static void other_kernel_threads(void)
{
    char *block = map(BLOCK), *other = map(BLOCK), *theirs;

    join_kernel_thread(kernel_thread(free_it, block));
    join_kernel_thread(kernel_thread(free_it, other));
    CHECK(map(BLOCK) == block || map(BLOCK) == block);
    join_kernel_thread(kernel_thread(map_one, &theirs));
    unmap(theirs, BLOCK);
    CHECK(!is_mapped(theirs));
}

/* The space of 256 MB is used up; then blocks are mapped one by one. */
static void space_ends(void)
{
    enum { MANY = 32768 + 100 };
    static char *blocks[MANY];

    for (int i = 0; i < MANY; i++)
        blocks[i] = map(BLOCK);
    for (int i = MANY - 100; i < MANY; i++) {
        *blocks[i] = 'x';
        unmap(blocks[i], BLOCK);
        CHECK(!is_mapped(blocks[i]));
    }
    for (int i = 0; i < MANY - 100; i++)
        unmap(blocks[i], BLOCK);
    CHECK(map(BLOCK) == blocks[MANY - 101]);
}

/* Pools live longer than the VP; the next VP of the process has a space of its own. */
static void blocks_outlive_the_vp(void)
{
    char *used, *unused;

    start_vp();
    unused = map(BLOCK);
    strcpy(used = map(BLOCK), "used");
    unmap(unused, BLOCK);
    stop_vp();
    CHECK(strcmp(used, "used") == 0 && !is_mapped(unused));
    start_vp();
    unmap(used, BLOCK);
    CHECK(!is_mapped(used));
    unused = map(BLOCK);
    unmap(unused, BLOCK);
    CHECK(map(BLOCK) == unused);
    stop_vp();
}

static void a_forked_child_maps_for_itself(void)
{
    char *block = map(BLOCK), *own;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        own = map(BLOCK);
        unmap(own, BLOCK);
        unmap(block, BLOCK);
        _exit(is_mapped(own) ? 1 : 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    unmap(block, BLOCK);
    CHECK(map(BLOCK) == block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(last_freed_is_first_taken), VP_TEST(others_are_mapped),
        RAW_TEST(surplus_memory_goes_back), RAW_TEST(none_are_kept_if_told_so),
        VP_TEST(other_kernel_threads),      VP_TEST(space_ends),
        RAW_TEST(blocks_outlive_the_vp),    VP_TEST(a_forked_child_maps_for_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
