/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of libst share: the VP, the state thread, and the calls between concerns. Nothing
 * here is visible outside the library; the names begin with st__ nevertheless.
 */
#ifndef ST_INTERNAL_H
#define ST_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include <st.h>
#include <stmno.h>
#include "st/st_faults.h"
#include "st/st_shuffle.h"

#if defined(STM_DEBUG) && !defined(ST_DEBUG)
#define ST_DEBUG
#endif

/* Assertions stay on for the analyzer, which learns from them what holds. */
#if !defined(ST_DEBUG) && !defined(NDEBUG) && !defined(__clang_analyzer__)
#define NDEBUG
#endif
#include <assert.h>

#if defined(__SANITIZE_ADDRESS__)
#define ST__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ST__ASAN 1
#endif
#endif
#ifndef ST__ASAN
#define ST__ASAN 0
#endif

#if (defined(ST_DEBUG) || ST__ASAN) && !defined(NVALGRIND) && defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#define ST__VALGRIND 1
#endif
#endif
#ifndef ST__VALGRIND
#define ST__VALGRIND 0
#endif

#define ST__LIKELY(x)   __builtin_expect(!!(x), 1)
#define ST__UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ST__CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#pragma GCC visibility push(hidden)

/* Writes what went wrong to stderr and aborts: epoll was lost, or there is no thread to exit. */
void st__fatal(const char *what) __attribute__((noreturn, cold));

/* Builds that check invariants or stacks always take the scheduler's slow path. */
#if defined(ST_DEBUG)
#define ST__ALWAYS_SLOWLY 1
#else
#define ST__ALWAYS_SLOWLY ST__ASAN
#endif

/* --- State threads --- */

enum st__state {
    ST__RUNNING, /* vp->current, or became ready while the scheduler runs on its stack */
    ST__READY,   /* in the run queue */
    ST__WAITING, /* for whatever its queue, link or timer says; ended by st__wake() */
    ST__ZOMBIE,  /* has ended; its stack waits for the joiner, or for the next thread to reap it */
};

/* A queue of waiting threads: of a condition variable or a mutex. */
struct st__queue {
    struct st_thread *head, *tail;
};

enum { ST__KEYS_INLINE = 8 };

/* Lies in its stack's record (the primordial one in the VP), not on the stack: that may rest. */
struct st_thread {
    void *sp;               /* saved stack pointer while it does not run */
    struct st_thread *next; /* in the run queue */
    unsigned char state;    /* enum st__state */
    bool interrupted;       /* st_thread_interrupt() was called and has not been delivered yet */
    bool token;             /* left by st_thread_unpark() */
    bool parked;            /* is in st_thread_park() */
    bool joinable;
    int reason;      /* why st__wake() was called: 0, ETIME, EINTR, EBADF */
    int saved_errno; /* while it does not run */

    struct st__queue *queue; /* the queue it is in, or NULL */
    struct st_thread *queue_next, *queue_prev;
    struct st_timer timer;
    struct st_fd_link link; /* its link in a descriptor's list of waiters (st_fd_wait) */

    struct st_thread *joiner; /* waits for this thread to end */
    struct st__stack *stack;  /* NULL: primordial */
    void *(*start)(void *arg);
    void *arg;
    void *retval;
    void *carried;           /* the exchange callback's, while it does not run */
    st_observer_t *observer; /* NULL: its waits are not reported */
    st_wait_t *wait;         /* declared by st_wait_begin(), or NULL */
    st_utime_t woken;        /* when a callback made it ready; 0: another thread did */
    struct st__rest *rest;   /* what is kept of its stack, which rests (rest.c); NULL: nothing is */

    unsigned value_count; /* room at values */
    void **values;        /* of keys from ST__KEYS_INLINE on; malloc'ed */
    void *inline_values[ST__KEYS_INLINE];
#if ST__ASAN
    const void *asan_bottom;
    size_t asan_size;
#endif
};

/* --- Timers --- */

/* One heap of {key, timer}. A key is never later than its timer's deadline, but may be earlier, or
 * its timer may be disarmed: that is noticed when the entry reaches the top. */

enum st__timer_kind { ST__TIMER_THREAD, ST__TIMER_WATCH };

