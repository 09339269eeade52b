/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small pools next to APR's own: any sequence of calls on a tree of pools does the same to both, in
 * the same order, and allocated memory is never shared. On the virtual processor, on kernel threads
 * at the same time, and handed from one to the other.
 */
#include <string.h>

#include "tests/aprmem/small.h"

enum { POOLS = 6, PIECES = 16, LETTERS = 8, NOTES = 4096, BUFFERS = 8 };

typedef struct piece {
    unsigned char *place;
    size_t size;
    unsigned char fill;
} piece_t;

typedef struct world world_t;

/* What a cleanup is called with. */
typedef struct cell {
    world_t *world;
    char letter;
    int kind;
} cell_t;

/* One pool of the tree, in both kinds. */
typedef struct node {
    apr_pool_t *pool[FUZZ_KINDS]; /* NULL: there is none here now */
    int parent;                   /* -1: the top */
    piece_t pieces[PIECES];       /* of the small one */
    unsigned piece_count;
    apr_bucket_alloc_t *buckets;
    void *buffers[BUFFERS];
} node_t;

struct world {
    fuzz_input_t input;
    node_t nodes[POOLS];
    cell_t cells[FUZZ_KINDS][LETTERS];
    char notes[FUZZ_KINDS][NOTES];
    size_t noted[FUZZ_KINDS];
    node_t *registers_in; /* where a cleanup that registers another one does so */
};

/* --- what cleanups do --- */

static void note(world_t *world, int kind, char letter)
{
    if (world->noted[kind] < NOTES)
        world->notes[kind][world->noted[kind]++] = letter;
}

static apr_status_t noting(void *data)
{
    const cell_t *cell = data;

    note(cell->world, cell->kind, cell->letter);
    return APR_SUCCESS;
}

static apr_status_t noting_as_child(void *data)
{
    (void)data;
    return APR_SUCCESS;
}

static apr_status_t registering(void *data)
{
    cell_t *cell = data;
    const node_t *node = cell->world->registers_in;

    note(cell->world, cell->kind, '+');
    if (node && node->pool[cell->kind])
        apr_pool_cleanup_register(node->pool[cell->kind], data, noting, apr_pool_cleanup_null);
    return APR_SUCCESS;
}

static void compare_notes(world_t *world)
{
    FUZZ_CHECK(world->noted[FUZZ_OURS] == world->noted[FUZZ_APRS]);
    FUZZ_CHECK(memcmp(world->notes[FUZZ_OURS], world->notes[FUZZ_APRS], world->noted[FUZZ_OURS]) ==
               0);
    world->noted[FUZZ_OURS] = world->noted[FUZZ_APRS] = 0;
}

/* --- memory --- */

static void check_pieces(const node_t *node)
{
    for (unsigned i = 0; i < node->piece_count; i++)
        for (size_t at = 0; at < node->pieces[i].size; at++)
            FUZZ_CHECK(node->pieces[i].place[at] == node->pieces[i].fill);
}

/* Its memory has gone. */
static void forget(node_t *node)
{
    node->piece_count = 0;
    node->buckets = NULL;
    memset(node->buffers, 0, sizeof(node->buffers));
}

static void allocate(world_t *world, node_t *node, bool zeroed)
{
    size_t size = fuzz_number(&world->input) % (fuzz_any(&world->input, 8) == 0 ? 65536 : 700);
    piece_t piece = {.size = size, .fill = (unsigned char)fuzz_byte(&world->input)};

    if (node->piece_count == PIECES)
        return;
    piece.place =
        zeroed ? apr_pcalloc(node->pool[FUZZ_OURS], size) : apr_palloc(node->pool[FUZZ_OURS], size);
    FUZZ_CHECK(piece.place && (uintptr_t)piece.place % 8 == 0);
    for (size_t at = 0; zeroed && at < size; at++)
        FUZZ_CHECK(piece.place[at] == 0);
    memset(piece.place, piece.fill, size);
    node->pieces[node->piece_count++] = piece;
}

