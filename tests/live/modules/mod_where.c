/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordinary httpd module for the live tests of requests on kernel threads: says on which kind of
 * thread each step of a request runs, and whether it is the same thread in what code can see.
 * Loaded by tests/live/test_kernel_threads.py only.
 *
 *   SetHandler where, or where-2, then GET
 *                       ?        where translation and handler ran: "state kernel", for example
 *                       ?spin=MS the same, after using that much time of a CPU
 *                       ?until=FILE ... after computing until the file is there
 *                       ?early=MS ... after the same before the handler
 *                       ?big=KB  so many KB of text
 *                       ?status=N the handler returns it
 *                       ?decline  the handler declines
 *                       ?suspend=MS  the handler returns SUSPENDED; a timed callback answers
 *                       ?crash   dies of SIGSEGV
 *                       ?wrong   how often a thread was not the same one before, in, and after
 *                                a handler: thread-local variables, keys, errno, identity, locks
 *   POST                what came: bytes and their sum
 */
#include <httpd.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <ap_mpm.h>
#include <apr_strings.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "current_thread.h"

module AP_MODULE_DECLARE_DATA where_module;

/* --- which thread --- */

/* Not by gettid(): a state thread has a number of its own. */
static int is_main_thread(void)
{
    char name[64];
    ssize_t n = readlink("/proc/thread-self", name, sizeof(name) - 1);

    if (n <= 0)
        return 0;
    name[n] = '\0';
    return atol(strrchr(name, '/') + 1) == (long)getpid();
}

static const char *kind(void)
{
    return is_main_thread() ? "state" : "kernel";
}

/* --- what a thread has --- */

typedef struct {
    const char *translated;
    pthread_t self;
    apr_thread_t *current;
    long step;
} note_t;

static __thread struct {
    long step;
    char text[24];
    const char *pointer; /* to the text */
} locals;
static pthread_key_t key;
static pthread_mutex_t lock; /* recursive */
static atomic_int wrong;
static int *volatile nowhere;

static void set(note_t *note, long step)
{
    note->step = locals.step = step;
    apr_snprintf(locals.text, sizeof(locals.text), "step %ld", step);
    locals.pointer = locals.text;
    if (pthread_setspecific(key, (void *)step) != 0)
        atomic_fetch_add(&wrong, 1);
}

static void check(const request_rec *r, const note_t *note)
{
    char text[sizeof(locals.text)];
    int right;

    apr_snprintf(text, sizeof(text), "step %ld", note->step);
    right = locals.step == note->step && strcmp(locals.text, text) == 0 &&
            locals.pointer == locals.text && pthread_getspecific(key) == (void *)note->step &&
            pthread_equal(pthread_self(), note->self) && current_thread(r) == note->current;
    if (!right)
        atomic_fetch_add(&wrong, 1);
}

static note_t *note_of(request_rec *r)
{
    note_t *note = ap_get_module_config(r->request_config, &where_module);

    if (!note) {
        note = apr_pcalloc(r->pool, sizeof(*note));
        ap_set_module_config(r->request_config, &where_module, note);
    }
    return note;
}

static void spin(long milliseconds);
static long option(const request_rec *r, const char *name);

static int translates(request_rec *r)
{
    if (option(r, "early") > 0)
        spin(option(r, "early"));
    note_of(r)->translated = kind();
    return DECLINED;
}

static int is_ours(const request_rec *r)
{
    return r->handler && strncmp(r->handler, "where", 5) == 0;
}

static int before(request_rec *r)
{
    static atomic_long serial;
    note_t *note = note_of(r);

    if (!is_ours(r) || r->main)
        return DECLINED;
    note->self = pthread_self();
    note->current = current_thread(r);
    set(note, 10 * atomic_fetch_add(&serial, 1) + 1);
    errno = 4711;
    return DECLINED;
}

static int after(request_rec *r)
{
    while (r->next)
        r = r->next;
    if (is_ours(r) && note_of(r)->step)
        check(r, note_of(r));
    return DECLINED;
}

/* --- handlers --- */

static void spin(long milliseconds)
{
    struct timespec now, end;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    end.tv_sec += milliseconds / 1000;
    end.tv_nsec += milliseconds % 1000 * 1000000;
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    while (now.tv_sec * 1000000000LL + now.tv_nsec < end.tv_sec * 1000000000LL + end.tv_nsec);
}

