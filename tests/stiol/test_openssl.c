/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real OpenSSL, unmodified, on state threads: each thread has its own error queue though all
 * yield at every turn, and thousands of threads leave nothing behind.
 */
#include "tests/stiol/stiol_vp.h"

#if __has_include(<openssl/ssl.h>)
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

static const table_t *call = &table_any;
static _Atomic int false_errors;

/* Raises errors of its own and sees that it gets these back, and no others. */
static void *make_errors(void *arg)
{
    int own = *(int *)arg;

    for (int i = 0; i < 100; i++) {
        ERR_clear_error();
        ERR_raise(ERR_LIB_USER, own);
        call->sched_yield();
        ERR_raise(ERR_LIB_USER, own + 1);
        call->sched_yield();
        if (ERR_GET_REASON(ERR_get_error()) != own || ERR_GET_REASON(ERR_get_error()) != own + 1 ||
            ERR_get_error() != 0)
            false_errors++;
    }
    return NULL;
}

static void error_body(void)
{
    static int numbers[50];

    for (int i = 0; i < 50; i++) {
        numbers[i] = 100 + 2 * i;
        spawn(make_errors, &numbers[i]);
    }
    reap();
    _exit(false_errors == 0 ? 10 : 20);
}

static void trap_5_errors_are_each_threads_own(void)
{
    CHECK(without(0, error_body) == 10);
    CHECK(without(STIOL_NO_TSD, error_body) == 20);
}

/* A handshake in memory, with a client that sometimes ends it in the middle. */
static SSL_CTX *client_context, *server_context;

static void *shake_hands(void *arg)
{
    SSL *client = SSL_new(client_context), *server = SSL_new(server_context);
    BIO *there = BIO_new(BIO_s_mem()), *back = BIO_new(BIO_s_mem());
    unsigned char noise[32];
    bool hostile = *(bool *)arg;
    int rc = 0;

    CHECK(client && server && there && back);
    CHECK(RAND_bytes(noise, sizeof(noise)) == 1);
    BIO_up_ref(there);
    BIO_up_ref(back);
    SSL_set_bio(client, back, there);
    SSL_set_bio(server, there, back);
    for (int i = 0; i < 20 && rc != 1; i++) {
        ERR_clear_error();
        rc = SSL_connect(client);
        call->sched_yield();
        if (hostile && i == 0) {
            BIO_write(there, noise, sizeof(noise));
            CHECK(SSL_accept(server) <= 0);
            break; /* with errors in the queue */
        }
        ERR_clear_error();
        CHECK(SSL_accept(server) == 1 || SSL_get_error(server, 0) != SSL_ERROR_SYSCALL);
        if (ERR_peek_error() != 0)
            false_errors++;
        call->sched_yield();
    }
    if (!hostile && rc != 1)
        false_errors++;
    SSL_free(client);
    SSL_free(server);
    return NULL;
}

static void start_ssl(void)
{
    client_context = SSL_CTX_new(TLS_client_method());
    server_context = SSL_CTX_new(TLS_server_method());
    CHECK(client_context && server_context);
    SSL_CTX_set_verify(client_context, SSL_VERIFY_NONE, NULL);
    /* Anonymous: no certificate to make. */
    CHECK(SSL_CTX_set_max_proto_version(client_context, TLS1_2_VERSION) == 1);
    CHECK(SSL_CTX_set_cipher_list(client_context, "ADH-AES128-SHA256:@SECLEVEL=0") == 1);
    CHECK(SSL_CTX_set_cipher_list(server_context, "ADH-AES128-SHA256:@SECLEVEL=0") == 1);
    SSL_CTX_set_dh_auto(server_context, 1);
}

static void shake_many_hands(int rounds)
{
    static bool hostile[20];

    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < 20; i++) {
            hostile[i] = i % 4 == 0;
            spawn(shake_hands, &hostile[i]);
        }
        reap();
    }
}

static void hostile_clients_disturb_nobody(void)
{
    start_ssl();
    shake_many_hands(5);
    CHECK(false_errors == 0);
}

/* Bytes that malloc has handed out and that have not been freed. */
static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* A thread's error queue and random generator are a few KB. */
static void *use_openssl(void *arg)
{
    unsigned char bytes[16];

    (void)arg;
    CHECK(RAND_bytes(bytes, sizeof(bytes)) == 1 && RAND_priv_bytes(bytes, sizeof(bytes)) == 1);
    ERR_raise(ERR_LIB_USER, 100);
    call->sched_yield();
    return NULL;
}

static void use_threads(int rounds)
{
    for (int i = 0; i < rounds; i++) {
        for (int j = 0; j < 10; j++)
            spawn(use_openssl, NULL);
        reap();
    }
}

static void leak_body(void)
{
    size_t before;

    use_threads(20);
    before = in_use();
    use_threads(100);
    _exit(in_use() < before + 256 * 1024 ? 10 : 20);
}

/* The same with destructors at every end, which only glibc knows: OpenSSL created its keys before
 * STIOL started. */
static void leak_body_without_cache(void)
{
    stiol_config_t config = test_config;

    stiol_stop();
    use_openssl(NULL);
    config.tsd_cache = -1;
    CHECK(stiol_start(&config) == 0);
    leak_body();
}

static void trap_5_nothing_is_left_behind(void)
{
#ifdef __SANITIZE_ADDRESS__
    skip_test("AddressSanitizer has its own malloc");
#endif
    CHECK(without(0, leak_body) == 10);
    CHECK(without(STIOL_NO_TSD_END, leak_body) == 20);
    CHECK(without(0, leak_body_without_cache) == 10);
    CHECK(without(STIOL_NO_TSD_END, leak_body_without_cache) == 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(trap_5_errors_are_each_threads_own),
        VP_TEST(hostile_clients_disturb_nobody),
        RAW_TEST(trap_5_nothing_is_left_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
    puts("1..0 # SKIP libssl-dev is missing");
    return 0;
}
#endif
