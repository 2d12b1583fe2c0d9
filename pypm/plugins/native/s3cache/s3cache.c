/*
 * A cache that the machines of a team share: a bucket of an S3-compatible server, in which every artifact lies under
 * its SHA-256. Before artifacts are downloaded it offers those that the bucket has; afterwards it stores those that
 * the bucket lacks.
 *
 * Nothing depends on it: what it offers is hashed here and by pypm, and when it fails it says so once and is not
 * asked again in this session, unless `required = true`. docs/shared-cache.md tells how to use it.
 */
#define _POSIX_C_SOURCE 200809L
#include "known.h"
#include "queue.h"
#include "verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* All of them can be done without, so that a project may name the plugin before it has a bucket. */
static const char *const permissions[] = {
    "net?",
    "read:packages?",
    "env:AWS_ACCESS_KEY_ID?",
    "env:AWS_SECRET_ACCESS_KEY?",
    "env:AWS_SESSION_TOKEN?",
    "env:AWS_REGION?",
    "env:AWS_DEFAULT_REGION?",
    NULL
};

const pypm_descriptor pypm_plugin = {
    PYPM_DESCRIPTOR_HEAD,
    "s3cache",
    "1.0.0",
    "Shares artifacts with other machines through an S3-compatible bucket.",
    permissions,
    PYPM_PRE_FETCH | PYPM_POST_FETCH | PYPM_PRE_BUILD | PYPM_POST_BUILD,
    0
};

enum { MOST_ATTEMPTS = 3, FIRST_WAIT_MS = 200 };

/* One hook runs at a time, and the process serves one command, so the session can be static. Credentials are in it;
 * nothing reads them but the two functions that make a request. */
static struct session {
    int is_begun;
    settings_outcome outcome;
    cache_settings settings;
    queue queue;
    known_objects known;
    /* After a failure nothing is asked any more. */
    int is_off;
    int has_warned, has_warned_of_wrong;
    /* The server has said that it does not know conditional requests. */
    int is_unconditional;
    /* Answers that tell something of an object, and those that refuse to. */
    size_t answered, denied;
} session;

/* What a run of the queue is for, and what came of it. */
typedef struct stage_work {
    const pypm_context *context;
    job *jobs;
    size_t count;
    /* Artifacts that were fetched or stored. */
    size_t moved;
    int is_failed;
} stage_work;

static void complain(stage_work *work, const char *cause, const char *hint) {
    const pypm_host *host = work->context->host;
    const cache_settings *settings = &session.settings;
    char message[1024];
    snprintf(message, sizeof message, "the shared cache `%s` at `%s` %s%s", settings->bucket, settings->place, cause,
             settings->is_required ? "" : "; going on without it");
    if (*hint == '\0') {
        hint = NULL;
    }
    if (settings->is_required) {
        work->is_failed = 1;
        host->diagnostic(host->user, PYPM_ERROR, NULL, message, hint);
    } else if (!session.has_warned) {
        host->diagnostic(host->user, PYPM_WARNING, NULL, message, hint);
    } else {
        host->log(host->user, PYPM_NOTE, message);
    }
    session.has_warned = 1;
}

static void complain_of_wrong(const stage_work *work, const pypm_package *package, const answer *result) {
    const pypm_host *host = work->context->host;
    char message[1024];
    snprintf(message, sizeof message, "the shared cache `%s` at `%s` %s: %s", session.settings.bucket,
             session.settings.place, result->cause, package->sha256);
    host->diagnostic(host->user, session.has_warned_of_wrong ? PYPM_NOTE : PYPM_WARNING, package, message,
                     result->hint);
    session.has_warned_of_wrong = 1;
}

/* What holds for every answer that is neither what was asked for nor a plain no. */
static queue_next after_failure(stage_work *work, job *one, const answer *result) {
    if (result->kind == ANSWER_AGAIN && one->attempts < MOST_ATTEMPTS) {
        one->ready_ms = monotonic_ms() + ((long long)FIRST_WAIT_MS << one->attempts);
        return SAME_JOB;
    }
    complain(work, result->cause, result->hint);
    session.is_off = 1;
    return NO_JOB;
}

static queue_next after_fetch(void *argument, job *one, const answer *result) {
    stage_work *work = argument;
    const pypm_host *host = work->context->host;
    const pypm_package *package = one->package;
    switch (result->kind) {
    case ANSWER_DONE:
        ++session.answered;
        if (one->is_record) {
            host->offer(host->user, package, package->build_key);
            return NEXT_JOB;
        }
        ++work->moved;
        known_set(&session.known, package->sha256, OBJECT_FETCHED);
        host->offer(host->user, package, package->sha256);
        return NEXT_JOB;
    case ANSWER_MISSING:
        ++session.answered;
        if (!one->is_record) known_set(&session.known, package->sha256, OBJECT_MISSING);
        return NEXT_JOB;
    case ANSWER_WRONG:
        ++session.answered;
        if (one->is_record) {
            return NEXT_JOB; /* Too large for one; pypm builds. */
        }
        known_set(&session.known, package->sha256, OBJECT_WRONG);
        complain_of_wrong(work, package, result);
        return NEXT_JOB;
    case ANSWER_DENIED:
        ++session.denied;
        return NEXT_JOB;
    default:
        return after_failure(work, one, result);
    }
}

