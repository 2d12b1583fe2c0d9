/* Reads broken copies of ELF files, as many as it is told to, in one process under sanitizers.
 * usage: elf_fuzz SEED ROUNDS FILE...
 * Copies are cut off, get extreme numbers where the format has its offsets and counts, or are damaged anywhere. */
#define _GNU_SOURCE
#include "elf_file.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned char whole[1 << 22], copy[1 << 22];
static elf_file found;
static uint64_t state;

static uint64_t dice(uint64_t sides) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return sides == 0 ? 0 : state % sides;
}

/* A number that arithmetic may trip over, or one that points somewhere into the file. */
static uint64_t extreme(size_t size) {
    static const uint64_t numbers[] = {0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000u, 0xffffffffu,
                                       0x7fffffffffffffffu, 0x8000000000000000u, 0xfffffffffffffff0u,
                                       0xffffffffffffffffu, 0x6ffffffe, 0x6fffffff, 0x6474e551};
    return dice(3) == 0 ? dice(size + 64) : numbers[dice(sizeof numbers / sizeof *numbers)];
}

static uint64_t number_at(size_t place, size_t width) {
    uint64_t number = 0;
    memcpy(&number, whole + place, width);
    return number;
}

/* Where the dynamic section of a little 64-bit file begins; 0 where it has none. */
static size_t dynamic_of(size_t size) {
    const size_t table = (size_t)number_at(32, 8), count = (size_t)number_at(56, 2);
    size_t index;
    for (index = 0; index < count && table + (index + 1) * 56 <= size; ++index) {
        if (number_at(table + index * 56, 4) == 2) return (size_t)number_at(table + index * 56 + 8, 8);
    }
    return 0;
}

static size_t damage(size_t size, size_t dynamic) {
    unsigned count = (unsigned)dice(8) + 1;
    if (dice(4) == 0) {
        size = dice(size + 1);
    }
    while (count-- > 0 && size > 16) {
        /* The head, the segments behind it, a value in the dynamic section, or anywhere. */
        const size_t limits[] = {64, 64 + 12 * 56, size};
        const size_t reach = limits[dice(3)];
        const size_t place = dice(4) == 0 ? (dynamic + 8 * dice(64)) % size : dice(reach < size ? reach : size);
        const uint64_t number = extreme(size);
        size_t width = (size_t)1 << dice(4);
        if (width > size - place) width = size - place;
        memcpy(copy + place, &number, width);
    }
    return size;
}

int main(int count, char **words) {
    unsigned long rounds, outcomes[3] = {0, 0, 0};
    int memory = memfd_create("elf", MFD_CLOEXEC), file;
    if (count < 4 || memory < 0) return 2;
    state = strtoull(words[1], NULL, 10) * 2654435761u + 88172645463325252u;
    rounds = strtoul(words[2], NULL, 10);
    for (file = 3; file < count; ++file) {
        const int source = open(words[file], O_RDONLY);
        const ssize_t size = source < 0 ? -1 : read(source, whole, sizeof whole);
        size_t dynamic;
        unsigned long round;
        if (size <= 64) return 2;
        dynamic = dynamic_of((size_t)size);
        close(source);
        for (round = 0; round < rounds; ++round) {
            size_t left;
            memcpy(copy, whole, (size_t)size);
            left = damage((size_t)size, dynamic);
            if (ftruncate(memory, 0) != 0 || pwrite(memory, copy, left, 0) != (ssize_t)left) return 2;
            ++outcomes[elf_read(memory, &found)];
        }
    }
    printf("%lu read, %lu other, %lu malformed\n", outcomes[ELF_READ], outcomes[ELF_OTHER], outcomes[ELF_MALFORMED]);
    return 0;
}
