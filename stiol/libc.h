/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C library as STIOL sees it: the headers that declare the calls of calls.def, entry points
 * that no header declares, and versions of symbols that have several.
 */
#ifndef STIOL_LIBC_H
#define STIOL_LIBC_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <locale.h>
#include <mqueue.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <pwd.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <shadow.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
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
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <syslog.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

/* glibc has two condition variables on x86-64: the one of 2.2.5 is another type. */
#ifdef __x86_64__
#define STIOL_COND_VERSION     "GLIBC_2.3.2"
/* Older versions of these take different arguments. */
#define STIOL_AFFINITY_VERSION "GLIBC_2.3.4"
#define STIOL_TIMER_VERSION    "GLIBC_2.3.3"
#else
#define STIOL_COND_VERSION     NULL
#define STIOL_AFFINITY_VERSION NULL
#define STIOL_TIMER_VERSION    NULL
#endif

/* Deprecated calls still have to be replaced. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/* --- fortified code's entry points, which glibc declares only with _FORTIFY_SOURCE --- */

/* Each does what the call without __ and _chk does, and ends the process if the buffer of `size`
 * bytes is too small for it. */

/** poll(); size: of fds, bytes. */
int __poll_chk(struct pollfd *fds, nfds_t nfds, int timeout, size_t size);
/** ppoll(); size: of fds, bytes. */
int __ppoll_chk(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                const sigset_t *mask, size_t size);
/** read(). */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
/** recv(). */
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags);
/** recvfrom(). */
ssize_t __recvfrom_chk(int fd, void *restrict buf, size_t n, size_t size, int flags,
                       __SOCKADDR_ARG addr, socklen_t *restrict addrlen);
/** pread(). */
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t offset, size_t size);
/** pread64(). */
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t offset, size_t size);
/** readlink(). */
ssize_t __readlink_chk(const char *path, char *buf, size_t n, size_t size);
/** readlinkat(). */
ssize_t __readlinkat_chk(int dir, const char *path, char *buf, size_t n, size_t size);
/** realpath(). */
char *__realpath_chk(const char *path, char *resolved, size_t size);
/** fread() of n items of `one` bytes. */
size_t __fread_chk(void *buf, size_t size, size_t one, size_t n, FILE *stream);
/** fread_unlocked() of n items of `one` bytes. */
size_t __fread_unlocked_chk(void *buf, size_t size, size_t one, size_t n, FILE *stream);
/** fgets(). */
char *__fgets_chk(char *buf, size_t size, int n, FILE *stream);
/** fgets_unlocked(). */
char *__fgets_unlocked_chk(char *buf, size_t size, int n, FILE *stream);

/* These check something other than a size. */

/** fprintf(); flag > 0: %n only in formats that cannot be written to. */
int __fprintf_chk(FILE *stream, int flag, const char *format, ...);
/** vfprintf(), likewise. */
int __vfprintf_chk(FILE *stream, int flag, const char *format, va_list list);
/** syslog(), likewise. */
void __syslog_chk(int priority, int flag, const char *format, ...);
/** vsyslog(), likewise. */
void __vsyslog_chk(int priority, int flag, const char *format, va_list arguments);
/** longjmp() that refuses to jump down the stack. */
void __longjmp_chk(jmp_buf env, int value) __attribute__((noreturn));
/** open() and open64() without a mode: they refuse flags that need one. */
int __open_2(const char *path, int flags), __open64_2(const char *path, int flags);
/** openat(), likewise. */
int __openat_2(int dir, const char *path, int flags);
/** openat64(), likewise. */
int __openat64_2(int dir, const char *path, int flags);

/* --- <resolv.h>, which also defines macros such as p_type, and so is included only by dns.c --- */

/* NOLINTBEGIN(readability-redundant-declaration): dns.c includes it as well */
struct __res_state;
/** The calling kernel thread's settings, to which the macro _res leads. */
struct __res_state *__res_state(void);
/** Reads /etc/resolv.conf into them; -1: it could not. */
int __res_init(void);
/** Queries a name server about a full name. Like the following ones, waits for the answer and
 * returns its length in bytes, or -1 with h_errno. */
int res_query(const char *name, int class, int type, unsigned char *answer, int size);
/** The same with the domains of the search list. */
int res_search(const char *name, int class, int type, unsigned char *answer, int size);
/** The same for the name in a domain. */
int res_querydomain(const char *name, const char *domain, int class, int type,
                    unsigned char *answer, int size);
/** Sends a query that has been made, and returns the answer's length, or -1 with errno. */
int res_send(const unsigned char *message, int length, unsigned char *answer, int size);
/** res_query() with settings of the caller's. */
int res_nquery(struct __res_state *settings, const char *name, int class, int type,
               unsigned char *answer, int size);
/** res_search() with settings of the caller's. */
int res_nsearch(struct __res_state *settings, const char *name, int class, int type,
                unsigned char *answer, int size);
/** res_querydomain() with settings of the caller's. */
int res_nquerydomain(struct __res_state *settings, const char *name, const char *domain, int class,
                     int type, unsigned char *answer, int size);
/** res_send() with settings of the caller's. */
int res_nsend(struct __res_state *settings, const unsigned char *message, int length,
              unsigned char *answer, int size);
/* NOLINTEND(readability-redundant-declaration) */

/* --- other entry points that no header declares --- */

/** fscanf() of code compiled for C99 or later. */
int __isoc99_fscanf(FILE *stream, const char *format, ...);
/** Registers the destructor of a thread_local object of the object `dso`; 0, or -1: no memory. */
int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *dso);
/** signal() with BSD's meaning, under its older name. */
__sighandler_t bsd_signal(int number, __sighandler_t handler);
/** sigaction(), under the name that older objects use. */
int __sigaction(int number, const struct sigaction *action, struct sigaction *old);

/** Locks and unlocks the list of all streams; exported since glibc 2.2.5. */
void _IO_list_lock(void), _IO_list_unlock(void);
/** The first stream of the locked list, and the one after `stream`; NULL at its end. */
FILE *_IO_iter_begin(void), *_IO_iter_next(FILE *stream);

/* The C++ runtime's guards of static variables. Weak, because the object that holds STIOL is
 * linked without that runtime. */

/** 1: the caller is to initialize the variable; 0: it is initialized. Waits for another thread's
 * initialization. */
int __cxa_guard_acquire(int64_t *guard) __attribute__((weak));
/** The caller has initialized the variable. */
void __cxa_guard_release(int64_t *guard) __attribute__((weak));
/** The initialization has thrown an exception: the next thread tries. */
void __cxa_guard_abort(int64_t *guard) __attribute__((weak));

#endif /* STIOL_LIBC_H */
