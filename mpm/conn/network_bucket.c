/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bucket that stands for a socket in httpd's core input filter: a client's, or one that a
 * module has opened to a backend. It parks the state thread if nothing has arrived, and takes a
 * buffer only once something has, so that waiting holds none. The readiness bit tells without a
 * system call. A request that has been read keeps its last buffer until it is answered, so a small
 * one gets a buffer of its size.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <apr_portable.h>

#include "mpm/config/config.h"
#include "mpm/conn/conn.h"
#include "mpm/conn/kernel_request.h"
#include "mpm/scoreboard/scoreboard.h"
#include "stiol/server.h"
#include "stiol/stiol.h"

/* Reads of up to this many bytes are copied into a buffer of their size. */
enum { SMALL_READ = 2048 };

static apr_status_t network_read(apr_bucket *bucket, const char **data, apr_size_t *length,
                                 apr_read_type_e block);

static const apr_bucket_type_t network_type = {
    "STM_NETWORK",
    5,
    APR_BUCKET_DATA,
    apr_bucket_destroy_noop,
    network_read,
    apr_bucket_setaside_notimpl,
    apr_bucket_split_notimpl,
    apr_bucket_copy_notimpl,
};

/* Where a bucket's bytes come from; lives in the connection's pool. */
typedef struct {
    int fd;
    apr_socket_t *socket;
    stm_conn_t *client; /* NULL: a backend */
} source_t;

static apr_bucket *network_bucket(source_t *source, apr_bucket_alloc_t *list)
{
    apr_bucket *bucket = apr_bucket_alloc(sizeof(*bucket), list);

    APR_BUCKET_INIT(bucket);
    bucket->free = apr_bucket_free;
    bucket->list = list;
    bucket->type = &network_type;
    bucket->length = (apr_size_t)-1;
    bucket->start = 0;
    bucket->data = source;
    return bucket;
}

