/*
 * What a wheel's platform tag promises, and whether a library or a symbol version keeps it.
 *
 * Source: PEP 513, PEP 571, PEP 599, PEP 600 (manylinux), PEP 656 (musllinux); the numbers are those of the
 * distributions that the profiles stand for.
 */
#ifndef AUDITWHEEL_PLATFORM_POLICY_H
#define AUDITWHEEL_PLATFORM_POLICY_H

#include "elf_file.h"

typedef enum platform_family {
    PLATFORM_ANY,
    /* `linux_x86_64`: for this machine's own use, with no promise but the machine. */
    PLATFORM_LINUX,
    PLATFORM_MANYLINUX,
    PLATFORM_MUSLLINUX,
    /* Not for Linux. */
    PLATFORM_FOREIGN
} platform_family;

typedef struct platform_policy {
    platform_family family;
    /* Of the C library, for manylinux and musllinux. */
    unsigned major, minor;
    /* As in the tag: `x86_64`; empty for `any`. */
    char machine[128];
    /* The tag itself, for messages. */
    char tag[128];
} platform_policy;

/* Read the strictest platform tag of a wheel's file name; 0 for success. */
int policy_of_wheel(const char *file_name, platform_policy *policy);

/* Whether a library outside of the wheel may be needed. */
int policy_allows_library(const platform_policy *policy, const char *name);

/* Whether a symbol version such as `GLIBC_2.17` may be needed. Prefixes that no profile knows may. */
int policy_allows_version(const platform_policy *policy, const char *version);

/* Whether the file is built for the machine of the tag; also for a machine that we do not know. */
int policy_fits_machine(const platform_policy *policy, const elf_file *file);

/* Compare two dotted versions behind their prefixes: negative, zero, positive. */
int compare_versions(const char *left, const char *right);

#endif
