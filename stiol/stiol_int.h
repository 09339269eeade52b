/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STIOL's internal header: the state of a VP and of its state threads, and what the files of this
 * folder share. Replacements call the real function by its plain name: the object that holds STIOL
 * is never rebound.
 */
#ifndef STIOL_INT_H
#define STIOL_INT_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <locale.h>
#include <mqueue.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "st/st_shuffle.h"
#include "stiol/stiol.h"

#define STIOL_LIKELY(x)   __builtin_expect(!!(x), 1)
#define STIOL_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define STIOL_HIDDEN      __attribute__((visibility("hidden")))
#define STIOL_SECOND      ((st_utime_t)1000000)

#ifdef STIOL_DEBUG
#include <assert.h>
#define STIOL_ASSERT(x) assert(x)
#else
#define STIOL_ASSERT(x) ((void)0)
#endif

/* glibc has two condition variables on x86-64: the one of 2.2.5 is another type. */
#ifdef __x86_64__
#define STIOL_COND_VERSION     "GLIBC_2.3.2"
/* Older ones of these take other arguments. */
#define STIOL_AFFINITY_VERSION "GLIBC_2.3.4"
#define STIOL_TIMER_VERSION    "GLIBC_2.3.3"
#else
#define STIOL_COND_VERSION     NULL
#define STIOL_AFFINITY_VERSION NULL
#define STIOL_TIMER_VERSION    NULL
#endif

/* Calls that nobody should make any more are made all the same. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/* Entry points of fortified code, which glibc's headers declare only with _FORTIFY_SOURCE. */
extern int __poll_chk(struct pollfd *fds, nfds_t nfds, int timeout, size_t size);
extern int __ppoll_chk(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                       const sigset_t *mask, size_t size);
extern ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
extern ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags);
/* <resolv.h> makes macros of p_type and the like. */
struct __res_state;
extern struct __res_state *__res_state(void);
extern int __res_init(void);
extern int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *dso);
extern void __longjmp_chk(jmp_buf env, int value) __attribute__((noreturn));
extern __sighandler_t bsd_signal(int number, __sighandler_t handler);
extern __sighandler_t __sysv_signal(int number, __sighandler_t handler);
extern int __sigaction(int number, const struct sigaction *action, struct sigaction *old);
extern int __open_2(const char *path, int flags), __open64_2(const char *path, int flags);
extern int __openat_2(int dir, const char *path, int flags);
extern int __openat64_2(int dir, const char *path, int flags);
extern ssize_t __recvfrom_chk(int fd, void *restrict buf, size_t n, size_t size, int flags,
                              __SOCKADDR_ARG addr, socklen_t *restrict addrlen);

/* The C++ runtime's; weak: the object that holds STIOL is linked without it. */
extern int __cxa_guard_acquire(int64_t *guard) __attribute__((weak));
extern void __cxa_guard_release(int64_t *guard) __attribute__((weak));
extern void __cxa_guard_abort(int64_t *guard) __attribute__((weak));

#pragma GCC visibility push(hidden)

/* --- the calls --- */

/* STIOL_EVERY: in any object, also in the one that holds STIOL. */
typedef enum { STIOL_ANY, STIOL_THREADS, STIOL_BOTH, STIOL_EVERY } stiol__scope_t;

typedef struct stiol__call {
    const char *symbol;
    stiol__scope_t scope;
    const char *version; /* of the symbol, or NULL */
    void *real;          /* as this object is bound to it: the right version, by the linker */
    void *global;        /* as other objects may see it: differs in a program that is not PIE */
    void *replacement;
    void *elsewhere; /* scope BOTH: the replacement in objects that do not make state threads */
} stiol__call_t;

enum {
#define STIOL_KIND(name, help)
#define STIOL_CALL(symbol, scope, kind, version, help) stiol__call_##symbol,
#include "stiol/calls.def"
#undef STIOL_KIND
#undef STIOL_CALL
    STIOL_CALLS
};

extern stiol__call_t stiol__calls[STIOL_CALLS];
extern __typeof__(pthread_create) stiol__elsewhere_pthread_create;
extern __typeof__(thrd_create) stiol__elsewhere_thrd_create;

#define STIOL_KIND(name, help)
#define STIOL_CALL(symbol, scope, kind, version, help) extern __typeof__(symbol) stiol__##symbol;
#include "stiol/calls.def"
#undef STIOL_KIND
#undef STIOL_CALL

/* --- a VP and its state threads --- */

typedef struct stiol__tsd stiol__tsd_t;
typedef struct stiol__owner stiol__owner_t;
struct stiol__farewell;

