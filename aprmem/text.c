/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formatted text in a small pool: it is written where the pool's next bytes would come from, and
 * moved to a larger piece whenever it turns out to be longer.
 */
#include <apr_lib.h>
#include <string.h>

#include "aprmem/aprmem_int.h"

enum { LEAST_ROOM = 32 }; /* bytes; not worth starting with less room */

typedef struct text {
    apr_vformatter_buff_t buffer; /* must be first: it is all that apr_vformatter() knows */
    aprmem_pool_t *pool;
    aprmem_room_t room; /* bytes written, and the maximum */
    bool moved;         /* room is the pool's newest piece */
} text_t;

/* One byte is reserved for the NUL. */
static void use(text_t *text, aprmem_room_t room, size_t length)
{
    text->room = room;
    text->buffer.curpos = room.at + length;
    text->buffer.endpos = room.end - 1;
}

static int move(apr_vformatter_buff_t *buffer)
{
    text_t *text = (text_t *)(void *)buffer;
    size_t length = (size_t)(buffer->curpos - text->room.at);
    void *last = text->moved ? text->pool->pieces : NULL;
    aprmem_room_t room;

    if (!aprmem__piece(text->pool, 2 * length + LEAST_ROOM, &room))
        return -1;
    memcpy(room.at, text->room.at, length);
    if (last) { /* now the second newest */
        *(void **)text->pool->pieces = *(void **)last;
        aprmem__give_bytes(last);
    }
    text->moved = true;
    use(text, room, length);
    return 0;
}

/* What the text does not need goes back to the pool. */
static char *finish(text_t *text)
{
    char *string = text->room.at;

    *text->buffer.curpos++ = '\0';
    text->room.at += aprmem__aligned((size_t)(text->buffer.curpos - string));
    if (text->room.at > text->room.end)
        text->room.at = text->room.end;
    if (text->moved)
        aprmem__keep_room(text->pool, text->room);
    else
        text->pool->room = text->room;
    return string;
}

char *aprmem__apr_pvsprintf(apr_pool_t *handle, const char *format, va_list args)
{
    aprmem_pool_t *pool = aprmem__pool(handle);
    text_t text = {.pool = pool};

    if (!aprmem__ours(handle))
        return aprmem__real.apr_pvsprintf(handle, format, args);
    use(&text, pool->room, 0);
    if ((aprmem__left(pool->room) >= LEAST_ROOM || move(&text.buffer) == 0) &&
        apr_vformatter(move, &text.buffer, format, args) != -1)
        return finish(&text);
    if (pool->abort_fn)
        pool->abort_fn(APR_ENOMEM);
    return NULL;
}

char *aprmem__apr_psprintf(apr_pool_t *pool, const char *format, ...)
{
    va_list args;
    char *string;

    va_start(args, format);
    string = aprmem__apr_pvsprintf(pool, format, args);
    va_end(args);
    return string;
}
