// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel's requests to a slowfs. Each call arrives as a function call_NAME, which records the
 * request, and is answered by answer_NAME once the gate lets it through.
 */
#include "tests/slowfs/slowfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define READ_LIMIT ((size_t)1 << 20) /* maximum bytes that the kernel requests at once */

const char *const kind_names[CALL_COUNT] = {
#define X(name) [CALL_##name] = #name,
    CALL_KINDS(X)
#undef X
};

static struct node *node_of(fuse_ino_t inode)
{
    return inode == FUSE_ROOT_ID ? &tree_root : (struct node *)(uintptr_t)inode;
}

static fuse_ino_t inode_of(const struct node *node)
{
    return node == &tree_root ? FUSE_ROOT_ID : (uintptr_t)node;
}

/* A record of the call; if there is no memory, answers with that error and returns NULL. */
static struct call *noted(fuse_req_t request, enum kind kind, fuse_ino_t inode, const char *name,
                          void (*answer)(struct call *))
{
    struct call *call = calloc(1, sizeof(*call));
    if (!call || (name && !(call->name = strdup(name)))) {
        free(call);
        fuse_reply_err(request, ENOMEM);
        return NULL;
    }
    call->request = request;
    call->kind = kind;
    call->node = node_of(inode);
    call->answer = answer;
    return call;
}

/* False: there is no memory; the call has been answered with that error and freed. */
static bool note_text(struct call *call, const char *text)
{
    call->text = strdup(text);
    if (call->text)
        return true;
    fuse_reply_err(call->request, ENOMEM);
    free(call->name);
    free(call);
    return false;
}

static void note_file(struct call *call, const struct fuse_file_info *file)
{
    call->has_file = !!file;
    if (file)
        call->file = *file;
}

static struct fuse_entry_param entry(const struct node *node)
{
    struct fuse_entry_param param = {
        .ino = inode_of(node), .attr_timeout = settings.timeout, .entry_timeout = settings.timeout};
    tree_stat(node, &param.attr);
    return param;
}

static void set_caching(struct fuse_file_info *file)
{
    file->direct_io = settings.direct;
    file->keep_cache = settings.keep;
}

static void answer_ok(struct call *call)
{
    fuse_reply_err(call->request, 0);
}

/* --- names and attributes --- */

static void answer_lookup(struct call *call)
{
    struct node *node = tree_child(call->node, call->name);
    struct fuse_entry_param param = {.entry_timeout = settings.timeout};
    if (node)
        param = entry(node);
    if (!node && settings.timeout == 0)
        fuse_reply_err(call->request, ENOENT);
    else
        fuse_reply_entry(call->request, &param); /* without an inode: "not there", kept */
}

static void call_lookup(fuse_req_t request, fuse_ino_t folder, const char *name)
{
    struct call *call = noted(request, CALL_lookup, folder, name, answer_lookup);
    if (call)
        gate_enter(call);
}

static void answer_getattr(struct call *call)
{
    struct stat attributes;
    tree_stat(call->node, &attributes);
    fuse_reply_attr(call->request, &attributes, settings.timeout);
}

static void call_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
    (void)file;
    struct call *call = noted(request, CALL_getattr, inode, NULL, answer_getattr);
    if (call)
        gate_enter(call);
}

static void answer_setattr(struct call *call)
{
    struct node *node = call->node;
    int error = 0;
    if (call->mask & FUSE_SET_ATTR_MODE)
        node->mode = (node->mode & S_IFMT) | (call->attributes.st_mode & 07777);
    if (call->mask & FUSE_SET_ATTR_MTIME)
        node->changed = call->attributes.st_mtim;
    if (call->mask & FUSE_SET_ATTR_SIZE)
        error = tree_resize(node, (size_t)call->attributes.st_size);
    if (error != 0)
        fuse_reply_err(call->request, error);
    else
        answer_getattr(call);
}

static void call_setattr(fuse_req_t request, fuse_ino_t inode, struct stat *attributes, int mask,
                         struct fuse_file_info *file)
{
    (void)file;
    struct call *call = noted(request, CALL_setattr, inode, NULL, answer_setattr);
    if (!call)
        return;
    call->attributes = *attributes;
    call->mask = mask;
    gate_enter(call);
}

static void call_access(fuse_req_t request, fuse_ino_t inode, int mask)
{
    (void)mask;
    struct call *call = noted(request, CALL_access, inode, NULL, answer_ok);
    if (call)
        gate_enter(call);
}

static void answer_readlink(struct call *call)
{
    fuse_reply_readlink(call->request, call->node->target);
}

