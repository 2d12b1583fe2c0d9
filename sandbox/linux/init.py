"""Pid 1 inside: builds the root, starts the command, reaps, forwards signals, and takes everything along.

When pid 1 ends, the kernel kills every process of its namespace. It ends when the command does and when the
supervisor does, so nothing outlives either.
"""

from __future__ import annotations

import gc
import os

from sandbox import signals
from sandbox.linux import constants as c
from sandbox.linux import namespaces, payload, report, syscalls
from sandbox.linux.context import Context
from sandbox.linux.execute import perform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from sandbox.linux.operations import Plan

_SETUP_FAILED = 125


def main(plan: Plan, context: Context, lifeline: int) -> NoReturn:
    """Be pid 1, from the clone to the end."""
    code = _SETUP_FAILED
    gc.disable()  # A collection would touch, and so copy, every page that is still the supervisor's.
    try:
        _tie_to_supervisor(lifeline)
        os.setsid()
        is_made = _begin(context) and perform(plan["init"], context)
        if is_made and (not plan["terminal"] or _open_pty(context)):
            code = _run_payload(plan, context, lifeline)
    finally:
        os._exit(code)


def _begin(context: Context) -> bool:
    """What some sandboxes need before anything else. Reports and returns False on failure."""
    if not context.given.entrances and not context.given.streams:
        return True
    try:
        namespaces.join_groups(context)
        for number, stream in enumerate(context.given.streams, 1):
            os.dup2(stream, number)
            os.close(stream)
    except Exception as error:
        report.send_failure(context.report, "control group", error)
        return False
    return True


def _tie_to_supervisor(lifeline: int) -> None:
    """Die when the supervisor does.

    The race: it may have died before the kernel was told to watch it. Its end of the lifeline closes with
    it, so a lifeline that would still block proves that it lived after the telling. The keeper holds a copy
    of that end for its first moments, so there is a second look before the command starts.
    """
    syscalls.prctl(c.PR_SET_PDEATHSIG, signals.SIGKILL)
    os.set_blocking(lifeline, False)
    _look_after_supervisor(lifeline)


def _look_after_supervisor(lifeline: int) -> None:
    """End here and now if the supervisor is gone."""
    try:
        if os.read(lifeline, 1) == b"":
            os._exit(_SETUP_FAILED)
    except BlockingIOError:
        return


def _open_pty(context: Context) -> bool:
    """Make the pty inside, lead its session, hand the master out. Reports and returns False on failure."""
    import _socket
    import fcntl

    try:
        master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        # TIOCSPTLCK and TIOCGPTN of asm-generic/ioctls.h: unlock the slave, ask for its number.
        fcntl.ioctl(master, 0x40045431, bytes(4))
        number = int.from_bytes(fcntl.ioctl(master, 0x80045430, bytes(4)), "little")
        context.tty = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_CLOEXEC)
        if os.tcgetpgrp(context.tty) != os.getpgrp():
            fcntl.ioctl(context.tty, c.TIOCSCTTY, 0)
        sock = _socket.socket(fileno=os.dup(context.terminal))
        message = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, master.to_bytes(4, "little"))]
        sock.sendmsg([b"m"], message)
        sock.close()
        os.close(master)
    except OSError as error:
        report.send_failure(context.report, "pty", error)
        return False
    return True


def _run_payload(plan: Plan, context: Context, lifeline: int) -> int:
    """Fork the command; it does nothing foreign before this process is hardened."""
    context.go, go_write = os.pipe()
    started_read, context.started = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_write)
        _become_payload(plan, context)
    os.close(context.go)
    os.close(context.started)
    if not perform(plan["beside"], context):
        return _SETUP_FAILED
    try:
        if plan["namespaces"]:
            _harden(context)
    except Exception as error:
        report.send_failure(context.report, "harden init", error)
        return _SETUP_FAILED
    # The caller's streams belong to the command alone: they must close when the command closes them.
    for descriptor in (0, 1, 2, *context.keep):
        _close(descriptor)
    _look_after_supervisor(lifeline)
    os.close(lifeline)
    os.write(go_write, b"g")
    os.close(go_write)
    if os.read(started_read, 1):
        return _SETUP_FAILED  # The payload has reported why.
    code = _reap(child, context, terminal=plan["terminal"])
    _tell_full(plan["temporary"], context)
    return code


