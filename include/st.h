/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public interface of libst, the state threads runtime: every call of State Threads 1.9 with
 * the same meaning, and what the I/O layer and the MPM need beyond it. Owned by st/; included by
 * all parts.
 *
 * Rules that hold for every call:
 *  - Time is in microseconds (us). A timeout counts from the call: what the thread computed before
 *    that does not count against it. ST_UTIME_NO_WAIT and ST_UTIME_NO_TIMEOUT are its two ends.
 *  - An int or ssize_t call that fails returns -1, a pointer call NULL; errno then says why. errno
 *    is kept per state thread.
 *  - A virtual processor (VP) is a kernel thread on which st_init() was called. Unless said
 *    otherwise a call is made on a VP; on any other kernel thread it fails with EPERM.
 *  - State threads never move between VPs. Objects (threads, descriptors, locks, watches) belong
 *    to the VP that made them; only st_vp_post() may be called from elsewhere.
 *  - "Yields: yes" means that other state threads may run before the call returns.
 *
 * Each declaration is documented in one form, from which the manual pages are made:
 * text, then @param, @return, @errno, @yields, @since.
 */
#ifndef ST_H
#define ST_H

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define ST_VERSION       "2.0"
#define ST_VERSION_MAJOR 2
#define ST_VERSION_MINOR 0

/** Defined while the library has the context switch callbacks. */
#define ST_SWITCH_CB

#ifndef ETIME
#define ETIME ETIMEDOUT
#endif

/** A timeout that never passes. */
#ifndef ST_UTIME_NO_TIMEOUT
#define ST_UTIME_NO_TIMEOUT ((st_utime_t)-1LL)
#endif

/** A timeout that has already passed: check once, do not wait. */
#ifndef ST_UTIME_NO_WAIT
#define ST_UTIME_NO_WAIT 0
#endif

/** Event systems, for st_set_eventsys(). Whichever is chosen, epoll is used. */
#define ST_EVENTSYS_DEFAULT 0
#define ST_EVENTSYS_SELECT  1
#define ST_EVENTSYS_POLL    2
#define ST_EVENTSYS_ALT     3

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/** Time or a span of time in microseconds, from an arbitrary start. */
typedef unsigned long long st_utime_t;
/** A state thread; valid until it has ended and, if joinable, was joined. */
typedef struct st_thread *st_thread_t;
/** A condition variable. */
typedef struct st_cond *st_cond_t;
/** A mutual exclusion lock among the state threads of one VP. */
typedef struct st_mutex *st_mutex_t;
/** A file descriptor object: an OS descriptor made non-blocking, with private data. */
typedef struct st_netfd *st_netfd_t;
/** A virtual processor, as seen from other kernel threads. */
typedef struct st_vp *st_vp_t;
#ifdef ST_SWITCH_CB
/** A function called when a state thread is switched out or in. */
typedef void (*st_switch_cb_t)(void);
#endif

/* --- Initialization --- */

/**
 * Makes the calling kernel thread a VP; what runs on it becomes the primordial state thread. Also
 * sets SIGPIPE to be ignored and raises the soft limit of open descriptors to the hard one.
 * Calling it again on the same VP is harmless.
 *
 * After fork() in a process whose forking thread was a VP, the child is not a VP until it makes one
 * of the State Threads 1.9 calls (this one included); then it continues with copies of all state
 * threads of the parent, on its own epoll instance. See st_after_fork_child() for the alternative.
 *
 * @return 0, or -1 with errno
 * @errno ENOMEM  no memory
 * @errno EMFILE  no descriptors left for epoll and the eventfd (2 are needed), also ENFILE
 * @yields no
 * @since 1.9
 */
int st_init(void);

/**
 * Frees everything that the calling VP holds: stacks, timers, the descriptor table, epoll. Ends the
 * primordial thread's private data (key destructors run). Armed watches are disarmed. Calls that
 * st_vp_post() has posted by then are made. st_init() may be called again afterwards.
 *
 * @return 0, or -1 with errno
 * @errno EBUSY  not called from the primordial thread, or other state threads are alive
 * @errno EPERM  the kernel thread is no VP
 * @yields no
 * @since 2.0
 */
int st_destroy(void);

/**
 * Tells whether the calling kernel thread is a VP. Costs one read of a thread-local pointer.
 *
 * @return nonzero if it is
 * @yields no
 * @since 2.0
 */
int st_is_vp(void);

/**
 * Drops the calling kernel thread's VP for good, touching neither epoll nor memory: for a forked
 * child that wants nothing to do with the parent's state threads. libst itself drops it in every
 * child of fork() (pthread_atfork), but can take it up again; after this call it cannot, and
 * st_init() makes a new VP.
 *
 * @yields no
 * @since 2.0
 */
void st_after_fork_child(void);

/**
 * Says what children of fork() get of the calling VP. By default they get copies of all stacks,
 * which takes some 20 us for each state thread. With this on, they get only the stack of the thread
 * that called fork(): right for children that will soon call exec(). Such a child cannot continue
 * as a VP, just as after st_after_fork_child().
 *
 * @param on  nonzero: children get only that stack
 * @return the previous setting, or -1 with EPERM on a kernel thread that is no VP
 * @yields no
 * @since 2.0
 */
int st_set_fork_alone(int on);

/**
 * Says how many descriptors the process may open.
 *
 * @return the limit set by st_init(), -1 before it
 * @yields no
 * @since 1.9
 */
int st_getfdlimit(void);

/**
 * Chooses the event system. To be called before st_init().
 *
 * @param eventsys  one of ST_EVENTSYS_*; all are served by epoll
 * @return 0, or -1 with errno
 * @errno EINVAL  not a known value
 * @errno EBUSY   the event system has been set already
 * @yields no
 * @since 1.9
 */
int st_set_eventsys(int eventsys);

/**
 * Says which event system is in use.
 *
 * @return the event system in use: ST_EVENTSYS_ALT, or -1 while none is set
 * @yields no
 * @since 1.9
 */
int st_get_eventsys(void);

/**
 * Names the event system in use.
 *
 * @return the name of the event system in use: "epoll", or "" while none is set
 * @yields no
 * @since 1.9
 */
const char *st_get_eventsys_name(void);

