#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include "transfer.h"

#include "verdict.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* S3 takes no larger object in one request. */
static const curl_off_t largest_bytes = (curl_off_t)5 << 30;
enum { LARGEST_RECORD_BYTES = 64 << 10 };
enum { SLOWEST_BYTES_PER_SECOND = 256, RECEIVE_BUFFER_BYTES = 256 << 10, SEND_BUFFER_BYTES = 256 << 10 };
/* Large objects are announced, so that one that is not wanted need not be sent; few servers answer later than this. */
enum { ANNOUNCED_MS = 300 };

const char *job_name(const job *work) {
    return work->is_record ? work->package->build_key : work->package->sha256;
}

/* What the content of a file that is sent must have. */
static const char *content_sha256(const job *work) {
    return work->is_record ? work->record_sha256 : work->package->sha256;
}

void object_key(const cache_settings *settings, const job *work, char key[OBJECT_KEY_BYTES]) {
    const char *name = job_name(work);
    snprintf(key, OBJECT_KEY_BYTES, "%sv1/%s%.2s/%s", settings->prefix, work->is_record ? "builds/" : "", name, name);
}

static long status_of(const transfer *t) {
    long status = 0;
    curl_easy_getinfo(t->handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t stop(transfer *t, stop_reason reason, size_t result) {
    t->stopped = reason;
    return result;
}

/* Called by libcurl with what comes in: an object goes to the file, any other answer to the small buffer. Less than
 * all breaks the transfer off. */
static size_t take_in(char *bytes, size_t unit, size_t count, void *argument) {
    transfer *t = argument;
    size_t left = count *= unit;
    if (t->job->kind != TRANSFER_FETCH || status_of(t) != 200) {
        const size_t room = sizeof t->body - 1 - t->body_used;
        memcpy(t->body + t->body_used, bytes, count < room ? count : room);
        t->body_used += count < room ? count : room;
        return count <= room ? count : stop(t, STOP_BODY, 0);
    }
    t->done_bytes += count;
    if (t->done_bytes > t->limit_bytes) {
        return stop(t, STOP_LARGE, 0);
    }
    sha256_add(&t->hash, bytes, count);
    while (left > 0) {
        const ssize_t written = write(t->file, bytes, left);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            t->system_error = errno;
            return stop(t, STOP_FILE, 0);
        }
        bytes += written;
        left -= (size_t)written;
    }
    return count;
}

/* Called by libcurl for more to send. The last piece is held back unless all of them together have the hash: so a
 * file that was changed or damaged never becomes an object. */
static size_t give_out(char *bytes, size_t unit, size_t count, void *argument) {
    transfer *t = argument;
    ssize_t got;
    do {
        got = read(t->file, bytes, unit * count);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        t->system_error = errno;
        return stop(t, STOP_FILE, CURL_READFUNC_ABORT);
    }
    sha256_add(&t->hash, bytes, (size_t)got);
    t->done_bytes += (pypm_uint64)got;
    if (t->done_bytes > t->limit_bytes || (got == 0 && t->done_bytes < t->limit_bytes)) {
        return stop(t, STOP_HASH, CURL_READFUNC_ABORT);
    }
    if (got > 0 && t->done_bytes == t->limit_bytes) {
        sha256_state whole = t->hash;
        char text[SHA256_TEXT_BYTES];
        sha256_end(&whole, text);
        if (strcmp(text, content_sha256(t->job)) != 0) {
            return stop(t, STOP_HASH, CURL_READFUNC_ABORT);
        }
    }
    return (size_t)got;
}

/* Called by libcurl to send again from the beginning, when a kept connection turned out to be closed. */
static int start_over(void *argument, curl_off_t offset, int origin) {
    transfer *t = argument;
    if (offset != 0 || origin != SEEK_SET || lseek(t->file, 0, SEEK_SET) != 0) {
        return CURL_SEEKFUNC_FAIL;
    }
    sha256_begin(&t->hash);
    t->done_bytes = 0;
    return CURL_SEEKFUNC_OK;
}

/* Called by libcurl with each line of the head. */
static size_t take_head(char *bytes, size_t unit, size_t count, void *argument) {
    static const char name[] = "x-amz-bucket-region:";
    transfer *t = argument;
    const size_t length = unit * count, skipped = sizeof name - 1;
    if (length > skipped && strncasecmp(bytes, name, skipped) == 0) {
        size_t from = skipped, used = 0;
        while (from < length && bytes[from] == ' ') ++from;
        while (from < length && used < sizeof t->bucket_region - 1 &&
               strchr("abcdefghijklmnopqrstuvwxyz0123456789-", bytes[from]) != NULL && bytes[from] != '\0') {
            t->bucket_region[used++] = bytes[from++];
        }
        t->bucket_region[used] = '\0';
    }
    return length;
}

static int add_header(transfer *t, const char *name, const char *value) {
    char line[8192 + 64];
    struct curl_slist *longer;
    snprintf(line, sizeof line, "%s: %s", name, value);
    longer = curl_slist_append(t->headers, line);
    if (longer == NULL) {
        return -1;
    }
    t->headers = longer;
    return 0;
}

static int add_headers(transfer *t, const job *work, const cache_settings *settings) {
    static const char empty_hash[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const int is_store = work->kind == TRANSFER_STORE;
    int failed = 0;
    if (settings->access_key[0] != '\0') {
        /* The server hashes what it takes and refuses it if it is something else. */
        failed |= add_header(t, "x-amz-content-sha256", is_store ? content_sha256(work) : empty_hash);
        if (settings->session_token[0] != '\0') {
            failed |= add_header(t, "x-amz-security-token", settings->session_token);
        }
    }
    if (is_store) {
        failed |= add_header(t, "Content-Type", "application/octet-stream");
        if (work->is_conditional) failed |= add_header(t, "If-None-Match", "*");
    }
    return failed;
}

static void set_authentication(CURL *handle, const cache_settings *settings) {
    char provider[96];
    if (settings->access_key[0] == '\0') {
        return;
    }
    snprintf(provider, sizeof provider, "aws:amz:%s:s3", settings->region);
    curl_easy_setopt(handle, CURLOPT_AWS_SIGV4, provider);
    curl_easy_setopt(handle, CURLOPT_USERNAME, settings->access_key);
    curl_easy_setopt(handle, CURLOPT_PASSWORD, settings->secret_key);
}

static void set_limits(CURL *handle, const cache_settings *settings) {
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, settings->connect_seconds);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, (long)SLOWEST_BYTES_PER_SECOND);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, settings->stall_seconds);
    curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER_BYTES);
    curl_easy_setopt(handle, CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BUFFER_BYTES);
    /* Threads are not told of signals, and there is no program to answer them. */
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    /* What another place says is not what the project named. */
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
#endif
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
    if (settings->certificates != NULL) {
        struct curl_blob blob;
        blob.data = settings->certificates;
        blob.len = strlen(settings->certificates);
        blob.flags = CURL_BLOB_NOCOPY; /* The settings outlive every handle. */
        curl_easy_setopt(handle, CURLOPT_CAINFO_BLOB, &blob);
    }
}