static void spin_until(const char *path)
{
    while (access(path, F_OK) != 0)
        spin(1);
}

static long option(const request_rec *r, const char *name)
{
    size_t length = strlen(name);

    return r->args && strncmp(r->args, name, length) == 0 && r->args[length] == '='
               ? strtol(r->args + length + 1, NULL, 10)
               : -1;
}

static int read_body(request_rec *r)
{
    unsigned long sum = 0, bytes = 0;
    char buffer[8192];
    long n;

    if (ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK) != OK || !ap_should_client_block(r))
        return HTTP_BAD_REQUEST;
    while ((n = ap_get_client_block(r, buffer, sizeof(buffer))) > 0) {
        bytes += (unsigned long)n;
        for (long i = 0; i < n; i++)
            sum += (unsigned char)buffer[i];
    }
    if (n < 0)
        return HTTP_BAD_REQUEST;
    ap_rprintf(r, "%lu bytes, sum %lu, %s\n", bytes, sum, kind());
    return OK;
}

static int write_much(request_rec *r, long kilobytes)
{
    char line[1024];

    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    for (long i = 0; i < kilobytes; i++)
        if (ap_rwrite(line, sizeof(line), r) < 0)
            return OK; /* the client has gone */
    return OK;
}

static void answer_late(void *data)
{
    request_rec *r = data;
    conn_rec *c = r->connection;

    apr_thread_mutex_lock(r->invoke_mtx);
    ap_rprintf(r, "late\n");
    ap_finalize_request_protocol(r);
    apr_thread_mutex_unlock(r->invoke_mtx);
    ap_process_request_after_handler(r);
    c->cs->state = CONN_STATE_WRITE_COMPLETION;
}

static int suspends(request_rec *r, long milliseconds)
{
    return ap_mpm_register_timed_callback(milliseconds * 1000, answer_late, r) == APR_SUCCESS
               ? SUSPENDED
               : HTTP_INTERNAL_SERVER_ERROR;
}

/* The handler does to its thread what it likes. */
static void use_thread(request_rec *r)
{
    note_t *note = note_of(r);

    if (!note->step)
        return;
    check(r, note);
    set(note, note->step + 1);
    pthread_mutex_lock(&lock);
    pthread_mutex_lock(&lock);
    pthread_mutex_unlock(&lock);
    if (pthread_mutex_unlock(&lock) != 0)
        atomic_fetch_add(&wrong, 1);
}

static int work(request_rec *r)
{
    if (option(r, "big") >= 0)
        return write_much(r, option(r, "big"));
    if (option(r, "spin") >= 0)
        spin(option(r, "spin"));
    if (option(r, "until") >= 0)
        spin_until(ap_server_root_relative(r->pool, r->args + strlen("until=")));
    ap_rprintf(r, "%s %s\n", note_of(r)->translated ? note_of(r)->translated : "untranslated",
               kind());
    return OK;
}

static int handler(request_rec *r)
{
    const char *args = r->args ? r->args : "";

    if (!is_ours(r))
        return DECLINED;
    use_thread(r);
    if (strcmp(args, "crash") == 0)
        *nowhere = 1;
    if (strcmp(args, "decline") == 0)
        return DECLINED;
    if (option(r, "status") >= 0)
        return (int)option(r, "status");
    if (option(r, "suspend") >= 0)
        return suspends(r, option(r, "suspend"));
    ap_set_content_type(r, "text/html");
    if (r->method_number == M_POST)
        return read_body(r);
    if (strcmp(args, "wrong") == 0) {
        ap_rprintf(r, "%d\n", atomic_load(&wrong));
        return OK;
    }
    return work(r);
}

static void start(apr_pool_t *pool, server_rec *s)
{
    pthread_mutexattr_t attr;

    (void)pool;
    (void)s;
    pthread_key_create(&key, NULL);
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &attr);
    pthread_mutexattr_destroy(&attr);
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_child_init(start, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_translate_name(translates, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_fixups(before, NULL, NULL, APR_HOOK_LAST);
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_log_transaction(after, NULL, NULL, APR_HOOK_FIRST);
}

AP_DECLARE_MODULE(where) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL,
                            register_hooks,          0};
