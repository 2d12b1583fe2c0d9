/* Answers questions about platform tags, a line each: `v TAG VERSION`, `l TAG LIBRARY`; prints 1 or 0. */
#include "platform_policy.h"

#include <stdio.h>
#include <string.h>

int main(void) {
    char kind[2], tag[128], what[256], name[160];
    while (scanf("%1s %127s %255s", kind, tag, what) == 3) {
        platform_policy policy;
        snprintf(name, sizeof name, "x-1-cp311-cp311-%s.whl", tag);
        if (policy_of_wheel(name, &policy) != 0) return 2;
        puts((*kind == 'v' ? policy_allows_version(&policy, what) : policy_allows_library(&policy, what)) ? "1" : "0");
    }
    return 0;
}
