/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_conn: opens many connections to a web server on this machine and keeps them open, to see
 * what its processes and threads do. A tool of the lab (docs/lab.md); lab/make_conn.1 is its
 * manual.
 */
#include "lab/dial.h"
#include "lab/make_conn.h"

#include <ctype.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: make_conn [option]... HOST PORT [COUNT]\n"
    "Opens COUNT connections (default: 100) to a server on this machine and keeps them open until\n"
    "Enter, end of input, or Ctrl-C. Reports how many were accepted, refused and closed.\n"
    "\n"
    "  -r, --request=none|part|whole  what each of them sends: nothing, half a request (default:\n"
    "                                 the server waits for the rest), or a request\n"
    "  -p, --path=PATH                the path to request; default: /\n"
    "  -f, --finish                   at the end, send the rest of the half requests and count\n"
    "                                 the answers\n"
    "  -s, --seconds=N                keep them for N seconds (1 to 86400)\n"
    "      --allow-remote             connect to other machines; only for servers whose owner\n"
    "                                 agrees\n"
    "  -h, --help                     print this, and exit\n"
    "\n"
    "Exit status: 0 all were accepted; 1 some were not; 2 wrong usage, or no such host.\n";

static void vcomplain(const char *format, va_list args)
{
    fputs("make_conn: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

void complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vcomplain(format, args);
    va_end(args);
}

void give_up(int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vcomplain(format, args);
    va_end(args);
    exit(status);
}

/* --- options --- */

static int number(const char *text, const char *what, int high)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end != '\0' || value < 1 || value > high)
        give_up(TROUBLE, "%s %s: must be a number from 1 to %d", what, text, high);
    return (int)value;
}

static enum request request(const char *text)
{
    static const char *const names[] = {"none", "part", "whole"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(text, names[i]) == 0)
            return (enum request)i;
    give_up(TROUBLE, "--request=%s: must be none, part or whole", text);
}

static const char *path(const char *text)
{
    for (const char *at = text; *at != '\0'; at++)
        if (!isgraph((unsigned char)*at))
            give_up(TROUBLE, "--path=%s: must not contain a blank or a control character", text);
    if (*text != '/')
        give_up(TROUBLE, "--path=%s: must begin with /", text);
    return text;
}

static void set(struct options *options, int option)
{
    switch (option) {
    case 'r':
        options->request = request(optarg);
        break;
    case 'p':
        options->path = path(optarg);
        break;
    case 'f':
        options->finish = true;
        break;
    case 's':
        options->seconds = number(optarg, "--seconds", 86400);
        break;
    case 'R':
        options->allow_remote = true;
        break;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default:
        give_up(TROUBLE, "--help lists the options");
    }
}

static struct options read_options(int argc, char **argv)
{
    static const struct option names[] = {{"request", required_argument, NULL, 'r'},
                                          {"path", required_argument, NULL, 'p'},
                                          {"finish", no_argument, NULL, 'f'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"allow-remote", no_argument, NULL, 'R'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct options options = {.path = "/", .count = 100, .request = REQUEST_PART};
    for (int option; (option = getopt_long(argc, argv, "r:p:fs:h", names, NULL)) != -1;)
        set(&options, option);
    if (argc - optind < 2 || argc - optind > 3)
        give_up(TROUBLE, "HOST and PORT are required; --help lists the options");
    if (options.finish && options.request != REQUEST_PART)
        give_up(TROUBLE, "--finish: works with --request=part only");
    options.host = argv[optind];
    options.port = argv[optind + 1];
    number(options.port, "PORT", 65535);
    if (argc - optind == 3)
        options.count = number(argv[optind + 2], "COUNT", MOST_CONNECTIONS);
    return options;
}

/* --- the run --- */

static void tell_what_is_kept(const struct options *options)
{
    if (options->seconds > 0)
        printf("Keeping them for %d s\n", options->seconds);
    else if (isatty(STDIN_FILENO))
        puts("Press Enter to end");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const char *const sends[] = {"nothing is sent", "half a request each",
                                        "one request each"};
    struct options options = read_options(argc, argv);
    struct target target;
    raise_file_limit();
    int first = target_find(&target, &options);
    clients_init(&options, &target);
    printf("%s, %d connections, %s\n", target.name, options.count, sends[options.request]);
    clients_open(first);
    clients_report("");
    tell_what_is_kept(&options);
    clients_watch();
    if (options.finish)
        clients_finish();
    clients_report("At the end: ");
    return clients_all_accepted() ? ALL_ACCEPTED : SOME_NOT;
}
