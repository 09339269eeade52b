/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thread-specific data: keys of the process and each thread's values. The first few values lie in
 * the thread; room for more is made when one is set.
 */
#include <string.h>

#include "st_internal.h"

enum { KEY_LIMIT = 1024, END_PASSES = 4 };

static void (*destructors[KEY_LIMIT])(void *);
static atomic_int key_count;

int st_key_create(int *keyp, void (*destructor)(void *))
{
    int key = atomic_load(&key_count);

    do
        if (key >= KEY_LIMIT)
            return st__fail(EAGAIN);
    while (!atomic_compare_exchange_weak(&key_count, &key, key + 1));
    destructors[key] = destructor;
    *keyp = key;
    return 0;
}

int st_key_getlimit(void)
{
    return KEY_LIMIT;
}

static bool is_key(int key)
{
    return key >= 0 && key < atomic_load_explicit(&key_count, memory_order_relaxed);
}

/* A key's place in the thread, NULL if none was made. */
static void **find_value(struct st_thread *thread, unsigned key)
{
    if (key < ST__KEYS_INLINE)
        return &thread->inline_values[key];
    key -= ST__KEYS_INLINE;
    return key < thread->value_count ? &thread->values[key] : NULL;
}

static void **make_value(struct st_thread *thread, unsigned key)
{
    unsigned count = thread->value_count == 0 ? ST__KEYS_INLINE : thread->value_count;
    void **values;

    while (count <= key - ST__KEYS_INLINE)
        count *= 2;
    if ((values = st__realloc(thread->values, count * sizeof(*values))) == NULL)
        return NULL;
    memset(values + thread->value_count, 0, (count - thread->value_count) * sizeof(*values));
    thread->values = values;
    thread->value_count = count;
    return find_value(thread, key);
}

int st_thread_setspecific(int key, void *value)
{
    struct st_vp *vp = st__vp_get();
    struct st_thread *me;
    void **place;

    if (vp == NULL)
        return -1;
    if (!is_key(key))
        return st__fail(EINVAL);
    me = vp->current;
    place = find_value(me, (unsigned)key);
    if (place == NULL) {
        if (value == NULL)
            return 0;
        if ((place = make_value(me, (unsigned)key)) == NULL)
            return -1;
    }
    if (*place != NULL && *place != value && destructors[key] != NULL) {
        destructors[key](*place);
        place = find_value(me, (unsigned)key); /* the destructor may have made more room */
    }
    *place = value;
    return 0;
}

void *st_thread_getspecific(int key)
{
    struct st_vp *vp = st__vp_get();
    void **place;

    if (vp == NULL || !is_key(key))
        return NULL;
    place = find_value(vp->current, (unsigned)key);
    return place != NULL ? *place : NULL;
}

/* Runs the destructors of what is set; true if there was any. */
static bool end_pass(struct st_thread *thread)
{
    bool any = false;

    for (unsigned key = 0; key < ST__KEYS_INLINE + thread->value_count; key++) {
        void **place = find_value(thread, key);

        if (*place == NULL || destructors[key] == NULL)
            continue;
        any = true;
        destructors[key](*place); /* sees the value, as in State Threads 1.9 */
        *find_value(thread, key) = NULL;
    }
    return any;
}

void st__keys_end(struct st_thread *thread)
{
    /* A destructor may set other keys: a few more passes, as with POSIX threads. */
    for (int pass = 0; pass < END_PASSES && end_pass(thread); pass++)
        ;
    free(thread->values);
    thread->values = NULL;
    thread->value_count = 0;
    memset(thread->inline_values, 0, sizeof(thread->inline_values));
}
