/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies from a VP's process, stopped if possible, what the backtraces of its state threads need:
 * the list of threads, their stacks and registers, and their requests. Called by dump.c.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "include/stm_description.h"
#include "stmstat/dump.h"

enum {
    THREADS = 1 << 17,
    STACK_PAGES = 64, /* copied of one stack, from its innermost frame outwards */
    STEP = 8 * DUMP_PAGE,
    CONN_SIZE_MAX = 8192,
    OFFSET_MAX = 1 << 16,
};

uint64_t dump_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static uint64_t time_of_day(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* --- stacks --- */

/* Copies the stack from low up to end; if end is 0, as far as there is memory. */
static void copy_stack(dump_t *dump, dump_stack_t *stack, uint64_t low, uint64_t end)
{
    size_t size = (size_t)STACK_PAGES * DUMP_PAGE;

    if (end > low && end - low < size)
        size = (size_t)(end - low);
    if ((end && end <= low) || low > UINT64_MAX - size) {
        stack->missing = "its stack pointer is damaged";
        return;
    }
    stack->low = low;
    /* In steps: if the end is not known, only one read goes beyond it. */
    while (stack->size < size) {
        size_t step = size - stack->size < STEP ? size - stack->size : STEP;
        size_t n = dump_read_up(dump, low + stack->size, NULL, step);

        stack->size += n;
        if (n < step)
            break;
    }
    if (!stack->size)
        stack->missing = "its stack cannot be read";
}

static uint64_t word_at(const dump_t *dump, const dump_stack_t *stack, size_t offset)
{
    uint64_t word = 0;

    if (offset + sizeof(word) <= stack->size)
        (void)dump_read(dump, stack->low + offset, &word, sizeof(word));
    return word;
}

/* Reads the registers that st/switch_*.S has saved. */
static void parked_registers(const dump_t *dump, dump_stack_t *stack, uint64_t saved)
{
    dump_registers_t *to = &stack->registers;

#if defined(__x86_64__)
    static const int saved_regs[] = {15, 14, 13, 12, 3, 6}; /* r15 to r12, rbx, rbp */

    for (size_t i = 0; i < 6; i++)
        to->reg[saved_regs[i]] = word_at(dump, stack, 8 + 8 * i);
    to->pc = word_at(dump, stack, 56);
    to->sp = saved + 64;
    to->reg[7] = to->sp;
    to->reg[16] = to->pc;
#elif defined(__aarch64__)
    for (size_t i = 0; i < 12; i++)
        to->reg[19 + i] = word_at(dump, stack, 8 * i);
    to->pc = word_at(dump, stack, 88);
    to->sp = saved + 176;
    to->reg[31] = to->sp;
#endif
    stack->parked = true;
}

/* The kernel thread that is running on this thread's stack. */
static dump_kernel_t *kernel_on(const dump_t *dump, const walk_thread_t *thread)
{
    for (size_t i = 0; thread->end && i < dump->kernels; i++) {
        dump_kernel_t *kernel = &dump->kernel[i];

        if (kernel->stopped && kernel->stack.registers.sp >= thread->low &&
            kernel->stack.registers.sp < thread->end)
            return kernel;
    }
    return NULL;
}

static const char *name_state(unsigned state, bool on_cpu)
{
    static const char *const names[] = {"running", "ready", "waiting", "ended"};

    if (on_cpu && state == 2)
        return "idle"; /* it waits; the scheduler runs on its stack until another is ready */
    return state < sizeof(names) / sizeof(*names) ? names[state] : "damaged";
}

/* Puts what is kept of a stack that rests where it belongs. The process may be running, or damaged:
 * then what is shown is wrong, but within the stack. */
static void unpack(const dump_t *dump, const walk_thread_t *walked)
{
    uint64_t from = walked->rest_words, at = walked->sp, mask, word;
    uint64_t end = at + (uint64_t)STACK_PAGES * DUMP_PAGE;

    if (walked->rest_low > at || at - walked->rest_low >= DUMP_PAGE || walked->end <= at)
        return;
    end = walked->end < end ? walked->end : end;
    dump_pages_blank(dump, walked->rest_low, (size_t)(end - walked->rest_low));
    for (; at < end && dump_read(dump, from, &mask, sizeof(mask)); at += 64 * sizeof(word)) {
        from += sizeof(mask);
        for (; mask; mask &= mask - 1, from += sizeof(word)) {
            uint64_t to = at + (uint64_t)__builtin_ctzll(mask) * sizeof(word);

            if (to >= end || !dump_read(dump, from, &word, sizeof(word)) ||
                !dump_pages_put(to, word))
                return;
        }
    }
}

static void copy_parked(dump_t *dump, dump_thread_t *thread)
{
    const walk_thread_t *walked = &thread->walked;

    if (walked->end && (walked->sp < walked->low || walked->sp >= walked->end)) {
        thread->stack.missing = "its stack pointer is damaged";
        return;
    }
    if (walked->rest_words)
        unpack(dump, walked);
    copy_stack(dump, &thread->stack, walked->sp, walked->end);
    if (thread->stack.size)
        parked_registers(dump, &thread->stack, walked->sp);
}

static void copy_running(dump_t *dump, dump_thread_t *thread, dump_kernel_t *kernel)
{
    const walk_thread_t *walked = &thread->walked;

    kernel->taken = true;
    thread->stack.registers = kernel->stack.registers;
    copy_stack(dump, &thread->stack, kernel->stack.registers.sp,
               kernel_on(dump, walked) ? walked->end : 0);
}

/* --- requests --- */

/* Copies up to a null, the end of the buffer, or the end of the memory. */
static void read_text(const dump_t *dump, uint64_t address, char *to, size_t size)
{
    to[dump_read_up(dump, address, to, size - 1)] = '\0';
}

static void name_client(dump_thread_t *thread, const struct sockaddr_in6 *client)
{
    char text[INET6_ADDRSTRLEN];
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)client;

    if (client->sin6_family == AF_INET && inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text)))
        snprintf(thread->client, sizeof(thread->client), "%s:%d", text, ntohs(v4->sin_port));
    else if (client->sin6_family == AF_INET6 &&
             inet_ntop(AF_INET6, &client->sin6_addr, text, sizeof(text)))
        snprintf(thread->client, sizeof(thread->client), "[%s]:%d", text, ntohs(client->sin6_port));
}

