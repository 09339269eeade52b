/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for child processes, name look-ups, and the helper kernel threads behind some of them.
 */
#include <arpa/inet.h>

#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

/* --- processes --- */

/* A child that ends with `status` when a byte comes. */
static pid_t child(int status, int *go)
{
    int fds[2];
    char c;
    pid_t pid;

    CHECK(pipe(fds) == 0);
    pid = fork();
    if (pid == 0) {
        close(fds[1]);
        (void)!read(fds[0], &c, 1);
        _exit(status);
    }
    CHECK(pid > 0);
    close(fds[0]);
    *go = fds[1];
    return pid;
}

typedef struct waiter {
    pid_t pid, got;
    int how, status;
    siginfo_t info;
} waiter_t;

static void *wait_somehow(void *arg)
{
    waiter_t *waiter = arg;
    struct rusage usage;

    note('(');
    switch (waiter->how) {
    case 0:
        waiter->got = call->waitpid(waiter->pid, &waiter->status, 0);
        break;
    case 1:
        waiter->got = call->waitpid(-1, &waiter->status, 0);
        break;
    case 2:
        waiter->got = call->wait(&waiter->status);
        break;
    case 3:
        waiter->got = call->wait3(&waiter->status, 0, &usage);
        break;
    case 4:
        waiter->got = call->wait4(waiter->pid, &waiter->status, 0, &usage);
        break;
    case 5:
        waiter->got = call->waitpid(waiter->pid, &waiter->status, WUNTRACED);
        break;
    default:
        CHECK(call->waitid(P_PID, (id_t)waiter->pid, &waiter->info, WEXITED) == 0);
        waiter->got = waiter->info.si_pid;
        waiter->status = waiter->info.si_status << 8;
    }
    note(')');
    return NULL;
}

