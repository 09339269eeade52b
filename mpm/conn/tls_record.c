/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With TLS, a response's header and the beginning of its body leave in one record and one write.
 * mod_ssl makes a record of each bucket; its own filter joins small ones, but only up to 8 KB. Ours
 * stands before that one and makes the first bucket of what it passes on as large as a record may
 * be. What is held back waits for more data, or for the first bucket that is not data (FLUSH, EOR,
 * ...): the same rule as mod_ssl's.
 */
#include <string.h>

#include <apr_buckets.h>
#include <util_filter.h>

#include "mpm/conn/conn.h"

/* The most plaintext that a record takes, and the smallest buffer (bytes). */
enum {
    RECORD = 16384,
    LEAST = 512,
};

/* What is held back of a connection's output; lives in its pool. */
typedef struct {
    char *bytes; /* of the connection's bucket allocator, or NULL */
    apr_size_t used, size;
    apr_bucket_brigade *record; /* for a record that is passed on alone; NULL until then */
} head_t;

static const ap_filter_rec_t *coalesce; /* mod_ssl's filter; NULL if it is not loaded */
static ap_filter_rec_t *handle;

static bool is_data(const apr_bucket_brigade *brigade, const apr_bucket *bucket)
{
    return bucket != APR_BRIGADE_SENTINEL(brigade) && !APR_BUCKET_IS_METADATA(bucket) &&
           bucket->length != (apr_size_t)-1;
}

/* How many bytes the head will have, up to a record, once the data at the brigade's beginning has
 * joined it. */
static apr_size_t joined_size(const head_t *head, const apr_bucket_brigade *brigade)
{
    apr_size_t size = head->used;

    for (const apr_bucket *bucket = APR_BRIGADE_FIRST(brigade);
         size < RECORD && is_data(brigade, bucket); bucket = APR_BUCKET_NEXT(bucket))
        size += bucket->length < RECORD ? bucket->length : RECORD;
    return size < RECORD ? size : RECORD;
}

/* Makes room for `size` bytes in all. False: no memory. */
static bool reserve(head_t *head, apr_size_t size, apr_bucket_alloc_t *list)
{
    char *bytes;

    if (head->bytes && size <= head->size)
        return true;
    if (size < 2 * head->size) /* many small writes */
        size = 2 * head->size < RECORD ? 2 * head->size : RECORD;
    if (size < LEAST)
        size = LEAST;
    bytes = apr_bucket_alloc(size, list);
    if (!bytes)
        return false;
    if (head->bytes) {
        memcpy(bytes, head->bytes, head->used);
        apr_bucket_free(head->bytes);
    }
    head->bytes = bytes;
    head->size = size;
    return true;
}

/* Also the connection's cleanup: it may end without having sent everything. */
static apr_status_t forget(void *data)
{
    head_t *head = data;

    if (head->bytes)
        apr_bucket_free(head->bytes);
    head->bytes = NULL;
    head->used = head->size = 0;
    return APR_SUCCESS;
}

/* Moves the bucket, or as much of it as can be read at once, to the head, which has room for it. */
static apr_status_t take(head_t *head, apr_bucket *bucket)
{
    const char *data;
    apr_size_t length;
    apr_status_t rv;

    if (stm_file_read(bucket, head->bytes + head->used)) {
        head->used += bucket->length;
    } else {
        if (APR_BUCKET_IS_FILE(bucket))
            apr_bucket_file_enable_mmap(bucket, 0); /* it may have become shorter */
        rv = apr_bucket_read(bucket, &data, &length, APR_BLOCK_READ);
        if (rv != APR_SUCCESS)
            return rv;
        memcpy(head->bytes + head->used, data, length);
        head->used += length;
    }
    apr_bucket_delete(bucket);
    return APR_SUCCESS;
}

/* Moves data from the brigade's beginning to the head until that is a record. */
static apr_status_t fill(head_t *head, apr_bucket_brigade *brigade)
{
    apr_size_t size = joined_size(head, brigade);
    apr_bucket *bucket;
    apr_status_t rv = APR_SUCCESS;

    if (!reserve(head, size, brigade->bucket_alloc))
        return APR_ENOMEM;
    while (rv == APR_SUCCESS && is_data(brigade, bucket = APR_BRIGADE_FIRST(brigade)) &&
           (head->used < size || bucket->length == 0)) {
        if (bucket->length > size - head->used)
            rv = apr_bucket_split(bucket, size - head->used);
        if (rv == APR_SUCCESS)
            rv = take(head, bucket);
    }
    return rv == APR_ENOTIMPL ? APR_SUCCESS : rv;
}