#ifdef ST_SWITCH_CB
/**
 * Sets the function called whenever a state thread resumes after having stopped. It is not called
 * for the first run of a new thread. It runs as the thread in question and must not block.
 *
 * @param cb  the function, NULL for none (the default)
 * @return the previous one
 * @yields no
 * @since 1.9
 */
st_switch_cb_t st_set_switch_in_cb(st_switch_cb_t cb);

/**
 * Sets the function called whenever a state thread stops, including the last time. It runs as the
 * thread in question and must not block.
 *
 * @param cb  the function, NULL for none (the default)
 * @return the previous one
 * @yields no
 * @since 1.9
 */
st_switch_cb_t st_set_switch_out_cb(st_switch_cb_t cb);
#endif

/* --- State threads --- */

/**
 * Identifies the calling state thread.
 *
 * @return the calling state thread; NULL on a kernel thread that is no VP
 * @yields no
 * @since 1.9
 */
st_thread_t st_thread_self(void);

/**
 * Creates a state thread and puts it at the end of the run queue.
 *
 * @param start       the function to run; its return ends the thread
 * @param arg         passed to start
 * @param joinable    nonzero: the thread is kept when it ends until st_thread_join() takes it
 * @param stack_size  bytes, rounded up to pages and to at least 16 KB; 0 means 64 KB. Only touched
 *                    pages use memory. A guard lies below every stack.
 * @return the thread, or NULL with errno
 * @errno ENOMEM  no memory, no address space, or no mapping left to guard the stack with
 * @errno EINVAL  stack_size is negative
 * @yields no
 * @since 1.9
 */
st_thread_t st_thread_create(void *(*start)(void *arg), void *arg, int joinable, int stack_size);

/**
 * Ends the calling state thread: destructors of its keys run, a joiner is woken. When the last
 * thread of the VP ends, the process exits with status 0.
 *
 * @param retval  given to st_thread_join()
 * @yields yes, and does not return
 * @since 1.9
 */
void st_thread_exit(void *retval) __attribute__((noreturn));

/**
 * Waits until a joinable thread has ended. Only one thread may join another.
 *
 * @param thread   the thread; no longer valid after success
 * @param retvalp  receives its return value, unless NULL
 * @return 0, or -1 with errno
 * @errno EINVAL   the thread is not joinable, or another thread waits for it already
 * @errno EDEADLK  the thread is the caller
 * @errno EINTR    interrupted by st_thread_interrupt()
 * @yields yes, unless the thread has ended already
 * @since 1.9
 */
int st_thread_join(st_thread_t thread, void **retvalp);

/**
 * Interrupts a state thread: the call in which it waits fails with EINTR. If it does not wait, its
 * next call that would wait does. A thread that has ended is left alone.
 *
 * @param thread  the thread, may be the caller
 * @yields no
 * @since 1.9
 */
void st_thread_interrupt(st_thread_t thread);

/**
 * Gives the VP to the next ready state thread and returns when the caller's turn comes again. Also
 * polls for I/O now and then. Not interruptible.
 *
 * @yields yes
 * @since 2.0
 */
void st_thread_yield(void);

/**
 * Yields like st_thread_yield(), but also to threads that become ready in the meantime: the caller,
 * and others that did the same, resume when no other thread is ready, or when epoll is about to be
 * visited. For work that is best done in batches, such as sending. If no other thread is ready, or
 * the last visit to epoll was a millisecond ago, it returns at once, and the threads that wait in
 * this way run next.
 *
 * @yields maybe
 * @since 2.0
 */
void st_thread_yield_last(void);

/**
 * Parks the calling state thread until st_thread_unpark(). A token left by an earlier unpark makes
 * it return 0 at once, and takes precedence over timeout and interrupt.
 *
 * @param timeout  us
 * @return 0, or -1 with errno
 * @errno ETIME  the timeout passed
 * @errno EINTR  interrupted by st_thread_interrupt()
 * @yields yes, unless there is a token
 * @since 2.0
 */
int st_thread_park(st_utime_t timeout);

/**
 * Makes a parked thread ready. If it is not parked, it gets a token for its next st_thread_park();
 * there is never more than one. Unparking a ready thread again before it runs has no further
 * effect.
 *
 * @param thread  a thread of the same VP
 * @yields no
 * @since 2.0
 */
void st_thread_unpark(st_thread_t thread);

/**
 * Turns the randomization of stack bases on or off for threads created from now on. When on, stacks
 * are a page larger and start at a random offset in it.
 *
 * @param on  nonzero: on
 * @return the previous setting
 * @yields no
 * @since 1.9
 */
int st_randomize_stacks(int on);

/* --- Observing waits --- */

/** What a wait is for. */
typedef enum st_wait_kind {
    ST_WAIT_OTHER,
    ST_WAIT_FD,       /**< a descriptor: .number; .events says for what */
    ST_WAIT_SLEEP,    /**< a length of time */
    ST_WAIT_LOCK,     /**< a lock in memory, at .object */
    ST_WAIT_COND,     /**< a condition variable, at .object */
    ST_WAIT_FILELOCK, /**< a lock on the file .number */
    ST_WAIT_DISK,     /**< a file system: the file .number, or .name relative to that directory */
    ST_WAIT_NAME,     /**< a name service, about .name */
    ST_WAIT_PROCESS,  /**< the process .number; -1: any */
    ST_WAIT_THREAD,   /**< the end of another thread */
    ST_WAIT_KERNEL,   /**< a kernel thread that does the thread's work */
    ST_WAIT_LOG,      /**< syslog */
    ST_WAIT_KINDS
} st_wait_kind_t;

/** A wait, declared by whoever is about to park: on its stack until st_wait_end(). */
typedef struct st_wait {
    st_wait_kind_t kind;
    int number;         /**< a descriptor or a process; -1: none */
    int events;         /**< POLLIN and POLLOUT */
    const void *object; /**< an address; it need not be valid */
    const char *name;   /**< valid until the end of the wait; NULL: none */
    st_utime_t since;   /**< set when it first parks, us; 0: it has not */
} st_wait_t;

