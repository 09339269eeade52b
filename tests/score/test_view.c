/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader against a writer: sums are exact, a file that changes meanwhile is read consistently
 * or reported as torn, and one whose writer died is still shown. Whatever was written there comes
 * out as plain text.
 */
#include "score/view.h"
#include "tests/harness.h"
#include "tests/score/sample.h"

static stm_view_t view;

static bool read_memory(const char *sample, size_t size)
{
    sample_t whole = {sample, size};
    const stm_view_source_t source = {.read = sample_read, .baton = &whole};

    stm_view_free(&view);
    return stm_view_read(&view, 0, &source, STM_VIEW_THREADS | STM_VIEW_CONNECTIONS);
}

static void sums(void)
{
    size_t size;
    char *sample = sample_make(0, &size);

    assert_true(read_memory(sample, size));
    assert_int_equal(view.total.connections, SAMPLE_CONNECTIONS_PRIOR + SAMPLE_CONNECTIONS_LEAVING +
                                                 SAMPLE_CONNECTIONS_NOW);
    assert_int_equal(view.prior.connections, SAMPLE_CONNECTIONS_PRIOR + SAMPLE_CONNECTIONS_LEAVING);
    assert_int_equal(view.current.connections, SAMPLE_CONNECTIONS_NOW);
    assert_int_equal(view.total.conns, 3);
    assert_int_equal(view.total.threads_peak, 9);
    assert_int_equal(view.total.pid, 4242);
    assert_int_equal(view.leaving, 1);
    assert_int_equal(view.listener_count, 2);
    assert_int_equal(view.listeners[0].connections, SAMPLE_CONNECTIONS_PRIOR + 3);
    assert_int_equal(view.thread_count, 3);
    assert_int_equal(view.row_count, 2);
    assert_int_equal(view.rows[0]->row.serial, 2); /* the busy one first */
    assert_string_equal(stm_view_value(&view, view.rows[1], 0), "Keepalive");
    assert_false(view.torn);
    free(sample);
}

static void every_length(void)
{
    size_t size;
    char *sample = sample_make(0, &size);

    for (size_t cut = 0; cut < size; cut += 8) {
        char *part = malloc(cut ? cut : 1);
        bool readable;

        memcpy(part, sample, cut);
        readable = read_memory(part, cut);
        assert_int_equal(readable, *view.problem == '\0');
        if (cut < STM_SCORE_PAGE)
            assert_false(readable);
        free(part);
    }
    free(sample);
}

static void dead_writer(void)
{
    size_t size;
    char *sample = sample_make(0, &size);

    ((stm_score_header_t *)sample)->sequence |= 1;
    assert_true(read_memory(sample, size));
    assert_true(view.torn);
    assert_int_equal(view.current.connections, SAMPLE_CONNECTIONS_NOW);
    free(sample);
}

/* --- a writer at work --- */

enum { CHANGES = 300000 };

static char *shared;
static int finished;

