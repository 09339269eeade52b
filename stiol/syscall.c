/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syscall(): calls by their number. Those that wait, or that depend on who the caller is, go to the
 * same replacements as the C library's functions; all others go to the kernel. Called by everything
 * written for newer calls than its C library has, and for futexes.
 */
#include <stdarg.h>
#include <sys/syscall.h>

#include "stiol/file.h"
#include "stiol/lock.h"
#include "stiol/stiol_int.h"
#include "stiol/thread.h"

#define POINTER(i) ((void *)args[i])
#define INT(i)     ((int)args[i])

/* A raw call sets errno where the C library's function returns an error number. */
static long by_errno(int rc)
{
    if (rc == 0)
        return 0;
    errno = rc;
    return -1;
}

/* The kernel's signal sets are 8 bytes long. NULL: none. */
static const sigset_t *set_of(const void *raw, long size, sigset_t *set)
{
    if (!raw)
        return NULL;
    sigemptyset(set);
    memcpy(set, raw, size > 0 && size < (long)sizeof(*set) ? (size_t)size : 8);
    return set;
}

/* Each of these returns true if the call is one of its own; the result is in *rc. */

static bool is_wait(long number, const long *args, long *rc)
{
    sigset_t set;

    switch (number) {
#ifdef SYS_poll
    case SYS_poll:
        *rc = stiol__poll(POINTER(0), (nfds_t)args[1], INT(2));
        return true;
    case SYS_select:
        *rc = stiol__select(INT(0), POINTER(1), POINTER(2), POINTER(3), POINTER(4));
        return true;
    case SYS_epoll_wait:
        *rc = stiol__epoll_wait(INT(0), POINTER(1), INT(2), INT(3));
        return true;
#endif
    case SYS_ppoll:
        *rc = stiol__ppoll(POINTER(0), (nfds_t)args[1], POINTER(2),
                           set_of(POINTER(3), args[4], &set));
        return true;
    case SYS_epoll_pwait:
        *rc = stiol__epoll_pwait(INT(0), POINTER(1), INT(2), INT(3),
                                 set_of(POINTER(4), args[5], &set));
        return true;
    case SYS_rt_sigtimedwait:
        *rc = stiol__sigtimedwait(set_of(POINTER(0), args[3], &set), POINTER(1), POINTER(2));
        return true;
    case SYS_nanosleep:
        *rc = stiol__nanosleep(POINTER(0), POINTER(1));
        return true;
    case SYS_clock_nanosleep:
        *rc = by_errno(stiol__clock_nanosleep((clockid_t)args[0], INT(1), POINTER(2), POINTER(3)));
        return true;
    case SYS_sched_yield:
        *rc = stiol__sched_yield();
        return true;
    case SYS_wait4:
        *rc = stiol__wait4((pid_t)args[0], POINTER(1), INT(2), POINTER(3));
        return true;
    default:
        return false;
    }
}

static bool is_transfer(long number, const long *args, long *rc)
{
    switch (number) {
    case SYS_read:
        *rc = stiol__read(INT(0), POINTER(1), (size_t)args[2]);
        return true;
    case SYS_write:
        *rc = stiol__write(INT(0), POINTER(1), (size_t)args[2]);
        return true;
    case SYS_readv:
        *rc = stiol__readv(INT(0), POINTER(1), INT(2));
        return true;
    case SYS_writev:
        *rc = stiol__writev(INT(0), POINTER(1), INT(2));
        return true;
    case SYS_sendfile:
        *rc = stiol__sendfile(INT(0), INT(1), POINTER(2), (size_t)args[3]);
        return true;
    case SYS_splice:
        *rc = stiol__splice(INT(0), POINTER(1), INT(2), POINTER(3), (size_t)args[4],
                            (unsigned)args[5]);
        return true;
    case SYS_tee:
        *rc = stiol__tee(INT(0), INT(1), (size_t)args[2], (unsigned)args[3]);
        return true;
    case SYS_vmsplice:
        *rc = stiol__vmsplice(INT(0), POINTER(1), (size_t)args[2], (unsigned)args[3]);
        return true;
    case SYS_close:
        *rc = stiol__close(INT(0));
        return true;
    default:
        return false;
    }
}

