/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a new connection may take to its first byte (conn/first_byte.c): the shortest of Timeout
 * and what mod_reqtimeout is told of the request header and the handshake.
 */
#include "mpm/conn/conn.h"
#include "tests/harness.h"
#include "tests/mpm/httpd.h"

static server_rec server = {.timeout = apr_time_from_sec(60)};

static int seconds(ap_directive_t *tree)
{
    ap_conftree = tree;
    stm_first_byte_configure(&server);
    return (int)apr_time_sec(stm_first_byte_timeout());
}

static int with(const char *arguments)
{
    ap_directive_t directive = {.directive = "RequestReadTimeout", .args = arguments};

    return seconds(&directive);
}

static void without_a_directive(void)
{
    assert_int_equal(seconds(NULL), 20); /* mod_reqtimeout's own */
    httpd_has_modules = false;
    assert_int_equal(seconds(NULL), 60);
    assert_int_equal(with("header=5"), 60); /* nobody would keep it */
}

static void the_shortest_counts(void)
{
    static const struct {
        const char *arguments;
        int seconds;
    } cases[] = {
        {"header=5", 5},
        {"header=7-40,MinRate=500", 7},
        {"header=30", 30},
        {"header=90", 60},
        {"header=0", 60},
        {"HEADER=8", 8},
        {"body=3", 20},
        {"handshake=4", 4},
        {"handshake=4 header=9", 4},
        {"header=9 body=2 handshake=0", 9},
        {"header=-5", 60},
        {"header=99999999999999999999", 60},
        {"header=", 60},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(with(cases[i].arguments), cases[i].seconds);
}

static void the_last_directive_counts_stage_by_stage(void)
{
    ap_directive_t last = {.directive = "requestreadtimeout", .args = "header=11"};
    ap_directive_t first = {
        .directive = "RequestReadTimeout", .args = "header=5 handshake=15", .next = &last};

    assert_int_equal(seconds(&first), 11);
    last.args = "header=40";
    assert_int_equal(seconds(&first), 15); /* the handshake's is still the first one's */
}

static void sections_that_are_no_servers_count(void)
{
    ap_directive_t inner = {.directive = "RequestReadTimeout", .args = "header=3"};
    ap_directive_t middle = {.directive = "<IfDefine", .first_child = &inner};
    ap_directive_t outer = {.directive = "<IfModule", .first_child = &middle};
    ap_directive_t host = {.directive = "<VirtualHost", .first_child = &inner};

    assert_int_equal(seconds(&outer), 3);
    assert_int_equal(seconds(&host), 20); /* another server's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(without_a_directive),
        RAW_TEST(the_shortest_counts),
        RAW_TEST(the_last_directive_counts_stage_by_stage),
        RAW_TEST(sections_that_are_no_servers_count),
    };
    return cmocka_run_group_tests_name("first_byte", tests, NULL, NULL);
}
