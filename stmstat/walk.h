/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the state threads of another process by libst's own description of its structures. Trusts
 * nothing that it reads: the process may be damaged or hostile, and may change meanwhile.
 */
#ifndef WALK_H
#define WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t address;    /* of its struct st_thread */
    uint64_t sp;         /* saved; means nothing while it runs */
    uint64_t low, end;   /* its stack; both 0: the kernel thread's own */
    uint64_t start, arg; /* its function, and what that got */
    int tid;             /* the kernel thread of its VP */
    unsigned state;      /* enum st__state, or anything else if damaged */
    bool current;        /* the VP says that it is the one that runs */
} walk_thread_t;

typedef struct {
    /* Copies size bytes at address in the process; false if they cannot be had. */
    bool (*read)(void *baton, uint64_t address, void *to, size_t size);
    void (*found)(void *baton, const walk_thread_t *thread);
    void *baton;
} walk_ops_t;

/* Reports each state thread that passes the checks. description: its address in the process.
 * Returns 0; ENOTSUP: no description of a version known here; EFAULT: memory that cannot be read;
 * EBADMSG: structures that cannot be right. What was found before an error has been reported. */
int walk_threads(const walk_ops_t *ops, uint64_t description);

#endif /* WALK_H */
