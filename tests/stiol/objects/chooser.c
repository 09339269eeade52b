/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refers to choice() of choice.c: in the initial contents of a thread-local variable, which is
 * relocated early, and by a call, which is relocated after the call before it.
 */
#include <stddef.h>
#include <sys/select.h>

int choice(void);
int chooser_sleep(int us);
int (*chosen(void))(void);

static __thread int (*current)(void) = choice;

int chooser_sleep(int us)
{
    struct timeval length = {0, us};

    return select(0, NULL, NULL, NULL, &length) + (choice() != 42);
}

int (*chosen(void))(void)
{
    return current;
}
