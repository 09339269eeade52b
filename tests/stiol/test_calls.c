/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that seldom wait, and yield nevertheless: several messages at once, splices, message
 * queues, waits for signals, and sleeps by other clocks.
 */
#include <sys/ipc.h>

#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

static int ticks;

/* Initially there is nothing. Another state thread has turns, records 't' and writes to `fd`; only
 * then may the call return, and others have had the VP meanwhile. */
static void expect_a_wait(int *fd)
{
    forget_notes();
    spawn(tell, fd);
}

static void has_waited(void)
{
    CHECK(strcmp(noted(), "t") == 0);
    reap();
}

/* --- several messages --- */

static void receiving_several_gives_way(void)
{
    char text[3][8];
    struct iovec parts[3];
    struct mmsghdr messages[3] = {0};
    struct timespec none = {0, 0};
    int fds[2];

    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    for (int i = 0; i < 3; i++) {
        parts[i] = (struct iovec){text[i], sizeof(text[i])};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    expect_a_wait(&fds[1]);
    CHECK(call->recvmmsg(fds[0], messages, 3, MSG_WAITFORONE, NULL) == 1);
    CHECK(messages[0].msg_len == 1 && text[0][0] == 'x');
    has_waited();
    CHECK(send(fds[1], "ab", 2, 0) == 2 && send(fds[1], "cde", 3, 0) == 3);
    expect_a_wait(&fds[1]);
    CHECK(call->recvmmsg(fds[0], messages, 3, 0, NULL) == 3); /* waits for the third */
    CHECK(messages[0].msg_len == 2 && messages[1].msg_len == 3 && messages[2].msg_len == 1);
    has_waited();
    CHECK(send(fds[1], "a", 1, 0) == 1 && send(fds[1], "b", 1, 0) == 1);
    CHECK(call->recvmmsg(fds[0], messages, 3, 0, &none) == 1); /* the time is over by then */
    CHECK(call->recvmmsg(fds[0], messages, 3, MSG_DONTWAIT, NULL) == 1);
    CHECK(call->recvmmsg(fds[0], messages, 3, MSG_DONTWAIT, NULL) == -1 && errno == EAGAIN);
    CHECK(call->recvmmsg(-1, messages, 3, 0, NULL) == -1 && errno == EBADF);
}

static void *drain(void *arg)
{
    char text[4096];

    for (int i = 0; i < 50; i++)
        st_thread_yield();
    note('d');
    while (call->recv(*(int *)arg, text, sizeof(text), 0) > 0)
        continue;
    return NULL;
}

/* More datagrams than a queue holds. */
static void sending_several_gives_way(void)
{
    enum { MANY = 600 };
    static char text[2048];
    static struct mmsghdr messages[MANY];
    struct iovec part = {text, sizeof(text)};
    int fds[2];

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0);
    for (int i = 0; i < MANY; i++)
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
    spawn(drain, &fds[0]);
    CHECK(call->sendmmsg(fds[1], messages, MANY, 0) == MANY);
    CHECK(strcmp(noted(), "d") == 0 && messages[MANY - 1].msg_len == sizeof(text));
    CHECK(call->close(fds[1]) == 0);
    CHECK(call->sendmmsg(fds[1], messages, 1, 0) == -1 && errno == EBADF);
    reap();
}

/* --- without an offset --- */

static void reads_without_an_offset_give_way(void)
{
    char text[8];
    struct iovec part = {text, sizeof(text)};
    int fds[2];

    CHECK(pipe(fds) == 0);
    expect_a_wait(&fds[1]);
    CHECK(call->preadv2(fds[0], &part, 1, -1, 0) == 1 && text[0] == 'x');
    has_waited();
    expect_a_wait(&fds[1]);
    CHECK(call->preadv64v2(fds[0], &part, 1, -1, 0) == 1);
    has_waited();
    CHECK(call->preadv2(fds[0], &part, 1, 0, 0) == -1 && errno == ESPIPE);
    CHECK(call->pwritev2(fds[1], &part, 1, -1, 0) == 8);
    CHECK(call->pwritev64v2(fds[1], &part, 1, -1, 0) == 8);
    CHECK(call->preadv2(fds[0], &part, 1, -1, 0) == 8);
}

