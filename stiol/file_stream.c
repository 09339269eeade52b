/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of the C library whose reads and writes may wait: of files on slow file systems, pipes
 * and sockets. What is in the stream's buffer is available at once; anything else takes the C
 * library's own call, on a helper, with the stream locked for the calling state thread. Streams of
 * other files are passed through. Called only through the replacements; fclose() is in shell.c.
 */
#include <stdarg.h>
#include <stdio_ext.h>
#include <sys/stat.h>

#include "stiol/file.h"

/* These are macros, but the C library's functions are meant. */
#undef fread_unlocked
#undef fwrite_unlocked

/* --- opening --- */

static FILE *opened(FILE *stream, bool patiently)
{
    struct statx st;
    int fd;

    if (!stream)
        return NULL;
    fd = stiol__fd_made(fileno(stream), STIOL_FD_UNKNOWN);
    if (patiently && stiol__look_at(fd, &st) == 0 && S_ISREG(st.stx_mode))
        stiol__fd_set_class(fd, stiol__device_class(st.stx_dev_major, st.stx_dev_minor, false));
    return stream;
}

static long run_fopen(const long *args)
{
    return (long)fopen(STIOL_TEXT(args[0]), STIOL_TEXT(args[1]));
}

static FILE *open_stream(stiol__vp_t *vp, const char *path, const char *mode)
{
    const long args[] = {(long)path, (long)mode};
    unsigned long long helped = vp ? vp->counters.file.helped : 0;
    FILE *stream;
    bool missing;

    if (vp && !strchr(mode, '+') && stiol__is_fifo(vp, AT_FDCWD, path, &missing))
        return opened((FILE *)stiol__file_aside(vp, run_fopen, args), false);
    stream = *mode == 'r' ? (FILE *)stiol__on_path(vp, AT_FDCWD, path, false, run_fopen, args)
                          : (FILE *)stiol__on_change(vp, AT_FDCWD, path, run_fopen, args);
    return opened(stream, vp && vp->counters.file.helped != helped);
}

FILE *stiol__fopen(const char *restrict path, const char *restrict mode)
{
    return open_stream(STIOL_ENTER(fd, fopen, 0), path, mode);
}

FILE *stiol__fopen64(const char *restrict path, const char *restrict mode)
{
    return open_stream(STIOL_ENTER(fd, fopen64, 0), path, mode);
}

static long run_freopen(const long *args)
{
    return (long)freopen(STIOL_TEXT(args[0]), STIOL_TEXT(args[1]), (FILE *)args[2]);
}

static FILE *reopen_stream(stiol__vp_t *vp, const char *path, const char *mode, FILE *stream)
{
    const long args[] = {(long)path, (long)mode, (long)stream};
    FILE *reopened;
    int locking;

    stiol__stream_closing(stream);
    if (!vp || !path)
        return opened(freopen(path, mode, stream), false);
    stiol__flockfile(stream); /* as on_helper() */
    locking = __fsetlocking(stream, FSETLOCKING_BYCALLER);
    reopened = (FILE *)stiol__on_path(vp, AT_FDCWD, path, false, run_freopen, args);
    (void)__fsetlocking(stream, locking);
    stiol__funlockfile(stream);
    return opened(reopened, true);
}

FILE *stiol__freopen(const char *restrict path, const char *restrict mode, FILE *restrict stream)
{
    return reopen_stream(STIOL_ENTER(fd, freopen, 0), path, mode, stream);
}

FILE *stiol__freopen64(const char *restrict path, const char *restrict mode, FILE *restrict stream)
{
    return reopen_stream(STIOL_ENTER(fd, freopen64, 0), path, mode, stream);
}

static long run_tmpfile(const long *args)
{
    (void)args;
    return (long)tmpfile();
}

FILE *stiol__tmpfile(void)
{
    stiol__vp_t *vp = STIOL_ENTER(fd, tmpfile, 0);

    return opened((FILE *)stiol__on_path(vp, AT_FDCWD, P_tmpdir, true, run_tmpfile, NULL), false);
}

FILE *stiol__tmpfile64(void)
{
    return stiol__tmpfile();
}

/* --- which streams, and the way to a helper --- */

bool stiol__stream_waits(FILE *stream)
{
    stiol__fd_class_t class = STIOL_FD_PASS;

    if (stream->_fileno >= 0) /* fmemopen() and the like have none */
        class = stiol__fd_kind(stream->_fileno);
    return stiol__is_slow_file(class) || class == STIOL_FD_STREAM || class == STIOL_FD_SOCKET;
}