static queue_next after_store(void *argument, job *one, const answer *result) {
    stage_work *work = argument;
    const int is_look = one->kind == TRANSFER_LOOK_UP;
    if (is_look && (result->kind == ANSWER_MISSING || result->kind == ANSWER_DENIED)) {
        one->kind = TRANSFER_STORE;
        one->is_conditional = !session.is_unconditional;
        one->attempts = 0;
        return SAME_JOB;
    }
    if (result->kind == ANSWER_DONE) {
        work->moved += !is_look;
        if (!one->is_record) known_set(&session.known, one->package->sha256, OBJECT_PRESENT);
        return NEXT_JOB;
    }
    if (result->kind == ANSWER_UNCONDITIONAL) {
        size_t index;
        session.is_unconditional = 1;
        for (index = 0; index < work->count; ++index) {
            work->jobs[index].is_conditional = 0;
        }
        return SAME_JOB;
    }
    if (result->kind == ANSWER_LOCAL) {
        complain(work, result->cause, "to store artifacts it must read them: `allow-read = [\"packages\"]`");
        return NEXT_JOB;
    }
    return after_failure(work, one, result);
}

static void run(stage_work *work, queue_listener *listener) {
    char cause[128];
    switch (queue_run(&session.queue, work->jobs, work->count, work->context, &session.settings, listener, work)) {
    case QUEUE_LATE:
        snprintf(cause, sizeof cause, "took longer than %ld seconds", session.settings.stage_seconds);
        complain(work, cause, "`stage-timeout` gives it more");
        session.is_off = 1;
        break;
    case QUEUE_BROKEN:
        complain(work, "cannot be used: libcurl failed", "");
        session.is_off = 1;
        break;
    default:
        break;
    }
}

/* Whether an earlier package of this context has the same hash, and so the same object. */
static int is_repeated(const pypm_context *context, size_t index) {
    size_t other;
    for (other = 0; other < index; ++other) {
        const char *sha256 = context->packages[other]->sha256;
        if (sha256 != NULL && strcmp(sha256, context->packages[index]->sha256) == 0) return 1;
    }
    return 0;
}

static void add_job(stage_work *work, const pypm_package *package, transfer_kind kind) {
    job *one = &work->jobs[work->count++];
    one->package = package;
    one->kind = kind;
}

/* What is offered is unpacked while the next is on its way, so what takes longest to unpack comes first. */
static int larger_first(const void *one, const void *other) {
    const pypm_uint64 first = ((const job *)one)->package->size_bytes;
    const pypm_uint64 second = ((const job *)other)->package->size_bytes;
    return (first < second) - (first > second);
}

static void plan_fetches(stage_work *work) {
    const pypm_context *context = work->context;
    const pypm_host *host = context->host;
    size_t index;
    for (index = 0; index < context->package_count; ++index) {
        const pypm_package *package = context->packages[index];
        if (!sha256_is_text(package->sha256)) {
            continue;
        }
        if (known_state(&session.known, package->sha256) == OBJECT_FETCHED) {
            host->offer(host->user, package, package->sha256);
        } else if (!is_repeated(context, index)) {
            add_job(work, package, TRANSFER_FETCH);
        }
    }
    qsort(work->jobs, work->count, sizeof *work->jobs, larger_first);
}

static void plan_stores(stage_work *work) {
    const pypm_context *context = work->context;
    size_t index;
    for (index = 0; index < context->package_count; ++index) {
        const pypm_package *package = context->packages[index];
        object_state state;
        if (package->path == NULL || !sha256_is_text(package->sha256) || is_repeated(context, index)) {
            continue;
        }
        state = known_state(&session.known, package->sha256);
        if (state == OBJECT_PRESENT) {
            continue;
        }
        add_job(work, package, state == OBJECT_UNKNOWN ? TRANSFER_LOOK_UP : TRANSFER_STORE);
        work->jobs[work->count - 1].is_conditional = state == OBJECT_MISSING && !session.is_unconditional;
    }
}

static void tell_moved(const stage_work *work, const char *what) {
    const pypm_host *host = work->context->host;
    char message[256];
    if (work->moved > 0) {
        snprintf(message, sizeof message, "%s `%s`: %lu", what, session.settings.bucket, (unsigned long)work->moved);
        host->log(host->user, PYPM_NOTE, message);
    }
}

