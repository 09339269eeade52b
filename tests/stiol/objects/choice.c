/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function that is chosen while a reference to it is being relocated; the test may have something
 * else happen then.
 */
#include <stddef.h>

typedef int choice_t(void);

void (*on_choice)(void);

static int chosen_one(void)
{
    return 42;
}

static choice_t *choose(void)
{
    if (on_choice)
        on_choice();
    return chosen_one;
}

int choice(void) __attribute__((ifunc("choose")));
