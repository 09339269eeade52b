/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stmstat dump: backtraces of a VP's state threads, taken from outside its process. dump.c has the
 * command, dump_files.c opens the objects that the process has loaded, dump_stop.c stops its kernel
 * threads, dump_copy.c copies what is needed, dump_unwind.c unwinds the copied stacks, and
 * dump_apart.c runs that in a process without privileges.
 *
 * The VP may be damaged or under an attacker's control: nothing that is read from it is trusted.
 */
#ifndef STMSTAT_DUMP_H
#define STMSTAT_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "stmstat/walk.h"

/* By DWARF number: on x86-64, 16 registers and the return address; on AArch64, x0 to x30 and sp. */
enum { DUMP_REGISTERS = 33 };

typedef struct {
    uint64_t reg[DUMP_REGISTERS];
    uint64_t pc, sp;
} dump_registers_t;

/** The stack of a thread, from its innermost frame outwards. */
typedef struct {
    uint64_t low;
    size_t size;         /**< bytes copied; 0: none */
    const char *missing; /**< why none were copied */
    dump_registers_t registers;
    bool parked; /**< pc is a return address */
} dump_stack_t;

enum { DUMP_LINE = 512 };

/** A state thread. */
typedef struct {
    walk_thread_t walked;
    dump_stack_t stack;
    const char *state;
    bool kernel; /**< its request runs on a kernel thread */
    int helper;  /**< ID of the kernel thread that works for it; 0: none */
    char client[64];
    char request[DUMP_LINE];        /**< as the client sent it, up to the first null */
    uint64_t request_age, conn_age; /**< us; 0: none */
} dump_thread_t;

/** A kernel thread of the process. */
typedef struct {
    int tid;
    char name[16];
    bool stopped;
    bool seized;
    int signal; /**< was about to be delivered when it stopped; delivered when it continues */
    bool taken; /**< it runs on a state thread's stack */
    int served; /**< 1 + the index of the state thread that it works for; 0: none */
    dump_stack_t stack;
} dump_kernel_t;

/** A loaded object. */
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
    bool stopped;          /**< all kernel threads were stopped during the copying */
    const char *unstopped; /**< why they were not; NULL: they were */
    int walk_error;        /**< of walk_threads() */
    uint64_t deadline;     /**< for copying, us on the monotonic clock */
    uint64_t stood_still;  /**< how long it was stopped, us */
} dump_t;

/* --- dump_files.c --- */

/** Opens the objects that the process has loaded. Returns false with errno set if that fails. */
bool dump_files_open(dump_t *dump);
/** Closes them. Safe to call if dump_files_open() has failed or was not called. */
void dump_files_close(dump_t *dump);

/* --- dump_stop.c --- */

/** Stops all kernel threads of the process and records their registers. Also records which could
 * not be stopped, and why. Waits up to 0.1 s. */
void dump_stop(dump_t *dump);
/** Lets all stopped threads continue. To be called again for those that stop only afterwards. */
void dump_go_on(dump_t *dump);

/* --- dump_pages.c: copies of its memory; there is only one set of them --- */

enum { DUMP_PAGE = 4096 };
/** Prepares an empty set. Returns false if there is no memory for it. */
bool dump_pages_open(void);
/** Frees the copies. */
void dump_pages_close(void);
/** Reads all pages that have been asked for so far once more. */
void dump_pages_refresh(const dump_t *dump);
/** Reads in one go those pages of this range of `size` bytes that have not been read yet. */
void dump_pages_want(const dump_t *dump, uint64_t address, size_t size);
/** Makes the copies of these whole pages zeros, until the next refresh. */
void dump_pages_blank(const dump_t *dump, uint64_t address, size_t size);
/** Changes a word in a page that has been copied. Returns false if it has not been. */
bool dump_pages_put(uint64_t address, uint64_t word);
/** From now on, reads are answered from the copies alone. */
void dump_pages_finish(void);
/** Copies size bytes at address. Returns false with errno set unless all of them are available. */
bool dump_read(const dump_t *dump, uint64_t address, void *to, size_t size);
/** Copies as many of the bytes as are available from the address on, and returns how many. With
 * NULL for `to`, only counts them. */
size_t dump_read_up(const dump_t *dump, uint64_t address, void *to, size_t size);

/* --- dump_copy.c --- */

/** The monotonic clock, us. */
uint64_t dump_clock(void);
/** Finds the state threads and copies all stacks and what is known about the requests. Discards
 * what an earlier call found. */
void dump_copy(dump_t *dump);
/** Finds out, from the copies, which kernel threads work for which state threads. */
void dump_match(dump_t *dump);

/* --- dump_apart.c --- */

/** Runs work() in a child process without privileges, with limits on time and memory. Each line
 * that it writes is passed to put(), with ? in place of unprintable characters; meanwhile(), unless
 * NULL, is called every 0.1 s or more often. Returns false if the child could not be started or
 * failed. */
bool dump_apart(void (*work)(const dump_t *dump, FILE *out), dump_t *dump,
                void (*put)(void *baton, const char *line), void *baton,
                void (*meanwhile)(dump_t *dump));

/* --- dump_unwind.c: libdw; work for dump_apart() --- */

/** Whether this stmstat was built with libdw. */
bool dump_can_unwind(void);
/** Writes the address of the module's description in hexadecimal, if it has one. */
void dump_locate(const dump_t *dump, FILE *out);
/** Writes the backtraces of all threads. */
void dump_backtraces(const dump_t *dump, FILE *out);

/* --- dump.c --- */

/** Carries out stmstat dump VP; the arguments are those after "dump". Returns the exit status. */
int dump_run(int count, char **arguments);

#endif
