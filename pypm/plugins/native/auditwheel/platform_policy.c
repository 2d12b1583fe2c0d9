#include "platform_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The newest symbol versions that a profile's distributions have; "" where there are none. */
typedef struct profile {
    unsigned glibc_minor;
    const char *glibcxx, *cxxabi, *gcc, *zlib, *libatomic;
} profile;

static const profile profiles[] = {
    {5, "3.4.8", "1.3.1", "4.2.0", "", ""},
    {12, "3.4.13", "1.3.3", "4.3.0", "1.2.2.4", ""},
    {17, "3.4.19", "1.3.7", "4.8.0", "1.2.5.2", ""},
    {24, "3.4.22", "1.3.10", "4.8.0", "1.2.5.2", "1.2"},
    {27, "3.4.24", "1.3.11", "7.0.0", "1.2.9", "1.2"},
    {31, "3.4.28", "1.3.12", "7.0.0", "1.2.9", "1.2"},
    {34, "3.4.29", "1.3.13", "7.0.0", "1.2.9", "1.2"},
    {35, "3.4.30", "1.3.13", "12.0.0", "1.2.9", "1.2"},
    {37, "3.4.30", "1.3.13", "12.0.0", "1.2.12", "1.2"},
    {39, "3.4.33", "1.3.15", "14.0.0", "1.2.12", "1.2"},
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
    {"ppc64le", 21, 64, 0}, {"s390x", 22, 64, 1},    {"riscv64", 243, 64, 0}, {"loongarch64", 258, 64, 0},
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

static const profile *profile_for(const platform_policy *policy) {
    size_t index = sizeof profiles / sizeof *profiles - 1;
    while (policy->major == 2 && index > 0 && profiles[index].glibc_minor > policy->minor) {
        --index;
    }
    return &profiles[index];
}

int policy_allows_version(const platform_policy *policy, const char *version) {
    const char *number = strrchr(version, '_');
    const profile *limits = profile_for(policy);
    char glibc[32];
    const struct {
        const char *prefix, *newest;
    } known[] = {{"GLIBC_", glibc},         {"GLIBCXX_", limits->glibcxx}, {"CXXABI_", limits->cxxabi},
                 {"GCC_", limits->gcc},     {"ZLIB_", limits->zlib},       {"LIBATOMIC_", limits->libatomic}};
    size_t index;
    if (policy->family == PLATFORM_MUSLLINUX) {
        /* musl has no symbol versions; those of glibc cannot be there. */
        return !begins(version, "GLIBC_");
    }
    if (policy->family != PLATFORM_MANYLINUX || number == NULL) {
        return 1;
    }
    snprintf(glibc, sizeof glibc, "%u.%u", policy->major, policy->minor);
    for (index = 0; index < sizeof known / sizeof *known; ++index) {
        if (begins(version, known[index].prefix)) {
            const char *rest = version + strlen(known[index].prefix);
            if (*rest < '0' || *rest > '9') {
                /* Named, not numbered: GLIBC_PRIVATE is for glibc's own parts, GLIBC_ABI_DT_RELR came with 2.36,
                 * CXXABI_TM_1 is as old as the oldest profile that has it. */
                if (strcmp(rest, "ABI_DT_RELR") == 0) return policy->major > 2 || policy->minor >= 36;
                return strcmp(rest, "PRIVATE") != 0;
            }
            return known[index].newest[0] != '\0' && compare_versions(rest, known[index].newest) <= 0;
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