/** Receives a thread's waits. The callbacks run on that thread and must not yield. */
typedef struct st_observer {
    /** It is about to park; the time is `now`, us. `wait` is valid until resumes() is called. */
    void (*parks)(struct st_observer *observer, const st_wait_t *wait, st_utime_t now);
    /** It runs again. `woken` is when an event made it ready, us, or 0 if another thread did. */
    void (*resumes)(struct st_observer *observer, st_utime_t woken);
    /** It yielded at `yielded`, us, and now runs again. NULL if this is not wanted. */
    void (*yields)(struct st_observer *observer, st_utime_t yielded);
} st_observer_t;

/**
 * Reports the calling thread's waits to an observer. Each wait then reads the clock.
 *
 * @param observer  must stay valid until it is replaced or the thread ends; NULL stops reporting
 * @yields no
 * @since 2.0
 */
void st_thread_observe(st_observer_t *observer);

/**
 * Declares what the calling thread will wait for until st_wait_end(), however often it parks. If a
 * wait is already declared, this has no effect: the outermost caller knows best.
 *
 * @param wait  must stay valid and unchanged until st_wait_end()
 * @yields no
 * @since 2.0
 */
void st_wait_begin(st_wait_t *wait);

/**
 * Ends a wait that the calling thread has declared.
 *
 * @param wait  the one passed to st_wait_begin(); has no effect if that ignored it. NULL: any
 * @yields no
 * @since 2.0
 */
void st_wait_end(const st_wait_t *wait);

/**
 * Returns where a VP stores its running thread, for code that needs it often and cannot afford a
 * call.
 *
 * @param vp  from st_vp_self()
 * @return a pointer to the thread, valid as long as the VP
 * @yields no
 * @since 2.0
 */
const st_thread_t *st_vp_current(st_vp_t vp);

/* --- Time --- */

/**
 * Replaces the clock behind st_utime(). To be called before st_init().
 *
 * @param func  returns us from an arbitrary start, never going back; NULL: the built-in clock
 * @return 0, or -1 with errno
 * @errno EINVAL  a VP exists already
 * @yields no
 * @since 1.9
 */
int st_set_utime_function(st_utime_t (*func)(void));

/**
 * Reads the high-resolution clock. Works on any kernel thread.
 *
 * @return us
 * @yields no
 * @since 1.9
 */
st_utime_t st_utime(void);

/**
 * Returns a recent time without reading the clock. The longer threads have run since the
 * scheduler's last visit to epoll, the older it is.
 *
 * @return the time of the scheduler's last visit to epoll, us
 * @yields no
 * @since 1.9
 */
st_utime_t st_utime_last_clock(void);

/**
 * Turns the cache behind st_time() on or off. The scheduler renews the cached time when it is more
 * than a second old.
 *
 * @param on  nonzero: on
 * @return the previous setting, 0 or 1
 * @yields no
 * @since 1.9
 */
int st_timecache_set(int on);

/**
 * Tells the time of day in seconds.
 *
 * @return seconds since the Epoch: cached if st_timecache_set() is on, else time(2)
 * @yields no
 * @since 1.9
 */
time_t st_time(void);

/**
 * Suspends the calling thread.
 *
 * @param usecs  us; ST_UTIME_NO_WAIT: yields; ST_UTIME_NO_TIMEOUT: until interrupted
 * @return 0, or -1 with errno
 * @errno EINTR  interrupted by st_thread_interrupt()
 * @yields yes
 * @since 1.9
 */
int st_usleep(st_utime_t usecs);

/**
 * Suspends the calling thread.
 *
 * @param secs  seconds; 0: yields; negative: until interrupted
 * @return 0, or -1 with errno
 * @errno EINTR  interrupted by st_thread_interrupt()
 * @yields yes
 * @since 1.9
 */
int st_sleep(int secs);

/* --- Condition variables and mutexes --- */

/**
 * Makes a condition variable.
 *
 * @return a new condition variable, or NULL with errno
 * @errno ENOMEM  no memory
 * @yields no
 * @since 1.9
 */
st_cond_t st_cond_new(void);

/**
 * Destroys a condition variable.
 *
 * @param cvar  no longer valid after success
 * @return 0, or -1 with errno
 * @errno EBUSY  threads wait on it
 * @yields no
 * @since 1.9
 */
int st_cond_destroy(st_cond_t cvar);

/**
 * Waits until the condition is signalled. No mutex is needed: nothing changes between a check and
 * this call unless something in between yields.
 *
 * @param cvar     the condition variable
 * @param timeout  us
 * @return 0, or -1 with errno
 * @errno ETIME  the timeout passed
 * @errno EINTR  interrupted by st_thread_interrupt() (also: after the signal, before running)
 * @yields yes
 * @since 1.9
 */
int st_cond_timedwait(st_cond_t cvar, st_utime_t timeout);

/**
 * st_cond_timedwait() without a timeout.
 *
 * @param cvar  the condition variable
 * @return 0, or -1 with errno
 * @errno EINTR  interrupted by st_thread_interrupt()
 * @yields yes
 * @since 1.9
 */
int st_cond_wait(st_cond_t cvar);

/**
 * Wakes the thread that has waited longest, if any.
 *
 * @param cvar  the condition variable
 * @return 0
 * @yields no
 * @since 1.9
 */
int st_cond_signal(st_cond_t cvar);

/**
 * Wakes all waiting threads, in the order in which they came.
 *
 * @param cvar  the condition variable
 * @return 0
 * @yields no
 * @since 1.9
 */
int st_cond_broadcast(st_cond_t cvar);

/**
 * Makes a mutex, unlocked.
 *
 * @return a new mutex, unlocked, or NULL with errno
 * @errno ENOMEM  no memory
 * @yields no
 * @since 1.9
 */
st_mutex_t st_mutex_new(void);

/**
 * Destroys a mutex.
 *
 * @param lock  no longer valid after success
 * @return 0, or -1 with errno
 * @errno EBUSY  it is locked
 * @yields no
 * @since 1.9
 */
int st_mutex_destroy(st_mutex_t lock);

/**
 * Locks a mutex, waiting in its queue if it is taken.
 *
 * @param lock  the mutex
 * @return 0, or -1 with errno
 * @errno EDEADLK  the caller has it already
 * @errno EINTR    interrupted by st_thread_interrupt() before it got the mutex (also: before the
 *                 call, even if the mutex is free)
 * @yields yes, if the mutex is taken
 * @since 1.9
 */
