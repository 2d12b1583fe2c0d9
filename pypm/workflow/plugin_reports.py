"""What plugins say, told to whoever runs the command; also in a run from a ready plan."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pypm.workflow.report import Reporter, Task

if TYPE_CHECKING:
    from pypm.plugins.hooks import Diagnostic

_SHOWN_FINDINGS = 3
"""Of one plugin about one package at one stage; a wheel may hold a hundred libraries with one fault."""


class ReportedPlugins:
    """What plugins say, told by the command's reporter. Implements `plugins.session.Listener`."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._task: Task | None = None
        self._plugin = ""
        self._findings: Counter[tuple[str, str | None]] = Counter()
        """How many each plugin has about each package at this stage."""
        self._hints: set[str] = set()

    def log(self, plugin: str, level: str, message: str) -> None:
        """Notes are for `-v`; what is graver is shown."""
        tell = self._reporter.warn if level in ("warning", "error") else self._reporter.detail
        tell(f"{plugin}: {message}")

    def progress(self, plugin: str, done: int, total: int | None, what: str) -> None:
        """Show how far a hook is; most end before they say anything, and are not shown."""
        if self._task is None or self._plugin != plugin:
            self._end_task()
            self._plugin = plugin
            self._task = self._reporter.task("Running", f"the plugin {plugin}", unit="steps").__enter__()
        self._task.say(f"{done}{'' if total is None else f'/{total}'} {what}".rstrip())

    def diagnostic(self, diagnostic: Diagnostic) -> None:
        """Show a finding: of many about one package the first, and a hint that many have once."""
        about = f"`{diagnostic.package}`: " if diagnostic.package else ""
        text = f"{diagnostic.plugin}: {about}{diagnostic.message}"
        if diagnostic.level not in ("warning", "error"):
            self._reporter.detail(text)
            return
        key = (diagnostic.plugin, diagnostic.package)
        self._findings[key] += 1
        if self._findings[key] > _SHOWN_FINDINGS:
            self._reporter.detail(text)
            return
        hint = None if diagnostic.hint in self._hints else diagnostic.hint
        self._reporter.warn(text, hint=hint)
        if hint is not None:
            self._hints.add(hint)

    def ended(self) -> None:
        """Take the progress away and tell what was not shown: the stage is over."""
        self._end_task()
        for (plugin, package), count in self._findings.items():
            if count > _SHOWN_FINDINGS:
                about = f" about `{package}`" if package else ""
                more = f"{count - _SHOWN_FINDINGS} more finding{'' if count == _SHOWN_FINDINGS + 1 else 's'}"
                self._reporter.warn(f"{plugin}: {more}{about}; `-v` shows them")
        self._findings.clear()
        self._hints.clear()

    def _end_task(self) -> None:
        if self._task is not None:
            self._task.__exit__(None, None, None)
            self._task = None
