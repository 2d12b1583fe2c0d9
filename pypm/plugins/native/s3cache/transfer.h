/*
 * One request for one object on one of libcurl's handles, and what its answer means.
 *
 * Objects are streamed between the network and a file and hashed on the way, so memory does not grow with them.
 * What does not have its hash is never left behind as a file, and never sent to the end.
 */
#ifndef S3CACHE_TRANSFER_H
#define S3CACHE_TRANSFER_H

#include "settings.h"
#include "sha256.h"

#include <curl/curl.h>

/* Before 7.88 libcurl signs neither the hash of the content nor our own headers, which S3 insists on. */
#if LIBCURL_VERSION_NUM < 0x075800
#error "s3cache needs libcurl 7.88 or newer"
#endif

typedef enum transfer_kind { TRANSFER_FETCH, TRANSFER_LOOK_UP, TRANSFER_STORE } transfer_kind;

/* One thing to do. The pointers are the context's or the caller's, and outlive the job. */
typedef struct job {
    const pypm_package *package;
    transfer_kind kind;
    /* The package's record of its build in place of its artifact. It lies under the key of the build, so its hash says
     * nothing; pypm believes the signature in it. */
    int is_record;
    /* SHA-256 of a record that is stored. */
    char record_sha256[SHA256_TEXT_BYTES];
    /* Whether an object that is there already is left as it is. */
    int is_conditional;
    unsigned attempts;
    /* When it may be begun, by `monotonic_ms`. */
    long long ready_ms;
    int is_begun;
} job;

typedef enum answer_kind {
    /* The object was fetched and has its hash; or it is there; or it is stored. */
    ANSWER_DONE,
    ANSWER_MISSING,
    /* What was fetched is not what the name says. */
    ANSWER_WRONG,
    /* S3 also says so of a missing object to those who may not list the bucket. */
    ANSWER_DENIED,
    /* The server does not know conditional requests. */
    ANSWER_UNCONDITIONAL,
    /* It may go better in a moment. */
    ANSWER_AGAIN,
    /* This machine's own fault: a file that cannot be read or written. */
    ANSWER_LOCAL,
    /* The cache is of no use now. */
    ANSWER_FAILED
} answer_kind;

typedef struct answer {
    answer_kind kind;
    /* Why, to go on from "the cache"; empty for the first two. Never holds credentials. */
    char cause[512];
    /* What to do; empty where there is nothing to say. */
    char hint[512];
} answer;

typedef enum stop_reason {
    STOP_NONE,
    STOP_FILE,
    STOP_LARGE,
    STOP_HASH,
    STOP_BODY
} stop_reason;

typedef struct transfer {
    CURL *handle;
    struct curl_slist *headers;
    job *job;
    /* Open while the transfer runs, -1 otherwise. */
    int file;
    /* Below `scratch`: where a fetched object goes. */
    char path[4096];
    sha256_state hash;
    pypm_uint64 done_bytes, limit_bytes;
    /* Why a callback broke the transfer off, and the system's number for it. */
    stop_reason stopped;
    int system_error;
    /* The beginning of an answer that is no object. */
    char body[2048];
    size_t body_used;
    char bucket_region[64];
    char curl_error[CURL_ERROR_SIZE];
} transfer;

/* What the object and the file that is fetched are called: a hash, or the key of a build. */
const char *job_name(const job *work);
/* Where the object of a job lies, relative to the bucket; the text has room for a prefix and 128 bytes. */
enum { OBJECT_KEY_BYTES = 512 };
void object_key(const cache_settings *settings, const job *work, char key[OBJECT_KEY_BYTES]);

/* Prepare `transfer->handle` for the job. `scratch` takes what is fetched. 0 for success; otherwise `result` says why
 * and nothing was begun. */
int transfer_begin(transfer *t, job *work, const cache_settings *settings, const char *scratch, answer *result);

/* Take the outcome of libcurl, close what was opened, and say what it means. */
void transfer_end(transfer *t, CURLcode code, const cache_settings *settings, answer *result);

/* Break it off: close what was opened and leave no file. */
void transfer_drop(transfer *t);

#endif
