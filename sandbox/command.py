"""What is to be run, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from sandbox.codes import shell_code
from sandbox.traffic import NetworkReport


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
    """The largest resident set of any one process, not the sum."""


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
    usage: Usage = field(default_factory=Usage)
    network: NetworkReport | None = None
    """What was reached and what was refused, for a policy that lists hosts."""

    @property
    def returncode(self) -> int:
        """The exit code a shell would show: the command's own, 128 + n for a signal, 124 timed out."""
        return shell_code(code=self.code, signal=self.signal, timed_out=self.timed_out)
