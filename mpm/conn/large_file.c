/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large files are sent by sendfile(), which copies nothing, where that is safe and the
 * configuration says nothing about it. Where it says anything, that is done. The choice is made for
 * each request, as if the file's directory had EnableSendfile On.
 */
#include <http_core.h>
#include <http_ssl.h>

#include "mpm/conn/conn.h"
#include "stiol/server.h"
#include "stiol/stiol.h"

static ap_conf_vector_t *sendfile_on; /* a section with EnableSendfile On and nothing else */

/* core.c makes its structure, which may have grown since this module was built. */
int stm_large_file_begin(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    core_dir_config *section = core_module.create_dir_config(pconf, NULL);

    (void)plog, (void)ptemp, (void)s;
    section->enable_sendfile = ENABLE_SENDFILE_ON;
    sendfile_on = ap_create_request_config(pconf); /* an empty vector */
    ap_set_core_module_config(sendfile_on, section);
    return OK;
}

static bool is_large_file(const request_rec *r)
{
    return r->finfo.filetype == APR_REG && r->finfo.size > STM_SMALL_FILE &&
           (r->finfo.valid & APR_FINFO_DEV) != 0;
}

/* EnableMMAP, too, says how files are to be delivered. */
static bool is_left_to_us(const request_rec *r)
{
    const core_dir_config *said = ap_get_core_module_config(r->per_dir_config);

    return said->enable_sendfile == ENABLE_SENDFILE_UNSET && said->enable_mmap == ENABLE_MMAP_UNSET;
}

/* TLS and HTTP/2 read what they send. A kernel thread must not touch STIOL's table, and waits
 * anyway. */
void stm_large_file(request_rec *r)
{
    if (!is_large_file(r) || r->connection->master || !is_left_to_us(r) || stiol_is_carried() ||
        ap_ssl_conn_is_ssl(r->connection) || !stiol_is_local(r->filename, r->finfo.device))
        return;
    r->per_dir_config = ap_merge_per_dir_configs(r->pool, r->per_dir_config, sendfile_on);
}
