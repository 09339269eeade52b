/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the state threads of another process with the help of libst's description of its
 * structures. Trusts nothing that it reads: the process may be damaged or hostile, and may be
 * running. Called by dump_copy.c, and by a test in the process itself.
 */
#ifndef WALK_H
#define WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t address;    /* of its struct st_thread */
    uint64_t sp;         /* saved stack pointer; meaningless while it runs */
    uint64_t low, end;   /* its stack; both 0: it uses the kernel thread's */
    uint64_t start, arg; /* its start function and the argument */
    /* If its stack rests: the lowest of its pages that were given back, and where in the process
     * their words are kept, packed as st/words.h says, from sp to the end; else both 0. */
    uint64_t rest_low, rest_words;
    int tid;        /* the kernel thread of its VP */
    unsigned state; /* enum st__state; may be anything if damaged */
    bool current;   /* according to the VP, it is the running one */
} walk_thread_t;

typedef struct {
    /* Copies size bytes at address in the process; returns false if they cannot be read. */
    bool (*read)(void *baton, uint64_t address, void *to, size_t size);
    /* Called for each thread; *thread is valid during the call only. */
    void (*found)(void *baton, const walk_thread_t *thread);
    void *baton;
} walk_ops_t;

/* Calls ops->found() for each state thread that passes the checks. description: the address of the
 * struct st__layout in the process. Returns 0 or an errno value: ENOTSUP if the description is of
 * an unknown version, EFAULT if memory cannot be read, EBADMSG if structures cannot be right.
 * Threads found before an error have been reported. */
int walk_threads(const walk_ops_t *ops, uint64_t description);

#endif /* WALK_H */
