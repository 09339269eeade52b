/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VPListen's addresses (config/listens.c): what is one, which VPs listen to it, who shares it.
 */
#include "mpm/config/config.h"
#include "tests/harness.h"
#include "tests/mpm/httpd.h"

static cmd_parms command;

static void begin(int vps)
{
    command.pool = test_pool();
    stm_config_begin();
    stm_config.num_vps = vps;
    ap_listeners = NULL;
}

static const char *add(int vp, const char *address)
{
    return stm_listens_add(&command, vp, apr_pstrdup(test_pool(), address));
}

static void addresses_with_a_port(void)
{
    static const char *const right[] = {"127.0.0.1:80", "[::1]:8080", "0.0.0.0:65535", "[::]:1"};
    static const char *const wrong[] = {"",          "80",          "127.0.0.1",    "*:80",
                                        ":80",       "127.0.0.1:",  "[::1]",        "::1:80x",
                                        "a.b.c.d:0", "127.0.0.1:0", "1.2.3.4:99999"};

    begin(1);
    for (size_t i = 0; i < sizeof(right) / sizeof(*right); i++)
        assert_null(add(0, right[i]));
    assert_int_equal(stm_config.addresses, sizeof(right) / sizeof(*right));
    assert_int_equal(stm_listens_count(), sizeof(right) / sizeof(*right));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        const char *error = add(0, wrong[i]);

        assert_non_null(error);
        assert_non_null(strstr(error, "VPListen"));
        assert_non_null(strstr(error, wrong[i]));
    }
    assert_int_equal(stm_config.addresses, sizeof(right) / sizeof(*right));
}

static void one_socket_for_the_same_address(void)
{
    begin(4);
    assert_null(add(0, "127.0.0.1:80"));
    assert_null(add(2, "127.0.0.1:80"));
    assert_null(add(2, "127.0.0.1:81"));
    assert_null(add(2, "127.0.0.2:80"));
    assert_int_equal(stm_listens_count(), 3);
    assert_int_equal(stm_config.addresses, 3);
}

static void vps_listen_to_what_they_were_given(void)
{
    ap_listen_rec *first, *second;

    begin(STM_VP_LIMIT);
    assert_null(add(0, "127.0.0.1:80"));
    first = ap_listeners;
    assert_null(add(3, "127.0.0.1:80"));
    assert_null(add(STM_VP_LIMIT - 1, "127.0.0.1:81")); /* beyond the first word of bits */
    second = ap_listeners;
    for (int vp = 0; vp < STM_VP_LIMIT; vp++) {
        assert_int_equal(stm_listens_to(first, vp), vp == 0 || vp == 3);
        assert_int_equal(stm_listens_to(second, vp), vp == STM_VP_LIMIT - 1);
    }
    assert_true(stm_listens_shared(first));
    assert_false(stm_listens_shared(second));
}

static void all_listen_to_what_is_not_bound(void)
{
    ap_listen_rec plain = {0};

    begin(2);
    assert_true(stm_listens_to(&plain, 0) && stm_listens_to(&plain, 1));
    assert_true(stm_listens_shared(&plain));
    stm_config.num_vps = 1;
    assert_false(stm_listens_shared(&plain));
}

static void in_one_process_it_listens_to_all(void)
{
    begin(2);
    assert_null(add(1, "127.0.0.1:80"));
    assert_false(stm_listens_to(ap_listeners, 0));
    stm.one_process = true;
    assert_true(stm_listens_to(ap_listeners, 0));
}

enum { MANY = 1000 };

static void there_is_room_for_so_many(void)
{
    const char *error;

    begin(1);
    for (int i = 0; i < MANY; i++)
        assert_null(add(0, apr_psprintf(test_pool(), "127.0.0.1:%d", 1000 + i)));
    assert_int_equal(stm_listens_count(), MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(stm_config.vp_listen[i].lr->bind_addr->port, 1000 + i);
    stm_config.addresses = STM_LISTENER_LIMIT; /* as if there were that many */
    error = add(0, "127.0.0.1:999");
    assert_non_null(error);
    assert_non_null(strstr(error, "STM_LISTENER_LIMIT"));
    stm_config.addresses = MANY;
    assert_null(add(0, "127.0.0.1:1000")); /* one that is there already */
    assert_int_equal(stm_config.addresses, MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(addresses_with_a_port),
        RAW_TEST(one_socket_for_the_same_address),
        RAW_TEST(vps_listen_to_what_they_were_given),
        RAW_TEST(all_listen_to_what_is_not_bound),
        RAW_TEST(in_one_process_it_listens_to_all),
        RAW_TEST(there_is_room_for_so_many),
    };
    return cmocka_run_group_tests_name("addresses", tests, NULL, NULL);
}