/* --- splices --- */

static void splices_give_way(void)
{
    int in[2], out[2], sockets[2];
    struct iovec part = {(char[]){"abc"}, 3};
    char text[8];

    CHECK(pipe(in) == 0 && pipe(out) == 0);
    socket_pair(sockets, false);
    expect_a_wait(&in[1]);
    CHECK(call->splice(in[0], NULL, out[1], NULL, 100, 0) == 1); /* pipe to pipe */
    has_waited();
    expect_a_wait(&sockets[1]);
    CHECK(call->splice(sockets[0], NULL, out[1], NULL, 100, 0) == 1); /* socket to pipe */
    has_waited();
    CHECK((fcntl(sockets[0], F_GETFL) & O_NONBLOCK) == 0);
    CHECK(read(out[0], text, sizeof(text)) == 2);
    expect_a_wait(&in[1]);
    CHECK(call->tee(in[0], out[1], 100, 0) == 1);
    has_waited();
    CHECK(call->splice(in[0], NULL, out[1], NULL, 100, 0) == 1); /* it is there still */
    CHECK(call->splice(in[0], NULL, out[1], NULL, 100, SPLICE_F_NONBLOCK) == -1);
    CHECK(errno == EAGAIN);
    CHECK(call->vmsplice(out[1], &part, 1, 0) == 3);
    CHECK(call->splice(-1, NULL, out[1], NULL, 1, 0) == -1 && errno == EBADF);
    CHECK(call->close(in[1]) == 0);
    CHECK(call->splice(in[0], NULL, out[1], NULL, 100, 0) == 0); /* its end */
}

static void *make_room(void *arg)
{
    static char text[65536];

    for (int i = 0; i < 50; i++)
        st_thread_yield();
    note('t');
    CHECK(read(*(int *)arg, text, sizeof(text)) > 0);
    while (recv(*(int *)arg, text, sizeof(text), MSG_DONTWAIT) > 0) /* if it is a socket */
        continue;
    return NULL;
}

static void splices_into_what_is_full_give_way(void)
{
    static char text[1 << 20];
    struct iovec part = {text, sizeof(text)};
    int in[2], out[2], sockets[2];

    CHECK(pipe(in) == 0 && pipe(out) == 0);
    socket_pair(sockets, false);
    CHECK(fcntl(out[1], F_SETPIPE_SZ, 4096) >= 4096);
    CHECK(call->vmsplice(out[1], &part, 1, 0) > 0); /* full now */
    CHECK(write(in[1], "a", 1) == 1);
    spawn(make_room, &out[0]);
    CHECK(call->splice(in[0], NULL, out[1], NULL, 1, 0) == 1);
    has_waited();
    while (send(sockets[1], text, sizeof(text), MSG_DONTWAIT) > 0)
        continue;
    CHECK(write(in[1], text, 4096) == 4096);
    forget_notes();
    spawn(make_room, &sockets[0]);
    CHECK(call->splice(in[0], NULL, sockets[1], NULL, 4096, 0) > 0);
    has_waited();
}

/* --- message queues --- */

typedef struct post {
    mqd_t queue;
    int id;
    bool send;
} post_t;

static void *use_queue(void *arg)
{
    const post_t *post = arg;
    char text[16];

    for (int i = 0; i < 50; i++)
        st_thread_yield();
    note('t');
    if (post->send)
        CHECK(mq_send(post->queue, "hello", 6, 3) == 0);
    else
        CHECK(mq_receive(post->queue, text, sizeof(text), NULL) == 6);
    return NULL;
}

