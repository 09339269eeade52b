/* SPDX-License-Identifier: Apache-2.0 */
/*
 * httpd -t -D DUMP_STM: the compile options, the limits and the configuration in effect, one `name
 * value` per line.
 */
#include <stdio.h>
#include <string.h>

#include "aprmem/aprmem.h"
#include "mpm/config/config.h"
#include "score/options.h"
#include "stiol/stiol.h"

static void dump_bindings(const stm_config_t *config)
{
    for (int vp = 0; vp < config->num_vps; vp++) {
        if (config->cpu[vp] >= 0)
            printf("VPBind %d %d\n", vp, config->cpu[vp]);
    }
    for (int vp = 0; vp < config->num_vps; vp++) {
        for (int i = 0; i < config->addresses; i++) {
            if ((config->vp_listen[i].vps[vp / 64] >> (vp % 64)) & 1)
                printf("VPListen %d %s\n", vp, config->vp_listen[i].address);
        }
    }
}

static const char *name_of(const char *object)
{
    return *object ? object : "the server itself";
}

static void dump_slot(const stiol_slot_t *slot, void *data)
{
    (void)data;
    printf("rebinds %s in %s (%s)%s%s\n", slot->symbol, name_of(slot->object), slot->relocation,
           slot->problem ? ": " : "", slot->problem ? slot->problem : "");
}

/* Where libapr is, which may be linked into httpd: its threads are the server's state threads. */
static void dump_maker(const stiol_slot_t *slot, void *data)
{
    const char **last = data;

    if (!slot->threads || strcmp(slot->symbol, "pthread_create") != 0 || *last == slot->object)
        return;
    printf("threads that %s makes are state threads\n", name_of(slot->object));
    *last = slot->object;
}

static void dump_slots(bool threaded_io)
{
    const char *last = NULL;

    stiol_would_rebind(dump_slot, NULL);
    if (threaded_io)
        stiol_would_rebind(dump_maker, &last);
    if (!last)
        printf("no object makes state threads\n");
}

static void dump_small_pools(const stm_config_t *config)
{
    const char *why = NULL;

    if (config->small_pools)
        why = config->threaded_io ? aprmem_prepare() : "StateThreadedIO is Off";
    printf("SmallPools %s%s%s\n", config->small_pools ? "On" : "Off",
           why ? ", without effect: " : "", why ? why : "");
}

void stm_dump_config(const stm_config_t *config)
{
    printf("STM built with:\n%s", stm_score_options);
    printf("STM configuration in effect:\n");
    printf("NumVPs %d\n", config->num_vps);
    printf("StartThreads %d\n", config->start_threads);
    printf("MinSpareThreads %d\n", config->min_spare);
    printf("MaxSpareThreads %d\n", config->max_spare);
    printf("MaxThreads %d\n", config->max_threads);
    printf("StackSize %lu\n", (unsigned long)config->stack_size);
    printf("ThreadConnections %d\n", config->thread_connections);
    printf("VPConnections %d\n", config->vp_connections);
    printf("KernelThreads %d\n", config->kernel_threads);
    printf("ConnectionStatus %s\n", config->connection_status ? "On" : "Off");
    printf("StallWarning %d\n", config->stall_warning);
    printf("HangTimeout %d\n", config->hang_timeout);
    printf("ConfigTest %s\n", config->config_test_syntax ? "Syntax" : "Full");
    printf("ConfigTestTimeout %d\n", config->config_test_timeout);
    printf("HelperThreads %d\n", config->helper_threads);
    printf("StateThreadedIO %s\n", config->threaded_io ? "On" : "Off");
    printf("ScoreboardDir %s\n", config->scoreboard_dir ? config->scoreboard_dir : "(none)");
    printf("CoreDir %s\n", ap_coredump_dir);
    printf("PidFile %s\n", ap_pid_fname);
    dump_bindings(config);
    dump_slots(config->threaded_io);
    dump_small_pools(config); /* last: it adds functions to those that would be rebound */
}
