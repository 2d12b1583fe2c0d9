/*
 * What an audit needs to know of one ELF file.
 *
 * The file is foreign: it is read piece by piece into buffers of fixed size, every count has a limit, and no
 * number of the file is used as an address. Files of any size take the same little memory.
 *
 * Source: elf(5); System V ABI, chapters 4 and 5; Linux Standard Base, "Symbol Versioning".
 */
#ifndef AUDITWHEEL_ELF_FILE_H
#define AUDITWHEEL_ELF_FILE_H

#define ELF_TEXT_BYTES 256
#define ELF_MOST_LIBRARIES 256
#define ELF_MOST_VERSIONS 1024

typedef struct elf_version {
    char library[ELF_TEXT_BYTES];
    /* Such as `GLIBC_2.17`. */
    char name[ELF_TEXT_BYTES];
} elf_version;

typedef struct elf_file {
    /* EM_X86_64 and so on. */
    unsigned machine;
    /* 32 or 64. */
    unsigned bits;
    int is_big_endian;
    /* Whether it is a shared library or a program; object files are neither. */
    int is_loadable;
    int has_dynamic_section;
    int has_relro;
    int has_stack_header;
    int has_executable_stack;
    char soname[ELF_TEXT_BYTES];
    /* DT_RPATH and DT_RUNPATH, joined with `:`; empty where there is none. */
    char search_path[2 * ELF_TEXT_BYTES + 2];
    unsigned needed_count;
    char needed[ELF_MOST_LIBRARIES][ELF_TEXT_BYTES];
    unsigned version_count;
    elf_version versions[ELF_MOST_VERSIONS];
} elf_file;

typedef enum elf_outcome {
    ELF_READ,
    /* It does not begin as an ELF file does. */
    ELF_OTHER,
    /* It begins as one and then breaks off, or contradicts itself. */
    ELF_MALFORMED
} elf_outcome;

/* Read the open file; `file` is complete only if the outcome is ELF_READ. */
elf_outcome elf_read(int descriptor, elf_file *file);

#endif