int st_mutex_lock(st_mutex_t lock);

/**
 * Unlocks a mutex; the first thread in its queue becomes the owner.
 *
 * @param lock  the mutex
 * @return 0, or -1 with errno
 * @errno EPERM  the caller does not have it
 * @yields no
 * @since 1.9
 */
int st_mutex_unlock(st_mutex_t lock);

/**
 * Locks a mutex if it is free.
 *
 * @param lock  the mutex
 * @return 0, or -1 with errno
 * @errno EBUSY  a thread, maybe the caller, has it
 * @yields no
 * @since 1.9
 */
int st_mutex_trylock(st_mutex_t lock);

/* --- Thread-specific data --- */

/**
 * Creates a key, valid in all threads of all VPs of the process; every value starts as NULL. Keys
 * cannot be removed.
 *
 * @param keyp        receives the key
 * @param destructor  called with a non-NULL value when the value is replaced and when its thread
 *                    ends; may be NULL
 * @return 0, or -1 with errno
 * @errno EAGAIN  st_key_getlimit() keys exist already
 * @yields no
 * @since 1.9
 */
int st_key_create(int *keyp, void (*destructor)(void *));

/**
 * Says how many keys there can be.
 *
 * @return how many keys a process may make: 1024
 * @yields no
 * @since 1.9
 */
int st_key_getlimit(void);

/**
 * Sets the calling thread's value of a key. The destructor is called with a replaced value that is
 * neither NULL nor equal to the new one.
 *
 * @param key    from st_key_create()
 * @param value  the value
 * @return 0, or -1 with errno
 * @errno EINVAL  not a key
 * @errno ENOMEM  no memory
 * @yields no, unless the destructor does
 * @since 1.9
 */
int st_thread_setspecific(int key, void *value);

/**
 * Reads the calling thread's value of a key.
 *
 * @param key  from st_key_create()
 * @return the calling thread's value, NULL if there is none or key is not a key
 * @yields no
 * @since 1.9
 */
void *st_thread_getspecific(int key);

/* --- Descriptor objects --- */

/**
 * Makes a descriptor object from any open descriptor and sets it non-blocking.
 *
 * @param osfd  the descriptor
 * @return the object, or NULL with errno
 * @errno EBADF   not an open descriptor
 * @errno ENOMEM  no memory
 * @yields no
 * @since 1.9
 */
st_netfd_t st_netfd_open(int osfd);

/**
 * The same for a socket, with one system call fewer.
 *
 * @param osfd  the socket
 * @return the object, or NULL with errno
 * @errno EBADF   not an open descriptor
 * @errno ENOMEM  no memory
 * @yields no
 * @since 1.9
 */
st_netfd_t st_netfd_open_socket(int osfd);

/**
 * Frees a descriptor object and leaves the descriptor open. The destructor of its data runs. In
 * threads that wait on the descriptor, the call fails with EBADF.
 *
 * @param fd  the object, no longer valid
 * @yields no
 * @since 1.9
 */
void st_netfd_free(st_netfd_t fd);

/**
 * Frees a descriptor object and closes the descriptor.
 *
 * @param fd  the object, no longer valid unless EBUSY
 * @return 0, or -1 with errno of close(2) or
 * @errno EBUSY  threads wait on it; nothing was done
 * @yields no
 * @since 1.9
 */
int st_netfd_close(st_netfd_t fd);

/**
 * Gives the descriptor of an object.
 *
 * @param fd  the object
 * @return its descriptor
 * @yields no
 * @since 1.9
 */
int st_netfd_fileno(st_netfd_t fd);

/**
 * Sets an object's private data. The destructor set before is called with the data replaced, if
 * that is neither NULL nor the same.
 *
 * @param fd          the object
 * @param value       the data, owned by the object from now on
 * @param destructor  called with the data when it is replaced or the object freed; may be NULL
 * @yields no
 * @since 1.9
 */
void st_netfd_setspecific(st_netfd_t fd, void *value, void (*destructor)(void *));

/**
 * Reads an object's private data.
 *
 * @param fd  the object
 * @return its private data, NULL if none was set
 * @yields no
 * @since 1.9
 */
void *st_netfd_getspecific(st_netfd_t fd);

/**
 * Serializes st_accept() among processes on systems that need it. Linux does not (State Threads 1.9
 * does nothing here either), so it is a no-op.
 *
 * @param fd  the object of a listening socket
 * @return 0
 * @yields no
 * @since 1.9
 */
int st_netfd_serialize_accept(st_netfd_t fd);

/**
 * Waits for readiness of one descriptor. Asks the kernel, so it is also right for a descriptor that
 * the program reads and writes behind libst's back.
 *
 * @param fd       the object
 * @param how      POLLIN, POLLOUT, POLLPRI, or'ed
 * @param timeout  us
 * @return 0, or -1 with errno
 * @errno ETIME   the timeout passed
 * @errno EINTR   interrupted by st_thread_interrupt()
 * @errno EBADF   the descriptor is not open
 * @errno EINVAL  how has no or other bits
 * @yields yes
 * @since 1.9
 */
int st_netfd_poll(st_netfd_t fd, int how, st_utime_t timeout);

/**
 * Waits until at least one of a set of descriptors is ready. Like st_netfd_poll() it asks the
 * kernel.
 *
 * @param pds      what to wait for: events is POLLIN, POLLOUT, POLLPRI, or'ed; revents is set
 * @param npds     their number
 * @param timeout  us
 * @return the number of ready descriptors (one that is not open counts, with POLLNVAL), 0 after the
 *         timeout, or -1 with errno
 * @errno EINTR   interrupted by st_thread_interrupt()
 * @errno EINVAL  a negative descriptor, or events with no or other bits
 * @errno ENOMEM  no memory
 * @yields yes
 * @since 1.9
 */
int st_poll(struct pollfd *pds, int npds, st_utime_t timeout);

/* --- Blocking I/O. In each, timeout is the longest time without any progress --- */

/**
 * Accepts a connection. The new socket is non-blocking.
 *
 * @param fd       the object of a listening socket
 * @param addr     receives the peer's address, unless NULL
 * @param addrlen  in: room at addr, out: the address's length, bytes
 * @param timeout  us
 * @return the connection's object, or NULL with errno of accept(2) or
 * @errno ETIME  the timeout passed
 * @errno EINTR  interrupted by st_thread_interrupt()
 * @yields if it has to wait
 * @since 1.9
 */
