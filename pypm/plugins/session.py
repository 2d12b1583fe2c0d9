"""The plugins of one command: which stages they want, their hosts, and what their hooks say.

A host is started for the first stage that its plugin wants, and stays for the rest of the command.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from pypm.digest import Sha256
from pypm.files import remove_tree, storage_errors
from pypm.isolation import isolation_errors
from pypm.plugins.descriptor import Descriptor, inspect, load
from pypm.plugins.failures import plugin_error, printable
from pypm.plugins.found import Loadable
from pypm.plugins.inside.abi import ERROR
from pypm.plugins.inside.context import Context, Stage
from pypm.plugins.library import Library
from pypm.plugins.link import Link
from pypm.plugins.offers import Offer, parts_below
from pypm.plugins.permissions import Allowed, allow
from pypm.plugins.policy import Surroundings, host_command, host_policy
from pypm.plugins.settings import Enabled

LEVELS = ("debug", "note", "warning", "error")

_STAGE_SECONDS = 60.0
_TRANSFER_SECONDS = 600.0
_TRANSFER_STAGES = (Stage.PRE_FETCH, Stage.POST_FETCH, Stage.POST_BUILD)
"""Files of any size go over the network, or are read, at these."""
_LARGEST_NUMBER = 1 << 64
_MOST_LINES = 20
"""Of the findings before the one that is the error's message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """A finding of a plugin."""

    plugin: str
    stage: Stage
    level: str
    """One of `LEVELS`."""
    package: str | None
    message: str
    hint: str | None


class Listener(Protocol):
    """Where what plugins say goes. All texts are safe to print."""

    def log(self, plugin: str, level: str, message: str) -> None:
        """A line of the log."""

    def progress(self, plugin: str, done: int, total: int | None, what: str) -> None:
        """How far the stage is."""

    def diagnostic(self, diagnostic: Diagnostic) -> None:
        """A finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A plugin that is enabled, found, inspected and allowed."""

    enabled: Enabled
    found: Loadable
    descriptor: Descriptor
    allowed: Allowed


def choose(
    enabled: Enabled,
    found: Loadable,
    surroundings: Surroundings,
    *,
    variables: Mapping[str, str],
    kept: Path | None,
) -> Chosen:
    """Inspect a plugin and compare what it wants with what it is granted; `variables` are the caller's.

    Raises: PluginError, IsolationError.
    """
    with isolation_errors():
        descriptor = inspect(found, surroundings, kept=kept)
    allowed = allow(found.name, descriptor.permissions, enabled.grants, variables)
    return Chosen(enabled=enabled, found=found, descriptor=descriptor, allowed=allowed)


@dataclass(slots=True, kw_only=True)
class _Host:
    """A host that was started."""

    link: Link
    scratch: Path
    library: Library
    is_loaded: bool = False

    def close(self) -> None:
        """End it and remove what it wrote."""
        self.link.close()
        self.library.close()
        remove_tree(self.scratch)


