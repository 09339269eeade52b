/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The httpd stand-in, as seen by the tests: what was logged, and what they may set.
 */
#ifndef TESTS_MPM_HTTPD_H
#define TESTS_MPM_HTTPD_H

#include <stdbool.h>

#include <apr_pools.h>

/** Whether a line with that text was logged since the last forget_log(). */
bool logged(const char *text);
/** How many lines were logged since then. */
int log_lines(void);
void forget_log(void);

/** What ap_find_linked_module() finds: any module, or none. */
extern bool httpd_has_modules;

/** A pool, with APR started. It lives as long as the process. */
apr_pool_t *test_pool(void);

#endif /* TESTS_MPM_HTTPD_H */
