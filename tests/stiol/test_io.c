/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocking reads, writes, connects and accepts park; calls on nonblocking descriptors and files are
 * passed through; what is known about a descriptor is forgotten when it changes.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/un.h>

#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

enum { MUCH = 1024 * 1024 }; /* bytes; more than any buffer of a socket or pipe here */

/* --- reading --- */

typedef struct reader {
    int fd, how;
    size_t size;
    ssize_t got;
    char data[64];
} reader_t;

static ssize_t read_somehow(reader_t *reader)
{
    struct iovec part = {reader->data, reader->size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    struct sockaddr_storage from;
    socklen_t length = sizeof(from);

    switch (reader->how) {
    case 0:
        return call->read(reader->fd, reader->data, reader->size);
    case 1:
        return call->readv(reader->fd, &part, 1);
    case 2:
        return call->__read_chk(reader->fd, reader->data, reader->size, sizeof(reader->data));
    case 3:
        return call->recv(reader->fd, reader->data, reader->size, 0);
    case 4:
        return call->recvfrom(reader->fd, reader->data, reader->size, 0, (struct sockaddr *)&from,
                              &length);
    case 5:
        return call->recvmsg(reader->fd, &message, 0);
    case 6:
        return call->__recv_chk(reader->fd, reader->data, reader->size, sizeof(reader->data), 0);
    default:
        return call->__recvfrom_chk(reader->fd, reader->data, reader->size, sizeof(reader->data), 0,
                                    (struct sockaddr *)NULL, NULL);
    }
}

static void *read_and_note(void *arg)
{
    reader_t *reader = arg;

    note('(');
    reader->got = read_somehow(reader);
    note(')');
    return NULL;
}

static void reads_give_way(int fds[2], int from, int to)
{
    for (int how = from; how <= to; how++) {
        reader_t reader = {.fd = fds[0], .how = how, .size = sizeof(reader.data)};

        forget_notes();
        spawn(read_and_note, &reader);
        settle();
        note('w');
        CHECK(write(fds[1], "hello", 5) == 5);
        reap();
        CHECK(strcmp(noted(), "(w)") == 0);
        CHECK(reader.got == 5 && memcmp(reader.data, "hello", 5) == 0);
    }
}

static void reads_of_blocking_sockets_give_way(void)
{
    int fds[2];

    socket_pair(fds, false);
    reads_give_way(fds, 0, 7);
    CHECK(counters().io.calls == 8 && counters().io.parked == 8);
}

static void reads_of_pipes_give_way(void)
{
    int fds[2];

    CHECK(call->pipe(fds) == 0);
    reads_give_way(fds, 0, 2);
}

/* An eventfd knows no RWF_NOWAIT on older kernels, and takes 8 bytes. */
static void reads_of_other_descriptors_give_way(void)
{
    int fd = eventfd(0, 0);
    reader_t reader = {.fd = fd, .size = 8};
    uint64_t one = 1;

    spawn(read_and_note, &reader);
    settle();
    note('w');
    CHECK(write(fd, &one, 8) == 8);
    reap();
    CHECK(strcmp(noted(), "(w)") == 0 && reader.got == 8);
}

static void reads_see_the_end(void)
{
    int fds[2];
    char c;

    socket_pair(fds, false);
    close(fds[1]);
    CHECK(call->read(fds[0], &c, 1) == 0 && call->recv(fds[0], &c, 1, 0) == 0);
    CHECK(pipe(fds) == 0);
    close(fds[1]);
    CHECK(call->read(fds[0], &c, 1) == 0);
    CHECK(call->read(fds[0], &c, 0) == 0);
    CHECK(call->read(-1, &c, 1) == -1 && errno == EBADF);
}

static void *write_in_pieces(void *arg)
{
    for (int i = 0; i < 6; i++) {
        CHECK(write(*(int *)arg, "ab", 2) == 2);
        note('w');
        st_thread_yield();
    }
    return NULL;
}

static void waitall_waits_for_all(void)
{
    int fds[2];
    char data[12];

    socket_pair(fds, false);
    spawn(write_in_pieces, &fds[1]);
    CHECK(call->recv(fds[0], data, sizeof(data), MSG_WAITALL) == 12);
    CHECK(strcmp(noted(), "wwwwww") == 0 && memcmp(data, "abababababab", 12) == 0);
}

static void socket_timeouts_are_kept(void)
{
    struct timeval limit = {0, 1000};
    int fds[2], sent = 0;
    static char data[MUCH];
    ssize_t n;
    char c;

    socket_pair(fds, false);
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0);
    CHECK(call->read(fds[0], &c, 1) == -1 && errno == EAGAIN);
    CHECK(call->recv(fds[0], &c, 1, 0) == -1 && errno == EAGAIN);
    n = call->send(fds[0], data, sizeof(data), 0);
    CHECK(n > 0 && n < (ssize_t)sizeof(data)); /* as the kernel: what went before the timeout */
    sent += (int)n;
    CHECK(call->send(fds[0], data, 1, 0) == -1 && errno == EAGAIN && sent > 0);
}

