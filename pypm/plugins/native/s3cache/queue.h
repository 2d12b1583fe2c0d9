/*
 * Runs many jobs over a few connections, which stay open from one stage to the next.
 */
#ifndef S3CACHE_QUEUE_H
#define S3CACHE_QUEUE_H

#include "transfer.h"

/* As many as `concurrency` may be. */
enum { QUEUE_MOST_TRANSFERS = 32 };

typedef struct queue {
    CURLM *multi;
    unsigned size;
    transfer transfers[QUEUE_MOST_TRANSFERS];
} queue;

typedef enum queue_outcome {
    QUEUE_DONE,
    /* pypm asked for it, or `next` did. */
    QUEUE_STOPPED,
    QUEUE_LATE,
    /* libcurl could not be used at all. */
    QUEUE_BROKEN
} queue_outcome;

typedef enum queue_next {
    NEXT_JOB,
    /* The job was changed and is to be done again, now or at its `ready_ms`. */
    SAME_JOB,
    /* No more requests. */
    NO_JOB
} queue_next;

/* What to do after an answer; `argument` is the caller's. */
typedef queue_next queue_listener(void *argument, job *work, const answer *result);

long long monotonic_ms(void);

/* Make the handles; 0 for success. They last as long as the process. */
int queue_open(queue *q, unsigned size);

/* Do the jobs, telling `listener` of each answer. When it returns nothing is under way any more. */
queue_outcome queue_run(queue *q, job *jobs, size_t count, const pypm_context *context,
                        const cache_settings *settings, queue_listener *listener, void *argument);

#endif
