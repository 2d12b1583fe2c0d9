"""Hosts from a ready plan: started, loaded and asked with none of the machinery, while they say nothing.

The plan holds the compiled sandbox of each host and the very lines that it is sent. What nearly always comes
back is one line that is known beforehand. All else - a warning, progress, a crash, silence - is left unread,
and `link.Link` takes the running host over in the middle of the call: every line is judged in one place, no
hook is called a second time, and nothing that one said is lost.

This module is on the fast path: it imports only what the interpreter has loaded already, or has built in.
`session.Session.ready` makes what it reads.
"""

# ruff: noqa: PTH102, PTH106
# `pathlib` costs more than the whole fast path may take.

from __future__ import annotations

import os
import select
import time

from pypm.plugins.variables import granted_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from pypm.plugins.link import Link
    from sandbox import Forked

_WELL = b'{"result":0,"children":false}'
"""What a host answers when the hook returned 0 and left no process behind."""
_NOTES = (b'{"log":[0,"', b'{"log":[1,"')
"""How lines begin that only `-v` shows; with `-v` there is no ready plan."""
_NOTE_END = b'"]}'
_SHORTEST_NOTE_BYTES = len(_NOTES[0]) + len(_NOTE_END)
_MOST_BYTES = 1 << 20
"""Of one answer with the notes before it; `Link` has a limit of its own, and says so when it is met."""
_KEPT_OUTPUT_BYTES = 8192
_STANDARD_STREAMS = 3


def start(plugins: Iterable[dict[str, Any]], variables: Mapping[str, str]) -> tuple[ReadyHost, ...] | None:
    """Start the hosts side by side and have each load its plugin; None, and nothing left, if one does not."""
    hosts: list[ReadyHost] = []
    try:
        for plugin in plugins:
            hosts.append(ReadyHost(plugin, variables))
        if all(host.has_loaded() for host in hosts):
            return tuple(hosts)
    except OSError:
        pass  # No descriptors, no processes, no room: the whole program meets that, too.
    except BaseException:
        close(hosts)
        raise
    close(hosts)
    return None


def close(hosts: Sequence[ReadyHost]) -> None:
    """End the hosts, and then remove what they wrote. Raises: StorageError."""
    for host in hosts:
        host.end()
    for host in hosts:
        host.remove_scratch()


