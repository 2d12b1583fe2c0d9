#define _POSIX_C_SOURCE 200809L
#include "queue.h"

#include <string.h>
#include <time.h>

/* How often it is looked whether to stop, and whether a job's time has come. */
enum { LOOK_MS = 100 };

/* What one run works on. */
typedef struct round_of_jobs {
    job *jobs;
    size_t count, finished;
    const pypm_context *context;
    const cache_settings *settings;
    queue_listener *listener;
    void *argument;
} round_of_jobs;

long long monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int queue_open(queue *q, unsigned size) {
    unsigned index;
    memset(q, 0, sizeof *q);
    q->size = size;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (q->multi = curl_multi_init()) == NULL) {
        return -1;
    }
    curl_multi_setopt(q->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)size);
    curl_multi_setopt(q->multi, CURLMOPT_MAXCONNECTS, (long)size);
    for (index = 0; index < size; ++index) {
        q->transfers[index].file = -1;
        q->transfers[index].handle = curl_easy_init();
        if (q->transfers[index].handle == NULL) {
            return -1;
        }
    }
    return 0;
}

static job *ready_job(const round_of_jobs *round) {
    const long long now = monotonic_ms();
    size_t index;
    for (index = 0; index < round->count; ++index) {
        if (!round->jobs[index].is_begun && round->jobs[index].ready_ms <= now) {
            return &round->jobs[index];
        }
    }
    return NULL;
}

/* Tell of an answer; 0 to go on. */
static int tell(round_of_jobs *round, job *work, const answer *result) {
    const queue_next next = round->listener(round->argument, work, result);
    if (next == SAME_JOB) {
        work->is_begun = 0;
        return 0;
    }
    ++round->finished;
    return next == NO_JOB;
}

/* Give every idle handle a job; 0 to go on. */
static int fill(queue *q, round_of_jobs *round) {
    unsigned index;
    for (index = 0; index < q->size; ++index) {
        transfer *t = &q->transfers[index];
        job *work = t->job == NULL ? ready_job(round) : NULL;
        answer result;
        if (work == NULL) {
            continue;
        }
        work->is_begun = 1;
        ++work->attempts;
        if (transfer_begin(t, work, round->settings, round->context->scratch, &result) != 0) {
            if (tell(round, work, &result) != 0) return -1;
        } else if (curl_multi_add_handle(q->multi, t->handle) != CURLM_OK) {
            transfer_drop(t);
            return -1;
        }
    }
    return 0;
}

/* Take what has ended; 0 to go on. */
static int collect(queue *q, round_of_jobs *round) {
    const CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(q->multi, &left)) != NULL) {
        /* The message is libcurl's, and gone with the next call on the handle. */
        CURL *handle = message->easy_handle;
        const CURLcode code = message->data.result;
        void *private = NULL;
        transfer *t;
        job *work;
        answer result;
        if (message->msg != CURLMSG_DONE || curl_easy_getinfo(handle, CURLINFO_PRIVATE, &private) != CURLE_OK) {
            continue;
        }
        t = private;
        work = t->job;
        curl_multi_remove_handle(q->multi, handle);
        transfer_end(t, code, round->settings, &result);
        if (tell(round, work, &result) != 0) {
            return -1;
        }
    }
    return 0;
}

static void drop_all(queue *q) {
    unsigned index;
    for (index = 0; index < q->size; ++index) {
        if (q->transfers[index].job != NULL) {
            curl_multi_remove_handle(q->multi, q->transfers[index].handle);
            transfer_drop(&q->transfers[index]);
        }
    }
}

static void show_progress(const queue *q, const round_of_jobs *round) {
    const pypm_host *host = round->context->host;
    const char *name = NULL;
    unsigned index;
    for (index = 0; index < q->size && name == NULL; ++index) {
        if (q->transfers[index].job != NULL) name = q->transfers[index].job->package->name;
    }
    host->progress(host->user, round->finished, round->count, name);
}

queue_outcome queue_run(queue *q, job *jobs, size_t count, const pypm_context *context,
                        const cache_settings *settings, queue_listener *listener, void *argument) {
    const long long deadline = monotonic_ms() + 1000LL * settings->stage_seconds;
    const pypm_host *host = context->host;
    queue_outcome outcome = QUEUE_DONE;
    round_of_jobs round;
    int running;
    memset(&round, 0, sizeof round);
    round.jobs = jobs;
    round.count = count;
    round.context = context;
    round.settings = settings;
    round.listener = listener;
    round.argument = argument;
    while (outcome == QUEUE_DONE && round.finished < count) {
        const size_t before = round.finished;
        if (host->cancelled(host->user) || fill(q, &round) != 0) {
            outcome = QUEUE_STOPPED;
        } else if (monotonic_ms() >= deadline) {
            outcome = QUEUE_LATE;
        } else if (curl_multi_perform(q->multi, &running) != CURLM_OK) {
            outcome = QUEUE_BROKEN;
        } else if (collect(q, &round) != 0) {
            outcome = QUEUE_STOPPED;
        } else if (round.finished == before) {
            /* Nothing has ended, so no handle is free: wait for the network. */
            if (curl_multi_poll(q->multi, NULL, 0, LOOK_MS, NULL) != CURLM_OK) outcome = QUEUE_BROKEN;
            show_progress(q, &round);
        }
    }
    drop_all(q);
    return outcome;
}