static void posix_queues_give_way(void)
{
    struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 16};
    struct timespec at, wrong = {0, -1};
    char name[64], text[16];
    unsigned rank = 0;
    post_t post;

    snprintf(name, sizeof(name), "/stiol-test-%d", getpid());
    post.queue = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
    if (post.queue < 0)
        skip_test("no POSIX message queues here");
    CHECK(mq_unlink(name) == 0);
    post.send = true;
    spawn(use_queue, &post);
    CHECK(call->mq_receive(post.queue, text, sizeof(text), &rank) == 6 && rank == 3);
    has_waited();
    CHECK(call->mq_send(post.queue, "first", 6, 0) == 0);
    post.send = false;
    forget_notes();
    spawn(use_queue, &post);
    CHECK(call->mq_send(post.queue, "other", 6, 0) == 0); /* when there is room */
    has_waited();
    CHECK(call->mq_receive(post.queue, text, sizeof(text), NULL) == 6 && text[0] == 'o');
    clock_gettime(CLOCK_REALTIME, &at);
    CHECK(call->mq_timedreceive(post.queue, text, sizeof(text), NULL, &at) == -1);
    CHECK(errno == ETIMEDOUT);
    CHECK(call->mq_timedreceive(post.queue, text, sizeof(text), NULL, &wrong) == -1);
    CHECK(errno == EINVAL);
    CHECK(call->mq_timedsend(post.queue, "a", 1, 0, &at) == 0);
    CHECK(call->mq_timedsend(post.queue, "b", 1, 0, &at) == -1 && errno == ETIMEDOUT);
    CHECK(call->mq_receive(post.queue, text, 1, NULL) == -1 && errno == EMSGSIZE);
    CHECK(call->mq_close(post.queue) == 0 && call->mq_close(post.queue) == -1);
}

typedef struct message {
    long type;
    char text[8];
} message_t;

static void *send_message(void *arg)
{
    message_t message = {.type = 2, .text = "hi"};

    for (int i = 0; i < 50; i++)
        st_thread_yield();
    note('t');
    CHECK(call->msgsnd(*(int *)arg, &message, 3, 0) == 0);
    return NULL;
}

static void system_v_queues_give_way(void)
{
    message_t message = {.type = 1};
    int id = msgget(IPC_PRIVATE, 0600), status;
    pid_t pid;

    if (id < 0)
        skip_test("no System V message queues here");
    spawn(send_message, &id);
    CHECK(call->msgrcv(id, &message, sizeof(message.text), 2, 0) == 3 && message.type == 2);
    has_waited();
    pid = fork();
    if (pid == 0)
        _exit(msgsnd(id, &message, 3, 0));
    CHECK(call->msgrcv(id, &message, sizeof(message.text), 0, 0) == 3);
    CHECK(call->waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(call->msgrcv(id, &message, 8, 0, IPC_NOWAIT) == -1 && errno == ENOMSG);
    message.type = 0;
    CHECK(call->msgsnd(id, &message, 3, 0) == -1 && errno == EINVAL);
    CHECK(msgctl(id, IPC_RMID, NULL) == 0);
    CHECK(call->msgrcv(id, &message, 8, 0, 0) == -1 && (errno == EINVAL || errno == EIDRM));
}

/* --- signals --- */

static void *raise_it(void *arg)
{
    for (int i = 0; i < 50; i++)
        st_thread_yield();
    note('t');
    CHECK(kill(getpid(), *(int *)arg) == 0);
    return NULL;
}

static void waits_for_signals_give_way(void)
{
    struct timespec length = {0, 2000000}, wrong = {0, -1};
    int number = SIGUSR2, got = 0;
    siginfo_t info;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    spawn(raise_it, &number);
    CHECK(call->sigwait(&set, &got) == 0 && got == SIGUSR2);
    has_waited();
    forget_notes();
    spawn(raise_it, &number);
    CHECK(call->sigwaitinfo(&set, &info) == SIGUSR2 && info.si_pid == getpid());
    has_waited();
    spawn(ticker, &ticks);
    while (ticks == 0) /* as vp.h says of waits */
        CHECK(call->sigtimedwait(&set, &info, &length) == -1 && errno == EAGAIN);
    stop_ticking = true;
    CHECK(call->sigtimedwait(&set, &info, &wrong) == -1 && errno == EINVAL);
    CHECK(kill(getpid(), SIGUSR2) == 0);
    CHECK(call->sigtimedwait(&set, NULL, &length) == SIGUSR2);
}

/* --- clocks --- */

static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI,
                                   CLOCK_PROCESS_CPUTIME_ID};

