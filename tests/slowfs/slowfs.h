/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slowfs, a file system that takes its time: what its files share. main.c mounts and loops, tree.c
 * has the files, calls.c answers the kernel, gate.c decides when, control.c reads commands.
 * All of it runs on one thread; a call that waits is a record in the gate's list.
 */
#ifndef STM_TESTS_SLOWFS_H
#define STM_TESTS_SLOWFS_H

#define FUSE_USE_VERSION 31

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>

/* --- kinds of calls --- */

/* X(name): the kinds of calls that can be delayed, held and counted. */
#define CALL_KINDS(X)                                                                              \
    X(lookup)                                                                                      \
    X(getattr)                                                                                     \
    X(setattr)                                                                                     \
    X(access)                                                                                      \
    X(readlink)                                                                                    \
    X(open)                                                                                        \
    X(create)                                                                                      \
    X(read)                                                                                        \
    X(write)                                                                                       \
    X(flush)                                                                                       \
    X(fsync)                                                                                       \
    X(opendir)                                                                                     \
    X(readdir)                                                                                     \
    X(mkdir)                                                                                       \
    X(unlink)                                                                                      \
    X(rename)                                                                                      \
    X(statfs)

enum kind {
#define X(name) CALL_##name,
    CALL_KINDS(X)
#undef X
        CALL_COUNT
};

extern const char *const kind_names[CALL_COUNT];

/* --- files (tree.c) --- */

struct node {
    struct node *parent, *next, *children;
    char *name;
    mode_t mode;
    ino_t number; /* st_ino */
    size_t size;
    char *data;   /* NULL: `size` bytes of the pattern */
    char *target; /* of a symbolic link */
    struct timespec changed;
    unsigned in_flight[CALL_COUNT + 1]; /* calls, as counted by the gate */
};

/* Byte `i` of a generated file is i modulo this. */
#define PATTERN_PERIOD 251

extern struct node tree_root;

struct node *tree_child(const struct node *folder, const char *name);
/* A new child; NULL without memory. */
struct node *tree_add(struct node *folder, const char *name, mode_t mode);
/* Generated files: "NAME:SIZE[:COUNT]". COUNT files get a number, from 0, in place of '#' in NAME;
 * folders in NAME are made. False if `text` is no such thing. */
bool tree_generate(const char *text);
/* Takes `node` out of its folder. It is not freed: the kernel may still ask for it. */
void tree_remove(struct node *node);
void tree_move(struct node *node, struct node *folder, const char *name);
/* 0 or an errno. */
int tree_resize(struct node *node, size_t size);
int tree_write(struct node *node, const char *data, size_t length, size_t offset);
void tree_stat(const struct node *node, struct stat *into);

/* --- what the kernel asks (calls.c), and when it is answered (gate.c) --- */

struct call {
    TAILQ_ENTRY(call) link;
    fuse_req_t request;
    enum kind kind;
    void (*answer)(struct call *call);
    int64_t due; /* us, monotonic clock */
    bool held, interrupted;
    struct node *node;   /* the folder, for calls that name something in it */
    struct node *folder; /* rename: the new one */
    char *name, *text;   /* owned; text: rename's new name, symlink's target, write's data */
    size_t size;         /* read, readdir, write */
    off_t offset;
    mode_t mode;            /* create, mkdir; 0: an unlink */
    struct stat attributes; /* setattr, with `mask` */
    int mask;
    struct fuse_file_info file;
    bool has_file;
};

extern const struct fuse_lowlevel_ops call_table;

/* Answers the call at once or later, and frees it. */
void gate_enter(struct call *call);
/* Answers what is due, and returns the ms until the next is due; -1: none. */
int gate_turn(void);
/* Answers everything. */
void gate_open(void);

/* files: how many of them (for a name in a folder, the folder) have calls in flight. */
struct counts {
    unsigned in_flight, peak, total, held, files;
};

/* How the file system behaves; changed by commands at any time. */
struct settings {
    int64_t delay[CALL_COUNT]; /* us */
    char *hold[CALL_COUNT];    /* pattern of the names that wait to be released; NULL: none */
    struct counts counts[CALL_COUNT + 1]; /* the last: all kinds together */
    double timeout;     /* seconds for which the kernel may keep names and attributes */
    bool direct;        /* reads and writes bypass the kernel's page cache */
    bool keep;          /* the page cache of a file outlives its last close */
    bool interruptible; /* a signal ends a wait with EINTR, as on a mount with "intr" */
};

extern struct settings settings;

/* --- commands (control.c) --- */

/* Reads what is on standard input and does it. False at its end. */
bool control_read(void);

int64_t now_us(void);

#endif