def _tell_full(folders: tuple[str, ...], context: Context) -> None:
    """Report a file system in memory that has no room left: who met that only knows of an `ENOSPC`."""
    for folder in folders:
        try:
            state = os.statvfs(folder)
        except OSError:
            continue
        if state.f_blocks and (state.f_bavail == 0 or (state.f_files and state.f_favail == 0)):
            report.send(context.report, (report.FULL, state.f_blocks * state.f_frsize))
            return


def _close(descriptor: int) -> None:
    """Close what may be closed already."""
    try:
        os.close(descriptor)
    except OSError:
        return


def _harden(context: Context) -> None:
    """Pid 1 keeps running our code: nothing inside may read its memory, and it can do nothing any more."""
    syscalls.prctl(c.PR_SET_DUMPABLE, 0)
    payload.give_up_privileges(context)


def _become_payload(plan: Plan, context: Context) -> NoReturn:
    """The child: restrict, wait for init, execute."""
    try:
        if perform(plan["payload"][:-1], context):
            hardened = os.read(context.go, 1) == b"g"
            if hardened:
                _execute(plan["payload"][-1:], context)
    finally:
        os.write(context.started, b"x")
        os._exit(_SETUP_FAILED)


def _execute(last: tuple[tuple[object, ...], ...], context: Context) -> None:
    """The last restriction and the exec; returns only if it could not be executed."""
    signals.reset(context.ignored_signals)
    if perform(last, context):
        try:
            payload.execute(context)
        except OSError as error:
            report.send(context.report, (report.UNSTARTED, error.errno or 0))


def _reap(child: int, context: Context, *, terminal: bool) -> int:
    """Wait for the command, reaping every orphan and forwarding every signal; report how it ended."""
    flags = os.WNOHANG | (os.WUNTRACED if terminal else 0)
    held = False  # Stopped by the supervisor, which needs not be told.
    while True:
        while True:
            try:
                pid, status = os.waitpid(-1, flags)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid != child:
                continue
            if os.WIFSTOPPED(status):
                if not held:
                    report.send(context.report, (report.STOPPED,))
                continue
            report.send(context.report, (report.ENDED, status, _created() if context.given.account else 0))
            return 0
        number = signals.wait()
        if number == signals.SIGIO and context.on_orphaned is not None:
            context.on_orphaned()
            return 0
        if number in signals.TO_EVERYONE:
            held = number == signals.SIGTSTP
        if number != signals.SIGCHLD:
            _forward(number, child)


def _created() -> int:
    """How many processes and threads there have been inside besides pid 1, by the last number that was given.

    Source: proc_loadavg(5): the last field is that of the process namespace which `/proc` belongs to.
    """
    if os.getpid() != 1:
        return 0
    try:
        with open("/proc/loadavg", "rb") as stream:  # noqa: PTH123 - no pathlib here
            return int(stream.read().split()[-1]) - 1
    except OSError:
        return 0  # There is no `/proc` inside.


def _forward(number: int, child: int) -> None:
    """Pass a signal on; a receiver that has just ended needs none."""
    try:
        if number in signals.TO_GROUP:
            os.killpg(child, number)
        elif number in signals.TO_COMMAND:
            os.kill(child, number)
        elif number in signals.TO_EVERYONE:
            # Without a process namespace "everyone" would be the host.
            everyone = -1 if os.getpid() == 1 else -child
            os.kill(everyone, signals.SIGSTOP if number == signals.SIGTSTP else signals.SIGCONT)
    except ProcessLookupError:
        return
