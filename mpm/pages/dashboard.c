/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SetHandler stm-dashboard: one page, dashboard.html, which is part of this object, and the figures
 * that it fetches from the same address with ?json. Nothing else is loaded, and a header tells the
 * browser so.
 */
#include <http_protocol.h>
#include <util_script.h>

#include "mpm/pages/pages.h"
#include "score/view.h"

#define NONCE_MARK "@NONCE@"

/* clang-format off */
__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        "stm_dashboard_page: .incbin \"mpm/pages/dashboard.html\"\n"
        ".byte 0\n"
        ".popsection\n");
/* clang-format on */
extern const char stm_dashboard_page[] __attribute__((visibility("hidden")));

/* Only scripts and styles that carry this response's nonce are allowed. */
static const char *make_nonce(request_rec *r)
{
    unsigned char bytes[16];
    char *text = apr_palloc(r->pool, sizeof(bytes) * 2 + 1);

    ap_random_insecure_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        apr_snprintf(text + i * 2, 3, "%02x", bytes[i]);
    return text;
}

static void put_page(request_rec *r, const char *nonce)
{
    const char *at = stm_dashboard_page, *mark;

    while ((mark = strstr(at, NONCE_MARK))) {
        ap_rwrite(at, (int)(mark - at), r);
        ap_rputs(nonce, r);
        at = mark + sizeof(NONCE_MARK) - 1;
    }
    ap_rputs(at, r);
}

static int page(request_rec *r)
{
    const char *nonce = make_nonce(r);
    int status;

    apr_table_setn(r->headers_out, "Content-Security-Policy",
                   apr_psprintf(r->pool,
                                "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; "
                                "img-src data:; connect-src 'self'; base-uri 'none'; "
                                "form-action 'none'; frame-ancestors 'none'",
                                nonce, nonce));
    apr_table_setn(r->headers_out, "Referrer-Policy", "no-referrer");
    if (stm_page_begin(r, "text/html; charset=utf-8", &status))
        put_page(r, nonce);
    return status;
}

static int figures(request_rec *r)
{
    const stm_view_t *views;
    stm_text_t text;
    int count, status;

    if (stm_page_begin(r, "application/json", &status)) {
        stm_page_text(r, &text);
        views = stm_page_views(r, 0, &count);
        stm_text_json(&text, views, count, (uint64_t)apr_time_now());
    }
    return status;
}

static __attribute__((noinline)) int dashboard(request_rec *r)
{
    if (r->args && strcmp(r->args, "json") == 0)
        return figures(r);
    return r->args && strcmp(r->args, "about") == 0 ? stm_about(r) : page(r);
}

static int dashboard_handler(request_rec *r)
{
    return stm_page_is(r, "stm-dashboard") ? dashboard(r) : DECLINED;
}

void stm_dashboard_register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_handler(dashboard_handler, NULL, NULL, APR_HOOK_MIDDLE);
}
