/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on files, shared by the files of that name: which file systems can make a call wait
 * (filesystems.c), and how a call goes to a helper (file.c).
 */
#ifndef STIOL_FILE_H
#define STIOL_FILE_H

#include "stiol/fd.h"
#include "stiol/transfer.h"

#pragma GCC visibility push(hidden)

/* --- filesystems.c --- */

/** What to do with a call on a path or a file. */
typedef enum {
    STIOL_FS_NOW,      /* make the call directly, and time it */
    STIOL_FS_PATIENT,  /* on a helper: it may take long, or what it needs is not in memory */
    STIOL_FS_MEMORY,   /* make the call directly: nothing there waits for a device */
    STIOL_FS_NOT_THERE /* what should be its directory is not one */
} stiol__fs_verdict_t;

typedef struct stiol__filesystems stiol__filesystems_t;

/** Reads the table of mounts, or takes it from the configuration. Returns 0, or -1 if there is no
 * memory. Called by stiol.c when the VP starts. */
int stiol__filesystems_start(stiol__vp_t *vp);
/** Frees it. Called by stiol.c when the VP ends. */
void stiol__filesystems_stop(stiol__vp_t *vp);

/** Whether there is something at that address: programs ask access() and the like just that, so
 * all that reads a path here, and not in the kernel, asks first. Takes a system call. Neither
 * yields nor waits; keeps errno. */
bool stiol__is_readable(const char *path);
/** The verdict on a path, relative to dir as in openat(), unless that is known to be fast. `made`:
 * the call may create or remove the last component, so its directory counts. `group`: for the
 * helper. Neither yields nor waits. */
stiol__fs_verdict_t stiol__path_look(stiol__vp_t *vp, int dir, const char *path, bool made,
                                     uint64_t *group);
/** The verdict on a call that creates, removes or changes what the path names: it writes to the
 * device's journal, which may be busy, so it runs on a helper unless the file system is in
 * memory. */
stiol__fs_verdict_t stiol__change_verdict(stiol__vp_t *vp, int dir, const char *path,
                                          uint64_t *group);
/** The same when openat2() has said that the name is not in memory. */
stiol__fs_verdict_t stiol__uncached_verdict(stiol__vp_t *vp, int dir, const char *path,
                                            uint64_t *group);
/** Whether there is no point in asking openat2() about this path: it cannot tell, and the call will
 * not wait. */
bool stiol__is_unaskable(const stiol__vp_t *vp, int dir, const char *path);
/** Classifies a regular file or directory by the device that statx() gave. */
stiol__fd_class_t stiol__device_class(unsigned major, unsigned minor, bool directory);
/** The device of an open file, for the helper; 0 if unknown. Does not wait. */
uint64_t stiol__fd_group(int fd);
/** A file's device cannot tell what is in memory: remembers that, and classifies the file. */
stiol__fd_class_t stiol__fd_is_mute(int fd);
/** statx() that does not ask a server; -1 on failure. */
int stiol__look_at(int fd, struct statx *st);

/** A call on a path was made directly and took long: remembers that its device may be slow. */
void stiol__path_was_slow(stiol__vp_t *vp, int dir, const char *path);
/** The same for a call on a descriptor. */
void stiol__fd_was_slow(stiol__vp_t *vp, int fd);

/* --- time that costs next to nothing: ticks of the CPU's counter --- */

static inline uint64_t stiol__ticks(void)
{
#ifdef __x86_64__
    return __builtin_ia32_rdtsc();
#else
    uint64_t ticks;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#endif
}

/** stiol__path_look() if it may be necessary: a slow file system is known, or it is time to check
 * the table of mounts. Otherwise makes no system call. */
static inline stiol__fs_verdict_t stiol__path_verdict(stiol__vp_t *vp, int dir, const char *path,
                                                      bool made, uint64_t *group)
{
    if (STIOL_OFF(STIOL_NO_CACHE))
        return *group = 0, STIOL_FS_PATIENT;
    if (STIOL_LIKELY(!vp->wary && stiol__ticks() - vp->looked_ticks <= vp->look_ticks))
        return STIOL_FS_NOW;
    return stiol__path_look(vp, dir, path, made, group);
}

/** When a call began. */
typedef struct stiol__begun {
    uint64_t ticks;
    long switches; /* voluntary ones of the kernel thread so far; -1: not counted */
} stiol__begun_t;

