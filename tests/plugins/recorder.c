/* A plugin for every stage that tells at each what it was told, and does what its options ask for. */
#define _GNU_SOURCE
#include "pypm_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef STAGES
#define STAGES 0x0fffu
#endif

static const char *const permissions[] = {"read:packages?", "read:project?", "env:RECORDER_TOKEN?", "net?", NULL};

const pypm_descriptor pypm_plugin = {PYPM_DESCRIPTOR_HEAD, "recorder", "1", "tells what it is told",
                                     permissions, STAGES, 0};

static int calls = 0;

static const char *option(const pypm_context *context, const char *key) {
    size_t index;
    for (index = 0; index < context->option_count; ++index)
        if (strcmp(context->options[index]->key, key) == 0) return context->options[index]->value;
    return "";
}

static int readable(const char *path) { return path != NULL && access(path, R_OK) == 0; }

static void copy(const char *from, const char *to) {
    char block[4096];
    size_t count;
    FILE *source = fopen(from, "rb");
    FILE *target = fopen(to, "wb");
    while (source != NULL && target != NULL && (count = fread(block, 1, sizeof block, source)) > 0)
        fwrite(block, 1, count, target);
    if (source != NULL) fclose(source);
    if (target != NULL) fclose(target);
}

/* Whether a path is there, now or within half a minute; the empty one always is. */
static int appears(const char *path) {
    int left;
    for (left = 600; *path != 0 && !readable(path) && left > 0; --left) usleep(50000);
    return *path == 0 || readable(path);
}

/* Offers what lies under a name in the folder of the option `offers`, or rubbish. */
static int offer(const pypm_context *context, const pypm_package *package, const char *name) {
    char from[900], to[900];
    snprintf(from, sizeof from, "%s/%s", option(context, "offers"), name);
    snprintf(to, sizeof to, "%s/%s", context->scratch, name);
    if (!readable(from)) return 0;
    copy(from, to);
    return context->host->offer(context->host->user, package, name) || !appears(option(context, "await"));
}

static void misbehave(const pypm_context *context) {
    const char *how = option(context, "how");
    if (strcmp(how, "segv") == 0) *(volatile int *)1 = 1;
    if (strcmp(how, "hang") == 0) for (;;) pause();
    if (strcmp(how, "exit") == 0) exit(0);
    if (strcmp(how, "fork") == 0 && fork() == 0) for (;;) pause();
    if (strcmp(how, "log") == 0) for (;;) context->host->log(context->host->user, PYPM_NOTE, "again");
}

int pypm_hook(const pypm_context *context) {
    const pypm_host *host = context->host;
    char line[2000];
    size_t index, used;
    used = (size_t)snprintf(line, sizeof line, "%d %s lock=%d env=%d python=%d tags=%d token=%s :", ++calls,
                            context->stage_name, context->lock_digest != NULL,
                            context->environment_digest != NULL, context->interpreter != NULL,
                            context->platform_tag_count > 0, getenv("RECORDER_TOKEN"));
    for (index = 0; index < context->package_count && used < sizeof line - 200; ++index) {
        const pypm_package *package = context->packages[index];
        used += (size_t)snprintf(line + used, sizeof line - used, " %s-%s%s%s%s%s", package->name,
                                 package->version, package->artifact != NULL ? "+artifact" : "",
                                 package->sha256 != NULL ? "+sha256" : "", readable(package->path) ? "+path" : "",
                                 readable(package->tree) ? "+tree" : "");
        if (option(context, "offers")[0] == 0) continue;
        if (context->stage == PYPM_PRE_FETCH && offer(context, package, package->artifact) != 0) return 99;
        if (context->stage == PYPM_PRE_BUILD && package->build_key != NULL &&
            offer(context, package, package->build_key) != 0)
            return 99;
    }
    host->log(host->user, PYPM_WARNING, line);
    if (strcmp(option(context, "at"), context->stage_name) == 0) {
        host->progress(host->user, 1, 2, "half way");
        misbehave(context);
        host->diagnostic(host->user, PYPM_ERROR, context->package_count > 0 ? context->packages[0] : NULL,
                         "not like this", "do it another way");
        return strcmp(option(context, "how"), "grumble") == 0 ? 0 : 4;
    }
    return 0;
}