/* The stream is the state thread's meanwhile. Its lock is really held by the VP's kernel thread, so
 * that the helper must not ask for it. */
static long on_helper(stiol__vp_t *vp, FILE *stream, stiol__file_call_t call, const long *args)
{
    bool file = stiol__is_slow_file(stiol__fd_noted(stream->_fileno));
    st_wait_t wait = {.kind = file ? ST_WAIT_DISK : ST_WAIT_FD, .number = stream->_fileno};
    int locking;
    long rc;

    stiol__flockfile(stream);
    locking = __fsetlocking(stream, FSETLOCKING_BYCALLER);
    st_wait_begin(&wait);
    rc = stiol__file_help_as(vp, file ? STIOL_HELP_FILE : STIOL_HELP_OTHER,
                             file ? stiol__fd_group(stream->_fileno) : 0, call, args);
    st_wait_end(&wait);
    (void)__fsetlocking(stream, locking);
    stiol__funlockfile(stream);
    return rc;
}

/* Such a stream does not lock itself, and its buffer changes: others wait for the lock first. */
static void await_helper(stiol__vp_t *vp, FILE *stream)
{
    int error = errno; /* for %m */

    if (!vp)
        flockfile(stream);
    else
        stiol__flockfile(stream);
    errno = error;
}

static void leave(stiol__vp_t *vp, FILE *stream)
{
    if (!vp)
        funlockfile(stream);
    else
        stiol__funlockfile(stream);
}

/* The C library has no header for its _IO_USER_LOCK: __fsetlocking() sets it. */
enum { USER_LOCK = 0x8000 };

static inline bool may_be_with_helper(const FILE *stream)
{
    return STIOL_UNLIKELY((stream->_flags & USER_LOCK) != 0);
}

/* `held`: the buffer suffices. */
static long on_stream(stiol__vp_t *vp, FILE *stream, bool held, stiol__file_call_t call,
                      const long *args)
{
    if (!vp || held || STIOL_LIKELY(!stiol__stream_waits(stream)))
        return call(args);
    return on_helper(vp, stream, call, args);
}

/* A call's whole: `held` is checked when no helper changes the buffer. */
#define ON_STREAM(vp, stream, held, call, args)                                                    \
    ({                                                                                             \
        bool waited_ = may_be_with_helper(stream);                                                 \
        long rc_;                                                                                  \
                                                                                                   \
        if (waited_)                                                                               \
            await_helper(vp, stream);                                                              \
        rc_ = on_stream(vp, stream, held, call, args);                                             \
        if (waited_)                                                                               \
            leave(vp, stream);                                                                     \
        rc_;                                                                                       \
    })

static size_t to_read(const FILE *stream)
{
    return (size_t)(stream->_IO_read_end - stream->_IO_read_ptr);
}

static bool holds_line(const FILE *stream, int end)
{
    return to_read(stream) > 0 && memchr(stream->_IO_read_ptr, end, to_read(stream));
}

static bool has_room(const FILE *stream, size_t length)
{
    return stream->_IO_write_end > stream->_IO_write_ptr &&
           (size_t)(stream->_IO_write_end - stream->_IO_write_ptr) > length;
}

/* --- the calls. T: the type of each argument; S: which of them is the stream --- */

#define STREAM_1(R, name, held, T0)                                                                \
    static long run_##name(const long *args)                                                       \
    {                                                                                              \
        return (long)name((T0)args[0]);                                                            \
    }                                                                                              \
    R stiol__##name(T0 stream)                                                                     \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        const long args[] = {(long)stream};                                                        \
                                                                                                   \
        return (R)ON_STREAM(vp, stream, held, run_##name, args);                                   \
    }
#define STREAM_2(R, name, held, T0)                                                                \
    static long run_##name(const long *args)                                                       \
    {                                                                                              \
        return (long)name((T0)args[0], (FILE *)args[1]);                                           \
    }                                                                                              \
    R stiol__##name(T0 a, FILE *stream)                                                            \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        const long args[] = {(long)a, (long)stream};                                               \
                                                                                                   \
        return (R)ON_STREAM(vp, stream, held, run_##name, args);                                   \
    }
