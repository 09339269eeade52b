/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits on files that are less common: sendfile() on a blocking socket, all streams flushed at
 * once, descriptors closed under a call, FIFOs, files that bypass the page cache. As in test_files,
 * a pipe that is noted as a slow file stands for a disk that does not respond.
 */
#include <stdio_ext.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>

#include "stiol/file.h"

#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

enum { SIZE = 300000 }; /* bytes of the test's file; not a whole number of pages */

static char content[SIZE], got[SIZE + 1];
static char name[64];

static int make_file(void)
{
    int fd;

    for (size_t i = 0; i < SIZE; i++)
        content[i] = (char)(i % 251);
    strcpy(name, "/var/tmp/stiol-waits-XXXXXX");
    fd = mkstemp(name);
    CHECK(fd >= 0 && write(fd, content, SIZE) == SIZE && lseek(fd, 0, SEEK_SET) == 0);
    CHECK(unlink(name) == 0);
    return fd;
}

static unsigned long long helped(void)
{
    return counters().file.helped;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* --- sendfile() and splice() --- */

static bool seen_nonblocking;

static void *watch_flags(void *arg)
{
    while (!stop_ticking) {
        seen_nonblocking |= (fcntl(*(int *)arg, F_GETFL) & O_NONBLOCK) != 0;
        st_thread_yield();
    }
    return NULL;
}

static void *receive(void *arg)
{
    int fd = *(int *)arg;

    for (size_t n = 0; n < SIZE;) {
        ssize_t more = call->recv(fd, got + n, SIZE - n, 0);

        CHECK(more > 0);
        n += (size_t)more;
    }
    return NULL;
}

static void *receive_byte(void *arg)
{
    char byte = '?';

    note('(');
    CHECK(call->recv(*(int *)arg, &byte, 1, 0) == 1);
    note(byte);
    return NULL;
}

/* Others use the socket while a helper reads the file: to them, it stays blocking. */
static void the_socket_stays_blocking(void)
{
    int fd = make_file(), pair[2];
    off_t offset = 0;

    socket_pair(pair, false);
    stiol__off |= STIOL_NO_CACHE;
    spawn(watch_flags, &pair[1]);
    spawn(receive, &pair[0]);
    spawn(receive_byte, &pair[1]);
    settle();
    CHECK(call->sendfile(pair[1], fd, &offset, SIZE + 100) == SIZE && offset == SIZE);
    CHECK(helped() > 2);
    stop_ticking = true;
    CHECK(strcmp(noted(), "(") == 0 && write(pair[0], "x", 1) == 1);
    reap();
    CHECK(strcmp(noted(), "(x") == 0 && !seen_nonblocking);
    CHECK(memcmp(got, content, SIZE) == 0);
}

static void sendfile_ends_as_ever(void)
{
    const struct timeval limit = {0, 50000};
    int fd = make_file(), pair[2];
    off_t offset = 0;
    ssize_t n;

    socket_pair(pair, false);
    stiol__off |= STIOL_NO_CACHE;
    CHECK(setsockopt(pair[1], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0);
    n = call->sendfile(pair[1], fd, NULL, SIZE);
    CHECK(n > 0 && n < SIZE && lseek(fd, 0, SEEK_CUR) == n); /* what there was room for */
    CHECK(call->sendfile(pair[1], fd, &offset, SIZE) == -1 && errno == EAGAIN && offset == 0);
    (void)signal(SIGPIPE, SIG_IGN);
    close(pair[0]);
    CHECK(call->sendfile(pair[1], fd, NULL, SIZE) == -1 && errno == EPIPE);
    CHECK(call->sendfile(pair[1], -1, NULL, SIZE) == -1 && errno == EBADF);
}

static void *move_to_pipe(void *arg)
{
    const int *ends = arg;
    off64_t offset = 0;
    size_t done = 0;

    while (done < SIZE) {
        ssize_t n = call->splice(ends[0], &offset, ends[1], NULL, SIZE - done, 0);

        CHECK(n > 0);
        done += (size_t)n;
    }
    note('s');
    return NULL;
}

static void a_splice_leaves_the_pipe_blocking(void)
{
    int ends[2], from_to[2], left = SIZE;

    CHECK(call->pipe(ends) == 0);
    from_to[0] = make_file();
    from_to[1] = ends[1];
    stiol__off |= STIOL_NO_CACHE;
    spawn(watch_flags, &ends[1]);
    spawn(move_to_pipe, from_to);
    while (left > 0) {
        ssize_t n = call->read(ends[0], got + SIZE - left, (size_t)left);

        CHECK(n > 0);
        left -= (int)n;
    }
    stop_ticking = true;
    reap();
    CHECK(memcmp(got, content, SIZE) == 0 && !seen_nonblocking && helped() > 0);
}

/* --- all streams --- */

static int full[2]; /* a pipe that has no room */

static FILE *stuck_stream(void)
{
    static char buffer[2 * SIZE];
    FILE *stream;

    CHECK(call->pipe(full) == 0);
    stream = fdopen(full[1], "w");
    CHECK(stream && setvbuf(stream, buffer, _IOFBF, sizeof(buffer)) == 0);
    CHECK(call->fwrite(content, 1, SIZE, stream) == SIZE);
    return stream;
}

static void drain_pipe(void)
{
    for (int left = SIZE; left > 0;)
        left -= (int)call->read(full[0], got, (size_t)left);
}

static void *flush_everything(void *arg)
{
    note('(');
    CHECK(call->fflush(NULL) == 0);
    note(')');
    (void)arg;
    return NULL;
}

static void *close_stream(void *arg)
{
    CHECK(call->fclose(arg) == 0);
    note('c');
    return NULL;
}

static void *on_kernel_thread(void *arg)
{
    CHECK(call->fflush(NULL) == 0);
    (void)arg;
    return NULL;
}

/* Streams are opened, used and closed meanwhile; the others are flushed. */
static void a_stuck_stream_holds_up_no_other(void)
{
    FILE *stuck = stuck_stream(), *other = call->tmpfile(), *third;
    char text[6];

    CHECK(other && fputs("hello", other) >= 0);
    spawn(flush_everything, NULL);
    spawn(flush_everything, NULL);
    settle();
    CHECK(strcmp(noted(), "((") == 0);
    third = call->fopen("/dev/null", "w");
    CHECK(third && call->fputs("x", third) >= 0 && call->fclose(third) == 0);
    spawn(close_stream, stuck);
    settle();
    CHECK(strcmp(noted(), "((") == 0); /* whoever closes it waits as well */
    while (pread(fileno(other), text, 6, 0) != 5)
        st_usleep(1000);
    drain_pipe();
    reap();
    CHECK(strlen(noted()) == 5 && strchr(noted(), 'c') && call->fclose(other) == 0);
}

static void nor_does_it_on_a_kernel_thread(void)
{
    FILE *stuck = stuck_stream(), *third;
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, on_kernel_thread, NULL) == 0);
    while (ioctl(full[0], FIONREAD, got) != 0 || *(int *)(void *)got == 0)
        st_usleep(1000);
    third = call->fopen("/dev/null", "w");
    CHECK(third && call->fclose(third) == 0);
    drain_pipe();
    CHECK(pthread_join(thread, NULL) == 0 && __fpending(stuck) == 0);
}

