/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users, groups, hosts and DNS by name services that take their time: real ones, which
 * /etc/nsswitch.conf and /etc/resolv.conf name in a mount namespace of the test's own.
 */
#include <resolv.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

/* --- the gate at which the slow service waits, and the files that name it --- */

static char folder[] = "/tmp/stiol-names-XXXXXX";
static char arrivals[64], lock[64], settings[64], resolver[64];
static int gate = -1;

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void close_gate(void)
{
    write_file(arrivals, "");
    CHECK(flock(gate, LOCK_EX) == 0);
}

static void open_gate(void)
{
    CHECK(flock(gate, LOCK_UN) == 0);
}

static int come(void)
{
    struct stat info;

    CHECK(stat(arrivals, &info) == 0);
    return (int)info.st_size;
}

static void wait_for_arrivals(int count)
{
    while (come() < count)
        st_usleep(1000);
}

static void name_services(const char *text)
{
    write_file(settings, text);
}

static void remove_files(void)
{
    unlink(arrivals);
    unlink(lock);
    unlink(settings);
    unlink(resolver);
    rmdir(folder);
}

/* Only this process sees the files. */
static void make_namespace(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        skip_test("no mount namespace may be made here");
    CHECK(mkdtemp(folder) && atexit(remove_files) == 0);
    snprintf(arrivals, sizeof(arrivals), "%s/arrivals", folder);
    snprintf(lock, sizeof(lock), "%s/lock", folder);
    snprintf(settings, sizeof(settings), "%s/nsswitch.conf", folder);
    snprintf(resolver, sizeof(resolver), "%s/resolv.conf", folder);
    write_file(arrivals, "");
    write_file(lock, "");
    write_file(resolver, "nameserver 127.53.7.1\noptions timeout:30 attempts:1\n");
    name_services("passwd: files slow\ngroup: files slow\nhosts: files slow dns\n"
                  "services: files\n");
    gate = open(lock, O_RDONLY | O_CLOEXEC);
    CHECK(gate >= 0);
    CHECK(mount(settings, "/etc/nsswitch.conf", NULL, MS_BIND, NULL) == 0);
    CHECK(mount(resolver, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0);
}

/* The service is loaded by its path first, so that the C library finds it by its name. */
static void start_with_slow_names(void)
{
    stiol_config_t config = test_config;

    make_namespace();
    setenv("NSS_SLOW_ARRIVALS", arrivals, 1);
    setenv("NSS_SLOW_LOCK", lock, 1);
    CHECK(dlopen(OBJECTS "/libnss_slow.so.2", RTLD_NOW));
    config.max_helpers = 64;
    CHECK(st_init() == 0 && stiol_start(&config) == 0);
}

/* --- users and groups --- */

enum { MANY = 12 };

static void *find_user(void *arg)
{
    const char *name = arg;
    const struct passwd *first = call->getpwnam(name), *second;
    uid_t id = (uid_t)(50000 + atoi(name + 5));

    CHECK(first && first->pw_uid == id && strcmp(first->pw_name, name) == 0);
    st_thread_yield(); /* others find theirs */
    second = call->getpwuid(id + 100);
    CHECK(second && second->pw_uid == id + 100);
    CHECK(first->pw_uid == id && strcmp(first->pw_name, name) == 0);
    note('u');
    return NULL;
}

static void users_are_looked_up_by_helpers(void)
{
    static char names[MANY][24];
    struct passwd entry, *found = NULL;
    char buffer[256];

    start_with_slow_names();
    close_gate();
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "slow-%d", i);
        spawn(find_user, names[i]);
    }
    wait_for_arrivals(MANY);
    CHECK(noted()[0] == '\0' && counters().resolve.helped == MANY);
    open_gate();
    reap();
    CHECK(strlen(noted()) == MANY);
    CHECK(call->getpwnam_r("slow-3", &entry, buffer, 3, &found) == ERANGE && !found);
    CHECK(call->getpwnam_r("slow-3", &entry, buffer, sizeof(buffer), &found) == 0);
    CHECK(found == &entry && entry.pw_uid == 50003);
    CHECK(call->getpwnam_r("nobody-at-all", &entry, buffer, sizeof(buffer), &found) == 0);
    CHECK(!found && !call->getpwnam("nobody-at-all"));
    stop_vp();
}

