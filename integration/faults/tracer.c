/* Runs a program and all that it starts, and does harm at one system call of it, chosen by number.
 *
 *   tracer REPORT ROOTS CLASS ACTION AT ERRNO STICKY -- PROGRAM ARGUMENT...
 *
 *   REPORT   file that gets one line for each counted call (`NUMBER NAME PATH`) and one for the end
 *   ROOTS    folders, separated by colons: calls count when they concern something below one of them
 *   CLASS    kill: whatever changes a file or a folder; mount: whatever changes mounts or namespaces
 *            space: what needs room on the disk; disk: what touches the disk; files: what opens a file
 *   ACTION   count | group (kill everything) | leader (kill the first process alone) | error
 *   AT       the call that it happens at, from 1; that call is not executed
 *   ERRNO    what the call answers instead, with ACTION error
 *   STICKY   1: all later calls of the class answer so, too
 *
 * A seccomp filter stops the calls of interest alone, so that the rest runs at full speed; calls are counted over
 * all threads and processes in the order in which they come. Nothing of it outlives the tracer.
 *
 * Source: ptrace(2), seccomp(2), linux/ptrace.h (PTRACE_GET_SYSCALL_INFO).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#include <elf.h>
#else
#error "this architecture is not known here: add how a call is skipped and answered"
#endif

enum { KILL = 1, SPACE = 2, DISK = 4, FILES = 8, MOUNT = 16 };
enum { PROCESS = -1 }; /* Counts wherever it happens. */

struct call {
    int number;
    const char *name;
    int classes;
    int descriptor; /* argument that is a descriptor, or -1; a folder when `path` is an argument, too */
    int path;       /* argument that is a path, or PROCESS, or -2 */
    int second_descriptor, second_path;
    int flags; /* argument whose bits say whether an open writes, or -1 */
};

#define ON_FILE(NAME, CLASSES) {SYS_##NAME, #NAME, CLASSES, 0, -2, -1, -2, -1}
#define AT(NAME, CLASSES) {SYS_##NAME, #NAME, CLASSES, 0, 1, -1, -2, -1}
#define TWO(NAME, CLASSES) {SYS_##NAME, #NAME, CLASSES, 0, 1, 2, 3, -1}
#define OF_PROCESS(NAME) {SYS_##NAME, #NAME, MOUNT, -1, PROCESS, -1, -2, -1}
#define PLAIN(NAME, CLASSES) {SYS_##NAME, #NAME, CLASSES, -1, 0, -1, -2, -1}
#define PLAIN_TWO(NAME, CLASSES) {SYS_##NAME, #NAME, CLASSES, -1, 0, -1, 1, -1}

static const struct call calls[] = {
    {SYS_openat, "openat", KILL | SPACE | DISK | FILES, 0, 1, -1, -2, 2},
    ON_FILE(write, KILL | SPACE | DISK),
    ON_FILE(pwrite64, KILL | SPACE | DISK),
    ON_FILE(writev, KILL | SPACE | DISK),
    ON_FILE(ftruncate, KILL | DISK),
    ON_FILE(fallocate, KILL | SPACE | DISK),
    ON_FILE(fsync, KILL | SPACE | DISK),
    ON_FILE(fdatasync, KILL | SPACE | DISK),
    ON_FILE(fchmod, KILL | DISK),
    ON_FILE(flock, KILL),
    ON_FILE(copy_file_range, KILL | SPACE | DISK),
    ON_FILE(sendfile, KILL | SPACE | DISK),
    AT(mkdirat, KILL | SPACE | DISK),
    AT(unlinkat, KILL | DISK),
    AT(fchmodat, KILL | DISK),
    AT(utimensat, KILL | DISK),
    {SYS_symlinkat, "symlinkat", KILL | SPACE | DISK, 1, 2, -1, -2, -1},
    TWO(renameat, KILL | SPACE | DISK),
    TWO(renameat2, KILL | SPACE | DISK),
    TWO(linkat, KILL | SPACE | DISK),
#if defined(__x86_64__)
    {SYS_open, "open", KILL | SPACE | DISK | FILES, -1, 0, -1, -2, 1},
    PLAIN(mkdir, KILL | SPACE | DISK),
    PLAIN(rmdir, KILL | DISK),
    PLAIN(unlink, KILL | DISK),
    PLAIN(chmod, KILL | DISK),
    {SYS_symlink, "symlink", KILL | SPACE | DISK, -1, 1, -1, -2, -1},
    PLAIN_TWO(rename, KILL | SPACE | DISK),
    PLAIN_TWO(link, KILL | SPACE | DISK),
#endif
    OF_PROCESS(mount),
    OF_PROCESS(umount2),
    OF_PROCESS(pivot_root),
    OF_PROCESS(unshare),
    OF_PROCESS(setns),
    OF_PROCESS(move_mount),
    OF_PROCESS(open_tree),
    OF_PROCESS(fsmount),
    OF_PROCESS(mount_setattr),
};
enum { CALLS = sizeof calls / sizeof *calls };