static st_utime_t now_by(clockid_t clock)
{
    struct timespec now;

    CHECK(clock_gettime(clock, &now) == 0);
    return (st_utime_t)now.tv_sec * 1000000 + (st_utime_t)now.tv_nsec / 1000;
}

static void sleeps_by_any_clock_give_way(void)
{
    spawn(ticker, &ticks);
    for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
        struct timespec length = {0, 2000000}, at;
        st_utime_t start = now_by(clocks[i]);
        int before = ticks;

        CHECK(call->clock_nanosleep(clocks[i], 0, &length, NULL) == 0);
        CHECK(now_by(clocks[i]) >= start + 2000 && ticks > before);
        for (before = ticks; ticks == before;) { /* as vp.h says of waits */
            CHECK(clock_gettime(clocks[i], &at) == 0);
            at.tv_nsec += 2000000;
            if (at.tv_nsec >= 1000000000)
                at.tv_sec++, at.tv_nsec -= 1000000000;
            start = now_by(clocks[i]);
            CHECK(call->clock_nanosleep(clocks[i], TIMER_ABSTIME, &at, NULL) == 0);
            CHECK(now_by(clocks[i]) >= start);
        }
        at.tv_sec = 1; /* long ago */
        CHECK(clocks[i] == CLOCK_PROCESS_CPUTIME_ID || clocks[i] == CLOCK_MONOTONIC ||
              clocks[i] == CLOCK_BOOTTIME ||
              call->clock_nanosleep(clocks[i], TIMER_ABSTIME, &at, NULL) == 0);
    }
    stop_ticking = true;
}

/* As with the real call: these clocks have no sleeps. */
static void clocks_without_sleeps_are_refused(void)
{
    static const clockid_t refused[] = {CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE,
                                        CLOCK_MONOTONIC_COARSE, CLOCK_THREAD_CPUTIME_ID, 9999};
    struct timespec length = {0, 1000}, wrong = {0, -1};

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        int rc = clock_nanosleep(refused[i], 0, &length, NULL);

        CHECK(rc != 0 && call->clock_nanosleep(refused[i], 0, &length, NULL) == rc);
    }
    CHECK(call->clock_nanosleep(CLOCK_BOOTTIME, 0, &wrong, NULL) == EINVAL);
}

static void *sleep_by_boottime(void *arg)
{
    struct timespec length = {100, 0}, rest = {0, 0};

    (void)arg;
    CHECK(call->clock_nanosleep(CLOCK_BOOTTIME, 0, &length, &rest) == EINTR);
    CHECK(rest.tv_sec > 0 && rest.tv_sec <= 100);
    return NULL;
}

static void an_interrupted_sleep_tells_the_rest(void)
{
    st_thread_t thread = spawn(sleep_by_boottime, NULL);

    settle();
    st_thread_interrupt(thread);
    reap();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(receiving_several_gives_way),
        VP_TEST(sending_several_gives_way),
        VP_TEST(reads_without_an_offset_give_way),
        VP_TEST(splices_give_way),
        VP_TEST(splices_into_what_is_full_give_way),
        VP_TEST(posix_queues_give_way),
        VP_TEST(system_v_queues_give_way),
        VP_TEST(waits_for_signals_give_way),
        VP_TEST(sleeps_by_any_clock_give_way),
        VP_TEST(clocks_without_sleeps_are_refused),
        VP_TEST(an_interrupted_sleep_tells_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