static void an_error_of_any_stream_is_told(void)
{
    FILE *stream = stuck_stream(), *other = call->tmpfile();

    (void)signal(SIGPIPE, SIG_IGN);
    CHECK(fputs("hello", other) >= 0);
    close(full[0]);
    CHECK(call->fflush(NULL) == EOF && errno == EPIPE);
    CHECK(__fpending(other) == 0 && ferror(stream));
}

/* --- descriptors that are closed under a call --- */

static int slow[2]; /* a pipe whose read end is noted as a slow file */

static void make_slow(void)
{
    CHECK(call->pipe(slow) == 0);
    stiol__fd_set_class(slow[0], STIOL_FD_SLOW_FILE);
}

static void *read_from(void *arg)
{
    char byte = '?';

    CHECK(call->read(*(const int *)arg, &byte, 1) == 1);
    note(byte);
    return NULL;
}

static void a_close_does_not_reach_the_call(void)
{
    int fd, other;

    make_slow();
    fd = slow[0];
    spawn(read_from, &fd);
    settle();
    CHECK(call->close(fd) == 0);
    other = call->open("/dev/zero", O_RDONLY);
    CHECK(other >= 0 && other != fd && is_open(fd));
    CHECK(write(slow[1], "a", 1) == 1);
    reap();
    CHECK(strcmp(noted(), "a") == 0 && !is_open(fd));
    CHECK(call->write(slow[1], "b", 1) == -1 && errno == EPIPE); /* really closed */
}

