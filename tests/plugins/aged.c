/* A plugin that tells what it sees of the structures that grow, compiled against headers of different ages. */
#include "pypm_plugin.h"

#include <stdio.h>

#ifndef CONTEXT_BYTES
#define CONTEXT_BYTES sizeof(pypm_context)
#endif

const pypm_descriptor pypm_plugin = {
    PYPM_MAGIC, PYPM_ABI_VERSION, (pypm_uint32)sizeof(pypm_descriptor), (pypm_uint32)(CONTEXT_BYTES),
    "aged", "1", NULL, NULL, PYPM_PRE_RUN, 0
#ifdef NEWER
    , "a licence"
#endif
};

int pypm_hook(const pypm_context *context) {
    const pypm_host *host = context->host;
    char line[400];
    size_t index;
    for (index = 0; index < context->package_count; ++index) {
        const pypm_package *package = context->packages[index];
        sprintf(line, "%.50s %.9s", package->name, package->sha256);
        host->log(host->user, PYPM_NOTE, line);
#ifndef OLDER
        sprintf(line, "build key %.9s",
                PYPM_HAS(package, pypm_package, build_key) ? package->build_key : "not known");
        host->log(host->user, PYPM_NOTE, line);
#endif
#ifdef NEWER
        sprintf(line, "licence %.50s",
                PYPM_HAS(package, pypm_package, licence) ? package->licence : "not known");
        host->log(host->user, PYPM_NOTE, line);
#endif
    }
    for (index = 0; index < context->option_count; ++index) {
        sprintf(line, "%.50s=%.50s", context->options[index]->key, context->options[index]->value);
        host->log(host->user, PYPM_NOTE, line);
    }
#ifdef NEWER
    sprintf(line, "moon %.50s", PYPM_HAS(context, pypm_context, moon) ? context->moon : "not known");
    host->log(host->user, PYPM_NOTE, line);
    if (PYPM_HAS(host, pypm_host, sing)) host->sing(host->user, PYPM_NOTE, "la");
#endif
    return 0;
}
