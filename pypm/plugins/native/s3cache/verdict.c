#define _POSIX_C_SOURCE 200809L
#include "verdict.h"

#include <stdio.h>
#include <string.h>

enum { CODE_BYTES = 64 };

static void say(answer *result, answer_kind kind, const char *cause, const char *hint) {
    result->kind = kind;
    snprintf(result->cause, sizeof result->cause, "%s", cause);
    snprintf(result->hint, sizeof result->hint, "%s", hint);
}

void verdict_of_file(int error, transfer_kind kind, answer *result) {
    say(result, ANSWER_LOCAL, "", "");
    snprintf(result->cause, sizeof result->cause, "cannot %s a file: %s", kind == TRANSFER_FETCH ? "write" : "read",
             strerror(error));
}

void verdict_of_wrong_object(answer *result) {
    say(result, ANSWER_WRONG, "holds something else than its name says", "somebody wrote it who should not, or it was "
        "damaged; it is not used");
}

void verdict_of_denied(const cache_settings *settings, answer *result) {
    say(result, ANSWER_DENIED, "refused every request so far (403)", "");
    snprintf(result->hint, sizeof result->hint, "grant `s3:GetObject` on `%s/%s*`, and `s3:ListBucket`, without which "
             "missing objects look like this too", settings->bucket, settings->prefix);
}

/* Copy the error code of an XML answer; empty where there is none. */
static void find_code(const transfer *t, char code[CODE_BYTES]) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const char *found = strstr(t->body, "<Code>");
    size_t length = 0;
    if (found != NULL) {
        found += strlen("<Code>");
        length = strspn(found, letters);
    }
    if (length >= CODE_BYTES) {
        length = CODE_BYTES - 1;
    }
    memcpy(code, found != NULL ? found : "", length);
    code[length] = '\0';
}

static void of_forbidden(const transfer *t, const char *code, const cache_settings *settings, answer *result) {
    static const struct {
        const char *code, *hint;
    } known[] = {
        {"RequestTimeTooSkewed", "set the clock of this machine"},
        {"ExpiredToken", "the credentials have expired: get new ones"},
        {"InvalidAccessKeyId", "the server does not know this `AWS_ACCESS_KEY_ID`"},
        {"SignatureDoesNotMatch", "compare `AWS_SECRET_ACCESS_KEY`, and `region` with the server's"},
        {"InvalidToken", "`AWS_SESSION_TOKEN` does not belong to these credentials"},
    };
    size_t index;
    for (index = 0; index < sizeof known / sizeof *known; ++index) {
        if (strcmp(code, known[index].code) == 0) {
            say(result, ANSWER_FAILED, "", known[index].hint);
            snprintf(result->cause, sizeof result->cause, "refused the request (%s)", code);
            return;
        }
    }
    verdict_of_denied(settings, result);
    if (t->job->kind == TRANSFER_STORE) {
        result->kind = ANSWER_FAILED;
        snprintf(result->cause, sizeof result->cause, "lets nobody with these credentials write (403)");
        snprintf(result->hint, sizeof result->hint, "grant `s3:PutObject` on `%s/%s*`, or set `read-only = true`",
                 settings->bucket, settings->prefix);
    }
}

static void of_redirect(const transfer *t, answer *result) {
    say(result, ANSWER_FAILED, "sends requests elsewhere, and they are not followed", "compare `endpoint` and `region`");
    if (t->bucket_region[0] != '\0') {
        snprintf(result->hint, sizeof result->hint, "the bucket lies in another region: set `region = \"%s\"`",
                 t->bucket_region);
    }
}

static void of_status(const transfer *t, long status, const cache_settings *settings, answer *result) {
    char code[CODE_BYTES];
    find_code(t, code);
    if (status == 200 || (status == 204 && t->job->kind == TRANSFER_STORE)) {
        say(result, ANSWER_DONE, "", "");
    } else if (t->job->kind == TRANSFER_STORE && (status == 412 || status == 409)) {
        say(result, ANSWER_DONE, "", ""); /* Another machine has stored it, or does so at this moment. */
    } else if (t->job->kind == TRANSFER_STORE && t->job->is_conditional &&
               (status == 501 || strcmp(code, "NotImplemented") == 0)) {
        say(result, ANSWER_UNCONDITIONAL, "does not know conditional requests", "");
    } else if (strcmp(code, "NoSuchBucket") == 0 || (status == 404 && t->job->kind == TRANSFER_STORE)) {
        say(result, ANSWER_FAILED, "has no bucket of this name", "compare `bucket`, `endpoint` and `region`");
    } else if (status == 404) {
        say(result, ANSWER_MISSING, "", "");
    } else if (status == 403 || status == 401) {
        of_forbidden(t, code, settings, result);
    } else if (status >= 300 && status < 400) {
        of_redirect(t, result);
    } else {
        const int may_pass = status == 429 || status >= 500;
        say(result, may_pass ? ANSWER_AGAIN : ANSWER_FAILED, "", "");
        snprintf(result->cause, sizeof result->cause, "answered %ld%s%s", status, code[0] != '\0' ? " " : "", code);
        if (strcmp(code, "AuthorizationHeaderMalformed") == 0) {
            snprintf(result->hint, sizeof result->hint, "compare `region` with the bucket's");
        }
        if (t->bucket_region[0] != '\0' && strcmp(t->bucket_region, settings->region) != 0) {
            of_redirect(t, result);
        }
    }
}

static void of_connection(const transfer *t, CURLcode code, const cache_settings *settings, answer *result) {
    const int may_pass = code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
                         code == CURLE_GOT_NOTHING || code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM;
    say(result, may_pass ? ANSWER_AGAIN : ANSWER_FAILED, "", "");
    snprintf(result->cause, sizeof result->cause, "cannot be used: %s",
             t->curl_error[0] != '\0' ? t->curl_error : curl_easy_strerror(code));
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST) {
        snprintf(result->hint, sizeof result->hint, "it may use the network only where it is granted: "
                 "`allow-net = [\"%s\"]`", settings->place);
    } else if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
        snprintf(result->hint, sizeof result->hint, "for a certificate authority of your own write its certificate to "
                 "`ca-certificates`");
    }
}

void verdict_of_transfer(const transfer *t, CURLcode code, long status, const cache_settings *settings,
                         answer *result) {
    if (t->stopped == STOP_FILE) {
        verdict_of_file(t->system_error, t->job->kind, result);
    } else if (t->stopped == STOP_HASH) {
        say(result, ANSWER_LOCAL, "is not given a file that has not the hash it should have", "");
    } else if (t->stopped == STOP_LARGE) {
        verdict_of_wrong_object(result);
    } else if (t->stopped == STOP_BODY || code == CURLE_OK || (status >= 300 && code == CURLE_SEND_ERROR)) {
        of_status(t, status, settings, result);
    } else {
        of_connection(t, code, settings, result);
    }
}
