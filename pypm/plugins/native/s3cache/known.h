/*
 * What this session has learned of objects, by hash.
 */
#ifndef S3CACHE_KNOWN_H
#define S3CACHE_KNOWN_H

#include "sha256.h"

typedef enum object_state {
    OBJECT_UNKNOWN,
    OBJECT_MISSING,
    /* Something else lies under its name. */
    OBJECT_WRONG,
    OBJECT_PRESENT,
    /* It lies in the scratch folder, with its hash checked. */
    OBJECT_FETCHED
} object_state;

typedef struct known_object {
    char sha256[SHA256_TEXT_BYTES];
    object_state state;
} known_object;

typedef struct known_objects {
    known_object *list;
    size_t count, room;
} known_objects;

object_state known_state(const known_objects *known, const char *sha256);
/* Remember; where there is no memory for it, nothing is remembered, and a request more is made later. */
void known_set(known_objects *known, const char *sha256, object_state state);

#endif