extern uint64_t stiol__many_ticks; /* fewer than this is not long */
/** us that so many ticks take. */
st_utime_t stiol__ticks_time(const stiol__vp_t *vp, uint64_t ticks);
/** Whether that is longer than a VP should be held. */
bool stiol__is_long(const stiol__vp_t *vp, uint64_t ticks);
/** How often the calling kernel thread has given up the CPU voluntarily so far; -1: unknown. */
long stiol__switches(void);
/** The same for stiol__begin(); -1: this is no longer counted. */
long stiol__count_switches(stiol__vp_t *vp);
/** For stiol__has_waited(): whether the call, which took long, did so because it waited. */
bool stiol__took_long(stiol__vp_t *vp, const stiol__begun_t *begun);

/* A call may take long because others have the CPU. So the first slow call makes STIOL count, for a
 * while, how often the thread gives up the CPU voluntarily; only a call that did so has waited. */
static inline stiol__begun_t stiol__begin(stiol__vp_t *vp)
{
    return (stiol__begun_t){stiol__ticks(),
                            STIOL_UNLIKELY(vp->suspicious) ? stiol__count_switches(vp) : -1};
}

/** Whether the call has waited longer than the VP should have. */
static inline bool stiol__has_waited(stiol__vp_t *vp, const stiol__begun_t *begun)
{
    return STIOL_UNLIKELY(stiol__ticks() - begun->ticks > stiol__many_ticks) &&
           stiol__took_long(vp, begun);
}

/* --- file.c --- */

/**
 * To be called when a write on a descriptor has taken long and has waited: whether its writes go to
 * a helper for a while. One that took 10 ms may have waited for the file's lock, because another
 * VP, which writes to the same log, was preempted while it held it. So there must be two in a row,
 * or one of 100 ms.
 *
 * @param took us
 * @param now  st_utime()
 */
bool stiol__begins_to_lag(stiol__laggard_t *laggard, st_utime_t took, st_utime_t now);

typedef long (*stiol__file_call_t)(const long *args);

/** Runs call(args) on a helper and sets its errno. Counted as kind `file`. */
long stiol__file_help(stiol__vp_t *vp, uint64_t group, stiol__file_call_t call, const long *args);
/** The same for a call on a descriptor, whose number stays this file's until the call has ended. */
long stiol__fd_help(stiol__vp_t *vp, int fd, stiol__file_call_t call, const long *args);
/** The same with a given group, for a call on a path relative to fd, which may be AT_FDCWD. The
 * path is shown as what the state thread waits for; NULL: the descriptor's file. */
long stiol__file_help_at(stiol__vp_t *vp, int fd, const char *path, uint64_t group,
                         stiol__file_call_t call, const long *args);
/** The same as stiol__file_help() for another class of helpers. */
long stiol__file_help_as(stiol__vp_t *vp, stiol__help_class_t class, uint64_t group,
                         stiol__file_call_t call, const long *args);
/** A call on a path: now or on a helper. vp NULL: now. */
long stiol__on_path(stiol__vp_t *vp, int dir, const char *path, bool made, stiol__file_call_t call,
                    const long *args);
/** The same for a call that changes what the path refers to. */
long stiol__on_change(stiol__vp_t *vp, int dir, const char *path, stiol__file_call_t call,
                      const long *args);
/** A call on an open file: on a helper if its file system is slow. vp NULL: directly. */
long stiol__on_fd(stiol__vp_t *vp, int fd, stiol__file_call_t call, const long *args);
/** A call that always waits for a device. vp NULL: directly. */
long stiol__on_device(stiol__vp_t *vp, int fd, stiol__file_call_t call, const long *args);

/** read(), write() and the like on a regular file; offset -1: at its position. */
ssize_t stiol__file_read(stiol__vp_t *vp, stiol__transfer_t *transfer, off64_t offset);
/** Likewise. */
ssize_t stiol__file_write(stiol__vp_t *vp, stiol__transfer_t *transfer, off64_t offset);
/** With RWF_NOWAIT, Linux 5.9 and 5.10 may say 0 where a file does not end. */
extern bool stiol__no_end_is_sure;
/** A first read from a descriptor that is not known yet. -2: it is not a file, and is known now. */
ssize_t stiol__read_unknown(stiol__vp_t *vp, stiol__transfer_t *transfer, off64_t offset);
/** For stiol__file_turn(): parks until no helper uses the file's position. */
bool stiol__await_turn(stiol__vp_t *vp, int fd);

/** Waits while a helper is using the file's position. False with EBADF: the descriptor was closed
 * meanwhile. */
static inline bool stiol__file_turn(stiol__vp_t *vp, int fd)
{
    const unsigned char *byte = stiol__fd_byte(fd);

    if (STIOL_UNLIKELY(byte && (__atomic_load_n(byte, __ATOMIC_RELAXED) & STIOL_BUSY_MARK) != 0))
        return stiol__await_turn(vp, fd);
    return true;
}

