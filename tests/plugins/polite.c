/* A plugin that uses everything the interface has, and tells what it was told. */
#include "pypm_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const permissions[] = {"read:project?", "env:PLUGIN_TOKEN?", "net?", NULL};

const pypm_descriptor pypm_plugin = {
    PYPM_DESCRIPTOR_HEAD, "polite", "1.2", "says what it was told", permissions,
    PYPM_PRE_FETCH | PYPM_POST_FETCH | PYPM_PRE_RUN, 0};

static int calls = 0;

static void tell(const pypm_context *context, const char *key, const char *value) {
    char line[600];
    sprintf(line, "%s=%.500s", key, value == NULL ? "(null)" : value);
    context->host->log(context->host->user, PYPM_NOTE, line);
}

static int offer_first(const pypm_context *context) {
    char path[600];
    FILE *file;
    sprintf(path, "%.500s/offered", context->scratch);
    file = fopen(path, "wb");
    if (file == NULL) return 1;
    fputs("wheel", file);
    fclose(file);
    return context->host->offer(context->host->user, context->packages[0], path);
}

int pypm_hook(const pypm_context *context) {
    const pypm_host *host = context->host;
    char number[40];
    size_t index;
    if (!PYPM_HAS(context, pypm_context, host) || context->struct_size != sizeof *context) return 9;
    sprintf(number, "%d", ++calls);
    tell(context, "calls", number);
    tell(context, "stage", context->stage_name);
    tell(context, "pypm", context->pypm_version);
    tell(context, "root", context->project_root);
    tell(context, "lock", context->lock_path);
    tell(context, "lock-digest", context->lock_digest);
    tell(context, "environment", context->environment_path);
    tell(context, "environment-digest", context->environment_digest);
    tell(context, "interpreter", context->interpreter);
    tell(context, "interpreter-version", context->interpreter_version);
    tell(context, "token", getenv("PLUGIN_TOKEN"));
    for (index = 0; index < context->platform_tag_count; ++index)
        tell(context, "tag", context->platform_tags[index]);
    for (index = 0; index < context->option_count; ++index)
        tell(context, context->options[index]->key, context->options[index]->value);
    for (index = 0; index < context->package_count; ++index) {
        const pypm_package *package = context->packages[index];
        tell(context, "name", package->name);
        tell(context, "version", package->version);
        tell(context, "artifact", package->artifact);
        tell(context, "url", package->url);
        tell(context, "sha256", package->sha256);
        tell(context, "path", package->path);
        tell(context, "tree", package->tree);
        sprintf(number, "%.0f", (double)package->size_bytes);
        tell(context, "size", number);
        host->diagnostic(host->user, PYPM_WARNING, package, "look at this", "or do not");
    }
    host->progress(host->user, 1, 2, "half way");
    if (host->cancelled(host->user)) return 8;
    /* Misuse that is answered, not punished. */
    if (host->log(host->user, 99, "x") != PYPM_INVALID) return 7;
    if (host->log(host->user, PYPM_NOTE, NULL) != PYPM_INVALID) return 6;
    if (host->diagnostic(host->user, PYPM_NOTE, (const pypm_package *)context, "x", NULL) != PYPM_INVALID)
        return 5;
    if (context->stage == PYPM_PRE_FETCH) return offer_first(context);
    return 0;
}
