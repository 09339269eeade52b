/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thread-specific data: pthread keys, including C11's, have one value for each state thread. The
 * primordial thread's values are the real ones. When a state thread ends, its set of values is kept
 * for the next one, as a pool of kernel threads would keep it (OpenSSL's error queue and random
 * generator are costly to create), up to a limit; beyond it, and always for threads created by
 * pthread_create(), the destructors run. Thread-local variables point to what keys destroy, and
 * vice versa, so their contents are kept with the set, and end with it. Used through the
 * replacements and by stiol.c, thread.c.
 */
#include <limits.h>
#include <link.h>

#include "stiol/stiol_int.h"
#include "stiol/thread.h"
#include "stiol/tls.h"

enum { KEYS_AT_ONCE = 4 }; /* room grows by this many */

typedef struct slot {
    void *value;
    uintptr_t seq; /* of the key when the value was set: a deleted key's value is no value */
} slot_t;

struct stiol__tsd {
    stiol__tsd_t *next; /* in the VP's cache; there it has the next two as well: */
    stiol__contents_t *contents;
    stiol__farewell_t *farewells;
    pthread_key_t count; /* keys that there is room for */
    slot_t slots[];
};

/* As glibc keeps a key: seq is odd while it is in use. */
typedef struct key {
    uintptr_t seq;
    void (*destructor)(void *);
} key_entry_t;

static key_entry_t
    own_keys[PTHREAD_KEYS_MAX]; /* those the replacements saw, if glibc's are not found */
static key_entry_t *keys = own_keys;

/* --- glibc's table of keys --- */

/* Keys created before STIOL started also have destructors, which only glibc knows. Its table is
 * found by the destructors of two keys of our own, and only if both are in their places. */
static void marker1(void *value)
{
    (void)value;
}

static void marker2(void *value)
{
    own_keys[0].destructor = value ? marker1 : NULL; /* must not be the same code as marker1 */
}

typedef struct search {
    pthread_key_t key1, key2;
} search_t;

static key_entry_t *table_in(const search_t *search, uintptr_t low, uintptr_t high)
{
    const uintptr_t size = sizeof(key_entry_t) * PTHREAD_KEYS_MAX;

    for (uintptr_t at = (low + 15) & ~(uintptr_t)7; at + sizeof(void *) <= high; at += 8) {
        uintptr_t base =
            at - offsetof(key_entry_t, destructor) - search->key1 * sizeof(key_entry_t);
        key_entry_t *table = (key_entry_t *)base;

        if (*(void **)at != (void *)marker1 || base < low || base > high || high - base < size)
            continue;
        if (table[search->key2].destructor == marker2 && (table[search->key1].seq & 1) == 1 &&
            (table[search->key2].seq & 1) == 1)
            return table;
    }
    return NULL;
}

static int search_object(struct dl_phdr_info *info, size_t size, void *data)
{
    const char *slash = strrchr(info->dlpi_name, '/');
    key_entry_t *table = NULL;

    (void)size;
    if (!slash || (strncmp(slash, "/libc.so.", 9) != 0 && strncmp(slash, "/libpthread", 11) != 0))
        return 0;
    for (int i = 0; !table && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t low = info->dlpi_addr + segment->p_vaddr;

        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) != 0)
            table = table_in(data, low, low + segment->p_memsz);
    }
    if (!table)
        return 0;
    keys = table;
    return 1;
}

void stiol__tsd_start(void)
{
    search_t search;

    for (int i = 0; i < PTHREAD_KEYS_MAX; i++)
        own_keys[i].seq = 1; /* keys already created cannot be told from those not created */
    if (pthread_key_create(&search.key1, marker1) != 0)
        return;
    if (pthread_key_create(&search.key2, marker2) == 0) {
        (void)dl_iterate_phdr(search_object, &search);
        (void)pthread_key_delete(search.key2);
    }
    (void)pthread_key_delete(search.key1);
}

