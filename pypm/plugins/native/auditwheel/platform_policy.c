#include "platform_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Libraries whose symbols have numbered versions. */
enum { GLIBC, GLIBCXX, CXXABI, GCC, ZLIB, LIBATOMIC, FAMILY_COUNT };

static const char *const families[FAMILY_COUNT] = {"GLIBC_", "GLIBCXX_", "CXXABI_", "GCC_", "ZLIB_", "LIBATOMIC_"};

/* The newest symbol versions that all distributions with this glibc or a newer one have; "" where there are none.
 * That of glibc is the profile's own, so its column is empty.
 * Source: the profiles of the manylinux project, which are read off the libraries of distributions: CentOS 5, 6 and 7,
 * Debian 9, Ubuntu 18.04, Debian 11, RHEL 9, Ubuntu 22.04, Ubuntu 24.04 and those between them. What came with which
 * release of GCC: libstdc++ manual, "ABI Policy and Guidelines". */
static const struct profile {
    unsigned glibc_minor;
    const char *newest[FAMILY_COUNT];
} profiles[] = {
    {5, {"", "3.4.8", "1.3.1", "4.2.0", "", ""}},
    {12, {"", "3.4.13", "1.3.3", "4.3.0", "1.2.2.4", ""}},
    {17, {"", "3.4.19", "1.3.7", "4.8.0", "1.2.5.2", ""}},
    {24, {"", "3.4.22", "1.3.10", "4.8.0", "1.2.5.2", "1.2"}},
    {26, {"", "3.4.24", "1.3.11", "7.0.0", "1.2.9", "1.2"}},
    {31, {"", "3.4.28", "1.3.12", "7.0.0", "1.2.9", "1.2"}},
    {34, {"", "3.4.29", "1.3.13", "7.0.0", "1.2.9", "1.2"}},
    {35, {"", "3.4.30", "1.3.13", "7.0.0", "1.2.9", "1.2"}},
    {37, {"", "3.4.30", "1.3.13", "7.0.0", "1.2.12", "1.2"}},
    {39, {"", "3.4.33", "1.3.15", "14.0.0", "1.2.12", "1.2"}},
};

/* Where an architecture has something else: other distributions came for it, or its compiler was given a version of
 * symbols earlier. Source: the same. */
static const struct exception {
    const char *machine;
    unsigned first_minor, last_minor, family;
    const char *newest;
} exceptions[] = {
    {"i686", 12, 16, GCC, "4.5.0"},
    {"i686", 17, 23, LIBATOMIC, "1.0"},
    {"aarch64", 17, 23, LIBATOMIC, "1.0"},
    {"armv7l", 17, 23, LIBATOMIC, "1.0"},
    {"ppc64", 17, 23, LIBATOMIC, "1.0"},
    {"ppc64le", 17, 23, LIBATOMIC, "1.0"},
    {"aarch64", 17, 23, GLIBC, "2.18"},
    {"x86_64", 26, 26, GLIBCXX, "3.4.22"},
    {"x86_64", 26, 26, CXXABI, "1.3.10"},
    {"x86_64", 26, 26, GCC, "4.8.0"},
    {"x86_64", 26, 26, ZLIB, "1.2.5.2"},
    {"aarch64", 26, 26, ZLIB, "1.2.5.2"},
    {"aarch64", 34, 38, GCC, "11.0"},
    {"i686", 35, 38, GCC, "12.0.0"},
    {"x86_64", 35, 38, GCC, "12.0.0"},
    {"i686", 36, 36, ZLIB, "1.2.12"},
    {"loongarch64", 39, 39, GLIBCXX, "3.4.32"},
};

/* Versions without a number. `newest` of the family must be at least `since` for them to be there. */
static const struct {
    unsigned family;
    const char *name, *since;
} named[] = {
    {GLIBC, "ABI_DT_RELR", "2.36"},
    {CXXABI, "TM_1", "1.3.7"},
    {CXXABI, "FLOAT128", "1.3.9"},
};

