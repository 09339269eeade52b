/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flockfile() and the like: a stream that stays locked over several calls belongs to one state
 * thread. It is also really locked, by the VP's kernel thread, so that other kernel threads are
 * kept out. The lock that each stdio call takes by itself is left to the C library.
 */
#include "stiol/file.h"
#include "stiol/lock.h"
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

static uintptr_t key_of(const FILE *file)
{
    return (uintptr_t)file;
}

static bool take(stiol__vp_t *vp, FILE *file)
{
    stiol__owner_t *owner = stiol__owner_find(vp, file);

    if (owner) {
        if (owner->thread != st_thread_self())
            return false;
        owner->count++;
        return true;
    }
    if (ftrylockfile(file) != 0)
        return false;
    if (stiol__owner_add(vp, file, STIOL_FILE) != 0)
        funlockfile(file); /* no memory: better without a lock than never */
    return true;
}

typedef struct stream_args {
    stiol__vp_t *vp;
    FILE *file;
} stream_args_t;

static int attempt(void *arg)
{
    const stream_args_t *args = arg;

    return take(args->vp, args->file) ? 1 : 0;
}

void stiol__flockfile(FILE *file)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, flockfile, file);
    stream_args_t args = {vp, file};
    bool interrupted = false;

    if (!vp) {
        flockfile(file);
        return;
    }
    if (STIOL_LIKELY(take(vp, file)))
        return;
    STIOL_PARKS(vp, mutex);
    while (stiol__probe(vp, key_of(file), attempt, &args, STIOL_NEVER) != 0)
        interrupted = true;
    if (interrupted)
        st_thread_interrupt(st_thread_self()); /* not for this wait: pass it on to the next one */
}

int stiol__ftrylockfile(FILE *file)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, ftrylockfile, file);

    if (!vp)
        return ftrylockfile(file);
    return take(vp, file) ? 0 : -1;
}

bool stiol__trylock_stream(FILE *stream)
{
    stiol__vp_t *vp = stiol__here();

    return vp ? take(vp, stream) : ftrylockfile(stream) == 0;
}

void stiol__unlock_stream(FILE *stream)
{
    stiol__funlockfile(stream);
}

void stiol__stream_left(FILE *file)
{
    funlockfile(file);
    stiol__lot_notify(key_of(file), false);
}

void stiol__funlockfile(FILE *file)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, funlockfile, file);
    stiol__owner_t *owner = vp ? stiol__owner_find(vp, file) : NULL;

    if (owner && owner->thread == st_thread_self() && --owner->count > 0)
        return;
    if (owner)
        stiol__owner_remove(vp, owner);
    stiol__stream_left(file);
}
