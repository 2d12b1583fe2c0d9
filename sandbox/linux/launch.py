"""The supervisor's side: clones pid 1, forwards signals, keeps the time, and says how the command ended.

It runs in a process with a single thread: the command line's own (`replay`) or a small helper interpreter
that `spawn` starts, so that any process may have a sandbox whatever its threads do.
"""

from __future__ import annotations

import os
import time

from sandbox import codes, signals
from sandbox.errors import SetupError
from sandbox.linux import guard, init, keeper, report, streams, syscalls
from sandbox.linux.context import PLAN_VERSION, Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandbox.linux.operations import Plan
    from sandbox.linux.outside import Outside
    from sandbox.terminal import Relay
    from sandbox.traffic import NetworkReport


class Outcome:
    """How a sandbox ended, before anybody has made a nice type of it."""

    __slots__ = (
        "code",
        "lost",
        "memory_of",
        "network",
        "peak_memory_bytes",
        "processes",
        "processes_at_once",
        "reached",
        "signal",
        "system_seconds",
        "timed_out",
        "unstarted",
        "user_seconds",
        "wall_seconds",
    )

    def __init__(
        self, status: int | None, unstarted: int | None, timed_out: bool, usage: tuple[float, float, int]
    ) -> None:
        self.code: int | None = None
        self.network: NetworkReport | None = None
        """What was counted, for a plan that lists hosts."""
        self.reached: tuple[tuple[str, float, int], ...] = ()
        """Limits that were met: the field of `Limits`, its value, and how often."""
        self.wall_seconds = 0.0
        self.memory_of = "process"
        """What the peak is of: the largest `process`, the whole `group` of them, or a sum of `samples`."""
        self.processes = 0
        self.processes_at_once: int | None = None
        self.signal: int | None = None
        self.timed_out = timed_out
        self.lost = ""
        """What was replaced from outside, so that the run was ended; see `guard.py`."""
        self.unstarted = unstarted
        """The errno of execve(2), where the sandbox was made and the program could not be executed in it."""
        self.user_seconds, self.system_seconds, self.peak_memory_bytes = usage
        if unstarted is not None:
            self.code = codes.unstarted_code(unstarted)
        elif status is not None and os.WIFEXITED(status):
            self.code = os.WEXITSTATUS(status)
        elif status is not None:
            self.signal = os.WTERMSIG(status)
        else:
            self.signal = signals.SIGKILL  # Init was killed before it could tell.

    def told(self) -> dict[str, Any]:
        """Everything as plain data, for `ExitStatus.from_told`."""
        told = {name: getattr(self, name) for name in Outcome.__slots__}
        told["network"] = None if self.network is None else self.network.to_plain()
        return told

    @property
    def is_plain(self) -> bool:
        """Whether the command came to its own end, and its exit code is all that is to be said."""
        met = self.reached or (self.network is not None and self.network.lines())
        ended = self.timed_out or self.lost or self.signal is not None or self.unstarted is not None
        return not (ended or met)

    @property
    def returncode(self) -> int:
        """The exit code a shell would show."""
        return codes.shell_code(code=self.code, signal=self.signal, timed_out=self.timed_out)


class Request:
    """What of a launch is not in the plan."""

    __slots__ = ("account", "additions", "argv", "cwd", "keep", "lifeline")

    def __init__(self, argv: tuple[str, ...], cwd: str) -> None:
        self.argv = argv
        self.cwd = cwd
        self.additions: dict[str, str] = {}
        """Variables on top of the policy's."""
        self.keep: tuple[int, ...] = ()
        """Descriptors beyond 2 that the payload gets."""
        self.lifeline = -1
        """Read end of a pipe whose writer, when it goes, takes the sandbox along."""
        self.account = False
        """Whether to ask the kernel what was used; the answer's type alone costs an import."""