static uint64_t age(uint64_t then, uint64_t now)
{
    return then && then < now ? now - then : 0;
}

static void note_request(const dump_t *dump, const stm_description_t *at, dump_thread_t *thread,
                         uint64_t request)
{
    uint64_t line, began;

    if (!request || !dump_read(dump, request + at->request_line, &line, sizeof(line)) ||
        !dump_read(dump, request + at->request_time, &began, sizeof(began)))
        return;
    read_text(dump, line, thread->request, sizeof(thread->request));
    thread->request_age = age(began, time_of_day());
}

static void note_connection(const dump_t *dump, const stm_description_t *at, dump_thread_t *thread)
{
    char conn[CONN_SIZE_MAX];
    struct sockaddr_in6 client;
    uint64_t address, accepted, request, worker = thread->walked.arg;

    if (thread->walked.start != at->worker_main || !worker ||
        !dump_read(dump, worker + at->worker_conn, &address, sizeof(address)) || !address ||
        !dump_read(dump, address, conn, at->conn_size))
        return;
    (void)dump_read(dump, worker + at->worker_kernel, &thread->kernel, 1);
    memcpy(&client, conn + at->conn_client, sizeof(client));
    memcpy(&accepted, conn + at->conn_accepted, sizeof(accepted));
    memcpy(&request, conn + at->conn_request, sizeof(request));
    name_client(thread, &client);
    thread->conn_age = age(accepted, dump_clock());
    note_request(dump, at, thread, request);
}

/* --- all threads --- */

static bool read_walk(void *baton, uint64_t address, void *to, size_t size)
{
    const dump_t *dump = baton;

    return dump_clock() < dump->deadline && dump_read(dump, address, to, size);
}

static void found(void *baton, const walk_thread_t *walked)
{
    dump_t *dump = baton;

    if (dump->threads == dump->thread_room) {
        size_t room = dump->thread_room ? 2 * dump->thread_room : 256;
        dump_thread_t *more = room <= THREADS ? realloc(dump->thread, room * sizeof(*more)) : NULL;

        if (!more)
            return;
        dump->thread = more;
        dump->thread_room = room;
    }
    dump->thread[dump->threads++] = (dump_thread_t){.walked = *walked, .state = "?"};
}

