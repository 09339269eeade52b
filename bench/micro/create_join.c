/* SPDX-License-Identifier: Apache-2.0 */
/* A thread's life cycle: create, run, end, join, with the stack recycled. */
#include "micro.h"

static void *nothing(void *arg)
{
    return arg;
}

int main(int argc, char **argv)
{
    long n = micro_count(argc, argv, 1000000);
    uint64_t start;

    micro_init();
    start = micro_ns();
    for (long i = 0; i < n; i++) {
        st_thread_t thread = st_thread_create(nothing, NULL, 1, 0);

        CHECK(thread);
        CHECK(st_thread_join(thread, NULL) == 0);
    }
    micro_report(start, micro_ns(), n);
    return 0;
}
