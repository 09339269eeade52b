/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a state thread is: the record whose address is its pthread_t, and the number that gettid()
 * gives it. Owns the memory of all records. Calls that take another thread's number (kill(),
 * sched_setaffinity(), ...) are given that of its kernel thread. Used by stiol.c and thread.c, and
 * through the replacements.
 */
#include <stdarg.h>
#include <sys/syscall.h>

#include "stiol/carry.h"
#include "stiol/stiol_int.h"
#include "stiol/thread.h"

/* Above every number that the kernel assigns (pid_max is at most 2^22), and with the two highest
 * bits clear, which priority-inheriting futexes use for themselves. */
enum {
    FIRST_TID = 1 << 24,
    LAST_TID = (1 << 30) - 1,
};

typedef struct number {
    stiol__thread_t *thread; /* NULL: free */
    unsigned next;           /* in the list of free ones; 0: the last */
} number_t;

static struct {
    pthread_mutex_t lock;          /* held briefly: other kernel threads join state threads, too */
    stiol__thread_t *free_records; /* linked by `next` */
    number_t *numbers;             /* FIRST_TID + i; the first one is never used */
    unsigned size, used;
    unsigned oldest, newest; /* free ones: the oldest is used next, as in the kernel */
} identity = {.lock = PTHREAD_MUTEX_INITIALIZER, .used = 1};

/* In the child of a fork, where there is no VP: the state thread that called fork(), of which the
 * child's only thread is a copy. */
static __thread stiol__thread_t *survivor __attribute__((tls_model("initial-exec")));
/* The same before the fork: in the child, libst's handler has already run and no longer knows the
 * thread. */
static __thread stiol__thread_t *forking __attribute__((tls_model("initial-exec")));

/* --- records --- */

stiol__thread_t *stiol__record_new(void)
{
    stiol__thread_t *self;

    pthread_mutex_lock(&identity.lock);
    self = identity.free_records;
    if (self)
        identity.free_records = self->next;
    pthread_mutex_unlock(&identity.lock);
    if (!self)
        return calloc(1, sizeof(*self));
    memset(self, 0, sizeof(*self));
    return self;
}

/* Called with the lock held. */
static void free_number(unsigned i)
{
    identity.numbers[i] = (number_t){0};
    if (identity.oldest == 0)
        identity.oldest = i;
    else
        identity.numbers[identity.newest].next = i;
    identity.newest = i;
}

void stiol__record_free(stiol__thread_t *self)
{
    free(self->unwinding);
    self->unwinding = NULL;
    pthread_mutex_lock(&identity.lock);
    if (self->tid != 0)
        free_number((unsigned)(self->tid - FIRST_TID));
    self->tid = 0;
    self->magic = STIOL_THREAD_ENDED;
    self->next = identity.free_records;
    identity.free_records = self;
    pthread_mutex_unlock(&identity.lock);
}

/** After the last VP. Those of threads that nobody has joined stay. */
void stiol__records_stop(void)
{
    stiol__thread_t *self;

    pthread_mutex_lock(&identity.lock);
    while ((self = identity.free_records)) {
        identity.free_records = self->next;
        free(self);
    }
    pthread_mutex_unlock(&identity.lock);
}

static inline stiol__thread_t *identified(void)
{
    stiol__vp_t *vp = stiol__mine();
    stiol__thread_t *self = NULL;

    if (STIOL_UNLIKELY(!vp))
        self = stiol__interrupted() ? stiol__interrupted_self()
               : stiol__carried()   ? stiol__carried()
                                    : survivor;
    else if (STIOL_LIKELY(!st_in_callback()))
        self = stiol__self(vp);
    return self && STIOL_LIKELY(!self->primordial) ? self : NULL;
}

/** Before a fork. */
void stiol__identity_forking(void)
{
    forking = identified();
}

/** In a child after fork. The process takes the name of the thread that called it. */
void stiol__identity_forked(void)
{
    pthread_mutex_init(&identity.lock, NULL); /* another thread may have held it */
    survivor = forking;
    if (survivor && survivor->name[0] != '\0')
        (void)prctl(PR_SET_NAME, survivor->name);
}

bool stiol__is_survivor(const stiol__thread_t *self)
{
    return STIOL_UNLIKELY(self == survivor) && !stiol__interrupted();
}

stiol__thread_t *stiol__identified(void)
{
    return identified();
}

/* The primordial thread is the kernel thread. */
pthread_t stiol__pthread_self(void)
{
    stiol__thread_t *self = identified();

    return STIOL_LIKELY(self) ? (pthread_t)self : pthread_self();
}

/* --- numbers --- */

