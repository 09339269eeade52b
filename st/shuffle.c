/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds with ST_SHUFFLE: the next thread to run is picked at random. The same seed and the same
 * events give the same order. The scheduler calls st__shuffle(), STIOL's replacements st_shuffle().
 */
#include <unistd.h>

#include "st/st_internal.h"

#ifdef ST_SHUFFLE

/* The pick is made among this many threads at the head of the run queue, so that long queues cost
 * no more. */
enum { REACH = 16 };
/* One call in STAND_BACK yields up to TIMES times. */
enum { STAND_BACK = 64, TIMES = 32 };

/* splitmix64 */
static uint64_t draw(struct st_vp *vp)
{
    uint64_t z = vp->shuffle += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void st__shuffle_start(struct st_vp *vp)
{
    const char *given = getenv(ST_SHUFFLE_SEED_VARIABLE);

    vp->shuffle_seed = given ? strtoull(given, NULL, 0) : st_utime();
    vp->shuffle = vp->shuffle_seed;
    vp->shuffle_pid = getpid();
}

uint64_t st_shuffle_seed(void)
{
    return st__vp ? st__vp->shuffle_seed : 0;
}

/* Moves one of the first in the run queue, which must not be empty, to its head. */
void st__shuffle(struct st_vp *vp)
{
    struct st_thread *before = vp->runq_head, *chosen;
    uint64_t steps = draw(vp) % REACH;

    if (steps == 0)
        return;
    for (; steps > 1 && before->next; steps--)
        before = before->next;
    chosen = before->next;
    if (!chosen)
        return;
    before->next = chosen->next;
    if (vp->runq_tail == chosen)
        vp->runq_tail = before;
    chosen->next = vp->runq_head;
    vp->runq_head = chosen;
}

/* In a forked child, atfork handlers of others run before ours and make calls: no other thread may
 * run there. */
void st_shuffle(void)
{
    struct st_vp *vp = st__vp;
    uint64_t times;

    if (vp->shuffle_pid != getpid())
        return;
    times = draw(vp) % STAND_BACK == 0 ? draw(vp) % TIMES : 0;
    do
        st_thread_yield();
    while (times-- > 0);
}

#endif