/** A lock that a state thread holds; kept in STM_DEBUG builds only. */
typedef struct stiol__held {
    const void *lock, *caller;
    const char *kind;
    st_utime_t since;
    unsigned long parks;
} stiol__held_t;

#define STIOL_HELD_MAX     16
#define STIOL_THREAD_MAGIC UINT64_C(0x5354494f4c746872)
#define STIOL_THREAD_ENDED UINT64_C(0x5354494f4c656e64)

/** What STIOL knows of a state thread; made at its first use, ends with it. */
typedef struct stiol__thread {
    struct stiol__vp *vp;
    st_thread_t thread;
    stiol__tsd_t *tsd; /* thread-specific values, NULL: none yet */
    unsigned long parks;
    uint64_t magic; /* STIOL_THREAD_MAGIC: the record's address is its thread's pthread_t */
    pid_t tid;      /* what gettid() says, 0: nobody has asked yet */
    char name[16];  /* of pthread_setname_np(), "": the VP's */
    bool primordial, ending;
    struct stiol__host *host;           /* result of gethostbyname(), or NULL */
    struct stiol__farewell *farewells;  /* tls_exit.c: the last one first */
    struct stiol__texts *texts;         /* texts.c, NULL: none yet */
    uint64_t mask;                      /* signals that its maker had blocked; 0: the usual ones */
    const stiol_connection_t *accepted; /* what its accept() is to return, NULL: nothing */
    /* cancel.c */
    _Atomic bool cancelled;          /* somebody has asked for its end */
    bool cancel_off, cancel_at_once; /* not now; without waiting for a wait */
    void *cleanup;                   /* the innermost handler, a __pthread_unwind_buf_t */
    struct stiol__unwinding *unwinding;
    /* made by pthread_create(): */
    bool ours, detached;
    bool started; /* has run: `thread` is its own word, no longer its maker's */
    struct stiol__thread *next, **previous; /* the VP's threads that have not ended; `next` else of
                                               free records */
    _Atomic bool ended;
    void *(*start)(void *);
    int (*start11)(void *); /* made by thrd_create(); else NULL */
    void *arg, *result;
    st_thread_t joiner;
#ifdef STM_DEBUG
    int held;
    stiol__held_t locks[STIOL_HELD_MAX];
#endif
} stiol__thread_t;

/** A descriptor of which a state thread has seen EAGAIN, and when: see wait.c. */
typedef struct stiol__empty {
    int fd;
    unsigned long long calls, switches;
} stiol__empty_t;

struct stiol__tls;

typedef struct stiol__vp {
    st_vp_t vp;
    pid_t tid;
    pthread_t id; /* of the kernel thread */
    st_thread_t primordial;
    bool ending;              /* stiol_end_waits() was called */
    stiol__thread_t *threads; /* made by pthread_create(), and not ended */
    stiol_config_t config;
    stiol_counters_t counters;
    int more_for; /* socket whose writev() has MSG_MORE, -1: none */
    stiol__empty_t empty;
    unsigned long long spared; /* switches when a poll() last needed no system call */
    /* owner.c: locks of which glibc does not know which state thread has them */
    stiol__owner_t *owners;
    size_t owners_size, owners_used;
    /* tsd.c */
    stiol__tsd_t *tsd_cache;
    int tsd_cached;
    struct stiol__tls *tls; /* tls.c */
    bool exit_hooked;       /* tls_exit.c */
} stiol__vp_t;

/** The calling kernel thread's VP; NULL: STIOL was not started here. */
extern __thread stiol__vp_t *stiol__vp __attribute__((tls_model("initial-exec")));

/** A signal handler that has interrupted a VP. Meanwhile stiol__vp is NULL: all calls are the real
 * ones, and nothing of libst's or STIOL's is touched. */
typedef struct stiol__interruption {
    stiol__vp_t *vp;     /* NULL: none runs on this kernel thread */
    st_thread_t thread;  /* whose stack it runs on, if it has none of its own */
    uintptr_t low, high; /* where the handler's frames are */
    unsigned depth; /* handlers that run, on any kernel thread; too many after a siglongjmp() */
} stiol__interruption_t;

extern __thread stiol__interruption_t stiol__interruption
    __attribute__((tls_model("initial-exec")));

/** There is an interruption: the VP, if the handler is left by now (siglongjmp()), else NULL. */
extern stiol__vp_t *stiol__after_handler(void);