static void begin(uint64_t *sequence)
{
    __atomic_store_n(sequence, *sequence | 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static void end(uint64_t *sequence)
{
    __atomic_store_n(sequence, (*sequence | 1) + 1, __ATOMIC_RELEASE);
}

/* Moves what a block has counted to the sums and back, as the master does when a VP ends; and
 * rewrites a row with one character all over, as a VP does. */
static void *write_on(void *data)
{
    stm_score_header_t *header = (stm_score_header_t *)shared;
    stm_score_block_t *block = sample_block(shared, 1);
    stm_score_row_t *row = (stm_score_row_t *)((char *)block + header->connections_at);
    char *value = (char *)(row + 1) + SAMPLE_KEY_SIZE;

    (void)data;
    for (int i = 0; i < CHANGES; i++) {
        begin(&header->sequence);
        header->prior.connections += block->vp.connections;
        block->vp.connections = 0;
        header->current = i & 1 ? 2 : 0;
        header->taken = i & 1 ? 3 : 1;
        block->vp.connections = header->prior.connections / 2;
        header->prior.connections -= block->vp.connections;
        if (header->taken == 1) {
            header->prior.connections += block->vp.connections;
            block->vp.connections = 0;
        }
        end(&header->sequence);
        begin(&row->sequence);
        memset(value, 'a' + i % 26, SAMPLE_VALUE_SIZE - 1);
        end(&row->sequence);
    }
    __atomic_store_n(&finished, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void check_row(void)
{
    for (unsigned i = 0; i < view.row_count; i++) {
        const char *value = stm_view_value(&view, view.rows[i], 0);

        if (view.rows[i]->row.serial != 1)
            continue;
        if (strcmp(value, "Keepalive") != 0)
            assert_int_equal(strspn(value, (char[]){*value, '\0'}), SAMPLE_VALUE_SIZE - 1);
    }
}

static void concurrent_writer(void)
{
    unsigned consistent = 0;
    pthread_t writer;
    size_t size;

    shared = sample_make(0, &size);
    assert_int_equal(pthread_create(&writer, NULL, write_on, NULL), 0);
    while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE)) {
        assert_true(read_memory(shared, size));
        check_row();
        if (view.torn)
            continue;
        consistent++;
        assert_int_equal(view.total.connections, SAMPLE_CONNECTIONS_PRIOR +
                                                     SAMPLE_CONNECTIONS_LEAVING +
                                                     SAMPLE_CONNECTIONS_NOW);
    }
    pthread_join(writer, NULL);
    assert_true(read_memory(shared, size));
    assert_false(view.torn);
    assert_true(consistent > 0);
    free(shared);
}

/* --- untrusted text --- */

typedef struct {
    char bytes[1 << 16];
    size_t size;
} output_t;

static void keep(void *baton, const char *data, size_t size)
{
    output_t *output = baton;

    assert_true(size < sizeof(output->bytes) - output->size);
    memcpy(output->bytes + output->size, data, size);
    output->size += size;
}

static size_t encode(char *to, uint32_t character)
{
    size_t length = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;

    for (size_t i = length; i-- > 1; character >>= 6)
        to[i] = (char)(0x80 | (character & 0x3f));
    to[0] = (char)(length == 1 ? character : (0xf00u >> length & 0xf0u) | character);
    to[length] = '\0';
    return length;
}

static void every_character(void)
{
    char text[8];

    for (uint32_t character = 1; character < 0x110000; character++) {
        const char *at = text;
        size_t length = encode(text, character);

        if (character >= 0xd800 && character < 0xe000) { /* surrogates are none */
            assert_int_equal(stm_text_next(&at), STM_TEXT_INVALID | 0xed);
            continue;
        }
        assert_int_equal(stm_text_next(&at), character);
        assert_ptr_equal(at, text + length);
    }
}

static void any_bytes_are_advanced_over(void)
{
    uint64_t random = 1;

    for (int i = 0; i < 200000; i++) {
        char text[6] = "";
        const char *at = text;

        random = random * 6364136223846793005u + 1442695040888963407u;
        memcpy(text, (const char *)&random + 3, sizeof(text) - 1);
        while (*at) {
            const char *before = at;
            uint32_t character = stm_text_next(&at);

            assert_true(at > before && at <= before + strlen(before));
            assert_true(character < 0x110000 || (character & ~STM_TEXT_INVALID) >= 0x80);
        }
    }
}

static void what_is_not_shown(void)
{
    static const uint32_t unseen[] = {0,      0x1b,   0x1f,   0x7f,   0x80,   0x9b,   0x9f,
                                      0x61c,  0x200b, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a,
                                      0x202e, 0x2066, 0x2069, 0xfeff, 0xfffe, 0xe0041},
                          seen[] = {' ',    '~',    0xa0,   0xe9,   0x416,   0x200a, 0x2010,
                                    0x2027, 0x2030, 0x4e2d, 0xfffd, 0x1f600, 0xe1000};

    for (size_t i = 0; i < sizeof(unseen) / sizeof(*unseen); i++)
        assert_true(stm_text_unseen(unseen[i]));
    for (size_t i = 0; i < sizeof(seen) / sizeof(*seen); i++)
        assert_false(stm_text_unseen(seen[i]));
}

/* Whatever a row, a key or an address contains, each form prints plain ASCII. */
static void check_plain(char *sample, size_t size)
{
    static output_t output;
    const stm_text_t text = {.put = keep, .baton = &output};

    output.size = 0;
    assert_true(read_memory(sample, size));
    stm_text_json(&text, &view, 1, 1000000);
    stm_text_openmetrics(&text, &view, 1);
    for (size_t i = 0; i < output.size; i++) {
        char c = output.bytes[i];

        assert_true((c >= ' ' && c < 0x7f) || c == '\n');
    }
}

static void forms_are_plain(void)
{
    size_t size;
    char *sample = sample_make(0, &size);
    const stm_score_header_t *header = (const stm_score_header_t *)sample;
    char *block = (char *)sample_block(sample, 1), *row = block + header->connections_at;
    stm_score_listener_t *listeners = (stm_score_listener_t *)(block + header->listeners_at);
    char *key = row + sizeof(stm_score_row_t), *value = key + SAMPLE_KEY_SIZE;

    for (uint32_t character = 1; character < 0x2100; character++) {
        encode(value, character);
        encode(key, character);
        encode(listeners[1].address, character);
        check_plain(sample, size);
    }
    memset(listeners, 0x9b, sizeof(*listeners) * 2); /* no null anywhere */
    memset(key, 0x9b, SAMPLE_KEY_SIZE + SAMPLE_VALUE_SIZE);
    check_plain(sample, size);
    free(sample);
}

/* --- many listeners --- */

enum { MANY = 20000 };

/* The sample, with room for that many listeners and a table of them in its header. */
static char *with_listeners(uint64_t room, uint64_t *size)
{
    size_t small, table = room * sizeof(stm_score_listener_t);
    char *sample = sample_make(0, &small), *large;
    stm_score_header_t *header = (stm_score_header_t *)sample;

    header->header_size = (uint32_t)(sizeof(*header) + table);
    header->listeners_max = (uint32_t)room;
    header->threads_at = header->listeners_at + table;
    header->connections_at = header->threads_at + SAMPLE_THREADS * sizeof(stm_score_thread_t);
    header->waits_at = header->connections_at + SAMPLE_THREADS * SAMPLE_ROW_SIZE;
    header->block_size = header->waits_at + header->waits_max * sizeof(stm_score_wait_t);
    *size = header->header_size + SAMPLE_BLOCKS * header->block_size;
    large = calloc(1, *size);
    memcpy(large, header, sizeof(*header));
    free(sample);
    return large;
}

static stm_score_listener_t *listeners_of(char *sample, int block)
{
    const stm_score_header_t *header = (const stm_score_header_t *)sample;

    return (stm_score_listener_t *)((char *)sample_block(sample, block) + header->listeners_at);
}

/* Each address that the sums, a leaving VP or the present one names appears once, with the sum of
 * their counts; the two blocks list them in different orders. */
static void many_listeners(void)
{
    uint64_t size;
    char *sample = with_listeners(MANY, &size);
    stm_score_header_t *header = (stm_score_header_t *)sample;

    header->listeners = MANY;
    for (int i = 0; i < MANY; i++) {
        snprintf(header->prior_listeners[i].address, STM_SCORE_ADDRESS, "10.0.0.1:%d", i);
        header->prior_listeners[i].connections = 1000;
    }
    for (int block = 0; block < SAMPLE_BLOCKS; block++) {
        sample_block(sample, block)->listeners = MANY / 2;
        for (int i = 0; i < MANY / 2; i++) {
            int number = block ? i : MANY - 1 - i;

            snprintf(listeners_of(sample, block)[i].address, STM_SCORE_ADDRESS, "10.0.0.1:%d",
                     number);
            listeners_of(sample, block)[i].connections = (uint64_t)number;
        }
    }
    assert_true(read_memory(sample, size));
    assert_int_equal(view.listener_count, MANY);
    for (int i = 0; i < MANY; i++) {
        char address[STM_SCORE_ADDRESS];

        snprintf(address, sizeof(address), "10.0.0.1:%d", i);
        assert_string_equal(view.listeners[i].address, address);
        assert_int_equal(view.listeners[i].connections, 1000 + i);
    }
    free(sample);
}

/* A VP may claim anything about its table: nothing beyond its end is read. */
static void a_count_that_is_a_lie(void)
{
    static const uint64_t lies[] = {3, SAMPLE_LISTENERS + 1, UINT64_MAX, UINT64_MAX / 128,
                                    1u << 31};
    size_t size;
    char *sample = sample_make(0, &size);

    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        sample_block(sample, 1)->listeners = lies[i];
        assert_true(read_memory(sample, size));
        assert_int_equal(view.listener_count, 2);
    }
    ((stm_score_header_t *)sample)->listeners = SAMPLE_LISTENERS + 1;
    assert_false(read_memory(sample, size));
    free(sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(sums),
        RAW_TEST(every_length),
        RAW_TEST(dead_writer),
        RAW_TEST(concurrent_writer),
        RAW_TEST(every_character),
        RAW_TEST(any_bytes_are_advanced_over),
        RAW_TEST(what_is_not_shown),
        RAW_TEST(forms_are_plain),
        RAW_TEST(many_listeners),
        RAW_TEST(a_count_that_is_a_lie),
    };
    int failed = cmocka_run_group_tests_name("the reader of scoreboards", tests, NULL, NULL);

    stm_view_free(&view);
    return failed;
}
