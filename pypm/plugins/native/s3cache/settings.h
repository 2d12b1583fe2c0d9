/*
 * What the project and the environment say about the cache: read once, checked, and copied, since a context lives
 * only as long as one call of the hook.
 */
#ifndef S3CACHE_SETTINGS_H
#define S3CACHE_SETTINGS_H

#include "pypm_plugin.h"

typedef struct cache_settings {
    char bucket[64];
    /* Scheme, host and port, and the bucket in its place; no slash at the end. */
    char base_url[512];
    /* `host:port` as `allow-net` has it, for hints. */
    char place[320];
    /* Between the bucket and our own layout, with a slash at the end; may be empty. */
    char prefix[258];
    char region[64];
    /* Credentials; an empty `access_key` stands for anonymous requests. They are never part of a message. */
    char access_key[256];
    char secret_key[256];
    char session_token[8192];
    /* PEM text on the heap that replaces the system's certificates; NULL where there is none. */
    char *certificates;
    int is_read_only;
    int is_required;
    /* Requests under way at once. */
    unsigned concurrency;
    long connect_seconds;
    /* How long a transfer may stand still. */
    long stall_seconds;
    /* Of all transfers of one stage. */
    long stage_seconds;
} cache_settings;

typedef enum settings_outcome {
    SETTINGS_READ,
    /* No bucket is named: there is nothing to do. */
    SETTINGS_NONE,
    /* `problem` says what is wrong. */
    SETTINGS_WRONG
} settings_outcome;

enum { SETTINGS_PROBLEM_BYTES = 512 };

settings_outcome settings_read(const pypm_context *context, cache_settings *settings,
                               char problem[SETTINGS_PROBLEM_BYTES]);

#endif