struct st__heap_entry {
    st_utime_t key;
    struct st_timer *timer;
};

struct st__heap {
    struct st__heap_entry *entries;
    unsigned count, room;
    unsigned watches; /* entries of watches; room for threads' entries is reserved beforehand */
};

/* --- Descriptors --- */

enum st__link_kind { ST__LINK_THREAD, ST__LINK_POLL, ST__LINK_WATCH, ST__LINK_ACCEPT };

enum { ST__FD_REGISTERED = 1, ST__FD_EXCLUSIVE = 2 };

/* In the tag of an event from a level-triggered registration, beside the descriptor's generation
 * and its number, which has 31 bits. */
#define ST__EXCLUSIVE_TAG (UINT64_C(1) << 31)

/* One per descriptor number, at an address that does not change. */
struct st__fd {
    struct st_fd_link *links; /* waiters */
    uint32_t generation;      /* in every event, to recognize stale ones */
    uint16_t ready;           /* POLL* bits */
    uint16_t flags;
};

/* st_poll() waits on several descriptors: one link each. */
struct st__poll_link {
    struct st_fd_link link;
    struct st_thread *thread;
};

enum { ST__FD_CHUNK_SHIFT = 9, ST__FD_CHUNK = 1 << ST__FD_CHUNK_SHIFT };

struct st__fd_table {
    struct st__fd **chunks; /* of ST__FD_CHUNK entries each, or NULL */
    unsigned chunk_count;
};

struct st_netfd {
    int osfd;
    bool stream; /* known to be a byte stream: a short read means that it is drained */
    bool stream_known;
    void *specific; /* owned, see destructor */
    void (*destructor)(void *);
};

/* --- Stacks --- */

struct st__stack {
    struct st__slab *slab;
    struct st_thread *thread; /* whose stack it is, or NULL */
    const void *waited_at;    /* its thread's stack pointer when it was last sampled, waiting, */
    st_utime_t waited_since;  /* and when that thread was last woken */
    struct st__stack *next;   /* in its slab's list of free ones or its class's of cached ones */
    struct st__stack *prev;   /* cached only */
    struct st__stack *newer, *older; /* cached only: by age, of all classes */
    bool guarded;                    /* its guard is in place */
    bool painted;                    /* under census */
    bool trimmed;                    /* in this wait */
    unsigned valgrind_id;
    struct st_thread own; /* the thread's descriptor */
};

/* What is kept of a stack that rests: of the bytes from its thread's stack pointer on, as words.h
 * packs them. */
struct st__rest {
    char *low;    /* of the pages that were given back: they end where the stack does */
    size_t bytes; /* of these */
    uint64_t words[];
};

struct st__stack_class;

struct st__stack_pool {
    struct st__stack_class *classes;   /* one per stack size */
    struct st__stack *newest, *oldest; /* of the cached ones */
    struct st__stack *sampled;         /* the last one that st_sample_stacks() looked at, or NULL */
    size_t in_use, cached, peak, bytes_reserved, deepest;
    size_t max_cached;
    size_t page;       /* the system's, bytes */
    size_t slab_bytes; /* maximum size of a slab of several stacks */
    bool guard_install;
    bool fork_alone; /* children of fork() do not get the other threads' stacks */
    bool census;
    bool randomize;
    uint64_t random; /* state of the generator of offsets */
};

/* --- The VP --- */

enum { ST__EVENT_BATCH = 256, ST__MIN_BUDGET = 16, ST__MAX_PATIENCE = 256 };

struct st_vp {
    struct st_thread *current;
    struct st_thread *runq_head, *runq_tail;
    unsigned long long queued; /* threads put into the run queue so far */
    /* st_thread_yield_last(): ready, and behind all others */
    struct st_thread *last_head, *last_tail;
    unsigned last_count;
    int budget;             /* switches left before epoll is visited again */
    int budget_given;       /* at the last visit: the difference is not yet in stats.switches */
    int patience;           /* minimum budget: grows while visits find nothing */
    bool always_slowly;     /* switch callbacks are set, or a sanitizer watches */
    bool hooked;            /* that, or an exchange callback is set */
    struct st_thread *reap; /* has ended; its stack is freed by a later thread */
    int *errno_place;       /* errno of this kernel thread */
    st_switch_cb_t switch_in, switch_out;
    st_exchange_cb_t exchange;
    struct st_thread *in_place; /* whose state the callback has put in place */

