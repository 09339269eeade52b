/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accept() and accept4(). There is no MSG_DONTWAIT for accepting, and making the socket nonblocking
 * for a moment would be seen by all processes that share it. So the kernel is asked first; if
 * another process takes the connection in between, a timer's signal ends the call.
 */
#include <sys/syscall.h>

#include "stiol/fd.h"
#include "stiol/stiol_int.h"

enum { MOMENT = 1000000 }; /* ns; a longer call is waiting for a connection that is gone */

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* --- the timer: one for each kernel thread that needs it --- */

static pthread_mutex_t choosing = PTHREAD_MUTEX_INITIALIZER;
static int alarm_signal; /* 0: not chosen yet */

static __thread struct {
    timer_t id;
    pid_t owner; /* 0: none */
} timer;

static void on_alarm(int signal_number)
{
    (void)signal_number; /* it only has to interrupt the call */
}

/* A real-time signal that nobody uses; they are usually allocated from the other end. */
static int choose_signal(void)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK}, before;

    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&choosing);
    for (int n = SIGRTMAX; alarm_signal == 0 && n >= SIGRTMIN; n--)
        if (sigaction(n, NULL, &before) == 0 && before.sa_handler == SIG_DFL &&
            sigaction(n, &action, NULL) == 0)
            alarm_signal = n;
    pthread_mutex_unlock(&choosing);
    return alarm_signal != 0 ? 0 : -1;
}

/* A child of fork() has its own pid, and does not inherit the timer. */
static int make_timer(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID};

    if (timer.owner == gettid())
        return 0;
    if (choose_signal() != 0)
        return -1;
    event.sigev_signo = alarm_signal;
    event.sigev_notify_thread_id = gettid();
    if (timer_create(CLOCK_MONOTONIC, &event, &timer.id) != 0)
        return -1;
    timer.owner = gettid();
    return 0;
}

static void set_timer(long interval)
{
    const struct itimerspec every = {{0, interval}, {0, interval}};

    (void)timer_settime(timer.id, 0, &every, NULL);
}

/* -1 with EINTR after a moment, if there is nothing to accept. */
static int accept_in_a_moment(int fd, struct sockaddr *addr, socklen_t *addrlen, int flags)
{
    sigset_t mine, before;
    int made, error;

    if (make_timer() != 0)
        return accept4(fd, addr, addrlen, flags);
    sigemptyset(&mine);
    sigaddset(&mine, alarm_signal);
    pthread_sigmask(SIG_UNBLOCK, &mine, &before);
    set_timer(MOMENT);
    made = accept4(fd, addr, addrlen, flags);
    error = errno;
    set_timer(0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return made;
}

/* --- the call --- */

/* 0: there was a connection when the kernel was asked. */
static int await_connection(stiol__vp_t *vp, int fd, st_utime_t deadline)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    int rc = poll(&one, 1, 0);

    if (rc != 0)
        return 0;
    STIOL_PARKS(vp, io);
    rc = stiol__wait_fd(fd, POLLIN, stiol__left(deadline));
    if (rc == 0)
        errno = EAGAIN;
    return rc > 0 ? 0 : stiol__failed(vp);
}

static int accept_patiently(stiol__vp_t *vp, int fd, struct sockaddr *addr, socklen_t *addrlen,
                            int flags)
{
    st_utime_t deadline = stiol__deadline(stiol__socket_timeout(fd, SO_RCVTIMEO));
    int made;

    do {
        if (await_connection(vp, fd, deadline) != 0)
            return -1;
        made = accept_in_a_moment(fd, addr, addrlen, flags);
    } while (made < 0 && (errno == EINTR || errno == EAGAIN));
    return made;
}

/* Returns the connection that the MPM has accepted; -1: none. */
static int take_accepted(stiol__vp_t *vp, struct sockaddr *addr, socklen_t *addrlen)
{
    stiol__thread_t *self = vp ? stiol__self(vp) : NULL;
    const stiol_connection_t *connection = self ? self->accepted : NULL;

    if (!connection)
        return -1;
    self->accepted = NULL;
    if (addr && addrlen) {
        memcpy(addr, connection->address,
               *addrlen < connection->length ? *addrlen : connection->length);
        *addrlen = connection->length;
    }
    return connection->osfd;
}

int stiol__accept4(int fd, __SOCKADDR_ARG addr, socklen_t *restrict addrlen, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(io, accept4, fd);
    int made = take_accepted(vp, addr.__sockaddr__, addrlen);

    if (made >= 0)
        return made;
    if (vp && stiol__fd_class(fd) == STIOL_FD_SOCKET)
        made = accept_patiently(vp, fd, addr.__sockaddr__, addrlen, flags);
    else
        made = accept4(fd, addr, addrlen, flags);
    if (vp)
        stiol__yield();
    return stiol__fd_made(made,
                          (flags & SOCK_NONBLOCK) != 0 ? STIOL_FD_ASYNC_SOCKET : STIOL_FD_SOCKET);
}

int stiol__accept(int fd, __SOCKADDR_ARG addr, socklen_t *restrict addrlen)
{
    return stiol__accept4(fd, addr, addrlen, 0);
}
