/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A posix_spawn() of our own. glibc's runs no pthread_atfork() handlers, so nothing could undo in
 * the child what is meant only for the VP: its limit of open files. As with glibc's, the child
 * shares the caller's memory until it executes the program, and the caller waits meanwhile; before
 * the program it calls `in_child` (stiol_config_t). A program that has to be read from a disk is
 * started by a helper. Used by shell.c and through the replacements.
 */
#include <limits.h>
#include <sys/syscall.h>

#include "stiol/program.h"
#include "stiol/stiol_int.h"

#define STACK_SIZE ((size_t)256 * 1024) /* bytes; the largest thing on it is a path */

/* The stack's memory is reused, and nobody would remove the redzones. */
#if defined(__SANITIZE_ADDRESS__)
#define IN_CHILD __attribute__((no_sanitize("address"), noinline))
#else
#define IN_CHILD
#endif

/** As stiol_config_t has it. */
void (*stiol__in_child)(void);

/* --- what glibc keeps in a posix_spawn_file_actions_t --- */

enum { CLOSE, DUP, OPEN, CHDIR, FCHDIR, CLOSE_FROM, FOREGROUND, ACTIONS };

typedef struct action {
    int what;
    union {
        int fd;
        struct {
            int from, to;
        } dup;
        struct {
            int fd;
            char *path;
            int flags;
            mode_t mode;
        } open;
        char *path;
    };
} action_t;

static bool seen_as_known;

static bool looks_known(const posix_spawn_file_actions_t *actions)
{
    const action_t *seen = (const action_t *)actions->__actions;

    return actions->__used == 6 && seen[0].what == CLOSE && seen[0].fd == 13 &&
           seen[1].what == DUP && seen[1].dup.from == 14 && seen[1].dup.to == 15 &&
           seen[2].what == OPEN && seen[2].open.fd == 16 && strcmp(seen[2].open.path, "/a") == 0 &&
           seen[2].open.flags == O_WRONLY && seen[2].open.mode == 0640 && seen[3].what == CHDIR &&
           strcmp(seen[3].path, "/b") == 0 && seen[4].what == FCHDIR && seen[4].fd == 17 &&
           seen[5].what == CLOSE_FROM && seen[5].fd == 18;
}

static void look_once(void)
{
    posix_spawn_file_actions_t actions;

    if (posix_spawn_file_actions_init(&actions) != 0)
        return;
    if (posix_spawn_file_actions_addclose(&actions, 13) == 0 &&
        posix_spawn_file_actions_adddup2(&actions, 14, 15) == 0 &&
        posix_spawn_file_actions_addopen(&actions, 16, "/a", O_WRONLY, 0640) == 0 &&
        posix_spawn_file_actions_addchdir_np(&actions, "/b") == 0 &&
        posix_spawn_file_actions_addfchdir_np(&actions, 17) == 0 &&
        posix_spawn_file_actions_addclosefrom_np(&actions, 18) == 0)
        seen_as_known = looks_known(&actions);
    (void)posix_spawn_file_actions_destroy(&actions);
}

/* Whether every one of these is understood. */
static bool are_known(const posix_spawn_file_actions_t *actions)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (!actions || actions->__used == 0)
        return true;
    pthread_once(&once, look_once);
    for (int i = 0; i < actions->__used; i++)
        if (((const action_t *)actions->__actions)[i].what >= ACTIONS)
            return false;
    return seen_as_known;
}

/* --- the child: the caller's memory, its own descriptors, signal handlers and limits --- */

typedef struct program {
    const char *file;
    const char *path; /* where to search for it; NULL: no search */
    char *const *argv, *const *environment;
    const action_t *actions;
    int action_count;
    int flags; /* of posix_spawnattr_t, as the rest */
    pid_t group;
    sigset_t defaults, mask;
    struct sched_param param;
    int policy;
    volatile int error;
} program_t;

/* No handler may run here: it would do so in the caller's memory. */
IN_CHILD static int reset_signals(const program_t *program)
{
    for (int i = 1; i < _NSIG; i++) {
        struct sigaction action;
        bool asked = (program->flags & POSIX_SPAWN_SETSIGDEF) != 0 &&
                     sigismember(&program->defaults, i) == 1;

        if (sigaction(i, NULL, &action) != 0) /* glibc's own two: blocked, and for its threads */
            continue;
        if (!asked && (action.sa_handler == SIG_IGN || action.sa_handler == SIG_DFL))
            continue;
        action.sa_handler = SIG_DFL;
        action.sa_flags = 0;
        if (sigaction(i, &action, NULL) != 0)
            return -1;
    }
    return 0;
}

