/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STIOL's internal header: the state of a VP and of its state threads, and what the files of this
 * folder share. Replacements call the real function by its plain name: the object that holds STIOL
 * is never rebound.
 */
#ifndef STIOL_INT_H
#define STIOL_INT_H

#include <stmno.h>

#include "st/st_shuffle.h"
#include "stiol/libc.h"
#include "stiol/server.h"
#include "stiol/helper.h"
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

#pragma GCC visibility push(hidden)

/* --- the calls --- */

/* STIOL_EVERY: in any object, including the one that holds STIOL; STIOL_ONE: only in the objects
 * named. */
typedef enum { STIOL_ANY, STIOL_THREADS, STIOL_BOTH, STIOL_EVERY, STIOL_ONE } stiol__scope_t;

typedef struct stiol__call {
    const char *symbol;
    stiol__scope_t scope;
    const char *version; /* of the symbol, or NULL */
    void *real;          /* as this object is bound to it: the linker chose the right version */
    void *global;        /* as other objects may see it: different in a program that is not PIE */
    void *replacement;
    void *elsewhere; /* scope BOTH: the replacement in objects that do not create state threads */
    const char *object; /* scope ONE: their file names */
} stiol__call_t;

enum {
#define STIOL_KIND(name, help)
#define STIOL_CALL(symbol, scope, kind, version, help) stiol__call_##symbol,
#include "stiol/calls.def"
#undef STIOL_KIND
#undef STIOL_CALL
    STIOL_CALLS
};

/** The calls of calls.def, in that order. In stiol.c. */
extern stiol__call_t stiol__calls[STIOL_CALLS];
/** The replacements in objects whose threads stay kernel threads (scope BOTH in calls.def). */
extern __typeof__(pthread_create) stiol__elsewhere_pthread_create;
extern __typeof__(thrd_create) stiol__elsewhere_thrd_create;
extern __typeof__(mmap) stiol__elsewhere_mmap;

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

/** What STIOL knows about a state thread; made on first use, freed at its end. */
typedef struct stiol__thread {
    struct stiol__vp *vp;
    st_thread_t thread;
    stiol__tsd_t *tsd; /* thread-specific values; NULL: none yet */
    unsigned long parks;
    uint64_t magic; /* STIOL_THREAD_MAGIC: the record's address is its thread's pthread_t */
    pid_t tid;      /* what gettid() returns; 0: nobody has asked yet */
    char name[16];  /* by pthread_setname_np(); "": the VP's */
    bool primordial, ending;
    struct stiol__entries *entries;     /* entry.c: results of getpwnam() and the like, or NULL */
    struct stiol__farewell *farewells;  /* tls_exit.c: last one first */
    struct stiol__texts *texts;         /* texts.c; NULL: none yet */
    uint64_t mask;                      /* signals blocked in its creator; 0: the usual ones */
    const stiol_connection_t *accepted; /* what its next accept() is to return; NULL: nothing */
    /* cancel.c */
    _Atomic bool cancelled;          /* its end was requested */
    bool cancel_off, cancel_at_once; /* not now; at once, not only in a wait */
    void *cleanup;                   /* the innermost handler, a __pthread_unwind_buf_t */
    struct stiol__unwinding *unwinding;
    /* carry.c: the kernel thread it runs on instead of its VP's; 0: none */
    _Atomic pthread_t carrier;
    _Atomic pid_t carrier_tid;
    /* created by pthread_create(): */
    bool ours, detached;
    bool started; /* has run: `thread` is set by itself, no longer by its creator */
    /* of the VP's threads that have not ended; `next` also links free records */
    struct stiol__thread *next, **previous;
    _Atomic bool ended;
    void *(*start)(void *);
    int (*start11)(void *); /* created by thrd_create(); else NULL */
    void *arg, *result;
    st_thread_t joiner;
#ifdef STM_DEBUG
    int held;
    stiol__held_t locks[STIOL_HELD_MAX];
#endif
} stiol__thread_t;

/** A descriptor on which a state thread has seen EAGAIN, and when: see wait.c. */
typedef struct stiol__empty {
    int fd;
    unsigned long long calls, switches;
} stiol__empty_t;

struct stiol__tls;