static bool begins_with_file(const apr_bucket_brigade *brigade)
{
    const apr_bucket *first = APR_BRIGADE_FIRST(brigade);

    return is_data(brigade, first) && APR_BUCKET_IS_FILE(first);
}

/* Whether a brigade that begins so is best left alone: its first bucket will be a record anyway. */
static bool is_whole(const apr_bucket_brigade *brigade)
{
    const apr_bucket *first = APR_BRIGADE_FIRST(brigade), *second = APR_BUCKET_NEXT(first);

    if (!is_data(brigade, first))
        return true;
    return !APR_BUCKET_IS_FILE(first) &&
           (first->length >= RECORD ||
            (second != APR_BRIGADE_SENTINEL(brigade) && APR_BUCKET_IS_METADATA(second)));
}

static void put_first(head_t *head, apr_bucket_brigade *brigade)
{
    apr_bucket *bucket =
        apr_bucket_heap_create(head->bytes, head->used, apr_bucket_free, brigade->bucket_alloc);

    APR_BRIGADE_INSERT_HEAD(brigade, bucket);
    head->bytes = NULL;
    head->used = head->size = 0;
}

/* More of a file follows, which must not be read before this has been sent. */
static apr_status_t pass_alone(ap_filter_t *filter, apr_bucket_alloc_t *list)
{
    head_t *head = filter->ctx;
    apr_status_t rv;

    if (!head->record)
        head->record = apr_brigade_create(filter->c->pool, list);
    put_first(head, head->record);
    rv = ap_pass_brigade(filter->next, head->record);
    apr_brigade_cleanup(head->record);
    return rv;
}

/* A header, and then a small file: the body is not copied. */
static bool prepend(head_t *head, apr_bucket_brigade *brigade)
{
    apr_bucket *first = APR_BRIGADE_FIRST(brigade);

    if (!head->used || !is_data(brigade, first) || !is_whole(brigade) ||
        !stm_small_file_prepend(first, head->bytes, head->used))
        return false;
    forget(head);
    return true;
}

static apr_status_t record_filter(ap_filter_t *filter, apr_bucket_brigade *brigade)
{
    head_t *head = filter->ctx;
    apr_status_t rv;

    if (APR_BRIGADE_EMPTY(brigade) || prepend(head, brigade) || (!head->used && is_whole(brigade)))
        return ap_pass_brigade(filter->next, brigade);
    rv = fill(head, brigade);
    while (rv == APR_SUCCESS && head->used == RECORD && begins_with_file(brigade)) {
        rv = pass_alone(filter, brigade->bucket_alloc);
        if (rv == APR_SUCCESS)
            rv = fill(head, brigade);
    }
    if (rv != APR_SUCCESS)
        return rv;
    if (APR_BRIGADE_EMPTY(brigade) && head->used < RECORD)
        return APR_SUCCESS;
    if (head->used)
        put_first(head, brigade);
    return ap_pass_brigade(filter->next, brigade);
}

/* Only our clients' connections: not HTTP/2's streams, nor those to backends. */
static int join_records(conn_rec *c, void *csd)
{
    const ap_filter_t *filter = c->output_filters;
    head_t *head;

    (void)csd;
    if (!coalesce || c->master || !stm_conn_of(c))
        return OK;
    while (filter && filter->frec != coalesce)
        filter = filter->next;
    if (!filter)
        return OK;
    head = apr_pcalloc(c->pool, sizeof(*head));
    apr_pool_cleanup_register(c->pool, head, forget, apr_pool_cleanup_null);
    ap_add_output_filter_handle(handle, head, NULL, c);
    return OK;
}

void stm_tls_record_configure(void)
{
    coalesce = ap_get_output_filter_handle("SSL/TLS Coalescing Filter");
}

void stm_tls_record_register_hooks(apr_pool_t *pool)
{
    (void)pool;
    /* mod_ssl's has AP_FTYPE_CONNECTION + 4. */
    handle =
        ap_register_output_filter("STM_TLS_RECORD", record_filter, NULL, AP_FTYPE_CONNECTION + 3);
    ap_hook_pre_connection(join_records, NULL, NULL, APR_HOOK_LAST);
}