/* With the lock. 0: no memory. */
static unsigned more_numbers(void)
{
    unsigned size = identity.size != 0 ? 2 * identity.size : 64;
    number_t *numbers;

    if (size > LAST_TID - FIRST_TID)
        return 0;
    numbers = realloc(identity.numbers, size * sizeof(*numbers));
    if (!numbers)
        return 0;
    identity.numbers = numbers;
    identity.size = size;
    return identity.used++;
}

/* Called with the lock held. A number that is free, and has been for as long as possible. */
static unsigned take_number(void)
{
    unsigned i = identity.oldest;

    if (identity.used < identity.size)
        return identity.used++;
    if (i == 0)
        return more_numbers();
    identity.oldest = identity.numbers[i].next;
    return i;
}

/* A handler is not the place to make one: later callers get it. */
static pid_t number_of(stiol__thread_t *self)
{
    unsigned i;

    if (!stiol__mine() && !stiol__carriage)
        return gettid();
    pthread_mutex_lock(&identity.lock);
    i = take_number();
    if (i != 0) {
        identity.numbers[i] = (number_t){.thread = self};
        self->tid = (pid_t)(FIRST_TID + i);
    }
    pthread_mutex_unlock(&identity.lock);
    return i != 0 ? self->tid : gettid();
}

pid_t stiol__gettid(void)
{
    stiol__thread_t *self = identified();

    if (!self || STIOL_UNLIKELY(stiol__is_survivor(self)) || stiol__lent())
        return gettid(); /* a forked child is a process */
    return STIOL_LIKELY(self->tid != 0) ? self->tid : number_of(self);
}

/* Of the kernel thread that runs it. */
static pid_t tid_of(const stiol__thread_t *thread)
{
    pid_t carrier = atomic_load(&thread->carrier_tid);

    return carrier != 0 ? carrier : thread->vp->tid;
}

pid_t stiol__kernel_tid(pid_t tid)
{
    unsigned i = (unsigned)(tid - FIRST_TID);

    if (STIOL_LIKELY(tid < FIRST_TID || tid > LAST_TID))
        return tid;
    pthread_mutex_lock(&identity.lock);
    if (i < identity.used && identity.numbers[i].thread)
        tid = tid_of(identity.numbers[i].thread);
    pthread_mutex_unlock(&identity.lock);
    return tid; /* unused: the kernel does not know it either */
}

/* --- calls that take one --- */

int stiol__tgkill(pid_t process, pid_t thread, int signal)
{
    (void)STIOL_ENTER(thread, tgkill, thread);
    return tgkill(process, stiol__kernel_tid(thread), signal);
}

/* The kernel takes a thread's number here for its process's. */
int stiol__kill(pid_t process, int signal)
{
    (void)STIOL_ENTER(thread, kill, process);
    return kill(stiol__kernel_tid(process), signal);
}

int stiol__sched_setaffinity(pid_t thread, size_t size, const cpu_set_t *cpus)
{
    (void)STIOL_ENTER(thread, sched_setaffinity, thread);
    return sched_setaffinity(stiol__kernel_tid(thread), size, cpus);
}

int stiol__sched_getaffinity(pid_t thread, size_t size, cpu_set_t *cpus)
{
    (void)STIOL_ENTER(thread, sched_getaffinity, thread);
    return sched_getaffinity(stiol__kernel_tid(thread), size, cpus);
}

int stiol__sched_setscheduler(pid_t thread, int policy, const struct sched_param *param)
{
    (void)STIOL_ENTER(thread, sched_setscheduler, thread);
    return sched_setscheduler(stiol__kernel_tid(thread), policy, param);
}

int stiol__sched_getscheduler(pid_t thread)
{
    (void)STIOL_ENTER(thread, sched_getscheduler, thread);
    return sched_getscheduler(stiol__kernel_tid(thread));
}

int stiol__sched_setparam(pid_t thread, const struct sched_param *param)
{
    (void)STIOL_ENTER(thread, sched_setparam, thread);
    return sched_setparam(stiol__kernel_tid(thread), param);
}

int stiol__sched_getparam(pid_t thread, struct sched_param *param)
{
    (void)STIOL_ENTER(thread, sched_getparam, thread);
    return sched_getparam(stiol__kernel_tid(thread), param);
}

int stiol__sched_rr_get_interval(pid_t thread, struct timespec *interval)
{
    (void)STIOL_ENTER(thread, sched_rr_get_interval, thread);
    return sched_rr_get_interval(stiol__kernel_tid(thread), interval);
}

int stiol__setpriority(__priority_which_t which, id_t who, int priority)
{
    (void)STIOL_ENTER(thread, setpriority, who);
    if (which == PRIO_PROCESS)
        who = (id_t)stiol__kernel_tid((pid_t)who);
    return setpriority(which, who, priority);
}

