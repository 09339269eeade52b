/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as a configuration of the MPM: a directive is either refused with an error that names
 * it, and then changes nothing, or leaves a valid configuration; so do all of them together. A line
 * is a directive and its arguments; RequestReadTimeout is read as first_byte.c does it.
 */
#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "mpm/config/config.h"
#include "mpm/config/run_on.h"
#include "mpm/conn/conn.h"
#include "tests/fuzz/fuzz.h"

enum { WORDS = 40, LONGEST = 2000 };

/* What else is in first_byte.c needs these, but no directive reaches it. */
st_utime_t st_utime(void)
{
    abort();
}

st_utime_t st_utime_last_clock(void)
{
    abort();
}

void stm_conn_park(stm_conn_t *conn, stm_conn_state_e state, int events,
                   apr_interval_time_t timeout)
{
    (void)conn;
    (void)state;
    (void)events;
    (void)timeout;
    abort();
}

static apr_pool_t *pool;
static server_rec server = {.timeout = 60000000};

/* --- one line --- */

static int split(char *line, char **words)
{
    int count = 0;

    for (char *word = strtok(line, " \t\r"); word && count < WORDS; word = strtok(NULL, " \t\r"))
        words[count++] = word;
    return count;
}

static const command_rec *find(const char *name)
{
    for (const command_rec *command = stm_directives; command->name; command++)
        if (strcasecmp(command->name, name) == 0)
            return command;
    return NULL;
}

/* As httpd calls it; NULL also if httpd itself would refuse so many arguments. */
static const char *call(const command_rec *command, cmd_parms *cmd, char **words, int count)
{
    switch (command->args_how) {
    case TAKE1:
        return count == 2 ? command->AP_TAKE1(cmd, NULL, words[1]) : NULL;
    case TAKE2:
        return count == 3 ? command->AP_TAKE2(cmd, NULL, words[1], words[2]) : NULL;
    case FLAG:
        return count == 2 && (strcasecmp(words[1], "on") == 0 || strcasecmp(words[1], "off") == 0)
                   ? command->AP_FLAG(cmd, NULL, strcasecmp(words[1], "on") == 0)
                   : NULL;
    case TAKE_ARGV:
        return command->AP_TAKE_ARGV(cmd, stm_run_on_create(cmd->pool, NULL), count - 1, words + 1);
    default:
        abort(); /* a kind of arguments that this file does not know */
    }
}

/* VPListen takes several addresses: those before the wrong one have been taken. Values from outside
 * httpd's own functions have their own words. */
static bool all_or_nothing(const command_rec *command)
{
    return command->args_how != TAKE_ARGV;
}

static void directive(char **words, int count)
{
    static stm_config_t before;
    const command_rec *command = find(words[0]);
    cmd_parms cmd = {.pool = pool, .temp_pool = pool, .cmd = command, .server = &server};
    const char *error;

    if (!command)
        return;
    before = stm_config;
    cmd.info = command->cmd_data;
    error = call(command, &cmd, words, count);
    if (error) {
        FUZZ_CHECK(*error && strlen(error) < LONGEST + 400);
        FUZZ_CHECK(!all_or_nothing(command) || strstr(error, command->name));
        FUZZ_CHECK(!all_or_nothing(command) || memcmp(&before, &stm_config, sizeof(before)) == 0);
    }
}

static ap_directive_t *tree_end;

/* For first_byte.c: what httpd's parser has left of this line. */
static void remember(const char *line)
{
    ap_directive_t *entry = apr_pcalloc(pool, sizeof(*entry));
    const char *args = strpbrk(line, " \t");

    entry->directive = args ? apr_pstrndup(pool, line, (apr_size_t)(args - line)) : line;
    entry->args = args ? args + 1 : "";
    if (*line == '<') { /* the rest is its contents */
        entry->directive = "<IfModule";
        if (tree_end)
            tree_end->next = entry;
        else
            ap_conftree = entry;
        tree_end = apr_pcalloc(pool, sizeof(*entry));
        tree_end->directive = tree_end->args = "";
        entry->first_child = tree_end;
        return;
    }
    if (tree_end)
        tree_end->next = entry;
    else
        ap_conftree = entry;
    tree_end = entry;
}

