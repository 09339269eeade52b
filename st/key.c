/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thread-specific data: the process's keys and each thread's values. The first few values are in
 * the thread itself; room for more is allocated when one is set.
 */
#include <string.h>

#include "st/st_internal.h"

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

static bool has_room(const struct st_thread *thread, unsigned key)
{
    return key < ST__KEYS_INLINE + thread->value_count;
}

static int make_room(struct st_thread *thread, unsigned key)
{
    unsigned count = thread->value_count == 0 ? ST__KEYS_INLINE : thread->value_count;
    void **values;

    while (ST__KEYS_INLINE + count <= key)
        count *= 2;
    if (!(values = st__realloc(thread->values, count * sizeof(*values))))
        return -1;
    memset(values + thread->value_count, 0, (count - thread->value_count) * sizeof(*values));
    thread->values = values;
    thread->value_count = count;
    return 0;
}

/* Where the thread keeps a key's value; it must have room for it. */
static void **place_of(struct st_thread *thread, unsigned key)
{
    return key < ST__KEYS_INLINE ? &thread->inline_values[key]
                                 : &thread->values[key - ST__KEYS_INLINE];
}

int st_thread_setspecific(int key, void *value)
{
    struct st_vp *vp = st__vp_get();
    struct st_thread *me;
    void *previous;

    if (!vp)
        return -1;
    if (!is_key(key))
        return st__fail(EINVAL);
    me = vp->current;
    if (!has_room(me, (unsigned)key)) {
        if (!value)
            return 0;
        if (make_room(me, (unsigned)key) < 0)
            return -1;
    }
    previous = *place_of(me, (unsigned)key);
    if (previous && previous != value && destructors[key])
        destructors[key](previous); /* may set other keys and so move the values */
    *place_of(me, (unsigned)key) = value;
    return 0;
}

void *st_thread_getspecific(int key)
{
    struct st_vp *vp = st__vp_get();

    if (!vp || !is_key(key) || !has_room(vp->current, (unsigned)key))
        return NULL;
    return *place_of(vp->current, (unsigned)key);
}

/* Runs the destructors of all values set; true if there were any. */
static bool end_pass(struct st_thread *thread)
{
    bool any = false;

    for (unsigned key = 0; has_room(thread, key) && is_key((int)key); key++) {
        void *value = *place_of(thread, key);

        if (!value || !destructors[key])
            continue;
        any = true;
        destructors[key](value); /* still sees it, as in State Threads 1.9 */
        *place_of(thread, key) = NULL;
    }
    return any;
}

void st__keys_end(struct st_thread *thread)
{
    /* A destructor may set other keys: make a few more passes, as POSIX threads do. */
    for (int pass = 0; pass < END_PASSES && end_pass(thread); pass++)
        ;
    free(thread->values);
    thread->values = NULL;
    thread->value_count = 0;
    memset(thread->inline_values, 0, sizeof(thread->inline_values));
}