/* The helpers, two of them, are busy: the third call waits in line, with its number. */
static void nor_a_call_in_line(void)
{
    int busy[2][2], fd, other;

    for (int i = 0; i < 2; i++) {
        make_slow();
        memcpy(busy[i], slow, sizeof(slow));
        spawn(read_from, &busy[i][0]);
    }
    settle();
    make_slow();
    fd = slow[0];
    spawn(read_from, &fd);
    settle();
    CHECK(write(slow[1], "3", 1) == 1);
    CHECK(call->close(fd) == 0);
    other = call->open("/dev/zero", O_RDONLY);
    CHECK(other != fd);
    for (int i = 0; i < 2; i++)
        CHECK(write(busy[i][1], i == 0 ? "1" : "2", 1) == 1);
    reap();
    CHECK(strlen(noted()) == 3 && strchr(noted(), '3') && !is_open(fd));
}

static void *take_number(void *arg)
{
    const int *fds = arg;

    CHECK(call->dup2(fds[0], fds[1]) == fds[1]);
    note('d');
    return NULL;
}

static void a_duplicate_waits_for_its_number(void)
{
    int fds[2];

    make_slow();
    fds[0] = open("/dev/zero", O_RDONLY);
    fds[1] = slow[0];
    spawn(read_from, &fds[1]);
    settle();
    spawn(take_number, fds);
    settle();
    CHECK(strcmp(noted(), "") == 0 && write(slow[1], "a", 1) == 1);
    reap();
    CHECK(strcmp(noted(), "ad") == 0 || strcmp(noted(), "da") == 0);
    CHECK(call->read(fds[1], got, 10) == 10);
}

static void *read_nothing(void *arg)
{
    char byte;

    CHECK(call->read(*(const int *)arg, &byte, 1) == -1 && errno == EBADF);
    note('n');
    return NULL;
}

/* A call that is waiting for the position when the descriptor is closed has not begun. */
static void who_waits_for_a_turn_is_told(void)
{
    int fd;

    make_slow();
    fd = slow[0];
    spawn(read_from, &fd);
    settle();
    spawn(read_nothing, &fd);
    settle();
    CHECK(call->close(fd) == 0 && is_open(fd) && write(slow[1], "ab", 2) == 2);
    reap();
    CHECK(strcmp(noted(), "an") == 0 && !is_open(fd));
}

/* --- FIFOs --- */

static char folder[] = "/var/tmp/stiol-waits-XXXXXX", fifo[64];

static void make_fifo(void)
{
    CHECK(mkdtemp(folder));
    snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
    CHECK(mkfifo(fifo, 0600) == 0);
}

static void remove_fifo(void)
{
    CHECK(unlink(fifo) == 0 && rmdir(folder) == 0);
}