/* Whether pypm tells of the build of this package, and where to find it. An older pypm does not know of records. */
static int has_build_key(const pypm_package *package) {
    return PYPM_HAS(package, pypm_package, build_record) && sha256_is_text(package->build_key);
}

static void plan_records(stage_work *work) {
    size_t index;
    for (index = 0; index < work->context->package_count; ++index) {
        if (has_build_key(work->context->packages[index])) {
            add_job(work, work->context->packages[index], TRANSFER_FETCH);
            work->jobs[work->count - 1].is_record = 1;
        }
    }
}

/* Hash a small file; 0 for success. */
static int hash_file(const char *path, char text[SHA256_TEXT_BYTES]) {
    unsigned char block[4096];
    sha256_state state;
    size_t got;
    int failed;
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return -1;
    }
    sha256_begin(&state);
    while ((got = fread(block, 1, sizeof block, file)) > 0) {
        sha256_add(&state, block, got);
    }
    failed = ferror(file);
    fclose(file);
    sha256_end(&state, text);
    return failed ? -1 : 0;
}

/* Records replace what is there: it may be one that nobody believes, and any good one is as good as another. */
static void plan_record_stores(stage_work *work) {
    size_t index;
    for (index = 0; index < work->context->package_count; ++index) {
        const pypm_package *package = work->context->packages[index];
        job *one;
        if (!has_build_key(package) || package->build_record == NULL) {
            continue;
        }
        add_job(work, package, TRANSFER_STORE);
        one = &work->jobs[work->count - 1];
        one->is_record = 1;
        if (hash_file(package->build_record, one->record_sha256) != 0) {
            --work->count;
            complain(work, "cannot be given the record of a build", "allow it to read: `allow-read = [\"packages\"]`");
        }
    }
}

static void fetch(stage_work *work) {
    answer none;
    if (work->context->stage == PYPM_PRE_BUILD) {
        plan_records(work);
        run(work, after_fetch);
        return;
    }
    plan_fetches(work);
    run(work, after_fetch);
    if (session.denied > 0 && session.answered == 0 && !session.is_off) {
        /* It may be nothing but empty: one request an artifact is what that costs. */
        verdict_of_denied(&session.settings, &none);
        complain(work, none.cause, none.hint);
    }
    tell_moved(work, "artifacts taken from");
}

/* What was offered has been copied by now: free the disk. It can be fetched again should it be asked for again. */
static void forget_offers(const pypm_context *context) {
    char path[4096];
    size_t index;
    for (index = 0; index < context->package_count; ++index) {
        const char *sha256 = context->packages[index]->sha256;
        if (sha256_is_text(sha256) && known_state(&session.known, sha256) == OBJECT_FETCHED &&
            snprintf(path, sizeof path, "%s/%s", context->scratch, sha256) < (int)sizeof path) {
            known_set(&session.known, sha256, OBJECT_PRESENT);
            unlink(path);
        }
    }
}

static void store(stage_work *work) {
    forget_offers(work->context);
    if (session.settings.is_read_only || session.settings.access_key[0] == '\0') {
        return;
    }
    plan_stores(work);
    run(work, after_store);
    tell_moved(work, "artifacts stored in");
    if (!session.is_off && !work->is_failed) {
        /* Behind the wheels, so that what a record names is there. */
        memset(work->jobs, 0, work->count * sizeof *work->jobs);
        work->count = 0;
        plan_record_stores(work);
        run(work, after_store);
    }
}

/* Read the settings once; 0 to go on. */
static int begin(const pypm_context *context) {
    const pypm_host *host = context->host;
    char problem[SETTINGS_PROBLEM_BYTES];
    session.is_begun = 1;
    session.outcome = settings_read(context, &session.settings, problem);
    if (session.outcome == SETTINGS_WRONG) {
        host->diagnostic(host->user, PYPM_ERROR, NULL, problem, "docs/shared-cache.md tells what it understands");
        return -1;
    }
    if (session.outcome == SETTINGS_READ && queue_open(&session.queue, session.settings.concurrency) != 0) {
        host->diagnostic(host->user, PYPM_ERROR, NULL, "libcurl cannot be set up", NULL);
        return -1;
    }
    return 0;
}

int pypm_hook(const pypm_context *context) {
    stage_work work;
    memset(&work, 0, sizeof work);
    work.context = context;
    if (!session.is_begun && begin(context) != 0) {
        return 1;
    }
    if (session.outcome != SETTINGS_READ || session.is_off || context->package_count == 0) {
        return 0;
    }
    work.jobs = calloc(context->package_count, sizeof *work.jobs);
    if (work.jobs == NULL) {
        complain(&work, "cannot be used: there is no memory", "");
    } else if (context->stage == PYPM_PRE_FETCH || context->stage == PYPM_PRE_BUILD) {
        fetch(&work);
    } else {
        store(&work);
    }
    free(work.jobs);
    return work.is_failed;
}