static void groups_are_looked_up_by_helpers(void)
{
    gid_t groups[8] = {0};
    int count = 8, few = 0;
    const struct group *found;
    unsigned long long helped;

    start_with_slow_names();
    found = call->getgrnam("slow-5");
    CHECK(found && found->gr_gid == 50005);
    found = call->getgrgid(50006);
    CHECK(found && strcmp(found->gr_name, "slow-6") == 0);
    CHECK(call->getgrouplist("root", 0, groups, &count) >= 1 && groups[0] == 0);
    CHECK(call->getgrouplist("root", 0, groups, &few) == -1 && few == count);
    CHECK(call->initgroups("root", 0) == 0 && getgroups(8, groups) == count);
    helped = counters().resolve.helped;
    CHECK(helped == 5 && counters().resolve.parked == 5);
    stop_vp();
}

static void all_users_are_listed(void)
{
    const struct passwd *user;
    bool root = false;
    int count = 0;

    start_with_slow_names();
    call->setpwent();
    while ((user = call->getpwent())) {
        root = root || strcmp(user->pw_name, "root") == 0;
        count++;
    }
    call->endpwent();
    CHECK(root && counters().resolve.helped == (unsigned long long)count + 3);
    stop_vp();
}

/* Nobody has to be asked: the VP reads the files itself. The settings may change. */
static void local_databases_need_no_helper(void)
{
    const struct servent *service;

    start_with_slow_names();
    name_services("passwd: db files [NOTFOUND=return] # slow\nservices: files\nhosts: files\n");
    CHECK(call->getpwnam("root") && call->getpwuid(0));
    service = call->getservbyname("http", "tcp");
    CHECK(!service || ntohs((uint16_t)service->s_port) == 80);
    CHECK(counters().resolve.calls == 3 && counters().resolve.helped == 0);
    CHECK(kernel_threads() == 1);
    (void)call->getgrgid(0); /* of which the file does not tell */
    CHECK(counters().resolve.helped == 1);
    name_services("passwd: files slow  \nservices: files\nhosts: files\n");
    CHECK(call->getpwnam("slow-1") && counters().resolve.helped == 2);
    stop_vp();
}

/* --- hosts --- */

static int last_byte(const struct addrinfo *found)
{
    const struct sockaddr_in *address = (const struct sockaddr_in *)found->ai_addr;

    return (int)(ntohl(address->sin_addr.s_addr) & 255);
}

static void *find_host(void *arg)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME};
    struct addrinfo *found = NULL;

    CHECK(call->getaddrinfo(arg, "80", &hints, &found) == 0);
    CHECK(found->ai_family == AF_INET && last_byte(found) == 7);
    CHECK(strcmp(found->ai_canonname, arg) == 0);
    found->ai_canonname[0] = 'H'; /* it is the caller's own */
    freeaddrinfo(found);
    note('h');
    return NULL;
}

static void *find_other_port(void *arg)
{
    struct addrinfo *found = NULL;

    CHECK(call->getaddrinfo(arg, "81", NULL, &found) == 0 && last_byte(found) == 7);
    freeaddrinfo(found);
    note('o');
    return NULL;
}

static void equal_questions_are_asked_once(void)
{
    static char name[] = "host-7.slow";

    start_with_slow_names();
    close_gate();
    for (int i = 0; i < MANY; i++)
        spawn(find_host, name);
    wait_for_arrivals(1);
    spawn(find_other_port, name);
    wait_for_arrivals(2);
    settle();
    CHECK(come() == 2 && kernel_threads() == 3 && noted()[0] == '\0');
    CHECK(counters().resolve.parked == MANY + 1 && counters().resolve.helped == 2);
    open_gate();
    reap();
    CHECK(strlen(noted()) == MANY + 1);
    find_host(name); /* the answer is not kept */
    CHECK(counters().resolve.helped == 3);
    stop_vp();
}

static void *find_in_vain(void *arg)
{
    struct addrinfo *found = NULL;

    CHECK(call->getaddrinfo(arg, NULL, NULL, &found) == EAI_SYSTEM && errno == ECONNABORTED);
    note('e');
    return NULL;
}

