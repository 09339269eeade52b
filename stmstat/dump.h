/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stmstat dump: backtraces of a VP's state threads, taken from outside of its process. dump.c has
 * the command, dump_files.c the objects that the process has loaded, dump_stop.c stops its kernel
 * threads, dump_copy.c copies what is needed, dump_unwind.c makes backtraces of the copies, and
 * dump_apart.c runs that in a process without privileges.
 *
 * The VP may be damaged or taken over: whatever is read from it may be anything.
 */
#ifndef STMSTAT_DUMP_H
#define STMSTAT_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "stmstat/walk.h"

/* In the order of DWARF's numbers: x86-64 has 16 and the return address, AArch64 x0 to x30 and
 * sp. */
enum { DUMP_REGISTERS = 33 };

typedef struct {
    uint64_t reg[DUMP_REGISTERS];
    uint64_t pc, sp;
} dump_registers_t;

/** The stack of a thread, from its innermost frame. */
typedef struct {
    uint64_t low;
    size_t size;         /**< as far as its pages were copied */
    const char *missing; /**< why nothing was */
    dump_registers_t registers;
    bool parked; /**< pc is a return address */
} dump_stack_t;

enum { DUMP_LINE = 512 };

/** A state thread. */
typedef struct {
    walk_thread_t walked;
    dump_stack_t stack;
    const char *state;
    bool kernel; /**< a kernel thread serves its request */
    int helper;  /**< the kernel thread that works for it; 0: none */
    char client[64];
    char request[DUMP_LINE];        /**< as the client sent it, cut off at a null */
    uint64_t request_age, conn_age; /**< us; 0: none */
} dump_thread_t;

/** A kernel thread of the process. */
typedef struct {
    int tid;
    char name[16];
    bool stopped;
    bool seized;
    int signal; /**< was being delivered when it was stopped: it gets it when it goes on */
    bool taken; /**< its stack is that of a state thread */
    int served; /**< 1 + the number of the state thread that it works for; 0: none */
    dump_stack_t stack;
} dump_kernel_t;

/** An object that is loaded. */
typedef struct {
    char *name;
    int fd;
    uint64_t low, end;
} dump_file_t;

typedef struct {
    pid_t pid;
    dump_file_t *file;
    size_t files;
    uint64_t description;
    dump_thread_t *thread;
    size_t threads, thread_room;
    dump_kernel_t *kernel;
    size_t kernels, kernel_room;
    bool stopped;          /**< all kernel threads stood still while it was copied */
    const char *unstopped; /**< why not; NULL: they did */
    int walk_error;        /**< of walk_threads() */
    uint64_t deadline;     /**< for copying, us of the monotonic clock */
    uint64_t stood_still;  /**< us */
} dump_t;

/* --- dump_files.c --- */

/** Opens the objects that the process has loaded. False with errno. */
bool dump_files_open(dump_t *dump);
void dump_files_close(dump_t *dump);

/* --- dump_stop.c --- */

/** Stops all kernel threads of the process and notes their registers. What cannot be stopped is
 * noted, too. */
void dump_stop(dump_t *dump);
/** Lets those go on that stand still. Again later: those that have stopped only now. */
void dump_go_on(dump_t *dump);

/* --- dump_pages.c: copies of its memory; there is one set of them --- */

enum { DUMP_PAGE = 4096 };
/** False: no memory. */
bool dump_pages_open(void);
void dump_pages_close(void);
/** Reads all pages again that have been asked for so far. */
void dump_pages_refresh(const dump_t *dump);
/** Reads those of these pages that are not known, in one go. */
void dump_pages_want(const dump_t *dump, uint64_t address, size_t size);
/** From here on, there are only the copies. */
void dump_pages_finish(void);
/** Copies size bytes at address; false with errno if that is not all there. */
bool dump_read(const dump_t *dump, uint64_t address, void *to, size_t size);
/** As much of it as is there, from its beginning. Returns how many bytes. to: may be NULL. */
size_t dump_read_up(const dump_t *dump, uint64_t address, void *to, size_t size);

/* --- dump_copy.c --- */

uint64_t dump_clock(void);
/** Finds the state threads, copies the stacks of all and what is known about their requests.
 * What was found before is forgotten. */
void dump_copy(dump_t *dump);
/** Finds, on the copies, who works for whom. */
void dump_match(dump_t *dump);

/* --- dump_apart.c --- */

/** Runs work() in a child without privileges, with limits of time and memory. What it writes is
 * passed to put(), a line each without what is not printable; meanwhile() is called now and then.
 * False: the child did not end as it should. */
bool dump_apart(void (*work)(const dump_t *dump, FILE *out), dump_t *dump,
                void (*put)(void *baton, const char *line), void *baton,
                void (*meanwhile)(dump_t *dump));

/* --- dump_unwind.c: libdw; work for dump_apart() --- */

/** Whether this stmstat can. */
bool dump_can_unwind(void);
/** Writes the address of the module's description in hexadecimal, if there is one. */
void dump_locate(const dump_t *dump, FILE *out);
/** Writes the backtraces. */
void dump_backtraces(const dump_t *dump, FILE *out);

/* --- dump.c --- */

/** stmstat dump VP. Returns the exit status. */
int dump_run(int count, char **arguments);

#endif
