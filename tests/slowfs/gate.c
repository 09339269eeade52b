// SPDX-License-Identifier: Apache-2.0
/*
 * When a call is answered: after its kind's delay, and not while its kind is held. A call that
 * waits costs no thread, so any number can be in flight. Called by calls.c and by main.c's loop.
 */
#include "tests/slowfs/slowfs.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <time.h>

struct settings settings;

static TAILQ_HEAD(, call) waiting = TAILQ_HEAD_INITIALIZER(waiting);

int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void hold(struct call *call, bool held)
{
    unsigned step = (unsigned)held - (unsigned)call->held;
    settings.counts[call->kind].held += step;
    settings.counts[CALL_COUNT].held += step;
    call->held = held;
}

/* `kind`: the call's own, or CALL_COUNT for all together. */
static void count_entry(struct node *node, int kind)
{
    struct counts *counts = &settings.counts[kind];
    counts->total++;
    if (++counts->in_flight > counts->peak)
        counts->peak = counts->in_flight;
    if (node->in_flight[kind]++ == 0)
        counts->files++;
}

static void count_exit(struct node *node, int kind)
{
    settings.counts[kind].in_flight--;
    if (--node->in_flight[kind] == 0)
        settings.counts[kind].files--;
}

static bool is_held(const struct call *call)
{
    const char *pattern = settings.hold[call->kind];
    const char *name = call->name ? call->name : call->node->name;
    return pattern && fnmatch(pattern, name ? name : "", 0) == 0;
}

static void leave(struct call *call)
{
    hold(call, false);
    count_exit(call->node, (int)call->kind);
    count_exit(call->node, CALL_COUNT);
    if (call->interrupted)
        fuse_reply_err(call->request, EINTR);
    else
        call->answer(call);
    free(call->name);
    free(call->text);
    free(call);
}

/* libfuse holds a lock of the request here, so the answer waits for the next turn. */
static void on_interrupt(fuse_req_t request, void *data)
{
    struct call *call = data;
    (void)request;
    call->interrupted = settings.interruptible;
}

void gate_enter(struct call *call)
{
    int64_t delay = settings.delay[call->kind];
    count_entry(call->node, (int)call->kind);
    count_entry(call->node, CALL_COUNT);
    hold(call, is_held(call));
    if (delay == 0 && !call->held) {
        leave(call);
        return;
    }
    call->due = now_us() + delay;
    TAILQ_INSERT_TAIL(&waiting, call, link);
    fuse_req_interrupt_func(call->request, on_interrupt, call);
}

int gate_turn(void)
{
    int64_t now = now_us(), next = INT64_MAX;
    struct call *call = TAILQ_FIRST(&waiting), *after;
    for (; call; call = after) {
        after = TAILQ_NEXT(call, link);
        if (call->held)
            hold(call, is_held(call)); /* a command may have released it */
        if (call->interrupted || (!call->held && call->due <= now)) {
            TAILQ_REMOVE(&waiting, call, link);
            leave(call);
        } else if (!call->held && call->due < next) {
            next = call->due;
        }
    }
    return next == INT64_MAX ? -1 : (int)((next - now) / 1000 + 1);
}

void gate_open(void)
{
    for (int kind = 0; kind < CALL_COUNT; kind++) {
        free(settings.hold[kind]);
        settings.hold[kind] = NULL;
        settings.delay[kind] = 0;
    }
    struct call *call;
    while ((call = TAILQ_FIRST(&waiting))) {
        TAILQ_REMOVE(&waiting, call, link);
        leave(call);
    }
}