static bool is_ready(const source_t *source)
{
    return (st_fd_ready(source->fd) & (POLLIN | POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* To be called after EAGAIN: parks until there is something to receive. */
static apr_status_t wait_until_ready(const source_t *source, apr_interval_time_t timeout)
{
    st_utime_t limit = timeout < 0 ? ST_UTIME_NO_TIMEOUT : (st_utime_t)timeout;

    /* A client's first byte never came: the wait for it is already over. */
    if (source->client && source->client->timed_out)
        return APR_TIMEUP;
    if (st_fd_wait(source->fd, POLLIN | POLLRDHUP, limit) > 0)
        return APR_SUCCESS;
    if (errno == ETIME)
        return APR_TIMEUP;
    return errno == EINTR ? APR_ECONNABORTED : errno;
}

/* Reads what is there. APR_EAGAIN if there is nothing. */
static apr_status_t receive(const source_t *source, char *buffer, apr_size_t *size)
{
    ssize_t n;

    do
        n = recv(source->fd, buffer, *size, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        if ((apr_size_t)n < *size)
            st_fd_drained(source->fd, POLLIN);
        *size = (apr_size_t)n;
        if (source->client)
            STM_SCORE_ADD(stm_score, received_bytes, n);
        return APR_SUCCESS;
    }
    if (n == 0)
        return APR_EOF;
    if (errno != EAGAIN)
        return errno;
    stiol_saw_empty(source->fd);
    return APR_EAGAIN;
}

/* The same on a kernel thread that serves the request (RunOn): real calls, and nothing that belongs
 * to libst. */
static apr_status_t receive_there(const source_t *source, char *buffer, apr_size_t *size)
{
    ssize_t n;

    do
        n = recv(source->fd, buffer, *size, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n == 0 ? APR_EOF : errno;
    *size = (apr_size_t)n;
    if (source->client)
        stm_kernel_received(*size);
    return APR_SUCCESS;
}

static apr_status_t wait_there(const source_t *source, apr_interval_time_t timeout)
{
    apr_time_t until = stm_monotonic() + timeout;
    struct pollfd poll_fd = {.fd = source->fd, .events = POLLIN | POLLRDHUP};
    int ready;

    do {
        apr_interval_time_t left = timeout < 0 ? -1 : until - stm_monotonic();

        ready = poll(&poll_fd, 1, timeout < 0 ? -1 : left > 0 ? (int)((left + 999) / 1000) : 0);
    } while (ready < 0 && errno == EINTR);
    if (ready > 0)
        return APR_SUCCESS;
    return ready == 0 ? APR_TIMEUP : errno;
}

static apr_status_t take_there(const source_t *source, char **buffer, apr_size_t *size,
                               apr_interval_time_t timeout)
{
    apr_status_t rv;

    if (!(*buffer = malloc(APR_BUCKET_BUFF_SIZE)))
        return APR_ENOMEM;
    do {
        *size = APR_BUCKET_BUFF_SIZE;
        rv = receive_there(source, *buffer, size);
    } while (rv == APR_EAGAIN && timeout != 0 && (rv = wait_there(source, timeout)) == APR_SUCCESS);
    if (rv != APR_SUCCESS)
        free(*buffer);
    return rv;
}

/* The buffer for the next read; NULL if the last one was given away. */
static char *spare;

/* Returns a buffer with what is there, to be freed by free(). */
static apr_status_t take(const source_t *source, char **buffer, apr_size_t *size)
{
    apr_status_t rv;

    if (!spare && !(spare = malloc(APR_BUCKET_BUFF_SIZE)))
        return APR_ENOMEM;
    *size = APR_BUCKET_BUFF_SIZE;
    rv = receive(source, spare, size);
    if (rv != APR_SUCCESS)
        return rv;
    if (*size <= SMALL_READ && (*buffer = malloc(*size))) {
        memcpy(*buffer, spare, *size);
    } else {
        *buffer = spare;
        spare = NULL;
    }
    return APR_SUCCESS;
}

bool stm_network_receive_early(stm_conn_t *conn)
{
    const source_t source = {.fd = conn->fd, .client = conn};
    apr_size_t size = APR_BUCKET_BUFF_SIZE;
    apr_status_t rv;

    if (!spare && !(spare = malloc(APR_BUCKET_BUFF_SIZE)))
        return true; /* which the reader will find out, too */
    rv = receive(&source, spare, &size);
    if (rv == APR_SUCCESS && (conn->early = malloc(sizeof(*conn->early) + size))) {
        conn->early->size = size;
        memcpy(conn->early->bytes, spare, size);
    } else if (rv == APR_SUCCESS) {
        shutdown(conn->fd, SHUT_RDWR); /* no memory: it cannot be served */
    }
    return rv != APR_EAGAIN;
}

/* Gives what was received early to the reader. */
static void hand_over(apr_bucket *bucket, source_t *source, const char **data, apr_size_t *length)
{
    apr_bucket_alloc_t *list = bucket->list;
    stm_early_t *early = source->client->early;

    source->client->early = NULL;
    *data = early->bytes;
    *length = early->size;
    bucket = apr_bucket_heap_make(bucket, (char *)early, sizeof(*early) + early->size, free);
    bucket->start = sizeof(*early);
    bucket->length = *length;
    APR_BUCKET_INSERT_AFTER(bucket, network_bucket(source, list));
}

static apr_status_t take_or_wait(const source_t *source, char **buffer, apr_size_t *size,
                                 apr_read_type_e block)
{
    apr_interval_time_t timeout = 0;
    apr_status_t rv;

    if (block == APR_BLOCK_READ)
        apr_socket_timeout_get(source->socket, &timeout);
    if (stiol_is_carried())
        return take_there(source, buffer, size, timeout);
    /* If nobody will wait, what epoll has not reported yet matters, too: has the backend closed? */
    if (is_ready(source) || (timeout == 0 && !source->client))
        rv = take(source, buffer, size);
    else
        rv = APR_EAGAIN;
    while (rv == APR_EAGAIN && timeout != 0) {
        rv = wait_until_ready(source, timeout);
        if (rv == APR_SUCCESS)
            rv = take(source, buffer, size);
    }
    return rv;
}

static apr_status_t network_read(apr_bucket *bucket, const char **data, apr_size_t *length,
                                 apr_read_type_e block)
{
    source_t *source = bucket->data;
    apr_bucket_alloc_t *list = bucket->list;
    apr_size_t size;
    char *buffer = NULL;
    apr_status_t rv;

    if (source->client && source->client->early) {
        hand_over(bucket, source, data, length);
        return APR_SUCCESS;
    }
    rv = take_or_wait(source, &buffer, &size, block);
    *data = NULL;
    *length = 0;
    if (rv == APR_EOF) {
        bucket = apr_bucket_immortal_make(bucket, "", 0);
        *data = bucket->data;
        return APR_SUCCESS;
    }
    if (rv != APR_SUCCESS)
        return rv;
    bucket = apr_bucket_heap_make(bucket, buffer, size, free);
    *data = buffer;
    *length = size;
    APR_BUCKET_INSERT_AFTER(bucket, network_bucket(source, list));
    return APR_SUCCESS;
}

/* A socket that a module has opened may be ours only if STIOL sees it being closed and a state
 * thread reads from it. */
static bool may_be_ours(void)
{
    return stm_config.threaded_io && stm.vp.scheduler && st_vp_self() == stm.vp.scheduler;
}

/* Our clients' sockets, and those of connections to backends. */
int stm_insert_network_bucket(conn_rec *c, apr_bucket_brigade *bb, apr_socket_t *socket)
{
    stm_conn_t *conn = stm_conn_of(c);
    source_t *source;

    if (conn ? conn->socket != socket : !may_be_ours())
        return AP_DECLINED;
    source = apr_palloc(c->pool, sizeof(*source));
    source->socket = socket;
    source->client = conn;
    if (apr_os_sock_get(&source->fd, socket) != APR_SUCCESS)
        return AP_DECLINED;
    if (!conn) /* which may have been made where libst does not see it */
        st_fd_renew(source->fd);
    APR_BRIGADE_INSERT_TAIL(bb, network_bucket(source, c->bucket_alloc));
    return APR_SUCCESS;
}
