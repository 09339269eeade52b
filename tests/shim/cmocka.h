/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of cmocka that the unit tests use, in one header, for targets for which Debian has no
 * cmocka (the aarch64 run). Output is TAP. A failed assertion in a test's child aborts it; the
 * parent's assertions are answered by longjmp.
 */
#ifndef SHIM_CMOCKA_H
#define SHIM_CMOCKA_H

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*test_func)(void **state);
    int (*setup_func)(void **state);
    int (*teardown_func)(void **state);
    void *initial_state;
};

extern jmp_buf shim_test;

#define fail_msg(...)                                                                              \
    do {                                                                                           \
        fprintf(stderr, "# %s:%d: ", __FILE__, __LINE__);                                          \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        if (getenv("CMOCKA_TEST_ABORT"))                                                           \
            abort();                                                                               \
        longjmp(shim_test, 1);                                                                     \
    } while (0)
#define skip() longjmp(shim_test, 2)

#define SHIM_COMPARE(a, op, b)                                                                     \
    do {                                                                                           \
        uintmax_t shim_a = (uintmax_t)(a), shim_b = (uintmax_t)(b);                                \
        if (!(shim_a op shim_b))                                                                   \
            fail_msg("%s: %#jx, %s: %#jx", #a, shim_a, #b, shim_b);                                \
    } while (0)
#define assert_int_equal(a, b)     SHIM_COMPARE(a, ==, b)
#define assert_int_not_equal(a, b) SHIM_COMPARE(a, !=, b)
#define assert_ptr_equal(a, b)     SHIM_COMPARE((uintptr_t)(a), ==, (uintptr_t)(b))
#define assert_ptr_not_equal(a, b) SHIM_COMPARE((uintptr_t)(a), !=, (uintptr_t)(b))
#define assert_null(a)             SHIM_COMPARE((uintptr_t)(a), ==, 0)
#define assert_non_null(a)         SHIM_COMPARE((uintptr_t)(a), !=, 0)
#define assert_true(c)                                                                             \
    do {                                                                                           \
        if (!(c))                                                                                  \
            fail_msg("not true: %s", #c);                                                          \
    } while (0)
#define assert_false(c)              assert_true(!(c))
#define assert_memory_equal(a, b, n) assert_true(memcmp(a, b, n) == 0)
#define assert_string_equal(a, b)                                                                  \
    do {                                                                                           \
        const char *shim_a = (a), *shim_b = (b);                                                   \
        if (strcmp(shim_a, shim_b) != 0)                                                           \
            fail_msg("\"%s\" is not \"%s\"", shim_a, shim_b);                                      \
    } while (0)

static inline int shim_run(const struct CMUnitTest *tests, size_t n)
{
    volatile int failed = 0;

    printf("1..%zu\n", n);
    for (volatile size_t i = 0; i < n; i++) {
        void *state = tests[i].initial_state;
        int outcome = setjmp(shim_test);

        if (outcome == 0)
            tests[i].test_func(&state);
        failed += outcome == 1;
        printf("%sok %zu %s %s\n", outcome == 1 ? "not " : "", i + 1, outcome == 2 ? "# SKIP" : "-",
               tests[i].name);
        fflush(stdout);
    }
    return failed;
}
#define cmocka_run_group_tests_name(name, tests, setup, teardown)                                  \
    shim_run(tests, sizeof(tests) / sizeof((tests)[0]))

#endif