/* --- sets of values --- */

static slot_t *slot_of(stiol__tsd_t *tsd, pthread_key_t key)
{
    return tsd && key < tsd->count ? &tsd->slots[key] : NULL;
}

/* The set may move. */
static bool make_room(stiol__thread_t *self, pthread_key_t key)
{
    pthread_key_t before = self->tsd ? self->tsd->count : 0;
    pthread_key_t count = (key / KEYS_AT_ONCE + 1) * KEYS_AT_ONCE;
    stiol__tsd_t *tsd;

    if (key < before)
        return true;
    tsd = realloc(self->tsd, sizeof(*tsd) + count * sizeof(slot_t));
    if (!tsd)
        return false;
    if (before == 0)
        memset(tsd, 0, sizeof(*tsd));
    memset(&tsd->slots[before], 0, (count - before) * sizeof(slot_t));
    tsd->count = count;
    self->tsd = tsd;
    return true;
}

static bool end_value(slot_t *slot, const key_entry_t *key)
{
    void *value = slot->value;

    slot->value = NULL;
    if (!value || slot->seq != key->seq || (key->seq & 1) == 0 || !key->destructor)
        return false;
    key->destructor(value);
    return true;
}

/* A destructor may set values again: as POSIX requires, there are several rounds. */
static void end_values(stiol__thread_t *self)
{
    bool again = true;

    for (int round = 0; again && round < PTHREAD_DESTRUCTOR_ITERATIONS; round++) {
        slot_t *slot;

        again = false;
        for (pthread_key_t key = 0; (slot = slot_of(self->tsd, key)); key++)
            again |= end_value(slot, &keys[key]);
    }
}

static void free_set(stiol__tsd_t *tsd)
{
    stiol__tls_free(tsd->contents);
    free(tsd);
}

/* Keeps the set for the next thread that asks. False: there is no room, or no memory. */
static bool keep(stiol__vp_t *vp, stiol__thread_t *self)
{
    stiol__tsd_t *tsd = self->tsd;

    if (!tsd || self->ours || (vp->tsd_cached >= vp->config.tsd_cache && keys != own_keys))
        return false;
    if (stiol__tls_save(vp, &tsd->contents) != 0)
        return false;
    tsd->farewells = self->farewells;
    self->farewells = NULL;
    self->tsd = NULL;
    tsd->next = vp->tsd_cache;
    vp->tsd_cache = tsd;
    vp->tsd_cached++;
    return true;
}

static stiol__tsd_t *take(stiol__vp_t *vp)
{
    stiol__tsd_t *tsd = vp->tsd_cache;

    vp->tsd_cache = tsd->next;
    vp->tsd_cached--;
    return tsd;
}

/* A set of the cache becomes the calling thread's, with all that belongs to it. */
static void adopt(stiol__thread_t *self, stiol__tsd_t *tsd)
{
    self->tsd = tsd;
    self->farewells = tsd->farewells;
    tsd->farewells = NULL;
    stiol__tls_load(self->vp, tsd->contents);
    stiol__tls_free(tsd->contents);
    tsd->contents = NULL;
}

void stiol_inherit(void)
{
    stiol__vp_t *vp = stiol__here();
    stiol__thread_t *self = vp ? stiol__self(vp) : NULL;

    if (!self || self->primordial || self->ours || self->tsd)
        return;
    if (vp->tsd_cache)
        adopt(self, take(vp));
}

/* In glibc's order. */
static void end_all(stiol__thread_t *self)
{
    stiol__say_farewells(self);
    end_values(self);
    stiol__resolver_end();
}

/* Called on the ending thread. It may yield: destructors are foreign code. */
void stiol__tsd_end(stiol__thread_t *self)
{
    if (STIOL_OFF(STIOL_NO_TSD_END) || keep(self->vp, self))
        return;
    end_all(self);
    if (self->tsd)
        free_set(self->tsd);
    self->tsd = NULL;
}

