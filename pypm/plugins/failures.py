"""Every way in which a plugin can fail, told in one sentence with the plugin, the stage and the cause."""

from __future__ import annotations

import signal

from pypm.display import harmless
from pypm.errors import PluginError
from sandbox import ExitStatus

_LONGEST_CHARACTERS = 8192
_DETAIL_LINES = 20


def plugin_error(
    plugin: str,
    cause: str,
    *,
    reference: str,
    hint: str | None = None,
    details: tuple[str, ...] = (),
) -> PluginError:
    """Return the error; `cause` goes on from "the plugin `x`"."""
    return PluginError(
        f"the plugin `{plugin}` {cause}", reference=f"plugin-{reference}", hint=hint, details=details
    )


def printable(text: str, *, most_characters: int = _LONGEST_CHARACTERS) -> str:
    """Return foreign text of a sensible length without what could steer a terminal or reorder a line.

    The ends of lines and tabs stay: see `pypm.display`.
    """
    shown = harmless(text[:most_characters], keep="\n\t")
    return shown + (" ..." if len(text) > most_characters else "")


def how_it_ended(status: ExitStatus | None) -> tuple[str, str]:
    """Return (reference, cause) for a host that ended before it answered."""
    if status is None or status.signal == signal.SIGKILL:
        return "killed", "was killed, perhaps because memory ran out"
    if status.signal is None:
        return "exited", f"ended its host by itself, with exit status {status.code}"
    try:
        name = signal.Signals(status.signal).name
        words = signal.strsignal(status.signal)
    except ValueError:
        name, words = f"signal {status.signal}", None
    return "crashed", f"crashed with {name}" + (f" ({words.lower()})" if words else "")


def output_details(output: bytes) -> tuple[str, ...]:
    """Return the end of what a plugin printed, as lines for an error."""
    lines = [line.rstrip() for line in printable(output.decode("utf-8", "replace")[-4096:]).splitlines()]
    return tuple(line for line in lines if line)[-_DETAIL_LINES:]
