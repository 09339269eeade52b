/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds files to a fuzzer's entry point where there is no libFuzzer: a program that takes files as
 * arguments. So the corpora serve as tests everywhere.
 */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static void replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(1 << 20);
    size_t size;

    if (!file || !data) {
        perror(path);
        exit(1);
    }
    size = fread(data, 1, 1 << 20, file);
    data = realloc(data, size ? size : 1); /* so that a read beyond it is detected */
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    fclose(file);
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%d inputs\n", argc - 1);
    return 0;
}