/** A descriptor on which a write has taken long. */
typedef struct stiol__laggard {
    int fd;
    st_utime_t slow_at; /* the end of the last such write; 0: none */
    st_utime_t until;   /* until then its writes go to a helper */
} stiol__laggard_t;

#define STIOL_LAGGARDS 16
#define STIOL_USES     64
#define STIOL_REGULAR  16

/** Who has taken a mutex (holder.c): a bucket for two mutexes. */
typedef struct stiol__taker {
    const void *mutex[2]; /* NULL: free */
    st_thread_t thread[2];
} stiol__taker_t;

#define STIOL_TAKERS 256

typedef struct stiol__vp {
    st_vp_t vp;
    pid_t tid;
    pthread_t id; /* of the kernel thread */
    st_thread_t primordial;
    bool ending;              /* stiol_end_waits() or stiol_expect_end() was called */
    stiol__thread_t *threads; /* created by pthread_create(), and not ended */
    stiol_config_t config;
    stiol_counters_t counters;
    int more_for; /* socket whose writev() has MSG_MORE; -1: none */
    stiol__empty_t empty;
    unsigned long long spared; /* number of switches when a poll() last needed no system call */
    /* owner.c: locks whose owning state thread glibc does not know */
    stiol__owner_t *owners;
    size_t owners_size, owners_used;
    /* tsd.c */
    stiol__tsd_t *tsd_cache;
    int tsd_cached;
    struct stiol__tls *tls; /* tls.c */
    bool exit_hooked;       /* tls_exit.c */
    struct stiol__filesystems *filesystems;
    bool wary;             /* some file system is slow: paths are examined before each call */
    uint64_t looked_ticks; /* when it was last checked whether the table of mounts is current */
    uint64_t look_ticks;   /* how long that is valid */
    bool suspicious;       /* calls are examined closely, until then */
    st_utime_t suspicious_until;
    stiol__laggard_t laggards[STIOL_LAGGARDS]; /* file.c */
    st_utime_t any_lags;                       /* until then some descriptor lags; 0: none */
    struct stiol__fd_use *uses[STIOL_USES];    /* file_use.c */
    /* file_fifo.c: names that stat() has just called regular files */
    struct {
        uint64_t noted; /* ticks */
        char path[184];
    } regular[STIOL_REGULAR];
    struct stiol__carriers *carriers; /* carriers.c; NULL: none yet */
    const st_thread_t *current;       /* libst's: the state thread that is running */
    stiol__taker_t takers[STIOL_TAKERS];
} stiol__vp_t;

/** The bucket of a mutex. */
static inline stiol__taker_t *stiol__takers_of(const stiol__vp_t *vp, const void *mutex)
{
    uintptr_t bits = (uintptr_t)mutex;

    return (stiol__taker_t *)&vp->takers[(bits >> 4 ^ bits >> 12) % STIOL_TAKERS];
}

/** The calling state thread has taken the mutex. Of more than two held mutexes that share a bucket,
 * only the last two are remembered: that costs next to nothing, and suffices in practice. */
static inline void stiol__note_taker(stiol__vp_t *vp, const void *mutex)
{
    stiol__taker_t *taker = stiol__takers_of(vp, mutex);
    int way = taker->mutex[0] && taker->mutex[0] != mutex;

    taker->mutex[way] = mutex;
    taker->thread[way] = *vp->current;
}

/** The mutex is released. */
static inline void stiol__note_release(stiol__vp_t *vp, const void *mutex)
{
    stiol__taker_t *taker = stiol__takers_of(vp, mutex);

    if (taker->mutex[0] == mutex)
        taker->mutex[0] = NULL;
    else if (taker->mutex[1] == mutex)
        taker->mutex[1] = NULL;
}

/** The calling kernel thread's VP; NULL: STIOL was not started here. */
extern __thread stiol__vp_t *stiol__vp __attribute__((tls_model("initial-exec")));

/** A signal handler that has interrupted a VP, or a child of vfork() that has been lent its kernel
 * thread's stack and variables. Meanwhile stiol__vp is NULL: all calls are the real ones, and
 * nothing that belongs to libst or STIOL is touched. */
