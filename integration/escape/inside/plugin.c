/* A plugin of pypm that attacks at `pre-run`, and logs what came of it. */
#include "pypm_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const permissions[] = {"read:project", NULL};

const pypm_descriptor pypm_plugin = {
    PYPM_DESCRIPTOR_HEAD, "escape", "1", "Tries to get out.", permissions, PYPM_PRE_RUN, 0
};

int pypm_hook(const pypm_context *context) {
    const pypm_host *host = context->host;
    char line[8192];
    int ends[2], status = 0;
    FILE *told;
    pid_t child;

    if (pipe(ends) != 0 || (child = fork()) < 0) {
        return 1;
    }
    if (child == 0) {
        if (dup2(ends[1], 1) < 0 || chdir(context->project_root) != 0) {
            _exit(126);
        }
        close(ends[0]);
        close(ends[1]);
        setenv("ESCAPE_PLACE", context->scratch, 1);
        execl("/bin/sh", "sh", "-c", "exec \"$0\" attack/attempt.py $(cat attack/names)",
              context->interpreter, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    told = fdopen(ends[0], "r");
    /* What an attack leaves running may hold the pipe open, so its last line ends the reading, too. */
    while (told != NULL && fgets(line, sizeof line, told) != NULL && strncmp(line, "@end|", 5) != 0) {
        line[strcspn(line, "\r\n")] = '\0';
        host->log(host->user, PYPM_NOTE, line);
    }
    waitpid(child, &status, 0);
    fclose(told);
    return 0;
}