static void call_readlink(fuse_req_t request, fuse_ino_t inode)
{
    struct call *call = noted(request, CALL_readlink, inode, NULL, answer_readlink);
    if (call)
        gate_enter(call);
}

static void answer_statfs(struct call *call)
{
    struct statvfs answer = {.f_bsize = 4096,
                             .f_frsize = 4096,
                             .f_blocks = 1 << 20,
                             .f_bfree = 1 << 19,
                             .f_bavail = 1 << 19,
                             .f_namemax = 255};
    fuse_reply_statfs(call->request, &answer);
}

static void call_statfs(fuse_req_t request, fuse_ino_t inode)
{
    struct call *call = noted(request, CALL_statfs, inode, NULL, answer_statfs);
    if (call)
        gate_enter(call);
}

/* --- what changes a folder --- */

static void answer_make(struct call *call)
{
    struct node *node = tree_add(call->node, call->name, call->mode);
    if (!node || (call->text && !(node->target = strdup(call->text)))) {
        fuse_reply_err(call->request, ENOMEM);
        return;
    }
    struct fuse_entry_param param = entry(node);
    if (!call->has_file) {
        fuse_reply_entry(call->request, &param);
        return;
    }
    set_caching(&call->file);
    fuse_reply_create(call->request, &param, &call->file);
}

static void make(fuse_req_t request, enum kind kind, fuse_ino_t folder, const char *name,
                 mode_t mode, const struct fuse_file_info *file, const char *target)
{
    struct call *call = noted(request, kind, folder, name, answer_make);
    if (!call || (target && !note_text(call, target)))
        return;
    call->mode = mode;
    note_file(call, file);
    gate_enter(call);
}

static void call_create(fuse_req_t request, fuse_ino_t folder, const char *name, mode_t mode,
                        struct fuse_file_info *file)
{
    make(request, CALL_create, folder, name, mode | S_IFREG, file, NULL);
}

static void call_mknod(fuse_req_t request, fuse_ino_t folder, const char *name, mode_t mode,
                       dev_t device)
{
    (void)device;
    make(request, CALL_create, folder, name, mode, NULL, NULL);
}

static void call_mkdir(fuse_req_t request, fuse_ino_t folder, const char *name, mode_t mode)
{
    make(request, CALL_mkdir, folder, name, mode | S_IFDIR, NULL, NULL);
}

static void call_symlink(fuse_req_t request, const char *target, fuse_ino_t folder,
                         const char *name)
{
    make(request, CALL_create, folder, name, S_IFLNK | 0777, NULL, target);
}

static void answer_unlink(struct call *call)
{
    struct node *node = tree_child(call->node, call->name);
    int error = !node ? ENOENT : node->children ? ENOTEMPTY : 0;
    if (error == 0)
        tree_remove(node);
    fuse_reply_err(call->request, error);
}

/* rmdir(), too: the kernel has seen to it that the name is of the right kind. */
static void call_unlink(fuse_req_t request, fuse_ino_t folder, const char *name)
{
    struct call *call = noted(request, CALL_unlink, folder, name, answer_unlink);
    if (call)
        gate_enter(call);
}

static void answer_rename(struct call *call)
{
    struct node *node = tree_child(call->node, call->name);
    struct node *there = tree_child(call->folder, call->text);
    int error = !node ? ENOENT : 0;
    if (there && there->children)
        error = ENOTEMPTY;
    if (error == 0 && there != node) {
        if (there)
            tree_remove(there);
        tree_move(node, call->folder, call->text);
    }
    fuse_reply_err(call->request, error);
}

static void call_rename(fuse_req_t request, fuse_ino_t folder, const char *name,
                        fuse_ino_t new_folder, const char *new_name, unsigned flags)
{
    if (flags != 0) {
        fuse_reply_err(request, EINVAL);
        return;
    }
    struct call *call = noted(request, CALL_rename, folder, name, answer_rename);
    if (!call || !note_text(call, new_name))
        return;
    call->folder = node_of(new_folder);
    gate_enter(call);
}

/* --- files' contents --- */

static void answer_open(struct call *call)
{
    int error = call->file.flags & O_TRUNC ? tree_resize(call->node, 0) : 0;
    set_caching(&call->file);
    if (error != 0)
        fuse_reply_err(call->request, error);
    else
        fuse_reply_open(call->request, &call->file);
}

static void call_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
    struct call *call = noted(request, CALL_open, inode, NULL, answer_open);
    if (!call)
        return;
    note_file(call, file);
    gate_enter(call);
}