class ReadyHost:
    """One host. End it, and remove its folder."""

    __slots__ = (
        "_answers",
        "_asked_at",
        "_forked",
        "_link",
        "_output",
        "_plugin",
        "_poll",
        "_printed",
        "_requests",
        "_scratch",
        "_unread",
        "_unsent",
    )

    def __init__(self, plugin: dict[str, Any], variables: Mapping[str, str]) -> None:
        """Start it, in a folder of its own, and have it load the plugin. Raises: OSError."""
        from sandbox import fork_plan  # Only Linux has it.

        self._plugin = plugin
        self._link: Link | None = None
        self._unread = self._unsent = self._output = b""
        self._asked_at: float | None = None
        self._scratch = f"{plugin['folder']}/plugin-{os.urandom(8).hex()}"
        os.mkdir(self._scratch, 0o700)
        theirs: list[int] = []
        ours: list[int] = []
        try:
            for inward in (False, True, True):
                read_end, write_end = _pipe()
                ours.append(read_end if inward else write_end)
                theirs.append(write_end if inward else read_end)
            stdin, stdout, stderr = theirs
            sandbox = self._sandbox(variables)
            self._forked: Forked = fork_plan(sandbox, plugin["argv"], (stdin, stdout, stderr))
        except BaseException:
            for descriptor in ours:
                os.close(descriptor)
            os.rmdir(self._scratch)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._requests, self._answers, self._printed = ours
        self._poll = select.poll()
        for descriptor in ours[1:]:
            self._poll.register(descriptor, select.POLLIN)
        os.set_blocking(self._requests, False)
        self._ask(plugin["load"])

    @property
    def name(self) -> str:
        """The plugin's."""
        name: str = self._plugin["name"]
        return name

    @property
    def seconds(self) -> float:
        """How long a hook may take."""
        seconds: float = self._plugin["seconds"]
        return seconds

    def has_loaded(self) -> bool:
        """Whether the plugin is loaded; what it says about itself is known since the plan was made."""
        return self._is_answered(_is_loaded, self._plugin["load_seconds"])

    def request(self, stage: str) -> bytes | None:
        """The line that calls the hook for a stage; None where the plugin does not want it."""
        request: bytes | None = self._plugin["hooks"].get(stage)
        return None if request is None else self._placed(request)

    def call(self, stage: str) -> bool:
        """Call the hook. True if it went well and said nothing that is shown; else `link` tells the rest."""
        request = self.request(stage)
        if request is None:
            return True
        if self._link is not None or self._unread:
            return False
        self._ask(request)
        return self._is_answered(lambda line: line == _WELL, self.seconds)

    @property
    def link(self) -> Link:
        """The host's link, which goes on where the fast path came to; from now on the host is its own."""
        if self._link is None:
            from pypm.plugins.link import Link, Started

            started = Started(
                host=self._forked.as_process(),
                requests=self._requests,
                answers=self._answers,
                printed=self._printed,
                unread=self._unread,
                unsent=self._unsent,
                output=self._output,
                asked_at=self._asked_at,
            )
            self._link = Link(self.name, started)
        return self._link

    @property
    def is_asked(self) -> bool:
        """Whether a request was sent whose answer has not come."""
        return self._asked_at is not None and self._link is None

    def end(self) -> None:
        """End what runs in it."""
        if self._link is not None:
            self._link.close()
        else:
            self._forked.end()
            for descriptor in (self._requests, self._answers, self._printed):
                os.close(descriptor)

    def remove_scratch(self) -> None:
        """Remove what it wrote, when it has ended. Raises: StorageError."""
        try:
            os.rmdir(self._scratch)
        except OSError:
            from pathlib import Path

            from pypm.files import remove_tree

            remove_tree(Path(self._scratch))

    def _sandbox(self, variables: Mapping[str, str]) -> dict[str, Any]:
        """The compiled sandbox with this host's folder, and the caller's variables as they are now."""
        plan: dict[str, Any] = _renamed(self._plugin["sandbox"], self._plugin["scratch"], self._scratch_name)
        granted = granted_variables(variables, self._plugin["wanted"], self._plugin["granted"])
        return {**plan, "environment": {**granted, **plan["environment"]}}

    @property
    def _scratch_name(self) -> str:
        return self._scratch.rpartition("/")[2]

    def _placed(self, request: bytes) -> bytes:
        return request.replace(self._plugin["scratch"].encode(), self._scratch_name.encode())

    def _ask(self, request: bytes) -> None:
        self._asked_at = time.monotonic()
        try:
            self._unsent = request[os.write(self._requests, request) :]
        except BlockingIOError:
            self._unsent = request
        except BrokenPipeError:
            return  # Its end is seen on the other pipe.

    def _is_answered(self, is_expected: Callable[[bytes], bool], seconds: float) -> bool:
        """Whether the expected line came in time, and before it none that is shown."""
        assert self._asked_at is not None, "it was asked"
        deadline = self._asked_at + seconds
        received_bytes = 0
        while not self._unsent and received_bytes <= _MOST_BYTES:
            line, ending, rest = self._unread.partition(b"\n")
            if not ending:
                block = self._received(deadline)
                if not block:
                    return False
                self._unread += block
                received_bytes += len(block)
            elif is_expected(line):
                self._unread, self._asked_at = rest, None
                return True
            elif _is_note(line):
                self._unread = rest
            else:
                return False
        return False

    def _received(self, deadline: float) -> bytes:
        """The next bytes that the host sends; none when the time is up, or it has ended or prints a lot."""
        printed_bytes = 0
        while (left := deadline - time.monotonic()) > 0 and printed_bytes <= _MOST_BYTES:
            ready = [descriptor for descriptor, _ in self._poll.poll(left * 1000)]
            if self._printed in ready:
                block = os.read(self._printed, 1 << 16)
                self._output = (self._output + block)[-_KEPT_OUTPUT_BYTES:]
                printed_bytes += len(block)
                if not block:
                    self._poll.unregister(self._printed)
            if self._answers in ready:
                return os.read(self._answers, 1 << 16)
        return b""


def _pipe() -> tuple[int, int]:
    """A pipe. Raises: OSError, also if a standard stream is closed: the command would get the pipe for it."""
    ends = os.pipe()
    if min(ends) >= _STANDARD_STREAMS:
        return ends
    for end in ends:
        os.close(end)
    raise OSError("a standard stream is closed")


def _renamed(value: Any, old: str, new: str) -> Any:
    """Plain data with a name exchanged wherever it stands in a text."""
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, tuple):
        return tuple(_renamed(item, old, new) for item in value)
    if isinstance(value, dict):
        return {key: _renamed(item, old, new) for key, item in value.items()}
    return value


def _is_loaded(line: bytes) -> bool:
    return line.startswith(b'{"loaded":{') and line.endswith(b"}}")


def _is_note(line: bytes) -> bool:
    """Whether a line is one of the log that nobody is shown; in doubt it is not."""
    if not (line.startswith(_NOTES) and line.endswith(_NOTE_END) and len(line) >= _SHORTEST_NOTE_BYTES):
        return False
    text = line[len(_NOTES[0]) : -len(_NOTE_END)].replace(b"\\\\", b"").replace(b'\\"', b"")
    return b'"' not in text and not text.endswith(b"\\")