#define STREAM_3(R, name, held, T0, T1)                                                            \
    static long run_##name(const long *args)                                                       \
    {                                                                                              \
        return (long)name((T0)args[0], (T1)args[1], (FILE *)args[2]);                              \
    }                                                                                              \
    R stiol__##name(T0 a, T1 b, FILE *stream)                                                      \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        const long args[] = {(long)a, (long)b, (long)stream};                                      \
                                                                                                   \
        return (R)ON_STREAM(vp, stream, held, run_##name, args);                                   \
    }
#define STREAM_4(R, name, held, T0, T1, T2)                                                        \
    static long run_##name(const long *args)                                                       \
    {                                                                                              \
        return (long)name((T0)args[0], (T1)args[1], (T2)args[2], (FILE *)args[3]);                 \
    }                                                                                              \
    R stiol__##name(T0 a, T1 b, T2 c, FILE *stream)                                                \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        const long args[] = {(long)a, (long)b, (long)c, (long)stream};                             \
                                                                                                   \
        return (R)ON_STREAM(vp, stream, held, run_##name, args);                                   \
    }
#define STREAM_5(R, name, held, T0, T1, T2, T3)                                                    \
    static long run_##name(const long *args)                                                       \
    {                                                                                              \
        return (long)name((T0)args[0], (T1)args[1], (T2)args[2], (T3)args[3], (FILE *)args[4]);    \
    }                                                                                              \
    R stiol__##name(T0 a, T1 b, T2 c, T3 d, FILE *stream)                                          \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        const long args[] = {(long)a, (long)b, (long)c, (long)d, (long)stream};                    \
                                                                                                   \
        return (R)ON_STREAM(vp, stream, held, run_##name, args);                                   \
    }

typedef const char *text_t;
typedef const void *data_t;

/* Reading. */
STREAM_4(size_t, fread, to_read(stream) >= b * c, void *, size_t, size_t)
STREAM_4(size_t, fread_unlocked, to_read(stream) >= b * c, void *, size_t, size_t)
STREAM_5(size_t, __fread_chk, to_read(stream) >= c * d, void *, size_t, size_t, size_t)
STREAM_5(size_t, __fread_unlocked_chk, to_read(stream) >= c * d, void *, size_t, size_t, size_t)
STREAM_3(char *, fgets, holds_line(stream, '\n'), char *, int)
STREAM_3(char *, fgets_unlocked, holds_line(stream, '\n'), char *, int)
STREAM_4(char *, __fgets_chk, holds_line(stream, '\n'), char *, size_t, int)
STREAM_4(char *, __fgets_unlocked_chk, holds_line(stream, '\n'), char *, size_t, int)
STREAM_1(int, fgetc, to_read(stream) > 0, FILE *)
STREAM_1(int, fgetc_unlocked, to_read(stream) > 0, FILE *)
STREAM_1(int, getc, to_read(stream) > 0, FILE *)
STREAM_1(int, getc_unlocked, to_read(stream) > 0, FILE *)
STREAM_1(int, __uflow, to_read(stream) > 0, FILE *)
STREAM_3(ssize_t, getline, holds_line(stream, '\n'), char **, size_t *)
STREAM_4(ssize_t, getdelim, holds_line(stream, c), char **, size_t *, int)
STREAM_4(ssize_t, __getdelim, holds_line(stream, c), char **, size_t *, int)

/* Writing. */
STREAM_4(size_t, fwrite, has_room(stream, b *c), data_t, size_t, size_t)
STREAM_4(size_t, fwrite_unlocked, has_room(stream, b *c), data_t, size_t, size_t)
STREAM_2(int, fputs, has_room(stream, strlen(a)), text_t)
STREAM_2(int, fputs_unlocked, has_room(stream, strlen(a)), text_t)
STREAM_2(int, fputc, has_room(stream, 1), int)
STREAM_2(int, putc, has_room(stream, 1), int)
STREAM_2(int, fputc_unlocked, has_room(stream, 1), int)
STREAM_2(int, putc_unlocked, has_room(stream, 1), int)

/* Declared only in the C library's internal headers. */
static long run___overflow(const long *args)
{
    return __overflow((FILE *)args[0], (int)args[1]);
}

int stiol____overflow(FILE *stream, int c)
{
    stiol__vp_t *vp = STIOL_ENTER(file, __overflow, 0);
    const long args[] = {(long)stream, c};

    return (int)ON_STREAM(vp, stream, has_room(stream, 1), run___overflow, args);
}