class Session:
    """Calls hooks, in the order in which the project names its plugins. Use it as a context manager."""

    def __init__(self, chosen: Sequence[Chosen], surroundings: Surroundings, listener: Listener) -> None:
        self.chosen = tuple(chosen)
        self._surroundings = surroundings
        self._listener = listener
        self._hosts: dict[str, _Host] = {}
        self._is_interrupted = False

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all hosts and remove what they wrote; offers that were not taken are gone."""
        for host in self._hosts.values():
            host.close()
        self._hosts.clear()

    def interrupt(self) -> None:
        """End what a hook does that another thread waits for: that thread is told that its host has ended."""
        self._is_interrupted = True
        for host in tuple(self._hosts.values()):
            host.link.interrupt()

    def adopt(self, chosen: Sequence[Chosen]) -> None:
        """Go on with these plugins; hosts of those that stay as they are stay warm."""
        same = {item.found.name for item in chosen if item in self.chosen}
        for name in [name for name in self._hosts if name not in same]:
            self._hosts.pop(name).close()
        self.chosen = tuple(chosen)

    def wants(self, stage: Stage) -> bool:
        """Whether any plugin has a hook for this stage: only then is a context worth making."""
        return any(stage in item.descriptor.stages for item in self.chosen)

    def warm(self, *stages: Stage) -> None:
        """Start the hosts that these stages will need and do not wait for them.

        What they need to come up passes while the caller does something else.

        Raises: IsolationError: the sandbox could not be made.
        """
        for item in self.chosen:
            if item.found.name not in self._hosts and not item.descriptor.stages.isdisjoint(stages):
                self._start(item)

    def call(self, context: Context, on_offer: Callable[[Offer], None] = lambda _: None) -> tuple[Offer, ...]:
        """Call every plugin that wants `context.stage`; return the files that they offer, the first first.

        `on_offer` is told of each as soon as it is made, while the hook goes on.

        Raises:
            PluginError: one ended the command, or misbehaved. The others are not called any more.
            IsolationError: the sandbox could not be made.
        """
        return tuple(
            offer
            for item in self.chosen
            if context.stage in item.descriptor.stages
            for offer in self._call(item, context, on_offer)
        )

    def _call(self, item: Chosen, context: Context, on_offer: Callable[[Offer], None]) -> tuple[Offer, ...]:
        host = self._hosts.get(item.found.name) or self._start(item)
        link = host.link
        if not host.is_loaded:
            load(link, item.found, host.library)
            host.is_loaded = True
        handler = _Events(context, host.scratch, self._listener, link, on_offer)
        told = replace(context, scratch=str(host.scratch), options=item.enabled.options)
        usual = _TRANSFER_SECONDS if context.stage in _TRANSFER_STAGES else _STAGE_SECONDS
        answer = link.exchange(
            {"do": "hook", "context": told.to_plain()},
            stage=context.stage.value,
            timeout_seconds=item.enabled.timeout_seconds or usual,
            on_event=handler.handle,
        )
        match answer:
            case {"result": int(result), "children": bool(children)}:
                pass
            case _:
                raise handler.nonsense()
        if children:
            raise link.failed(
                "left a process behind", reference="left-process", hint="wait for every process it starts"
            )
        if result != 0:
            raise handler.stopped(result)
        handler.tell_errors()
        return handler.offers

    def _start(self, item: Chosen) -> _Host:
        surroundings = self._surroundings
        with storage_errors("make a folder for a plugin"):
            scratch = Path(tempfile.mkdtemp(prefix="plugin-", dir=surroundings.scratch)).resolve()
        library = Library(item.found, isolation=surroundings.isolation, scratch=surroundings.scratch)
        try:
            with isolation_errors():
                policy = host_policy(
                    library,
                    surroundings,
                    allowed=item.allowed,
                    scratch=scratch,
                    memory_bytes=item.enabled.memory_bytes,
                )
            link = Link(item.found.name, policy, tuple(host_command(surroundings.interpreter)))
        except BaseException:
            library.close()
            remove_tree(scratch)
            raise
        host = self._hosts[item.found.name] = _Host(link=link, scratch=scratch, library=library)
        if self._is_interrupted:
            link.interrupt()  # It came too late for whoever interrupts.
        return host


class _Events:
    """What a hook says while it runs, checked."""

    def __init__(
        self,
        context: Context,
        scratch: Path,
        listener: Listener,
        link: Link,
        on_offer: Callable[[Offer], None],
    ) -> None:
        self._plugin = link.plugin
        self._context = context
        self._scratch = scratch
        self._listener = listener
        self._link = link
        self._on_offer = on_offer
        self._errors: list[Diagnostic] = []
        self._offers: dict[int, Offer] = {}

    def handle(self, event: dict[str, Any]) -> None:
        """Take one event. Raises: PluginError for one that no host sends, or an offer out of place."""
        match event:
            case {"log": [int(level), str(message)]} if 0 <= level <= ERROR:
                self._listener.log(self._plugin, LEVELS[level], printable(message))
            case {"progress": [int(done), int(total), str(what)]} if (
                0 <= done < _LARGEST_NUMBER and 0 <= total < _LARGEST_NUMBER
            ):
                line = printable(what.replace("\n", " "), most_characters=200)
                self._listener.progress(self._plugin, done, total or None, line)
            case {"diagnostic": [int(level), int() | None as index, str(message), str() | None as hint]} if (
                0 <= level <= ERROR and (index is None or 0 <= index < len(self._context.packages))
            ):
                self._diagnose(LEVELS[level], index, message, hint)
            case {"offer": [int(index), str(path)]} if 0 <= index < len(self._context.packages):
                self._offer(index, path)
            case _:
                raise self.nonsense()

    @property
    def offers(self) -> tuple[Offer, ...]:
        """What was offered; of several files for one package the last."""
        return tuple(self._offers.values())

    def nonsense(self) -> Exception:
        """The error for what no host of ours sends: the plugin has taken it over."""
        return self._link.failed("sent what no host sends", reference="garbage")

    def tell_errors(self) -> None:
        """Tell the errors of a hook that lets pypm go on; of one that does not, they are in the exception."""
        for diagnostic in self._errors:
            self._listener.diagnostic(diagnostic)

    def stopped(self, result: int) -> Exception:
        """The error of a hook that ended the command: its last finding is the message."""
        if not self._errors:
            return self._link.failed(f"returned {result} and did not say why", reference="stopped")
        self._link.close()
        *others, last = self._errors
        return plugin_error(
            self._plugin,
            f"stopped at `{self._context.stage.value}`: {_line(last).rstrip('.')}",
            reference="stopped",
            hint=last.hint,
            details=_first_lines(others),
        )

    def _diagnose(self, level: str, index: int | None, message: str, hint: str | None) -> None:
        diagnostic = Diagnostic(
            plugin=self._plugin,
            stage=self._context.stage,
            level=level,
            package=None if index is None else self._context.packages[index].name,
            message=printable(message),
            hint=None if hint is None else printable(hint),
        )
        if level == "error":
            self._errors.append(diagnostic)
        else:
            self._listener.diagnostic(diagnostic)

    def _offer(self, index: int, path: str) -> None:
        shown = printable(path, most_characters=200)
        package = self._context.packages[index]
        is_record = self._context.stage is Stage.PRE_BUILD and package.build_key is not None
        if self._context.stage is not Stage.PRE_FETCH and not is_record:
            raise self._link.failed(
                f"offered `{shown}`; only `pre-fetch` takes offers, and `pre-build` where a record is wanted",
                reference="bad-offer",
            )
        parts = parts_below(self._scratch, path)
        offer = parts and Offer(
            plugin=self._plugin,
            package=index,
            sha256=None if package.sha256 is None else Sha256(package.sha256),
            size_bytes=package.size_bytes,
            scratch=self._scratch,
            parts=parts,
        )
        if not offer or not offer.is_there():
            raise self._link.failed(
                f"offered `{shown}`, which is not a file in its own folder",
                reference="bad-offer",
                hint="a plugin may offer only regular files that it wrote to `scratch`",
            )
        self._offers[index] = offer  # One for each package: all of them may be read whole.
        self._on_offer(offer)


def _first_lines(diagnostics: Sequence[Diagnostic]) -> tuple[str, ...]:
    lines = [_line(diagnostic) for diagnostic in diagnostics[:_MOST_LINES]]
    more = len(diagnostics) - len(lines)
    return (*lines, *([f"and {more} more"] if more else []))


def _line(diagnostic: Diagnostic) -> str:
    return f"`{diagnostic.package}`: {diagnostic.message}" if diagnostic.package else diagnostic.message