static inline bool stiol__is_file(stiol__fd_class_t class)
{
    return class >= STIOL_FD_FILE;
}

/** Whether calls on such a file have to run on helpers. */
static inline bool stiol__is_slow_file(stiol__fd_class_t class)
{
    return class >= STIOL_FD_SLOW_FILE;
}

/** file_open.c: the descriptor was opened with these flags. If they make each call wait for the
 * device, notes that. Returns fd and preserves errno. */
int stiol__fd_flags_known(int fd, int flags);
/** file_open.c: openat2() cannot be used here. */
extern _Atomic bool stiol__openat2_barred;

/** The queue of those that want the file position or the number of a descriptor that a helper is
 * using. */
static inline uintptr_t stiol__turn_key(int fd)
{
    return ((uintptr_t)(unsigned)fd << 3) | 7;
}

/* --- file_use.c --- */

/** A call on a helper that names a file by its descriptor; lies in its caller's memory. */
typedef struct stiol__fd_use {
    struct stiol__fd_use *next;
    int fd;      /* -1: not kept track of */
    bool closed; /* somebody has closed it meanwhile */
} stiol__fd_use_t;

/** A call on a helper begins to use the descriptor. `use` stays in place until stiol__fd_used(). */
void stiol__fd_use(stiol__vp_t *vp, stiol__fd_use_t *use, int fd);
/** The call has ended. Closes the descriptor if that was postponed; this may park. */
void stiol__fd_used(stiol__vp_t *vp, stiol__fd_use_t *use);
/** For close(): true if it is postponed until no helper uses the descriptor. */
bool stiol__put_off_close(stiol__vp_t *vp, int fd);
/** Parks as long as a helper uses the number. */
void stiol__await_unused(stiol__vp_t *vp, int fd);

static inline bool stiol__fd_in_use(int fd)
{
    const unsigned char *byte = stiol__fd_byte(fd);

    return byte && (__atomic_load_n(byte, __ATOMIC_RELAXED) & STIOL_USED_MARK) != 0;
}

/* --- file_syscall.c --- */

/** For syscall(): true if it is a call on files, with its result in *rc. */
bool stiol__syscall_file(long number, const long *args, long *rc);

/* --- file_open.c --- */

/** close() on a helper, which may have to write remaining data. Parks. */
int stiol__close_patiently(stiol__vp_t *vp, int fd);

/* --- fd.c --- */

/** close(), which also forgets what is known of the descriptor. Parks if its file system is
 * slow. */
int stiol__close_known(stiol__vp_t *vp, int fd);

/* --- file_fifo.c --- */

/** Whether opening the path waits for another process to open the other end. Asks the kernel only
 * if the name is in memory and no stat() has just said what it is. Sets *missing if there is no
 * such name. */
bool stiol__is_fifo(stiol__vp_t *vp, int dir, const char *path, bool *missing);
/** stat() has said that the path is a regular file. */
void stiol__note_regular(stiol__vp_t *vp, const char *path);
/** Runs call(args) on a kernel thread of its own: calls that wait for each other need one each. */
long stiol__file_aside(stiol__vp_t *vp, stiol__file_call_t call, const long *args);

/* --- file_stream.c, for shell.c --- */

/** Whether reads and writes of the stream may wait. */
bool stiol__stream_waits(FILE *stream);

/* --- stdio.c --- */

/** ftrylockfile(), on any kernel thread. True: locked. Does not yield. */
bool stiol__trylock_stream(FILE *stream);
/** Releases what stiol__trylock_stream() has locked. Does not yield. */
void stiol__unlock_stream(FILE *stream);

/* --- flush.c --- */

/** fflush(NULL): 0, or EOF with errno. Parks, on a VP. */
int stiol__flush_all(void);

/* --- file_map.c --- */

/** mmap() of a file by a state thread: what it maps is in memory by the time it returns. */
void *stiol__map_file(stiol__vp_t *vp, void *address, size_t length, int protection, int flags,
                      int fd, off_t offset);
/** Whether a helper has to read that part of a file into memory. */
bool stiol__is_absent(int fd, off64_t offset, size_t length);

/* --- sendfile.c --- */

enum { STIOL_CHUNK = 1024 * 1024 }; /* bytes; most that is sent at a time */

#pragma GCC visibility pop

/* An argument that has been passed as a long. */
#define STIOL_TEXT(x) ((const char *)(x))

#endif /* STIOL_FILE_H */
