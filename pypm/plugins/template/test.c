/* Loads the plugin as pypm does, hands it a context, and looks at what it says. */
#include "pypm_plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static int failures = 0;
static int diagnostics = 0;

static void expect(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "FAILED: %s\n", what);
        ++failures;
    }
}

static int take_log(void *user, pypm_uint32 level, const char *message) {
    (void)user;
    printf("log %u: %s\n", level, message);
    return PYPM_OK;
}

static int take_progress(void *user, pypm_uint64 done, pypm_uint64 total, const char *what) {
    (void)user;
    (void)what;
    expect(done <= total, "progress stays below its total");
    return PYPM_OK;
}

static int take_diagnostic(void *user, pypm_uint32 level, const pypm_package *package, const char *message,
                           const char *hint) {
    (void)user;
    ++diagnostics;
    printf("diagnostic %u about %s: %s (%s)\n", level, package == NULL ? "nothing" : package->name, message,
           hint == NULL ? "no hint" : hint);
    return PYPM_OK;
}

static int take_offer(void *user, const pypm_package *package, const char *path) {
    (void)user;
    printf("offer for %s: %s\n", package->name, path);
    return PYPM_OK;
}

static int not_cancelled(void *user) {
    (void)user;
    return 0;
}

/* Fields by name, and zero for the rest: the structure grows. */
static pypm_package package_of(const char *name, pypm_uint64 size_bytes) {
    pypm_package package;
    memset(&package, 0, sizeof package);
    package.struct_size = sizeof package;
    package.name = name;
    package.version = "1.0";
    package.size_bytes = size_bytes;
    return package;
}

int main(void) {
    const pypm_host host = {sizeof(pypm_host), 0, NULL, take_log, take_progress, take_diagnostic, take_offer,
                            not_cancelled};
    const pypm_package small = package_of("small", 1000), large = package_of("large", 200000000);
    const pypm_package *packages[2];
    pypm_context context;
    const pypm_descriptor *descriptor;
    int (*hook)(const pypm_context *);
    void *library = dlopen("./pypm_@ID@.so", RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        fprintf(stderr, "FAILED: %s\n", dlerror());
        return 1;
    }
    descriptor = dlsym(library, "pypm_plugin");
    /* ISO C has no cast from an object pointer to a function pointer; POSIX asks for this detour. */
    *(void **)(&hook) = dlsym(library, "pypm_hook");
    if (descriptor == NULL || hook == NULL) {
        fprintf(stderr, "FAILED: a symbol is missing\n");
        return 1;
    }
    expect(descriptor->magic == PYPM_MAGIC, "the descriptor begins with PYPM_DESCRIPTOR_HEAD");
    expect(strcmp(descriptor->name, "@NAME@") == 0, "the plugin has the name of its file");

    memset(&context, 0, sizeof context);
    packages[0] = &small;
    packages[1] = &large;
    context.struct_size = sizeof context;
    context.abi_version = PYPM_ABI_VERSION;
    context.stage = PYPM_POST_FETCH;
    context.stage_name = "post-fetch";
    context.pypm_version = "0";
    context.project_root = "/project";
    context.scratch = "/tmp";
    context.package_count = 2;
    context.packages = packages;
    context.host = &host;

    expect(hook(&context) == 0, "the hook succeeds");
    expect(diagnostics == 1, "one wheel is too large");
    if (failures == 0) {
        printf("ok\n");
    }
    return failures != 0;
}
