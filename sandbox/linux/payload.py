"""Operations of the process that becomes the command; each restriction is looked at after it is made."""

from __future__ import annotations

import errno
import os

from sandbox.linux import constants as c
from sandbox.linux import landlock as rules
from sandbox.linux import namespaces, streams, syscalls
from sandbox.linux.context import Context, fail


def session(_: Context) -> None:
    """A session without a controlling terminal: nothing inside can type into the caller's."""
    os.setsid()


def pty(context: Context) -> None:
    """The pty as standard streams; pid 1 leads the session, the command is its foreground group."""
    os.setpgid(0, 0)
    for descriptor in (0, 1, 2):
        os.dup2(context.tty, descriptor)
    os.tcsetpgrp(0, os.getpgrp())


def limits(context: Context, pairs: tuple[tuple[int, int], ...]) -> None:
    """Soft and hard limits, and the processors where no control group counts their time."""
    for resource, value in (*pairs, *context.given.limits):
        syscalls.set_limit(resource, value)
    if context.given.processors:
        os.sched_setaffinity(0, context.given.processors)
        if os.sched_getaffinity(0) != set(context.given.processors):
            raise fail("limits", "the command could not be kept to its processors")


def confine(context: Context, user: int, group: int) -> None:
    """A second user namespace: in it every mount is locked, and a third one is refused."""
    syscalls.prctl(c.PR_SET_DUMPABLE, 1)  # Else the id maps belong to the host's root.
    syscalls.unshare(c.CLONE_NEWUSER | c.CLONE_NEWNS)
    namespaces.map_ids(context, user, group, user, group)
    syscalls.prctl(c.PR_SET_DUMPABLE, 0)
    if not context.has_proc:
        return  # The limit could not be set; the system call filter forbids the namespaces then.
    try:
        syscalls.unshare(c.CLONE_NEWUSER)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EPERM, errno.EUSERS):
            return
        raise
    raise fail("confine", "a nested user namespace could still be made inside")


def drop_privileges(context: Context) -> None:
    """No capability in any set, none to be gained, looked at afterwards."""
    give_up_privileges(context)


def give_up_privileges(context: Context) -> None:
    """Empty all five capability sets of this process; init does so too."""
    syscalls.empty_bounding_set()
    syscalls.clear_ambient_capabilities()
    syscalls.set_no_capabilities()
    syscalls.prctl(c.PR_SET_NO_NEW_PRIVS, 1)
    found = namespaces.own_status(context)
    for name in (b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb"):
        if int(found[name], 16):
            raise fail("drop_privileges", f"a capability is left in `{name.decode()}`")
    if found[b"NoNewPrivs"] != b"1":
        raise fail("drop_privileges", "no_new_privs is not set")
    context.ignored_signals = int(found[b"SigIgn"], 16)


def landlock(context: Context, writable: tuple[str, ...]) -> None:
    """The second wall, where the kernel has it."""
    streams.settle(context, writable)
    rules.restrict(writable, (0, 1, 2, *context.keep))


def enter(context: Context) -> None:
    """Stand in the command's directory and hold only its descriptors."""
    try:
        os.chdir(context.cwd)
    except OSError as error:
        hint = "the policy must mount it"
        message = f"the working directory `{context.cwd}`: {error.strerror}"
        raise fail("cwd", message, errno=error.errno or 0, hint=hint) from None
    for descriptor in context.keep:
        os.set_inheritable(descriptor, True)
    first = 3
    # The pipes to init and supervisor close themselves on exec; until then they are needed.
    for descriptor in sorted({*context.keep, context.report, context.started, context.go}):
        if descriptor > first:
            syscalls.close_range(first, descriptor - 1)
        first = max(first, descriptor + 1)
    syscalls.close_range(first, 0x7FFFFFFF)


def seccomp(_: Context, program: bytes) -> None:
    """Load the filter and check that it is on."""
    syscalls.install_filter(program)
    if syscalls.prctl(c.PR_GET_SECCOMP) != c.SECCOMP_MODE_FILTER:
        raise fail("seccomp", "the system call filter is not on")


def execute(context: Context) -> None:
    """Become the command; returns only by raising the OSError that describes best why not."""
    name = context.argv[0]
    candidates = [name]
    if "/" not in name:
        search = context.environment.get("PATH", "/usr/local/bin:/usr/bin:/bin")
        candidates = [f"{directory or '.'}/{name}" for directory in search.split(":")]
    failure: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for candidate in candidates:
        try:
            os.execve(candidate, context.argv, context.environment)  # noqa: S606 - the point of it all
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                failure = error
    raise failure
