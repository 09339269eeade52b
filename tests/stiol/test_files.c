/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on files: at once where all is in memory, on a helper where it is not, with the same
 * results and in the same order. STIOL_NO_CACHE makes every call take a helper; a pipe that is
 * noted for a slow file stands for a disk that does not answer until the test lets it.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio_ext.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "stiol/file.h"

#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

enum { SIZE = 100000 }; /* bytes of the test's file; no whole number of pages */

static char content[SIZE], got[SIZE + 1];
static char name[64];
static char *volatile nowhere = (char *)1; /* no address */

static int make_file(void)
{
    int fd;

    for (size_t i = 0; i < SIZE; i++)
        content[i] = (char)(i % 251);
    strcpy(name, "/var/tmp/stiol-files-XXXXXX");
    fd = mkstemp(name);
    CHECK(fd >= 0 && write(fd, content, SIZE) == SIZE && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static unsigned long long helped(void)
{
    return counters().file.helped;
}

static void uncached(void)
{
    stiol__off |= STIOL_NO_CACHE;
}

/* --- reading --- */

static void read_all_ways(int fd)
{
    struct iovec parts[3] = {{got, 5}, {got + 5, 70000}, {got + 70005, SIZE}};

    CHECK(call->read(fd, got, 10) == 10 && memcmp(got, content, 10) == 0);
    CHECK(call->lseek(fd, 0, SEEK_CUR) == 10);
    CHECK(call->read(fd, got, SIZE) == SIZE - 10 && memcmp(got, content + 10, SIZE - 10) == 0);
    CHECK(call->read(fd, got, 10) == 0);
    CHECK(call->lseek(fd, 0, SEEK_SET) == 0);
    memset(got, 0, sizeof(got));
    parts[2].iov_len = SIZE - 70005 + 1;
    CHECK(call->readv(fd, parts, 3) == SIZE && memcmp(got, content, SIZE) == 0);
    CHECK(parts[0].iov_len == 5 && parts[2].iov_base == got + 70005); /* the caller's own */
    CHECK(call->pread(fd, got, 100, SIZE - 50) == 50 && memcmp(got, content + SIZE - 50, 50) == 0);
    CHECK(call->pread64(fd, got, 100, SIZE) == 0);
    CHECK(call->preadv(fd, parts, 2, 7) == 70005 && memcmp(got, content + 7, 70005) == 0);
    CHECK(call->preadv2(fd, parts, 2, 7, 0) == 70005);
    CHECK(call->lseek(fd, 0, SEEK_CUR) == SIZE);
    errno = 0;
    CHECK(call->read(fd, nowhere, 10) == 0 && errno == 0); /* at the end nothing is touched */
    CHECK(call->pread(fd, nowhere, 10, 0) == -1 && errno == EFAULT);
    CHECK(call->pread(fd, got, 10, -1) == -1 && errno == EINVAL);
    CHECK(call->pread(-1, got, 10, 0) == -1 && errno == EBADF);
}

static void what_is_in_memory_is_read_at_once(void)
{
    int fd = make_file(), again = open(name, O_RDONLY);

    read_all_ways(fd);
    read_all_ways(again);
    CHECK(helped() == 0);
    unlink(name);
}

static void what_is_not_is_read_by_a_helper(void)
{
    int fd = make_file(), turns = 0;

    uncached();
    spawn(ticker, &turns);
    read_all_ways(fd);
    CHECK(helped() > 0 && turns > 0);
    stop_ticking = true;
    reap();
    unlink(name);
}

/* A file system that knows no RWF_NOWAIT: the call itself. */
static void what_cannot_tell_is_read_as_ever(void)
{
    int fd = make_file();

    stiol__off |= STIOL_NO_NOWAIT;
    read_all_ways(fd);
    CHECK(stiol__fd_kind(fd) == STIOL_FD_MUTE_FILE || stiol__fd_kind(fd) == STIOL_FD_PASS);
    CHECK(helped() == 0);
    unlink(name);
}

/* Linux 5.9 and 5.10 say 0 where they mean EAGAIN: the end is asked for by a helper. */
static void an_end_that_is_not_sure_is_asked_for(void)
{
    int fd = make_file();

    stiol__no_end_is_sure = true;
    CHECK(call->pread(fd, got, 10, 0) == 10 && helped() == 0);
    CHECK(call->pread(fd, got, 10, SIZE) == 0 && helped() == 1);
    CHECK(call->lseek(fd, SIZE, SEEK_SET) == SIZE && call->read(fd, got, 10) == 0);
    CHECK(helped() == 2);
    unlink(name);
}

/* A helper writes at the position, and somebody finds out what the file system cannot tell. */
static void a_look_leaves_the_turns_alone(void)
{
    int fd = make_file();

    stiol__off |= STIOL_NO_NOWAIT;
    *stiol__fd_byte(fd) = STIOL_FD_FILE | STIOL_BUSY_MARK;
    CHECK(call->pread(fd, got, 10, 0) == 10);
    CHECK(*stiol__fd_byte(fd) == (STIOL_FD_MUTE_FILE | STIOL_BUSY_MARK));
    unlink(name);
}

static void flags_that_nobody_knows_are_refused(void)
{
    struct iovec part = {got, 10};
    int fd = make_file();

    CHECK(call->preadv2(fd, &part, 1, 0, RWF_HIPRI) == 10);
    CHECK(call->preadv2(fd, &part, 1, 0, 0x40000000) == -1 && errno == EOPNOTSUPP);
    CHECK(call->pwritev2(fd, &part, 1, 0, 0x40000000) == -1 && errno == EOPNOTSUPP);
    unlink(name);
}

/* --- a disk that does not answer --- */

static int slow[2]; /* the ends of a pipe; [0] or [1] noted for a slow file */

static void make_slow(int end)
{
    CHECK(call->pipe(slow) == 0);
    stiol__fd_set_class(slow[end], STIOL_FD_SLOW_FILE);
}

static void *read_one(void *arg)
{
    char byte = '?';

    note('(');
    CHECK(call->read(slow[0], &byte, 1) == 1);
    note(byte);
    (void)arg;
    return NULL;
}

static void a_slow_read_holds_up_nobody(void)
{
    make_slow(0);
    spawn(read_one, NULL);
    spawn(tell, &slow[1]);
    reap();
    CHECK(noted()[0] == '(' && noted()[1] == 't');
    CHECK(helped() == 1);
}

/* As the real call has it: a file may be a program's, which has no more just now. */
static void a_short_answer_is_an_answer(void)
{
    make_slow(0);
    stiol__off |= STIOL_NO_NOWAIT;
    CHECK(write(slow[1], "abc", 3) == 3);
    CHECK(call->read(slow[0], got, 10) == 3 && helped() == 1);
}

/* The kernel lets one at a time use the position; who comes meanwhile must not wait there. */
static void readers_of_one_position_take_turns(void)
{
    int turns = 0;

    make_slow(0);
    spawn(read_one, NULL);
    spawn(read_one, NULL);
    spawn(ticker, &turns);
    settle();
    CHECK(strcmp(noted(), "((") == 0 && turns > 0);
    CHECK(write(slow[1], "a", 1) == 1);
    while (strlen(noted()) < 3)
        st_usleep(1000);
    CHECK(strcmp(noted(), "((a") == 0 && write(slow[1], "b", 1) == 1);
    stop_ticking = true;
    reap();
    CHECK(strcmp(noted(), "((ab") == 0);
}

static void *write_many(void *arg)
{
    static char many[70000]; /* more than the pipe holds */

    memset(many, *(const char *)arg, sizeof(many));
    note(*(const char *)arg);
    CHECK(call->write(slow[1], many, sizeof(many)) == (ssize_t)sizeof(many));
    return NULL;
}

static void *write_line(void *arg)
{
    note('2');
    CHECK(call->write(slow[1], arg, strlen(arg)) == (ssize_t)strlen(arg));
    return NULL;
}

/* One is on a helper, the next could be written at once: it must not overtake the first. */
static void writes_keep_their_order(void)
{
    char byte = 0, last = 0;
    int changes = 0;

    make_slow(1);
    spawn(write_many, "1");
    spawn(write_line, "2222");
    settle();
    CHECK(strcmp(noted(), "12") == 0);
    for (int i = 0; i < 70004; i++) {
        CHECK(call->read(slow[0], &byte, 1) == 1);
        changes += byte != last;
        last = byte;
    }
    reap();
    CHECK(changes == 2 && last == '2');
}

static bool interrupted_later;

static void *read_then_sleep(void *arg)
{
    (void)read_one(arg);
    interrupted_later = st_usleep(60 * 1000000) != 0 && errno == EINTR;
    return NULL;
}

/* The helper uses the caller's memory: an interrupt is for the next wait. */
static void an_interrupt_is_kept(void)
{
    st_thread_t thread;

    make_slow(0);
    thread = spawn(read_then_sleep, NULL);
    settle();
    st_thread_interrupt(thread);
    settle();
    CHECK(strcmp(noted(), "(") == 0 && write(slow[1], "a", 1) == 1);
    reap();
    CHECK(strcmp(noted(), "(a") == 0 && interrupted_later);
}

/* --- opening --- */

static void *open_reader(void *arg)
{
    int fd;

    note('(');
    fd = call->open(arg, O_RDONLY);
    CHECK(fd >= 0);
    note(')');
    call->close(fd);
    return NULL;
}

/* A FIFO waits for its other end, wherever it is opened. */
static void a_slow_open_holds_up_nobody(void)
{
    int fd;

    strcpy(name, "/var/tmp/stiol-files-XXXXXX");
    CHECK(mkdtemp(name));
    strcat(name, "/fifo");
    CHECK(mkfifo(name, 0600) == 0);
    uncached();
    spawn(open_reader, name);
    settle();
    CHECK(strcmp(noted(), "(") == 0);
    fd = open(name, O_WRONLY);
    CHECK(fd >= 0);
    reap();
    CHECK(strcmp(noted(), "()") == 0 && helped() > 0);
    CHECK(unlink(name) == 0);
    *strrchr(name, '/') = '\0';
    CHECK(rmdir(name) == 0);
}

static void open_all_ways(void)
{
    char missing[80], below[80];
    int fd = call->open(name, O_RDWR | O_CLOEXEC);

    CHECK(fd >= 0 && call->read(fd, got, 10) == 10 && call->close(fd) == 0);
    fd = call->openat(AT_FDCWD, name, O_WRONLY | O_APPEND);
    CHECK(fd >= 0 && call->close(fd) == 0);
    snprintf(missing, sizeof(missing), "%s-not", name);
    snprintf(below, sizeof(below), "%s/.htaccess", name);
    CHECK(call->open(missing, O_RDONLY) == -1 && errno == ENOENT);
    CHECK(call->open(missing, O_RDONLY) == -1 && errno == ENOENT);
    CHECK(call->open(below, O_RDONLY) == -1 && errno == ENOTDIR);
    CHECK(call->open(below, O_RDONLY) == -1 && errno == ENOTDIR);
    CHECK(call->open(name, O_RDONLY | O_DIRECTORY) == -1 && errno == ENOTDIR);
    CHECK(call->open("", O_RDONLY) == -1 && errno == ENOENT);
    fd = call->open(missing, O_RDWR | O_CREAT | O_EXCL, 0640);
    CHECK(fd >= 0 && call->close(fd) == 0);
    CHECK(call->open(missing, O_RDWR | O_CREAT | O_EXCL, 0640) == -1 && errno == EEXIST);
    CHECK(call->unlink(missing) == 0);
    fd = call->open("/proc/self/stat", O_RDONLY);
    CHECK(fd >= 0 && call->read(fd, got, 100) > 0 && call->close(fd) == 0);
    fd = call->open("/dev/null", O_RDWR);
    CHECK(fd >= 0 && call->read(fd, got, 10) == 0 && call->close(fd) == 0);
}

static void names_in_memory_are_opened_at_once(void)
{
    int fd = make_file();

    open_all_ways();
    CHECK(call->open(name, O_RDONLY | O_NOFOLLOW) >= 0);
    close(fd);
    unlink(name);
}

static void other_names_are_opened_by_a_helper(void)
{
    int fd = make_file();

    uncached();
    open_all_ways();
    CHECK(helped() > 10);
    close(fd);
    unlink(name);
}

/* As a container's filter does it, or an old kernel. */
static void forbid_openat2(int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        skip_test("no filter for system calls here");
}

static void without_openat2(int error)
{
    int fd = make_file();

    forbid_openat2(error);
    open_all_ways();
    close(fd);
    unlink(name);
}

static void a_missing_openat2_is_done_without(void)
{
    without_openat2(ENOSYS);
}

static void a_forbidden_openat2_is_done_without(void)
{
    without_openat2(EPERM);
}

/* Before Linux 5.12 it knows no RESOLVE_CACHED. It is not asked again: that would end the test. */
static void an_old_openat2_is_asked_once(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    int fd = make_file();

    forbid_openat2(EINVAL);
    CHECK(call->open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    open_all_ways();
    close(fd);
    unlink(name);
}

/* --- a file system that never answers --- */

static int device; /* of the mounted file system; closed: it ends */

/* systemd has an autofs there, on every host: paths must not cost more for it. */
static void mounts_below_proc_make_nobody_wary(void)
{
    if (look_again_at_mounts()->wary)
        skip_test("a remote file system is mounted here");
    device = mount_dead("/proc/sys/fs");
    CHECK(!look_again_at_mounts()->wary);
}

static char place[] = "/var/tmp/stiol-files-XXXXXX", dead[64], through[80];

static void *make_through_link(void *arg)
{
    (void)arg;
    note('(');
    CHECK(call->open(through, O_RDWR | O_CREAT, 0600) == -1);
    note(')');
    return NULL;
}

static void *look_at_duplicate(void *arg)
{
    int fd = open(dead, O_PATH), other = call->dup(fd);
    struct stat st;

    note('[');
    CHECK(fd >= 0 && call->fstat(other, &st) == -1);
    note(']');
    (void)arg;
    return NULL;
}

/* As it is under event: programs ask so whether an address is valid. */
static void paths_that_are_nowhere_fail_as_ever(void)
{
    char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct stat st;

    CHECK(page != MAP_FAILED);
    for (size_t at = 0; at < 4096; at += 4095) {
        CHECK(call->access(page + at, F_OK) == -1 && errno == EFAULT);
        CHECK(call->stat(page + at, &st) == -1 && errno == EFAULT);
        CHECK(call->mkdir(page + at, 0700) == -1 && errno == EFAULT);
        CHECK(call->chmod(page + at, 0700) == -1 && errno == EFAULT);
        CHECK(call->fstatat(0, page + at, &st, 0) == -1 && errno == EFAULT);
    }
    CHECK(munmap(page, 4096) == 0);
}

/* A link on a disk leads there; and a descriptor is known by its duplicate. */
static void whatever_leads_to_it_takes_a_helper(void)
{
    uint64_t group;
    int turns = 0;

    CHECK(mkdtemp(place));
    snprintf(dead, sizeof(dead), "%s/dead", place);
    snprintf(through, sizeof(through), "%s/link", place);
    CHECK(mkdir(dead, 0700) == 0 && symlink("dead/file", through) == 0);
    device = mount_dead(dead);
    paths_that_are_nowhere_fail_as_ever();
    CHECK(look_again_at_mounts()->wary);
    paths_that_are_nowhere_fail_as_ever();
    spawn(make_through_link, NULL);
    spawn(look_at_duplicate, NULL);
    spawn(ticker, &turns);
    settle();
    CHECK(strcmp(noted(), "([") == 0 && turns > 0);
    strcat(through, "/new");
    CHECK(stiol__path_verdict(stiol__here(), AT_FDCWD, through, true, &group) == STIOL_FS_PATIENT);
    close(device);
    stop_ticking = true;
    reap();
    CHECK(strchr(noted(), ')') && strchr(noted(), ']'));
    (void)umount2(dead, MNT_DETACH);
    *strrchr(through, '/') = '\0';
    CHECK(unlink(through) == 0 && rmdir(dead) == 0 && rmdir(place) == 0);
}

/* Neither /proc nor what is mounted is known: a helper asks about each device. */
static void without_proc_each_device_is_asked(void)
{
    int fd = make_file();
    struct stat st;

    stiol__here()->config.mounts = -1;
    look_again_at_mounts();
    stiol__here()->config.max_helpers = 8;
    CHECK(call->stat(name, &st) == 0 && helped() == 1);
    while (helped() < 100) { /* until it is known to be a disk */
        unsigned long long before = helped();

        st_usleep(1000);
        CHECK(call->stat(name, &st) == 0);
        if (helped() == before)
            break;
    }
    CHECK(helped() < 100 &&
          stiol__device_class(major(st.st_dev), minor(st.st_dev), false) == STIOL_FD_FILE);
    open_all_ways();
    unlink(name);
    close(fd);
}

static void nor_does_a_dead_one_hold_up_anybody(void)
{
    stiol__here()->config.mounts = -1;
    stiol__here()->config.max_helpers = 8;
    whatever_leads_to_it_takes_a_helper();
}

/* --- other calls --- */

static void path_calls(const char *folder)
{
    char one[80], two[80], text[80];
    struct stat st;

    snprintf(one, sizeof(one), "%s/one", folder);
    snprintf(two, sizeof(two), "%s/two", folder);
    CHECK(call->mkdir(one, 0700) == 0);
    CHECK(call->mkdir(one, 0700) == -1 && errno == EEXIST);
    CHECK(call->stat(one, &st) == 0 && S_ISDIR(st.st_mode));
    CHECK(call->stat(two, &st) == -1 && errno == ENOENT);
    CHECK(call->fstatat(AT_FDCWD, one, &st, 0) == 0);
    CHECK(call->rename(one, two) == 0 && call->access(two, R_OK) == 0);
    CHECK(call->symlink("two", one) == 0 && call->lstat(one, &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(call->readlink(one, text, sizeof(text)) == 3 && memcmp(text, "two", 3) == 0);
    CHECK(call->realpath(one, text) == text && strcmp(strrchr(text, '/'), "/two") == 0);
    CHECK(call->chmod(two, 0750) == 0 && call->chown(two, (uid_t)-1, (gid_t)-1) == 0);
    CHECK(call->unlink(one) == 0 && call->unlink(one) == -1 && errno == ENOENT);
    CHECK(call->rmdir(two) == 0);
}

static void fd_calls(int fd)
{
    struct stat st;

    CHECK(call->fstat(fd, &st) == 0 && st.st_size == SIZE);
    CHECK(call->ftruncate(fd, 10) == 0 && call->fstat(fd, &st) == 0 && st.st_size == 10);
    CHECK(call->fsync(fd) == 0 && call->fdatasync(fd) == 0);
    CHECK(call->fsync(slow[0]) == -1 && errno == EINVAL);
    CHECK(call->pwrite(fd, "hello", 5, 100) == 5 && call->lseek(fd, 0, SEEK_END) == 105);
    CHECK(call->syscall(SYS_fsync, fd) == 0);
    CHECK(call->syscall(SYS_pread64, fd, got, 5, 100) == 5 && memcmp(got, "hello", 5) == 0);
    CHECK(call->syscall(SYS_fstat, fd, &st) == 0 && st.st_size == 105);
    CHECK(call->syscall(SYS_faccessat, AT_FDCWD, name, R_OK) == 0);
}

static int list_all(const char *folder)
{
    struct dirent **list, *entry;
    DIR *dir = call->opendir(folder);
    int count = 0, listed;

    CHECK(dir);
    while ((entry = call->readdir(dir)))
        count += entry->d_name[0] != '.';
    CHECK(call->closedir(dir) == 0);
    listed = call->scandir(folder, &list, NULL, alphasort);
    CHECK(listed == count + 2 && strcmp(list[0]->d_name, ".") == 0);
    for (int i = 0; i < listed; i++)
        free(list[i]);
    free(list);
    CHECK(!call->opendir("/nowhere") && errno == ENOENT);
    return count;
}

static void call_all_ways(void)
{
    char folder[] = "/var/tmp/stiol-files-XXXXXX", path[80];
    int fd = make_file();

    CHECK(call->mkdtemp(folder) && call->pipe(slow) == 0);
    path_calls(folder);
    fd_calls(fd);
    snprintf(path, sizeof(path), "%s/entry", folder);
    close(call->creat(path, 0600));
    CHECK(list_all(folder) == 1);
    CHECK(call->remove(path) == 0 && call->rmdir(folder) == 0);
    close(fd);
    unlink(name);
}

static void calls_have_their_results(void)
{
    call_all_ways();
    CHECK(helped() >= 3); /* fsync() and its like; others too, if the disk is slow just now */
}

static void calls_on_helpers_have_the_same(void)
{
    uncached();
    call_all_ways();
    CHECK(helped() > 20);
}

/* --- mappings and sendfile() --- */

static void map_and_send(int fd)
{
    int pair[2];
    off_t offset = 7;
    char *map = call->mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);

    CHECK(map != MAP_FAILED && memcmp(map, content, SIZE) == 0 && munmap(map, SIZE) == 0);
    CHECK(call->mmap(NULL, SIZE, PROT_READ, MAP_SHARED, -1, 0) == MAP_FAILED && errno == EBADF);
    socket_pair(pair, false);
    CHECK(call->sendfile(pair[1], fd, &offset, 1000) == 1000 && offset == 1007);
    CHECK(call->recv(pair[0], got, 1000, MSG_WAITALL) == 1000 &&
          memcmp(got, content + 7, 1000) == 0);
    CHECK(lseek(fd, 50, SEEK_SET) == 50 && call->sendfile(pair[1], fd, NULL, 100) == 100);
    CHECK(lseek(fd, 0, SEEK_CUR) == 150);
}

static void files_are_mapped_and_sent(void)
{
    map_and_send(make_file());
    CHECK(helped() == 0);
    unlink(name);
}

static void by_helpers_too(void)
{
    int fd = make_file();

    uncached();
    map_and_send(fd);
    CHECK(helped() == 3);
    unlink(name);
}

/* --- streams --- */

static void *read_lines(void *arg)
{
    FILE *stream = fdopen(*(int *)arg, "r");
    char line[32];

    CHECK(stream);
    note('(');
    CHECK(call->fgets(line, sizeof(line), stream) == line && strcmp(line, "one\n") == 0);
    note('1');
    CHECK(call->getc(stream) == 't' && call->fread(line, 1, 2, stream) == 2);
    CHECK(call->fgets(line, sizeof(line), stream) == line && strcmp(line, "\n") == 0);
    CHECK(call->getc(stream) == EOF && feof(stream));
    CHECK(call->fclose(stream) == 0);
    note(')');
    return NULL;
}

/* What the buffer holds takes no helper. */
static void a_stream_of_a_pipe_holds_up_nobody(void)
{
    int ends[2], turns = 0;

    CHECK(call->pipe(ends) == 0);
    spawn(read_lines, &ends[0]);
    spawn(ticker, &turns);
    settle();
    CHECK(strcmp(noted(), "(") == 0 && turns > 0);
    CHECK(write(ends[1], "one\ntwo\n", 8) == 8);
    while (noted()[1] == '\0')
        st_usleep(1000);
    CHECK(helped() <= 2); /* the first line, and the end of the file by now */
    close(ends[1]);
    stop_ticking = true;
    reap();
    CHECK(strcmp(noted(), "(1)") == 0);
}

static void streams_of_slow_files_are_as_others(void)
{
    FILE *stream;
    char *line = NULL;
    size_t size = 0;
    int fd = make_file(), number = 0;

    close(fd);
    uncached();
    stream = call->fopen(name, "w+");
    CHECK(stream);
    stiol__fd_set_class(fileno(stream), STIOL_FD_SLOW_FILE);
    CHECK(call->fputs("first\n", stream) >= 0 && call->fprintf(stream, "%d\n", 17) == 3);
    CHECK(call->fwrite("third\n", 1, 6, stream) == 6 && call->fflush(stream) == 0);
    CHECK(call->fseek(stream, 0, SEEK_SET) == 0);
    CHECK(call->getline(&line, &size, stream) == 6 && strcmp(line, "first\n") == 0);
    CHECK(call->__isoc99_fscanf(stream, "%d ", &number) == 1 && number == 17);
    CHECK(call->fgets(got, 100, stream) == got && strcmp(got, "third\n") == 0);
    CHECK(call->getline(&line, &size, stream) == -1);
    free(line);
    CHECK(call->fclose(stream) == 0);
    CHECK(!call->fopen("/nowhere/file", "r") && errno == ENOENT);
    unlink(name);
}

static FILE *slow_stream(void)
{
    static char buffer[2 * SIZE];
    FILE *stream;

    make_slow(1);
    stream = fdopen(slow[1], "w");
    CHECK(stream && setvbuf(stream, buffer, _IOFBF, sizeof(buffer)) == 0);
    return stream;
}

static void *flush(void *arg)
{
    note('(');
    CHECK(call->fflush(arg) == 0);
    note(')');
    return NULL;
}

static void *put_byte(void *arg)
{
    CHECK(call->fputc('b', arg) == 'b');
    note('b');
    return NULL;
}

/* The buffer has room for a byte, but it is the helper's meanwhile. */
static void a_buffer_is_not_changed_under_a_helper(void)
{
    FILE *stream = slow_stream();

    CHECK(call->fwrite(content, 1, SIZE, stream) == SIZE); /* more than the pipe takes */
    spawn(flush, stream);
    spawn(put_byte, stream);
    settle();
    CHECK(strcmp(noted(), "(") == 0);
    for (int left = SIZE; left > 0;)
        left -= (int)call->read(slow[0], got, (size_t)left);
    reap();
    CHECK(strcmp(noted(), "()b") == 0 && __fpending(stream) == 1);
}

/* What is the VP's to the C library is the caller's: also its own locks. */
static void own_locks_keep_no_helper_out(void)
{
    FILE *stream = slow_stream();

    call->flockfile(stream);
    CHECK(call->fputs("one", stream) >= 0 && call->fflush(NULL) == 0);
    CHECK(call->read(slow[0], got, 3) == 3 && memcmp(got, "one", 3) == 0);
    CHECK(call->fputs("two", stream) >= 0 && call->fclose(stream) == 0);
    CHECK(call->read(slow[0], got, 3) == 3 && memcmp(got, "two", 3) == 0);
}

static void a_format_has_the_errno_of_its_caller(void)
{
    FILE *stream = slow_stream();

    errno = ENOENT;
    CHECK(call->fprintf(stream, "%m") == (int)strlen(strerror(ENOENT)));
    CHECK(call->fflush(stream) == 0);
    CHECK(read(slow[0], got, 100) > 0);
    CHECK(memcmp(got, strerror(ENOENT), strlen(strerror(ENOENT))) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(what_is_in_memory_is_read_at_once),
        VP_TEST(what_is_not_is_read_by_a_helper),
        VP_TEST(what_cannot_tell_is_read_as_ever),
        VP_TEST(an_end_that_is_not_sure_is_asked_for),
        VP_TEST(a_look_leaves_the_turns_alone),
        VP_TEST(flags_that_nobody_knows_are_refused),
        VP_TEST(a_slow_read_holds_up_nobody),
        VP_TEST(a_short_answer_is_an_answer),
        VP_TEST(readers_of_one_position_take_turns),
        VP_TEST(writes_keep_their_order),
        VP_TEST(an_interrupt_is_kept),
        VP_TEST(a_slow_open_holds_up_nobody),
        VP_TEST(names_in_memory_are_opened_at_once),
        VP_TEST(other_names_are_opened_by_a_helper),
        VP_TEST(a_missing_openat2_is_done_without),
        VP_TEST(a_forbidden_openat2_is_done_without),
        VP_TEST(an_old_openat2_is_asked_once),
        VP_TEST(mounts_below_proc_make_nobody_wary),
        VP_TEST(whatever_leads_to_it_takes_a_helper),
        VP_TEST(without_proc_each_device_is_asked),
        VP_TEST(nor_does_a_dead_one_hold_up_anybody),
        VP_TEST(calls_have_their_results),
        VP_TEST(calls_on_helpers_have_the_same),
        VP_TEST(files_are_mapped_and_sent),
        VP_TEST(by_helpers_too),
        VP_TEST(a_stream_of_a_pipe_holds_up_nobody),
        VP_TEST(streams_of_slow_files_are_as_others),
        VP_TEST(a_buffer_is_not_changed_under_a_helper),
        VP_TEST(own_locks_keep_no_helper_out),
        VP_TEST(a_format_has_the_errno_of_its_caller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