/* --- writing --- */

static void *drain(void *arg)
{
    static char data[65536];
    size_t *got = arg;
    int fd = (int)*got;
    ssize_t n;

    *got = 0;
    note('d');
    while ((n = call->read(fd, data, sizeof(data))) > 0)
        *got += (size_t)n;
    CHECK(n == 0);
    return NULL;
}

static ssize_t write_somehow(int fd, const char *data, int how)
{
    struct iovec parts[4] = {{(void *)(uintptr_t)data, MUCH / 2},
                             {NULL, 0},
                             {(void *)(uintptr_t)(data + MUCH / 2), MUCH / 4},
                             {(void *)(uintptr_t)(data + 3 * MUCH / 4), MUCH / 4}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 4};

    switch (how) {
    case 0:
        return call->write(fd, data, MUCH);
    case 1:
        return call->writev(fd, parts, 4);
    case 2:
        return call->send(fd, data, MUCH, MSG_NOSIGNAL);
    case 3:
        return call->sendto(fd, data, MUCH, 0, (const struct sockaddr *)NULL, 0);
    default:
        return call->sendmsg(fd, &message, 0);
    }
}

static void writes_give_way(void (*make)(int fds[2]), int to)
{
    static char data[MUCH];

    for (int how = 0; how <= to; how++) {
        size_t got;
        int fds[2];

        make(fds);
        got = (size_t)fds[0];
        forget_notes();
        spawn(drain, &got);
        note('w');
        CHECK(write_somehow(fds[1], data, how) == MUCH);
        CHECK(strcmp(noted(), "wd") == 0);
        CHECK(call->close(fds[1]) == 0);
        reap();
        CHECK(got == MUCH);
        CHECK(call->close(fds[0]) == 0);
    }
}

static void make_sockets(int fds[2])
{
    socket_pair(fds, false);
}

static void make_pipe(int fds[2])
{
    CHECK(call->pipe2(fds, 0) == 0);
}

static void writes_to_blocking_sockets_give_way(void)
{
    writes_give_way(make_sockets, 4);
}

static void writes_to_pipes_give_way(void)
{
    writes_give_way(make_pipe, 1);
}

/* Two parts that together fit into a pipe's atomic unit reach the reader as one message. */
static void a_line_is_written_whole(void)
{
    struct iovec parts[2] = {{"two", 3}, {"parts", 5}};
    char data[16];
    int fds[2];

    CHECK(call->pipe2(fds, O_DIRECT) == 0);
    CHECK(call->writev(fds[1], parts, 2) == 8);
    CHECK(call->read(fds[0], data, sizeof(data)) == 8);
    CHECK(call->close(fds[0]) == 0 && call->close(fds[1]) == 0);
}

static void *log_lines(void *arg)
{
    char line[200];

    memset(line, 'x', sizeof(line));
    for (int i = 0; i < 1000; i++)
        CHECK(call->write(*(int *)arg, line, sizeof(line)) == sizeof(line));
    return NULL;
}

/* And if the kernel does not know RWF_NOWAIT. */
static void older_kernels_pipes_give_way_too(void)
{
    stiol__off = STIOL_NO_NOWAIT;
    reads_of_pipes_give_way();
    writes_to_pipes_give_way();
    a_line_is_written_whole();
}

/* A piped logger that is slow: lines of several state threads do not mix, and none holds up the
 * others. */
