/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual processor: st_init(), st_destroy(), and what fork() does to it. Owns the thread-local
 * pointer through which everything else finds its VP, and the state of which there is one per
 * process.
 */
#include <limits.h>
#include <string.h>

#include "st/st_internal.h"

__thread struct st_vp *st__vp __attribute__((tls_model("initial-exec")));

struct st__process st__process = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd_limit = -1};

void st__fatal(const char *what)
{
    ssize_t ignored;

    ignored = write(STDERR_FILENO, what, strlen(what));
    ignored = write(STDERR_FILENO, "\n", 1);
    (void)ignored;
    abort();
}

/* --- The list of VPs, for debuggers --- */

static void list_add(struct st_vp *vp)
{
    vp->tid = (pid_t)syscall(SYS_gettid);
    pthread_mutex_lock(&st__process.lock);
    vp->next_vp = st__process.vps;
    st__process.vps = vp;
    pthread_mutex_unlock(&st__process.lock);
}

static void list_remove(struct st_vp *vp)
{
    struct st_vp **at = &st__process.vps;

    pthread_mutex_lock(&st__process.lock);
    while (*at && *at != vp)
        at = &(*at)->next_vp;
    if (*at)
        *at = vp->next_vp;
    pthread_mutex_unlock(&st__process.lock);
}

/* --- fork --- */

/* The child shares the parent's epoll instance and eventfd, so it must not touch them. It is not a
 * VP until a State Threads 1.9 call asks for one; then it continues with its copies of the
 * threads. */

static void before_fork(void)
{
    if (st__vp && st__vp->stacks.fork_alone)
        st__stacks_hide(st__vp);
}

static void forked_parent(void)
{
    if (st__vp && st__vp->stacks.fork_alone)
        st__stacks_show(st__vp);
}

static void forked_child(void)
{
    /* The parent's VPs do not exist here, and another of its kernel threads may have held the
     * lock. */
    st__process.vps = NULL;
    pthread_mutex_init(&st__process.lock, NULL);
    if (!st__vp)
        return;
    if (st__vp->stacks.fork_alone)
        st_after_fork_child();
    else
        st__process.orphan = st__vp;
    st__vp = NULL;
}

int st_set_fork_alone(int on)
{
    struct st_vp *vp = st__vp;
    int previous;

    if (!vp)
        return st__fail(EPERM);
    previous = vp->stacks.fork_alone;
    vp->stacks.fork_alone = on != 0;
    return previous;
}

void st_after_fork_child(void)
{
    if (st__vp)
        st__process.dropped = st__vp;
    else if (st__process.orphan)
        st__process.dropped = st__process.orphan;
    st__vp = NULL;
    st__process.orphan = NULL;
    atomic_store(&st__process.vp_count, 0);
}

struct st_vp *st__vp_revive(void)
{
    struct st_vp *vp = st__process.orphan;

    if (!vp) {
        errno = EPERM;
        return NULL;
    }
    if (st__event_revive(vp) < 0)
        return NULL;
    st__process.orphan = NULL;
    atomic_store(&st__process.vp_count, 1);
    list_add(vp);
    st__vp = vp;
    return vp;
}

/* --- Initialization --- */

/* Once per process; an st_init() that fails here may be retried. */
static int register_atfork(void)
{
    int error = 0;

    pthread_mutex_lock(&st__process.lock);
    if (!st__process.atfork_registered) {
        error = st__fault_hit(ST_FAULT_ATFORK)
                    ? errno
                    : pthread_atfork(before_fork, forked_parent, forked_child);
        st__process.atfork_registered = error == 0;
    }
    pthread_mutex_unlock(&st__process.lock);
    return error == 0 ? 0 : st__fail(error);
}

static int ignore_sigpipe(void)
{
    struct sigaction action = {.sa_handler = SIG_IGN};

    sigemptyset(&action.sa_mask);
    return st__sys_sigaction(SIGPIPE, &action);
}

/* What a process has that nobody has given another limit. */
enum { USUAL_FD_LIMIT = 1024 };