/* The destructors look up other values and variables: meanwhile the set belongs to the primordial
 * thread. */
static void end_as(stiol__thread_t *self, stiol__tsd_t *tsd)
{
    stiol__farewell_t *farewells = self->farewells;
    stiol__contents_t *own;

    if (stiol__tls_save(self->vp, &own) != 0)
        return;
    adopt(self, tsd);
    self->primordial = false;
    end_all(self);
    self->primordial = true;
    free_set(self->tsd);
    self->tsd = NULL;
    self->farewells = farewells;
    stiol__tls_load(self->vp, own);
    stiol__tls_free(own);
}

/** Destroys the sets that no thread has; called on the primordial thread, with STIOL still
 * active. */
void stiol__tsd_stop(stiol__vp_t *vp)
{
    stiol__thread_t *self = vp->tsd_cache ? stiol__self(vp) : NULL;

    while (self && vp->tsd_cache) {
        stiol__tsd_t *tsd = take(vp);

        if (keys != own_keys)
            end_as(self, tsd);
        else
            free_set(tsd);
    }
}

/* --- the replacements --- */

/* The state thread's record, or NULL: the real values are meant. */
static stiol__thread_t *holder(stiol__vp_t *vp)
{
    stiol__thread_t *self;

    if (STIOL_OFF(STIOL_NO_TSD))
        return NULL;
    self = vp ? stiol__self(vp) : stiol__identified(); /* in a handler, or a child */
    return self && !self->primordial ? self : NULL;
}

void *stiol__pthread_getspecific(pthread_key_t key)
{
    stiol__thread_t *self = holder(STIOL_ENTER(tsd, pthread_getspecific, key));
    slot_t *slot;

    if (!self)
        return pthread_getspecific(key);
    slot = slot_of(self->tsd, key);
    return slot && slot->seq == keys[key].seq ? slot->value : NULL;
}

int stiol__pthread_setspecific(pthread_key_t key, const void *value)
{
    stiol__thread_t *self = holder(STIOL_ENTER(tsd, pthread_setspecific, key));

    if (!self)
        return pthread_setspecific(key, value);
    if (key >= PTHREAD_KEYS_MAX || (keys[key].seq & 1) == 0)
        return EINVAL;
    if (!value && !slot_of(self->tsd, key))
        return 0;
    if (!make_room(self, key))
        return ENOMEM;
    *slot_of(self->tsd, key) = (slot_t){.value = (void *)(uintptr_t)value, .seq = keys[key].seq};
    return 0;
}

int stiol__pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    int rc;

    (void)STIOL_ENTER(tsd, pthread_key_create, 0);
    rc = pthread_key_create(key, destructor);
    if (rc == 0 && *key < PTHREAD_KEYS_MAX) {
        own_keys[*key].seq += 2;
        own_keys[*key].destructor = destructor;
    }
    return rc;
}

int stiol__pthread_key_delete(pthread_key_t key)
{
    int rc;

    (void)STIOL_ENTER(tsd, pthread_key_delete, key);
    rc = pthread_key_delete(key);
    if (rc == 0 && key < PTHREAD_KEYS_MAX) {
        own_keys[key].seq += 2;
        own_keys[key].destructor = NULL;
    }
    return rc;
}

/* C11's keys are POSIX's. */
int stiol__tss_create(tss_t *key, tss_dtor_t destructor)
{
    return stiol__pthread_key_create(key, destructor) == 0 ? thrd_success : thrd_error;
}

void stiol__tss_delete(tss_t key)
{
    (void)stiol__pthread_key_delete(key);
}

void *stiol__tss_get(tss_t key)
{
    return stiol__pthread_getspecific(key);
}

int stiol__tss_set(tss_t key, void *value)
{
    return stiol__pthread_setspecific(key, value) == 0 ? thrd_success : thrd_error;
}
