#define _POSIX_C_SOURCE 200809L
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CONCURRENT = 32, LONGEST_SECONDS = 3600, LONGEST_PREFIX = 255 };

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

enum {
    BUCKET, ENDPOINT, REGION, PREFIX, ADDRESSING, CERTIFICATES, READ_ONLY, REQUIRED, CONCURRENCY, CONNECT, STALL, STAGE,
    OPTION_COUNT
};

static const char *const keys[OPTION_COUNT] = {
    "bucket", "endpoint", "region", "prefix", "addressing", "ca-certificates", "read-only", "required", "concurrency",
    "connect-timeout", "stall-timeout", "stage-timeout",
};

/* The options as they were written, NULL where one is missing; they are the context's. */
typedef struct raw_options {
    const char *values[OPTION_COUNT];
} raw_options;

static int is_made_of(const char *text, const char *more) {
    for (; *text != '\0'; ++text) {
        if (strchr(letters, *text) == NULL && strchr(more, *text) == NULL) return 0;
    }
    return 1;
}

static int sort_options(const pypm_context *context, raw_options *raw, char *problem) {
    size_t index, place;
    memset(raw, 0, sizeof *raw);
    for (index = 0; index < context->option_count; ++index) {
        const pypm_option *option = context->options[index];
        for (place = 0; place < OPTION_COUNT && strcmp(option->key, keys[place]) != 0; ++place) {
        }
        if (place == OPTION_COUNT) {
            snprintf(problem, SETTINGS_PROBLEM_BYTES, "the option `%.64s` is not known", option->key);
            return -1;
        }
        if (raw->values[place] != NULL) {
            snprintf(problem, SETTINGS_PROBLEM_BYTES, "the option `%s` must not be a list", option->key);
            return -1;
        }
        raw->values[place] = option->value;
    }
    return 0;
}

static int read_flag(const raw_options *raw, int option, int *flag, char *problem) {
    const char *text = raw->values[option];
    *flag = text != NULL && strcmp(text, "true") == 0;
    if (text == NULL || *flag || strcmp(text, "false") == 0) {
        return 0;
    }
    snprintf(problem, SETTINGS_PROBLEM_BYTES, "the option `%s` must be true or false", keys[option]);
    return -1;
}

/* Read a whole number from 1 to `most`; `count` holds what to take where there is none. */
static int read_count(const raw_options *raw, int option, long most, long *count, char *problem) {
    const char *text = raw->values[option];
    char *end;
    if (text == NULL) {
        return 0;
    }
    *count = strtol(text, &end, 10);
    if (end == text || *end != '\0' || *count < 1 || *count > most) {
        snprintf(problem, SETTINGS_PROBLEM_BYTES, "the option `%s` must be a whole number from 1 to %ld",
                 keys[option], most);
        return -1;
    }
    return 0;
}

static int read_numbers(const raw_options *raw, cache_settings *settings, char *problem) {
    long concurrency = 8;
    settings->connect_seconds = 5;
    settings->stall_seconds = 15;
    settings->stage_seconds = 300;
    if (read_flag(raw, READ_ONLY, &settings->is_read_only, problem) ||
        read_flag(raw, REQUIRED, &settings->is_required, problem) ||
        read_count(raw, CONCURRENCY, MOST_CONCURRENT, &concurrency, problem) ||
        read_count(raw, CONNECT, LONGEST_SECONDS, &settings->connect_seconds, problem) ||
        read_count(raw, STALL, LONGEST_SECONDS, &settings->stall_seconds, problem) ||
        read_count(raw, STAGE, LONGEST_SECONDS, &settings->stage_seconds, problem)) {
        return -1;
    }
    settings->concurrency = (unsigned)concurrency;
    return 0;
}

/* Copy a variable of the environment if it is a header's worth of printable characters. */
static int copy_variable(const char *name, char *text, size_t size, char *problem) {
    const char *value = getenv(name), *one;
    text[0] = '\0';
    if (value == NULL) {
        return 0;
    }
    for (one = value; *one > ' ' && *one <= '~'; ++one) {
    }
    if (*one != '\0' || (size_t)(one - value) >= size) {
        snprintf(problem, SETTINGS_PROBLEM_BYTES, "the variable `%s` is too long or holds a character that is not "
                 "printable", name);
        return -1;
    }
    memcpy(text, value, (size_t)(one - value) + 1);
    return 0;
}

static int read_environment(const raw_options *raw, cache_settings *settings, char *problem) {
    char region[sizeof settings->region], older[sizeof settings->region];
    const char *chosen;
    if (copy_variable("AWS_ACCESS_KEY_ID", settings->access_key, sizeof settings->access_key, problem) ||
        copy_variable("AWS_SECRET_ACCESS_KEY", settings->secret_key, sizeof settings->secret_key, problem) ||
        copy_variable("AWS_SESSION_TOKEN", settings->session_token, sizeof settings->session_token, problem) ||
        copy_variable("AWS_REGION", region, sizeof region, problem) ||
        copy_variable("AWS_DEFAULT_REGION", older, sizeof older, problem)) {
        return -1;
    }
    if ((settings->access_key[0] == '\0') != (settings->secret_key[0] == '\0')) {
        snprintf(problem, SETTINGS_PROBLEM_BYTES, "only one of `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` is set "
                 "and granted");
        return -1;
    }
    chosen = raw->values[REGION] != NULL ? raw->values[REGION] : region[0] != '\0' ? region : older[0] != '\0' ? older : "us-east-1";
    if (!is_made_of(chosen, "-_") || strlen(chosen) >= sizeof settings->region || *chosen == '\0') {
        snprintf(problem, SETTINGS_PROBLEM_BYTES, "`%.64s` is not the name of a region", chosen);
        return -1;
    }
    strcpy(settings->region, chosen);
    return 0;
}

