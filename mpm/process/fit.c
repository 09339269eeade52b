/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether this build fits the httpd that has loaded it and the C library: httpd itself compares
 * only the major module magic number, which all of 2.4 share. Called by startup.c, so `httpd -t`
 * says it, too.
 */
#include <unistd.h>

#include "mpm/process/process.h"
#include "stiol/stiol.h"

static const char *name_of_library(char *name, size_t size)
{
#ifdef _CS_GNU_LIBC_VERSION
    if (confstr(_CS_GNU_LIBC_VERSION, name, size) > 0)
        return name;
#endif
    (void)name;
    (void)size;
    return "unknown";
}

static bool fits_httpd(void)
{
    if (core_module.minor_version >= STM_MAGIC_NEEDED)
        return true;
    ap_log_error(APLOG_MARK, APLOG_CRIT | APLOG_STARTUP, 0, NULL,
                 STMNO(0110) "this module was built for httpd " STM_HTTPD_NEEDED
                             " or newer, and this is %s: build it with this httpd's headers",
                 ap_get_server_description());
    return false;
}

static bool fits_library(void)
{
    const char *misfit = stiol_misfit();
    char name[64];

    if (!misfit)
        return true;
    ap_log_error(APLOG_MARK, APLOG_CRIT | APLOG_STARTUP, 0, NULL,
                 STMNO(0111) "STM does not know %s as this C library (%s) has it", misfit,
                 name_of_library(name, sizeof(name)));
    return false;
}

bool stm_fits(void)
{
    return fits_httpd() && fits_library();
}
