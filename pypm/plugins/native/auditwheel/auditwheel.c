/*
 * Reads the compiled files of each wheel when it has been fetched, and tells where they break what the wheel's
 * platform tag promises, or lack what protects a process.
 *
 * Options: `strict = true` makes findings about the tag, the machine and the stack errors, which end the command.
 */
#define _POSIX_C_SOURCE 200809L
#include "elf_file.h"
#include "platform_policy.h"
#include "pypm_plugin.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const permissions[] = {"read:packages", NULL};

const pypm_descriptor pypm_plugin = {
    PYPM_DESCRIPTOR_HEAD,
    "auditwheel",
    "1.0.0",
    "Checks the compiled files of wheels against their platform tag.",
    permissions,
    PYPM_POST_FETCH | PYPM_POST_BUILD,
    0
};

enum { DEEPEST_FOLDER = 64, MOST_FINDINGS = 20, MOST_BUNDLED = 4096, PATH_BYTES = 4096 };

typedef struct audit {
    const pypm_context *context;
    const pypm_package *package;
    platform_policy policy;
    int is_strict;
    unsigned findings;
    unsigned errors;
    /* Whether anything in the wheel begins as an ELF file does. */
    int has_compiled_code;
    /* Length of the tree's path, which messages leave out. */
    size_t root_bytes;
} audit;

/* Base names and sonames of the libraries in the wheel itself. One hook runs at a time, so they can be static. */
static char bundled[MOST_BUNDLED][ELF_TEXT_BYTES];
static unsigned bundled_count;
static elf_file current;

typedef void visitor(audit *a, int descriptor, const char *path);

static void report(audit *a, pypm_uint32 level, const char *path, const char *hint, const char *format, ...) {
    const pypm_host *host = a->context->host;
    char finding[1024], message[2 * PATH_BYTES];
    va_list arguments;
    if (level == PYPM_ERROR) {
        ++a->errors;
    }
    if (++a->findings > MOST_FINDINGS && level != PYPM_ERROR) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(finding, sizeof finding, format, arguments);
    va_end(arguments);
    snprintf(message, sizeof message, "`%s` %s", path + a->root_bytes, finding);
    host->diagnostic(host->user, level, a->package, message, hint);
}

/* The level of a broken promise. */
static pypm_uint32 grave(const audit *a) { return a->is_strict ? PYPM_ERROR : PYPM_WARNING; }

static int is_bundled(const char *name) {
    unsigned index;
    for (index = 0; index < bundled_count; ++index) {
        if (strcmp(bundled[index], name) == 0) return 1;
    }
    return 0;
}

static void bundle(const char *name) {
    if (name[0] != '\0' && bundled_count < MOST_BUNDLED) {
        snprintf(bundled[bundled_count++], ELF_TEXT_BYTES, "%s", name);
    }
}

static void collect(audit *a, int descriptor, const char *path) {
    const elf_outcome outcome = elf_read(descriptor, &current);
    a->has_compiled_code |= outcome != ELF_OTHER;
    if (outcome == ELF_READ && current.is_loadable) {
        bundle(strrchr(path, '/') + 1);
        bundle(current.soname);
    }
}

static void check_libraries(audit *a, const char *path) {
    static const char hint[] = "the wheel works only where this library happens to be installed";
    unsigned index;
    for (index = 0; index < current.needed_count; ++index) {
        const char *name = current.needed[index];
        if (!is_bundled(name) && !policy_allows_library(&a->policy, name)) {
            report(a, grave(a), path, hint, "needs `%s`, which `%s` does not promise", name, a->policy.tag);
        }
    }
}

/* Tell the newest broken version of each library, not all of them. */
static void check_versions(audit *a, const char *path) {
    static const char hint[] = "the wheel cannot be loaded on older systems that its tag admits";
    unsigned index, other;
    for (index = 0; index < current.version_count; ++index) {
        const elf_version *one = &current.versions[index];
        int is_newest = 1;
        if (is_bundled(one->library) || policy_allows_version(&a->policy, one->name)) continue;
        for (other = 0; other < current.version_count; ++other) {
            const elf_version *rival = &current.versions[other];
            const char *left = strrchr(one->name, '_'), *right = strrchr(rival->name, '_');
            if (left == NULL || right == NULL || strcmp(rival->library, one->library) != 0 ||
                right - rival->name != left - one->name ||
                strncmp(rival->name, one->name, (size_t)(left - one->name)) != 0) {
                continue;
            }
            if (compare_versions(left + 1, right + 1) < 0) is_newest = 0;
        }
        if (is_newest) {
            report(a, grave(a), path, hint, "needs `%s` of `%s`, which is newer than `%s`", one->name, one->library,
                   a->policy.tag);
        }
    }
}

