/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VP's pulse: a page that the master makes for each VP and that this VP alone can write. The VP
 * counts its turns there; when the master asks by a signal, it writes what it is doing. hang.c is
 * the master's side; what it reads here counts for this VP only.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mpm/shared/shmem.h"
#include "mpm/stm.h"

#define FRAMES     40
/* The handler itself, and the frame that the kernel made for it. */
#define OWN_FRAMES 3

static stm_pulse_t nobody_looks;
stm_pulse_t *stm_pulse = &nobody_looks;

/** In the master, before the fork. NULL: the VP will not be watched. */
stm_pulse_t *stm_pulse_make(void)
{
    STM_ENTER();
    stm_shmem_t memory;

    if (stm_shmem_make(&memory, "stm-pulse", sizeof(stm_pulse_t)) &&
        stm_shmem_clear(memory.writable, memory.size)) {
        munmap((void *)(uintptr_t)memory.readable, memory.size); /* nobody else looks */
        return memory.writable;
    }
    stm_shmem_unmake(&memory);
    ap_log_error(APLOG_MARK, APLOG_WARNING, errno, ap_server_conf,
                 "stm: no memory for a VP's pulse: a hang of it will not be noticed");
    return NULL;
}

/** In the master: whether the next fork gives the child the page. */
void stm_pulse_inherit(stm_pulse_t *pulse, bool inherited)
{
    STM_ENTER();
    if (pulse)
        madvise(pulse, sizeof *pulse, inherited ? MADV_DOFORK : MADV_DONTFORK);
}

void stm_pulse_unmake(stm_pulse_t *pulse)
{
    STM_ENTER();
    if (pulse)
        munmap(pulse, sizeof *pulse);
}

/** In the VP: this page is its own. */
void stm_pulse_take(stm_pulse_t *pulse)
{
    STM_ENTER();
    if (pulse)
        stm_pulse = pulse;
}

/* --- in the signal handler --- */

static size_t put(size_t at, const char *text)
{
    while (*text && at < STM_PULSE_REPORT - 1)
        stm_pulse->report[at++] = *text++;
    return at;
}

static size_t put_hex(size_t at, uintptr_t number)
{
    char digits[2 + 2 * sizeof number + 1], *digit = digits + sizeof digits - 1;

    *digit = '\0';
    do
        *--digit = "0123456789abcdef"[number % 16];
    while (number /= 16);
    *--digit = 'x';
    *--digit = '0';
    return put(at, digit);
}

static size_t put_frame(size_t at, void *address)
{
    Dl_info info;
    bool known = dladdr(address, &info) && info.dli_fname;

    at = put(at, known ? info.dli_fname : "?");
    at = put(at, "(");
    if (known) {
        const void *base = info.dli_sname ? info.dli_saddr : info.dli_fbase;

        at = put(at, info.dli_sname ? info.dli_sname : "");
        at = put(at, "+");
        at = put_hex(at, (uintptr_t)address - (uintptr_t)base);
    }
    at = put(at, ") [");
    at = put_hex(at, (uintptr_t)address);
    return put(at, "]\n");
}

/* The request of the state thread that runs: one line, empty if it serves none. */
static size_t put_request(size_t at)
{
    const stm_thread_t *thread = stm.vp.thread_list;
    const request_rec *r;

    while (thread && thread->st != st_thread_self())
        thread = thread->next;
    r = thread && thread->conn ? thread->conn->request : NULL;
    at = put(at, r && r->the_request ? r->the_request : "");
    return put(at, "\n");
}

/** The master asks by a signal what this VP is doing: writes the answer. As async-signal-safe as a
 * backtrace can be: a VP that hangs has nothing to lose. */
void stm_pulse_answer(void)
{
    void *frames[FRAMES];
    int count = backtrace(frames, FRAMES);
    size_t at = put_request(0);

    for (int i = OWN_FRAMES; i < count; i++)
        at = put_frame(at, frames[i]);
    stm_pulse->report[at] = '\0';
    __atomic_add_fetch(&stm_pulse->answers, 1, __ATOMIC_RELEASE);
}

/** From now on the signal is handled. */
void stm_pulse_answers(bool does)
{
    STM_ENTER();
    __atomic_store_n(&stm_pulse->can_answer, does, __ATOMIC_RELEASE);
}
