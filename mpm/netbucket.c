/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bucket that stands for a client's socket in httpd's core input filter. It reads with recv,
 * parks the state thread where nothing has come, and needs no system call to learn that nothing is
 * there: the readiness bit says so.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <apr_portable.h>

#include "score.h"
#include "stm.h"

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

static apr_bucket *network_bucket(stm_conn_t *conn, apr_bucket_alloc_t *list)
{
    apr_bucket *bucket = apr_bucket_alloc(sizeof *bucket, list);

    APR_BUCKET_INIT(bucket);
    bucket->free = apr_bucket_free;
    bucket->list = list;
    bucket->type = &network_type;
    bucket->length = (apr_size_t)-1;
    bucket->start = 0;
    bucket->data = conn;
    return bucket;
}

static apr_status_t wait_for_client(const stm_conn_t *conn, apr_interval_time_t timeout)
{
    st_utime_t limit = timeout < 0 ? ST_UTIME_NO_TIMEOUT : (st_utime_t)timeout;

    if (st_fd_wait(conn->fd, POLLIN | POLLRDHUP, limit) > 0)
        return APR_SUCCESS;
    if (errno == ETIME)
        return APR_TIMEUP;
    return errno == EINTR ? APR_ECONNABORTED : errno;
}

/* Reads what is there. APR_EAGAIN: nothing is. */
static apr_status_t receive_now(const stm_conn_t *conn, char *buffer, apr_size_t *size)
{
    ssize_t n;

    if (!(st_fd_ready(conn->fd) & (POLLIN | POLLRDHUP | POLLHUP | POLLERR)))
        return APR_EAGAIN;
    do
        n = recv(conn->fd, buffer, *size, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        if ((apr_size_t)n < *size)
            st_fd_drained(conn->fd, POLLIN);
        *size = (apr_size_t)n;
        STM_SCORE_ADD(stm_score, received_bytes, n);
        return APR_SUCCESS;
    }
    if (n == 0)
        return APR_EOF;
    if (errno != EAGAIN)
        return errno;
    st_fd_again(conn->fd, POLLIN | POLLRDHUP);
    return APR_EAGAIN;
}

static apr_status_t receive(const stm_conn_t *conn, char *buffer, apr_size_t *size,
                            apr_read_type_e block)
{
    apr_interval_time_t timeout = 0;
    apr_status_t rv;

    if (block == APR_BLOCK_READ)
        apr_socket_timeout_get(conn->socket, &timeout);
    while ((rv = receive_now(conn, buffer, size)) == APR_EAGAIN && timeout != 0) {
        /* Its first byte never came: what would have waited for it has waited. */
        if (conn->timed_out)
            return APR_TIMEUP;
        rv = wait_for_client(conn, timeout);
        if (rv != APR_SUCCESS)
            return rv;
    }
    return rv;
}

static apr_status_t network_read(apr_bucket *bucket, const char **data, apr_size_t *length,
                                 apr_read_type_e block)
{
    stm_conn_t *conn = bucket->data;
    apr_bucket_alloc_t *list = bucket->list;
    apr_size_t size = APR_BUCKET_BUFF_SIZE;
    char *buffer = apr_bucket_alloc(size, list);
    apr_status_t rv = receive(conn, buffer, &size, block);

    *data = NULL;
    *length = 0;
    if (rv != APR_SUCCESS) {
        apr_bucket_free(buffer);
        if (rv != APR_EOF)
            return rv;
        bucket = apr_bucket_immortal_make(bucket, "", 0);
        *data = bucket->data;
        return APR_SUCCESS;
    }
    bucket = apr_bucket_heap_make(bucket, buffer, size, apr_bucket_free);
    ((apr_bucket_heap *)bucket->data)->alloc_len = APR_BUCKET_BUFF_SIZE;
    *data = buffer;
    *length = size;
    APR_BUCKET_INSERT_AFTER(bucket, network_bucket(conn, list));
    return APR_SUCCESS;
}

/** Hook: only our own clients' sockets; those that modules open to others are read as ever. */
int stm_insert_network_bucket(conn_rec *c, apr_bucket_brigade *bb, apr_socket_t *socket)
{
    STM_ENTER();
    stm_conn_t *conn = stm_conn_of(c);

    if (!conn || conn->socket != socket)
        return AP_DECLINED;
    APR_BRIGADE_INSERT_TAIL(bb, network_bucket(conn, c->bucket_alloc));
    return APR_SUCCESS;
}
