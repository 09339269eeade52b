/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Defines replacements of calls on files, by number of arguments: each has a function for the
 * helper that takes the arguments as longs. Included by file_path.c, file_fd.c and file_dir.c.
 */
#ifndef STIOL_FILE_CALL_H
#define STIOL_FILE_CALL_H

#include "stiol/file.h"

/* The real call, for a helper. */
#define RUN_1(name, T0)                                                                            \
    static long run_##name(const long *args)                                                       \
    {                                                                                              \
        return (long)name((T0)args[0]);                                                            \
    }
#define RUN_2(name, T0, T1)                                                                        \
    static long run_##name(const long *args)                                                       \
    {                                                                                              \
        return (long)name((T0)args[0], (T1)args[1]);                                               \
    }
#define RUN_3(name, T0, T1, T2)                                                                    \
    static long run_##name(const long *args)                                                       \
    {                                                                                              \
        return (long)name((T0)args[0], (T1)args[1], (T2)args[2]);                                  \
    }
#define RUN_4(name, T0, T1, T2, T3)                                                                \
    static long run_##name(const long *args)                                                       \
    {                                                                                              \
        return (long)name((T0)args[0], (T1)args[1], (T2)args[2], (T3)args[3]);                     \
    }
#define RUN_5(name, T0, T1, T2, T3, T4)                                                            \
    static long run_##name(const long *args)                                                       \
    {                                                                                              \
        return (long)name((T0)args[0], (T1)args[1], (T2)args[2], (T3)args[3], (T4)args[4]);        \
    }
#define RUN_6(name, T0, T1, T2, T3, T4, T5)                                                        \
    static long run_##name(const long *args)                                                       \
    {                                                                                              \
        return (long)name((T0)args[0], (T1)args[1], (T2)args[2], (T3)args[3], (T4)args[4],         \
                          (T5)args[5]);                                                            \
    }

/* The replacement. `how` is an expression that makes the call with run and args. */
#define CALL_1(R, name, how, T0)                                                                   \
    RUN_1(name, T0)                                                                                \
    R stiol__##name(T0 a)                                                                          \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        const stiol__file_call_t run = run_##name;                                                 \
        const long args[] = {(long)a};                                                             \
                                                                                                   \
        return (R)(how);                                                                           \
    }
#define CALL_2(R, name, how, T0, T1)                                                               \
    RUN_2(name, T0, T1)                                                                            \
    R stiol__##name(T0 a, T1 b)                                                                    \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        const stiol__file_call_t run = run_##name;                                                 \
        const long args[] = {(long)a, (long)b};                                                    \
                                                                                                   \
        return (R)(how);                                                                           \
    }
#define CALL_3(R, name, how, T0, T1, T2)                                                           \
    RUN_3(name, T0, T1, T2)                                                                        \
    R stiol__##name(T0 a, T1 b, T2 c)                                                              \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        const stiol__file_call_t run = run_##name;                                                 \
        const long args[] = {(long)a, (long)b, (long)c};                                           \
                                                                                                   \
        return (R)(how);                                                                           \
    }
#define CALL_4(R, name, how, T0, T1, T2, T3)                                                       \
    RUN_4(name, T0, T1, T2, T3)                                                                    \
    R stiol__##name(T0 a, T1 b, T2 c, T3 d)                                                        \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        const stiol__file_call_t run = run_##name;                                                 \
        const long args[] = {(long)a, (long)b, (long)c, (long)d};                                  \
                                                                                                   \
        return (R)(how);                                                                           \
    }
#define CALL_5(R, name, how, T0, T1, T2, T3, T4)                                                   \
    RUN_5(name, T0, T1, T2, T3, T4)                                                                \
    R stiol__##name(T0 a, T1 b, T2 c, T3 d, T4 e)                                                  \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        const stiol__file_call_t run = run_##name;                                                 \
        const long args[] = {(long)a, (long)b, (long)c, (long)d, (long)e};                         \
                                                                                                   \
        return (R)(how);                                                                           \
    }
#define CALL_6(R, name, how, T0, T1, T2, T3, T4, T5)                                               \
    RUN_6(name, T0, T1, T2, T3, T4, T5)                                                            \
    R stiol__##name(T0 a, T1 b, T2 c, T3 d, T4 e, T5 f)                                            \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        const stiol__file_call_t run = run_##name;                                                 \
        const long args[] = {(long)a, (long)b, (long)c, (long)d, (long)e, (long)f};                \
                                                                                                   \
        return (R)(how);                                                                           \
    }

/* Ways to make a call: the path is the first argument, or follows a directory's descriptor; the
 * call looks at what is there, creates or removes it, or changes what a link there refers to. */
#define LOOKS         stiol__on_path(vp, AT_FDCWD, a, false, run, args)
#define MAKES         stiol__on_path(vp, AT_FDCWD, a, true, run, args)
#define LOOKS_AT      stiol__on_path(vp, a, b, false, run, args)
#define MAKES_AT      stiol__on_path(vp, a, b, true, run, args)
#define CHANGES       stiol__on_change(vp, AT_FDCWD, a, run, args)
#define CHANGES_AT    stiol__on_change(vp, a, b, run, args)
/* Two paths (file_path.c). */
#define MAKES_BOTH    on_two_paths(vp, AT_FDCWD, a, AT_FDCWD, b, run, args)
#define MAKES_BOTH_AT on_two_paths(vp, a, b, c, d, run, args)
/* The first argument is a descriptor: a file's, or one whose calls always wait for a device. */
#define ON_FD         stiol__on_fd(vp, a, run, args)
#define ON_DEVICE     stiol__on_device(vp, a, run, args)

#endif /* STIOL_FILE_CALL_H */
