/* Runs a fuzz target over files, for compilers without libFuzzer. Each argument is one input. The empty input is always
 * included. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    uint8_t *data = NULL;
    size_t size = 0, capacity = 0, got;
    do {
        if (size == capacity) {
            capacity = capacity ? capacity * 2 : 65536;
            uint8_t *larger = realloc(data, capacity);
            if (!larger) {
                perror(path);
                free(data);
                fclose(f);
                return 1;
            }
            data = larger;
        }
        got = fread(data + size, 1, capacity - size, f);
        size += got;
    } while (got > 0);
    int failed = ferror(f);
    if (failed)
        perror(path);
    else
        (void)LLVMFuzzerTestOneInput(data, size);
    fclose(f);
    free(data);
    return failed ? 1 : 0;
}

int main(int argc, char **argv) {
    static const uint8_t nothing[1] = {0};
    (void)LLVMFuzzerTestOneInput(nothing, 0);
    for (int i = 1; i < argc; i++) {
        if (run_file(argv[i]) != 0)
            return 1;
    }
    printf("%d inputs\n", argc);
    return 0;
}
