/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of the scoreboards' counters, made from score.def, and the operations on them. Uses
 * only the C library: the module and stmstat are linked with it.
 */
#include "score/layout.h"

#define FIELD(group, struct_type, name, type, unit, level, brief, help)                            \
    {#name, group, STM_SCORE_TYPE_##type,      STM_SCORE_UNIT_##unit, STM_SCORE_LEVEL_##level,     \
     brief, help,  offsetof(struct_type, name)},

const stm_score_field_t stm_score_fields[] = {
#define STM_SCORE_VP(name, type, unit, level, brief, help)                                         \
    FIELD(STM_SCORE_OF_VP, stm_score_vp_t, name, type, unit, level, brief, help)
#define STM_SCORE_VP_HISTOGRAM(name, unit, level, brief, help)                                     \
    FIELD(STM_SCORE_OF_VP, stm_score_vp_t, name, histogram, unit, level, brief, help)
#define STM_SCORE_LISTENER(name, type, unit, level, brief, help)                                   \
    FIELD(STM_SCORE_OF_LISTENER, stm_score_listener_t, name, type, unit, level, brief, help)
#define STM_SCORE_THREAD(name, type, unit, level, brief, help)                                     \
    FIELD(STM_SCORE_OF_THREAD, stm_score_thread_t, name, type, unit, level, brief, help)
#include "score/score.def"
};
const int stm_score_field_count = sizeof(stm_score_fields) / sizeof(*stm_score_fields);

const char *const stm_score_type_names[] = {"counter", "gauge", "peak",
                                            "info",    "time",  "histogram"};
const char *const stm_score_unit_names[] = {"", "bytes", "seconds"};
const char *const stm_score_level_names[] = {"main", "detail", "debug"};
const char *const stm_score_group_names[] = {"vp", "listener", "thread"};

static uint64_t mix(uint64_t hash, const char *text)
{
    do
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u; /* FNV-1a */
    while (*text++);
    return hash;
}

uint64_t stm_score_fingerprint(void)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];

        hash = mix(hash, stm_score_group_names[field->group]);
        hash = mix(hash, stm_score_type_names[field->type]);
        hash = mix(hash, field->name);
    }
    return hash;
}

static void add_one(const stm_score_field_t *field, uint64_t *sum, const uint64_t *from)
{
    int words = field->type == STM_SCORE_TYPE_histogram ? STM_SCORE_BUCKETS + 1 : 1;

    if (field->type == STM_SCORE_TYPE_peak)
        *sum = *from > *sum ? *from : *sum;
    if (field->type != STM_SCORE_TYPE_counter && field->type != STM_SCORE_TYPE_histogram)
        return;
    for (int i = 0; i < words; i++)
        sum[i] += from[i];
}

void stm_score_add(stm_score_group_e group, void *sum, const void *from)
{
    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];

        if (field->group == group)
            add_one(field, (uint64_t *)((char *)sum + field->offset),
                    (const uint64_t *)((const char *)from + field->offset));
    }
}

void stm_score_add_gauges(stm_score_group_e group, void *sum, const void *from)
{
    for (int i = 0; i < stm_score_field_count; i++) {
        const stm_score_field_t *field = &stm_score_fields[i];

        if (field->group == group && field->type == STM_SCORE_TYPE_gauge)
            *(uint64_t *)((char *)sum + field->offset) +=
                *(const uint64_t *)((const char *)from + field->offset);
    }
}

uint64_t stm_score_bucket_bound(int bucket)
{
    return bucket < STM_SCORE_BUCKETS - 1 ? (uint64_t)STM_SCORE_BUCKET_FIRST << bucket : 0;
}