st_netfd_t st_accept(st_netfd_t fd, struct sockaddr *addr, int *addrlen, st_utime_t timeout);

/**
 * Connects a socket.
 *
 * @param fd       the socket's object
 * @param addr     where to
 * @param addrlen  the address's length, bytes
 * @param timeout  us
 * @return 0, or -1 with errno of connect(2) or
 * @errno ETIME  the timeout passed
 * @errno EINTR  interrupted by st_thread_interrupt()
 * @yields if it has to wait
 * @since 1.9
 */
int st_connect(st_netfd_t fd, const struct sockaddr *addr, int addrlen, st_utime_t timeout);

/**
 * Reads what is available, at most nbyte bytes; waits if there is nothing.
 *
 * @param fd       the object
 * @param buf      where to
 * @param nbyte    room, bytes
 * @param timeout  us
 * @return the number of bytes, 0 at the end, or -1 with errno of read(2) or
 * @errno ETIME  the timeout passed
 * @errno EINTR  interrupted by st_thread_interrupt()
 * @yields if it has to wait
 * @since 1.9
 */
ssize_t st_read(st_netfd_t fd, void *buf, size_t nbyte, st_utime_t timeout);

/**
 * Reads exactly nbyte bytes; fewer only at the end.
 *
 * @param fd       the object
 * @param buf      where to
 * @param nbyte    bytes
 * @param timeout  us, for each wait
 * @return the number of bytes, or -1 with errno as st_read()
 * @yields if it has to wait
 * @since 1.9
 */
ssize_t st_read_fully(st_netfd_t fd, void *buf, size_t nbyte, st_utime_t timeout);

/**
 * st_read_fully() that says how much is missing.
 *
 * @param fd       the object
 * @param buf      where to
 * @param resid    in: bytes wanted, out: bytes not read
 * @param timeout  us, for each wait
 * @return 0 (also at the end: *resid is then not 0), or -1 with errno as st_read()
 * @yields if it has to wait
 * @since 1.9
 */
int st_read_resid(st_netfd_t fd, void *buf, size_t *resid, st_utime_t timeout);

/**
 * st_read() into several buffers.
 *
 * @param fd        the object
 * @param iov       the buffers
 * @param iov_size  their number
 * @param timeout   us
 * @return as st_read()
 * @yields if it has to wait
 * @since 1.9
 */
ssize_t st_readv(st_netfd_t fd, const struct iovec *iov, int iov_size, st_utime_t timeout);

/**
 * Fills several buffers.
 *
 * @param fd        the object
 * @param iov       in: the buffers; out: the first one not filled. The array is changed: base and
 *                  length are advanced by what was read
 * @param iov_size  in: their number; out: how many are not filled
 * @param timeout   us, for each wait
 * @return 0 (also at the end: *iov_size is then not 0), or -1 with errno as st_read()
 * @yields if it has to wait
 * @since 1.9
 */
int st_readv_resid(st_netfd_t fd, struct iovec **iov, int *iov_size, st_utime_t timeout);

/**
 * Writes all of a buffer.
 *
 * @param fd       the object
 * @param buf      the data
 * @param nbyte    bytes
 * @param timeout  us, for each wait
 * @return nbyte, or -1 with errno of write(2) or (part of the data may have been written)
 * @errno ETIME  the timeout passed
 * @errno EINTR  interrupted by st_thread_interrupt()
 * @yields if it has to wait
 * @since 1.9
 */
ssize_t st_write(st_netfd_t fd, const void *buf, size_t nbyte, st_utime_t timeout);

/**
 * st_write() that says how much is missing.
 *
 * @param fd       the object
 * @param buf      the data
 * @param resid    in: bytes to write, out: bytes not written
 * @param timeout  us, for each wait
 * @return 0, or -1 with errno as st_write()
 * @yields if it has to wait
 * @since 1.9
 */
int st_write_resid(st_netfd_t fd, const void *buf, size_t *resid, st_utime_t timeout);

/**
 * st_write() from several buffers.
 *
 * @param fd        the object
 * @param iov       the buffers, not changed
 * @param iov_size  their number
 * @param timeout   us, for each wait
 * @return the sum of the lengths, or -1 with errno as st_write() or
 * @errno ENOMEM  no memory for a copy of a long iov
 * @yields if it has to wait
 * @since 1.9
 */
ssize_t st_writev(st_netfd_t fd, const struct iovec *iov, int iov_size, st_utime_t timeout);

/**
 * st_writev() that says how much is missing.
 *
 * @param fd        the object
 * @param iov       in: the buffers; out: the first one not written. The array is changed: base and
 *                  length are advanced by what was written
 * @param iov_size  in: their number; out: how many are not written
 * @param timeout   us, for each wait
 * @return 0, or -1 with errno as st_write()
 * @yields if it has to wait
 * @since 1.9
 */
int st_writev_resid(st_netfd_t fd, struct iovec **iov, int *iov_size, st_utime_t timeout);

/**
 * Receives a message.
 *
 * @param fd       a socket's object
 * @param buf      where to
 * @param len      room, bytes
 * @param from     receives the sender's address, unless NULL
 * @param fromlen  in: room at from, out: the address's length, bytes
 * @param timeout  us
 * @return the message's length, or -1 with errno of recvfrom(2), ETIME or EINTR
 * @yields if it has to wait
 * @since 1.9
 */
int st_recvfrom(st_netfd_t fd, void *buf, int len, struct sockaddr *from, int *fromlen,
                st_utime_t timeout);

/**
 * Sends a message.
 *
 * @param fd       a socket's object
 * @param msg      the message
 * @param len      its length, bytes
 * @param to       where to
 * @param tolen    the address's length, bytes
 * @param timeout  us
 * @return the number of bytes sent, or -1 with errno of sendto(2), ETIME or EINTR
 * @yields if it has to wait
 * @since 1.9
 */
int st_sendto(st_netfd_t fd, const void *msg, int len, const struct sockaddr *to, int tolen,
              st_utime_t timeout);