/* --- all of them --- */

static bool is_or_unset(int value, int least, int most)
{
    return value == STM_UNSET || (value >= least && value <= most);
}

static void check_values(const stm_config_t *config)
{
    FUZZ_CHECK(is_or_unset(config->num_vps, 1, STM_VP_LIMIT));
    FUZZ_CHECK(is_or_unset(config->start_threads, 1, STM_ST_LIMIT));
    FUZZ_CHECK(is_or_unset(config->min_spare, 1, STM_ST_LIMIT));
    FUZZ_CHECK(is_or_unset(config->max_spare, 1, STM_ST_LIMIT));
    FUZZ_CHECK(is_or_unset(config->max_threads, 1, STM_ST_LIMIT));
    FUZZ_CHECK(config->stack_size <= INT_MAX);
    FUZZ_CHECK(config->thread_connections >= 0 && is_or_unset(config->vp_connections, 0, INT_MAX));
    FUZZ_CHECK(config->stall_warning >= 0);
    FUZZ_CHECK(config->binds >= 0 && config->binds <= STM_VP_LIMIT);
    FUZZ_CHECK(config->vp_listen_max >= 0 && config->vp_listen_max <= STM_VP_LIMIT);
    FUZZ_CHECK(config->addresses >= 0 && config->addresses <= STM_LISTENER_LIMIT);
    FUZZ_CHECK(!config->vp_listens || !config->listens);
    for (int vp = 0; vp < STM_VP_LIMIT; vp++)
        FUZZ_CHECK(config->cpu[vp] >= -1 && config->cpu[vp] < CPU_SETSIZE);
    for (int i = 0; i < config->addresses; i++)
        FUZZ_CHECK(config->vp_listen[i].lr && config->vp_listen[i].address);
}

/* What the VPs would be started with. */
static void check_in_effect(const stm_config_t *config)
{
    FUZZ_CHECK(config->num_vps >= 1 && config->num_vps <= STM_VP_LIMIT);
    FUZZ_CHECK(config->max_threads >= 1 && config->max_threads <= STM_ST_LIMIT);
    FUZZ_CHECK(config->start_threads >= 1 && config->start_threads <= config->max_threads);
    FUZZ_CHECK(config->min_spare >= 1 && config->min_spare <= config->max_spare);
    FUZZ_CHECK(config->max_spare <= config->max_threads && config->vp_connections >= 0);
    FUZZ_CHECK(config->binds <= config->num_vps && config->vp_listen_max <= config->num_vps);
    FUZZ_CHECK(config->stack_size > 0);
}

static void check_first_byte(void)
{
    apr_interval_time_t limit;

    stm_first_byte_configure(&server);
    limit = stm_first_byte_timeout();
    FUZZ_CHECK(limit > 0 && limit <= server.timeout);
}

static void run(char *text)
{
    char *words[WORDS], *next;

    ap_listen_pre_config();
    stm_config_begin();
    ap_conftree = tree_end = NULL;
    ap_thread_stacksize = 0;
    ap_max_requests_per_child = 0;
    for (char *line = text; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (strlen(line) > LONGEST)
            continue;
        remember(apr_pstrdup(pool, line));
        int count = split(line, words);
        if (count > 0)
            directive(words, count);
        check_values(&stm_config);
    }
    check_first_byte();
    if (stm_config_check(pool, pool, &server) == OK)
        check_in_effect(&stm_config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool initialized;

    if (!initialized)
        initialized = apr_initialize() == APR_SUCCESS;
    apr_pool_create(&pool, NULL);
    run(apr_pstrmemdup(pool, (const char *)data, size));
    apr_pool_destroy(pool);
    return 0;
}
