/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which VP listens to what: httpd's list of listening sockets and, for VPListen, the VPs of each.
 * Called by directives.c and config.c, and by all that open or close sockets.
 */
#include <apr_network_io.h>
#include <apr_strings.h>

#include "mpm/config/config.h"

int stm_listens_count(void)
{
    int count = 0;

    for (const ap_listen_rec *lr = ap_listeners; lr; lr = lr->next)
        count++;
    return count;
}

static struct stm_vp_listen *binding_of(const ap_listen_rec *lr)
{
    for (int i = 0; i < stm_config.addresses; i++) {
        if (stm_config.vp_listen[i].lr == lr)
            return &stm_config.vp_listen[i];
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

const char *stm_listens_add(cmd_parms *cmd, int ordinal, const char *address)
{
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

        if (stm_config.addresses == STM_LISTENER_LIMIT)
            return apr_psprintf(cmd->pool,
                                "VPListen: %s is one more than STM_LISTENER_LIMIT (%d) addresses",
                                address, STM_LISTENER_LIMIT);
        argv[0] = apr_pstrdup(cmd->pool, address);
        error = ap_set_listener(cmd, NULL, 1, argv);
        if (error)
            return apr_psprintf(cmd->pool, "VPListen: %s: %s", address, error);
        lr = find_listener(host, port);
        if (!lr)
            return apr_psprintf(cmd->pool, "VPListen: %s: cannot listen on this address", address);
    }
    binding = binding_of(lr);
    if (!binding) {
        binding = &stm_config.vp_listen[stm_config.addresses++];
        binding->address = address;
        binding->lr = lr;
    }
    binding->vps[ordinal / 64] |= 1ULL << (ordinal % 64);
    return NULL;
}

bool stm_listens_to(const ap_listen_rec *lr, int ordinal)
{
    const struct stm_vp_listen *binding = binding_of(lr);

    if (!binding || stm.one_process)
        return true;
    return (binding->vps[ordinal / 64] >> (ordinal % 64)) & 1;
}

bool stm_listens_shared(const ap_listen_rec *lr)
{
    int count = 0;

    for (int vp = 0; vp < stm_config.num_vps; vp++)
        count += stm_listens_to(lr, vp);
    return count > 1;
}
