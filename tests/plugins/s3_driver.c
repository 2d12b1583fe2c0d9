/* Calls the s3cache hook as a program of its own, so that sanitizers see all of it.
 * usage: s3_driver STAGE,STAGE... SCRATCH [KEY=VALUE ...] -- [NAME SHA256 SIZE PATH ...]
 * BUILD_KEY and BUILD_RECORD are those of every package; OLD_PYPM is one that knows no such fields. SIZE may be 0, PATH may be `-`. Prints a line for each thing the hook says, and `result N` for each stage. */
#include "pypm_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };

static pypm_package packages[MOST];
static const pypm_package *package_list[MOST];
static pypm_option options[MOST];
static const pypm_option *option_list[MOST];
static int cancel_after = -1;

static int take_log(void *user, pypm_uint32 level, const char *message) {
    (void)user;
    printf("log %u %s\n", level, message);
    return PYPM_OK;
}

static int take_progress(void *user, pypm_uint64 done, pypm_uint64 total, const char *what) {
    (void)user;
    if (done > total || (what != NULL && strlen(what) > 100)) abort();
    return PYPM_OK;
}

static int take_diagnostic(void *user, pypm_uint32 level, const pypm_package *package, const char *message,
                           const char *hint) {
    (void)user;
    printf("diagnostic %u %s | %s | %s\n", level, package == NULL ? "-" : package->name, message,
           hint == NULL ? "-" : hint);
    return PYPM_OK;
}

static int take_offer(void *user, const pypm_package *package, const char *path) {
    (void)user;
    printf("offer %s %s\n", package->name, path);
    return PYPM_OK;
}

static int is_cancelled(void *user) {
    (void)user;
    return cancel_after >= 0 && cancel_after-- == 0;
}

int main(int count, char **words) {
    static const char *const names[] = {"pre-fetch", "post-fetch", "post-build", "pre-build"};
    static const pypm_uint32 stages[] = {PYPM_PRE_FETCH, PYPM_POST_FETCH, PYPM_POST_BUILD, PYPM_PRE_BUILD};
    const pypm_host host = {sizeof host, 0, NULL, take_log, take_progress, take_diagnostic, take_offer, is_cancelled};
    const char *patience = getenv("CANCEL_AFTER");
    pypm_context context;
    char *name;
    int at;
    if (count < 4) return 2;
    if (patience != NULL) cancel_after = atoi(patience);
    memset(&context, 0, sizeof context);
    context.struct_size = sizeof context;
    context.scratch = words[2];
    context.host = &host;
    context.options = option_list;
    context.packages = package_list;
    for (at = 3; at < count && strcmp(words[at], "--") != 0; ++at) {
        pypm_option *option = &options[context.option_count];
        char *split = strchr(words[at], '=');
        if (split == NULL) return 2;
        *split = '\0';
        option->struct_size = sizeof *option;
        option->key = words[at];
        option->value = split + 1;
        option_list[context.option_count++] = option;
    }
    for (++at; at + 3 < count; at += 4) {
        pypm_package *package = &packages[context.package_count];
        package->struct_size = getenv("OLD_PYPM") != NULL ? offsetof(pypm_package, build_key) : sizeof *package;
        package->name = words[at];
        package->build_key = getenv("BUILD_KEY");
        package->build_record = getenv("BUILD_RECORD");
        package->sha256 = strcmp(words[at + 1], "-") == 0 ? NULL : words[at + 1];
        package->size_bytes = (pypm_uint64)atoll(words[at + 2]);
        package_list[context.package_count++] = package;
    }
    for (name = strtok(words[1], ","); name != NULL; name = strtok(NULL, ",")) {
        size_t index;
        for (index = 0; index < 4 && strcmp(name, names[index]) != 0; ++index) {
        }
        if (index == 4) return 2;
        context.stage = stages[index];
        context.stage_name = names[index];
        for (at = 0; at < (int)context.package_count; ++at) {
            const char *path = words[count - 4 * ((int)context.package_count - at) + 3];
            packages[at].path = index == 0 || strcmp(path, "-") == 0 ? NULL : path;
        }
        printf("result %d\n", pypm_hook(&context));
        fflush(stdout);
    }
    return 0;
}