/* Libraries that every manylinux distribution has, and the glibc minor from which on they count. */
static const struct {
    const char *name;
    unsigned since_minor;
} manylinux_libraries[] = {
    {"libGL.so.1", 5},       {"libICE.so.6", 5},         {"libSM.so.6", 5},           {"libX11.so.6", 5},
    {"libXext.so.6", 5},     {"libXrender.so.1", 5},     {"libanl.so.1", 5},          {"libatomic.so.1", 5},
    {"libc.so.6", 5},        {"libdl.so.2", 5},          {"libexpat.so.1", 12},       {"libgcc_s.so.1", 5},
    {"libglib-2.0.so.0", 5}, {"libgobject-2.0.so.0", 5}, {"libgthread-2.0.so.0", 5},  {"libm.so.6", 5},
    {"libmvec.so.1", 24},    {"libnsl.so.1", 5},         {"libpthread.so.0", 5},      {"libresolv.so.2", 5},
    {"librt.so.1", 5},       {"libstdc++.so.6", 5},      {"libutil.so.1", 5},         {"libz.so.1", 5},
};

/* Source: elf.h, EM_*. */
static const struct {
    const char *name;
    unsigned number, bits;
    int is_big_endian;
} machines[] = {
    {"x86_64", 62, 64, 0},  {"i686", 3, 32, 0},      {"aarch64", 183, 64, 0}, {"armv7l", 40, 32, 0},
    {"ppc64le", 21, 64, 0}, {"ppc64", 21, 64, 1},    {"s390x", 22, 64, 1},    {"riscv64", 243, 64, 0},
    {"loongarch64", 258, 64, 0},
};

static const struct {
    const char *name;
    unsigned minor;
} old_names[] = {{"manylinux1_", 5}, {"manylinux2010_", 12}, {"manylinux2014_", 17}};

