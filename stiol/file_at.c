/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pread(), pwrite() and the like: reads and writes at an offset, which makes sense only for files.
 * Unknown descriptors are read as files without being examined. stiol_pread() is for the MPM, whose
 * own calls are not rebound.
 */
#include "stiol/file.h"

static bool may_be_file(stiol__fd_class_t class)
{
    return class == STIOL_FD_UNKNOWN || stiol__is_file(class);
}

/* -2: make the real call. */
static ssize_t read_at(stiol__vp_t *vp, int fd, const struct iovec *parts, int count,
                       off64_t offset)
{
    stiol__transfer_t transfer = {.fd = fd,
                                  .parts = (struct iovec *)(uintptr_t)parts,
                                  .count = (size_t)count,
                                  .in = true,
                                  .of_file = true};
    stiol__fd_class_t class = stiol__fd_noted(fd);

    if (!vp || !may_be_file(class) || count <= 0 || count > IOV_MAX || offset < 0)
        return -2;
    return stiol__file_read(vp, &transfer, offset);
}

static ssize_t write_at(stiol__vp_t *vp, int fd, const struct iovec *parts, int count,
                        off64_t offset)
{
    stiol__transfer_t transfer = {.fd = fd,
                                  .parts = (struct iovec *)(uintptr_t)parts,
                                  .count = (size_t)count,
                                  .of_file = true};

    if (!vp || count <= 0 || count > IOV_MAX || offset < 0 || !stiol__is_file(stiol__fd_kind(fd)))
        return -2;
    return stiol__file_write(vp, &transfer, offset);
}

static ssize_t read_one(stiol__vp_t *vp, int fd, void *buf, size_t n, off64_t offset)
{
    const struct iovec part = {buf, n};
    ssize_t got = n > 0 ? read_at(vp, fd, &part, 1, offset) : -2;

    return got != -2 ? got : pread64(fd, buf, n, offset);
}

static ssize_t write_one(stiol__vp_t *vp, int fd, const void *buf, size_t n, off64_t offset)
{
    const struct iovec part = {(void *)(uintptr_t)buf, n};
    ssize_t put = n > 0 ? write_at(vp, fd, &part, 1, offset) : -2;

    return put != -2 ? put : pwrite64(fd, buf, n, offset);
}

ssize_t stiol_pread(int osfd, void *buffer, size_t count, off_t offset)
{
    const struct iovec part = {buffer, count};
    int error = errno;
    ssize_t got = STIOL_OFF(STIOL_NO_NOWAIT | STIOL_NO_CACHE)
                      ? -1
                      : preadv64v2(osfd, &part, 1, offset, RWF_NOWAIT);

    if (STIOL_LIKELY((size_t)got == count))
        return got;
    errno = error;
    return read_one(stiol__here(), osfd, buffer, count, offset);
}

ssize_t stiol__pread(int fd, void *buf, size_t n, off_t offset)
{
    return read_one(STIOL_ENTER(file, pread, fd), fd, buf, n, offset);
}

ssize_t stiol__pread64(int fd, void *buf, size_t n, off64_t offset)
{
    return read_one(STIOL_ENTER(file, pread64, fd), fd, buf, n, offset);
}

ssize_t stiol____pread_chk(int fd, void *buf, size_t n, off_t offset, size_t size)
{
    return n > size ? __pread_chk(fd, buf, n, offset, size) /* which ends the process */
                    : stiol__pread(fd, buf, n, offset);
}

ssize_t stiol____pread64_chk(int fd, void *buf, size_t n, off64_t offset, size_t size)
{
    return n > size ? __pread64_chk(fd, buf, n, offset, size) : stiol__pread64(fd, buf, n, offset);
}

ssize_t stiol__pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    return write_one(STIOL_ENTER(file, pwrite, fd), fd, buf, n, offset);
}

ssize_t stiol__pwrite64(int fd, const void *buf, size_t n, off64_t offset)
{
    return write_one(STIOL_ENTER(file, pwrite64, fd), fd, buf, n, offset);
}

ssize_t stiol__preadv64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    ssize_t got = read_at(STIOL_ENTER(file, preadv64, fd), fd, parts, count, offset);

    return got != -2 ? got : preadv64(fd, parts, count, offset);
}

ssize_t stiol__preadv(int fd, const struct iovec *parts, int count, off_t offset)
{
    return stiol__preadv64(fd, parts, count, offset);
}

ssize_t stiol__pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    ssize_t put = write_at(STIOL_ENTER(file, pwritev64, fd), fd, parts, count, offset);

    return put != -2 ? put : pwritev64(fd, parts, count, offset);
}

ssize_t stiol__pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return stiol__pwritev64(fd, parts, count, offset);
}
