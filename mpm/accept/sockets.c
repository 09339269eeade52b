/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets in the master: opened through httpd's own code (which keeps them over
 * restarts), and for VPListen the record of which VP listens to which.
 */
#include <apr_network_io.h>
#include <apr_strings.h>

#include "mpm/stm.h"

int stm_listen_count(void)
{
    STM_ENTER();
    int count = 0;

    for (const ap_listen_rec *lr = ap_listeners; lr; lr = lr->next)
        count++;
    return count;
}

static struct stm_vp_listen *binding_of(const ap_listen_rec *lr)
{
    for (int i = 0; i < stm.config.addresses; i++) {
        if (stm.config.vp_listen[i].lr == lr)
            return &stm.config.vp_listen[i];
    }
    return NULL;
}

static ap_listen_rec *find_listener(const char *host, apr_port_t port)
{
    for (ap_listen_rec *lr = ap_listeners; lr; lr = lr->next) {
        const apr_sockaddr_t *address = lr->bind_addr;

        if (address && address->port == port && address->hostname &&
            strcmp(address->hostname, host) == 0)
            return lr;
    }
    return NULL;
}

/** VPListen: adds one address, in the form IP-address:port or [IPv6-address]:port. NULL, or the
 * error. */
const char *stm_vp_listen_add(cmd_parms *cmd, int ordinal, const char *address)
{
    STM_ENTER();
    char *host, *scope, *argv[1];
    apr_port_t port;
    struct stm_vp_listen *binding;
    ap_listen_rec *lr;

    if (apr_parse_addr_port(&host, &scope, &port, address, cmd->pool) != APR_SUCCESS || !host ||
        !port || strcmp(host, "*") == 0)
        return apr_psprintf(
            cmd->pool, "VPListen: %s is not an IP-address:port (IPv6: [address]:port)", address);

    lr = find_listener(host, port);
    if (!lr) {
        const char *error;

        if (stm.config.addresses == STM_LISTENER_LIMIT)
            return apr_psprintf(cmd->pool,
                                "VPListen: %s is one more than STM_LISTENER_LIMIT (%d) addresses",
                                address, STM_LISTENER_LIMIT);
        argv[0] = apr_pstrdup(cmd->pool, address);
        error = ap_set_listener(cmd, NULL, 1, argv);
        if (error)
            return apr_psprintf(cmd->pool, "VPListen: %s: %s", address, error);
        lr = find_listener(host, port);
        if (!lr)
            return apr_psprintf(cmd->pool, "VPListen: %s: cannot listen to this address", address);
    }
    binding = binding_of(lr);
    if (!binding) {
        binding = &stm.config.vp_listen[stm.config.addresses++];
        binding->address = address;
        binding->lr = lr;
    }
    binding->vps[ordinal / 64] |= 1ULL << (ordinal % 64);
    return NULL;
}

/** Whether that VP listens to the socket. */
bool stm_listens_here(const ap_listen_rec *lr, int ordinal)
{
    STM_ENTER();
    const struct stm_vp_listen *binding = binding_of(lr);

    if (!binding || stm.one_process)
        return true;
    return (binding->vps[ordinal / 64] >> (ordinal % 64)) & 1;
}

/** Whether several VPs listen to the socket: then they take turns in accepting. */
bool stm_listen_is_shared(const ap_listen_rec *lr)
{
    STM_ENTER();
    int count = 0;

    for (int vp = 0; vp < stm.config.num_vps; vp++)
        count += stm_listens_here(lr, vp);
    return count > 1;
}

/** In a VP: sockets that only other VPs listen to are closed, so that ss shows who listens to what.
 */
void stm_listen_close_foreign(int ordinal)
{
    STM_ENTER();
    for (ap_listen_rec *lr = ap_listeners; lr; lr = lr->next) {
        if (!stm_listens_here(lr, ordinal)) {
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
                         "stm: cannot make the listening socket %pI nonblocking", lr->bind_addr);
            return false;
        }
    }
    return true;
}

int stm_open_logs(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    STM_ENTER();
    (void)p;
    (void)plog;
    (void)ptemp;
    if (ap_setup_listeners(ap_server_conf) < 1) {
        ap_log_error(APLOG_MARK, APLOG_ALERT | stm_startup_flag(), 0, stm_startup_flag() ? NULL : s,
                     "no listening sockets available, shutting down");
        return !OK;
    }
    return make_nonblocking(s) ? OK : !OK;
}