static void waits_for_children_give_way(void)
{
    for (int how = 0; how <= 6; how++) {
        waiter_t waiter = {.how = how};
        int go;

        forget_notes();
        waiter.pid = child(how, &go);
        spawn(wait_somehow, &waiter);
        settle();
        note('g');
        CHECK(write(go, "x", 1) == 1);
        reap();
        CHECK(strcmp(noted(), "(g)") == 0 && waiter.got == waiter.pid);
        CHECK(WIFEXITED(waiter.status) && WEXITSTATUS(waiter.status) == how);
        close(go);
    }
    CHECK(call->waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    CHECK(call->waitid(P_ALL, 0, NULL, WEXITED) == -1 && errno == ECHILD);
}

static void waits_that_need_not_wait_do_not(void)
{
    siginfo_t info = {0};
    int go, status;
    pid_t pid = child(3, &go);

    CHECK(call->waitpid(pid, &status, WNOHANG) == 0);
    CHECK(call->waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0);
    CHECK(write(go, "x", 1) == 1);
    CHECK(call->waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0 && info.si_pid == pid);
    CHECK(call->waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
}

static void two_hundred_children(void)
{
    static waiter_t waiters[200];
    int go[200];

    for (int i = 0; i < 200; i++) {
        waiters[i] = (waiter_t){.pid = child(i % 7, &go[i])};
        spawn(wait_somehow, &waiters[i]);
    }
    for (int i = 199; i >= 0; i--)
        CHECK(write(go[i], "x", 1) == 1);
    reap();
    for (int i = 0; i < 200; i++)
        CHECK(waiters[i].got == waiters[i].pid && WEXITSTATUS(waiters[i].status) == i % 7);
}

static void *interrupted_wait(void *arg)
{
    CHECK(call->waitpid(*(pid_t *)arg, NULL, 0) == -1 && errno == EINTR);
    note('i');
    return NULL;
}

static void an_interrupt_ends_the_wait(void)
{
    int go;
    pid_t pid = child(0, &go);
    st_thread_t thread = spawn(interrupted_wait, &pid);

    settle();
    st_thread_interrupt(thread);
    reap();
    CHECK(noted()[0] == 'i');
    close(go);
    CHECK(call->waitpid(pid, NULL, 0) == pid);
}

/* The program ends after tell() has had its turns. */
static void system_and_pclose_give_way(void)
{
    char command[80];
    FILE *stream;
    int fds[2];

    CHECK(kernel_threads() == 1 && pipe(fds) == 0);
    snprintf(command, sizeof(command), "head -c1 /dev/fd/%d >/dev/null; exit 3", fds[0]);
    spawn(tell, &fds[1]);
    CHECK(call->system(command) == 3 << 8);
    CHECK(noted()[0] == 't' && call->system(NULL) != 0);
    stream = call->popen(command, "w");
    spawn(tell, &fds[1]);
    CHECK(stream && call->pclose(stream) == 3 << 8 && noted()[1] == 't');
    CHECK(kernel_threads() == 1 && counters().process.helped == 0);
    stream = popen(command, "r"); /* the C library's: it waits by itself, on a helper */
    spawn(tell, &fds[1]);
    CHECK(stream && call->pclose(stream) == 3 << 8 && noted()[2] == 't');
    CHECK(kernel_threads() == 2 && counters().process.helped == 1);
}

/* --- helpers --- */

typedef struct slow_job {
    stiol__job_t job;
    _Atomic bool started, may_end;
    sigset_t mask;
    bool is_vp;
} slow_job_t;

static void run_slowly(stiol__job_t *job)
{
    slow_job_t *slow = (slow_job_t *)job;

    pthread_sigmask(SIG_SETMASK, NULL, &slow->mask);
    slow->is_vp = !!st_vp_self();
    slow->started = true;
    while (!slow->may_end)
        usleep(100);
    errno = EXDEV;
}

static void *help(void *arg)
{
    stiol__help(stiol__vp, STIOL_HELP_OTHER, arg);
    CHECK(errno == EXDEV);
    note('h');
    return NULL;
}

/* They take no signals (trap 9: handlers run where the VP expects them), and are no more than
 * allowed. */
static void helpers_are_few_and_take_no_signals(void)
{
    static slow_job_t jobs[6];
    st_thread_t threads[6];

    for (int i = 0; i < 6; i++) {
        jobs[i].job.run = run_slowly;
        threads[i] = spawn(help, &jobs[i]);
    }
    settle();
    while (!jobs[0].started || !jobs[1].started)
        st_thread_yield();
    CHECK(kernel_threads() == 3 && !jobs[2].started && noted()[0] == '\0');
    CHECK(sigismember(&jobs[0].mask, SIGTERM) == 1 && sigismember(&jobs[0].mask, SIGUSR1) == 1);
    CHECK(!jobs[0].is_vp);
    st_thread_interrupt(threads[5]); /* the job continues nevertheless */
    for (int i = 0; i < 6; i++)
        jobs[i].may_end = true;
    reap();
    CHECK(strcmp(noted(), "hhhhhh") == 0);
}

static void the_end_waits_for_idle_helpers_only(void)
{
    static slow_job_t quick, slow;

    CHECK(st_init() == 0 && stiol_start(&test_config) == 0);
    quick.job.run = slow.job.run = run_slowly;
    quick.may_end = true;
    help(&quick);
    CHECK(kernel_threads() == 2);
    spawn(help, &slow);
    while (!slow.started)
        st_thread_yield();
    stiol_stop(); /* does not hang */
    CHECK(noted()[0] == 'h' && noted()[1] == '\0');
    slow.may_end = true;
    reap();
}

/* --- names --- */

static int look_up(const char *name, int flags)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *found = NULL;
    int rc = call->getaddrinfo(name, "80", &hints, &found);

    if (rc == 0) {
        CHECK(found && found->ai_addrlen > 0);
        freeaddrinfo(found);
    }
    return rc;
}

static void *look_up_localhost(void *arg)
{
    (void)arg;
    CHECK(look_up("localhost", 0) == 0);
    note('l');
    return NULL;
}

static void look_ups_run_on_a_helper(void)
{
    int ticks = 0;

    CHECK(look_up("127.0.0.1", 0) == 0 && look_up("::1", 0) == 0);
    CHECK(look_up("localhost", AI_NUMERICHOST) == EAI_NONAME);
    CHECK(look_up(NULL, AI_PASSIVE) == 0);
    CHECK(counters().resolve.calls == 4 && counters().resolve.parked == 0 && kernel_threads() == 1);
    CHECK(counters().resolve.helped == 0);
    spawn(ticker, &ticks);
    CHECK(look_up("localhost", 0) == 0 && ticks > 0);
    CHECK(counters().resolve.parked == 1 && counters().resolve.helped == 1);
    CHECK(kernel_threads() == 2);
    for (int i = 0; i < 20; i++)
        spawn(look_up_localhost, NULL);
    while (strlen(noted()) < 20)
        st_thread_yield();
    CHECK(kernel_threads() <= 3);
    stop_ticking = true;
}

static void addresses_are_turned_into_names(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char host[256], service[32];
    int ticks = 0;

    CHECK(call->getnameinfo((struct sockaddr *)&at, sizeof(at), host, sizeof(host), service,
                            sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV) == 0);
    CHECK(strcmp(host, "127.0.0.1") == 0 && counters().resolve.parked == 0);
    spawn(ticker, &ticks);
    CHECK(call->getnameinfo((struct sockaddr *)&at, sizeof(at), host, sizeof(host), NULL, 0, 0) ==
          0);
    CHECK(ticks > 0 && counters().resolve.parked == 1);
    stop_ticking = true;
}

static void *find_host(void *arg)
{
    struct hostent *host = call->gethostbyname("localhost");

    (void)arg;
    CHECK(host && host->h_addrtype == AF_INET);
    st_thread_yield();
    CHECK(call->gethostbyname("localhost") == host); /* its own memory, used again */
    CHECK(strcmp(host->h_name, "localhost") == 0);
    return host;
}

/* As in the C library, the next call of one function leaves the others' results alone. */
static void each_look_up_has_its_own_result(void)
{
    const struct in_addr address = {htonl(INADDR_LOOPBACK + 2)};
    const struct hostent *first = call->gethostbyname("127.0.0.1"), *second, *third;

    second = call->gethostbyname2("127.0.0.2", AF_INET);
    third = call->gethostbyaddr(&address, sizeof(address), AF_INET);
    CHECK(first && second && strcmp(first->h_name, "127.0.0.1") == 0);
    CHECK(strcmp(second->h_name, "127.0.0.2") == 0 && third != first && third != second);
}

static void the_older_look_ups_too(void)
{
    struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
    struct hostent entry, *found = NULL;
    char buffer[4096], tiny[1];
    int herror = 0;

    for (int i = 0; i < 5; i++)
        spawn(find_host, NULL);
    reap();
    CHECK(call->gethostbyname_r("localhost", &entry, buffer, sizeof(buffer), &found, &herror) == 0);
    CHECK(found == &entry);
    CHECK(call->gethostbyname2_r("localhost", AF_INET, &entry, buffer, sizeof(buffer), &found,
                                 &herror) == 0 &&
          found == &entry);
    CHECK(call->gethostbyaddr_r(&loopback, sizeof(loopback), AF_INET, &entry, buffer,
                                sizeof(buffer), &found, &herror) == 0);
    CHECK(call->gethostbyaddr(&loopback, sizeof(loopback), AF_INET) || h_errno != 0);
    CHECK(call->gethostbyname_r("localhost", &entry, tiny, sizeof(tiny), &found, &herror) ==
          ERANGE);
    h_errno = 0;
    CHECK(!call->gethostbyname2("localhost", -1) && h_errno != 0);
}

static void *look_up_on_kernel_thread(void *arg)
{
    CHECK(look_up("localhost", 0) == 0);
    CHECK(call->gethostbyname("localhost"));
    return arg;
}

static void kernel_threads_look_up_by_themselves(void)
{
    join_kernel_thread(kernel_thread(look_up_on_kernel_thread, NULL));
    CHECK(counters().resolve.calls == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(waits_for_children_give_way),
        VP_TEST(waits_that_need_not_wait_do_not),
        VP_TEST(two_hundred_children),
        VP_TEST(an_interrupt_ends_the_wait),
        VP_TEST(system_and_pclose_give_way),
        VP_TEST(helpers_are_few_and_take_no_signals),
        RAW_TEST(the_end_waits_for_idle_helpers_only),
        VP_TEST(look_ups_run_on_a_helper),
        VP_TEST(addresses_are_turned_into_names),
        VP_TEST(each_look_up_has_its_own_result),
        VP_TEST(the_older_look_ups_too),
        VP_TEST(kernel_threads_look_up_by_themselves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