/* A sandbox may refuse to say what the limit is, or to change it: then it stays as it is. */
static void raise_fd_limit(void)
{
    struct rlimit limit;
    rlim_t soft;

    if (st__sys_getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        atomic_store(&st__process.fd_limit, USUAL_FD_LIMIT);
        return;
    }
    soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (st__sys_setrlimit(RLIMIT_NOFILE, &limit) < 0)
        limit.rlim_cur = soft;
    atomic_store(&st__process.fd_limit, limit.rlim_cur > INT_MAX ? INT_MAX : (int)limit.rlim_cur);
}

int st_getfdlimit(void)
{
    return atomic_load(&st__process.fd_limit);
}

static struct st_vp *vp_new(void)
{
    struct st_vp *vp = st__aligned_alloc(_Alignof(struct st_vp), sizeof(struct st_vp));

    if (!vp)
        return NULL;
    memset(vp, 0, sizeof(*vp));
    vp->errno_place = &errno;
    vp->budget = vp->budget_given = vp->patience = ST__MIN_BUDGET;
    vp->always_slowly = vp->hooked = ST__ALWAYS_SLOWLY;
    vp->epfd = vp->eventfd = vp->pipe_end = -1;
    st__thread_init(&vp->primordial);
    vp->primordial.state = ST__RUNNING;
    vp->current = &vp->primordial;
    vp->stats.threads = vp->stats.threads_peak = 1;
    return vp;
}

int st_init(void)
{
    struct st_vp *vp;

    if (st__vp)
        return 0;
    if (st__process.orphan)
        return st__vp_revive() ? 0 : -1;

    if (register_atfork() < 0 || ignore_sigpipe() < 0)
        return -1;
    raise_fd_limit();
    if (!(vp = vp_new()))
        return -1;
    if (st__timer_reserve(vp, 1) < 0)
        goto error_vp;
    if (st__event_init(vp) < 0)
        goto error_timer;
    st__stack_init(vp);
    st__shuffle_start(vp);
    st__asan_init(&vp->primordial);
    vp->clock = st_utime();
    atomic_store(&st__process.eventsys, 1);
    atomic_fetch_add(&st__process.vp_count, 1);
    list_add(vp);
    st__vp = vp;
    return 0;

error_timer:
    st__timer_destroy(vp);
error_vp:
    free(vp);
    return -1;
}

int st_destroy(void)
{
    struct st_vp *vp = st__vp;

    if (!vp)
        return st__fail(EPERM);
    if (vp->current != &vp->primordial || vp->stats.threads != 1)
        return st__fail(EBUSY);
    st__keys_end(&vp->primordial);
    vp->in_callback = true;
    st__remote_run(vp); /* what was posted after the last turn: it may hold memory */
    vp->in_callback = false;
    if (vp->stats.threads != 1) /* a destructor or a callback made one */
        return st__fail(EBUSY);
    st__vp = NULL;
    list_remove(vp);
    st__timer_destroy(vp);
    st__event_destroy(vp);
    st__stack_destroy(vp);
    free(vp);
    atomic_fetch_sub(&st__process.vp_count, 1);
    return 0;
}

int st_is_vp(void)
{
    return !!st__vp;
}

st_vp_t st_vp_self(void)
{
    return st__vp;
}

/* --- The event system: only one, though State Threads 1.9 lets the program choose --- */

int st_set_eventsys(int eventsys)
{
    if (atomic_load(&st__process.eventsys))
        return st__fail(EBUSY);
    if (eventsys < ST_EVENTSYS_DEFAULT || eventsys > ST_EVENTSYS_ALT)
        return st__fail(EINVAL);
    atomic_store(&st__process.eventsys, 1);
    return 0;
}

int st_get_eventsys(void)
{
    return atomic_load(&st__process.eventsys) ? ST_EVENTSYS_ALT : -1;
}

const char *st_get_eventsys_name(void)
{
    return atomic_load(&st__process.eventsys) ? "epoll" : "";
}
