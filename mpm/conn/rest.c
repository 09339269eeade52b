/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idle connections that must stay whole, with TLS or HTTP/2, rest: what they hold is packed
 * (aprmem/rest.c), and unpacked before anything happens to the connection. With them rest the
 * largest objects of OpenSSL and nghttp2, which come from malloc(): the functions that make them
 * are replaced in mod_ssl and mod_http2, and malloc() in the libraries. idle.c decides when;
 * docs/internals/idle.md says why nobody notices.
 */
#include <dlfcn.h>
#include <string.h>

#include "aprmem/aprmem.h"
#include "mpm/conn/conn.h"
#include "mpm/scoreboard/scoreboard.h"
#include "stiol/stiol.h"

/* mod_http2's own pool below the connection's: only the connection's thread uses what is in it, but
 * other threads use pools further down. */
#define SESSION "h2_session"

/* --- guests --- */

/* As far as they are called here. */
typedef void *make_ssl_t(void *context);
typedef int make_session_t(void **session, const void *callbacks, void *data, const void *option);

static make_ssl_t *make_ssl;
static make_session_t *make_session;

/* In mod_ssl, instead of SSL_new(). mod_proxy's connections to backends have one, too. */
static void *new_ssl(void *context)
{
    const stm_conn_t *conn = stm_worker_conn();
    void *ssl;

    if (!conn || !conn->beginning)
        return make_ssl(context);
    aprmem_invite();
    ssl = make_ssl(context);
    aprmem_invited(conn->pool, ssl);
    return ssl;
}

/* In mod_http2, instead of nghttp2_session_server_new2(). */
static int new_session(void **session, const void *callbacks, void *data, const void *option)
{
    const stm_conn_t *conn = stm_worker_conn();
    int rc;

    if (!conn || !conn->c)
        return make_session(session, callbacks, data, option);
    aprmem_invite();
    rc = make_session(session, callbacks, data, option);
    aprmem_invited(conn->pool, NULL);
    return rc;
}

/* The file name of the object that has the function. */
static const char *object_of(void *function)
{
    Dl_info info;
    const char *slash;

    if (!function || dladdr(function, &info) == 0 || !info.dli_fname)
        return "";
    slash = strrchr(info.dli_fname, '/');
    return slash ? slash + 1 : info.dli_fname;
}

static void replace(const char *allocating)
{
    const stiol_extra_t calls[] = {
        {"SSL_new", (void *)make_ssl, (void *)new_ssl, "mod_ssl.so"},
        {"nghttp2_session_server_new2", (void *)make_session, (void *)new_session, "mod_http2.so"},
        {"malloc", dlsym(RTLD_DEFAULT, "malloc"), (void *)aprmem_malloc, allocating},
        {"calloc", dlsym(RTLD_DEFAULT, "calloc"), (void *)aprmem_calloc, allocating},
        {"realloc", dlsym(RTLD_DEFAULT, "realloc"), (void *)aprmem_realloc, allocating},
        {"free", dlsym(RTLD_DEFAULT, "free"), (void *)aprmem_free, allocating},
    };

    (void)stiol_add_calls(calls, sizeof(calls) / sizeof(*calls));
}

void stm_rest_prepare(apr_pool_t *pool)
{
    void *ssl = dlsym(RTLD_DEFAULT, "SSL_new");
    void *session = dlsym(RTLD_DEFAULT, "nghttp2_session_server_new2");

    if (!stm_modules_are_known() || (!ssl && !session))
        return;
    make_ssl = (make_ssl_t *)ssl;
    make_session = (make_session_t *)session;
    replace(apr_pstrcat(pool, object_of(dlsym(RTLD_DEFAULT, "CRYPTO_malloc")), " ",
                        object_of(session), NULL));
}

/* --- connections --- */

bool stm_rest_begin(stm_conn_t *conn)
{
    bool plain = stm_speaks_http1(conn->c);

    /* Of HTTP/2's, threads of streams that have been reset may still read the conn_rec, and ask
     * mod_ssl about the SSL. */
    if (!aprmem_rest(conn->pool, plain, SESSION))
        return false;
    conn->resting = true;
    conn->rests_plain = plain;
    STM_SCORE_INC(stm_score, conns_resting);
    STM_SCORE_INC(stm_score, rests);
    return true;
}

void stm_rest_end(stm_conn_t *conn)
{
    if (!conn->resting)
        return;
    aprmem_rouse(conn->pool, SESSION);
    conn->resting = false;
    STM_SCORE_ADD(stm_score, conns_resting, -1);
    stm_sleep_watch(conn);
}
