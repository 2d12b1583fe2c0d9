"""One call of one hook: what it says on the way, checked, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pypm.digest import Sha256
from pypm.plugins.failures import plugin_error, printable
from pypm.plugins.inside.abi import ERROR
from pypm.plugins.inside.context import Context, Stage
from pypm.plugins.link import Link
from pypm.plugins.offers import Offer, parts_below

LEVELS = ("debug", "note", "warning", "error")

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


def call_hook(
    link: Link,
    context: Context,
    listener: Listener,
    *,
    timeout_seconds: float,
    on_offer: Callable[[Offer], None] = lambda _: None,
) -> tuple[Offer, ...]:
    """Call the hook of the plugin that `link` leads to, with its own options and scratch folder in `context`.

    Return the files that it offers; `on_offer` is told of each as soon as it is made, while the hook goes on.

    Raises:
        PluginError: it ended the command, or misbehaved.
        IsolationError: the sandbox could not be made.
    """
    handler = Events(context, listener, link, on_offer)
    answer = link.exchange(
        hook_request(context),
        stage=context.stage.value,
        timeout_seconds=timeout_seconds,
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


def hook_request(context: Context) -> dict[str, Any]:
    """Return what a host is sent to call the hook."""
    return {"do": "hook", "context": context.to_plain()}


class Events:
    """What a hook says while it runs, checked."""

    def __init__(
        self, context: Context, listener: Listener, link: Link, on_offer: Callable[[Offer], None]
    ) -> None:
        self._plugin = link.plugin
        self._context = context
        self._scratch = Path(context.scratch)
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
