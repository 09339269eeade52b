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

/* Doubles the room, since a pool cannot free what it has allocated. */
static struct stm_vp_listen *new_binding(apr_pool_t *pool)
{
    stm_config_t *config = &stm_config;

    if (config->addresses == config->addresses_room) {
        size_t size = sizeof(*config->vp_listen) * (size_t)config->addresses;
        struct stm_vp_listen *old = config->vp_listen;

        config->addresses_room = old ? config->addresses_room * 2 : 8;
        config->vp_listen = apr_pcalloc(pool, sizeof(*old) * (size_t)config->addresses_room);
        if (old)
            memcpy(config->vp_listen, old, size);
    }
    return &config->vp_listen[config->addresses++];
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
        binding = new_binding(cmd->pool);
        binding->address = address;
        binding->lr = lr;
    }
    binding->vps[ordinal / 64] |= 1ULL << (ordinal % 64);
    return NULL;
}

static bool is_bound_to(const struct stm_vp_listen *binding, int ordinal)
{
    return (binding->vps[ordinal / 64] >> (ordinal % 64)) & 1;
}

bool stm_listens_to(const ap_listen_rec *lr, int ordinal)
{
    const struct stm_vp_listen *binding = stm.one_process ? NULL : binding_of(lr);

    return !binding || is_bound_to(binding, ordinal);
}

bool stm_listens_shared(const ap_listen_rec *lr)
{
    const struct stm_vp_listen *binding = stm.one_process ? NULL : binding_of(lr);
    int count = 0;

    for (int vp = 0; vp < stm_config.num_vps; vp++)
        count += !binding || is_bound_to(binding, vp);
    return count > 1;
}
