/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which idle connections may give up their conn_rec without any module seeing it: only if every
 * module of the server is known, and has left nothing in the connection that the next
 * pre_connection and process_connection hooks would not recreate. Called by idle.c;
 * docs/internals/idle.md says what was found in each module.
 */
#include <apr_tables.h>
#include <util_filter.h>

#include "mpm/conn/conn.h"

/*
 * Modules of httpd whose source was reviewed for what they keep of a connection between requests.
 * Not mod_lua: its virtual machines can live in the connection's pool (LuaScope conn).
 */
static const char *const known[] = {
    "core.c",
    "http_core.c",
    "mod_access_compat.c",
    "mod_actions.c",
    "mod_alias.c",
    "mod_allowmethods.c",
    "mod_asis.c",
    "mod_auth_basic.c",
    "mod_auth_digest.c",
    "mod_auth_form.c",
    "mod_authn_anon.c",
    "mod_authn_core.c",
    "mod_authn_dbd.c",
    "mod_authn_dbm.c",
    "mod_authn_file.c",
    "mod_authn_socache.c",
    "mod_authnz_fcgi.c",
    "mod_authnz_ldap.c",
    "mod_authz_core.c",
    "mod_authz_dbd.c",
    "mod_authz_dbm.c",
    "mod_authz_groupfile.c",
    "mod_authz_host.c",
    "mod_authz_owner.c",
    "mod_authz_user.c",
    "mod_autoindex.c",
    "mod_brotli.c",
    "mod_bucketeer.c",
    "mod_buffer.c",
    "mod_cache.c",
    "mod_cache_disk.c",
    "mod_cache_socache.c",
    "mod_case_filter.c",
    "mod_case_filter_in.c",
    "mod_cern_meta.c",
    "mod_cgi.c",
    "mod_cgid.c",
    "mod_charset_lite.c",
    "mod_data.c",
    "mod_dav.c",
    "mod_dav_fs.c",
    "mod_dav_lock.c",
    "mod_dbd.c",
    "mod_deflate.c",
    "mod_dialup.c",
    "mod_dir.c",
    "mod_dumpio.c",
    "mod_echo.c",
    "mod_env.c",
    "mod_expires.c",
    "mod_ext_filter.c",
    "mod_file_cache.c",
    "mod_filter.c",
    "mod_headers.c",
    "mod_heartbeat.c",
    "mod_heartmonitor.c",
    "mod_http2.c",
    "mod_ident.c",
    "mod_imagemap.c",
    "mod_include.c",
    "mod_info.c",
    "mod_lbmethod_bybusyness.c",
    "mod_lbmethod_byrequests.c",
    "mod_lbmethod_bytraffic.c",
    "mod_lbmethod_heartbeat.c",
    "mod_log_config.c",
    "mod_log_debug.c",
    "mod_log_forensic.c",
    "mod_logio.c",
    "mod_macro.c",
    "mod_md.c",
    "mod_mime.c",
    "mod_mime_magic.c",
    "mod_negotiation.c",
    "mod_proxy.c",
    "mod_proxy_ajp.c",
    "mod_proxy_balancer.c",
    "mod_proxy_connect.c",
    "mod_proxy_express.c",
    "mod_proxy_fcgi.c",
    "mod_proxy_fdpass.c",
    "mod_proxy_ftp.c",
    "mod_proxy_hcheck.c",
    "mod_proxy_html.c",
    "mod_proxy_http.c",
    "mod_proxy_http2.c",
    "mod_proxy_scgi.c",
    "mod_proxy_uwsgi.c",
    "mod_proxy_wstunnel.c",
    "mod_ratelimit.c",
    "mod_reflector.c",
    "mod_remoteip.c",
    "mod_reqtimeout.c",
    "mod_request.c",
    "mod_rewrite.c",
    "mod_sed.c",
    "mod_session.c",
    "mod_session_cookie.c",
    "mod_session_crypto.c",
    "mod_session_dbd.c",
    "mod_setenvif.c",
    "mod_slotmem_plain.c",
    "mod_slotmem_shm.c",
    "mod_so.c",
    "mod_socache_dbm.c",
    "mod_socache_dc.c",
    "mod_socache_memcache.c",
    "mod_socache_redis.c",
    "mod_socache_shmcb.c",
    "mod_speling.c",
    "mod_ssl.c",
    "mod_status.c",
    "mod_substitute.c",
    "mod_suexec.c",
    "mod_systemd.c",
    "mod_unique_id.c",
    "mod_unixd.c",
    "mod_userdir.c",
    "mod_usertrack.c",
    "mod_version.c",
    "mod_vhost_alias.c",
    "mod_watchdog.c",
    "mod_xml2enc.c",
    "util_ldap.c",
};

/* Modules whose hooks recreate their part of the connection's configuration. */
static const char *const renewed[] = {"mod_logio.c", "mod_reqtimeout.c"};

/* Filters that hold nothing back between requests, once the core says that no data is left. */
static const char *const quiet_input[] = {"CORE_IN", "LOG_INPUT_OUTPUT", "REQTIMEOUT", "DUMPIO_IN"};
static const char *const quiet_output[] = {"CORE", "REQTIMEOUT", "DUMPIO_OUT"};

