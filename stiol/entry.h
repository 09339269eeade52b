/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look-ups in the databases of nsswitch.conf(5), which may be on other machines: on a helper,
 * unless the database is known to be local. The core of users.c and services.c.
 */
#ifndef STIOL_ENTRY_H
#define STIOL_ENTRY_H

#include <stddef.h>

#include "stiol/helper.h"
#include "stiol/nss.h"

#pragma GCC visibility push(hidden)

/** Functions whose result is not in the caller's memory: each state thread has a result of each. */
typedef enum {
    STIOL_OWN_GETPWNAM,
    STIOL_OWN_GETPWUID,
    STIOL_OWN_GETPWENT,
    STIOL_OWN_GETGRNAM,
    STIOL_OWN_GETGRGID,
    STIOL_OWN_GETGRENT,
    STIOL_OWN_GETSPNAM,
    STIOL_OWN_GETSPENT,
    STIOL_OWN_GETSERVBYNAME,
    STIOL_OWN_GETSERVBYPORT,
    STIOL_OWN_GETSERVENT,
    STIOL_OWN_GETPROTOBYNAME,
    STIOL_OWN_GETPROTOBYNUMBER,
    STIOL_OWN_GETPROTOENT,
    STIOL_OWN_GETNETBYNAME,
    STIOL_OWN_GETNETBYADDR,
    STIOL_OWN_GETNETENT,
    STIOL_OWN_GETHOSTENT,
    STIOL_OWN_GETHOSTBYNAME,
    STIOL_OWN_GETHOSTBYNAME2,
    STIOL_OWN_GETHOSTBYADDR,
    STIOL_OWN_GETNETGRENT,
    STIOL_OWN_PLACES
} stiol__own_t;

/** The arguments of a look-up and where its result goes; run() makes the call. */
typedef struct stiol__ask {
    stiol__job_t job;
    const char *name, *names[3]; /* the first one, and more */
    long number;
    int kind;
    void *entry; /* of the call's own type, as is *result */
    char *buffer;
    size_t size; /* of buffer, bytes */
    void *result;
    int *herror, rc;
} stiol__ask_t;

/** Runs ask->job.run on a helper, or directly if vp is NULL or the database is local. Returns
 * ask->rc. */
int stiol__ask_into(struct stiol__vp *vp, stiol__nss_t database, stiol__ask_t *ask);

/** The same, with the result in the calling state thread's memory: valid until its next call of
 * that function. NULL with errno if there is none. */
void *stiol__ask_own(struct stiol__vp *vp, stiol__nss_t database, stiol__own_t which,
                     stiol__ask_t *ask);

/** The memory of that place, at least `size` bytes; NULL if there is none available. */
char *stiol__own_buffer(struct stiol__vp *vp, stiol__own_t which, size_t size);

struct stiol__thread;

/** Called when a state thread ends. */
void stiol__entries_free(struct stiol__thread *self);

/* Definitions of the replacements; calls of a kind differ only in names and types. */

/** A job's run(): evaluates an expression of `ask`, which is the call. */
#define STIOL_ASK(name, call)                                                                      \
    static void run_##name(stiol__job_t *job)                                                      \
    {                                                                                              \
        stiol__ask_t *ask = (stiol__ask_t *)job;                                                   \
                                                                                                   \
        ask->rc = (call);                                                                          \
    }

/** The last arguments of a call with _r. */
#define STIOL_ASK_ENTRY ask->entry, ask->buffer, ask->size, ask->result

#define STIOL_UNWRAP(...) __VA_ARGS__

/**
 * name_r(), whose result goes to the caller's memory, and name(), whose result is in the state
 * thread's.
 *
 * @param parameters those that say what to look up, in parentheses
 * @param arguments  the same as arguments, in parentheses
 * @param fields     the same as initialisers of a stiol__ask_t, in parentheses
 */
#define STIOL_ASK_BY(type, name, own, database, parameters, arguments, fields)                     \
    int stiol__##name##_r(STIOL_UNWRAP parameters, struct type *restrict entry,                    \
                          char *restrict buffer, size_t size, struct type **restrict result)       \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(resolve, name##_r, 0);                                       \
        stiol__ask_t ask = {.job.run = run_##name,                                                 \
                            .entry = entry,                                                        \
                            .buffer = buffer,                                                      \
                            .size = size,                                                          \
                            .result = result,                                                      \
                            STIOL_UNWRAP fields};                                                  \
                                                                                                   \
        return stiol__ask_into(vp, database, &ask);                                                \
    }                                                                                              \
                                                                                                   \
    struct type *stiol__##name(STIOL_UNWRAP parameters)                                            \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(resolve, name, 0);                                           \
        stiol__ask_t ask = {.job.run = run_##name, STIOL_UNWRAP fields};                           \
                                                                                                   \
        return !vp ? name arguments : stiol__ask_own(vp, database, own, &ask);                     \
    }

