"""What hooks say in a run from a ready plan, told as the whole program tells it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pypm.cli.interrupts import EXIT_INTERRUPTED, Interrupts
from pypm.cli.ready_end import console_of
from pypm.errors import PluginError
from pypm.isolation.failures import isolation_error
from pypm.plugins.hooks import call_hook
from pypm.plugins.inside.context import Context
from pypm.workflow.plugin_reports import ReportedPlugins
from sandbox import SandboxError

if TYPE_CHECKING:
    from pypm.plugins.ready import ReadyHost
    from pypm.workflow.plans import Call


class Hooks:
    """The rest of one run, from the first word that a hook says. Use one a process: it takes over Ctrl-C."""

    def __init__(self, call: Call) -> None:
        self.console = console_of(call)
        self._listener = ReportedPlugins(self.console)
        self._interrupts = Interrupts()
        self._interrupts.install()

    def hook(self, host: ReadyHost, stage: str) -> None:
        """Hear a hook to its end, from where the fast path came to. Raises: PluginError, IsolationError."""
        request = host.request(stage)
        assert request is not None, "only a hook that is wanted is called"
        context = Context.from_plain(json.loads(request)["context"])
        call_hook(host.link, context, self._listener, timeout_seconds=host.seconds)

    def stage_ended(self) -> None:
        """Take the progress away, and tell what was not shown."""
        self._listener.ended()
        self.console.release_terminal()

    def warn(self, error: Exception) -> None:
        """Tell what does not end the command. Raises: the error, if it is none of a plugin."""
        self._listener.ended()
        if not isinstance(error, PluginError):
            raise error
        self.console.warn(error.message, hint=error.hint)

    def failed(self, error: Exception) -> int:
        """Tell what ended the command; return the exit code."""
        self._listener.ended()
        return self.console.fail(isolation_error(error) if isinstance(error, SandboxError) else error)

    def interrupted(self, hosts: Iterable[ReadyHost]) -> int:
        """Ask the hook that is being called to stop, and tell of Ctrl-C; return the exit code."""
        for host in hosts:
            if host.is_asked:
                host.link.cancel(lambda _: None)
        self._listener.ended()
        self._interrupts.over()
        self.console.interrupted()
        return EXIT_INTERRUPTED
