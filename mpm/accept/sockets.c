/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening sockets themselves: opened in the master through httpd's own code (which keeps them
 * over restarts), closed in VPs that do not listen to them, and queried for their queues.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <apr_network_io.h>

#include "mpm/accept/accept.h"
#include "mpm/config/config.h"

void stm_sockets_close_others(int ordinal)
{
    for (ap_listen_rec *lr = ap_listeners; lr; lr = lr->next) {
        if (!stm_listens_to(lr, ordinal)) {
            apr_socket_close(lr->sd);
            lr->active = 0;
        }
    }
}

/* A VP must never wait in accept: several may be woken for one connection. */
static bool make_nonblocking(server_rec *s)
{
    for (ap_listen_rec *lr = ap_listeners; lr; lr = lr->next) {
        apr_status_t rv = apr_socket_opt_set(lr->sd, APR_SO_NONBLOCK, 1);

        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                         STMNO(0024) "cannot make the listening socket %pI nonblocking",
                         lr->bind_addr);
            return false;
        }
    }
    return true;
}

int stm_sockets_open(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)p;
    (void)plog;
    (void)ptemp;
    if (ap_setup_listeners(ap_server_conf) < 1) {
        ap_log_error(APLOG_MARK, APLOG_ALERT | stm.startup, 0, stm.startup ? NULL : s,
                     STMNO(0025) "no listening sockets available, shutting down");
        return !OK;
    }
    return make_nonblocking(s) ? OK : !OK;
}

/* For a listening socket, Linux reports the queue's length and its limit in these two fields. */
bool stm_sockets_queue(int fd, unsigned *length, unsigned *limit)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return false;
    *length = info.tcpi_unacked;
    *limit = info.tcpi_sacked;
    return true;
}
