/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a scoreboard: the reader must refuse or read them, and every text form must print
 * what it read as plain ASCII.
 */
#include <stdlib.h>
#include <string.h>

#include "score/view.h"
#include "score/waits.h"
#include "tests/fuzz/fuzz.h"
#include "tests/score/sample.h"

static void swallow(void *baton, const char *data, size_t size)
{
    size_t *sum = baton;

    for (size_t i = 0; i < size; i++) {
        if ((data[i] < ' ' || data[i] > '~') && data[i] != '\n')
            abort(); /* a byte that a terminal might interpret */
        *sum += (unsigned char)data[i];
    }
}

/* Keeps the corpus valid when score.def changes: any version and fingerprint other than 0 are
 * replaced by the right ones. */
static uint8_t *with_fingerprint(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    stm_score_header_t *header = (stm_score_header_t *)copy;

    if (!copy)
        abort();
    memcpy(copy, data, size);
    if (size < sizeof(*header))
        return copy;
    if (header->version)
        header->version = STM_SCORE_VERSION;
    if (header->fingerprint)
        header->fingerprint = stm_score_fingerprint();
    return copy;
}

static void print_waits(const stm_text_t *text, const stm_view_t *view)
{
    stm_waits_t waits;
    char words[STM_WAITS_WORDS];

    if (!stm_waits_collect(&waits, view, 1, 1000000))
        abort();
    for (unsigned i = 0; i < waits.count; i++)
        if (!memchr(stm_waits_words(waits.waiting[i].wait, words), '\0', sizeof(words)))
            abort();
    stm_waits_json(text, &waits, 1000000);
    stm_waits_free(&waits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = with_fingerprint(data, size);
    sample_t sample = {(const char *)copy, size};
    const stm_view_source_t source = {.read = sample_read, .baton = &sample};
    size_t sum = 0;
    const stm_text_t text = {.put = swallow, .baton = &sum};
    stm_view_t view;
    bool readable =
        stm_view_read(&view, 0, &source, STM_VIEW_THREADS | STM_VIEW_CONNECTIONS | STM_VIEW_WAITS);

    if (readable != (*view.problem == '\0'))
        abort(); /* a refusal has a reason, and nothing else has */
    stm_text_json(&text, &view, 1, 1000000);
    stm_text_openmetrics(&text, &view, 1);
    print_waits(&text, &view);
    stm_view_free(&view);
    free(copy);
    return sum == 0;
}
