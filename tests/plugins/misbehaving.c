/* Every way to misbehave in a hook, chosen by the option `how`; the descriptor's by macros. */
#define _GNU_SOURCE
#include "pypm_plugin.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

const pypm_descriptor pypm_plugin = {
    PYPM_DESCRIPTOR_HEAD, "misbehaving", "0", NULL, NULL, PYPM_PRE_FETCH | PYPM_POST_FETCH | PYPM_PRE_RUN, 0};

static const pypm_context *the_context;
static const pypm_host *the_host;
static void *the_user;
static int result_of_thread;

static const char *option(const char *key) {
    size_t index;
    for (index = 0; index < the_context->option_count; ++index)
        if (strcmp(the_context->options[index]->key, key) == 0) return the_context->options[index]->value;
    return "";
}

static int is(const char *how) { return strcmp(option("how"), how) == 0; }

static int smash(const char *text) {
    char small[8] = {0};
    /* Through a volatile pointer, so that no compiler sees that it is too much. */
    char *volatile target = small;
    memset(target, text[0], 4096);
    return small[3];
}

static int recurse(int depth) {
    volatile char frame[4096];
    frame[0] = (char)depth;
    return depth < 0 ? 0 : recurse(depth + 1) + frame[0];
}

static void *log_from_thread(void *unused) {
    (void)unused;
    result_of_thread = the_host->log(the_user, PYPM_NOTE, "from a thread");
    return NULL;
}

static void write_everywhere(const char *text) {
    int descriptor;
    for (descriptor = 0; descriptor < 512; ++descriptor)
        if (write(descriptor, text, strlen(text)) < 0) continue;
}

static int offer_text(const char *path) {
    return the_host->offer(the_user, the_context->packages[0], path);
}

static int crash(void) {
    if (is("segv")) *(volatile int *)1 = 1;
    if (is("abort")) abort();
    if (is("trap")) raise(SIGILL);
    if (is("divide")) raise(SIGFPE);
    if (is("kill")) kill(getpid(), SIGKILL);
    if (is("smash")) return smash("x");
    if (is("recurse")) return recurse(0);
    if (is("exit")) exit(0);
    if (is("_exit")) _exit(3);
    if (is("exec")) execl("/bin/true", "true", (char *)NULL);
    if (is("memory")) {
        for (;;) {
            char *block = malloc(1 << 24);
            memset(block, 1, 1 << 24);
        }
    }
    return 0;
}

static int loop(void) {
    if (is("hang")) for (;;) pause();
    if (is("spin")) for (;;) continue;
    if (is("deaf")) {
        signal(SIGTERM, SIG_IGN);
        for (;;) pause();
    }
    if (is("log")) for (;;) the_host->log(the_user, PYPM_NOTE, "again");
    if (is("print")) for (;;) write(1, "again again again again again again again again\n", 48);
    if (is("progress")) for (;;) the_host->progress(the_user, 1, 0, "again");
    if (is("obedient")) {
        the_host->log(the_user, PYPM_NOTE, "waiting");
        while (!the_host->cancelled(the_user)) usleep(1000);
        return 0;
    }
    return 0;
}

static int talk(void) {
    static char huge[1 << 22];
    char path[600];
    if (is("garbage")) {
        write_everywhere("\x1b[2J not JSON\n");
        return 0;
    }
    if (is("forged")) {
        write_everywhere("{\"result\":0,\"children\":false,\"offer\":[7,\"/etc/passwd\"]}\n{\"offer\":[0,\"/etc\"]}\n");
        for (;;) pause();
    }
    if (is("nested")) {
        memset(huge, '[', sizeof huge / 8);
        huge[sizeof huge / 8] = '\n';
        write_everywhere(huge);
        for (;;) pause();
    }
    if (is("disguised")) {
        for (;;) write_everywhere("{\"progress\":0,\"log\":[0,\"again\"]}\n");
    }
    if (is("surrogate")) {
        write_everywhere("{\"offer\":[0,\"\\ud800\"]}\n");
        for (;;) pause();
    }
    if (is("unicode")) {
        write_everywhere("{\"diagnostic\":[3,0,\"\\ud800\\u202e\\u0000\",\"\\udfff\"]}\n{\"result\":1,\"children\":false}\n");
        for (;;) pause();
    }
    if (is("numbers")) {
        memset(huge, '9', 1 << 19);
        memcpy(huge, "{\"log\":[", 8);
        huge[1 << 19] = '\n';
        write_everywhere(huge);
        for (;;) pause();
    }
    if (is("line")) {
        memset(huge, 'x', sizeof huge - 1);
        write_everywhere(huge);
        for (;;) pause();
    }
    if (is("printing")) {
        printf("\x1b]0;title\x07plain\n");
        fflush(stdout);
        fprintf(stderr, "more\n");
        abort();
    }
    if (is("huge")) {
        memset(huge, 'x', sizeof huge - 1);
        the_host->log(the_user, PYPM_NOTE, huge);
        return 0;
    }
    if (is("latin")) {
        the_host->diagnostic(the_user, PYPM_ERROR, NULL, "caf\xe9 \x1b[31m\xe2\x80\xae!", "\xff");
        return 4;
    }
    if (is("silent")) return -7;
    if (is("late")) return 0;
    if (is("offer-outside")) return offer_text("/etc/passwd");
    if (is("offer-dots")) return offer_text("../../etc/passwd");
    if (is("offer-missing")) return offer_text("nothing");
    sprintf(path, "%.500s/x", the_context->scratch);
    if (is("offer-link")) {
        if (symlink("/etc/passwd", path) != 0) return 1;
        return offer_text("x");
    }
    if (is("offer-linked-folder")) {
        if (symlink("/etc", path) != 0) return 1;
        return offer_text("x/passwd");
    }
    if (is("offer-fifo")) {
        if (mkfifo(path, 0600) != 0) return 1;
        return offer_text("x");
    }
    return 0;
}

static int multiply(void) {
    pid_t child;
    if (is("fork")) {
        if (fork() < 0) return 1;
        return 0;
    }
    if (is("fork-and-wait")) {
        child = fork();
        if (child == 0) _exit(0);
        return waitpid(child, NULL, 0) == child ? 0 : 1;
    }
    if (is("daemon")) {
        child = fork();
        if (child == 0) for (;;) pause();
        return 0;
    }
    if (is("thread")) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, log_from_thread, NULL) != 0) return 1;
        pthread_join(thread, NULL);
        return result_of_thread == PYPM_REFUSED ? 0 : 5;
    }
    return 0;
}

static int reach(void) {
    if (is("read")) return open(option("path"), O_RDONLY) < 0 ? 0 : 5;
    if (is("write")) return open(option("path"), O_WRONLY | O_CREAT, 0600) < 0 ? 0 : 5;
    if (is("environment")) return getenv("SECRET_TOKEN") == NULL ? 0 : 5;
    if (is("close")) {
        int descriptor;
        for (descriptor = 0; descriptor < 512; ++descriptor) close(descriptor);
    }
    return 0;
}

int pypm_hook(const pypm_context *context) {
    int result;
    the_context = context;
    the_host = context->host;
    the_user = the_host->user;
    result = crash();
    if (result == 0) result = loop();
    if (result == 0) result = talk();
    if (result == 0) result = multiply();
    return result != 0 ? result : reach();
}