static int read_prefix(const char *text, cache_settings *settings, char *problem) {
    size_t length;
    if (text == NULL) {
        text = "pypm";
    }
    while (*text == '/') ++text;
    length = strlen(text);
    while (length > 0 && text[length - 1] == '/') --length;
    /* Nothing in it has to be escaped, so that what is signed is what is sent. */
    if (length > LONGEST_PREFIX || !is_made_of(text, "._-/") || *text == '.' || strstr(text, "/.") != NULL ||
        strstr(text, "//") != NULL) {
        snprintf(problem, SETTINGS_PROBLEM_BYTES, "the option `prefix` may hold letters, digits, `_`, `-`, single `/` "
                 "and, but for the beginning of a part, `.`");
        return -1;
    }
    sprintf(settings->prefix, "%.*s%s", (int)length, text, length > 0 ? "/" : "");
    return 0;
}

/* Split `https://host:port/` into scheme and authority; 0 for success. */
static int split_endpoint(const char *text, const char **scheme, char *authority, size_t size) {
    size_t length;
    if (strncmp(text, "https://", 8) == 0) {
        *scheme = "https";
    } else if (strncmp(text, "http://", 7) == 0) {
        *scheme = "http";
    } else {
        return -1;
    }
    text += strlen(*scheme) + 3;
    length = strcspn(text, "/");
    if (length == 0 || length >= size || (text[length] == '/' && text[length + 1] != '\0')) {
        return -1;
    }
    memcpy(authority, text, length);
    authority[length] = '\0';
    /* Brackets and colons of IPv6 addresses; no user, no query. */
    return is_made_of(authority, ".-:[]_") ? 0 : -1;
}

static void set_place(cache_settings *settings, const char *scheme, const char *host) {
    const char *bracket = strchr(host, ']'), *port = strchr(bracket != NULL ? bracket : host, ':');
    snprintf(settings->place, sizeof settings->place, "%s%s", host,
             port != NULL ? "" : strcmp(scheme, "https") == 0 ? ":443" : ":80");
}

static int read_place(const raw_options *raw, cache_settings *settings, char *problem) {
    char authority[192], host[sizeof authority + sizeof settings->bucket + 1];
    const char *scheme = "https", *addressing = raw->values[ADDRESSING] != NULL ? raw->values[ADDRESSING] : "auto";
    int is_path_style;
    if (strlen(raw->values[BUCKET]) >= sizeof settings->bucket || strlen(raw->values[BUCKET]) < 3 || !is_made_of(raw->values[BUCKET], ".-_") ||
        strstr(raw->values[BUCKET], "..") != NULL) {
        snprintf(problem, SETTINGS_PROBLEM_BYTES, "`%.64s` is not the name of a bucket", raw->values[BUCKET]);
        return -1;
    }
    strcpy(settings->bucket, raw->values[BUCKET]);
    if (raw->values[ENDPOINT] == NULL) {
        snprintf(authority, sizeof authority, "s3.%s.amazonaws.com", settings->region);
    } else if (split_endpoint(raw->values[ENDPOINT], &scheme, authority, sizeof authority)) {
        snprintf(problem, SETTINGS_PROBLEM_BYTES,
                 "the option `endpoint` must be `https://HOST`, with `:PORT` if it needs one, and nothing else");
        return -1;
    }
    if (strcmp(addressing, "auto") == 0) {
        /* A certificate for `*.host` does not cover a bucket with dots. */
        is_path_style = raw->values[ENDPOINT] != NULL || strchr(settings->bucket, '.') != NULL;
    } else if (strcmp(addressing, "path") == 0 || strcmp(addressing, "virtual") == 0) {
        is_path_style = strcmp(addressing, "path") == 0;
    } else {
        snprintf(problem, SETTINGS_PROBLEM_BYTES, "the option `addressing` must be `auto`, `path` or `virtual`");
        return -1;
    }
    snprintf(host, sizeof host, "%s%s%s", is_path_style ? "" : settings->bucket, is_path_style ? "" : ".", authority);
    snprintf(settings->base_url, sizeof settings->base_url, "%s://%s%s%s", scheme, host, is_path_style ? "/" : "",
             is_path_style ? settings->bucket : "");
    set_place(settings, scheme, host);
    return 0;
}

settings_outcome settings_read(const pypm_context *context, cache_settings *settings,
                               char problem[SETTINGS_PROBLEM_BYTES]) {
    raw_options raw;
    memset(settings, 0, sizeof *settings);
    if (sort_options(context, &raw, problem) || read_numbers(&raw, settings, problem)) {
        return SETTINGS_WRONG;
    }
    if (raw.values[BUCKET] == NULL || *raw.values[BUCKET] == '\0') {
        return SETTINGS_NONE;
    }
    if (read_environment(&raw, settings, problem) || read_prefix(raw.values[PREFIX], settings, problem) ||
        read_place(&raw, settings, problem)) {
        return SETTINGS_WRONG;
    }
    if (raw.values[CERTIFICATES] != NULL) {
        settings->certificates = strdup(raw.values[CERTIFICATES]);
        if (settings->certificates == NULL) {
            snprintf(problem, SETTINGS_PROBLEM_BYTES, "there is no memory for the option `ca-certificates`");
            return SETTINGS_WRONG;
        }
    }
    return SETTINGS_READ;
}
