// SPDX-License-Identifier: Apache-2.0
/*
 * The files of a slowfs: a tree in memory. Generated files have a size and no bytes of their own.
 * Called by calls.c, and by main.c for the files that exist from the start.
 */
#include "tests/slowfs/slowfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILE_LIMIT ((size_t)1 << 30) /* bytes: what a file may have */

struct node tree_root = {.mode = S_IFDIR | 0777, .number = FUSE_ROOT_ID};

static ino_t last_number = FUSE_ROOT_ID;

static void touch(struct node *node)
{
    clock_gettime(CLOCK_REALTIME, &node->changed);
}

static void append(struct node *folder, struct node *node)
{
    struct node **place = &folder->children;
    while (*place)
        place = &(*place)->next;
    *place = node;
    node->next = NULL;
    node->parent = folder;
    touch(folder);
}

struct node *tree_child(const struct node *folder, const char *name)
{
    struct node *node = folder->children;
    while (node && strcmp(node->name, name) != 0)
        node = node->next;
    return node;
}

struct node *tree_add(struct node *folder, const char *name, mode_t mode)
{
    struct node *node = calloc(1, sizeof(*node));
    if (!node || !(node->name = strdup(name))) {
        free(node);
        return NULL;
    }
    node->mode = mode;
    node->number = ++last_number;
    touch(node);
    append(folder, node);
    return node;
}

void tree_remove(struct node *node)
{
    struct node **place = &node->parent->children;
    while (*place != node)
        place = &(*place)->next;
    *place = node->next;
    touch(node->parent);
}

void tree_move(struct node *node, struct node *folder, const char *name)
{
    char *copy = strdup(name);
    if (!copy)
        return;
    tree_remove(node);
    free(node->name);
    node->name = copy;
    append(folder, node);
}

/* Gives a generated file bytes of its own, so that they can be changed. */
static int materialize(struct node *node)
{
    if (node->data)
        return 0;
    node->data = malloc(node->size + 1);
    if (!node->data)
        return ENOMEM;
    for (size_t i = 0; i < node->size; i++)
        node->data[i] = (char)(i % PATTERN_PERIOD);
    return 0;
}

int tree_resize(struct node *node, size_t size)
{
    if (size > FILE_LIMIT)
        return EFBIG;
    int error = materialize(node);
    if (error != 0)
        return error;
    char *data = realloc(node->data, size + 1);
    if (!data)
        return ENOMEM;
    if (size > node->size)
        memset(data + node->size, 0, size - node->size);
    node->data = data;
    node->size = size;
    touch(node);
    return 0;
}

int tree_write(struct node *node, const char *data, size_t length, size_t offset)
{
    size_t end = offset + length;
    int error = end > node->size ? tree_resize(node, end) : materialize(node);
    if (error != 0)
        return error;
    memcpy(node->data + offset, data, length);
    touch(node);
    return 0;
}

void tree_stat(const struct node *node, struct stat *into)
{
    *into = (struct stat){.st_ino = node->number,
                          .st_mode = node->mode,
                          .st_nlink = 1,
                          .st_uid = geteuid(),
                          .st_gid = getegid(),
                          .st_size = (off_t)node->size,
                          .st_blksize = 4096,
                          .st_blocks = (blkcnt_t)((node->size + 511) / 512),
                          .st_atim = node->changed,
                          .st_mtim = node->changed,
                          .st_ctim = node->changed};
}

/* --- generated files --- */

/* A file at `path` below the root. `path` is changed. */
static bool generate_one(char *path, size_t size)
{
    struct node *folder = &tree_root;
    char *slash;
    while ((slash = strchr(path, '/'))) {
        *slash = '\0';
        struct node *next = tree_child(folder, path);
        folder = next ? next : tree_add(folder, path, S_IFDIR | 0777);
        if (!folder || !S_ISDIR(folder->mode))
            return false;
        path = slash + 1;
    }
    struct node *node =
        *path == '\0' || tree_child(folder, path) ? NULL : tree_add(folder, path, S_IFREG | 0666);
    if (node)
        node->size = size;
    return node;
}

bool tree_generate(const char *text)
{
    char name[256], path[300];
    size_t size;
    unsigned count = 1;
    int end = 0;
    if (sscanf(text, "%255[^:]:%zu%n:%u%n", name, &size, &end, &count, &end) < 2 ||
        text[end] != '\0' || size > FILE_LIMIT)
        return false;
    char *mark = strchr(name, '#');
    if (!mark)
        return count == 1 && generate_one(name, size);
    *mark = '\0';
    for (unsigned i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s%u%s", name, i, mark + 1);
        if (!generate_one(path, size))
            return false;
    }
    return true;
}
