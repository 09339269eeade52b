/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look-ups in the databases of nsswitch.conf(5), and each state thread's results of calls that
 * return a pointer to memory of their own. Used by users.c, services.c and resolve.c.
 */
#include "stiol/stiol_int.h"

#include "stiol/entry.h"

enum {
    FIRST_SIZE = 1024,   /* bytes, of a buffer; */
    MOST_SIZE = 1 << 20, /* enough for a group with 30,000 members */
};

/* All databases are treated as one service: if it is dead, there are still helpers for hosts. */
enum { USERS = 4 };

typedef struct place {
    union {
        struct passwd passwd;
        struct group group;
        struct spwd shadow;
        struct servent service;
        struct protoent protocol;
        struct netent network;
        struct hostent host;
    } entry;
    char *buffer;
    size_t size;
} place_t;

struct stiol__entries {
    place_t places[STIOL_OWN_PLACES];
};

void stiol__entries_free(stiol__thread_t *self)
{
    if (!self->entries)
        return;
    for (int i = 0; i < STIOL_OWN_PLACES; i++)
        free(self->entries->places[i].buffer);
    free(self->entries);
    self->entries = NULL;
}

static place_t *place_of(stiol__vp_t *vp, stiol__own_t which)
{
    stiol__thread_t *self = stiol__self(vp);

    if (self && !self->entries)
        self->entries = calloc(1, sizeof(*self->entries));
    return self && self->entries ? &self->entries->places[which] : NULL;
}

int stiol__ask_into(stiol__vp_t *vp, stiol__nss_t database, stiol__ask_t *ask)
{
    if (!vp || stiol__nss_is_local(database)) {
        ask->job.run(&ask->job);
        return ask->rc;
    }
    ask->job.group = USERS;
    ask->job.about = ask->name;
    STIOL_HELP(vp, resolve, STIOL_HELP_RESOLVE, &ask->job);
    return ask->rc;
}

/* Doubles the size; false: no memory, or the maximum has been reached. */
static bool grow(place_t *place)
{
    size_t size = place->size == 0 ? FIRST_SIZE : 2 * place->size;
    char *buffer = size <= MOST_SIZE ? realloc(place->buffer, size) : NULL;

    if (!buffer)
        return false;
    place->buffer = buffer;
    place->size = size;
    return true;
}

char *stiol__own_buffer(stiol__vp_t *vp, stiol__own_t which, size_t size)
{
    place_t *place = place_of(vp, which);

    while (place && place->size < size)
        if (!grow(place))
            return NULL;
    return place ? place->buffer : NULL;
}

/* Calls that find nothing report this by a NULL result, by an error, or by both. */
void *stiol__ask_own(stiol__vp_t *vp, stiol__nss_t database, stiol__own_t which, stiol__ask_t *ask)
{
    place_t *place = place_of(vp, which);
    void *result = NULL;
    int rc = ENOMEM;

    if (place && (place->size > 0 || grow(place))) {
        ask->entry = &place->entry;
        ask->result = &result;
        do {
            ask->buffer = place->buffer;
            ask->size = place->size;
            rc = stiol__ask_into(vp, database, ask);
        } while (rc == ERANGE && grow(place));
    }
    if (rc != 0)
        errno = rc;
    return rc == 0 ? result : NULL;
}