/** The same for calls that also set an h_errno. */
#define STIOL_ASK_HOST_BY(type, name, own, database, parameters, arguments, fields)                \
    int stiol__##name##_r(STIOL_UNWRAP parameters, struct type *restrict entry,                    \
                          char *restrict buffer, size_t size, struct type **restrict result,       \
                          int *restrict herror)                                                    \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(resolve, name##_r, 0);                                       \
        stiol__ask_t ask = {.job.run = run_##name,                                                 \
                            .entry = entry,                                                        \
                            .buffer = buffer,                                                      \
                            .size = size,                                                          \
                            .result = result,                                                      \
                            .herror = herror,                                                      \
                            STIOL_UNWRAP fields};                                                  \
                                                                                                   \
        return stiol__ask_into(vp, database, &ask);                                                \
    }                                                                                              \
                                                                                                   \
    struct type *stiol__##name(STIOL_UNWRAP parameters)                                            \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(resolve, name, 0);                                           \
        int herror = 0;                                                                            \
        stiol__ask_t ask = {.job.run = run_##name, .herror = &herror, STIOL_UNWRAP fields};        \
        struct type *found = !vp ? name arguments : stiol__ask_own(vp, database, own, &ask);       \
                                                                                                   \
        if (vp && !found)                                                                          \
            h_errno = herror;                                                                      \
        return found;                                                                              \
    }

/** name_r() and name(): the next entry. */
#define STIOL_ASK_NEXT(type, name, own, database)                                                  \
    int stiol__##name##_r(struct type *restrict entry, char *restrict buffer, size_t size,         \
                          struct type **restrict result)                                           \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(resolve, name##_r, 0);                                       \
        stiol__ask_t ask = {.job.run = run_##name,                                                 \
                            .entry = entry,                                                        \
                            .buffer = buffer,                                                      \
                            .size = size,                                                          \
                            .result = result};                                                     \
                                                                                                   \
        return stiol__ask_into(vp, database, &ask);                                                \
    }                                                                                              \
                                                                                                   \
    struct type *stiol__##name(void)                                                               \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(resolve, name, 0);                                           \
        stiol__ask_t ask = {.job.run = run_##name};                                                \
                                                                                                   \
        return !vp ? name() : stiol__ask_own(vp, database, own, &ask);                             \
    }

#define STIOL_ASK_HOST_NEXT(type, name, own, database)                                             \
    int stiol__##name##_r(struct type *restrict entry, char *restrict buffer, size_t size,         \
                          struct type **restrict result, int *restrict herror)                     \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(resolve, name##_r, 0);                                       \
        stiol__ask_t ask = {.job.run = run_##name,                                                 \
                            .entry = entry,                                                        \
                            .buffer = buffer,                                                      \
                            .size = size,                                                          \
                            .result = result,                                                      \
                            .herror = herror};                                                     \
                                                                                                   \
        return stiol__ask_into(vp, database, &ask);                                                \
    }                                                                                              \
                                                                                                   \
    struct type *stiol__##name(void)                                                               \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(resolve, name, 0);                                           \
        int herror = 0;                                                                            \
        stiol__ask_t ask = {.job.run = run_##name, .herror = &herror};                             \
                                                                                                   \
        return !vp ? name() : stiol__ask_own(vp, database, own, &ask);                             \
    }

/** Calls that go to the first entry, and that end; the position is the process's. */
#define STIOL_ASK_AROUND(name, database)                                                           \
    STIOL_ASK(name, ((name)(), 0))                                                                 \
    void stiol__##name(void)                                                                       \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(resolve, name, 0);                                           \
        stiol__ask_t ask = {.job.run = run_##name};                                                \
                                                                                                   \
        (void)stiol__ask_into(vp, database, &ask);                                                 \
    }

/** The same, with an argument that says whether files stay open. */
#define STIOL_ASK_AROUND_OPEN(name, database)                                                      \
    STIOL_ASK(name, ((name)(ask->kind), 0))                                                        \
    void stiol__##name(int stay_open)                                                              \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(resolve, name, 0);                                           \
        stiol__ask_t ask = {.job.run = run_##name, .kind = stay_open};                             \
                                                                                                   \
        (void)stiol__ask_into(vp, database, &ask);                                                 \
    }

#pragma GCC visibility pop

#endif /* STIOL_ENTRY_H */