/** The calling kernel thread's VP, NULL in a signal handler. */
static inline stiol__vp_t *stiol__mine(void)
{
    stiol__vp_t *vp = stiol__vp;

    if (STIOL_UNLIKELY(vp == NULL) && STIOL_UNLIKELY(stiol__interruption.vp != NULL))
        return stiol__after_handler();
    return vp;
}

/** The VP if the caller runs on a state thread, else (kernel thread, scheduler, callback, signal
 * handler) NULL. */
static inline stiol__vp_t *stiol__here(void)
{
    stiol__vp_t *vp = stiol__mine();

    return vp != NULL && STIOL_LIKELY(!st_in_callback()) ? vp : NULL;
}

/** For what only looks: the VP also in a signal handler that has interrupted it. */
static inline stiol__vp_t *stiol__interrupted(void)
{
    stiol__vp_t *vp = stiol__mine();

    return vp != NULL ? vp : stiol__interruption.vp;
}

/** The calling state thread's record; NULL: no memory. */
extern stiol__thread_t *stiol__self(stiol__vp_t *vp);
/** In a signal handler: the record of the state thread that it has interrupted, NULL: it has none.
 * Elsewhere NULL. */
extern stiol__thread_t *stiol__interrupted_self(void);
/** Makes it the calling state thread's. */
extern int stiol__become(stiol__thread_t *self);
/** Takes a thread that pthread_create() made off the VP's list. */
extern void stiol__unlist(stiol__thread_t *self);

/* --- identity.c --- */

/* Records, zeroed. Their memory is never anything else, so that the pthread_t of a thread that has
 * ended is still known for what it was. */
extern stiol__thread_t *stiol__record_new(void);
extern void stiol__record_free(stiol__thread_t *self);
extern void stiol__records_stop(void);
/** The calling state thread's record; NULL: it is the kernel thread that is meant. Asked in signal
 * handlers as well, unlike stiol__here(): whom a signal interrupts is who runs its handler. */
extern stiol__thread_t *stiol__identified(void);
/** Whether that is so because the process is the child of a fork: then it is no state thread. */
extern bool stiol__is_survivor(const stiol__thread_t *self);
extern void stiol__identity_forking(void);
extern void stiol__identity_forked(void);
/** The kernel thread's id that a tid stands for: another one for a state thread's. */
extern pid_t stiol__kernel_tid(pid_t tid);
/** For syscall(): puts kernel threads' ids into the arguments of the system calls that take one;
 * true: the call was SYS_gettid, and *result is its answer. */
extern bool stiol__syscall_identity(long number, long *arguments, long *result);

/** The record that a pthread_t means, NULL: a kernel thread's. A kernel thread's pthread_t is the
 * address of more memory than a record takes. */
static inline stiol__thread_t *stiol__record_of(pthread_t id)
{
    stiol__thread_t *thread = (stiol__thread_t *)id;

    if (thread == NULL)
        return NULL;
    return thread->magic == STIOL_THREAD_MAGIC || thread->magic == STIOL_THREAD_ENDED ? thread
                                                                                      : NULL;
}

/* --- kthread.c: kernel threads, and state threads that wait for their ends --- */

/** pthread_create() of a kernel thread; start11 instead of start for thrd_create(). */
extern int stiol__kthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *),
                                 int (*start11)(void *), void *arg);
/** pthread_join() of a kernel thread by a state thread; parks. */
extern int stiol__kthread_join(stiol__vp_t *vp, pthread_t id, void **result, st_utime_t deadline);
extern void stiol__kthreads_forked(void);

/* --- spawn.c, shell.c, process.c --- */

extern void (*stiol__in_child)(void);
/** posix_spawn(); does not yield. */
extern int stiol__start_program(pid_t *pid, const char *file,
                                const posix_spawn_file_actions_t *actions,
                                const posix_spawnattr_t *attr, char *const argv[],
                                char *const environment[]);
extern pid_t stiol__wait_for_child(stiol__vp_t *vp, pid_t pid, int *status);
extern void stiol__shell_forked(void);

#ifdef STIOL_DEBUG
extern void stiol__trace(stiol__vp_t *vp, const char *call, long arg, const void *caller);
#define STIOL_TRACE(vp, call, arg)                                                                 \
    do {                                                                                           \
        if ((vp)->config.trace)                                                                    \
            stiol__trace(vp, call, (long)(arg), __builtin_return_address(0));                      \
    } while (0)
#else
#define STIOL_TRACE(vp, call, arg) ((void)0)
#endif

/* Builds with ST_SHUFFLE give way in each call: what is right with kernel threads stands that.
 * Those of kind wait do so anyway, and poll() is to know what the last recv() said (wait.c). */