/* Direct system calls where glibc's functions act on all threads of a process. */
IN_CHILD static int set_attributes(const program_t *program)
{
    int flags = program->flags, rc = 0;

    if ((flags & POSIX_SPAWN_SETSCHEDULER) != 0)
        rc = sched_setscheduler(0, program->policy, &program->param);
    else if ((flags & POSIX_SPAWN_SETSCHEDPARAM) != 0)
        rc = sched_setparam(0, &program->param);
    if (rc >= 0 && (flags & POSIX_SPAWN_SETSID) != 0)
        rc = setsid();
    if (rc >= 0 && (flags & POSIX_SPAWN_SETPGROUP) != 0)
        rc = setpgid(0, program->group);
    if (rc >= 0 && (flags & POSIX_SPAWN_RESETIDS) != 0) {
        rc = (int)syscall(SYS_setresgid, -1, getgid(), -1);
        if (rc == 0)
            rc = (int)syscall(SYS_setresuid, -1, getuid(), -1);
    }
    return rc < 0 ? -1 : 0;
}

IN_CHILD static int open_as(const action_t *action)
{
    int fd;

    (void)close(action->open.fd);
    fd = open(action->open.path, action->open.flags, action->open.mode);
    if (fd < 0 || fd == action->open.fd)
        return fd;
    if (dup2(fd, action->open.fd) < 0)
        return -1;
    return close(fd);
}

IN_CHILD static int act(const action_t *action)
{
    int flags;

    switch (action->what) {
    case CLOSE:
        (void)close(action->fd); /* one that is already closed is not an error */
        return 0;
    case DUP:
        if (action->dup.from != action->dup.to)
            return dup2(action->dup.from, action->dup.to);
        flags = fcntl(action->dup.from, F_GETFD);
        return flags < 0 ? -1 : fcntl(action->dup.from, F_SETFD, flags & ~FD_CLOEXEC);
    case OPEN:
        return open_as(action);
    case CHDIR:
        return chdir(action->path);
    case FCHDIR:
        return fchdir(action->fd);
    case CLOSE_FROM:
        return close_range((unsigned)action->fd, ~0U, 0);
    default: /* FOREGROUND */
        return tcsetpgrp(action->fd, getpgrp());
    }
}

/* Like execvpe(), but a file that is not a program is an error: posix_spawnp() never runs a
 * shell. */
IN_CHILD static int execute_on_path(const program_t *program)
{
    size_t length = strlen(program->file);
    char name[PATH_MAX + NAME_MAX + 2];
    bool forbidden = false;

    if (length > NAME_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (const char *at = program->path, *end;; at = end + 1) {
        size_t size;

        end = strchrnul(at, ':');
        size = (size_t)(end - at);
        if (size < PATH_MAX) {
            memcpy(name, at, size);
            name[size] = '/';
            memcpy(name + size + (size > 0), program->file, length + 1);
            execve(name, program->argv, program->environment);
            if (errno == EACCES)
                forbidden = true;
            else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV &&
                     errno != ETIMEDOUT)
                return -1;
        }
        if (*end == '\0')
            break;
    }
    if (forbidden)
        errno = EACCES;
    return -1;
}

/* The limit comes last: descriptors above it may be needed until then. */
IN_CHILD static int child_main(void *data)
{
    program_t *program = data;
    int rc = reset_signals(program);

    if (rc == 0)
        rc = set_attributes(program);
    for (int i = 0; rc >= 0 && i < program->action_count; i++)
        rc = act(&program->actions[i]);
    if (rc >= 0) {
        stiol__in_child();
        rc = sigprocmask(SIG_SETMASK, &program->mask, NULL);
    }
    if (rc == 0 && program->path)
        (void)execute_on_path(program);
    else if (rc == 0)
        execve(program->file, program->argv, program->environment);
    program->error = errno != 0 ? errno : ECHILD;
    _exit(127);
}

/* --- the caller --- */

static int run(pid_t *pid, program_t *program, char *stack)
{
    const uint64_t all = ~UINT64_C(0); /* with glibc's own signals, which sigset_t lacks */
    uint64_t before;
    int rc = 0;
    pid_t child;

    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(before));
    if ((program->flags & POSIX_SPAWN_SETSIGMASK) == 0)
        memcpy(&program->mask, &before, sizeof(before));
    child = clone(child_main, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | SIGCHLD, program);
    if (child < 0) {
        rc = errno;
    } else if (program->error != 0) {
        rc = program->error;
        (void)waitpid(child, NULL, 0); /* it has ended, so this does not wait */
    } else if (pid) {
        *pid = child;
    }
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
    return rc;
}