static void a_slow_piped_logger_holds_up_nobody(void)
{
    int fds[2], ticks = 0;
    size_t got;

    make_pipe(fds);
    for (int i = 0; i < 10; i++)
        spawn(log_lines, &fds[1]);
    settle();
    spawn(ticker, &ticks);
    settle();
    CHECK(ticks > 0);
    stop_ticking = true;
    got = (size_t)fds[0];
    st_thread_t reader = st_thread_create(drain, &got, 1, 0);
    reap();
    CHECK(call->close(fds[1]) == 0);
    CHECK(st_thread_join(reader, NULL) == 0 && got == 10 * 1000 * 200);
}

static void a_broken_pipe_is_told(void)
{
    int fds[2];

    make_pipe(fds);
    close(fds[0]);
    CHECK(call->write(fds[1], "x", 1) == -1 && errno == EPIPE);
    socket_pair(fds, false);
    close(fds[0]);
    CHECK(call->send(fds[1], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
}

static void sendfile_gives_way(void)
{
    int file = memfd_create("stiol", 0), fds[2];
    off_t offset = 0;
    size_t got;

    CHECK(ftruncate(file, MUCH) == 0);
    socket_pair(fds, false);
    got = (size_t)fds[0];
    spawn(drain, &got);
    note('w');
    CHECK(call->sendfile(fds[1], file, &offset, MUCH) == MUCH && offset == MUCH);
    CHECK(call->sendfile64(fds[1], file, NULL, MUCH) == MUCH);
    CHECK(strcmp(noted(), "wd") == 0);
    CHECK((fcntl(fds[1], F_GETFL) & O_NONBLOCK) == 0);
    call->close(fds[1]);
    reap();
    CHECK(got == 2 * MUCH);
}

static void datagrams_go_one_by_one(void)
{
    struct iovec part = {"de", 2};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    char data[8];
    int fds[2];

    CHECK(call->socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    CHECK(call->send(fds[0], "abc", 3, 0) == 3 && call->sendmsg(fds[0], &message, 0) == 2);
    CHECK(call->send(fds[0], "", 0, 0) == 0);
    CHECK(call->recv(fds[1], data, sizeof(data), 0) == 3);
    CHECK(call->recv(fds[1], data, sizeof(data), 0) == 2);
    CHECK(call->recv(fds[1], data, sizeof(data), 0) == 0);
}

/* --- passing through --- */

static void nonblocking_descriptors_are_passed_through(void)
{
    int fds[2], ticks = 0;
    char c;

    socket_pair(fds, true);
    spawn(ticker, &ticks);
    for (int i = 0; i < 100; i++) {
        CHECK(call->read(fds[0], &c, 1) == -1 && errno == EAGAIN);
        CHECK(call->recv(fds[0], &c, 1, 0) == -1 && errno == EAGAIN);
        CHECK(call->write(fds[0], "x", 1) == 1);
    }
    CHECK(ticks == 0);
    CHECK(counters().io.parked == 0);
    socket_pair(fds, false);
    CHECK(call->recv(fds[0], &c, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    stop_ticking = true;
}

static void fill(int fd)
{
    static char much[MUCH];

    while (call->write(fd, much, sizeof(much)) > 0)
        continue;
    CHECK(errno == EAGAIN);
}

/* A later waiter for the descriptor, a watch for example, must not be told at once that it is
 * ready, and must be told when it is. */
static void eagain_ends_readiness(void)
{
    static char much[MUCH];
    int fds[2], file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    char c;

    socket_pair(fds, true);
    CHECK((st_fd_wait(fds[0], POLLOUT, ST_UTIME_NO_TIMEOUT) & POLLOUT) != 0);
    fill(fds[0]);
    CHECK((st_fd_ready(fds[0]) & POLLOUT) == 0);
    CHECK(st_fd_wait(fds[0], POLLOUT, 0) < 0 && errno == ETIME);
    CHECK(read(fds[1], much, sizeof(much)) > 0);
    CHECK((st_fd_wait(fds[0], POLLOUT, ST_UTIME_NO_TIMEOUT) & POLLOUT) != 0);

    fill(fds[0]);
    CHECK(call->sendfile(fds[0], file, NULL, MUCH) < 0 && errno == EAGAIN);
    CHECK((st_fd_ready(fds[0]) & POLLOUT) == 0);

    CHECK((st_fd_wait(fds[1], POLLIN, ST_UTIME_NO_TIMEOUT) & POLLIN) != 0);
    while (call->recv(fds[1], much, sizeof(much), 0) > 0)
        continue;
    CHECK(errno == EAGAIN && (st_fd_ready(fds[1]) & POLLIN) == 0);
    CHECK(write(fds[0], "x", 1) == 1);
    CHECK((st_fd_wait(fds[1], POLLIN, ST_UTIME_NO_TIMEOUT) & POLLIN) != 0);
    /* EAGAIN from the error queue says nothing about data. */
    CHECK(call->recv(fds[1], &c, 1, MSG_OOB) < 0);
    CHECK((st_fd_ready(fds[1]) & POLLIN) != 0);
    CHECK(call->recv(fds[1], &c, 1, 0) == 1 && c == 'x');
    close(file);
}

/* For what the MPM has accepted; changes are noticed, too. */
static void flags_that_are_known_are_not_asked_for(void)
{
    int fds[2], file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    const int known = O_RDWR | O_NONBLOCK;
    char c;

    socket_pair(fds, true);
    stiol_note_nonblocking(fds[0]);
    CHECK(call->fcntl(fds[0], F_GETFL) == known);
    CHECK(call->fcntl(fds[0], F_SETFL, known) == 0);
    CHECK(call->read(fds[0], &c, 1) == -1 && errno == EAGAIN);
    CHECK(call->fcntl(fds[0], F_SETFL, known | O_ASYNC) == 0);
    CHECK(call->fcntl(fds[0], F_GETFL) == (known | O_ASYNC));
    stiol_note_nonblocking(fds[1]);
    CHECK(call->fcntl64(fds[1], F_SETFL, O_RDWR) == 0);
    CHECK(call->fcntl64(fds[1], F_GETFL) == O_RDWR);
    CHECK((fcntl(fds[1], F_GETFL) & O_NONBLOCK) == 0);
    /* The number now belongs to another descriptor. */
    stiol_note_nonblocking(fds[0]);
    CHECK(call->dup2(file, fds[0]) == fds[0]);
    CHECK((call->fcntl(fds[0], F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_RDONLY);
    CHECK(call->close(-1) == -1 && errno == EBADF);
    close(file);
}

static void the_mode_is_followed(void)
{
    int fds[2], on = 1;
    char c;

    socket_pair(fds, false);
    CHECK(call->write(fds[1], "x", 1) == 1 && call->read(fds[0], &c, 1) == 1);
    CHECK(call->fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK(call->read(fds[0], &c, 1) == -1 && errno == EAGAIN);
    CHECK(call->fcntl64(fds[0], F_SETFL, 0) == 0);
    reads_give_way(fds, 0, 0);
    CHECK(call->ioctl(fds[0], FIONBIO, &on) == 0);
    CHECK(call->read(fds[0], &c, 1) == -1 && errno == EAGAIN);
    on = 0;
    CHECK(call->ioctl(fds[0], FIONBIO, &on) == 0);
    reads_give_way(fds, 0, 0);
    CHECK(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0); /* behind STIOL's back */
    CHECK(call->read(fds[0], &c, 1) == -1 && errno == EAGAIN);
}

/* A file's number that becomes a pipe's: the read must park, not hold up the VP. */
static void number_reuse(void)
{
    int file, fds[2], spare;
    reader_t reader;
    char c;

    file = call->open("/dev/zero", O_RDONLY);
    CHECK(file >= 0 && call->read(file, &c, 1) == 1);
    CHECK(ftruncate(spare = memfd_create("stiol", 0), 1) == 0);
    CHECK(call->read(spare, &c, 1) == 1);
    CHECK(pipe(fds) == 0); /* pipe and dup2 are inside libc, so to say: STIOL sees only the close */
    CHECK(call->close(spare) == 0);
    CHECK(dup2(fds[0], spare) == spare);
    reader = (reader_t){.fd = spare, .size = 5};
    spawn(read_and_note, &reader);
    settle();
    CHECK(strcmp(noted(), "(") == 0);
    CHECK(write(fds[1], "hello", 5) == 5);
    reap();
    _exit(reader.got == 5 ? 10 : 20);
}

static void a_closed_descriptor_is_forgotten(void)
{
    CHECK(without(0, number_reuse) == 10);
    CHECK(without(STIOL_NO_FORGET, number_reuse) == HUNG); /* would hold up the VP forever */
}

static void new_descriptors_are_looked_at_afresh(void)
{
    int fds[2], fd, more;
    char c;

    fd = call->openat(AT_FDCWD, "/dev/null", O_RDONLY);
    CHECK(fd >= 0 && call->read(fd, &c, 1) == 0);
    close(fd); /* unseen */
    CHECK(call->socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    CHECK(fds[0] == fd);
    reads_give_way(fds, 0, 0);
    more = call->fcntl(fds[0], F_DUPFD, 0);
    CHECK(more >= 0 && call->dup(more) >= 0 && call->dup3(more, fds[0], O_CLOEXEC) == fds[0]);
    reads_give_way(fds, 0, 0);
    CHECK(call->dup2(more, more) == more && call->dup3(more, more, 0) == -1);
    fd = call->open64("/dev/null", O_RDWR);
    CHECK(fd >= 0 && call->write(fd, "x", 1) == 1);
    fd = call->openat64(AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR, 0600);
    CHECK(fd < 0 || call->write(fd, "x", 1) == 1);
    stiol_forget_fd(fds[0]);
    reads_give_way(fds, 0, 0);
}

static void *close_it(void *arg)
{
    CHECK(call->close(*(int *)arg) == 0);
    return NULL;
}

static void closing_wakes_who_reads(void)
{
    int fds[2];
    reader_t reader;

    socket_pair(fds, false);
    reader = (reader_t){.fd = fds[0], .size = 1};
    spawn(read_and_note, &reader);
    settle();
    spawn(close_it, &fds[0]);
    reap();
    CHECK(reader.got == -1);
}

/* --- connections --- */

static int listener(struct sockaddr_in *at)
{
    socklen_t length = sizeof(*at);
    int fd = call->socket(AF_INET, SOCK_STREAM, 0);

    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(bind(fd, (struct sockaddr *)at, sizeof(*at)) == 0 && listen(fd, 16) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)at, &length) == 0);
    return fd;
}

static void *accept_one(void *arg)
{
    struct sockaddr_in from;
    socklen_t length = sizeof(from);
    int fd = call->accept(*(int *)arg, (struct sockaddr *)&from, &length);

    CHECK(fd >= 0 && from.sin_family == AF_INET);
    note('a');
    CHECK(call->send(fd, "hi", 2, 0) == 2);
    CHECK(call->close(fd) == 0);
    return NULL;
}

static void connections_are_made_and_accepted(void)
{
    struct sockaddr_in at;
    int listening = listener(&at), fd;
    char data[4];

    spawn(accept_one, &listening);
    settle();
    note('c');
    fd = call->socket(AF_INET, SOCK_STREAM, 0);
    CHECK(call->connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
    CHECK(call->recv(fd, data, sizeof(data), MSG_WAITALL) == 2);
    CHECK(strcmp(noted(), "ca") == 0);
    close(listening);
    call->close(fd);
    fd = call->socket(AF_INET, SOCK_STREAM, 0);
    CHECK(call->connect(fd, (struct sockaddr *)&at, sizeof(at)) == -1 && errno == ECONNREFUSED);
    CHECK(call->accept4(fd, NULL, NULL, 0) == -1);
    CHECK(call->connect(-1, (struct sockaddr *)&at, sizeof(at)) == -1 && errno == EBADF);
}

static void *connect_local(void *arg)
{
    int fd = call->socket(AF_UNIX, SOCK_STREAM, 0);

    CHECK(call->connect(fd, arg, sizeof(struct sockaddr_un)) == 0);
    note('c');
    return NULL;
}

/* A local listener whose queue is full (mod_cgid's, say) makes connect() wait. */
static void a_full_local_listener_is_waited_for(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = call->socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "stiol-test-%d", (int)getpid());
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 1) == 0);
    for (int i = 0; i < 5; i++)
        spawn(connect_local, &at);
    settle();
    CHECK(strlen(noted()) < 5);
    for (int i = 0; i < 5; i++)
        CHECK(call->accept4(fd, NULL, NULL, SOCK_CLOEXEC) >= 0);
    reap();
    CHECK(strcmp(noted(), "ccccc") == 0);
}

static void an_accepted_connection_is_passed_on(void)
{
    struct sockaddr_in client = {.sin_family = AF_INET, .sin_port = htons(4711)};
    struct sockaddr_in seen = {0};
    const stiol_connection_t connection = {
        .osfd = 12345, .address = (struct sockaddr *)&client, .length = sizeof(client)};
    socklen_t length = sizeof(seen);

    CHECK(stiol_pass_accepted(&connection) == 0);
    CHECK(call->accept4(-1, (struct sockaddr *)&seen, &length, SOCK_CLOEXEC) == 12345);
    CHECK(length == sizeof(client) && memcmp(&seen, &client, sizeof(client)) == 0);
    CHECK(call->accept4(-1, NULL, NULL, 0) == -1 && errno == EBADF); /* once */
    CHECK(stiol_pass_accepted(&connection) == 0 && stiol_pass_accepted(NULL) == 0);
    CHECK(call->accept(-1, NULL, NULL) == -1 && errno == EBADF);
    length = 2;
    CHECK(stiol_pass_accepted(&connection) == 0);
    seen = (struct sockaddr_in){0};
    CHECK(call->accept(-1, (struct sockaddr *)&seen, &length) == 12345);
    CHECK(length == sizeof(client) && seen.sin_family == AF_INET && seen.sin_port == 0);
}

/* --- sending in batches --- */

static st_utime_t no_time(void)
{
    return 1;
}

static void *send_and_note(void *arg)
{
    struct iovec part = {"x", 1};

    CHECK(call->writev(*(int *)arg, &part, 1) == 1);
    note('s');
    return NULL;
}

static void *only_note(void *arg)
{
    (void)arg;
    note('n');
    return NULL;
}

/* What two threads send goes out together, after everything that was to be done first. */
static void row_body(void)
{
    int fds[2];

    socket_pair(fds, true);
    spawn(send_and_note, &fds[0]);
    spawn(only_note, NULL);
    spawn(send_and_note, &fds[1]);
    spawn(only_note, NULL);
    reap();
    _exit(strcmp(noted(), "nnss") == 0 ? 10 : strcmp(noted(), "snsn") == 0 ? 20 : 1);
}

static void answers_are_sent_in_a_row(void)
{
    CHECK(st_set_utime_function(no_time) == 0);
    CHECK(without(0, row_body) == 10);
    CHECK(without(STIOL_NO_ROWS, row_body) == 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(reads_of_blocking_sockets_give_way),
        VP_TEST(reads_of_pipes_give_way),
        VP_TEST(reads_of_other_descriptors_give_way),
        VP_TEST(reads_see_the_end),
        VP_TEST(waitall_waits_for_all),
        VP_TEST(socket_timeouts_are_kept),
        VP_TEST(writes_to_blocking_sockets_give_way),
        VP_TEST(writes_to_pipes_give_way),
        VP_TEST(a_line_is_written_whole),
        VP_TEST(older_kernels_pipes_give_way_too),
        VP_TEST(a_slow_piped_logger_holds_up_nobody),
        VP_TEST(a_broken_pipe_is_told),
        VP_TEST(sendfile_gives_way),
        VP_TEST(datagrams_go_one_by_one),
        VP_TEST(nonblocking_descriptors_are_passed_through),
        VP_TEST(eagain_ends_readiness),
        VP_TEST(the_mode_is_followed),
        VP_TEST(flags_that_are_known_are_not_asked_for),
        RAW_TEST(a_closed_descriptor_is_forgotten),
        VP_TEST(new_descriptors_are_looked_at_afresh),
        VP_TEST(closing_wakes_who_reads),
        VP_TEST(connections_are_made_and_accepted),
        VP_TEST(a_full_local_listener_is_waited_for),
        VP_TEST(an_accepted_connection_is_passed_on),
        RAW_TEST(answers_are_sent_in_a_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
