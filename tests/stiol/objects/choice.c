/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function that is chosen when a reference to it is relocated; the test may have something done
 * meanwhile.
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
