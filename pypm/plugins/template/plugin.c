/*
 * pypm_@ID@ - a plugin of pypm.
 *
 * `pypm_plugin.h` explains every field and rule. In short: what you get is read-only and lives until the hook
 * returns; 0 lets pypm go on, anything else ends the command with your last error as the message.
 */
#include "pypm_plugin.h"

#include <stdio.h>

/* What the plugin may want; the project grants it in [tool.pypm.plugins.@NAME@]. The `?` says that it can do
 * without. Remove what you do not need: a plugin that wants nothing can be used without a thought. */
static const char *const permissions[] = {"read:packages?", NULL};

const pypm_descriptor pypm_plugin = {
    PYPM_DESCRIPTOR_HEAD,
    "@NAME@",
    "0.1.0",
    "Warns of wheels that are larger than they should be.",
    permissions,
    PYPM_POST_FETCH,
    0
};

/* Bytes; beyond it a wheel is told of. */
static const double largest_bytes = 100e6;

int pypm_hook(const pypm_context *context) {
    const pypm_host *host = context->host;
    size_t index;

    for (index = 0; index < context->package_count; ++index) {
        const pypm_package *package = context->packages[index];
        char message[128];

        if (host->cancelled(host->user)) {
            return 1;
        }
        host->progress(host->user, (pypm_uint64)index, (pypm_uint64)context->package_count, package->name);
        if ((double)package->size_bytes > largest_bytes) {
            sprintf(message, "the wheel has %.0f MB", (double)package->size_bytes / 1e6);
            host->diagnostic(host->user, PYPM_WARNING, package, message, "look for a smaller build of it");
        }
    }
    return 0;
}