struct options {
    FILE *report;
    char *roots;
    int wanted, is_error, kills_leader, number, sticky;
    long at;
};

static pid_t tasks[65536];
static int task_count;
static long counted;

static void fail(const char *what)
{
    fprintf(stderr, "tracer: %s: %s\n", what, strerror(errno));
    exit(99);
}

/* The filter: calls of interest stop, everything else passes. An open that neither writes nor creates passes. */
static void install_filter(int wanted)
{
    static struct sock_filter program[8 * CALLS + 8];
    unsigned short length = 0;
#define EMIT(...) program[length++] = (struct sock_filter)__VA_ARGS__
    EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
    EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0));
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    for (int index = 0; index < CALLS; index++) {
        const struct call *call = &calls[index];
        if (!(call->classes & wanted))
            continue;
        if (call->flags < 0) {
            EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call->number, 0, 1));
            EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | index));
            continue;
        }
        EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call->number, 0, 4));
        EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * call->flags));
        EMIT(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, wanted == FILES ? 0xffffffff : O_ACCMODE | O_CREAT | O_TRUNC, 0, 1));
        EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | index));
        EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    }
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    struct sock_fprog filter = {length, program};
    if (geteuid() != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        fail("no_new_privs");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        fail("seccomp");
}

static void read_link(pid_t task, long descriptor, char *buffer)
{
    char name[64];
    if (descriptor == AT_FDCWD)
        snprintf(name, sizeof name, "/proc/%d/cwd", task);
    else
        snprintf(name, sizeof name, "/proc/%d/fd/%ld", task, descriptor);
    ssize_t length = readlink(name, buffer, PATH_MAX - 1);
    buffer[length < 0 ? 0 : length] = 0;
}

static void read_text(pid_t task, unsigned long long address, char *buffer)
{
    size_t length = 0;
    buffer[0] = 0;
    /* Page by page: the text may end just before memory that is not there. */
    while (address && length < PATH_MAX - 1) {
        size_t piece = 4096 - (address + length) % 4096;
        if (piece > PATH_MAX - 1 - length)
            piece = PATH_MAX - 1 - length;
        struct iovec to = {buffer + length, piece}, from = {(void *)(address + length), piece};
        ssize_t got = process_vm_readv(task, &to, 1, &from, 1, 0);
        if (got <= 0)
            break;
        if (memchr(buffer + length, 0, got))
            return;
        length += got;
    }
    buffer[length] = 0;
}

static void read_place(pid_t task, const struct __ptrace_syscall_info *info, int descriptor, int path, char *place)
{
    static char text[PATH_MAX];
    place[0] = 0;
    text[0] = 0;
    if (path >= 0)
        read_text(task, info->seccomp.args[path], text);
    if (text[0] == '/') {
        strcpy(place, text);
        return;
    }
    read_link(task, descriptor < 0 ? AT_FDCWD : (int)info->seccomp.args[descriptor], place);
    if (text[0] && strlen(place) + strlen(text) + 2 < PATH_MAX) {
        strcat(place, "/");
        strcat(place, text);
    }
}

static int is_below_roots(const char *place, char *roots)
{
    for (const char *root = roots; *root;) {
        size_t length = strcspn(root, ":");
        if (!strncmp(place, root, length) && (place[length] == '/' || !place[length] || place[length] == ' '))
            return 1;
        root += length + (root[length] == ':');
    }
    return 0;
}

/* Name what the call concerns in `place`; tell whether it counts. */
static int counts(pid_t task, const struct __ptrace_syscall_info *info, const struct call *call, char *roots, char *place)
{
    if (call->path == PROCESS) {
        strcpy(place, "-");
        return 1;
    }
    read_place(task, info, call->descriptor, call->path, place);
    if (is_below_roots(place, roots))
        return 1;
    if (call->second_path < 0)
        return 0;
    read_place(task, info, call->second_descriptor, call->second_path, place);
    return is_below_roots(place, roots);
}