static long run_fflush(const long *args)
{
    return fflush((FILE *)args[0]);
}

int stiol__fflush(FILE *stream)
{
    stiol__vp_t *vp = STIOL_ENTER(file, fflush, 0);
    const long args[] = {(long)stream};

    if (!stream)
        return stiol__flush_all();
    return (int)ON_STREAM(vp, stream, __fpending(stream) == 0, run_fflush, args);
}

/* Changing the position first writes what is in the buffer. */
static long run_seek(const long *args)
{
    return fseeko64((FILE *)args[0], args[1], (int)args[2]);
}

static int seek(stiol__vp_t *vp, FILE *stream, off64_t offset, int whence)
{
    const long args[] = {(long)stream, offset, whence};

    return (int)ON_STREAM(vp, stream, false, run_seek, args);
}

int stiol__fseek(FILE *stream, long offset, int whence)
{
    return seek(STIOL_ENTER(file, fseek, 0), stream, offset, whence);
}

int stiol__fseeko(FILE *stream, off_t offset, int whence)
{
    return seek(STIOL_ENTER(file, fseeko, 0), stream, offset, whence);
}

int stiol__fseeko64(FILE *stream, off64_t offset, int whence)
{
    return seek(STIOL_ENTER(file, fseeko64, 0), stream, offset, whence);
}

/* --- with formats: the arguments belong to the caller, which waits --- */

typedef struct format_call {
    FILE *stream;
    const char *format;
    va_list *list;
} format_call_t;

static long run_vfprintf(const long *args)
{
    const format_call_t *call = (const format_call_t *)args[0];

    return vfprintf(call->stream, call->format, *call->list);
}

static int print(stiol__vp_t *vp, FILE *stream, const char *format, va_list *list)
{
    format_call_t call = {stream, format, list};
    const long args[] = {(long)&call};

    return (int)ON_STREAM(vp, stream, false, run_vfprintf, args);
}

/* glibc checks %n only in this entry point, so callers that use it get it there. */
static long run_vfprintf_chk(const long *args)
{
    const format_call_t *call = (const format_call_t *)args[0];

    return __vfprintf_chk(call->stream, (int)args[1], call->format, *call->list);
}

static int print_chk(stiol__vp_t *vp, FILE *stream, int flag, const char *format, va_list *list)
{
    format_call_t call = {stream, format, list};
    const long args[] = {(long)&call, flag};

    return (int)ON_STREAM(vp, stream, false, run_vfprintf_chk, args);
}

static long run_vfscanf(const long *args)
{
    const format_call_t *call = (const format_call_t *)args[0];

    return vfscanf(call->stream, call->format, *call->list);
}

static int scan(stiol__vp_t *vp, FILE *stream, const char *format, va_list *list)
{
    format_call_t call = {stream, format, list};
    const long args[] = {(long)&call};

    return (int)ON_STREAM(vp, stream, false, run_vfscanf, args);
}

int stiol__fprintf(FILE *stream, const char *format, ...)
{
    va_list list;
    int rc;

    va_start(list, format);
    rc = print(STIOL_ENTER(file, fprintf, 0), stream, format, &list);
    va_end(list);
    return rc;
}

int stiol____fprintf_chk(FILE *stream, int flag, const char *format, ...)
{
    va_list list;
    int rc;

    va_start(list, format);
    rc = print_chk(STIOL_ENTER(file, __fprintf_chk, 0), stream, flag, format, &list);
    va_end(list);
    return rc;
}

int stiol____isoc99_fscanf(FILE *stream, const char *format, ...)
{
    va_list list;
    int rc;

    va_start(list, format);
    rc = scan(STIOL_ENTER(file, __isoc99_fscanf, 0), stream, format, &list);
    va_end(list);
    return rc;
}

/* A va_list parameter may be an array's address: a copy is an array of its own. */
int stiol__vfprintf(FILE *stream, const char *format, va_list list)
{
    va_list copy;
    int rc;

    va_copy(copy, list);
    rc = print(STIOL_ENTER(file, vfprintf, 0), stream, format, &copy);
    va_end(copy);
    return rc;
}

int stiol____vfprintf_chk(FILE *stream, int flag, const char *format, va_list list)
{
    va_list copy;
    int rc;

    va_copy(copy, list);
    rc = print_chk(STIOL_ENTER(file, __vfprintf_chk, 0), stream, flag, format, &copy);
    va_end(copy);
    return rc;
}