static void check_search_path(audit *a, const char *path) {
    static const char hint[] = "whoever can write there decides what this library loads";
    const char *entry = current.search_path;
    while (*entry != '\0') {
        const size_t length = strcspn(entry, ":");
        if (length > 0 && strncmp(entry, "$ORIGIN", 7) != 0 && strncmp(entry, "${ORIGIN}", 9) != 0) {
            report(a, PYPM_WARNING, path, hint, "searches for libraries in `%.*s`", (int)length, entry);
        }
        entry += length + (entry[length] == ':');
    }
}

static void check_protection(audit *a, const char *path) {
    const int is_x86 = current.machine == 62 || current.machine == 3;
    if (current.has_executable_stack || (is_x86 && !current.has_stack_header)) {
        report(a, grave(a), path, "link it with `-Wl,-z,noexecstack`", "asks for an executable stack");
    }
    if (current.has_dynamic_section && !current.has_relro) {
        report(a, PYPM_NOTE, path, "link it with `-Wl,-z,relro`", "has no read-only relocations (RELRO)");
    }
}

/* Code for graphics processors and for the kernel also comes as ELF; no tag speaks of it.
 * Source: elf.h, EM_CUDA, EM_AMDGPU, EM_BPF. */
static int is_for_a_processor(void) {
    return current.machine != 190 && current.machine != 224 && current.machine != 247;
}

static void inspect(audit *a, int descriptor, const char *path) {
    const elf_outcome outcome = elf_read(descriptor, &current);
    if (outcome == ELF_MALFORMED) {
        report(a, grave(a), path, "do not use it before somebody has looked at it",
               "begins as an ELF file and is malformed");
    }
    if (outcome != ELF_READ || !current.is_loadable || !is_for_a_processor()) {
        return;
    }
    if (a->policy.family == PLATFORM_ANY) {
        report(a, grave(a), path, "a wheel with compiled code needs a platform tag",
               "is compiled code in a wheel for any platform");
    } else if (!policy_fits_machine(&a->policy, &current)) {
        report(a, grave(a), path, NULL, "is built for another machine than `%s`", a->policy.tag);
    }
    check_libraries(a, path);
    check_versions(a, path);
    check_search_path(a, path);
    check_protection(a, path);
}

/* Visit every regular file below `path`, a buffer of PATH_BYTES that is restored; links are not followed. */
static void walk(audit *a, char *path, int depth, visitor *visit) {
    DIR *folder = depth < DEEPEST_FOLDER ? opendir(path) : NULL;
    const size_t length = strlen(path);
    const struct dirent *entry;
    if (folder == NULL) {
        return;
    }
    while ((entry = readdir(folder)) != NULL && !a->context->host->cancelled(a->context->host->user)) {
        struct stat status;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            length + strlen(entry->d_name) + 2 > PATH_BYTES) {
            continue;
        }
        path[length] = '/';
        strcpy(path + length + 1, entry->d_name);
        if (lstat(path, &status) != 0) {
            /* It is gone, or not ours to see. */
        } else if (S_ISDIR(status.st_mode)) {
            walk(a, path, depth + 1, visit);
        } else if (S_ISREG(status.st_mode)) {
            const int descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
            if (descriptor >= 0) {
                visit(a, descriptor, path);
                close(descriptor);
            }
        }
        path[length] = '\0';
    }
    closedir(folder);
}

static unsigned audit_package(const pypm_context *context, const pypm_package *package, int is_strict) {
    char path[PATH_BYTES];
    audit a;
    memset(&a, 0, sizeof a);
    a.context = context;
    a.package = package;
    a.is_strict = is_strict;
    if (package->tree == NULL || package->artifact == NULL || strlen(package->tree) >= sizeof path ||
        policy_of_wheel(package->artifact, &a.policy) != 0 || a.policy.family == PLATFORM_FOREIGN) {
        return 0;
    }
    strcpy(path, package->tree);
    a.root_bytes = strlen(path) + 1;
    bundled_count = 0;
    walk(&a, path, 0, collect);
    if (a.has_compiled_code) {
        walk(&a, path, 0, inspect);
    }
    if (a.findings > MOST_FINDINGS) {
        char message[64];
        snprintf(message, sizeof message, "%u findings in all; the first are told", a.findings);
        context->host->diagnostic(context->host->user, PYPM_NOTE, package, message, NULL);
    }
    return a.errors;
}

int pypm_hook(const pypm_context *context) {
    const pypm_host *host = context->host;
    unsigned errors = 0;
    int is_strict = 0;
    size_t index;
    for (index = 0; index < context->option_count; ++index) {
        if (strcmp(context->options[index]->key, "strict") == 0) {
            is_strict = strcmp(context->options[index]->value, "true") == 0;
        }
    }
    for (index = 0; index < context->package_count && !host->cancelled(host->user); ++index) {
        host->progress(host->user, index, context->package_count, context->packages[index]->name);
        errors += audit_package(context, context->packages[index], is_strict);
    }
    return errors > 0;
}
