/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor number that is closed, by any code, and reused is a new descriptor; and O_NONBLOCK,
 * which belongs to the open file, may be changed by others that share it.
 */
#include <sys/mman.h>
#include <sys/stat.h>

#include "stiol/fd.h"
#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

/* A blocking socket of which STIOL and libst know; its peer is left open. */
static int known_socket(void)
{
    int fds[2];
    struct pollfd poller = {.events = POLLIN};

    CHECK(call->socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    CHECK(call->fcntl(fds[1], F_DUPFD, 500) >= 500 && close(fds[1]) == 0);
    poller.fd = fds[0];
    CHECK(call->poll(&poller, 1, 1) == 0);
    CHECK(call->write(fds[0], "x", 1) == 1);
    CHECK(stiol__fd_kind(fds[0]) == STIOL_FD_SOCKET);
    return fds[0];
}

/* --- makers: each returns the lowest number --- */

static char name[64];

static char *new_name(const char *end)
{
    snprintf(name, sizeof(name), "/tmp/stiol-number-XXXXXX%s", end);
    return name;
}

static int numbered(FILE *stream)
{
    return stream ? fileno(stream) : -1;
}

static int m_open_2(void)
{
    return call->__open_2("/dev/null", O_RDWR);
}
static int m_open64_2(void)
{
    return call->__open64_2("/dev/null", O_RDWR);
}
static int m_openat_2(void)
{
    return call->__openat_2(AT_FDCWD, "/dev/null", O_RDWR);
}
static int m_openat64_2(void)
{
    return call->__openat64_2(AT_FDCWD, "/dev/null", O_RDWR);
}
static int m_creat(void)
{
    return call->creat("/dev/null", 0600);
}
static int m_creat64(void)
{
    return call->creat64("/dev/null", 0600);
}
static int m_mkstemp(void)
{
    return call->mkstemp(new_name(""));
}
static int m_mkstemp64(void)
{
    return call->mkstemp64(new_name(""));
}
static int m_mkostemp(void)
{
    return call->mkostemp(new_name(""), O_CLOEXEC);
}
static int m_mkostemp64(void)
{
    return call->mkostemp64(new_name(""), O_CLOEXEC);
}
static int m_mkstemps(void)
{
    return call->mkstemps(new_name(".x"), 2);
}
static int m_mkstemps64(void)
{
    return call->mkstemps64(new_name(".x"), 2);
}
static int m_mkostemps(void)
{
    return call->mkostemps(new_name(".x"), 2, O_CLOEXEC);
}
static int m_mkostemps64(void)
{
    return call->mkostemps64(new_name(".x"), 2, O_CLOEXEC);
}
static int m_eventfd(void)
{
    return call->eventfd(1, 0);
}
static int m_memfd(void)
{
    return call->memfd_create("number", 0);
}
static int m_timerfd(void)
{
    return call->timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
}
static int m_signalfd(void)
{
    sigset_t set;

    sigemptyset(&set);
    return call->signalfd(-1, &set, SFD_NONBLOCK);
}
static int m_inotify(void)
{
    return call->inotify_init();
}
static int m_inotify1(void)
{
    return call->inotify_init1(IN_NONBLOCK);
}
static int m_epoll(void)
{
    return call->epoll_create(1);
}
static int m_epoll1(void)
{
    return call->epoll_create1(EPOLL_CLOEXEC);
}
static int m_fopen(void)
{
    return numbered(call->fopen("/dev/null", "r"));
}
static int m_fopen64(void)
{
    return numbered(call->fopen64("/dev/null", "r"));
}
static int m_tmpfile(void)
{
    return numbered(call->tmpfile());
}
static int m_tmpfile64(void)
{
    return numbered(call->tmpfile64());
}
static int m_popen(void)
{
    return numbered(call->popen("exit 0", "r"));
}
static int m_opendir(void)
{
    /* Their numbers are closed, they are not: leak checkers must still find them. */
    static DIR *dirs[8] __attribute__((unused));
    static unsigned count;
    DIR *dir = call->opendir("/");

    dirs[count++ % 8] = dir;
    return dir ? dirfd(dir) : -1;
}
static int m_freopen(void)
{
    return numbered(call->freopen("/dev/null", "r", fopen("/dev/null", "r")));
}
static int m_freopen64(void)
{
    return numbered(call->freopen64("/dev/null", "r", fopen("/dev/null", "r")));
}
static int m_shm_open(void)
{
    char path[32];
    int fd;

    snprintf(path, sizeof(path), "/stiol-number-%d", getpid());
    fd = call->shm_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(fd < 0 || shm_unlink(path) == 0);
    return fd;
}
static int m_posix_openpt(void)
{
    return call->posix_openpt(O_RDWR | O_NOCTTY);
}
static int m_getpt(void)
{
    return call->getpt();
}
static int m_openpty(void)
{
    int fds[2];

    return call->openpty(&fds[0], &fds[1], NULL, NULL, NULL) == 0 ? fds[0] : -1;
}
static int m_fanotify(void)
{
    return call->fanotify_init(FAN_NONBLOCK, O_RDONLY);
}
static int m_pipe(void)
{
    int fds[2];

    CHECK(call->pipe2(fds, O_NONBLOCK) == 0);
    return fds[0];
}

/* The last SELDOM do not exist everywhere. */
enum { SELDOM = 5 };

static int (*const makers[])(void) = {
    m_open_2,    m_open64_2,    m_openat_2,     m_openat64_2, m_creat,    m_creat64,
    m_mkstemp,   m_mkstemp64,   m_mkostemp,     m_mkostemp64, m_mkstemps, m_mkstemps64,
    m_mkostemps, m_mkostemps64, m_eventfd,      m_memfd,      m_timerfd,  m_signalfd,
    m_inotify,   m_inotify1,    m_epoll,        m_epoll1,     m_fopen,    m_fopen64,
    m_tmpfile,   m_tmpfile64,   m_popen,        m_opendir,    m_freopen,  m_freopen64,
    m_pipe,      m_shm_open,    m_posix_openpt, m_getpt,      m_openpty,  m_fanotify};

/* What it really is. */
static void is_known_as_it_is(int fd)
{
    bool blocks = (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
    stiol__fd_class_t kind = stiol__fd_kind(fd);
    struct stat st;

    CHECK(fstat(fd, &st) == 0);
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        CHECK(kind == STIOL_FD_PASS || kind == STIOL_FD_FILE);
    else
        CHECK(kind == (blocks ? STIOL_FD_STREAM : STIOL_FD_ASYNC_STREAM));
    CHECK((st_fd_ready(fd) & POLLERR) != 0); /* libst does not know about it */
}

static void whatever_makes_a_descriptor_makes_a_new_one(void)
{
    for (size_t i = 0; i < sizeof(makers) / sizeof(*makers); i++) {
        int number = known_socket(), fd;

        close(number); /* unseen */
        name[0] = '\0';
        fd = makers[i]();
        if (fd < 0 && i >= sizeof(makers) / sizeof(*makers) - SELDOM)
            continue; /* a container may have no such thing: fanotify, pseudoterminals */
        CHECK(fd == number);
        is_known_as_it_is(fd);
        close(fd);
        if (name[0] != '\0')
            CHECK(unlink(name) == 0);
    }
}

/* --- what closes one --- */

static void c_fclose(int fd)
{
    CHECK(call->fclose(fdopen(fd, "r+")) == 0);
}
static void c_freopen(int fd)
{
    FILE *stream = fdopen(fd, "r+");

    CHECK(call->freopen("/dev/null", "r", stream) == stream && fclose(stream) == 0);
}
static void c_close_range(int fd)
{
    CHECK(call->close_range((unsigned)fd, (unsigned)fd, 0) == 0);
}
static void *close_there(void *arg)
{
    CHECK(call->close(*(int *)arg) == 0);
    return NULL;
}
static void c_kernel_thread(int fd)
{
    join_kernel_thread(kernel_thread(close_there, &fd));
}
static void c_unseen(int fd)
{
    CHECK(close(fd) == 0);
}

/* Everything is reported for the next descriptor with the number: a pipe that is waited for. */
static void is_waited_for(int number)
{
    struct pollfd poller = {.fd = number, .events = POLLIN};
    int fds[2];
    char c;

    CHECK(call->pipe(fds) == 0 && fds[0] == number);
    spawn(tell, &fds[1]);
    CHECK(call->poll(&poller, 1, -1) == 1 && poller.revents == POLLIN);
    CHECK(call->read(number, &c, 1) == 1);
    spawn(tell, &fds[1]);
    CHECK(call->read(number, &c, 1) == 1);
    reap();
    close(fds[0]);
    close(fds[1]);
}

static void whatever_closes_a_descriptor_has_closed_it(void)
{
    static void (*const closers[])(int) = {c_fclose, c_freopen, c_close_range, c_kernel_thread,
                                           c_unseen};

    for (size_t i = 0; i < sizeof(closers) / sizeof(*closers); i++) {
        int number = known_socket();

        closers[i](number);
        if (closers[i] != c_unseen)
            CHECK(!stiol__fd_is_noted(number));
        is_waited_for(number);
    }
}

static void closefrom_closes_all(void)
{
    int first = known_socket(), high = call->fcntl(first, F_DUPFD, 700);

    CHECK(high >= 700 && stiol__fd_kind(high) == STIOL_FD_SOCKET);
    call->closefrom(700);
    CHECK(!stiol__fd_is_noted(high) && stiol__fd_is_noted(first));
    CHECK(fcntl(high, F_GETFD) == -1);
    CHECK(call->close_range(700, ~0u, CLOSE_RANGE_CLOEXEC) == 0);
}

static void directories_are_closed(void)
{
    DIR *dir = call->opendir("/");
    int number = dirfd(dir);

    CHECK(stiol__fd_kind(number) == STIOL_FD_PASS);
    CHECK(call->closedir(dir) == 0 && !stiol__fd_is_noted(number));
    is_waited_for(number);
}

/* Neither close was seen: the call's result corrects what is known. */
static void a_mistake_is_noticed(void)
{
    int number = known_socket(), fd;
    char data[8];

    close(number);
    fd = memfd_create("number", 0);
    CHECK(fd == number);
    CHECK(call->write(fd, "hello", 5) == 5 && lseek(fd, 0, SEEK_SET) == 0);
    CHECK(call->read(fd, data, 8) == 5);
    CHECK(stiol__fd_class(fd) == STIOL_FD_PASS);
    CHECK(call->recv(fd, data, 8, 0) == -1 && errno == ENOTSOCK);
}

/* --- descriptors received in messages --- */

static void descriptors_that_are_received_are_new(void)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    char c = 'c';
    struct iovec part = {&c, 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int fds[2], file = memfd_create("number", 0), number;

    CHECK(call->socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    number = known_socket();
    memcpy(CMSG_DATA(&control.header), &file, sizeof(file));
    CHECK(call->sendmsg(fds[0], &message, 0) == 1);
    close(number);
    CHECK(call->recvmsg(fds[1], &message, 0) == 1);
    CHECK(memcmp(CMSG_DATA(&control.header), &number, sizeof(number)) == 0);
    is_known_as_it_is(number);
}

/* --- O_NONBLOCK --- */

typedef struct user {
    int fd, how;
    ssize_t n;
} user_t;

enum {
    READERS = 5,
    WRITERS = 4,
};

/* The first READERS read, the others write. */
static ssize_t use(int fd, int how, char *data, size_t size)
{
    struct iovec parts[2] = {{data, size / 2}, {data + size / 2, size - size / 2}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    switch (how) {
    case 0:
        return call->read(fd, data, size);
    case 1:
        return call->readv(fd, parts, 2);
    case 2:
        return call->recv(fd, data, size, 0);
    case 3:
        return call->recvfrom(fd, data, size, 0, (struct sockaddr *)NULL, NULL);
    case 4:
        return call->recvmsg(fd, &message, 0);
    case 5:
        return call->write(fd, data, size);
    case 6:
        return call->writev(fd, parts, 2);
    case 7:
        return call->send(fd, data, size, 0);
    default:
        return call->sendmsg(fd, &message, 0);
    }
}

enum { MUCH = 1024 * 1024 };

static char data[MUCH];

static void *use_and_note(void *arg)
{
    user_t *user = arg;

    note('(');
    user->n = use(user->fd, user->how, data, user->how < READERS ? 8 : MUCH);
    note(')');
    return NULL;
}

static void *take_much(void *arg)
{
    static char other[65536];
    size_t done = 0;
    ssize_t n;

    while (done < MUCH && (n = read(*(int *)arg, other, sizeof(other))) != 0) {
        CHECK(n > 0 || errno == EAGAIN);
        done += n > 0 ? (size_t)n : 0;
        st_thread_yield();
    }
    return NULL;
}

/* fds[0] was taken to be nonblocking, and is made blocking through a duplicate. */
static void blocks_after_all(int fd, int other, int how)
{
    user_t user = {.fd = fd, .how = how};
    int duplicate = dup(fd);

    CHECK(fcntl(duplicate, F_SETFL, 0) == 0);
    forget_notes();
    spawn(use_and_note, &user);
    settle();
    CHECK(strcmp(noted(), "(") == 0);
    if (how < READERS) {
        CHECK(write(other, "x", 1) == 1);
        reap();
        CHECK(user.n == 1);
    } else {
        CHECK(fcntl(other, F_SETFL, O_NONBLOCK) == 0);
        spawn(take_much, &other);
        reap();
        CHECK(user.n == MUCH);
    }
    close(duplicate);
}

static void sockets_that_a_duplicate_makes_blocking_park(void)
{
    for (int how = 0; how < READERS + WRITERS; how++) {
        int fds[2];

        CHECK(call->socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
        if (how < READERS)
            CHECK(use(fds[0], how, data, 8) == -1 && errno == EAGAIN);
        else
            CHECK(use(fds[0], how, data, 8) == 8 && read(fds[1], data, 8) == 8);
        CHECK(fcntl(fds[1], F_SETFL, 0) == 0);
        blocks_after_all(fds[0], fds[1], how);
        close(fds[0]);
        close(fds[1]);
    }
}

static void pipes_that_a_duplicate_makes_blocking_park(void)
{
    static const int hows[] = {0, 1, 5, 6};

    for (int i = 0; i < 4; i++) {
        int fds[2], how = hows[i];

        CHECK(call->pipe2(fds, O_NONBLOCK) == 0);
        if (pwritev2(fds[1], &(struct iovec){data, 1}, 1, -1, RWF_NOWAIT) != 1)
            skip_test("this kernel's pipes know no RWF_NOWAIT");
        CHECK(read(fds[0], data, 1) == 1);
        if (how < READERS)
            CHECK(use(fds[0], how, data, 8) == -1 && errno == EAGAIN);
        else
            CHECK(use(fds[1], how, data, 8) == 8 && read(fds[0], data, 8) == 8);
        if (how < READERS)
            blocks_after_all(fds[0], fds[1], how);
        else
            blocks_after_all(fds[1], fds[0], how);
        close(fds[0]);
        close(fds[1]);
    }
}

/* The other way round. */
static void what_is_made_nonblocking_does_not_wait(void)
{
    int fds[2];

    for (int how = 0; how < READERS; how++) {
        CHECK(call->socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
        CHECK(fcntl(dup(fds[0]), F_SETFL, O_NONBLOCK) == 0);
        CHECK(use(fds[0], how, data, 8) == -1 && errno == EAGAIN);
        CHECK(use(fds[0], how, data, 8) == -1 && errno == EAGAIN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(whatever_makes_a_descriptor_makes_a_new_one),
        VP_TEST(whatever_closes_a_descriptor_has_closed_it),
        VP_TEST(closefrom_closes_all),
        VP_TEST(directories_are_closed),
        VP_TEST(a_mistake_is_noticed),
        VP_TEST(descriptors_that_are_received_are_new),
        VP_TEST(sockets_that_a_duplicate_makes_blocking_park),
        VP_TEST(pipes_that_a_duplicate_makes_blocking_park),
        VP_TEST(what_is_made_nonblocking_does_not_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