static void print(world_t *world, const node_t *node)
{
    int width = (int)(fuzz_number(&world->input) % 10000), number = (int)fuzz_byte(&world->input);
    const char *ours = apr_psprintf(node->pool[FUZZ_OURS], "%*d|%s", width, number, "end");
    const char *aprs = apr_psprintf(node->pool[FUZZ_APRS], "%*d|%s", width, number, "end");

    FUZZ_CHECK(strcmp(ours, aprs) == 0);
    FUZZ_CHECK(strcmp(apr_pstrcat(node->pool[FUZZ_OURS], "<", ours, ">", NULL) + 1,
                      apr_pstrcat(node->pool[FUZZ_APRS], aprs, ">", NULL)) == 0);
}

static void use_buckets(world_t *world, node_t *node)
{
    unsigned at = fuzz_any(&world->input, BUFFERS);

    if (!node->buckets)
        node->buckets = apr_bucket_alloc_create(node->pool[FUZZ_OURS]);
    if (node->buffers[at]) {
        apr_bucket_free(node->buffers[at]);
        node->buffers[at] = NULL;
        return;
    }
    node->buffers[at] = apr_bucket_alloc(fuzz_number(&world->input) % 9000 + 1, node->buckets);
    FUZZ_CHECK(node->buffers[at]);
}

/* --- cleanups and data, done to both --- */

static void change_cleanups(world_t *world, const node_t *node)
{
    unsigned letter = fuzz_any(&world->input, LETTERS), what = fuzz_any(&world->input, 8);

    for (int kind = 0; kind < FUZZ_KINDS; kind++) {
        apr_pool_t *pool = node->pool[kind];
        void *cell = &world->cells[kind][letter];

        if (what < 2)
            apr_pool_cleanup_register(pool, cell, noting, apr_pool_cleanup_null);
        else if (what == 2)
            apr_pool_pre_cleanup_register(pool, cell, noting);
        else if (what == 3)
            apr_pool_cleanup_kill(pool, cell, noting);
        else if (what == 4)
            FUZZ_CHECK(apr_pool_cleanup_run(pool, cell, noting) == APR_SUCCESS);
        else if (what == 5)
            apr_pool_child_cleanup_set(pool, cell, noting, noting_as_child);
        else if (what == 6)
            apr_pool_cleanup_register(pool, cell, registering, apr_pool_cleanup_null);
        else
            apr_pool_cleanup_kill(pool, cell, registering);
    }
}

static void change_data(world_t *world, const node_t *node)
{
    static const char *const keys[] = {"", "key", "another", "Key"};
    const char *key = keys[fuzz_any(&world->input, 4)];
    unsigned letter = fuzz_any(&world->input, LETTERS), what = fuzz_any(&world->input, 3);
    void *found[FUZZ_KINDS] = {NULL, NULL};

    for (int kind = 0; kind < FUZZ_KINDS; kind++) {
        void *cell = &world->cells[kind][letter];

        if (what == 0)
            apr_pool_userdata_set(cell, key, noting, node->pool[kind]);
        else if (what == 1)
            apr_pool_userdata_setn(cell, key, NULL, node->pool[kind]);
        FUZZ_CHECK(apr_pool_userdata_get(&found[kind], key, node->pool[kind]) == APR_SUCCESS);
    }
    FUZZ_CHECK((!found[0]) == (!found[1]));
    if (found[0])
        FUZZ_CHECK(((cell_t *)found[0])->letter == ((cell_t *)found[1])->letter);
}

/* --- the tree --- */

/* The pools below one that goes. */
static void forget_below(world_t *world, int index)
{
    for (int i = 0; i < POOLS; i++)
        if (world->nodes[i].pool[0] && world->nodes[i].parent == index) {
            forget_below(world, i);
            forget(&world->nodes[i]);
            world->nodes[i].pool[0] = world->nodes[i].pool[1] = NULL;
        }
}