/* The generated files' bytes from `offset` on, READ_LIMIT of them. */
static const char *pattern(size_t offset)
{
    static char bytes[READ_LIMIT + PATTERN_PERIOD];
    if (bytes[1] == 0)
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)(i % PATTERN_PERIOD);
    return bytes + offset % PATTERN_PERIOD;
}

static void answer_read(struct call *call)
{
    const struct node *node = call->node;
    size_t offset = (size_t)call->offset, size = call->size;
    if (offset >= node->size)
        size = 0;
    else if (size > node->size - offset)
        size = node->size - offset;
    if (size > READ_LIMIT)
        size = READ_LIMIT;
    fuse_reply_buf(call->request, node->data ? node->data + offset : pattern(offset), size);
}

static void call_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                      struct fuse_file_info *file)
{
    (void)file;
    struct call *call = noted(request, CALL_read, inode, NULL, answer_read);
    if (!call)
        return;
    call->size = size;
    call->offset = offset;
    gate_enter(call);
}

static void answer_write(struct call *call)
{
    int error =
        !call->text ? ENOMEM : tree_write(call->node, call->text, call->size, (size_t)call->offset);
    if (error != 0)
        fuse_reply_err(call->request, error);
    else
        fuse_reply_write(call->request, call->size);
}

static void call_write(fuse_req_t request, fuse_ino_t inode, const char *data, size_t size,
                       off_t offset, struct fuse_file_info *file)
{
    (void)file;
    struct call *call = noted(request, CALL_write, inode, NULL, answer_write);
    if (!call)
        return;
    call->size = size;
    call->offset = offset;
    call->text = malloc(size + 1);
    if (call->text)
        memcpy(call->text, data, size);
    gate_enter(call);
}

/* close() waits for that. */
static void call_flush(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
    (void)file;
    struct call *call = noted(request, CALL_flush, inode, NULL, answer_ok);
    if (call)
        gate_enter(call);
}

static void call_fsync(fuse_req_t request, fuse_ino_t inode, int only_data,
                       struct fuse_file_info *file)
{
    (void)only_data;
    (void)file;
    struct call *call = noted(request, CALL_fsync, inode, NULL, answer_ok);
    if (call)
        gate_enter(call);
}

/* --- reading a folder --- */

static void answer_opendir(struct call *call)
{
    fuse_reply_open(call->request, &call->file);
}

static void call_opendir(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
    struct call *call = noted(request, CALL_opendir, inode, NULL, answer_opendir);
    if (!call)
        return;
    note_file(call, file);
    gate_enter(call);
}

/* An offset is the number of entries before it: "." and ".." are the first two. */
static void answer_readdir(struct call *call)
{
    char buffer[32768];
    size_t used = 0, room = call->size < sizeof(buffer) ? call->size : sizeof(buffer);
    const struct node *child = call->node->children;
    for (off_t place = 0;; place++) {
        const struct node *node = place < 2 ? call->node : child;
        if (place >= 2 && child)
            child = child->next;
        if (!node)
            break;
        if (place < call->offset)
            continue;
        struct stat attributes;
        tree_stat(node, &attributes);
        const char *name = place == 0 ? "." : place == 1 ? ".." : node->name;
        size_t needed = fuse_add_direntry(call->request, buffer + used, room - used, name,
                                          &attributes, place + 1);
        if (needed > room - used)
            break;
        used += needed;
    }
    fuse_reply_buf(call->request, buffer, used);
}

static void call_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                         struct fuse_file_info *file)
{
    (void)file;
    struct call *call = noted(request, CALL_readdir, inode, NULL, answer_readdir);
    if (!call)
        return;
    call->size = size;
    call->offset = offset;
    gate_enter(call);
}

/* --- what main.c hands to libfuse --- */

/* One read per reader at the same time, and no attributes along with names. */
static void begin(void *data, struct fuse_conn_info *connection)
{
    (void)data;
    connection->want &=
        ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                    FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_AUTO_INVAL_DATA);
    connection->max_background = 60000;
    connection->congestion_threshold = 60000;
}

const struct fuse_lowlevel_ops call_table = {
    .init = begin,
    .lookup = call_lookup,
    .getattr = call_getattr,
    .setattr = call_setattr,
    .access = call_access,
    .readlink = call_readlink,
    .statfs = call_statfs,
    .create = call_create,
    .mknod = call_mknod,
    .mkdir = call_mkdir,
    .symlink = call_symlink,
    .unlink = call_unlink,
    .rmdir = call_unlink,
    .rename = call_rename,
    .open = call_open,
    .read = call_read,
    .write = call_write,
    .flush = call_flush,
    .fsync = call_fsync,
    .opendir = call_opendir,
    .readdir = call_readdir,
};
