/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl at its time limit: it joins the kernel thread that asks for a name, and the VP goes on.
 * The name server is a state thread of the same VP, in a network of the test's own: if the VP were
 * held up, there would be no answer for longer than the test may take.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

enum { URL = 10002, NO_SIGNAL = 99, TIMEOUT_MS = 155, OPERATION_TIMED_OUT = 28 };
/* The newest version that is known to join its thread, 8.14.1; 8.23.0 does not. */
enum { VERSION_INFO = 0, JOINS = 0x080e01 };

static void bring_up_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    CHECK(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0);
    close(fd);
}

/* The file may be a link: the mount is on what it leads to. */
static void mount_resolver_file(void)
{
    static const char text[] = "nameserver 127.0.0.1\noptions timeout:100 attempts:1 ndots:0\n";
    char path[] = "/tmp/stiol-resolv-XXXXXX", *place = realpath("/etc/resolv.conf", NULL);
    int fd = mkstemp(path);

    CHECK(fd >= 0 && write(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1);
    CHECK(fchmod(fd, 0644) == 0);
    close(fd);
    if (!place || mount(path, place, NULL, MS_BIND, NULL) != 0) {
        unlink(path);
        skip_test("there is no resolver's configuration to put another one over");
    }
    unlink(path);
    free(place);
}

static int own_name_server(void)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd;

    if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0)
        skip_test("a network of its own takes privileges");
    CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    bring_up_loopback();
    mount_resolver_file();
    fd = call->socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    return fd;
}

/* Long after the time limit, it answers that there is no such name. */
static void *answer(void *arg)
{
    unsigned char message[512];
    struct sockaddr_in from;
    socklen_t length = sizeof(from);
    ssize_t n;

    while ((n = call->recvfrom(*(int *)arg, message, sizeof(message), 0, (struct sockaddr *)&from,
                               &length)) > 12) {
        note('q');
        CHECK(call->sleep(1) == 0);
        message[2] |= 0x80;
        message[3] = 0x83;
        CHECK(call->sendto(*(int *)arg, message, (size_t)n, 0, (struct sockaddr *)&from, length) ==
              n);
        length = sizeof(from);
    }
    return NULL;
}

typedef struct curl {
    void *(*init)(void);
    int (*setopt)(void *handle, int option, ...);
    int (*perform)(void *handle);
    void (*cleanup)(void *handle);
    const struct {
        int age;
        const char *version;
        unsigned number;
    } * (*version_info)(int age);
} curl_t;

static void load(curl_t *curl)
{
    void *library = call->dlopen("libcurl.so.4", RTLD_NOW);

    if (!library)
        skip_test("no libcurl");
    *(void **)&curl->init = dlsym(library, "curl_easy_init");
    *(void **)&curl->setopt = dlsym(library, "curl_easy_setopt");
    *(void **)&curl->perform = dlsym(library, "curl_easy_perform");
    *(void **)&curl->cleanup = dlsym(library, "curl_easy_cleanup");
    *(void **)&curl->version_info = dlsym(library, "curl_version_info");
    CHECK(curl->init && curl->setopt && curl->perform && curl->version_info);
}

static void its_time_limit_holds_up_nobody(void)
{
    int fd = own_name_server();
    curl_t curl;
    void *handle;

    load(&curl);
    spawn(answer, &fd);
    handle = curl.init();
    CHECK(handle);
    curl.setopt(handle, URL, "http://dead.example/");
    curl.setopt(handle, NO_SIGNAL, 1L);
    curl.setopt(handle, TIMEOUT_MS, 200L);
    CHECK(curl.perform(handle) == OPERATION_TIMED_OUT && noted()[0] == 'q');
    curl.cleanup(handle);
    if (curl.version_info(VERSION_INFO)->number <= JOINS)
        CHECK(counters().thread.parked > 0);
    CHECK(counters().thread.helped == 0);
    _exit(0); /* the name server waits for ever, with what it has */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(its_time_limit_holds_up_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