static void make(world_t *world, int parent)
{
    for (int i = 0; i < POOLS; i++) {
        node_t *node = &world->nodes[i];

        if (node->pool[0])
            continue;
        node->parent = parent;
        for (int kind = 0; kind < FUZZ_KINDS; kind++) {
            node->pool[kind] =
                fuzz_pool(kind, parent < 0 ? fuzz_top[kind] : world->nodes[parent].pool[kind]);
            FUZZ_CHECK(apr_pool_parent_get(node->pool[kind]) ==
                       (parent < 0 ? fuzz_top[kind] : world->nodes[parent].pool[kind]));
            apr_pool_tag(node->pool[kind], "fuzz");
        }
        return;
    }
}

static void end(world_t *world, int index, bool destroy)
{
    node_t *node = &world->nodes[index];

    for (int i = 0; i < POOLS; i++)
        check_pieces(&world->nodes[i]);
    forget_below(world, index);
    world->registers_in = node;
    for (int kind = 0; kind < FUZZ_KINDS; kind++)
        if (destroy)
            apr_pool_destroy(node->pool[kind]);
        else
            apr_pool_clear(node->pool[kind]);
    world->registers_in = NULL;
    compare_notes(world);
    forget(node);
    if (destroy)
        node->pool[0] = node->pool[1] = NULL;
}

static void relate(const node_t *a, const node_t *b)
{
    FUZZ_CHECK(apr_pool_is_ancestor(a->pool[0], b->pool[0]) ==
               apr_pool_is_ancestor(a->pool[1], b->pool[1]));
}

/* --- the sequence --- */

static void step(world_t *world)
{
    int index = (int)fuzz_any(&world->input, POOLS), other;
    node_t *node = &world->nodes[index];

    if (!node->pool[0]) {
        make(world, -1);
        return;
    }
    switch (fuzz_any(&world->input, 10)) {
    case 0:
        make(world, index);
        break;
    case 1:
        end(world, index, false);
        break;
    case 2:
        end(world, index, true);
        break;
    case 3:
        allocate(world, node, true);
        break;
    case 4:
        print(world, node);
        break;
    case 5:
        use_buckets(world, node);
        break;
    case 6:
    case 7:
        change_cleanups(world, node);
        break;
    case 8:
        change_data(world, node);
        other = (int)fuzz_any(&world->input, POOLS);
        if (world->nodes[other].pool[0])
            relate(node, &world->nodes[other]);
        break;
    default:
        allocate(world, node, false);
    }
    compare_notes(world);
}

static void *some_steps(void *data)
{
    world_t *world = data;

    for (int i = 0; i < 20 && fuzz_more(&world->input); i++)
        step(world);
    return NULL;
}

static world_t *new_world(fuzz_input_t input)
{
    world_t *world = calloc(1, sizeof(*world));

    FUZZ_CHECK(world);
    world->input = input;
    for (int kind = 0; kind < FUZZ_KINDS; kind++)
        for (int i = 0; i < LETTERS; i++)
            world->cells[kind][i] = (cell_t){world, (char)('a' + i), kind};
    return world;
}

/* The rest is destroyed. */
static void end_world(world_t *world)
{
    for (int i = POOLS - 1; i >= 0; i--)
        if (world->nodes[i].pool[0])
            end(world, i, true);
    free(world);
}

static void run(fuzz_input_t input)
{
    world_t *world = new_world(input);

    while (fuzz_more(&world->input))
        some_steps(world);
    end_world(world);
}

/* Every twenty steps, another kernel thread continues. */
static void run_in_turn(fuzz_input_t input)
{
    world_t *world = new_world(input);

    while (fuzz_more(&world->input)) {
        some_steps(world);
        fuzz_elsewhere(some_steps, world);
    }
    end_world(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, data + size};
    unsigned how = fuzz_any(&input, 8);

    if (how == 7)
        run_in_turn(input);
    else
        fuzz_run(run, input, how > 4 ? how - 4 : 0);
    return 0;
}
