#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include "elf_file.h"

#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { LOADABLE_SEGMENT = 1, DYNAMIC_SEGMENT = 2 };
static const uint64_t stack_segment = 0x6474e551, relro_segment = 0x6474e552;
enum { MOST_SEGMENTS = 128, MOST_ENTRIES = 4096, EXECUTABLE_FLAG = 1 };
enum { EXECUTABLE_FILE = 2, SHARED_OBJECT = 3 };
enum { DT_NEEDED = 1, DT_STRTAB = 5, DT_SONAME = 14, DT_RPATH = 15, DT_RUNPATH = 29 };
static const uint64_t dt_verneed = 0x6ffffffe, dt_verneednum = 0x6fffffff;

typedef struct segment {
    uint64_t offset, address, size_bytes;
} segment;

typedef struct reader {
    int descriptor;
    int is_big_endian;
    unsigned word_bytes;
    unsigned segment_count;
    segment segments[MOST_SEGMENTS];
    /* File offset of the string table; 0 until it is known. */
    uint64_t strings;
} reader;

static int read_bytes(int descriptor, uint64_t offset, unsigned char *bytes, size_t count) {
    return offset <= INT64_MAX && pread(descriptor, bytes, count, (off_t)offset) == (ssize_t)count;
}

static uint64_t number_at(const reader *r, const unsigned char *bytes, unsigned count) {
    uint64_t value = 0;
    unsigned index;
    for (index = 0; index < count; ++index) {
        value = value << 8 | bytes[r->is_big_endian ? index : count - 1 - index];
    }
    return value;
}

/* Read one number; 0 for success. */
static int take(const reader *r, uint64_t offset, unsigned count, uint64_t *value) {
    unsigned char bytes[8];
    if (!read_bytes(r->descriptor, offset, bytes, count)) {
        return -1;
    }
    *value = number_at(r, bytes, count);
    return 0;
}

/* Copy a text of the string table, cut to the buffer. */
static int take_text(const reader *r, uint64_t index, char *text) {
    ssize_t got;
    if (r->strings == 0 || index > UINT32_MAX || r->strings + index > INT64_MAX) {
        return -1;
    }
    got = pread(r->descriptor, text, ELF_TEXT_BYTES - 1, (off_t)(r->strings + index));
    if (got <= 0) {
        return -1;
    }
    text[got] = '\0';
    return 0;
}

/* The file offset of a virtual address; 0 where no segment holds it. */
static uint64_t offset_of(const reader *r, uint64_t address) {
    unsigned index;
    for (index = 0; index < r->segment_count; ++index) {
        const segment *one = &r->segments[index];
        if (address >= one->address && address - one->address < one->size_bytes) {
            return one->offset + (address - one->address);
        }
    }
    return 0;
}

static int read_segments(reader *r, elf_file *file, segment *dynamic) {
    const int wide = r->word_bytes == 8;
    uint64_t table, size, count, index;
    if (take(r, wide ? 32 : 28, r->word_bytes, &table) || take(r, wide ? 54 : 42, 2, &size) ||
        take(r, wide ? 56 : 44, 2, &count) || count > MOST_SEGMENTS) {
        return -1;
    }
    for (index = 0; index < count; ++index) {
        const uint64_t at = table + index * size;
        uint64_t kind, flags;
        segment one;
        if (take(r, at, 4, &kind) || take(r, at + (wide ? 4 : 24), 4, &flags) ||
            take(r, at + (wide ? 8 : 4), r->word_bytes, &one.offset) ||
            take(r, at + (wide ? 16 : 8), r->word_bytes, &one.address) ||
            take(r, at + (wide ? 32 : 16), r->word_bytes, &one.size_bytes)) {
            return -1;
        }
        if (kind == LOADABLE_SEGMENT) {
            r->segments[r->segment_count++] = one;
        } else if (kind == DYNAMIC_SEGMENT) {
            *dynamic = one;
            file->has_dynamic_section = 1;
        } else if (kind == stack_segment) {
            file->has_stack_header = 1;
            file->has_executable_stack = (flags & EXECUTABLE_FLAG) != 0;
        } else if (kind == relro_segment) {
            file->has_relro = 1;
        }
    }
    return 0;
}