static void answer(pid_t task, int number)
{
#if defined(__x86_64__)
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, task, 0, &registers))
        return;
    registers.orig_rax = -1;
    registers.rax = -number;
    ptrace(PTRACE_SETREGS, task, 0, &registers);
#else
    struct user_regs_struct registers;
    int none = -1;
    struct iovec all = {&registers, sizeof registers}, one = {&none, sizeof none};
    if (ptrace(PTRACE_GETREGSET, task, NT_PRSTATUS, &all))
        return;
    registers.regs[0] = -number;
    ptrace(PTRACE_SETREGSET, task, NT_PRSTATUS, &all);
    ptrace(PTRACE_SETREGSET, task, NT_ARM_SYSTEM_CALL, &one);
#endif
}

static void at_call(pid_t task, pid_t leader, const struct options *options)
{
    static char place[PATH_MAX];
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, task, sizeof info, &info) <= 0 || info.op != PTRACE_SYSCALL_INFO_SECCOMP)
        return;
    const struct call *call = &calls[info.seccomp.ret_data];
    if (!counts(task, &info, call, options->roots, place))
        return;
    counted++;
    if (!options->at || counted == options->at)
        fprintf(options->report, "%ld %s %s\n", counted, call->name, place);
    if (!options->at || counted < options->at || (counted > options->at && !options->sticky))
        return;
    if (options->is_error)
        answer(task, options->number);
    else if (options->kills_leader)
        kill(leader, SIGKILL);
    else
        for (int index = 0; index < task_count; index++)
            kill(tasks[index], SIGKILL);
}

static void know(pid_t task)
{
    for (int index = 0; index < task_count; index++)
        if (tasks[index] == task)
            return;
    if (task_count < (int)(sizeof tasks / sizeof *tasks))
        tasks[task_count++] = task;
}

static void forget(pid_t task)
{
    for (int index = 0; index < task_count; index++)
        if (tasks[index] == task) {
            tasks[index] = tasks[--task_count];
            return;
        }
}

static int follow(pid_t leader, const struct options *options)
{
    int result = 0, status;
    pid_t task;
    while ((task = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
        if (task < 0)
            continue;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            forget(task);
            if (task == leader)
                result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        know(task);
        int event = status >> 16, number = WSTOPSIG(status);
        if (event == PTRACE_EVENT_SECCOMP)
            at_call(task, leader, options);
        if (event == PTRACE_EVENT_STOP && number != SIGTRAP) {
            ptrace(PTRACE_LISTEN, task, 0, 0); /* Stopped by job control, and stays so. */
            continue;
        }
        ptrace(PTRACE_CONT, task, 0, event ? 0 : number);
    }
    return result;
}

static int class_of(const char *word)
{
    static const struct {
        const char *word;
        int class;
    } known[] = {{"kill", KILL}, {"space", SPACE}, {"disk", DISK}, {"files", FILES}, {"mount", MOUNT}};
    for (size_t index = 0; index < sizeof known / sizeof *known; index++)
        if (!strcmp(word, known[index].word))
            return known[index].class;
    fprintf(stderr, "tracer: no class is named %s\n", word);
    exit(99);
}

int main(int count, char **words)
{
    if (count < 10 || strcmp(words[8], "--")) {
        fprintf(stderr, "tracer: see the head of tracer.c\n");
        return 99;
    }
    struct options options = {
        .report = fopen(words[1], "we"),
        .roots = words[2],
        .wanted = class_of(words[3]),
        .is_error = !strcmp(words[4], "error"),
        .kills_leader = !strcmp(words[4], "leader"),
        .at = strcmp(words[4], "count") ? atol(words[5]) : 0,
        .number = atoi(words[6]),
        .sticky = atoi(words[7]),
    };
    if (!options.report)
        fail(words[1]);
    int gate[2];
    if (pipe2(gate, O_CLOEXEC))
        fail("pipe");
    pid_t leader = fork();
    if (leader < 0)
        fail("fork");
    if (!leader) {
        char byte;
        close(gate[1]);
        if (read(gate[0], &byte, 1) != 1)
            _exit(99);
        install_filter(options.wanted);
        execvp(words[9], words + 9);
        fail(words[9]);
    }
    long wanted = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                  PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SEIZE, leader, 0, wanted))
        fail("ptrace");
    know(leader);
    if (write(gate[1], "g", 1) != 1)
        fail("pipe");
    close(gate[0]);
    close(gate[1]);
    int result = follow(leader, &options);
    fprintf(options.report, "end %ld\n", counted);
    fclose(options.report);
    return result;
}
