/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks with pages of 16 or 64 KB, as on some AArch64 kernels: the linker puts the functions
 * below, which answer as such a kernel would, in front of the C library's.
 */
#include "tests/vp.h"

#include <sys/mman.h>
#include <unistd.h>

#include "st/st_internal.h"

#if defined(__SANITIZE_ADDRESS__)
enum { ADDRESS_SANITIZER = 1 };
#else
enum { ADDRESS_SANITIZER = 0 };
#endif

static size_t page = 65536;
static unsigned advised, guarded, asked;

int __real_mprotect(void *addr, size_t size, int prot);
int __real_madvise(void *addr, size_t size, int advice);
int __real_mincore(void *addr, size_t size, unsigned char *present);
long __real_sysconf(int name);
void *__real_mmap(void *hint, size_t size, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *addr, size_t size);

int __wrap_mprotect(void *addr, size_t size, int prot);
int __wrap_madvise(void *addr, size_t size, int advice);
int __wrap_mincore(void *addr, size_t size, unsigned char *present);
long __wrap_sysconf(int name);
void *__wrap_mmap(void *hint, size_t size, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *addr, size_t size);

static size_t rounded(size_t size)
{
    return (size + page - 1) & ~(page - 1);
}

static int misaligned(const void *addr)
{
    if ((uintptr_t)addr % page == 0)
        return 0;
    errno = EINVAL;
    return -1;
}

long __wrap_sysconf(int name)
{
    return name == _SC_PAGESIZE ? (long)page : __real_sysconf(name);
}

int __wrap_mprotect(void *addr, size_t size, int prot)
{
    guarded++;
    return misaligned(addr) ? -1 : __real_mprotect(addr, rounded(size), prot);
}

int __wrap_madvise(void *addr, size_t size, int advice)
{
    advised++;
    return misaligned(addr) ? -1 : __real_madvise(addr, rounded(size), advice);
}

/* Answers for large pages: one is present if any small page of it is. */
int __wrap_mincore(void *addr, size_t size, unsigned char *present)
{
    size_t small = (size_t)__real_sysconf(_SC_PAGESIZE);
    unsigned char one[16];

    asked++;
    if (misaligned(addr))
        return -1;
    for (size_t at = 0; at < rounded(size); at += page) {
        present[at / page] = 0;
        for (size_t part = 0; part < page; part += small) {
            if (__real_mincore((char *)addr + at + part, small, one) != 0)
                return -1;
            present[at / page] |= one[0] & 1;
        }
    }
    return 0;
}

void *__wrap_mmap(void *hint, size_t size, int prot, int flags, int fd, off_t offset)
{
    char *place, *start;

    if (hint || fd >= 0)
        return __real_mmap(hint, size, prot, flags, fd, offset);
    place = __real_mmap(NULL, rounded(size) + page, prot, flags, fd, offset);
    if (place == MAP_FAILED)
        return place;
    start = (char *)(((uintptr_t)place + page - 1) & ~(uintptr_t)(page - 1));
    if (start > place)
        __real_munmap(place, (size_t)(start - place));
    if (start < place + page)
        __real_munmap(start + rounded(size), (size_t)(place + page - start));
    return start;
}

int __wrap_munmap(void *addr, size_t size)
{
    return misaligned(addr) ? -1 : __real_munmap(addr, rounded(size));
}

/* --- the tests --- */

/* All of the stack but 12 KB. */
static void *use_it(void *arg)
{
    size_t size = st__stack_size(st_thread_self()->stack) - 12 * 1024;
    volatile char *bytes = __builtin_alloca(size);

    escape(bytes);
    memset((void *)(uintptr_t)bytes, 7, size);
    st_thread_yield();
    return bytes[size / 2] == 7 ? arg : NULL;
}

static void use_stacks(int stack_size)
{
    enum { COUNT = 20 };
    st_thread_t threads[COUNT];
    void *value;

    for (int i = 0; i < COUNT; i++) {
        assert_non_null(threads[i] = st_thread_create(use_it, (void *)1, 1, stack_size));
        assert_int_equal(misaligned(st__stack_base(threads[i]->stack)), 0);
        assert_int_equal(st__stack_size(threads[i]->stack) % page, 0);
        assert_true(st__stack_size(threads[i]->stack) >= (size_t)stack_size);
        assert_int_not_equal(st_stack_overflow_at(st__stack_base(threads[i]->stack) - 1), 0);
        assert_int_not_equal(st_stack_overflow_at(st__stack_base(threads[i]->stack) - 1048576), 0);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_ok(st_thread_join(threads[i], &value));
        assert_non_null(value);
    }
    st_sample_stacks(-1);
}

static void with_pages_of(size_t bytes, int mprotect_guards)
{
    static const int sizes[] = {1, 65536, 100000, 262144, 8 << 20};
    st_stack_stats_t stats;

    if (ADDRESS_SANITIZER)
        skip_test("the sanitizer calls these functions for itself");
    page = bytes;
    st__force_mprotect_guards = mprotect_guards;
    assert_ok(st_init());
    st_set_stack_cache(2);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
        if (!under_valgrind() || sizes[i] < 1 << 20)
            use_stacks(sizes[i]);
    st_get_stack_stats(&stats);
    assert_true(stats.deepest >= 262144 - 2 * page);
    assert_true(advised > 0 && asked > 0 && (guarded > 0 || stats.guard_install));
    assert_ok(st_destroy());
}

static void pages_of_16_kb(void)
{
    with_pages_of(16384, 0);
}

static void pages_of_64_kb(void)
{
    with_pages_of(65536, 0);
}

static void pages_of_64_kb_and_mprotect(void)
{
    with_pages_of(65536, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(pages_of_16_kb),
        RAW_TEST(pages_of_64_kb),
        RAW_TEST(pages_of_64_kb_and_mprotect),
    };
    return cmocka_run_group_tests_name("bigpages", tests, NULL, NULL);
}