/* The answer comes when nobody is left to take it. */
static void the_vps_end_does_not_wait_for_an_answer(void)
{
    static char name[] = "host-7.slow";
    st_thread_t threads[3];
    stiol_helpers_t helpers;

    start_with_slow_names();
    close_gate();
    for (int i = 0; i < 3; i++)
        threads[i] = spawn(find_in_vain, name);
    wait_for_arrivals(1);
    stiol_end_waits();
    for (int i = 0; i < 3; i++)
        st_thread_interrupt(threads[i]);
    reap();
    CHECK(strcmp(noted(), "eee") == 0);
    open_gate();
    do {
        st_usleep(1000);
        stiol_get_helpers(&helpers);
    } while (helpers.busy > 0);
    stop_vp();
}

/* --- DNS --- */

static int name_server = -1;
static bool answered;

static void open_name_server(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53)};

    CHECK(inet_pton(AF_INET, "127.53.7.1", &at.sin_addr) == 1);
    name_server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(name_server, (struct sockaddr *)&at, sizeof(at)) != 0)
        skip_test("no name server may be opened here");
}

/* Returns the query with the bits of an answer without records; the caller does not wait for long,
 * since only the state thread here sends it. */
static void answer(void)
{
    unsigned char message[512];
    struct sockaddr_in from;
    socklen_t length = sizeof(from);
    ssize_t got;

    while ((got = recvfrom(name_server, message, sizeof(message), 0, (struct sockaddr *)&from,
                           &length)) < 12)
        st_usleep(1000);
    CHECK(noted()[0] == '\0');
    message[2] |= 0x80; /* a response, */
    message[3] |= 0x80; /* of one who could have asked others */
    answered = true;
    CHECK(sendto(name_server, message, (size_t)got, 0, (struct sockaddr *)&from, length) == got);
}

static void *query(void *arg)
{
    unsigned char result[512];

    (void)arg;
    CHECK(call->res_query("name.example", 1 /* IN */, 16 /* TXT */, result, sizeof(result)) == -1);
    CHECK(answered && *call->__h_errno_location() == NO_DATA);
    note('q');
    return NULL;
}

/* With settings that the module has changed. */
static void *query_by_own_settings(void *arg)
{
    struct __res_state *mine = call->__res_state();
    unsigned char result[512];

    (void)arg;
    CHECK(call->__res_init() == 0);
    mine->retrans = 29;
    CHECK(call->res_nquery(mine, "name.example", 1, 16, result, sizeof(result)) == -1);
    CHECK(answered && call->__res_state()->retrans == 29);
    note('q');
    return NULL;
}

static void list_addresses(int count)
{
    char hosts[64];
    FILE *file;

    snprintf(hosts, sizeof(hosts), "%s/hosts", folder);
    file = fopen(hosts, "w");
    CHECK(file);
    for (int i = 0; i < count; i++)
        fprintf(file, "10.53.%d.%d many.example\n", i / 250, i % 250 + 1);
    CHECK(fclose(file) == 0 && mount(hosts, "/etc/hosts", NULL, MS_BIND, NULL) == 0);
    CHECK(unlink(hosts) == 0);
}

/* The result grows as the C library's does. */
static void a_host_may_have_many_addresses(void)
{
    enum { ADDRESSES = 1500 };
    const struct hostent *host;
    int found = 0;

    start_with_slow_names();
    name_services("hosts: files\n");
    list_addresses(ADDRESSES);
    host = call->gethostbyname("many.example");
    CHECK(host);
    while (host->h_addr_list[found])
        found++;
    CHECK(found == ADDRESSES);
    stop_vp();
}

static void dns_is_asked_by_a_helper(void)
{
    start_with_slow_names();
    open_name_server();
    for (int i = 0; i < 2; i++) {
        forget_notes();
        answered = false;
        spawn(i == 0 ? query : query_by_own_settings, NULL);
        answer();
        reap();
        CHECK(strcmp(noted(), "q") == 0);
    }
    CHECK(counters().resolve.helped == 2);
    stop_vp();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(users_are_looked_up_by_helpers), RAW_TEST(groups_are_looked_up_by_helpers),
        RAW_TEST(all_users_are_listed),           RAW_TEST(local_databases_need_no_helper),
        RAW_TEST(equal_questions_are_asked_once), RAW_TEST(the_vps_end_does_not_wait_for_an_answer),
        RAW_TEST(dns_is_asked_by_a_helper),       RAW_TEST(a_host_may_have_many_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