typedef struct stiol__interruption {
    stiol__vp_t *vp;     /* NULL: no handler is running on this kernel thread */
    st_thread_t thread;  /* the one whose stack it runs on, if it has none of its own */
    uintptr_t low, high; /* where the handler's frames are */
    unsigned depth;      /* handlers running, on any kernel thread; too high after a siglongjmp() */
    unsigned handled;    /* handlers begun here so far */
    pid_t lender;        /* not a handler: the process that has called vfork(); 0: none */
    pid_t handler_of;    /* meanwhile: the process in which a handler is running, or has been */
} stiol__interruption_t;

extern __thread stiol__interruption_t stiol__interruption
    __attribute__((tls_model("initial-exec")));

/** To be called if there is an interruption: the VP if the handler has been left (siglongjmp()), or
 * vfork() has returned to the parent; else NULL. */
stiol__vp_t *stiol__after_handler(void);

/** The calling kernel thread's VP, NULL in a signal handler. */
static inline stiol__vp_t *stiol__mine(void)
{
    stiol__vp_t *vp = stiol__vp;

    if (STIOL_UNLIKELY(!vp) && STIOL_UNLIKELY(stiol__interruption.vp))
        return stiol__after_handler();
    return vp;
}

/** Whether this is a child of vfork(), before its program: what is known here is its parent's. */
static inline bool stiol__lent(void)
{
    return STIOL_UNLIKELY(stiol__interruption.lender != 0) && !stiol__mine();
}

/** The VP if the caller runs on a state thread, else (kernel thread, scheduler, callback, signal
 * handler) NULL. */
static inline stiol__vp_t *stiol__here(void)
{
    stiol__vp_t *vp = stiol__mine();

    return vp && STIOL_LIKELY(!st_in_callback()) ? vp : NULL;
}

/** For code that only reads: the VP, even in a signal handler that has interrupted it. */
static inline stiol__vp_t *stiol__interrupted(void)
{
    stiol__vp_t *vp = stiol__mine();

    return vp ? vp : stiol__interruption.vp;
}

/** The calling state thread's record; NULL if there is no memory. */
stiol__thread_t *stiol__self(stiol__vp_t *vp);
/** In a signal handler: the record of the state thread that it has interrupted; NULL if that has
 * none. Elsewhere NULL. */
stiol__thread_t *stiol__interrupted_self(void);
#ifdef STIOL_DEBUG
/** Prints a line about the call: kernel thread, state thread, call, first argument, and calling
 * object. */
void stiol__trace(stiol__vp_t *vp, const char *call, long arg, const void *caller);
#define STIOL_TRACE(vp, call, arg)                                                                 \
    do {                                                                                           \
        if ((vp)->config.trace)                                                                    \
            stiol__trace(vp, call, (long)(arg), __builtin_return_address(0));                      \
    } while (0)
#else
#define STIOL_TRACE(vp, call, arg) ((void)0)
#endif

/* Builds with ST_SHUFFLE yield in each call: code that is right with kernel threads can stand that.
 * Calls of kind wait yield anyway, and poll() has to know what the last recv() said (wait.c). */
#define STIOL_SHUFFLE(vp, kind)                                                                    \
    (&(vp)->counters.kind != &(vp)->counters.wait ? st_shuffle() : (void)0)

