#include "known.h"

#include <stdlib.h>
#include <string.h>

static known_object *find(const known_objects *known, const char *sha256) {
    size_t index;
    for (index = 0; index < known->count; ++index) {
        if (memcmp(known->list[index].sha256, sha256, SHA256_TEXT_BYTES) == 0) {
            return &known->list[index];
        }
    }
    return NULL;
}

object_state known_state(const known_objects *known, const char *sha256) {
    const known_object *found = find(known, sha256);
    return found == NULL ? OBJECT_UNKNOWN : found->state;
}

void known_set(known_objects *known, const char *sha256, object_state state) {
    known_object *found = find(known, sha256);
    if (found == NULL) {
        if (known->count == known->room) {
            const size_t room = known->room == 0 ? 64 : 2 * known->room;
            known_object *longer = realloc(known->list, room * sizeof *longer);
            if (longer == NULL) {
                return;
            }
            known->list = longer;
            known->room = room;
        }
        found = &known->list[known->count++];
        memcpy(found->sha256, sha256, SHA256_TEXT_BYTES);
    }
    found->state = state;
}