/**
 * Receives a message, recvmsg(2) style.
 *
 * @param fd       a socket's object
 * @param msg      buffers, address and control data
 * @param flags    as recvmsg(2)
 * @param timeout  us
 * @return the number of bytes, or -1 with errno of recvmsg(2), ETIME or EINTR
 * @yields if it has to wait
 * @since 1.9
 */
int st_recvmsg(st_netfd_t fd, struct msghdr *msg, int flags, st_utime_t timeout);

/**
 * Sends a message, sendmsg(2) style.
 *
 * @param fd       a socket's object
 * @param msg      buffers, address and control data
 * @param flags    as sendmsg(2)
 * @param timeout  us
 * @return the number of bytes, or -1 with errno of sendmsg(2), ETIME or EINTR
 * @yields if it has to wait
 * @since 1.9
 */
int st_sendmsg(st_netfd_t fd, const struct msghdr *msg, int flags, st_utime_t timeout);

/**
 * Opens a FIFO or another special file, non-blocking. A regular file may be opened too; reading and
 * writing it never yields.
 *
 * @param path    the file
 * @param oflags  as open(2); O_NONBLOCK is added
 * @param mode    as open(2)
 * @return the object, or NULL with errno of open(2) or
 * @errno ENOMEM  no memory
 * @yields no
 * @since 1.9
 */
st_netfd_t st_open(const char *path, int oflags, mode_t mode);

/* --- Readiness of bare descriptors --- */

/* Each descriptor is registered with epoll once, edge-triggered; its readiness is kept as POLLIN,
 * POLLOUT, POLLPRI, POLLRDHUP, POLLERR and POLLHUP bits. A bit is set when the kernel reports it
 * and cleared only when the caller says so: after EAGAIN with st_fd_again(), after a short read or
 * write with st_fd_drained(), in both cases before anything that yields. */

/**
 * Waits until one of events, or POLLERR or POLLHUP, is ready; registers the descriptor on first
 * use. Readiness wins over a pending interrupt, which then stays pending.
 *
 * @param osfd     the descriptor
 * @param events   POLL* bits
 * @param timeout  us
 * @return the ready bits of those asked for (> 0), or -1 with errno
 * @errno ETIME   the timeout passed
 * @errno EINTR   interrupted by st_thread_interrupt()
 * @errno EBADF   not open, or st_fd_forget() was called meanwhile
 * @errno EPERM   epoll refuses it (a regular file), or the kernel thread is no VP
 * @errno ENOMEM  no memory, also ENOSPC
 * @yields if it has to wait
 * @since 2.0
 */
int st_fd_wait(int osfd, int events, st_utime_t timeout);

/**
 * Says what is known about a descriptor, without a system call.
 *
 * @param osfd  the descriptor
 * @return the ready bits; all of them for a descriptor that was never registered
 * @yields no
 * @since 2.0
 */
int st_fd_ready(int osfd);

/**
 * Clears bits after a short read or write on a byte stream. Keeps POLLIN while POLLRDHUP, POLLHUP,
 * POLLERR or POLLPRI is pending: the end of the stream, the error or what follows urgent data has
 * yet to be read. Not for message sockets, where a short read says nothing.
 *
 * @param osfd    the descriptor
 * @param events  POLLIN, POLLOUT
 * @yields no
 * @since 2.0
 */
void st_fd_drained(int osfd, int events);

/**
 * Clears bits unconditionally, after EAGAIN was actually seen. Bits that contradict EAGAIN (an end
 * or error pending in that direction) are cleared too.
 *
 * @param osfd    the descriptor
 * @param events  POLLIN, POLLOUT
 * @yields no
 * @since 2.0
 */
void st_fd_again(int osfd, int events);

/**
 * Asks the kernel again about a descriptor whose history libst does not know: opened, polled,
 * connected or closed behind its back. Clears the bits, so that only what the kernel reports from
 * now on counts; a subsequent st_fd_wait() parks until the kernel has reported. One system call.
 *
 * A socket for which connect(2) returned EINPROGRESS needs this before waiting for POLLOUT, because
 * a socket that is not connected reports POLLHUP.
 *
 * @param osfd  the descriptor
 * @return 0, or -1 with errno
 * @errno EBADF   not open
 * @errno EPERM   epoll refuses it (a regular file), or the kernel thread is no VP
 * @errno ENOMEM  no memory, also ENOSPC
 * @yields no
 * @since 2.0
 */
int st_fd_rearm(int osfd);

/**
 * To be called before a descriptor is closed or handed over: waiting threads wake with EBADF,
 * watches are disarmed, events still in flight are ignored. Makes a system call only if the
 * descriptor is registered.
 *
 * @param osfd  the descriptor
 * @yields no
 * @since 2.0
 */
void st_fd_forget(int osfd);

/**
 * Says that this number belongs to a new descriptor; an earlier one may have been closed without
 * st_fd_forget(): what was known is dropped, and threads that still wait for the earlier one wake
 * with EBADF. No system call.
 *
 * @param osfd  the descriptor
 * @yields no
 * @since 2.0
 */
void st_fd_renew(int osfd);

/* --- Watches: waiting without a state thread (an idle connection, a listener, a timer) --- */

/** A watch; embed it in what it watches over. */
typedef struct st_watch st_watch_t;

/**
 * A watch's callback. It runs in the scheduler, on whichever stack is current, so it must be brief
 * and must not block, yield or exit. It may unpark, interrupt and create threads, and arm, disarm
 * or free any watch, its own included.
 *
 * ready holds the bits that are ready, or 0 for the timeout.
 */
typedef void (*st_watch_cb_t)(st_watch_t *watch, int ready);

/** Private: a place in a descriptor's list of waiters. */
struct st_fd_link {
    struct st_fd_link *next;
    struct st_fd_link **pprev; /**< NULL: not in a list */
    int osfd;
    unsigned short events; /**< POLL* bits waited for */
    unsigned short kind;
};

/** Private: a timer, with its place in the heap. */
struct st_timer {
    st_utime_t deadline; /**< ST_UTIME_NO_TIMEOUT: not armed */
    unsigned slot;       /**< place in the heap, 0: none */
    unsigned kind;
};

