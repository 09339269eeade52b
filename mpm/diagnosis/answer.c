/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VP answers when the master asks, by a signal, what it is doing: its request and its calls,
 * written into its pulse. Called by stall.c, which handles the signal.
 */
#include <dlfcn.h>
#include <execinfo.h>

#include "mpm/accept/accept.h"
#include "mpm/conn/waits.h"
#include "mpm/diagnosis/diagnosis.h"
#include "mpm/shared/pulse.h"

enum {
    FRAMES = 40,
    /* The handler itself, and the frame that the kernel made for it. */
    OWN_FRAMES = 3,
};

static size_t put(size_t at, const char *text)
{
    while (*text && at < STM_PULSE_REPORT - 1)
        stm_pulse->report[at++] = *text++;
    return at;
}

static size_t put_hex(size_t at, uintptr_t number)
{
    char digits[2 + 2 * sizeof(number) + 1], *digit = digits + sizeof(digits) - 1;

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

/* As async-signal-safe as a backtrace can be: a VP that hangs has nothing to lose. */
void stm_answer_write(void)
{
    void *frames[FRAMES];
    int count = backtrace(frames, FRAMES);
    const request_rec *r = stm_thread_request();
    size_t at;

    stm_waits_show_running();
    at = put(0, r && r->the_request ? r->the_request : ""); /* a line, empty if it serves none */
    at = put(at, "\n");
    for (int i = OWN_FRAMES; i < count; i++)
        at = put_frame(at, frames[i]);
    stm_pulse->report[at] = '\0';
    __atomic_add_fetch(&stm_pulse->answers, 1, __ATOMIC_RELEASE);
}