static void set_callbacks(transfer *t) {
    curl_easy_setopt(t->handle, CURLOPT_PRIVATE, t);
    curl_easy_setopt(t->handle, CURLOPT_ERRORBUFFER, t->curl_error);
    curl_easy_setopt(t->handle, CURLOPT_WRITEFUNCTION, take_in);
    curl_easy_setopt(t->handle, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->handle, CURLOPT_HEADERFUNCTION, take_head);
    curl_easy_setopt(t->handle, CURLOPT_HEADERDATA, t);
}

/* Open the file that the job reads or writes; 0 for success, otherwise `errno` says why. */
static int open_file(transfer *t, const char *scratch) {
    const pypm_package *package = t->job->package;
    struct stat status;
    t->limit_bytes = (pypm_uint64)largest_bytes;
    if (t->job->kind == TRANSFER_FETCH) {
        if (snprintf(t->path, sizeof t->path, "%s/%s", scratch, job_name(t->job)) >= (int)sizeof t->path) {
            errno = ENAMETOOLONG;
            return -1;
        }
        if (t->job->is_record) {
            t->limit_bytes = LARGEST_RECORD_BYTES;
        } else if (package->size_bytes != 0 && package->size_bytes < t->limit_bytes) {
            t->limit_bytes = package->size_bytes;
        }
        t->file = open(t->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (t->file < 0) t->path[0] = '\0';
    } else if (t->job->kind == TRANSFER_STORE) {
        t->file = open(t->job->is_record ? package->build_record : package->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (t->file >= 0 && fstat(t->file, &status) != 0) return -1;
        if (t->file >= 0 && (!S_ISREG(status.st_mode) || status.st_size == 0 || status.st_size > largest_bytes)) {
            errno = EFBIG;
            return -1;
        }
        if (t->file >= 0) t->limit_bytes = (pypm_uint64)status.st_size;
    } else {
        return 0;
    }
    return t->file < 0 ? -1 : 0;
}

int transfer_begin(transfer *t, job *work, const cache_settings *settings, const char *scratch, answer *result) {
    char key[OBJECT_KEY_BYTES], url[sizeof settings->base_url + OBJECT_KEY_BYTES + 1];
    CURL *handle = t->handle;
    memset(t, 0, sizeof *t);
    t->handle = handle;
    t->file = -1;
    t->job = work;
    sha256_begin(&t->hash);
    object_key(settings, work, key);
    snprintf(url, sizeof url, "%s/%s", settings->base_url, key);
    if (open_file(t, scratch) != 0) {
        verdict_of_file(errno, work->kind, result);
        transfer_drop(t);
        return -1;
    }
    /* Options are gone, connections and sessions stay. */
    curl_easy_reset(handle);
    if (add_headers(t, work, settings) || curl_easy_setopt(handle, CURLOPT_URL, url) != CURLE_OK) {
        verdict_of_file(ENOMEM, work->kind, result);
        transfer_drop(t);
        return -1;
    }
    set_callbacks(t);
    set_limits(handle, settings);
    set_authentication(handle, settings);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, t->headers);
    if (work->kind == TRANSFER_LOOK_UP) {
        curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    } else if (work->kind == TRANSFER_STORE) {
        curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(handle, CURLOPT_EXPECT_100_TIMEOUT_MS, (long)ANNOUNCED_MS);
        curl_easy_setopt(handle, CURLOPT_READFUNCTION, give_out);
        curl_easy_setopt(handle, CURLOPT_READDATA, t);
        curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, start_over);
        curl_easy_setopt(handle, CURLOPT_SEEKDATA, t);
        curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->limit_bytes);
    }
    return 0;
}

void transfer_end(transfer *t, CURLcode code, const cache_settings *settings, answer *result) {
    char text[SHA256_TEXT_BYTES];
    if (t->file >= 0 && close(t->file) != 0 && t->job->kind == TRANSFER_FETCH && t->stopped == STOP_NONE) {
        t->system_error = errno;
        t->stopped = STOP_FILE;
    }
    t->file = -1;
    verdict_of_transfer(t, code, status_of(t), settings, result);
    if (result->kind == ANSWER_DONE && t->job->kind == TRANSFER_FETCH) {
        sha256_end(&t->hash, text);
        if (!t->job->is_record && strcmp(text, t->job->package->sha256) != 0) {
            verdict_of_wrong_object(result);
        } else {
            t->path[0] = '\0'; /* The file stays: it is what was asked for. */
        }
    }
    transfer_drop(t);
}

void transfer_drop(transfer *t) {
    if (t->file >= 0) {
        close(t->file);
        t->file = -1;
    }
    if (t->job != NULL && t->job->kind == TRANSFER_FETCH && t->path[0] != '\0') {
        unlink(t->path);
    }
    curl_slist_free_all(t->headers);
    t->headers = NULL;
    t->job = NULL;
}