/* Read the versions that are needed of other libraries. */
static int read_versions(const reader *r, uint64_t at, uint64_t count, elf_file *file) {
    if (count > ELF_MOST_LIBRARIES) {
        return -1; /* A record that leads to itself must not be read for ever. */
    }
    for (; count > 0; --count) {
        uint64_t entries, library, first, next, one;
        elf_version found;
        if (take(r, at + 2, 2, &entries) || take(r, at + 4, 4, &library) || take(r, at + 8, 4, &first) ||
            take(r, at + 12, 4, &next) || take_text(r, library, found.library)) {
            return -1;
        }
        for (one = at + first; entries > 0; --entries) {
            uint64_t name, step;
            if (take(r, one + 8, 4, &name) || take(r, one + 12, 4, &step) || take_text(r, name, found.name) ||
                file->version_count == ELF_MOST_VERSIONS) {
                return -1;
            }
            file->versions[file->version_count++] = found;
            one += step;
        }
        at += next;
    }
    return 0;
}

static void add_search_path(elf_file *file, const char *text) {
    if (file->search_path[0] != '\0') {
        strcat(file->search_path, ":");
    }
    strcat(file->search_path, text);
}

/* Visit the dynamic section: first for the string table, then for what is named in it. */
static int read_dynamic(reader *r, const segment *dynamic, elf_file *file) {
    const unsigned size = 2 * r->word_bytes;
    uint64_t count = dynamic->size_bytes / size, index, versions = 0, version_count = 0;
    int paths = 0, pass;
    if (count > MOST_ENTRIES) {
        return -1;
    }
    for (pass = 0; pass < 2; ++pass) {
        for (index = 0; index < count; ++index) {
            char text[ELF_TEXT_BYTES];
            uint64_t tag, value;
            if (take(r, dynamic->offset + index * size, r->word_bytes, &tag) ||
                take(r, dynamic->offset + index * size + r->word_bytes, r->word_bytes, &value)) {
                return -1;
            }
            if (tag == 0) {
                break;
            }
            if (pass == 0) {
                if (tag == DT_STRTAB) r->strings = offset_of(r, value);
                if (tag == dt_verneed) versions = offset_of(r, value);
                if (tag == dt_verneednum) version_count = value;
            } else if (tag == DT_NEEDED || tag == DT_SONAME || tag == DT_RPATH || tag == DT_RUNPATH) {
                if (take_text(r, value, text)) return -1;
                if (tag == DT_SONAME) {
                    memcpy(file->soname, text, sizeof text);
                } else if (tag != DT_NEEDED) {
                    if (paths++ < 2) add_search_path(file, text);
                } else if (file->needed_count == ELF_MOST_LIBRARIES) {
                    return -1;
                } else {
                    memcpy(file->needed[file->needed_count++], text, sizeof text);
                }
            }
        }
    }
    return versions == 0 ? 0 : read_versions(r, versions, version_count, file);
}

elf_outcome elf_read(int descriptor, elf_file *file) {
    unsigned char head[20];
    reader r;
    segment dynamic = {0, 0, 0};
    uint64_t kind;
    memset(file, 0, sizeof *file);
    memset(&r, 0, sizeof r);
    if (!read_bytes(descriptor, 0, head, sizeof head) || memcmp(head, "\177ELF", 4) != 0) {
        return ELF_OTHER;
    }
    if ((head[4] != 1 && head[4] != 2) || (head[5] != 1 && head[5] != 2)) {
        return ELF_MALFORMED;
    }
    r.descriptor = descriptor;
    r.word_bytes = head[4] == 2 ? 8 : 4;
    r.is_big_endian = file->is_big_endian = head[5] == 2;
    file->bits = 8 * r.word_bytes;
    kind = number_at(&r, head + 16, 2);
    file->machine = (unsigned)number_at(&r, head + 18, 2);
    file->is_loadable = kind == EXECUTABLE_FILE || kind == SHARED_OBJECT;
    if (!file->is_loadable) {
        return ELF_READ;
    }
    if (read_segments(&r, file, &dynamic) || (file->has_dynamic_section && read_dynamic(&r, &dynamic, file))) {
        return ELF_MALFORMED;
    }
    return ELF_READ;
}