static bool is_of_sockets(long number, const long *args, long *rc)
{
    struct sockaddr *address = POINTER(number == SYS_connect ? 1 : 4);

    switch (number) {
    case SYS_recvfrom:
        *rc = stiol__recvfrom(INT(0), POINTER(1), (size_t)args[2], INT(3), address, POINTER(5));
        return true;
    case SYS_sendto:
        *rc =
            stiol__sendto(INT(0), POINTER(1), (size_t)args[2], INT(3), address, (socklen_t)args[5]);
        return true;
    case SYS_recvmsg:
        *rc = stiol__recvmsg(INT(0), POINTER(1), INT(2));
        return true;
    case SYS_sendmsg:
        *rc = stiol__sendmsg(INT(0), POINTER(1), INT(2));
        return true;
    case SYS_recvmmsg:
        *rc = stiol__recvmmsg(INT(0), POINTER(1), (unsigned)args[2], INT(3), POINTER(4));
        return true;
    case SYS_sendmmsg:
        *rc = stiol__sendmmsg(INT(0), POINTER(1), (unsigned)args[2], INT(3));
        return true;
    case SYS_connect:
        *rc = stiol__connect(INT(0), address, (socklen_t)args[2]);
        return true;
    case SYS_accept4:
        *rc = stiol__accept4(INT(0), POINTER(1), POINTER(2), INT(3));
        return true;
    default:
        return false;
    }
}

static bool is_lock_or_queue(long number, const long *args, long *rc)
{
    switch (number) {
    case SYS_flock:
        *rc = stiol__flock(INT(0), INT(1));
        return true;
    case SYS_fcntl:
        *rc = stiol__fcntl(INT(0), INT(1), args[2]);
        return true;
    case SYS_semtimedop:
        *rc = stiol__semtimedop(INT(0), POINTER(1), (size_t)args[2], POINTER(3));
        return true;
    case SYS_semop:
        *rc = stiol__semop(INT(0), POINTER(1), (size_t)args[2]);
        return true;
    case SYS_msgrcv:
        *rc = stiol__msgrcv(INT(0), POINTER(1), (size_t)args[2], args[3], INT(4));
        return true;
    case SYS_msgsnd:
        *rc = stiol__msgsnd(INT(0), POINTER(1), (size_t)args[2], INT(3));
        return true;
    case SYS_mq_timedreceive:
        *rc = args[4] == 0 ? stiol__mq_receive(INT(0), POINTER(1), (size_t)args[2], POINTER(3))
                           : stiol__mq_timedreceive(INT(0), POINTER(1), (size_t)args[2], POINTER(3),
                                                    POINTER(4));
        return true;
    case SYS_mq_timedsend:
        *rc = args[4] == 0 ? stiol__mq_send(INT(0), POINTER(1), (size_t)args[2], (unsigned)args[3])
                           : stiol__mq_timedsend(INT(0), POINTER(1), (size_t)args[2],
                                                 (unsigned)args[3], POINTER(4));
        return true;
    default:
        return false;
    }
}

/* As in the C library, as many arguments as a call can have are passed on: those the caller did not
 * give are ignored, and AddressSanitizer must not object to their being read. */
__attribute__((no_sanitize("address"))) long stiol__syscall(long number, ...)
{
    long args[6], rc;
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        args[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_futex)
        return stiol__futex(args);
#ifdef SYS_futex_waitv
    if (number == SYS_futex_waitv)
        return stiol__futex_waitv(args);
#endif
    if (stiol__syscall_identity(number, args, &rc) || is_wait(number, args, &rc) ||
        is_transfer(number, args, &rc) || is_of_sockets(number, args, &rc) ||
        is_lock_or_queue(number, args, &rc) || stiol__syscall_file(number, args, &rc))
        return rc;
    return syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}