/** A watch. The owner sets and reads data only. */
struct st_watch {
    void *data;             /**< the owner's */
    st_watch_cb_t cb;       /**< private */
    struct st_fd_link link; /**< private */
    struct st_timer timer;  /**< private */
    int flags;              /**< private */
    int armed;              /**< private */
};

/**
 * Flag of st_watch_init(): persistent, level-triggered, registered with EPOLLEXCLUSIVE. For
 * listening sockets shared by several processes. The callback runs in every scheduler turn in which
 * a connection waits, until the watch is disarmed. One per descriptor and VP.
 */
#define ST_WATCH_ACCEPT 1

/**
 * Initializes a watch. Makes no system call and needs no VP.
 *
 * @param watch  the watch; its data field is left alone
 * @param osfd   the descriptor, -1 for a mere timer
 * @param flags  0 or ST_WATCH_ACCEPT
 * @param cb     the callback
 * @yields no
 * @since 2.0
 */
void st_watch_init(st_watch_t *watch, int osfd, int flags, st_watch_cb_t cb);

/**
 * Arms a watch for one call of its callback (ST_WATCH_ACCEPT: until disarmed), when one of events,
 * POLLERR or POLLHUP is ready or the timeout has passed. Arming an armed watch changes events and
 * timeout. Cheap: no system call for a registered descriptor, no heap operation when the deadline
 * moves later.
 *
 * @param watch    the watch
 * @param events   POLL* bits; ignored by a mere timer
 * @param timeout  us
 * @return 0: armed; the ready bits (> 0) if some are already set: not armed; or -1 with errno: not
 *         armed
 * @errno EBADF   not open
 * @errno EEXIST  another ST_WATCH_ACCEPT watch is armed on the descriptor
 * @errno EPERM   epoll refuses the descriptor (a regular file), or the kernel thread is no VP
 * @errno ENOMEM  no memory, also ENOSPC
 * @yields no
 * @since 2.0
 */
int st_watch_arm(st_watch_t *watch, int events, st_utime_t timeout);

/**
 * Disarms a watch; harmless if it is not armed. Costs next to nothing (ST_WATCH_ACCEPT: a system
 * call).
 *
 * @param watch  the watch
 * @yields no
 * @since 2.0
 */
void st_watch_disarm(st_watch_t *watch);

/**
 * Disarms a watch and drops what the VP still keeps of it. To be called before its memory is freed.
 *
 * @param watch  the watch; may be initialized and armed again
 * @yields no
 * @since 2.0
 */
void st_watch_free(st_watch_t *watch);

/**
 * Tells whether the scheduler of the calling VP runs a callback (of a watch, a post or a turn), in
 * which nothing may yield. For code that is called both inside and outside callbacks.
 *
 * @return nonzero in a callback; 0 outside, and on a kernel thread that is no VP
 * @yields no
 * @since 2.0
 */
int st_in_callback(void);

/* --- Calls from other kernel threads --- */

/** A call to be made on a VP. The node is the caller's; between the post and the call it is in
 * use. */
typedef struct st_remote {
    void (*fn)(struct st_remote *remote); /**< runs on the VP, under the rules of st_watch_cb_t */
    struct st_remote *next;               /**< private */
} st_remote_t;

/**
 * Gives the calling kernel thread's VP, for st_vp_post().
 *
 * @return the calling kernel thread's VP, or NULL if it has none
 * @yields no
 * @since 2.0
 */
st_vp_t st_vp_self(void);

/**
 * Makes a VP call remote->fn(remote) in its scheduler, after the calls posted earlier. May be
 * called on any kernel thread and from a signal handler. Lock-free; one write to an eventfd if the
 * VP may sleep. The VP must not be destroyed before the call is made.
 *
 * @param vp      the VP
 * @param remote  what to call; belongs to the caller again when fn is called
 * @yields no
 * @since 2.0
 */
void st_vp_post(st_vp_t vp, st_remote_t *remote);

/**
 * Tells whether a VP waits in epoll_wait with nothing to run. May be called on any kernel thread
 * and from a signal handler; the answer may be out of date by the time it is used.
 *
 * @param vp  the VP
 * @return nonzero if it sleeps
 * @yields no
 * @since 2.0
 */
int st_vp_asleep(st_vp_t vp);

/* --- Stacks and statistics of the calling VP --- */

/** Figures of st_get_stack_stats(). */
typedef struct st_stack_stats {
    size_t in_use;         /**< stacks of state threads alive or not joined */
    size_t cached;         /**< free stacks that keep their pages */
    size_t peak;           /**< most stacks in use at once */
    size_t bytes_reserved; /**< address space, guards included, bytes */
    size_t deepest;        /**< deepest use seen of any stack, bytes: see st_sample_stacks() */
    int guard_install;     /**< guards are made by 1: MADV_GUARD_INSTALL, 0: mprotect */
} st_stack_stats_t;

/**
 * Gives figures of the stacks of the calling VP.
 *
 * @param stats  filled in; all 0 on a kernel thread that is no VP
 * @yields no
 * @since 2.0
 */
void st_get_stack_stats(st_stack_stats_t *stats);

/**
 * Measures how deeply a thread's stack has ever been used. The stack must have been handed out
 * while st_stack_census() was on.
 *
 * @param thread  a thread of this VP, not the primordial one
 * @return bytes, 0 if the stack is not under census
 * @yields no
 * @since 2.0
 */
size_t st_thread_stack_used(st_thread_t thread);

/**
 * Says where a thread's stack is, as pthread_attr_getstack() would. Its top holds libst's own
 * record of the thread. The result is valid as long as the thread; works on any kernel thread.
 *
 * @param thread  a thread that libst has given a stack: not the primordial one
 * @param base    receives the lowest address that may be used
 * @param size    receives the bytes from there to the stack's end
 * @param guard   receives the bytes below base that may not be touched; unless NULL
 * @return 0, or -1 with errno
 * @errno EINVAL  the thread is a VP's primordial one, which runs on its kernel thread's stack
 * @yields no
 * @since 2.0
 */
int st_thread_stack(st_thread_t thread, void **base, size_t *size, size_t *guard);

/**
 * Turns the census on or off for stacks handed out from now on. When on, each is painted before
 * use, which touches all its pages, and measured when its thread ends.
 *
 * @param on  nonzero: on
 * @return the previous setting
 * @yields no
 * @since 2.0
 */