static bool plausible(const stm_description_t *at)
{
    return at->conn_size <= CONN_SIZE_MAX &&
           at->conn_client + sizeof(struct sockaddr_in6) <= at->conn_size &&
           at->conn_accepted + sizeof(uint64_t) <= at->conn_size &&
           at->conn_request + sizeof(uint64_t) <= at->conn_size && at->worker_conn < OFFSET_MAX &&
           at->worker_kernel < OFFSET_MAX && at->request_line < OFFSET_MAX &&
           at->request_time < OFFSET_MAX;
}

/* A VP's kernel thread that is on no state thread's stack is on the primordial one, or in a signal
 * handler on a separate stack. The VP then says which state thread it belongs to. */
static dump_kernel_t *kernel_of(const dump_t *dump, const walk_thread_t *thread)
{
    dump_kernel_t *kernel = kernel_on(dump, thread);

    if (kernel || !thread->current)
        return kernel;
    for (size_t i = 0; i < dump->kernels; i++) {
        if (dump->kernel[i].tid == thread->tid && dump->kernel[i].stopped)
            kernel = &dump->kernel[i];
    }
    for (size_t i = 0; kernel && i < dump->threads; i++) {
        if (kernel_on(dump, &dump->thread[i].walked) == kernel)
            return NULL;
    }
    return kernel;
}

static void copy_thread(dump_t *dump, dump_thread_t *thread)
{
    dump_kernel_t *kernel = kernel_of(dump, &thread->walked);

    thread->state = name_state(thread->walked.state, kernel || thread->walked.current);
    if (kernel)
        copy_running(dump, thread, kernel);
    else if (thread->walked.current && !dump->stopped)
        thread->stack.missing = "it is running, and the process could not be stopped";
    else
        copy_parked(dump, thread);
}

static int in_memory(const void *left, const void *right)
{
    const dump_thread_t *a = left, *b = right;

    return a->walked.low < b->walked.low ? -1 : a->walked.low > b->walked.low;
}

void dump_copy(dump_t *dump)
{
    const walk_ops_t ops = {read_walk, found, dump};
    stm_description_t at;

    if (!dump_read(dump, dump->description, &at, sizeof(at))) {
        dump->walk_error = EFAULT;
        return;
    }
    if (at.magic != STM_DESCRIPTION_MAGIC || at.version != STM_DESCRIPTION_VERSION ||
        !plausible(&at)) {
        dump->walk_error = ENOTSUP;
        return;
    }
    dump->threads = 0;
    dump->walk_error = walk_threads(&ops, at.threads);
    if (dump->threads)
        qsort(dump->thread, dump->threads, sizeof(*dump->thread), in_memory);
    for (size_t i = 0; i < dump->threads; i++) {
        if (dump_clock() > dump->deadline) {
            dump->thread[i].stack.missing = "there are too many threads";
            continue;
        }
        copy_thread(dump, &dump->thread[i]);
        note_connection(dump, &at, &dump->thread[i]);
    }
    for (size_t i = 0; i < dump->kernels; i++) {
        if (dump->kernel[i].stopped && !dump->kernel[i].taken)
            copy_stack(dump, &dump->kernel[i].stack, dump->kernel[i].stack.registers.sp, 0);
    }
}

/* --- which kernel thread works for which state thread --- */

/* The address of the state thread that a mark on this stack names, or 0. */
static uint64_t marked_thread(const dump_t *dump, const dump_stack_t *stack)
{
    stm_works_for_t mark;

    for (uint64_t at = (stack->low + 7) & ~UINT64_C(7);
         at + sizeof(mark) <= stack->low + stack->size; at += 8) {
        if (dump_read(dump, at, &mark.magic, sizeof(mark.magic)) &&
            mark.magic == STM_WORKS_FOR_MAGIC && dump_read(dump, at, &mark, sizeof(mark)) &&
            mark.self == at)
            return mark.thread;
    }
    return 0;
}

void dump_match(dump_t *dump)
{
    for (size_t i = 0; i < dump->kernels; i++) {
        dump_kernel_t *kernel = &dump->kernel[i];
        uint64_t address = kernel->taken ? 0 : marked_thread(dump, &kernel->stack);

        for (size_t k = 0; address && k < dump->threads; k++) {
            if (dump->thread[k].walked.address == address) {
                dump->thread[k].helper = kernel->tid;
                kernel->served = (int)k + 1;
            }
        }
    }
}