/* What else is used only when the connection is served, so that it may rest: modules' parts of its
 * configuration, and filters. */
static const char *const served[] = {"mod_http2.c", "mod_ssl.c"};
static const char *const served_input[] = {"SSL/TLS Filter"};
static const char *const served_output[] = {"SSL/TLS Filter", "SSL/TLS Coalescing Filter",
                                            "STM_TLS_RECORD"};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static bool possible;
/* Modules that must have nothing in the connection's configuration; NULL ends them. */
static const module **forgetful;
/* The quiet ones, then the others. */
static const ap_filter_rec_t *input_filters[COUNT(quiet_input) + COUNT(served_input)],
    *output_filters[COUNT(quiet_output) + COUNT(served_output)];

/* --- once the configuration is read --- */

static bool is_in(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, list[i]) == 0)
            return true;
    }
    return false;
}

static bool makes_it_again(const module *m)
{
    return m->module_index == AP_CORE_MODULE_INDEX || m == &mpm_stm_module ||
           is_in(m->name, renewed, COUNT(renewed));
}

/* The first unknown module; NULL if all are known. */
static const module *stranger(void)
{
    for (const module *m = ap_top_module; m; m = m->next) {
        if (m != &mpm_stm_module && !is_in(m->name, known, COUNT(known)))
            return m;
    }
    return NULL;
}

static void list_forgetful(apr_pool_t *pool)
{
    size_t count = 0;

    for (const module *m = ap_top_module; m; m = m->next)
        count++;
    forgetful = apr_pcalloc(pool, (count + 1) * sizeof(*forgetful));
    count = 0;
    for (const module *m = ap_top_module; m; m = m->next) {
        if (!makes_it_again(m))
            forgetful[count++] = m;
    }
}

static void find_filters(ap_filter_rec_t *find(const char *name), const ap_filter_rec_t **filters,
                         const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        filters[i] = find(names[i]);
}

void stm_modules_configure(apr_pool_t *pconf, server_rec *s)
{
    const module *unknown = stranger();

    find_filters(ap_get_input_filter_handle, input_filters, quiet_input, COUNT(quiet_input));
    find_filters(ap_get_input_filter_handle, input_filters + COUNT(quiet_input), served_input,
                 COUNT(served_input));
    find_filters(ap_get_output_filter_handle, output_filters, quiet_output, COUNT(quiet_output));
    find_filters(ap_get_output_filter_handle, output_filters + COUNT(quiet_output), served_output,
                 COUNT(served_output));
    possible = !unknown;
    if (unknown) {
        ap_log_error(
            APLOG_MARK, APLOG_INFO, 0, s,
            STMNO(0020) "idle connections keep all of their memory, because %s may have state in "
                        "them",
            unknown->name);
        return;
    }
    list_forgetful(pconf);
}

bool stm_modules_are_known(void)
{
    return possible;
}

/* --- a connection --- */

static bool all_quiet(const ap_filter_t *filter, const ap_filter_rec_t *const *quiet, size_t count)
{
    for (; filter; filter = filter->next) {
        size_t i = 0;

        while (i < count && quiet[i] != filter->frec)
            i++;
        if (i == count)
            return false;
    }
    return true;
}

/* Whether no forgetful module has anything in the connection's configuration; the first `count` of
 * `served` may. */
static bool nothing_configured(const conn_rec *c, size_t count)
{
    for (const module **m = forgetful; *m; m++) {
        if (ap_get_module_config(c->conn_config, *m) && !is_in((*m)->name, served, count))
            return false;
    }
    return true;
}

/* Whether it is idle, and still as the MPM and the core have made it. */
static bool is_idle(const stm_conn_t *conn)
{
    const conn_rec *c = conn->c;

    return conn->suspended && !conn->request && conn->cs.state == CONN_STATE_KEEPALIVE &&
           c->cs == &conn->cs && !c->aborted && !c->master &&
           ap_get_core_module_config(c->conn_config) == conn->socket;
}

static bool between_requests(const conn_rec *c)
{
    return c->keepalive == AP_CONN_KEEPALIVE && c->keepalives > 0 && !c->data_in_input_filters &&
           !c->data_in_output_filters && !c->clogging_input_filters;
}

/* Whether neither a look-up nor a module has put anything there. */
static bool nothing_noted(const conn_rec *c)
{
    return !c->log && !c->remote_host && !c->remote_logname && !c->local_host &&
           !c->double_reverse && apr_is_empty_table(c->notes);
}

bool stm_output_is_quiet(const conn_rec *c)
{
    return all_quiet(c->output_filters, output_filters, COUNT(quiet_output));
}

bool stm_may_sleep(const stm_conn_t *conn)
{
    const conn_rec *c = conn->c;

    return is_idle(conn) && between_requests(c) && nothing_noted(c) && nothing_configured(c, 0) &&
           all_quiet(c->input_filters, input_filters, COUNT(quiet_input)) && stm_output_is_quiet(c);
}

bool stm_may_rest(const stm_conn_t *conn)
{
    const conn_rec *c = conn->c;

    return is_idle(conn) && nothing_configured(c, COUNT(served)) &&
           all_quiet(c->input_filters, input_filters, COUNT(input_filters)) &&
           all_quiet(c->output_filters, output_filters, COUNT(output_filters));
}