int st_stack_census(int on);

/**
 * Measures how deeply the next `count` stacks were used, in turn; a call stops after the last
 * stack, and the next call begins with the first. Stacks that are not under census are measured in
 * pages: the deepest page that the system has given to the stack counts as used (one that was
 * swapped out is not seen). A stack is also measured before its pages are given back. Takes one
 * system call per stack, 1 to 2 us, or two. If a stack was used deeper than 256 KB, the pages below
 * that which its thread does not need are given back to the system; and all that it does not need,
 * once in a wait that has lasted since its stack was last measured.
 *
 * @param count  stacks to measure; negative: all
 * @return the deepest use seen so far of any stack of this VP, bytes; 0 on a kernel thread that is
 *   no VP
 * @yields no
 * @since 2.0
 */
size_t st_sample_stacks(int count);

/**
 * Lets the stack of a waiting thread rest: what it holds is kept without zeros, and its pages are
 * given back to the system until something wakes the thread. So until then nobody may read or write
 * anything on that stack: no other thread, and not the kernel on anybody's behalf. Only a thread
 * that waits in st_fd_wait() (or in one of libst's calls for I/O on a single descriptor) or in
 * st_thread_park() can rest, and only if that saves memory. With a census or under Valgrind none
 * does, nor does the one on whose stack the scheduler runs when a callback asks for it. Costs some
 * microseconds, and as many when the thread is woken.
 *
 * @param thread  one of the calling VP's
 * @return 1: it rests now; 0: it does not, or did already
 * @yields no
 * @since 2.0
 */
int st_thread_rest(st_thread_t thread);

/**
 * Says whether a thread's stack rests.
 *
 * @param thread  one of the calling VP's
 * @return 1 or 0
 * @yields no
 * @since 2.0
 */
int st_thread_rests(st_thread_t thread);

/**
 * Bounds the cache of free stacks. Beyond the bound, a free stack's pages are given back to the
 * system, and a slab with no stack in use or cached is unmapped.
 *
 * @param max_cached  stacks; the default is 64
 * @return the previous bound
 * @yields no
 * @since 2.0
 */
int st_set_stack_cache(int max_cached);

/**
 * Tells whether an address lies in the guard of a state thread's stack of this VP, that is whether
 * a fault there was a stack overflow. Async-signal-safe.
 *
 * @param addr  the address of the fault
 * @return the size of that stack, bytes; else 0
 * @yields no
 * @since 2.0
 */
size_t st_stack_overflow_at(const void *addr);

/** Figures of st_get_stats(). The first seven and the last two count since st_init(). */
typedef struct st_stats {
    unsigned long long switches;        /**< times a state thread was given the VP */
    unsigned long long turns;           /**< scheduler turns, that is calls of epoll_wait */
    unsigned long long events;          /**< events from epoll, stale ones included */
    unsigned long long timers_fired;    /**< timeouts of threads and watches that passed */
    unsigned long long threads_created; /**< the primordial thread not counted */
    unsigned long long threads_exited;
    unsigned long long remote_posts;       /**< calls made for st_vp_post() */
    unsigned long long threads;            /**< alive now, the primordial thread included */
    unsigned long long threads_peak;       /**< most alive at once */
    unsigned long long runq;               /**< ready to run now */
    unsigned long long waiting_fds;        /**< threads and watches that wait on a descriptor now */
    unsigned long long watches_armed;      /**< now */
    st_utime_t longest_turn;               /**< longest time between two visits to epoll, us */
    unsigned long long turn_histogram[16]; /**< [i]: turns under 2^(i+6) us; the last: the rest */
} st_stats_t;

/**
 * Gives figures of the scheduler of the calling VP.
 *
 * @param stats  filled in; all 0 on a kernel thread that is no VP
 * @yields no
 * @since 2.0
 */
void st_get_stats(st_stats_t *stats);

/**
 * Counts how often a state thread was given the calling VP (st_stats_t has the same figure). As
 * long as it does not change, the caller has neither waited nor yielded.
 *
 * @return the count; 0 on a kernel thread that is no VP
 * @yields no
 * @since 2.0
 */
unsigned long long st_switch_count(void);

/** A turn callback; held is how long the scheduler did not visit epoll, us. */
typedef void (*st_turn_cb_t)(st_utime_t held);

/**
 * Sets a function that is called once per scheduler turn, after epoll_wait, under the rules of
 * st_watch_cb_t. For reporting threads that hold the VP too long.
 *
 * @param cb  the function, NULL for none (the default)
 * @return the previous one
 * @yields no
 * @since 2.0
 */
st_turn_cb_t st_set_turn_cb(st_turn_cb_t cb);

/** A sleep callback; asleep is 1 before the VP waits in the kernel, 0 after. */
typedef void (*st_sleep_cb_t)(int asleep);

/**
 * Sets a function that is called when no state thread is ready and the VP is about to wait in
 * epoll_wait, and again after that, under the rules of st_watch_cb_t. For telling others whether
 * the VP is idle.
 *
 * @param cb  the function, NULL for none (the default)
 * @return the previous one
 * @yields no
 * @since 2.0
 */
st_sleep_cb_t st_set_sleep_cb(st_sleep_cb_t cb);

/**
 * An exchange callback: saves one state thread's copy of what the kernel thread has only once, and
 * puts the next thread's copy in place. `from` and `to` are where libst keeps a pointer for the
 * callback for each of the two, initially NULL. `ended` is nonzero when the thread of `from` will
 * not run again: whatever its pointer refers to must be freed. Must not call libst.
 */
typedef void (*st_exchange_cb_t)(void **from, void **to, int ended);

/**
 * Sets a function that gives each state thread its own copy of something that the kernel thread has
 * only once, such as thread-local variables. It is called between any two state threads, after one
 * has stopped and before the other runs. Other callbacks of the scheduler run with the primordial
 * thread's copy, whichever thread's stack they are on. What is in place when the function is set
 * belongs to the calling thread.
 *
 * @param cb  the function, NULL for none (the default): then all threads share what is in place,
 *            and the pointers of the remaining threads are forgotten
 * @return the previous one
 * @yields no
 * @since 2.0
 */
st_exchange_cb_t st_set_exchange_cb(st_exchange_cb_t cb);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif /* ST_H */