static void *read_fifo(void *arg)
{
    char text[6];
    int fd;

    note('(');
    fd = call->open(fifo, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
    note('o');
    CHECK(call->read(fd, text, 5) == 5 && memcmp(text, "hello", 5) == 0);
    note(')');
    (void)arg;
    return NULL;
}

/* Both ends are this VP's: they wait for each other, and all helpers are busy. */
static void a_fifo_waits_for_its_other_end_alone(void)
{
    int busy[2][2], turns = 0;
    FILE *stream;

    make_fifo();
    for (int i = 0; i < 2; i++) {
        make_slow();
        memcpy(busy[i], slow, sizeof(slow));
        spawn(read_from, &busy[i][0]);
    }
    spawn(read_fifo, NULL);
    spawn(ticker, &turns);
    settle();
    CHECK(strcmp(noted(), "(") == 0 && turns > 0);
    stream = call->fopen(fifo, "w");
    CHECK(stream);
    while (noted()[1] != 'o')
        st_usleep(1000);
    CHECK(write(fileno(stream), "hello", 5) == 5);
    while (noted()[2] != ')')
        st_usleep(1000);
    for (int i = 0; i < 2; i++)
        CHECK(write(busy[i][1], "x", 1) == 1);
    stop_ticking = true;
    reap();
    CHECK(call->fclose(stream) == 0);
    remove_fifo();
}

/* What stat() has said is believed only of that name. */
static void a_file_that_was_looked_at_is_not_asked_about(void)
{
    char path[64];
    struct stat st;
    int fd, reader;

    make_fifo();
    snprintf(path, sizeof(path), "%s/file", folder);
    fd = call->open(path, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && call->close(fd) == 0);
    CHECK(call->stat(path, &st) == 0);
    fd = call->open(path, O_RDONLY);
    CHECK(fd >= 0 && call->close(fd) == 0);
    CHECK(unlink(path) == 0);
    strcpy(path, fifo);
    reader = call->open(path, O_RDONLY | O_NONBLOCK);
    fd = call->open(path, O_WRONLY); /* there is a reader */
    CHECK(reader >= 0 && fd >= 0);
    CHECK(counters().file.helped >= 1);
    CHECK(call->open("/var/tmp/stiol-no-such-name", O_RDONLY) == -1 && errno == ENOENT);
    remove_fifo();
}

/* --- bypassing the page cache --- */

static void past_the_page_cache(const char *path, int flags)
{
    char *block = aligned_alloc(4096, 4096);
    int fd = call->open(path, O_RDWR | flags), copy;
    unsigned long long before = helped();

    if (fd < 0 && errno == EINVAL)
        skip_test("O_DIRECT is not available");
    CHECK(block && fd >= 0);
    memset(block, 'x', 4096);
    CHECK(call->pwrite(fd, block, 4096, 4096) == 4096 && helped() == before + 1);
    copy = call->dup(fd);
    CHECK(call->pread(copy, block, 4096, 4096) == 4096 && block[17] == 'x');
    CHECK(call->write(copy, block, 4096) == 4096 && helped() == before + 3);
    CHECK(call->close(copy) == 0 && call->close(fd) == 0);
    free(block);
}

static void what_waits_for_the_device_takes_a_helper(void)
{
    char path[] = "/var/tmp/stiol-waits-XXXXXX", byte[1];
    int fd = mkstemp(path);

    CHECK(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
    close(fd);
    past_the_page_cache(path, O_SYNC);
    past_the_page_cache(path, O_DSYNC);
    past_the_page_cache(path, O_DIRECT);
    fd = call->open(path, O_RDONLY);
    CHECK(call->fcntl(fd, F_SETFL, O_DIRECT) == 0);
    (void)call->pread(fd, byte, 1, 0);
    CHECK(stiol__fd_noted(fd) == STIOL_FD_SYNC_FILE && unlink(path) == 0);
}

/* --- changes --- */

/* Creating, changing and removing names waits for a disk's journal, but not in memory. */
static void change_all_ways(const char *base)
{
    char one[80], two[80];
    FILE *stream;
    int fd;

    snprintf(one, sizeof(one), "%s-one", base);
    snprintf(two, sizeof(two), "%s-two", base);
    CHECK(call->mkdir(one, 0700) == 0 && call->rename(one, two) == 0 && call->rmdir(two) == 0);
    fd = call->open(one, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && call->close(fd) == 0 && call->link(one, two) == 0);
    CHECK(call->truncate(one, 10) == 0 && call->chmod(one, 0640) == 0);
    stream = call->fopen(two, "w");
    CHECK(stream && call->fclose(stream) == 0);
    CHECK(call->unlink(one) == 0 && call->unlink(two) == 0);
    CHECK(call->unlink(two) == -1 && errno == ENOENT);
}

static void changes_wait_on_helpers(void)
{
    strcpy(name, "/var/tmp/stiol-waits-XXXXXX");
    CHECK(mkdtemp(name));
    change_all_ways(name);
    CHECK(helped() >= 11 && rmdir(name) == 0);
}

static void but_not_in_memory(void)
{
    unsigned long long before;
    struct statfs type;
    int tries = 0;

    if (statfs("/dev/shm", &type) != 0 || type.f_type != 0x01021994 || stiol__here()->wary)
        skip_test("/dev/shm is not a tmpfs, or not all file systems are fast");
    snprintf(name, sizeof(name), "/dev/shm/stiol-waits-%d", (int)getpid());
    do { /* while others rename or mount, the kernel may not tell what is in memory */
        before = helped();
        change_all_ways(name);
    } while (helped() != before && ++tries < 100);
    CHECK(tries < 100);
}

/* --- slow writes --- */

enum { MS = 1000 };

static void one_slow_write_is_no_slow_disk(void)
{
    stiol__laggard_t laggard = {.fd = 7};
    st_utime_t now = 5000 * MS;

    assert_false(stiol__begins_to_lag(&laggard, 10 * MS, now));
    assert_false(stiol__begins_to_lag(&laggard, 30 * MS, now + 131 * MS));
    assert_true(laggard.slow_at == now + 131 * MS && laggard.until == 0);
    assert_true(stiol__begins_to_lag(&laggard, 30 * MS, now + 261 * MS));
    assert_true(laggard.until == now + 1261 * MS);
    assert_false(stiol__begins_to_lag(&laggard, 99 * MS, now + 2000 * MS));
    assert_true(stiol__begins_to_lag(&laggard, 100 * MS, now + 4000 * MS));
}

static int pipe_ends[2];

static void *make_room(void *arg)
{
    (void)arg;
    usleep(15 * MS);
    CHECK(read(pipe_ends[0], got, SIZE) > 0);
    return NULL;
}

/* The pipe, noted as an ordinary file, is full until another kernel thread makes room. */
static void write_slowly(void)
{
    pthread_t reader;

    while (write(pipe_ends[1], content, 4096) > 0)
        continue;
    CHECK(errno == EAGAIN && fcntl(pipe_ends[1], F_SETFL, 0) == 0);
    CHECK(pthread_create(&reader, NULL, make_room, NULL) == 0);
    CHECK(call->write(pipe_ends[1], "x", 1) == 1 && pthread_join(reader, NULL) == 0);
    CHECK(fcntl(pipe_ends[1], F_SETFL, O_NONBLOCK) == 0);
}

static void *take_long_turns(void *arg)
{
    (void)arg;
    while (!stop_ticking) {
        usleep(12 * MS);
        st_thread_yield();
    }
    return NULL;
}

/* While writes go to a helper, the VP's own turns are not taken for the disk's slowness. */
static void a_disk_is_slow_for_as_long_as_writes_wait(void)
{
    unsigned long long before = helped();
    int tries = 0;

    CHECK(pipe2(pipe_ends, O_NONBLOCK) == 0);
    stiol__fd_set_class(pipe_ends[1], STIOL_FD_FILE);
    while (helped() == before && ++tries < 1000)
        write_slowly();
    CHECK(tries < 1000);
    CHECK(read(pipe_ends[0], got, SIZE) > 0);
    spawn(take_long_turns, NULL);
    do {
        before = helped();
        CHECK(call->write(pipe_ends[1], "x", 1) == 1 && ++tries < 20000);
    } while (helped() != before);
    stop_ticking = true;
    reap();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(the_socket_stays_blocking),
        VP_TEST(sendfile_ends_as_ever),
        VP_TEST(a_splice_leaves_the_pipe_blocking),
        VP_TEST(a_stuck_stream_holds_up_no_other),
        VP_TEST(nor_does_it_on_a_kernel_thread),
        VP_TEST(an_error_of_any_stream_is_told),
        VP_TEST(a_close_does_not_reach_the_call),
        VP_TEST(nor_a_call_in_line),
        VP_TEST(a_duplicate_waits_for_its_number),
        VP_TEST(who_waits_for_a_turn_is_told),
        VP_TEST(a_fifo_waits_for_its_other_end_alone),
        VP_TEST(a_file_that_was_looked_at_is_not_asked_about),
        VP_TEST(what_waits_for_the_device_takes_a_helper),
        VP_TEST(changes_wait_on_helpers),
        VP_TEST(but_not_in_memory),
        RAW_TEST(one_slow_write_is_no_slow_disk),
        VP_TEST(a_disk_is_slow_for_as_long_as_writes_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
