/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks at start that glibc's locks and condition variables have the layout that the lock files
 * read, so that another C library is rejected and not misread.
 */
#include "stiol/lock.h"
#include "stiol/stiol_int.h"

static bool mutex_kind_is(int type, int expected)
{
    pthread_mutexattr_t attr;
    pthread_mutex_t mutex;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutexattr_setrobust(&attr, (expected & 16) != 0);
    pthread_mutex_init(&mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    return (mutex.__data.__kind & 127) == expected;
}

static bool mutex_owner_is_seen(void)
{
    pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    bool seen;

    pthread_mutex_lock(&mutex);
    pthread_mutex_lock(&mutex);
    seen =
        mutex.__data.__owner == gettid() && mutex.__data.__count == 2 && mutex.__data.__lock == 1;
    pthread_mutex_unlock(&mutex);
    pthread_mutex_unlock(&mutex);
    return seen && mutex.__data.__owner == 0;
}

static bool writer_is_seen(void)
{
    pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
    bool seen;

    pthread_rwlock_wrlock(&lock);
    seen = lock.__data.__cur_writer == gettid();
    pthread_rwlock_unlock(&lock);
    return seen && lock.__data.__cur_writer == 0;
}

static bool cond_flags_are(clockid_t clock, int shared, unsigned expected)
{
    pthread_condattr_t attr;
    pthread_cond_t cond;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, clock);
    pthread_condattr_setpshared(&attr, shared);
    pthread_cond_init(&cond, &attr);
    pthread_condattr_destroy(&attr);
    return cond.__data.__wrefs == expected;
}

bool stiol__layout_known(void)
{
    return mutex_kind_is(PTHREAD_MUTEX_NORMAL, 0) && mutex_kind_is(PTHREAD_MUTEX_RECURSIVE, 1) &&
           mutex_kind_is(PTHREAD_MUTEX_ERRORCHECK, 2) &&
           mutex_kind_is(PTHREAD_MUTEX_RECURSIVE, 1 | 16) && mutex_owner_is_seen() &&
           writer_is_seen() && cond_flags_are(CLOCK_REALTIME, PTHREAD_PROCESS_PRIVATE, 0) &&
           cond_flags_are(CLOCK_REALTIME, PTHREAD_PROCESS_SHARED, 1) &&
           cond_flags_are(CLOCK_MONOTONIC, PTHREAD_PROCESS_PRIVATE, 2);
}
