/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stops the kernel threads of a process with ptrace, without any signal that the process could see,
 * and lets them continue. If stmstat ends meanwhile, for whatever reason, the kernel lets them
 * continue. Called by dump.c.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stmstat/dump.h"

enum {
    KERNELS = 4096,
    PATIENCE = 100000,       /* us, for one that waits for a disk: it cannot be stopped */
    LONG_PATIENCE = 2000000, /* us, for one that only waits for a CPU */
};

/* --- finding them --- */

static bool known(const dump_t *dump, int tid)
{
    for (size_t i = 0; i < dump->kernels; i++) {
        if (dump->kernel[i].tid == tid)
            return true;
    }
    return false;
}

static dump_kernel_t *add(dump_t *dump, int tid)
{
    if (dump->kernels == dump->kernel_room) {
        size_t room = dump->kernel_room ? 2 * dump->kernel_room : 64;
        dump_kernel_t *more = realloc(dump->kernel, room * sizeof(*more));

        if (!more)
            return NULL;
        dump->kernel = more;
        dump->kernel_room = room;
    }
    dump->kernel[dump->kernels] = (dump_kernel_t){.tid = tid};
    return &dump->kernel[dump->kernels++];
}

static void read_name(const dump_t *dump, dump_kernel_t *kernel)
{
    char path[80];
    ssize_t length = 0;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", (int)dump->pid, kernel->tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        length = read(fd, kernel->name, sizeof(kernel->name) - 1);
        close(fd);
    }
    kernel->name[length > 0 ? length : 0] = '\0';
    kernel->name[strcspn(kernel->name, "\n")] = '\0';
}

/* Finds kernel threads that are not known yet, and starts to trace them. Returns how many. */
static int seize_more(dump_t *dump)
{
    char path[64];
    DIR *tasks;
    const struct dirent *entry;
    int found = 0;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)dump->pid);
    tasks = opendir(path);
    while (tasks && (entry = readdir(tasks)) && dump->kernels < KERNELS) {
        int tid = (int)strtol(entry->d_name, NULL, 10);
        dump_kernel_t *kernel;

        if (tid <= 0 || known(dump, tid) || !(kernel = add(dump, tid)))
            continue;
        found++;
        read_name(dump, kernel);
        kernel->seized = ptrace(PTRACE_SEIZE, tid, NULL, NULL) == 0;
        if (!kernel->seized && errno == EPERM)
            dump->unstopped = "ptrace is not permitted, or another tool traces the process";
        else if (kernel->seized)
            (void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
    }
    if (tasks)
        closedir(tasks);
    return found;
}

/* --- registers --- */

static void note_registers(dump_registers_t *to, const struct user_regs_struct *from)
{
#if defined(__x86_64__)
    const uint64_t all[] = {from->rax, from->rdx, from->rcx, from->rbx, from->rsi, from->rdi,
                            from->rbp, from->rsp, from->r8,  from->r9,  from->r10, from->r11,
                            from->r12, from->r13, from->r14, from->r15, from->rip};

    to->pc = from->rip;
    to->sp = from->rsp;
    memcpy(to->reg, all, sizeof(all));
#elif defined(__aarch64__)
    memcpy(to->reg, from->regs, sizeof(from->regs));
    to->reg[31] = to->sp = from->sp;
    to->pc = from->pc;
#endif
}

static void read_registers(dump_kernel_t *kernel)
{
    struct user_regs_struct registers;
    struct iovec space = {&registers, sizeof(registers)};

    memset(&registers, 0, sizeof(registers));
    if (ptrace(PTRACE_GETREGSET, kernel->tid, (void *)NT_PRSTATUS, &space) == 0)
        note_registers(&kernel->stack.registers, &registers);
    else
        kernel->stack.missing = "its registers cannot be read";
}

/* --- stopping them and letting them continue --- */

/* Whether it has stopped by now, or has ended. */
static bool has_stopped(dump_kernel_t *kernel)
{
    int status;
    pid_t rc = waitpid(kernel->tid, &status, __WALL | WNOHANG);

    if (rc == 0)
        return false;
    if (rc < 0 || !WIFSTOPPED(status)) {
        kernel->seized = false;
        kernel->stack.missing = "it has ended";
        return true;
    }
    kernel->stopped = true;
    /* If this stop is not the one that we asked for, a signal was about to be delivered. */
    kernel->signal = status >> 16 ? 0 : WSTOPSIG(status);
    read_registers(kernel);
    return true;
}

/* Whether it waits in the kernel and cannot be interrupted. */
static bool waits_for_disk(const dump_t *dump, const dump_kernel_t *kernel)
{
    char path[80], text[256], *end = NULL;
    ssize_t length = -1;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)dump->pid, kernel->tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        length = read(fd, text, sizeof(text) - 1);
        close(fd);
    }
    if (length > 0) {
        text[length] = '\0';
        end = strrchr(text, ')'); /* of the name, which may have more of them */
    }
    return end && end[1] == ' ' && end[2] == 'D';
}

static bool runs_out(const dump_t *dump, const dump_kernel_t *kernel, uint64_t start)
{
    uint64_t waited = dump_clock() - start;

    return waited > LONG_PATIENCE || (waited > PATIENCE && waits_for_disk(dump, kernel));
}

static void wait_for_stops(dump_t *dump, uint64_t start)
{
    const struct timespec moment = {0, 50000};

    for (size_t i = 0; i < dump->kernels; i++) {
        dump_kernel_t *kernel = &dump->kernel[i];

        while (kernel->seized && !kernel->stopped && !has_stopped(kernel)) {
            if (runs_out(dump, kernel, start)) {
                dump->unstopped = "a kernel thread did not stop in time";
                kernel->stack.missing = "it did not stop in time (it may be waiting for a disk)";
                break;
            }
            nanosleep(&moment, NULL);
        }
    }
}

void dump_stop(dump_t *dump)
{
    uint64_t start = dump_clock();

    /* Until all are stopped, those still running may start others. */
    while (seize_more(dump) > 0 && dump_clock() - start <= LONG_PATIENCE)
        wait_for_stops(dump, start);
    dump->stopped = !dump->unstopped;
    for (size_t i = 0; i < dump->kernels; i++) {
        if (!dump->kernel[i].seized && !dump->kernel[i].stack.missing)
            dump->kernel[i].stack.missing = "it cannot be stopped";
    }
}

void dump_go_on(dump_t *dump)
{
    for (size_t i = 0; i < dump->kernels; i++) {
        dump_kernel_t *kernel = &dump->kernel[i];

        if (!kernel->seized || (!kernel->stopped && !has_stopped(kernel)) || !kernel->seized)
            continue;
        (void)ptrace(PTRACE_DETACH, kernel->tid, NULL, (void *)(intptr_t)kernel->signal);
        kernel->seized = false;
    }
}