/** Begins a replacement: counts the call and gives the VP; NULL: make the real call. */
#define STIOL_ENTER(kind, call, arg)                                                               \
    ({                                                                                             \
        stiol__vp_t *vp_ = stiol__here();                                                          \
        if (vp_) {                                                                                 \
            vp_->counters.kind.calls++;                                                            \
            STIOL_TRACE(vp_, #call, arg);                                                          \
            STIOL_SHUFFLE(vp_, kind);                                                              \
        }                                                                                          \
        vp_;                                                                                       \
    })

/** Ends the calling state thread if its end was requested (pthread_cancel()). To be called when a
 * wait was interrupted, once nothing points to the caller's stack any more. */
void stiol__cancellation(void);
/** Whether the calling state thread is to end at its next cancellation point. */
bool stiol__to_be_cancelled(void);

/** Whether a system call failed because the kernel does not have it or a sandbox refuses it. Only
 * for calls that have no EPERM of their own. */
static inline bool stiol__is_refused(int error)
{
    return error == ENOSYS || error == EPERM;
}

/** A wait has failed with errno. Returns -1; at the VP's end an interrupted caller must not try
 * again. */
static inline int stiol__failed(const stiol__vp_t *vp)
{
    if (errno == EINTR)
        stiol__cancellation();
    if (errno == EINTR && vp->ending)
        errno = ECONNABORTED;
    return -1;
}

/** Counts a park, for this kind of call and for the calling state thread. */
#define STIOL_PARKS(vp, kind) ((vp)->counters.kind.parked++, stiol__parks(vp))

#ifdef STM_DEBUG
/** For lock reports: the calling state thread is about to park. Does not yield. */
void stiol__parks(stiol__vp_t *vp);
/** For lock reports: it has taken a lock; caller: the return address. Does not yield. */
void stiol__took(stiol__vp_t *vp, const char *kind, const void *lock, const void *caller);
/** For lock reports: it is releasing a lock. Does not yield. */
void stiol__gave(stiol__vp_t *vp, const void *lock);
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
    STIOL_NO_FORGET = 64,       /* what was known about a closed descriptor is kept */
    STIOL_NO_NOWAIT = 128,      /* as if the kernel did not support RWF_NOWAIT */
    STIOL_NO_TELLING = 256,     /* trap 7: the MPM is not told about kernel threads */
    STIOL_NO_SPARING = 512,     /* poll() asks although recv() has just said EAGAIN */
    STIOL_NO_ROWS = 1024,       /* each writev() is sent at once */
    STIOL_NO_TLS = 2048,        /* all state threads share the thread-local variables */
    STIOL_NO_CACHE = 8192,      /* as if nothing of a file were in memory */
    STIOL_NO_HANDLERS = 1 << 16 /* trap 11: signal handlers run as if on a state thread */
};

#ifdef STIOL_TESTING
extern unsigned stiol__off;
#define STIOL_OFF(remedy) STIOL_UNLIKELY((stiol__off & (unsigned)(remedy)) != 0)
#else
#define STIOL_OFF(remedy) 0
#endif

/* --- time: deadlines on libst's clock, us; STIOL_NEVER: none --- */

#define STIOL_NEVER ST_UTIME_NO_TIMEOUT

/** The deadline that is `timeout` us from now. */
st_utime_t stiol__deadline(st_utime_t timeout);
/** How many us are left until then; 0 if it has passed. */
st_utime_t stiol__left(st_utime_t deadline);
/** A length of time in us, rounded up. */
st_utime_t stiol__timespec(const struct timespec *ts);
/** The deadline that corresponds to a moment on some clock. */
st_utime_t stiol__until(clockid_t clock, const struct timespec *at);
/** Whether that is a length of time, or a moment, as POSIX wants it; otherwise the call returns
 * EINVAL. */
bool stiol__valid(const struct timespec *ts);

/** Growing intervals for things that cannot wake us, such as another process's lock. */
typedef struct stiol__backoff {
    unsigned tries;
} stiol__backoff_t;

/** The next interval, us; first 0 (yield), at most `most`. */
st_utime_t stiol__interval(stiol__backoff_t *backoff, st_utime_t most);

/* --- holder.c --- */

/** What locks in memory are called, in st_wait_t.name. */
#define STIOL_MUTEX_NAME  "mutex"
#define STIOL_RWLOCK_NAME "read-write lock"

/* --- wait.c --- */

/** poll() with a timeout in us; parks. */
int stiol__poll_us(stiol__vp_t *vp, struct pollfd *fds, nfds_t nfds, st_utime_t timeout);
/** Asks the kernel anew, then parks until one of events is set. Returns 1; 0: timeout; -1:
 * errno. */
int stiol__wait_fd(int fd, int events, st_utime_t timeout);
/** Yields; preserves errno. */
void stiol__yield(void);

/* --- pages.c --- */

/** Called when a VP starts. If the range cannot be reserved, libapr makes the real calls. */
void stiol__pages_start(const stiol__vp_t *vp);
/** Called when a VP ends. */
void stiol__pages_stop(const stiol__vp_t *vp);

#pragma GCC visibility pop

#endif /* STIOL_INT_H */