    st_utime_t clock;       /* when epoll_wait last returned: decides what is due */
    st_utime_t timer_floor; /* new deadlines are never earlier while timers fire */
    struct st__heap heap;

    int epfd;
    int eventfd;  /* written to by who posts: an eventfd or, where those are refused, a pipe */
    int pipe_end; /* of that pipe: for reading; -1: it is an eventfd */
    struct st__fd_table fds;
    struct st__stack_pool stacks;
    st_turn_cb_t turn_cb;
    st_sleep_cb_t sleep_cb;
    bool in_callback; /* a callback of the scheduler runs: nothing may yield */
    bool ghost_seen;  /* this turn: a level-triggered event that belongs to no descriptor of ours */
    int haunted;      /* for this many turns in a row */

    /* For debuggers (dev/gdb/st.py), which then need not understand thread-local variables. */
    struct st_vp *next_vp; /* in st__process.vps */
    pid_t tid;             /* the kernel thread */

#ifdef ST_SHUFFLE
    uint64_t shuffle, shuffle_seed; /* state of the generator, and its initial value */
    pid_t shuffle_pid;              /* the VP's process */
#endif
    struct st_thread primordial;
    st_stats_t stats;
    struct epoll_event events[ST__EVENT_BATCH];

    /* Written by other kernel threads: on a separate cache line. */
    _Alignas(64) _Atomic(st_remote_t *) remote; /* newest first */
    atomic_int asleep; /* epoll_wait may block: a post has to write to the eventfd */
};

/* The state of which there is one per process. */
struct st__process {
    pthread_mutex_t lock; /* for atfork_registered and vps */
    struct st_vp *vps;    /* all VPs of the process; only debuggers read it */
    bool atfork_registered;
    atomic_int vp_count;
    atomic_int eventsys; /* 0: not set */
    atomic_int fd_limit;
    atomic_int no_pwait2;  /* the kernel has no epoll_pwait2 */
    struct st_vp *orphan;  /* in a forked child: the VP that can be taken up again */
    struct st_vp *dropped; /* the one that will not be taken up, kept reachable for leak checkers */
};
extern struct st__process st__process;

/* The calling kernel thread's VP, or NULL. */
extern __thread struct st_vp *st__vp __attribute__((tls_model("initial-exec")));

/* Takes up the parent's VP in a forked child. NULL with errno if there is none. */
struct st_vp *st__vp_revive(void);

/* The VP, for the calls of State Threads 1.9. */
static inline struct st_vp *st__vp_get(void)
{
    struct st_vp *vp = st__vp;

    return ST__LIKELY(vp) ? vp : st__vp_revive();
}

static inline int st__fail(int error)
{
    errno = error;
    return -1;
}

/* --- sched.c --- */

/* Gives up the VP; returns when it is me's turn again. me is in the run queue or waits. */
void st__sched(struct st_vp *vp, struct st_thread *me);
/* The same for a thread that has ended. */
void st__sched_last(struct st_vp *vp, struct st_thread *me) __attribute__((noreturn));
/* Puts the primordial thread's state in place: the scheduler is about to run a callback. */
void st__exchange_for_callbacks(struct st_vp *vp);
/* Frees the stack of a thread that has ended, unless the scheduler still runs on it. */
void st__reap(struct st_vp *vp);

static inline unsigned long long st__switches(const struct st_vp *vp)
{
    return vp->stats.switches + (unsigned long long)(vp->budget_given - vp->budget);
}

/* Threads in the run queue. */
static inline unsigned long long st__runq_count(const struct st_vp *vp)
{
    return vp->queued - st__switches(vp);
}

static inline void st__runq_push(struct st_vp *vp, struct st_thread *thread)
{
    thread->state = ST__READY;
    thread->next = NULL;
    if (!vp->runq_head)
        vp->runq_head = thread;
    else
        vp->runq_tail->next = thread;
    vp->runq_tail = thread;
    vp->queued++;
}

