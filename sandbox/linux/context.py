"""What the operations of one process share while they are replayed."""

from __future__ import annotations

import os

from sandbox.errors import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PLAN_VERSION = 7
"""Of the plan's layout; a stored plan of another version must be compiled again."""


class Given:
    """What the supervisor gives pid 1 on the way where `outside.py` serves it; mostly nothing."""

    __slots__ = (
        "account",
        "egress",
        "entrances",
        "group",
        "limits",
        "private",
        "processors",
        "streams",
    )

    def __init__(self) -> None:
        self.private: tuple[int, ...] = ()
        """The supervisor's own descriptors, which pid 1 closes first of all."""
        self.egress = -1
        """Socket over which the listeners of a network allow-list go to the supervisor."""
        self.account = False
        """Whether pid 1 says at the end how many processes there were."""
        self.entrances: tuple[int, ...] = ()
        """Descriptors of the control groups that pid 1 joins."""
        self.group = b""
        """The name of those groups."""
        self.streams: tuple[int, ...] = ()
        """What becomes 1 and 2 inside, where the supervisor counts the output."""
        self.limits: tuple[tuple[int, int], ...] = ()
        """Resource limits on top of the plan's, for what no control group keeps on this host."""
        self.processors: tuple[int, ...] = ()
        """Where the command may run, for the same reason; all of them if empty."""


class Context:
    """Mutable on purpose: it lives between a fork and an exec, in one thread, and nowhere else."""

    __slots__ = (
        "argv",
        "covered",
        "covers",
        "cwd",
        "devices",
        "environment",
        "folders",
        "given",
        "go",
        "guard",
        "has_proc",
        "host_net",
        "host_proc",
        "ignored_signals",
        "keep",
        "on_orphaned",
        "outer_group",
        "outer_user",
        "pinned",
        "placeholders",
        "report",
        "root",
        "started",
        "terminal",
        "tty",
        "umask",
    )

    def __init__(
        self, argv: tuple[str, ...], cwd: str, environment: dict[str, str], keep: tuple[int, ...]
    ) -> None:
        self.argv = argv
        self.cwd = cwd
        self.environment = environment
        self.keep = keep
        """Descriptors that the payload gets; all others are closed."""
        self.report = -1
        """Write end of the pipe that tells the supervisor what failed or how it ended."""
        self.placeholders = -1
        """Read end of the pipe on which the keeper says that every placeholder is there."""
        self.guard = -1
        """What tells the supervisor of changes in folders; pid 1 says in which."""
        self.started = -1
        """Write end of the pipe that closes when the command has been executed."""
        self.terminal = -1
        """Socket over which the master side of the pty goes to the supervisor."""
        self.given = Given()
        self.tty = -1
        """The slave side of the pty."""
        self.go = -1
        """Read end of the pipe on which init says that the command may start."""
        self.host_proc = -1
        """The host's `/proc`, the only way to this process's id maps before there is a `/proc` inside."""
        self.host_net = 0
        """Inode of the host's network namespace, to be compared with."""
        self.ignored_signals = -1
        """Mask of the signals that this process ignores; all ones until it was looked up."""
        self.on_orphaned: Callable[[], None] | None = None
        """What init does when the supervisor is gone; pid 1 takes everything along by itself."""
        self.outer_user = os.geteuid()
        self.outer_group = os.getegid()
        """The caller's ids as the host knows them."""
        self.root = -1
        """The new root while it is being built."""
        self.has_proc = False
        self.umask = os.umask(0o022)
        os.umask(self.umask)
        self.devices: set[int] = set()
        """st_dev of the file systems that the sandbox made itself: only there are mount points created."""
        self.folders: dict[str, int] = {}
        """Descriptors of folders inside that lie in the root's own file system, -1 for those that do not."""
        self.pinned: set[str] = set()
        """Directories that became mount points of their own."""
        self.covered: set[str] = set()
        """Placeholders that are covered: everything below them is unreachable already."""
        self.covers = -1
        """The directory with an empty file and an empty directory to cover placeholders and masks with."""


def fail(stage: str, message: str, *, errno: int = 0, hint: str | None = None) -> SetupError:
    """A set-up failure with a sentence of its own instead of the kernel's."""
    return SetupError(message, stage=stage, errno=errno, hint=hint)
