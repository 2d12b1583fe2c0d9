"""What is to be run, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sandbox.codes import SIGNAL_BASE, shell_code
from sandbox.traffic import NetworkReport

SIGHUP, SIGKILL, SIGPIPE, SIGXCPU, SIGXFSZ = 1, 9, 13, 24, 25
"""Source: signal(7); the same on the architectures that have these limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The payload: its argument vector, its directory and its descriptors."""

    argv: tuple[str, ...]
    """`argv[0]` is looked up in the policy's `PATH` unless it holds a slash."""
    cwd: str = "/"
    """Working directory, a path inside."""
    stdin: int | None = None
    """Descriptor of the caller that becomes 0 inside; None inherits the caller's own."""
    stdout: int | None = None
    stderr: int | None = None
    pass_fds: tuple[int, ...] = ()
    """Further descriptors that the payload keeps, under the same numbers."""
    stats: bool = False
    """Find out what the whole tree of processes uses; costs a control group where one can be made."""

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise ValueError("`argv` must name a program")
        if not self.cwd.startswith("/"):
            raise ValueError(f"`cwd` must be an absolute path inside, not `{self.cwd}`")
        if any("\0" in word for word in (*self.argv, self.cwd)):
            raise ValueError("an argument holds a NUL byte")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the whole tree of processes used, as the kernel accounted it."""

    user_seconds: float = 0.0
    system_seconds: float = 0.0
    peak_memory_bytes: int = 0
    """See `memory_of`."""
    memory_of: str = "process"
    """What the peak is of: `group` (everything together, as the kernel counted it), `samples` (a sum that was
    looked at now and then), or the largest single `process`."""
    wall_seconds: float = 0.0
    """From before the sandbox was made until it was gone; 0 unless `Command.stats` asks for it, as below."""
    processes: int = 0
    """How many processes and threads there were inside."""
    processes_at_once: int | None = None
    """How many of them at most at a time, where the kernel counts that."""

    def to_plain(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)

    def lines(self) -> tuple[str, ...]:
        """For a person, one thing a line."""
        cpu = self.user_seconds + self.system_seconds
        # The group counts the sandbox's own first process, too.
        count = self.processes_at_once
        at_once = "" if count is None else f", at most {max(count - 1, 0)} at once"
        measure = {
            "group": "everything together",
            "samples": "sum of the processes, as often as was looked",
            "process": "the largest process",
        }[self.memory_of]
        return (
            f"wall time    {self.wall_seconds:.2f} s",
            f"cpu time     {cpu:.2f} s ({self.user_seconds:.2f} user, {self.system_seconds:.2f} system)",
            f"peak memory  {self.peak_memory_bytes / (1 << 20):.1f} MiB ({measure})",
            f"processes    {self.processes}{at_once}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A limit that was met."""

    limit: str
    """The field of `Limits`, or `temporary_size_bytes` of the policy."""
    value: float
    count: int
    """How often: processes that were killed for memory, forks that were refused."""

    @property
    def sentence(self) -> str:
        """What happened, for a person."""
        times = "once" if self.count == 1 else f"{self.count} times"
        killed = "a process was" if self.count == 1 else f"{self.count} processes were"
        return {
            "memory_bytes": f"the memory limit of {_size(self.value)} was reached: {killed} killed",
            "processes": f"the limit of {self.value:.0f} processes was reached: refused {times}",
            "cpu_seconds": f"the limit of {self.value:.0f} seconds of processor time was reached",
            "file_size_bytes": f"the file size limit of {_size(self.value)} was reached",
            "output_bytes": f"the output limit of {_size(self.value)} was reached: the rest was cut off",
            "temporary_size_bytes": f"the limit of {_size(self.value)} for temporary files was reached",
        }[self.limit]


def _size(size_bytes: float) -> str:
    """`512 MiB`, as exact as it was written."""
    unit = 0
    while size_bytes >= 1024 and unit < 4 and (size_bytes * 10) % 1024 == 0:
        size_bytes, unit = size_bytes / 1024, unit + 1
    return f"{size_bytes:.10g} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[unit]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitStatus:
    """How the command ended: exactly one of `code` and `signal` is set."""

    code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    """The wall clock limit ended it."""
    unstarted: int | None = None
    """The errno of execve(2), where the sandbox was made and the program could not be executed in it."""
    lost: str = ""
    """A protected path that was replaced from outside in such a way that nobody can say whether the command
    wrote it, so that the run was ended; empty where that did not happen."""
    limit: str | None = None
    """Name of the field of `Limits` that ended it, where that is known."""
    reached: tuple[Reached, ...] = ()
    """The limits that were met, whether or not they ended it."""
    usage: Usage = field(default_factory=Usage)
    network: NetworkReport | None = None
    """What was reached and what was refused, for a policy that lists hosts."""

    @classmethod
    def from_told(cls, told: Mapping[str, Any]) -> ExitStatus:
        """From what the supervisor tells, see `Outcome.told`."""
        network = told["network"]
        status = cls(
            **{name: told[name] for name in ("code", "signal", "timed_out", "unstarted", "lost")},
            usage=Usage(**{item.name: told[item.name] for item in fields(Usage)}),
            reached=tuple(Reached(limit=name, value=value, count=n) for name, value, n in told["reached"]),
            network=None if network is None else NetworkReport.from_plain(network),
        )
        return replace(status, limit=status._ending_limit())

    def _ending_limit(self) -> str | None:
        """The limit that ended the command: the clock, or one that was met and whose signal it ended with."""
        if self.timed_out:
            return "wall_clock_seconds"
        number = self.signal or (self.code or 0) - SIGNAL_BASE
        ending = {
            "memory_bytes": (SIGKILL,),
            "output_bytes": (SIGPIPE, SIGHUP),
            "cpu_seconds": (SIGXCPU, SIGKILL),
            "file_size_bytes": (SIGXFSZ,),
        }
        return next((each.limit for each in self.reached if number in ending.get(each.limit, ())), None)

    @property
    def returncode(self) -> int:
        """The exit code a shell would show: the command's own, 128 + n for a signal, 124 timed out."""
        return shell_code(code=self.code, signal=self.signal, timed_out=self.timed_out)