/* --- switch_*.S --- */

/* Saves the registers on the stack and the stack pointer at *save; resumes at `to`. */
void st__switch(void **save, void *to);
/* Where a new thread starts: calls st__thread_main() with the thread. */
void st__thread_start(void);
/* Lays out a new thread's first frame below top (a multiple of 16); returns its stack pointer. */
void *st__switch_frame(void *top, struct st_thread *thread);

/* --- thread.c --- */
/* Where every thread begins, on its own stack: runs its function, and exits with the result. */
void st__thread_main(struct st_thread *me) __attribute__((noreturn));
/* Zeroes a thread and disarms its timer. */
void st__thread_init(struct st_thread *thread);

/* --- timer.c --- */

/* Arms or re-arms a timer; NO_TIMEOUT disarms. -1 with ENOMEM, never for a thread's. */
int st__timer_set(struct st_vp *vp, struct st_timer *timer, st_utime_t timeout);
/* Takes a timer out of the heap. */
void st__timer_remove(struct st_vp *vp, struct st_timer *timer);
/* Makes room for the timers of `threads` threads. -1 with ENOMEM. */
int st__timer_reserve(struct st_vp *vp, unsigned long long threads);
/* us from now to the first key, 0 if it has passed, NO_TIMEOUT if there is none. */
st_utime_t st__timer_delay(const struct st_vp *vp, st_utime_t now);
/* Fires what is due at vp->clock. */
void st__timer_fire_due(struct st_vp *vp);
/* Frees the heap, as the VP ends; no timer is armed afterwards. */
void st__timer_destroy(struct st_vp *vp);

/* --- event.c --- */
/* Creates the VP's epoll instance. -1 with errno. */
int st__event_init(struct st_vp *vp);
/* Closes it as the VP ends, disarms all watches, and frees the table of descriptors. */
void st__event_destroy(struct st_vp *vp);
/* A new epoll instance for a forked child, with everything that waits. */
int st__event_revive(struct st_vp *vp);
/* One turn: visits epoll, waiting only if no thread is ready; wakes threads, runs callbacks. */
void st__event_turn(struct st_vp *vp);

/* --- fd.c --- */

/* The watch's time limit has passed: disarms it, unless it is one for accept(), and calls its
 * callback, which may free it. Called by the scheduler. */
void st__watch_timeout(struct st_vp *vp, st_watch_t *watch);
/* The same when its descriptor is ready. */
void st__watch_ready(struct st_vp *vp, st_watch_t *watch, int ready);
/* Disarms a watch without calling it. Harmless if it is not armed. */
void st__watch_disarm(struct st_vp *vp, st_watch_t *watch);
/* The entry's registration belonged to an earlier descriptor: threads that wait for that one wake
 * with EBADF. */
void st__fd_renewed(struct st_vp *vp, struct st__fd *fd);
/* Forgets an entry: waiters wake with EBADF, watches are disarmed. */
void st__fd_forget(struct st_vp *vp, int osfd, struct st__fd *fd);

/* ... registered with epoll */

/* Registers osfd edge-triggered unless it is registered. -1 with errno. */
int st__event_add(struct st_vp *vp, int osfd, struct st__fd *fd);
/* Renews the registration: the kernel reports the state again. -1 with errno. */
int st__event_rearm(struct st_vp *vp, int osfd, struct st__fd *fd);
/* Registers it level-triggered and EPOLLEXCLUSIVE. -1 with errno. */
int st__event_add_exclusive(struct st_vp *vp, int osfd, struct st__fd *fd, int events);
/* Removes the registration, if there is one. */
void st__event_delete(struct st_vp *vp, int osfd, struct st__fd *fd);

/* ... in the table */

/* The entry of a descriptor number, created if necessary; NULL with EBADF or ENOMEM. */
struct st__fd *st__fd_entry(struct st_vp *vp, int osfd);
/* The entry if it exists, else NULL. */
struct st__fd *st__fd_find(const struct st_vp *vp, int osfd);
/* Frees the table as the VP ends. */
void st__fd_table_destroy(struct st_vp *vp);
/* Adds a waiter (a thread or a watch) to the entry's list. */
void st__fd_link(struct st_vp *vp, struct st__fd *fd, struct st_fd_link *link);
/* Removes a waiter from its list. */
void st__fd_unlink(struct st_vp *vp, struct st_fd_link *link);

