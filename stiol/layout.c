/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks at start that the C library's locks have the layout that the lock files read, and finds
 * the flags of its condition variables, so that another C library is rejected and not misread.
 */
#include "stiol/layout.h"

#include "stiol/rebind.h"
#include "stiol/stiol_int.h"

/* Bits of a mutex's __kind that attributes set. */
enum { KIND = 127, ROBUST = 16 };

stiol__cond_layout_t stiol__cond_layout;

/* --- samples --- */

static void make_mutex(pthread_mutex_t *mutex, int type, int robust)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutexattr_setrobust(&attr, robust);
    pthread_mutex_init(mutex, &attr);
    pthread_mutexattr_destroy(&attr);
}

/* As it is while this kernel thread has it, and afterwards. */
static void make_held(pthread_mutex_t *held, pthread_mutex_t *released)
{
    pthread_mutex_t mutex;

    make_mutex(&mutex, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED);
    pthread_mutex_lock(&mutex);
    pthread_mutex_lock(&mutex);
    memcpy(held, &mutex, sizeof(mutex));
    pthread_mutex_unlock(&mutex);
    pthread_mutex_unlock(&mutex);
    memcpy(released, &mutex, sizeof(mutex));
}

static void make_rwlocks(stiol__samples_t *samples)
{
    pthread_rwlockattr_t attr;

    pthread_rwlock_init(&samples->plain, NULL);
    pthread_rwlock_wrlock(&samples->plain);
    memcpy(&samples->written, &samples->plain, sizeof(samples->plain));
    pthread_rwlock_unlock(&samples->plain);
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&samples->writers_first, &attr);
    pthread_rwlockattr_destroy(&attr);
}

static void make_cond(pthread_cond_t *cond, int which)
{
    bool shared = which == STIOL_COND_SHARED || which == STIOL_COND_BOTH;
    bool monotonic = which == STIOL_COND_MONOTONIC || which == STIOL_COND_BOTH;
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, monotonic ? CLOCK_MONOTONIC : CLOCK_REALTIME);
    pthread_condattr_setpshared(&attr, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

void stiol__samples_make(stiol__samples_t *samples)
{
    memset(samples, 0, sizeof(*samples));
    samples->tid = gettid();
    make_mutex(&samples->normal, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED);
    make_mutex(&samples->recursive, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED);
    make_mutex(&samples->checking, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED);
    make_mutex(&samples->robust, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ROBUST);
    make_held(&samples->held, &samples->released);
    make_rwlocks(samples);
    for (int i = 0; i < STIOL_COND_SAMPLES; i++)
        make_cond(&samples->conds[i], i);
}

/* --- what they show --- */

static bool mutexes_fit(const stiol__samples_t *samples)
{
    return (samples->normal.__data.__kind & KIND) == PTHREAD_MUTEX_NORMAL &&
           (samples->recursive.__data.__kind & KIND) == PTHREAD_MUTEX_RECURSIVE &&
           (samples->checking.__data.__kind & KIND) == PTHREAD_MUTEX_ERRORCHECK &&
           (samples->robust.__data.__kind & KIND) == (PTHREAD_MUTEX_RECURSIVE | ROBUST) &&
           samples->held.__data.__owner == samples->tid && samples->held.__data.__count == 2 &&
           samples->held.__data.__lock == 1 && samples->released.__data.__owner == 0 &&
           samples->released.__data.__count == 0 && samples->released.__data.__lock == 0;
}

static bool rwlocks_fit(const stiol__samples_t *samples)
{
    return samples->written.__data.__cur_writer == samples->tid &&
           samples->plain.__data.__cur_writer == 0 && samples->plain.__data.__flags == 0 &&
           samples->writers_first.__data.__flags == PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP;
}

static uint32_t word_of(const pthread_cond_t *cond, size_t at)
{
    uint32_t word;

    memcpy(&word, (const char *)cond + at, sizeof(word));
    return word;
}

static bool is_one_bit(uint32_t word)
{
    return word != 0 && (word & (word - 1)) == 0;
}

/* A static initialiser is all zeros: neither bit is set in a plain one. */
static bool flags_at(const pthread_cond_t *conds, size_t at, stiol__cond_layout_t *found)
{
    uint32_t shared = word_of(&conds[STIOL_COND_SHARED], at);
    uint32_t monotonic = word_of(&conds[STIOL_COND_MONOTONIC], at);

    *found = (stiol__cond_layout_t){.flags = at, .shared = shared, .monotonic = monotonic};
    return word_of(&conds[STIOL_COND_PLAIN], at) == 0 && is_one_bit(shared) &&
           is_one_bit(monotonic) && shared != monotonic &&
           word_of(&conds[STIOL_COND_BOTH], at) == (shared | monotonic);
}

static bool same_at(const pthread_cond_t *conds, size_t at)
{
    for (int i = 1; i < STIOL_COND_SAMPLES; i++)
        if (word_of(&conds[i], at) != word_of(&conds[0], at))
            return false;
    return true;
}

/* They are in the only word that differs. */
static bool conds_fit(const pthread_cond_t *conds, stiol__cond_layout_t *found)
{
    size_t at = 0, end = sizeof(*conds) / sizeof(uint32_t) * sizeof(uint32_t);

    while (at < end && same_at(conds, at))
        at += sizeof(uint32_t);
    if (at == end || !flags_at(conds, at, found))
        return false;
    for (at += sizeof(uint32_t); at < end; at += sizeof(uint32_t))
        if (!same_at(conds, at))
            return false;
    return true;
}

const char *stiol__samples_misfit(const stiol__samples_t *samples, stiol__cond_layout_t *conds)
{
    if (!mutexes_fit(samples))
        return "pthread_mutex_t";
    if (!rwlocks_fit(samples))
        return "pthread_rwlock_t";
    return conds_fit(samples->conds, conds) ? NULL : "pthread_cond_t";
}

const char *stiol__misfit(void)
{
    stiol__samples_t samples;

    stiol__samples_make(&samples);
    return stiol__samples_misfit(&samples, &stiol__cond_layout);
}

/* --- for those who start STIOL --- */

static int do_nothing(void *data)
{
    (void)data;
    return 0;
}

const char *stiol_misfit(void)
{
    const char *misfit = stiol__misfit();

    if (misfit)
        return misfit;
    return stiol__with_loader_locked(do_nothing, NULL) == 0 ? NULL : "dlsym()";
}
