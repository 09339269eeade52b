/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STM_TRACE: debug builds report on stderr each procedure of the MPM that begins. The compiler
 * makes each of them call us first (-finstrument-functions, mpm.mk); their names are in this
 * object's symbol table, which, unlike what dladdr() reads, includes static functions.
 */
#include "mpm/stm.h"

#ifdef STM_DEBUG

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNTRACED __attribute__((no_instrument_function))

/* This object's file, and where things are in it. */
static struct {
    bool on;
    const char *file; /* mapped; NULL if it cannot be read */
    size_t size;
    uintptr_t base; /* where it is loaded */
    const ElfW(Sym) * symbols;
    size_t count;
    const char *names;
} traced;

UNTRACED static bool map_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    void *file = MAP_FAILED;

    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size > (off_t)sizeof(ElfW(Ehdr)))
        file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0)
        close(fd);
    if (file == MAP_FAILED)
        return false;
    traced.file = file;
    traced.size = (size_t)status.st_size;
    return true;
}

UNTRACED static void find_symbols(void)
{
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)traced.file;
    const ElfW(Shdr) *sections = (const ElfW(Shdr) *)(traced.file + header->e_shoff);

    for (int i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB)
            continue;
        traced.symbols = (const ElfW(Sym) *)(traced.file + sections[i].sh_offset);
        traced.count = sections[i].sh_size / sizeof(*traced.symbols);
        traced.names = traced.file + sections[sections[i].sh_link].sh_offset;
    }
}

UNTRACED void stm_trace_start(void)
{
    Dl_info info;

    if (!getenv("STM_TRACE") || !dladdr(&traced, &info))
        return;
    traced.base = (uintptr_t)info.dli_fbase;
    if (map_file(info.dli_fname))
        find_symbols();
    traced.on = true;
}

/* httpd unloads the module before it reads its configuration again. */
UNTRACED static void __attribute__((destructor)) unmap_file(void)
{
    traced.on = false;
    if (traced.file)
        munmap((void *)(uintptr_t)traced.file, traced.size);
}

UNTRACED static const char *name_of(uintptr_t place)
{
    for (size_t i = 0; i < traced.count; i++) {
        if (traced.symbols[i].st_value == place &&
            ELF64_ST_TYPE(traced.symbols[i].st_info) == STT_FUNC)
            return traced.names + traced.symbols[i].st_name;
    }
    return "?"; /* the file was stripped, or replaced */
}

/* Also called in signal handlers, and where the caller looks at errno next. */
UNTRACED void __cyg_profile_func_enter(void *function, void *caller);
UNTRACED void __cyg_profile_func_enter(void *function, void *caller)
{
    uintptr_t place = (uintptr_t)function - traced.base;
    int error = errno, length;
    char line[256];

    (void)caller;
    if (!traced.on)
        return;
    length = snprintf(line, sizeof(line), "STM %d %s\n", (int)getpid(), name_of(place));
    (void)!write(STDERR_FILENO, line, length < (int)sizeof(line) ? (size_t)length : sizeof(line));
    errno = error;
}

UNTRACED void __cyg_profile_func_exit(void *function, void *caller);
UNTRACED void __cyg_profile_func_exit(void *function, void *caller)
{
    (void)function;
    (void)caller;
}

#else

void stm_trace_start(void)
{
}

#endif