/* --- remote.c --- */
/* Runs what other kernel threads have posted, in the order in which they did. Called by the
 * scheduler on each turn. */
void st__remote_run(struct st_vp *vp);

/* --- stack.c --- */
/* Called when a VP starts. */
void st__stack_init(struct st_vp *vp);
/* Called when a VP ends; no stack may be in use then. */
void st__stack_destroy(struct st_vp *vp);
/* A guarded stack of at least size bytes; NULL with ENOMEM. */
struct st__stack *st__stack_new(struct st_vp *vp, size_t size);
/* The thread on it has ended: caches the stack for the next one, or gives its memory back. */
void st__stack_free(struct st_vp *vp, struct st__stack *stack);
/* The lowest usable address of a stack. */
char *st__stack_base(const struct st__stack *stack);
/* Its usable size, bytes. */
size_t st__stack_size(const struct st__stack *stack);
/* The size of the guard below it, bytes. */
size_t st__stack_guard(const struct st__stack *stack);
/* Called before fork(): the child gets only the stack that this is called on. */
void st__stacks_hide(struct st_vp *vp);
/* Called after fork(), in the parent: undoes that. */
void st__stacks_show(struct st_vp *vp);
/* Bytes to leave free at the top: spreads stacks over cache sets. */
size_t st__stack_offset(struct st_vp *vp, const struct st__stack *stack);

/* --- rest.c --- */
/* Puts back what the stack of a thread that rests held: it is about to run. */
void st__rouse(struct st_thread *thread);

/* --- key.c --- */
/* Runs the destructors of an ending thread's private data. They may yield, and may set other
 * keys. */
void st__keys_end(struct st_thread *thread);

/* --- observe.c --- */

/* Like st__sched(), for a thread that has an observer and is about to wait. */
void st__sched_observed(struct st_vp *vp, struct st_thread *me);
/* The same for a thread that yields, and so is in a queue already. */
void st__yield_observed(struct st_vp *vp, struct st_thread *me);

static inline bool st__yields_observed(const struct st_thread *me)
{
    return me->observer && me->observer->yields;
}

/* --- clock.c --- */
/* Updates the time that st_time() returns while its cache is on, to that of this turn (us). */
void st__clock_tick(st_utime_t now);

/* --- shuffle.c --- */
#ifdef ST_SHUFFLE
/* Seeds the VP's random order from the environment, or else from the clock. */
void st__shuffle_start(struct st_vp *vp);
/* Moves a thread near the head of the run queue, drawn at random, to its head. The queue must not
 * be empty. */
void st__shuffle(struct st_vp *vp);
#else
/* Builds without it run threads in the order in which they became ready. */
static inline void st__shuffle_start(struct st_vp *vp)
{
    (void)vp;
}
static inline void st__shuffle(struct st_vp *vp)
{
    (void)vp;
}
#endif

/* --- netfd.c --- */
/* Makes a descriptor object. nonblock: makes the descriptor nonblocking; socket: it is known to be
 * a socket, which takes one system call. NULL with errno (EBADF, ENOMEM, or fcntl()'s); the
 * descriptor still belongs to the caller. */
st_netfd_t st__netfd_new(int osfd, bool nonblock, bool socket);

/* --- debug.c --- */
#if ST__ASAN
/* Tells AddressSanitizer where the primordial thread's stack is. */
void st__asan_init(struct st_thread *primordial);
/* Called before a switch. fake: where the thread that is switched out keeps its fake stack; NULL if
 * it has ended. */