#define STIOL_SHUFFLE(vp, kind)                                                                    \
    (&(vp)->counters.kind != &(vp)->counters.wait ? st_shuffle() : (void)0)

/** Opens a replacement: the VP, with the call counted, or NULL: make the real call. */
#define STIOL_ENTER(kind, call, arg)                                                               \
    ({                                                                                             \
        stiol__vp_t *vp_ = stiol__here();                                                          \
        if (vp_ != NULL) {                                                                         \
            vp_->counters.kind.calls++;                                                            \
            STIOL_TRACE(vp_, #call, arg);                                                          \
            STIOL_SHUFFLE(vp_, kind);                                                              \
        }                                                                                          \
        vp_;                                                                                       \
    })

/** Ends the calling state thread if somebody has asked for it (pthread_cancel()). To be called when
 * a wait was interrupted, with nothing left that points to the caller's stack. */
extern void stiol__cancellation(void);
extern bool stiol__to_be_cancelled(void);

/** A wait has failed with errno. -1; at the VP's end an interrupted caller is not to try again. */
static inline int stiol__failed(const stiol__vp_t *vp)
{
    if (errno == EINTR)
        stiol__cancellation();
    if (errno == EINTR && vp->ending)
        errno = ECONNABORTED;
    return -1;
}

/** Counts a park of a call of this kind, and of the calling state thread. */
#define STIOL_PARKS(vp, kind) ((vp)->counters.kind.parked++, stiol__parks(vp))

#ifdef STM_DEBUG
extern void stiol__parks(stiol__vp_t *vp);
extern void stiol__took(stiol__vp_t *vp, const char *kind, const void *lock, const void *caller);
extern void stiol__gave(stiol__vp_t *vp, const void *lock);
#else
#define stiol__parks(vp)                    ((void)(vp))
#define stiol__took(vp, kind, lock, caller) ((void)0)
#define stiol__gave(vp, lock)               ((void)0)
#endif

/* --- remedies that a test switches off, to see that it fails without --- */

enum {
    STIOL_NO_YIELD = 1,         /* trap 1 */
    STIOL_NO_ASKING = 2,        /* trap 2 */
    STIOL_NO_OWNER = 4,         /* trap 3 */
    STIOL_NO_POST = 8,          /* trap 4 */
    STIOL_NO_TSD = 16,          /* trap 5: one set of values for all */
    STIOL_NO_TSD_END = 32,      /* trap 5: values are left behind */
    STIOL_NO_FORGET = 64,       /* what was known of a closed descriptor is kept */
    STIOL_NO_NOWAIT = 128,      /* as if the kernel knew no RWF_NOWAIT */
    STIOL_NO_TELLING = 256,     /* trap 7: the MPM does not hear of kernel threads */
    STIOL_NO_SPARING = 512,     /* poll() asks although recv() has just said EAGAIN */
    STIOL_NO_ROWS = 1024,       /* each writev() at once */
    STIOL_NO_TLS = 2048,        /* all state threads share the thread-local variables */
    STIOL_NO_HANDLERS = 1 << 16 /* trap 11: signal handlers run as state threads do */
};

#ifdef STIOL_TESTING
extern unsigned stiol__off;
#define STIOL_OFF(remedy) STIOL_UNLIKELY((stiol__off & (unsigned)(remedy)) != 0)
#else
#define STIOL_OFF(remedy) 0
#endif

/* --- time: deadlines on libst's clock, us; STIOL_NEVER: none --- */

#define STIOL_NEVER ST_UTIME_NO_TIMEOUT

extern st_utime_t stiol__deadline(st_utime_t timeout); /* from now */
extern st_utime_t stiol__left(st_utime_t deadline);    /* 0: past */
/* A length of time: us, rounded up. */
extern st_utime_t stiol__timespec(const struct timespec *ts);
/* A time on some clock: the deadline. */
extern st_utime_t stiol__until(clockid_t clock, const struct timespec *at);
extern bool stiol__valid(const struct timespec *ts);

/** Growing intervals for what cannot wake us: another process's lock. */
typedef struct stiol__backoff {
    unsigned tries;
} stiol__backoff_t;

/** The next interval, us; 0 at first (yield), at most `most`. */
extern st_utime_t stiol__interval(stiol__backoff_t *backoff, st_utime_t most);

/* --- lot.c: lines of waiting state threads, by the address of what they wait for --- */

typedef struct stiol__waiter {
    struct stiol__waiter *next, *prev;
    uintptr_t key; /* changed with its bucket held */
    stiol__vp_t *vp;
    st_thread_t thread;
    st_remote_t remote;
    _Atomic bool posted; /* remote is on its way */
    bool linked;         /* in line; else: taken out by whoever woke it */
    bool notified;
    bool parking; /* in st_thread_park() */
    bool granted; /* the lock is the waiter's already */
    int tag;      /* the owner's: reader or writer; a futex's bits */
} stiol__waiter_t;

#define STIOL_BUCKET_BITS 9
#define STIOL_BUCKETS     (1u << STIOL_BUCKET_BITS)

/* Waiters in each bucket: 0 makes a release cheap. */
extern _Atomic unsigned stiol__crowds[STIOL_BUCKETS];

static inline unsigned stiol__bucket(uintptr_t key)
{
    return (unsigned)((uint64_t)key * UINT64_C(0x9E3779B97F4A7C15) >> (64 - STIOL_BUCKET_BITS));
}

/** Whether anyone may wait for key, asked on a VP. */
static inline bool stiol__lot_crowd_here(uintptr_t key)
{
    return atomic_load_explicit(&stiol__crowds[stiol__bucket(key)], memory_order_relaxed) != 0;
}

/** Whether anyone may wait for key. Who releases asks after it has released, who waits tries again
 * after it has entered; between kernel threads that takes a fence. */
static inline bool stiol__lot_crowd(uintptr_t key)
{
    if (stiol__vp == NULL)
        atomic_thread_fence(memory_order_seq_cst);
    return stiol__lot_crowd_here(key);
}

extern void stiol__lot_enter(stiol__waiter_t *waiter, stiol__vp_t *vp, uintptr_t key, int tag);
extern bool stiol__lot_leave(stiol__waiter_t *waiter);
extern bool stiol__lot_first(const stiol__waiter_t *waiter);
extern int stiol__lot_sleep(stiol__waiter_t *waiter, st_utime_t timeout);
extern unsigned stiol__lot_waiters(void); /* of all, for tests */
extern bool stiol__lot_any(uintptr_t key);
extern void stiol__lot_wake(uintptr_t key, bool all);
extern bool stiol__lot_before(const stiol__waiter_t *waiter, int tag);
extern bool stiol__lot_any_of(uintptr_t key, int tag);
extern void stiol__lot_wake_everyone(void);
extern bool stiol__lot_pop(uintptr_t key);
extern unsigned stiol__lot_pop_some(uintptr_t key, unsigned most, unsigned mask);
extern unsigned stiol__lot_move(uintptr_t from, uintptr_t to, unsigned most);
extern int stiol__lot_sleep_any(stiol__waiter_t *waiters, unsigned count, st_utime_t timeout);
extern st_thread_t stiol__lot_grant(stiol__vp_t *vp, uintptr_t key);
extern void stiol__lot_forked(void);

/** Wakes the first in line for key, if anyone waits for anything. */
static inline void stiol__lot_notify(uintptr_t key, bool all)
{
    if (STIOL_UNLIKELY(stiol__lot_crowd(key)))
        stiol__lot_wake(key, all);
}

/* Keys of what has no address; addresses are even. */
#define STIOL_KEY_SEM(id)  (((uintptr_t)(unsigned)(id) << 3) | 1)
#define STIOL_KEY_FILE(fd) (((uintptr_t)(unsigned)(fd) << 3) | 3)
#define STIOL_KEY_MSG(id)  (((uintptr_t)(unsigned)(id) << 3) | 5)

/** Waits in line for a lock that is another process's: `attempt` returns 1 had, 0 not yet, -1
 * failed (errno). */
extern int stiol__probe(stiol__vp_t *vp, uintptr_t key, int (*attempt)(void *arg), void *arg,
                        st_utime_t deadline);

/* --- owner.c --- */

typedef enum {
    STIOL_MUTEX,
    STIOL_ROBUST, /* a robust mutex */
    STIOL_RWLOCK, /* held for writing */
    STIOL_FILE,   /* a stdio stream */
    STIOL_GUARD   /* a C++ static that is being initialised */
} stiol__lock_kind_t;

struct stiol__owner {
    void *lock; /* NULL: free */
    st_thread_t thread;
    unsigned count;
    stiol__lock_kind_t kind;
};

extern stiol__owner_t *stiol__owner_find(stiol__vp_t *vp, const void *lock);
extern int stiol__owner_add(stiol__vp_t *vp, void *lock, stiol__lock_kind_t kind);
extern void stiol__owner_remove(stiol__vp_t *vp, stiol__owner_t *owner);
extern void stiol__owner_forget(const void *lock);
extern void stiol__owner_ended(stiol__vp_t *vp);

/* --- robust.c, stdio.c: what a state thread had when it ended --- */

extern void stiol__robust_died(pthread_mutex_t *mutex);
extern void stiol__stream_left(FILE *file);

/* --- futex.c --- */

/** SYS_futex and SYS_futex_waitv with these arguments; -1 with errno. On any kernel thread. */
extern long stiol__futex(const long *raw);
extern long stiol__futex_waitv(const long *args);
extern long stiol__futex_pi(const long *args);
/** FUTEX_WAIT without a time limit and FUTEX_WAKE, of a futex that other processes might share. */
extern void stiol__futex_wait(uint32_t *word, uint32_t value);
extern void stiol__futex_wake_all(uint32_t *word);

/* --- mutex.c, for cond.c --- */

extern int stiol__mutex_acquire(stiol__vp_t *vp, pthread_mutex_t *mutex, st_utime_t deadline);
extern int stiol__mutex_release(stiol__vp_t *vp, pthread_mutex_t *mutex);
extern bool stiol__layout_known(
    void); /* glibc's mutex and condition variable are as we read them */

/* --- wait.c --- */

/** poll() with a timeout in us; parks. */
extern int stiol__poll_us(stiol__vp_t *vp, struct pollfd *fds, nfds_t nfds, st_utime_t timeout);
/** Asks the kernel afresh, then parks until one of events is set. 1, 0 timeout, -1 errno. */
extern int stiol__wait_fd(int fd, int events, st_utime_t timeout);
/** Gives way, errno kept. */
extern void stiol__yield(void);

/* --- fd.c --- */

/** How a call on this fd behaves. */
typedef enum {
    STIOL_FD_UNKNOWN,
    STIOL_FD_PASS,   /* nonblocking, or a file: the real call */
    STIOL_FD_SOCKET, /* a blocking socket */
    STIOL_FD_STREAM, /* blocking: a pipe, a terminal, an eventfd */
    /* Kinds that are PASS to all calls but reads and writes: */
    STIOL_FD_NONBLOCKING,  /* a socket of which F_GETFL says O_RDWR | O_NONBLOCK */
    STIOL_FD_ASYNC_SOCKET, /* other nonblocking sockets */
    STIOL_FD_ASYNC_STREAM  /* as STREAM, but nonblocking */
} stiol__fd_class_t;

#define STIOL_FDS_MAX (1 << 20) /* descriptors beyond it are made out at each call */

/* STIOL_FDS_MAX bytes of address space, NULL before the start; only touched pages are memory. */
extern unsigned char *stiol__fd_bytes;

extern int stiol__fd_start(void);
/** A look at the descriptor itself, if nothing is known of it. */
extern stiol__fd_class_t stiol__fd_look(int fd);

#define STIOL_LOW_MARK 0x80 /* beside the class: SO_RCVLOWAT was set */

static inline unsigned char *stiol__fd_byte(int fd)
{
    return STIOL_LIKELY((unsigned)fd < STIOL_FDS_MAX && stiol__fd_bytes != NULL)
               ? &stiol__fd_bytes[fd]
               : NULL;
}

/** With the kinds of what is nonblocking. */
static inline stiol__fd_class_t stiol__fd_kind(int fd)
{
    const unsigned char *byte = stiol__fd_byte(fd);
    unsigned class = byte != NULL ? __atomic_load_n(byte, __ATOMIC_RELAXED) : 0;

    class &= ~(unsigned)STIOL_LOW_MARK;
    return STIOL_LIKELY(class != STIOL_FD_UNKNOWN) ? (stiol__fd_class_t) class : stiol__fd_look(fd);
}

/** SOCKET, STREAM or PASS. */
static inline stiol__fd_class_t stiol__fd_class(int fd)
{
    stiol__fd_class_t class = stiol__fd_kind(fd);

    return class == STIOL_FD_SOCKET || class == STIOL_FD_STREAM ? class : STIOL_FD_PASS;
}

extern void stiol__fd_set_class(int fd, stiol__fd_class_t class);
/** A descriptor came into being under this number, if it is one: what was known is of another. */
extern int stiol__fd_made(int fd, stiol__fd_class_t class);
/** Those that a message brought (SCM_RIGHTS). */
extern void stiol__fd_received(struct msghdr *message);
/** The descriptor is about to be closed, or was just now. */
extern void stiol__fd_closing(int fd);
extern FILE *stiol__stream_opened(FILE *stream);
extern void stiol__stream_closing(FILE *stream);
/** Whether anything is known of it. */
extern bool stiol__fd_is_noted(int fd);
/** Whether SO_RCVLOWAT was set. */
extern bool stiol__fd_has_low_mark(int fd);
/** us from now that the socket's SO_RCVTIMEO or SO_SNDTIMEO allows. */
extern st_utime_t stiol__socket_timeout(int fd, int option);
extern int stiol__filelock_fcntl(stiol__vp_t *vp, int fd, int command, struct flock *lock);

/* --- handler.c --- */

extern void stiol__handlers_start(void);
extern void stiol__handlers_stop(void);
extern void stiol__handlers_vp_ends(stiol__vp_t *vp);
/** In a child after fork: no handler is to make it a VP again. */
extern void stiol__handlers_forked(void);
/** A release by a signal handler: who waits is woken by a VP, later. False: by the caller, now. */
extern bool stiol__wake_later(uintptr_t key);

/* --- helper.c: kernel threads for calls that wait inside libc --- */

typedef struct stiol__job {
    void (*run)(struct stiol__job
                    *job); /* on a helper kernel thread, or on the caller's if there is none */
    st_remote_t remote;
    struct stiol__job *next;
    st_vp_t vp;
    st_thread_t thread;
    bool done;
    int error;  /* errno after run */
    int herror; /* h_errno after run */
} stiol__job_t;

/** Runs job->run elsewhere and parks until it is done; errno is the job's. *helped counts it. */
extern void stiol__help(stiol__vp_t *vp, unsigned long long *helped, stiol__job_t *job);
/** The same for a call of that kind. */
#define STIOL_HELP(vp, kind, job)                                                                  \
    (STIOL_PARKS(vp, kind), stiol__help(vp, &(vp)->counters.kind.helped, job))
extern void stiol__stay_loaded(void);
extern void stiol__helpers_stop(void);
extern void stiol__helpers_forked(void);

/* --- aside.c: a kernel thread for one call that may take for ever --- */

#define STIOL_ASIDE_STACK (64 * 1024) /* bytes, beside what the C library takes from it */

/** As stiol__help(); how many wait is not bounded. If there is no kernel thread to be had, the job
 * runs here and holds up the VP. */
extern void stiol__aside(stiol__vp_t *vp, unsigned long long *helped, stiol__job_t *job);
/** Runs main(arg) on a detached kernel thread of its own, with a stack of so many bytes and all
 * signals blocked. 0 or an error number. */
extern int stiol__kernel_thread(void *(*main)(void *), void *arg, size_t stack_size);

/* --- thread.c, for c11.c: what C11 calls an error --- */
extern int stiol__error11(int error);

/* --- tsd.c --- */

extern void stiol__tsd_start(void);
extern void stiol__tsd_end(stiol__thread_t *self);
extern void stiol__tsd_stop(stiol__vp_t *vp);

/* --- tls_objects.c: the loaded objects that have thread-local variables --- */

/** One object's. Lives as long as it is listed or some VP has a block of it. */
typedef struct stiol__local stiol__local_t;

/** An object's thread-local variables on one kernel thread. */
typedef struct stiol__block {
    char *address;
    const char *image; /* what a new thread finds there */
    uint32_t size;
    uint32_t serial; /* of the object, never used again; a list of blocks is in its order */
    stiol__local_t *local;
} stiol__block_t;

/** Changes whenever the blocks of a kernel thread may have become others. */
extern _Atomic unsigned long stiol__locals_generation;
/** Looks for objects that have come or gone. On any kernel thread. -1: no memory. */
extern int stiol__locals_update(void);
/** Around a dlclose(): nobody may touch a block that goes. */
extern void stiol__locals_close(void);
extern void stiol__locals_closed(void);
/** The calling kernel thread's blocks in place of those before; 0 blocks gives them back. Their
 * count, or -1: no memory. *generation is what they are good for. */
extern int stiol__locals_here(stiol__block_t **blocks, int count, unsigned long *generation);
extern void stiol__locals_release(stiol__block_t *blocks, int count);
extern void stiol__locals_forked(void);
/* What of the C library's is a thread's, and of known place and size: its blocks come first. */
enum { STIOL_LOCAL_H_ERRNO, STIOL_LOCAL_RESOLVER, STIOL_LOCAL_OBJECTS };
/** A module knows where it is: from now on it is among the blocks. */
extern void stiol__locals_add(unsigned serial);
extern bool stiol__locals_have(unsigned serial);

/* --- dl.c --- */

/** dlclose(), for code of our own that gives back an object that may then be unloaded. */
extern int stiol__unload(void *handle);

/* --- tls_exit.c: destructors of C++'s thread_local objects --- */

typedef struct stiol__farewell stiol__farewell_t;

/** Runs the calling thread's, the last one first; they may yield. */
extern void stiol__say_farewells(stiol__thread_t *self);
/** Hands the primordial thread's over to the C library. */
extern void stiol__leave_farewells(stiol__thread_t *self);

/* --- tls.c: each state thread's own contents of thread-local variables --- */

/** What a state thread has in thread-local variables while others run. NULL: as a new thread. */
typedef struct stiol__contents stiol__contents_t;

typedef struct stiol__settings stiol__settings_t;

typedef struct stiol__tls {
    stiol__block_t *blocks;
    stiol__block_t *
        *dirty; /* those that differ from their images, up to a NULL: at the last look */
    int count;
    unsigned long generation;       /* that the blocks are good for */
    stiol__settings_t *settings;    /* of whoever is in place; NULL: the usual ones */
    stiol__settings_t *usual;       /* as the VP has started with */
    stiol__contents_t **primordial; /* where the primordial thread's are kept, once it has waited */
    stiol__contents_t **in_place;   /* where those of whoever is in place will be kept */
} stiol__tls_t;

extern int stiol__tls_start(stiol__vp_t *vp);
extern void stiol__tls_stop(stiol__vp_t *vp);
/** What is in place now, for the caller to keep; -1: no memory. */
extern int stiol__tls_save(stiol__vp_t *vp, stiol__contents_t **contents);
/** Puts contents in place; they are the caller's still. */
extern void stiol__tls_load(stiol__vp_t *vp, stiol__contents_t *contents);
extern void stiol__tls_free(stiol__contents_t *contents);
/** Whether the primordial thread's are in place: also while another one's stack runs the scheduler.
 */
extern bool stiol__tls_primordial(const stiol__vp_t *vp);

/* --- settings.c: locale, signal mask and the like --- */

extern int stiol__settings_start(stiol__tls_t *tls);
/** Goes over from tls->settings. */
extern void stiol__settings_change(stiol__tls_t *tls, stiol__settings_t *to);
extern void stiol__settings_free(stiol__settings_t *settings);
/** The calling thread's signal mask, for one that it makes; 0: the usual one. */
extern uint64_t stiol__settings_mask(const stiol__vp_t *vp);
extern void stiol__settings_inherit(stiol__vp_t *vp, uint64_t mask);
extern void stiol__note_dlerror(stiol__vp_t *vp);

/* --- texts.c: buffers of results --- */

typedef struct stiol__texts stiol__texts_t;

extern void stiol__texts_free(stiol__thread_t *self);
/** Fills in one of the C library's blocks. */
extern void stiol__library_block(stiol__block_t *block);
extern void stiol__resolver_end(void);

/* --- pages.c --- */

extern void stiol__pages_start(const stiol__vp_t *vp);
extern void stiol__pages_stop(const stiol__vp_t *vp);

/* --- resolve.c --- */

extern void stiol__host_free(stiol__thread_t *self);

/* --- elf.c --- */

struct dl_phdr_info;

/** Whether an object is one of those that are never rebound, the C library and its like. */
extern bool stiol__is_system(const struct dl_phdr_info *info);
/** Whether it is the one that holds STIOL. */
extern bool stiol__is_own(const struct dl_phdr_info *info);

/** A slot that the walk found. */
typedef struct stiol__found {
    stiol_slot_t slot;
    const stiol__call_t *call;
    void *replacement; /* of the call in this object */
    void **address;
    uintptr_t base; /* of the object, with its dynamic section this identifies it */
    const void *dynamic;
    uintptr_t protected_low, protected_high; /* pages that are read-only after relocation (RELRO) */
} stiol__found_t;

typedef int (*stiol__found_cb_t)(const stiol__found_t *found, void *data);

/** Calls cb for each slot that refers to a call of the table; a nonzero result ends the walk and is
 * returned. */
extern int stiol__walk(const char *const *thread_objects, stiol__found_cb_t cb, void *data);
extern const char *const stiol__default_thread_objects[];
/** The calls of stiol_add_calls() in place of those before; -1: too many. */
extern int stiol__set_extras(const stiol_extra_t *extras, int count);

/* --- rebind.c --- */

extern int stiol__rebind(const char *const *thread_objects);
extern void stiol__rebind_more(void); /* after a dlopen(), if anything is rebound */
extern void stiol__rebind_less(void); /* after a dlclose() */
extern void stiol__restore(void);
extern void stiol__fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#pragma GCC visibility pop

#endif /* STIOL_INT_H */
