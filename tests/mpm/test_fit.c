/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the module fits (process/fit.c): an httpd that is older than what it was built for, and a
 * C library that STIOL does not know, are refused with a message that names them.
 */
#include "mpm/process/process.h"
#include "stiol/stiol.h"
#include "tests/harness.h"
#include "tests/mpm/httpd.h"

AP_DECLARE_DATA module core_module;
static const char *unknown;

const char *ap_get_server_description(void)
{
    return "Apache/2.4.1";
}

const char *stiol_misfit(void)
{
    return unknown;
}

static void begin(int minor, const char *misfit)
{
    core_module.minor_version = minor;
    unknown = misfit;
    forget_log();
}

static void what_it_was_built_for_fits(void)
{
    begin(STM_MAGIC_NEEDED, NULL);
    assert_true(stm_fits());
    begin(STM_MAGIC_NEEDED + 1, NULL);
    assert_true(stm_fits());
    assert_false(logged("STM"));
}

static void an_older_httpd_is_refused(void)
{
    begin(STM_MAGIC_NEEDED - 1, NULL);
    assert_false(stm_fits());
    assert_true(logged("STM0110"));
    assert_true(logged(STM_HTTPD_NEEDED));
    assert_true(logged("Apache/2.4.1"));
}

static void an_unknown_c_library_is_refused(void)
{
    begin(STM_MAGIC_NEEDED, "pthread_mutex_t");
    assert_false(stm_fits());
    assert_true(logged("STM0111"));
    assert_true(logged("pthread_mutex_t"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(what_it_was_built_for_fits),
        RAW_TEST(an_older_httpd_is_refused),
        RAW_TEST(an_unknown_c_library_is_refused),
    };
    return cmocka_run_group_tests_name("fit", tests, NULL, NULL);
}