static void read_attributes(program_t *program, const posix_spawnattr_t *attr)
{
    short flags = 0;

    sigemptyset(&program->mask);
    if (!attr)
        return;
    (void)posix_spawnattr_getflags(attr, &flags);
    (void)posix_spawnattr_getpgroup(attr, &program->group);
    (void)posix_spawnattr_getsigdefault(attr, &program->defaults);
    (void)posix_spawnattr_getsigmask(attr, &program->mask);
    (void)posix_spawnattr_getschedparam(attr, &program->param);
    (void)posix_spawnattr_getschedpolicy(attr, &program->policy);
    program->flags = flags;
}

#define KNOWN_FLAGS                                                                                \
    (POSIX_SPAWN_RESETIDS | POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |                        \
     POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSCHEDPARAM | POSIX_SPAWN_SETSCHEDULER |               \
     POSIX_SPAWN_USEVFORK | POSIX_SPAWN_SETSID)

/* Leaves the caller's errno alone, and cannot be cancelled midway. */
static int run_on_new_stack(pid_t *pid, program_t *program)
{
    int error = errno, state, rc;
    char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

    if (stack == MAP_FAILED) {
        rc = errno;
    } else {
        (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
        rc = run(pid, program, stack);
        (void)pthread_setcancelstate(state, NULL);
        (void)munmap(stack, STACK_SIZE);
    }
    errno = error;
    return rc;
}

/* --- on a helper --- */

typedef struct spawn_job {
    stiol__job_t job;
    pid_t *pid;
    program_t *program;
    int rc;
} spawn_job_t;

static void run_spawn(stiol__job_t *job)
{
    spawn_job_t *call = (spawn_job_t *)job;

    call->rc = run_on_new_stack(call->pid, call->program);
}

/* The child's signal mask is the caller's, not the helper's. */
static int run_on_helper(stiol__vp_t *vp, pid_t *pid, program_t *program, uint64_t group)
{
    spawn_job_t call = {.job = {.run = run_spawn, .group = group}, .pid = pid, .program = program};

    if ((program->flags & POSIX_SPAWN_SETSIGMASK) == 0)
        (void)pthread_sigmask(SIG_SETMASK, NULL, &program->mask);
    program->flags |= POSIX_SPAWN_SETSIGMASK;
    STIOL_HELP(vp, process, STIOL_HELP_FILE, &call.job);
    return call.rc;
}

/* These actions look up names of their own, after which it is not known here what the program's
 * name refers to. */
static bool leads_elsewhere(const program_t *program)
{
    for (int i = 0; i < program->action_count; i++) {
        int what = program->actions[i].what;

        if (what == OPEN || what == CHDIR || what == FCHDIR)
            return true;
    }
    return false;
}

static int start(pid_t *pid, program_t *program)
{
    stiol__vp_t *vp = stiol__here();
    uint64_t group = 0;

    if (vp && (leads_elsewhere(program) ||
               !stiol__program_is_near(vp, program->file, program->path, &group)))
        return run_on_helper(vp, pid, program, group);
    return run_on_new_stack(pid, program);
}

/** posix_spawn(), or with a path posix_spawnp(). What only a later glibc knows (a flag, a file
 * action) is left to glibc; then the program starts with the VP's limits. */
static int spawn(pid_t *pid, const char *file, bool search,
                 const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
                 char *const argv[], char *const environment[])
{
    program_t program = {.file = file, .argv = argv, .environment = environment};
    const char *path = getenv("PATH");

    read_attributes(&program, attr);
    if (!stiol__in_child || (program.flags & ~KNOWN_FLAGS) != 0 || !are_known(actions))
        return search ? posix_spawnp(pid, file, actions, attr, argv, environment)
                      : posix_spawn(pid, file, actions, attr, argv, environment);
    if (search && !strchr(file, '/'))
        program.path = path ? path : "/bin:/usr/bin";
    if (*file == '\0')
        program.path = NULL; /* ENOENT, without a search */
    if (actions) {
        program.actions = (const action_t *)actions->__actions;
        program.action_count = actions->__used;
    }
    return start(pid, &program);
}

int stiol__start_program(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                         const posix_spawnattr_t *attr, char *const argv[],
                         char *const environment[])
{
    return spawn(pid, file, false, actions, attr, argv, environment);
}

int stiol__posix_spawn(pid_t *restrict pid, const char *restrict file,
                       const posix_spawn_file_actions_t *restrict actions,
                       const posix_spawnattr_t *restrict attr, char *const argv[restrict],
                       char *const environment[restrict])
{
    (void)STIOL_ENTER(process, posix_spawn, file);
    return spawn(pid, file, false, actions, attr, argv, environment);
}

int stiol__posix_spawnp(pid_t *restrict pid, const char *restrict file,
                        const posix_spawn_file_actions_t *restrict actions,
                        const posix_spawnattr_t *restrict attr, char *const argv[restrict],
                        char *const environment[restrict])
{
    (void)STIOL_ENTER(process, posix_spawnp, file);
    return spawn(pid, file, true, actions, attr, argv, environment);
}
