"""The host: loads one plugin, says what it is, and calls its hook as often as pypm asks.

Requests: `{"do": "load", "native": PATH}` or `{"do": "load", "python": [REFERENCE, [FOLDER, ...]]}` once,
then `{"do": "hook", "context": {...}}`; `{"do": "cancel"}` while a hook runs asks it to stop.
Answers: `{"loaded": {...}}`, `{"refused": [CODE, MESSAGE]}`, `{"result": NUMBER, "children": BOOLEAN}`.
Events, before a hook's answer: `log`, `progress`, `diagnostic`, `offer`.
"""

from __future__ import annotations

import os
import sys

from .channel import Calls, Channel
from .refusal import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LOST_CHILD = 70


def main() -> None:
    """Serve until pypm closes the line, then leave at once: no destructor of a plugin may hold the end up."""
    channel = Channel()
    calls = Calls(channel)
    own_pid = os.getpid()
    plugin: Any = None
    try:
        while (request := channel.receive()) is not None:
            if request["do"] == "load":
                plugin = _load(request, calls)
                channel.send({"loaded": plugin.describe()})
            elif request["do"] == "hook":
                result = plugin.call(request["context"])
                if os.getpid() != own_pid:
                    # A fork of the plugin came back from the hook: it must not answer a second time.
                    os._exit(_LOST_CHILD)
                sys.stdout.flush()
                channel.send({"result": result, "children": _has_children()})
    except Refusal as refusal:
        channel.send({"refused": [refusal.code, refusal.message]})
    except BrokenPipeError:
        pass  # Whoever asked is gone.
    os._exit(0)


def _load(request: dict[str, Any], calls: Calls) -> Any:
    """The plugin that the request names; only the kind that is needed is imported. Raises: Refusal."""
    if "native" in request:
        from .native import NativePlugin

        return NativePlugin(request["native"], calls)
    from .python import PythonPlugin

    reference, path = request["python"]
    return PythonPlugin(reference, path, calls)


def _has_children() -> bool:
    """Whether a process was started and not waited for, whether or not it has ended."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