static int begins(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

static void set_machine(platform_policy *policy, const char *text) {
    snprintf(policy->machine, sizeof policy->machine, "%s", text);
}

static void read_tag(const char *tag, platform_policy *policy) {
    size_t index;
    int used = 0;
    memset(policy, 0, sizeof *policy);
    snprintf(policy->tag, sizeof policy->tag, "%s", tag);
    policy->family = PLATFORM_FOREIGN;
    policy->major = 2;
    for (index = 0; index < sizeof old_names / sizeof *old_names; ++index) {
        if (begins(tag, old_names[index].name)) {
            policy->family = PLATFORM_MANYLINUX;
            policy->minor = old_names[index].minor;
            set_machine(policy, tag + strlen(old_names[index].name));
        }
    }
    if (strcmp(tag, "any") == 0) {
        policy->family = PLATFORM_ANY;
    } else if (begins(tag, "linux_")) {
        policy->family = PLATFORM_LINUX;
        set_machine(policy, tag + strlen("linux_"));
    } else if (sscanf(tag, "manylinux_%3u_%3u_%n", &policy->major, &policy->minor, &used) == 2 && used > 0) {
        policy->family = PLATFORM_MANYLINUX;
        set_machine(policy, tag + used);
    } else if (sscanf(tag, "musllinux_%3u_%3u_%n", &policy->major, &policy->minor, &used) == 2 && used > 0) {
        policy->family = PLATFORM_MUSLLINUX;
        set_machine(policy, tag + used);
    }
}

/* Whether `one` promises to run on older systems than `other`. */
static int is_stricter(const platform_policy *one, const platform_policy *other) {
    if (one->family != other->family) {
        return one->family == PLATFORM_MANYLINUX || one->family == PLATFORM_MUSLLINUX;
    }
    return one->major != other->major ? one->major < other->major : one->minor < other->minor;
}

int policy_of_wheel(const char *file_name, platform_policy *policy) {
    const char *tags = strrchr(file_name, '-'), *end = strstr(file_name, ".whl");
    int found = 0;
    if (tags == NULL || end == NULL || end <= tags || end[4] != '\0') {
        return -1;
    }
    for (++tags; tags < end; ++tags) {
        platform_policy one;
        char tag[sizeof one.tag];
        size_t length = strcspn(tags, ".");
        if (length == 0 || length >= sizeof tag) {
            return -1;
        }
        memcpy(tag, tags, length);
        tag[length] = '\0';
        read_tag(tag, &one);
        if (!found || is_stricter(&one, policy)) {
            *policy = one;
        }
        found = 1;
        tags += length;
    }
    return found ? 0 : -1;
}

static int is_loader(const char *name) {
    return begins(name, "ld-linux") || begins(name, "ld64.so") || begins(name, "ld.so") || begins(name, "ld-musl");
}

int policy_allows_library(const platform_policy *policy, const char *name) {
    size_t index;
    if (policy->family == PLATFORM_MUSLLINUX) {
        return strcmp(name, "libc.so") == 0 || strcmp(name, "libz.so.1") == 0 || begins(name, "libc.musl-") ||
               is_loader(name);
    }
    if (policy->family != PLATFORM_MANYLINUX || is_loader(name)) {
        return 1;
    }
    for (index = 0; index < sizeof manylinux_libraries / sizeof *manylinux_libraries; ++index) {
        if (strcmp(name, manylinux_libraries[index].name) == 0) {
            return policy->major > 2 || policy->minor >= manylinux_libraries[index].since_minor;
        }
    }
    return 0;
}

int compare_versions(const char *left, const char *right) {
    for (;;) {
        char *left_end, *right_end;
        const unsigned long a = strtoul(left, &left_end, 10), b = strtoul(right, &right_end, 10);
        if (a != b) {
            return a < b ? -1 : 1;
        }
        if (*left_end != '.' || *right_end != '.') {
            return (*left_end == '.') - (*right_end == '.');
        }
        left = left_end + 1;
        right = right_end + 1;
    }
}

/* The newest version of a family that the policy promises; `glibc` is a buffer for the one that is made up. */
static const char *newest_of(const platform_policy *policy, unsigned family, char glibc[32]) {
    const int is_newer = policy->major > 2;
    size_t index = sizeof profiles / sizeof *profiles - 1, other;
    while (!is_newer && index > 0 && profiles[index].glibc_minor > policy->minor) {
        --index;
    }
    for (other = 0; !is_newer && other < sizeof exceptions / sizeof *exceptions; ++other) {
        const struct exception *one = &exceptions[other];
        if (one->family == family && one->first_minor <= policy->minor && policy->minor <= one->last_minor &&
            strcmp(one->machine, policy->machine) == 0) {
            return one->newest;
        }
    }
    snprintf(glibc, 32, "%u.%u", policy->major, policy->minor);
    return family == GLIBC ? glibc : profiles[index].newest[family];
}

static int has_named(const platform_policy *policy, unsigned family, const char *name, const char *newest) {
    size_t index;
    if (family == GLIBC && strcmp(name, "ABI_DT_RELR") == 0 && strcmp(policy->machine, "riscv64") == 0) {
        return policy->major > 2 || policy->minor >= 38;
    }
    for (index = 0; index < sizeof named / sizeof *named; ++index) {
        if (named[index].family == family && strcmp(name, named[index].name) == 0) {
            return compare_versions(named[index].since, newest) <= 0;
        }
    }
    /* Such as GLIBC_PRIVATE, which is for glibc's own parts. */
    return 0;
}

int policy_allows_version(const platform_policy *policy, const char *version) {
    char glibc[32];
    unsigned family;
    if (policy->family == PLATFORM_MUSLLINUX) {
        /* musl has no symbol versions; those of glibc cannot be there. */
        return !begins(version, families[GLIBC]);
    }
    if (policy->family != PLATFORM_MANYLINUX) {
        return 1;
    }
    for (family = 0; family < FAMILY_COUNT; ++family) {
        if (begins(version, families[family])) {
            const char *newest = newest_of(policy, family, glibc);
            /* LDBL_3.4.29 and its like are other types of number in the symbols of 3.4.29. */
            const char *number = strrchr(version, '_') + 1;
            if (*number < '0' || *number > '9' || strcmp(version + strlen(families[family]), "TM_1") == 0) {
                return has_named(policy, family, version + strlen(families[family]), newest);
            }
            return newest[0] != '\0' && compare_versions(number, newest) <= 0;
        }
    }
    return 1;
}

int policy_fits_machine(const platform_policy *policy, const elf_file *file) {
    size_t index;
    for (index = 0; index < sizeof machines / sizeof *machines; ++index) {
        if (strcmp(policy->machine, machines[index].name) == 0) {
            return file->machine == machines[index].number && file->bits == machines[index].bits &&
                   file->is_big_endian == machines[index].is_big_endian;
        }
    }
    return 1;
}
