/* SPDX-License-Identifier: Apache-2.0 */
/*
 * httpd -t -D DUMP_STM: the compile options, the limits and the configuration in effect, one `name
 * value` a line.
 */
#include <stdio.h>

#include "mpm/config/config.h"
#include "stiol/stiol.h"

static void dump_option(const char *name, bool defined)
{
    printf("%s %s\n", name, defined ? "defined" : "not defined");
}

#ifdef ST_SHUFFLE
#define ST_SHUFFLE_DEFINED true
#else
#define ST_SHUFFLE_DEFINED false
#endif
#ifdef STM_DEBUG
#define STM_DEBUG_DEFINED true
#else
#define STM_DEBUG_DEFINED false
#endif
#ifdef STIOL_DEBUG
#define STIOL_DEBUG_DEFINED true
#else
#define STIOL_DEBUG_DEFINED false
#endif
#ifdef USE_ST_TIME
#define USE_ST_TIME_DEFINED true
#else
#define USE_ST_TIME_DEFINED false
#endif

static void dump_build(void)
{
    printf("STM built with:\n");
    dump_option("STIOL_DEBUG", STIOL_DEBUG_DEFINED);
    dump_option("STM_DEBUG", STM_DEBUG_DEFINED);
    dump_option("ST_SHUFFLE", ST_SHUFFLE_DEFINED);
    dump_option("USE_ST_TIME", USE_ST_TIME_DEFINED);
    printf("STM_LISTENER_LIMIT %d\n", STM_LISTENER_LIMIT);
    printf("STM_SCORE_KEY_SIZE %d\n", STM_SCORE_KEY_SIZE);
    printf("STM_SCORE_LIMIT %d\n", STM_SCORE_LIMIT);
    printf("STM_SCORE_VALUE_SIZE %d\n", STM_SCORE_VALUE_SIZE);
    printf("STM_ST_LIMIT %d\n", STM_ST_LIMIT);
    printf("STM_VP_LIMIT %d\n", STM_VP_LIMIT);
}

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

static void dump_slot(const stiol_slot_t *slot, void *data)
{
    (void)data;
    printf("rebinds %s in %s (%s)%s%s\n", slot->symbol,
           *slot->object ? slot->object : "the server itself", slot->relocation,
           slot->problem ? ": " : "", slot->problem ? slot->problem : "");
}

void stm_dump_config(const stm_config_t *config)
{
    dump_build();
    printf("STM configuration in effect:\n");
    printf("NumVPs %d\n", config->num_vps);
    printf("StartThreads %d\n", config->start_threads);
    printf("MinSpareThreads %d\n", config->min_spare);
    printf("MaxSpareThreads %d\n", config->max_spare);
    printf("MaxThreads %d\n", config->max_threads);
    printf("StackSize %lu\n", (unsigned long)config->stack_size);
    printf("ThreadConnections %d\n", config->thread_connections);
    printf("VPConnections %d\n", config->vp_connections);
    printf("ConnectionStatus %s\n", config->connection_status ? "On" : "Off");
    printf("StallWarning %d\n", config->stall_warning);
    printf("HangTimeout %d\n", config->hang_timeout);
    printf("ConfigTestTimeout %d\n", config->config_test_timeout);
    printf("HelperThreads %d\n", config->helper_threads);
    printf("StateThreadedIO %s\n", config->threaded_io ? "On" : "Off");
    printf("SmallPools %s\n", config->small_pools ? "On" : "Off");
    printf("ScoreboardDir %s\n", config->scoreboard_dir ? config->scoreboard_dir : "(none)");
    printf("CoreDir %s\n", ap_coredump_dir);
    printf("PidFile %s\n", ap_pid_fname);
    dump_bindings(config);
    stiol_would_rebind(dump_slot, NULL);
}
