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

/* Entry points of fortified code, which glibc's headers declare only with _FORTIFY_SOURCE. */
int __poll_chk(struct pollfd *fds, nfds_t nfds, int timeout, size_t size);
int __ppoll_chk(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                const sigset_t *mask, size_t size);
ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags);
ssize_t __readlink_chk(const char *path, char *buf, size_t n, size_t size);
ssize_t __readlinkat_chk(int dir, const char *path, char *buf, size_t n, size_t size);
char *__realpath_chk(const char *path, char *resolved, size_t size);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t offset, size_t size);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t offset, size_t size);
size_t __fread_chk(void *buf, size_t size, size_t one, size_t n, FILE *stream);
size_t __fread_unlocked_chk(void *buf, size_t size, size_t one, size_t n, FILE *stream);
char *__fgets_chk(char *buf, size_t size, int n, FILE *stream);
char *__fgets_unlocked_chk(char *buf, size_t size, int n, FILE *stream);
int __fprintf_chk(FILE *stream, int flag, const char *format, ...);
int __vfprintf_chk(FILE *stream, int flag, const char *format, va_list list);
int __isoc99_fscanf(FILE *stream, const char *format, ...);
/* <resolv.h> defines p_type and the like as macros. */
/* NOLINTBEGIN(readability-redundant-declaration): dns.c includes it as well */
struct __res_state;
struct __res_state *__res_state(void);
int __res_init(void);
int res_query(const char *name, int class, int type, unsigned char *answer, int size);
int res_search(const char *name, int class, int type, unsigned char *answer, int size);
int res_querydomain(const char *name, const char *domain, int class, int type,
                    unsigned char *answer, int size);
int res_send(const unsigned char *message, int length, unsigned char *answer, int size);
int res_nquery(struct __res_state *settings, const char *name, int class, int type,
               unsigned char *answer, int size);
int res_nsearch(struct __res_state *settings, const char *name, int class, int type,
                unsigned char *answer, int size);
int res_nquerydomain(struct __res_state *settings, const char *name, const char *domain, int class,
                     int type, unsigned char *answer, int size);
int res_nsend(struct __res_state *settings, const unsigned char *message, int length,
              unsigned char *answer, int size);
/* NOLINTEND(readability-redundant-declaration) */
void __syslog_chk(int priority, int flag, const char *format, ...);
void __vsyslog_chk(int priority, int flag, const char *format, va_list arguments);
int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *dso);
void __longjmp_chk(jmp_buf env, int value) __attribute__((noreturn));
__sighandler_t bsd_signal(int number, __sighandler_t handler);
int __sigaction(int number, const struct sigaction *action, struct sigaction *old);
int __open_2(const char *path, int flags), __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
ssize_t __recvfrom_chk(int fd, void *restrict buf, size_t n, size_t size, int flags,
                       __SOCKADDR_ARG addr, socklen_t *restrict addrlen);

/* The list of all streams; exported since glibc 2.2.5, but declared nowhere. */
void _IO_list_lock(void), _IO_list_unlock(void);
FILE *_IO_iter_begin(void), *_IO_iter_next(FILE *stream);

/* The C++ runtime's; weak: the object that holds STIOL is linked without it. */
int __cxa_guard_acquire(int64_t *guard) __attribute__((weak));
void __cxa_guard_release(int64_t *guard) __attribute__((weak));
void __cxa_guard_abort(int64_t *guard) __attribute__((weak));

#endif /* STIOL_LIBC_H */
