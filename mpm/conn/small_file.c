/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files are read, not mapped: one read into the buffer that is sent along with the header
 * costs less than mapping a page, faulting it in and unmapping it. EnableMMAP keeps its meaning for
 * larger files. A filter next to the handler sees the file first, replaces it by its contents, and
 * removes itself.
 */
#include <string.h>
#include <unistd.h>

#include <apr_buckets.h>
#include <apr_portable.h>
#include <util_filter.h>

#include "stiol/server.h"
#include "mpm/conn/conn.h"

/* Up to this size (bytes) one read is cheaper; no more than this is read ahead of what the client
 * takes. */
enum { SMALL = STM_SMALL_FILE };

/* Left free in front of the contents, for the response's header (bytes). */
enum { IN_FRONT = 512 };

static ap_filter_rec_t *handle;

/* Reads the bucket's part of its file with one call; false: that is not possible, because what is
 * in the file's buffer would count. */
bool stm_file_read(const apr_bucket *bucket, char *buffer)
{
    apr_file_t *file;
    apr_os_file_t fd;

    if (!APR_BUCKET_IS_FILE(bucket))
        return false;
    file = ((apr_bucket_file *)bucket->data)->fd;
    return !(apr_file_flags_get(file) & APR_FOPEN_BUFFERED) &&
           apr_os_file_get(&fd, file) == APR_SUCCESS &&
           stiol_pread(fd, buffer, bucket->length, bucket->start) == (ssize_t)bucket->length;
}

/* Whether the administrator has asked for the system's sendfile (EnableSendfile). */
static bool is_for_sendfile(const apr_bucket *bucket)
{
    return apr_file_flags_get(((apr_bucket_file *)bucket->data)->fd) & APR_FOPEN_SENDFILE_ENABLED;
}

/* Its address tells our buffers from others. */
static void release(void *buffer)
{
    apr_bucket_free(buffer);
}

bool stm_small_file_prepend(apr_bucket *bucket, const char *data, apr_size_t length)
{
    const apr_bucket_heap *heap = bucket->data;

    if (!APR_BUCKET_IS_HEAP(bucket) || heap->free_func != release || heap->refcount.refcount != 1 ||
        bucket->start < (apr_off_t)length)
        return false;
    bucket->start -= (apr_off_t)length;
    bucket->length += length;
    memcpy(heap->base + bucket->start, data, length);
    return true;
}

/* The bucket's part of its file in a buffer of the bucket's allocator; NULL: one read is not enough
 * (the file has become shorter, or the read fails), and the bucket's reader will see why. */
static char *contents(const apr_bucket *bucket)
{
    char *buffer =
        is_for_sendfile(bucket) ? NULL : apr_bucket_alloc(IN_FRONT + bucket->length, bucket->list);

    if (!buffer || stm_file_read(bucket, buffer + IN_FRONT))
        return buffer;
    apr_bucket_free(buffer);
    return NULL;
}

/* Returns the bucket that is there now; subtracts what was read from the remaining room. */
static apr_bucket *read_not_map(apr_bucket *bucket, apr_size_t *room)
{
    apr_bucket *filled;
    char *buffer;

    if (!APR_BUCKET_IS_FILE(bucket) || !bucket->length || bucket->length > SMALL)
        return bucket;
    buffer = bucket->length <= *room ? contents(bucket) : NULL;
    if (!buffer) {
        apr_bucket_file_enable_mmap(bucket, 0);
        return bucket;
    }
    *room -= bucket->length;
    filled = apr_bucket_heap_create(buffer, IN_FRONT + bucket->length, release, bucket->list);
    filled->start = IN_FRONT;
    filled->length = bucket->length;
    APR_BUCKET_INSERT_BEFORE(bucket, filled);
    apr_bucket_delete(bucket);
    return filled;
}

static apr_status_t small_file_filter(ap_filter_t *filter, apr_bucket_brigade *brigade)
{
    ap_filter_t *next = filter->next;
    apr_size_t room = SMALL;

    for (apr_bucket *bucket = APR_BRIGADE_FIRST(brigade); bucket != APR_BRIGADE_SENTINEL(brigade);
         bucket = APR_BUCKET_NEXT(bucket))
        bucket = read_not_map(bucket, &room);
    ap_remove_output_filter(filter);
    return ap_pass_brigade(next, brigade);
}

/* Called before the handler runs. Responses without a body, or with another server's, need no
 * filter. */
void stm_insert_filter(request_rec *r)
{
    if (r->header_only || r->proxyreq)
        return;
    stm_large_file(r);
    ap_add_output_filter_handle(handle, NULL, r, r->connection);
}

void stm_small_file_register(void)
{
    handle =
        ap_register_output_filter("STM_SMALL_FILE", small_file_filter, NULL, AP_FTYPE_RESOURCE);
}