def replay(
    plan: Plan,
    argv: tuple[str, ...],
    cwd: str,
    environment_additions: dict[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
) -> int:
    """Run a prepared plan from this process, which must have a single thread; return the shell's exit code.

    Privileged callers lose their supplementary groups. Raises: SetupError if the sandbox could not be made.
    """
    return replay_outcome(plan, argv, cwd, environment_additions, pass_fds).returncode


def replay_outcome(
    plan: Plan,
    argv: tuple[str, ...],
    cwd: str,
    environment_additions: dict[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
) -> Outcome:
    """Do what `replay` does, and tell apart how the command ended: 126 may be its own code, or ours.

    For a plan that is `counted`, the outcome also tells what the whole tree of processes used.

    Raises: SetupError if the sandbox could not be made.
    """
    request = Request(tuple(argv), cwd)
    request.additions = environment_additions or {}
    request.keep = tuple(pass_fds)
    return run_plan(plan, request)


def run_plan(plan: Plan, request: Request) -> Outcome:
    """Make the sandbox, wait for its end, leave nothing behind. Raises: SetupError."""
    if (plan.get("version"), plan.get("machine")) != (PLAN_VERSION, syscalls.MACHINE):
        message = "the prepared plan was made by another version or for another machine"
        raise SetupError(message, stage="plan", hint="prepare the policy again")
    mask = signals.block()
    found = streams.flags((0, 1, 2, *request.keep))
    try:
        records, told = os.pipe()
        kept = keeper.Keeper(plan["placeholders"])
        guarding = guard.Guard(plan.get("guarded", ()))
        try:
            return _supervise(plan, request, (kept, guarding), (records, told))
        finally:
            guarding.close()
            kept.close()
            os.close(records)
    finally:
        streams.put_back(found)
        signals.restore(mask)


def _supervise(
    plan: Plan, request: Request, beside: tuple[keeper.Keeper, guard.Guard], pipe: tuple[int, int]
) -> Outcome:
    """Clone pid 1 and stay with it; `pipe` is the report's, whose write end is closed here."""
    records, told_end = pipe
    kept, guarding = beside
    context = Context(request.argv, request.cwd, {**plan["environment"], **request.additions}, request.keep)
    context.report, context.placeholders, context.guard = told_end, kept.ready, guarding.descriptor
    outside = None
    if plan["outside"]:
        from sandbox.linux.outside import Outside

        outside = Outside(plan["outside"], context, terminal=plan["terminal"])
        request.account = request.account or outside.account
    relayed = None
    if plan["terminal"]:
        from sandbox.terminal import Relay

        relayed = Relay(syscalls.signalfd(signals.WAITED_FOR), report.tells_of_a_stop)
        if outside is not None:
            outside.meter(relayed)
    try:
        context.terminal = -1 if relayed is None else relayed.inside
        pid = _start(plan, context, kept)
        guarding.begin(pid)
        if outside is not None:
            outside.begin(pid)
        if relayed is not None:
            relayed.begin(pid, records)
        timed_out, usage = _oversee(pid, plan["wall_clock_seconds"], request, relayed, guarding)
        told = report.receive(records, b"" if relayed is None else relayed.told)
        if relayed is not None:
            # A caller that is gone has sent SIGHUP to all that its terminal served, the command included.
            ended = any(record[0] != report.STOPPED for record in told)
            relayed.was_killed = relayed.was_hung_up or not ended or _is_gone(request.lifeline)
    finally:
        if relayed is not None:
            relayed.close()
        found = {} if outside is None else outside.finish()
    outcome = _outcome(told, timed_out, usage, outside)
    outcome.lost = guarding.lost
    if outside is not None:
        for name, value in found.items():
            setattr(outcome, name, value)
        outcome.reached += outside.met_by_signal(outcome)
    for record in told:
        if record[0] == report.FULL:
            outcome.reached += (("temporary_size_bytes", int(record[1]), 1),)
    return outcome


def _start(plan: Plan, context: Context, kept: keeper.Keeper) -> int:
    """Clone pid 1, then the keeper if one is needed; return the pid."""
    if plan["namespaces"]:
        context.host_net = _host_network()
    _drop_groups()
    lifeline_read, lifeline_write = os.pipe()
    try:
        pid = syscalls.clone(plan["namespaces"])
    except OSError as error:
        from sandbox.linux.causes import explain_clone

        raise explain_clone(error) from error
    if pid == 0:
        for descriptor in (lifeline_write, *context.given.private):
            os.close(descriptor)
        if kept.told >= 0:
            os.close(kept.told)
        init.main(plan, context, lifeline_read)
    os.close(lifeline_read)
    kept.start(pid, failures=context.report, lifeline=lifeline_write, watch=context.guard)
    os.close(context.report)
    # The write end of the lifeline stays open for as long as this process lives: that is its message.
    _LIFELINES.append(lifeline_write)
    return pid


def _drop_groups() -> None:
    """Keep no supplementary group, if this is root; an ordinary user keeps the own ones, which cannot go.

    Root of a user namespace that such a user made is one itself: it may not drop them either, because a group
    can also be what keeps somebody out. Source: user_namespaces(7), `/proc/PID/setgroups`.
    """
    if os.geteuid() != 0 or not os.getgroups():
        return
    try:
        os.setgroups([])
    except PermissionError:
        with open("/proc/self/setgroups", "rb") as stream:  # noqa: PTH123 - no pathlib on this path
            if stream.read().strip() != b"deny":
                raise


def _host_network() -> int:
    """The inode of this process's network namespace. Raises: SetupError where `/proc` hides it."""
    try:
        return os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116 - no pathlib on this path
    except OSError as error:
        raise SetupError(
            "the sandbox could not be made: there is no `/proc` here to make it with",
            stage="proc",
            errno=error.errno or 0,
            hint="an outer sandbox hides it; run this outside of that one",
        ) from error


_LIFELINES: list[int] = []


def _oversee(
    pid: int,
    limit_seconds: float | None,
    request: Request,
    relayed: Relay | None,
    guarding: guard.Guard,
) -> tuple[bool, tuple[float, float, int]]:
    """Wait for pid 1, forwarding what comes; return whether the time was up, and what was used."""
    deadline = None if limit_seconds is None else time.monotonic() + limit_seconds
    timed_out = False
    interrupts = 0
    wait = signals.wait if relayed is None else relayed.wait
    if request.lifeline >= 0:
        _watch(request.lifeline)
    while True:
        used = _reap(pid, account=request.account)
        if used is not None:
            while _LIFELINES:
                os.close(_LIFELINES.pop())
            return timed_out, used
        number = _next(wait, deadline, guarding)
        if number == 0:
            timed_out, deadline = True, None
            os.kill(pid, signals.SIGKILL)
        elif number == signals.SIGIO:
            is_intact = guarding.is_intact()
            # Once pid 1 is dead the keeper takes the placeholders away, and the watcher tells of that too.
            # So the death is looked for after the watcher was heard, and what was told by then is dropped.
            if _has_ended(pid):
                guarding.lost = ""
            elif _is_gone(request.lifeline) or not is_intact:
                os.kill(pid, signals.SIGKILL)
        elif number == signals.SIGINT:
            interrupts += 1
            os.kill(pid, signals.SIGINT if interrupts == 1 else signals.SIGKILL)
        elif number == signals.SIGTSTP:
            _pause(pid, relayed)
        elif number in signals.FORWARDED:
            os.kill(pid, number)


def _pause(pid: int, relayed: Relay | None) -> None:
    """Stop what is inside, then this process; go on together."""
    os.kill(pid, signals.SIGTSTP)
    if relayed is None:
        os.kill(os.getpid(), signals.SIGSTOP)
    else:
        with relayed.suspended():
            os.kill(os.getpid(), signals.SIGSTOP)
    os.kill(pid, signals.SIGCONT)


def _next(wait: Callable[[float | None], int], deadline: float | None, guarding: guard.Guard) -> int:
    """The next signal, or 0 at the deadline; the guard prepares itself when nothing came for a while."""
    left = None if deadline is None else deadline - time.monotonic()
    if not guarding.wants_time or (left is not None and left < guard.QUIET_SECONDS):
        return wait(left)
    number = wait(guard.QUIET_SECONDS)
    if number:
        return number
    guarding.prepare()
    return _next(wait, deadline, guarding)


def _reap(pid: int, *, account: bool) -> tuple[float, float, int] | None:
    """What pid 1 and everything under it used, once it has ended: user and system seconds, peak bytes."""
    if not account:
        return (0.0, 0.0, 0) if os.waitpid(pid, os.WNOHANG)[0] else None
    ended, _, usage = os.wait4(pid, os.WNOHANG)
    return (usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024) if ended else None


def _has_ended(pid: int) -> bool:
    """Whether a child is dead; it stays to be reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _watch(lifeline: int) -> None:
    """Have SIGIO sent when the other end of `lifeline` closes; the look afterwards closes the race."""
    import fcntl

    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
    if _is_gone(lifeline):
        os.kill(os.getpid(), signals.SIGIO)


def _is_gone(lifeline: int) -> bool:
    """Whether the other end is closed."""
    if lifeline < 0:
        return False
    try:
        return os.read(lifeline, 1) == b""
    except BlockingIOError:
        return False


def _outcome(
    told: list[report.Record], timed_out: bool, usage: tuple[float, float, int], outside: Outside | None
) -> Outcome:
    """Turn the records into an outcome, or into the failure that they tell of."""
    status = unstarted = None
    processes = 0
    for record in told:
        if record[0] == report.FAILED:
            raise (outside and outside.cause(record[1])) or report.as_error(record)
        if record[0] == report.ENDED:
            status, processes = int(record[1]), int(record[2])
        elif record[0] == report.UNSTARTED:
            unstarted = int(record[1])
    outcome = Outcome(status, unstarted, timed_out, usage)
    outcome.processes = processes
    return outcome