int stiol__getpriority(__priority_which_t which, id_t who)
{
    (void)STIOL_ENTER(thread, getpriority, who);
    if (which == PRIO_PROCESS)
        who = (id_t)stiol__kernel_tid((pid_t)who);
    return getpriority(which, who);
}

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

int stiol__timer_create(clockid_t clock, struct sigevent *restrict event, timer_t *restrict timer)
{
    struct sigevent real;

    (void)STIOL_ENTER(thread, timer_create, clock);
    if (!event || event->sigev_notify != SIGEV_THREAD_ID)
        return timer_create(clock, event, timer);
    real = *event;
    real.sigev_notify_thread_id = stiol__kernel_tid(event->sigev_notify_thread_id);
    return timer_create(clock, &real, timer);
}

/* Which argument of a system call is a thread's number; -1: none. */
static int tid_argument(long number, const long *arguments)
{
    switch (number) {
    case SYS_tkill:
    case SYS_kill:
    case SYS_sched_setaffinity:
    case SYS_sched_getaffinity:
    case SYS_sched_setscheduler:
    case SYS_sched_getscheduler:
    case SYS_sched_setparam:
    case SYS_sched_getparam:
    case SYS_sched_setattr:
    case SYS_sched_getattr:
    case SYS_sched_rr_get_interval:
    case SYS_prlimit64:
    case SYS_get_robust_list:
        return 0;
    case SYS_tgkill:
    case SYS_rt_tgsigqueueinfo:
    case SYS_perf_event_open:
        return 1;
    case SYS_setpriority:
    case SYS_getpriority:
        return arguments[0] == PRIO_PROCESS ? 1 : -1;
    case SYS_ioprio_set:
    case SYS_ioprio_get:
        return arguments[0] == 1 /* IOPRIO_WHO_PROCESS */ ? 1 : -1;
    default:
        return -1;
    }
}

bool stiol__syscall_identity(long number, long *arguments, long *result)
{
    int i;

    if (number == SYS_gettid) {
        *result = stiol__gettid();
        return true;
    }
    i = tid_argument(number, arguments);
    if (i >= 0)
        arguments[i] = stiol__kernel_tid((pid_t)arguments[i]);
    return false;
}

/* --- names --- */

static void keep_name(stiol__thread_t *self, const char *name)
{
    strncpy(self->name, name, sizeof(self->name) - 1);
}

int stiol__pthread_setname_np(pthread_t id, const char *name)
{
    stiol__thread_t *thread = stiol__record_of(id);

    (void)STIOL_ENTER(thread, pthread_setname_np, id);
    if (!thread)
        return pthread_setname_np(id, name);
    if (thread->magic == STIOL_THREAD_ENDED)
        return ESRCH;
    if (stiol__is_survivor(thread))
        return pthread_setname_np(pthread_self(), name);
    if (strlen(name) >= sizeof(thread->name))
        return ERANGE;
    keep_name(thread, name);
    return 0;
}

/* A thread without a name has its VP's, as a kernel thread has its creator's. */
int stiol__pthread_getname_np(pthread_t id, char *name, size_t size)
{
    const stiol__thread_t *thread = stiol__record_of(id);

    (void)STIOL_ENTER(thread, pthread_getname_np, id);
    if (!thread)
        return pthread_getname_np(id, name, size);
    if (thread->magic == STIOL_THREAD_ENDED)
        return ESRCH;
    if (thread->name[0] == '\0' || stiol__is_survivor(thread))
        return pthread_getname_np(thread->vp->id, name, size);
    if (size <= strlen(thread->name))
        return ERANGE;
    strcpy(name, thread->name);
    return 0;
}

/* The other way to the name. Everything else that prctl() does concerns the process, or is for the
 * real call. */
int stiol__prctl(int option, ...)
{
    stiol__thread_t *self = identified();
    unsigned long arguments[4];
    va_list list;

    (void)STIOL_ENTER(thread, prctl, option);
    va_start(list, option);
    for (int i = 0; i < 4; i++)
        arguments[i] = va_arg(list, unsigned long);
    va_end(list);
    if (self && (stiol__is_survivor(self) || stiol__lent()))
        self = NULL;
    if (self && option == PR_SET_NAME) {
        keep_name(self, (const char *)arguments[0]); /* longer ones are truncated */
        return 0;
    }
    if (self && option == PR_GET_NAME && self->name[0] != '\0') {
        memcpy((void *)arguments[0], self->name, sizeof(self->name));
        return 0;
    }
    return prctl(option, arguments[0], arguments[1], arguments[2], arguments[3]);
}