void st__asan_leave(struct st_thread *to, void **fake);
/* Called after a switch, with the fake stack of the thread that now runs. */
void st__asan_arrive(void *fake);
/* Lets the memory be used again, whatever ended frames have left there. */
void st__asan_unpoison(const void *base, size_t size);
#else
static inline void st__asan_init(struct st_thread *primordial)
{
    (void)primordial;
}
static inline void st__asan_leave(struct st_thread *to, void **fake)
{
    (void)to;
    (void)fake;
}
static inline void st__asan_arrive(void *fake)
{
    (void)fake;
}
static inline void st__asan_unpoison(const void *base, size_t size)
{
    (void)base;
    (void)size;
}
#endif
#if ST__VALGRIND
/* Whether the program runs under Valgrind. */
bool st__valgrind_running(void);
/* Tells Valgrind that this memory is a stack. */
void st__valgrind_register(struct st__stack *stack);
/* Tells Valgrind that it no longer is. */
void st__valgrind_deregister(struct st__stack *stack);
/* The stack gets a new thread. */
void st__valgrind_renew(struct st__stack *stack);
/* The whole stack is about to be read. */
void st__valgrind_reveal(const struct st__stack *stack);
#else
static inline bool st__valgrind_running(void)
{
    return false;
}
static inline void st__valgrind_register(struct st__stack *stack)
{
    (void)stack;
}
static inline void st__valgrind_deregister(struct st__stack *stack)
{
    (void)stack;
}
static inline void st__valgrind_renew(struct st__stack *stack)
{
    (void)stack;
}
static inline void st__valgrind_reveal(const struct st__stack *stack)
{
    (void)stack;
}
#endif

#pragma GCC visibility pop

/* --- Waiting and waking: what every call that blocks goes through --- */

/* Delivers a pending interrupt: -1 with EINTR if there was one. */
static inline int st__take_interrupt(struct st_thread *me)
{
    if (ST__LIKELY(!me->interrupted))
        return 0;
    me->interrupted = false;
    return st__fail(EINTR);
}

static inline void st__queue_append(struct st__queue *queue, struct st_thread *thread)
{
    thread->queue = queue;
    thread->queue_next = NULL;
    thread->queue_prev = queue->tail;
    if (!queue->tail)
        queue->head = thread;
    else
        queue->tail->queue_next = thread;
    queue->tail = thread;
}

static inline void st__queue_remove(struct st_thread *thread)
{
    struct st__queue *queue = thread->queue;

    if (!thread->queue_prev)
        queue->head = thread->queue_next;
    else
        thread->queue_prev->queue_next = thread->queue_next;
    if (!thread->queue_next)
        queue->tail = thread->queue_prev;
    else
        thread->queue_next->queue_prev = thread->queue_prev;
    thread->queue = NULL;
}

/* Waits until st__wake(); returns its reason. A timeout is reason ETIME. */
static inline int st__wait(struct st_vp *vp, struct st_thread *me, st_utime_t timeout)
{
    me->state = ST__WAITING;
    if (timeout != ST_UTIME_NO_TIMEOUT)
        (void)st__timer_set(vp, &me->timer, timeout); /* room is reserved: cannot fail */
    if (ST__UNLIKELY(me->observer))
        st__sched_observed(vp, me);
    else
        st__sched(vp, me);
    return me->reason;
}

/* Makes a waiting thread ready and takes it out of its queue and link. */
static inline void st__wake(struct st_vp *vp, struct st_thread *thread, int reason)
{
    assert(thread->state == ST__WAITING);
    if (ST__UNLIKELY(thread->rest))
        st__rouse(thread);
    thread->reason = reason;
    thread->woken = vp->in_callback ? vp->clock : 0;
    thread->timer.deadline = ST_UTIME_NO_TIMEOUT;
    if (thread->queue)
        st__queue_remove(thread);
    if (thread->link.pprev)
        st__fd_unlink(vp, &thread->link);
    st__runq_push(vp, thread);
}

/* Makes the first thread of a queue ready. */
static inline void st__wake_first(struct st_vp *vp, struct st__queue *queue)
{
    struct st_thread *thread = queue->head;

    assert(thread->state == ST__WAITING && !thread->link.pprev);
    queue->head = thread->queue_next;
    if (queue->head)
        queue->head->queue_prev = NULL;
    else
        queue->tail = NULL;
    thread->queue = NULL;
    thread->reason = 0;
    thread->woken = vp->in_callback ? vp->clock : 0;
    thread->timer.deadline = ST_UTIME_NO_TIMEOUT;
    st__runq_push(vp, thread);
}

#include "st/st_sys.h"

#endif /* ST_INTERNAL_H */
