/* Calls the auditwheel hook as a program of its own, so that sanitizers see all of it.
 * usage: audit_driver ARTIFACT TREE */
#include "pypm_plugin.h"

#include <stdio.h>
#include <string.h>

static int take_log(void *user, pypm_uint32 level, const char *message) {
    (void)user;
    (void)level;
    (void)message;
    return PYPM_OK;
}

static int take_progress(void *user, pypm_uint64 done, pypm_uint64 total, const char *what) {
    (void)user;
    (void)done;
    (void)total;
    (void)what;
    return PYPM_OK;
}

static int take_diagnostic(void *user, pypm_uint32 level, const pypm_package *package, const char *message,
                           const char *hint) {
    (void)user;
    (void)package;
    (void)hint;
    printf("%u %s\n", level, message);
    return PYPM_OK;
}

static int take_offer(void *user, const pypm_package *package, const char *path) {
    (void)user;
    (void)package;
    (void)path;
    return PYPM_REFUSED;
}

static int not_cancelled(void *user) {
    (void)user;
    return 0;
}

int main(int count, char **words) {
    const pypm_host host = {sizeof host, 0, NULL, take_log, take_progress, take_diagnostic, take_offer, not_cancelled};
    pypm_package package;
    const pypm_package *packages[1];
    pypm_context context;
    if (count != 3) return 2;
    memset(&package, 0, sizeof package);
    memset(&context, 0, sizeof context);
    package.struct_size = sizeof package;
    package.name = "sample";
    package.artifact = words[1];
    package.tree = words[2];
    packages[0] = &package;
    context.struct_size = sizeof context;
    context.stage = PYPM_POST_FETCH;
    context.package_count = 1;
    context.packages = packages;
    context.host = &host;
    return pypm_hook(&context);
}
